"""Measures the memory of a training step beyond the model, relative to the computed size of the method's own tensors.

A ratio above 1 reveals an unnecessary copy. Peaks are those of torch's CPU allocator, exact to the byte, from torch's
profiler.
"""

import gc
import json
import tempfile
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.perf.setting import Setting
from strategies import lora, moe_adapter, nusa, zscl
from strategies.base import StrategyPlugin
from strategies.clip.weight_matrices import WeightMatrix, blocks, weight_matrices


FLOAT = 4  # bytes
FIRST_BLOCK = (
    10  # vectors of length d: its input, q, k and v, the attention's output, the MLP's input, four in its activation
)
MASKED = 32  # values of a dropout mask in the bytes of one float
LEARNT = 3  # a trained number and AdamW's two moments; at the peak, before backward, there are no gradients


def peak_bytes(work: Callable[[], object]) -> int:
    """Returns the most bytes that tensors take on the CPU while `work` runs, beyond those that exist before.

    Args:
        work: what to measure; it is called once, without arguments.
    """
    gc.collect()  # otherwise older garbage could be freed during the measurement and reduce the result
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        work()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        watched.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    memory = [event for event in events if event.get("name") == "[memory]"]
    memory.sort(key=lambda event: float(event["ts"]))
    # The profiler's "Total Allocated" cannot be used: it continues from earlier profiles and misses what was freed since.
    return max(accumulate(event["args"]["Bytes"] for event in memory))


def training_peak(setting: Setting, plugin: StrategyPlugin) -> int:
    """Returns the most bytes that tensors take on the CPU in a method's beginning and one training, beyond the model.

    Args:
        setting: the model, with random weights, and a task of random images.
        plugin: the method; its `begin` has not been called yet.
    """
    setting.refer(plugin)
    train = setting.training(setting.template(plugin))

    def work() -> None:
        plugin.begin(setting.classifier)
        train()

    return peak_bytes(work)


def _frozen_step(setting: Setting) -> int:
    """Returns the lower bound of a method that freezes the model, in bytes: forward and input-gradient of both
    towers.
    """
    plain = setting.classifier.requires_grad_(False)

    def step() -> None:
        inputs = [plain.clip.visual.positional_embedding, plain.clip.positional_embedding]
        for tensor in inputs:
            tensor.requires_grad_(True)
        (plain.training_features(0).sum() + plain.encode_images(setting.batch).sum()).backward()

    return peak_bytes(step)


def _full_step(setting: Setting) -> int:
    """Returns ZSCL's lower bound in bytes: forward and backward of all parameters on task images, auxiliary images and
    prompts.
    """
    model = setting.classifier.train()

    def step() -> None:
        features = model.training_features(0), model.encode_images(setting.batch), model.encode_images(setting.batch)
        torch.cat(features).sum().backward()

    return peak_bytes(step)


def _tokens(setting: Setting, tower: str) -> int:
    """Returns the number of tokens in a tower: B L for images or C L for prompts."""
    visual = setting.classifier.clip.visual
    length = len(visual.positional_embedding) if tower == "image" else setting.classifier.lengths[0]
    return length * _read(setting, tower)


def _read(setting: Setting, tower: str) -> int:
    """Returns the number of tokens at which a tower reads its features: one for each of B images or C prompts."""
    return setting.batch_size if tower == "image" else setting.classifier.class_counts[0]


def _is_last(setting: Setting, matrix: WeightMatrix) -> bool:
    return matrix.block == len(blocks(setting.classifier.clip, matrix.tower)) - 1


def low_rank_bytes(setting: Setting, rank: int, *, core: bool) -> int:
    """Returns the computed bytes that NuSA-CL or LoRA needs in a training step beyond a frozen model.

    For each of q, k, v and o of all blocks these are the low-rank factors, the trained ones with AdamW's two moments,
    and what backward needs for each token x (d values): dropout's mask (d bits) and the first factor's output (r values).
    LoRA, which trains the first factor too, also needs x where nothing keeps it from which it can be formed again: x of
    q, k and v comes from a layer norm, which keeps its own input, and attention keeps its output, x of o, but a copy of
    it is what packed texts are. Of the last block, q and o have the tokens alone that are read, of which x is kept; of k
    and v, dropout's mask and x after dropout are needed, of all tokens.

    Subtracted is what the lower bound keeps before the first update, where nothing is trained: the inputs of the first
    block's layer norm and of the image tower's before the blocks. LoRA forms the first x again from the former.

    Args:
        setting: the model, with random weights, and a task of random images.
        rank: r of the updates.
        core: True for NuSA-CL, which trains a core (r, r) between fixed factors; False for LoRA, which trains both
            factors.
    """
    floats = 0
    for matrix in weight_matrices(setting.classifier.clip):
        d_out, d_in = matrix.weight().shape
        last = _is_last(setting, matrix)
        if matrix.block == 0 and matrix.matrix == "q":
            floats -= _tokens(setting, matrix.tower) * d_in * ((matrix.tower == "image") + core)
        factors = rank * (d_in + d_out)
        floats += factors + LEARNT * rank * rank if core else LEARNT * factors
        if last and matrix.matrix in "kv":
            floats += _tokens(setting, matrix.tower) * (d_in // MASKED + d_in)
        else:
            tokens = _read(setting, matrix.tower) if last else _tokens(setting, matrix.tower)
            kept = not core and (last or (matrix.tower == "text" and matrix.matrix == "o"))
            floats += tokens * (d_in // MASKED + rank + (d_in if kept else 0))
    return FLOAT * floats


def moe_bytes(setting: Setting, settings: moe_adapter.Settings) -> int:
    """Returns the computed bytes that MoE-Adapters needs in a training step beyond its lower bound.

    The lower bound is the forward pass and input-gradient of both towers with frozen weights. For each block are added
    all experts and one router, with AdamW's two moments, and what backward needs for each token: for each of the two
    experts that compute it, the input (d values) and four vectors of the expert's width (the output of ReLU, dropout's
    mask and output, and this output times the gate). Subtracted is what the lower bound stores of the first block for
    backward: here nothing before the end of that block is trained, so it is not stored.

    Args:
        setting: the model, with random weights, and a task of random images.
        settings: those of MoE-Adapters; the number of experts and their width count.
    """
    floats = 0
    for matrix in weight_matrices(setting.classifier.clip, matrices=("o",)):
        d = len(matrix.weight())
        expert = 2 * d * settings.width + settings.width + d
        floats += LEARNT * (settings.experts * expert + 2 * d * settings.experts)
        one = matrix.tower == "image" and _is_last(setting, matrix)  # its mixtures get the token alone that is read
        tokens = _read(setting, matrix.tower) if one else _tokens(setting, matrix.tower)
        floats += moe_adapter.TOP_K * tokens * (d + 4 * settings.width)
        if matrix.block == 0:
            floats -= FIRST_BLOCK * _tokens(setting, matrix.tower) * d
    return FLOAT * floats


def zscl_bytes(setting: Setting) -> int:
    """Returns the computed bytes that ZSCL needs in a training step beyond forward and backward of the whole model.

    These are five times the model's parameters in float32: the teacher, the weights at the task's start, their running
    mean, and AdamW's two moments.

    Args:
        setting: the model, with random weights, and a task of random images.
    """
    return 5 * FLOAT * sum(parameter.numel() for parameter in setting.classifier.clip.parameters())


def measure(model: str, batch_size: int, classes: int) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part memory` measures: the peak CPU memory of a training step.

    The lower bound of a method is the forward pass and input-gradient of both towers with frozen weights; for ZSCL, it
    is forward and backward of all parameters on task images, auxiliary images and prompts.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        classes: number of classes, with one prompt each.

    Returns:
        `NAME_memory_bytes`: the peak of a method's training minus that of its lower bound; NAME is `nusa`, `lora`,
        `moe_adapter` or `zscl`.
        `NAME_memory_reckoned_bytes`: what this difference should be, computed from the sizes of the method's tensors.
        `NAME_memory_floor_bytes`: the peak of the lower bound, without the model itself.
        `NAME_memory_over_reckoned`: `NAME_memory_bytes` / `NAME_memory_reckoned_bytes`.
        `nusa_peak_over_lora_peak`: NuSA-CL's peak without the model itself / LoRA's, at equal rank.
    """
    rank = lora.Settings().rank

    def fresh() -> Setting:
        return Setting(model, batch_size, classes)

    frozen = _frozen_step(fresh())
    figures: dict[str, float] = {}
    few = moe_adapter.Settings(autoencoder_steps=1, reference_steps=1)
    for name, plugin, floor, reckoned in (
        ("nusa", nusa.Plugin(nusa.Settings(rho=0.5)), frozen, low_rank_bytes(fresh(), rank, core=True)),
        ("lora", lora.Plugin(lora.Settings()), frozen, low_rank_bytes(fresh(), rank, core=False)),
        ("moe_adapter", moe_adapter.Plugin(few), frozen, moe_bytes(fresh(), few)),
        ("zscl", zscl.Plugin(zscl.Settings()), _full_step(fresh()), zscl_bytes(fresh())),
    ):
        beyond = training_peak(fresh(), plugin) - floor
        figures |= {
            f"{name}_memory_bytes": beyond,
            f"{name}_memory_reckoned_bytes": reckoned,
            f"{name}_memory_floor_bytes": floor,
            f"{name}_memory_over_reckoned": beyond / reckoned,
        }
    peaks = {name: figures[f"{name}_memory_bytes"] + frozen for name in ("nusa", "lora")}
    return {**figures, "nusa_peak_over_lora_peak": peaks["nusa"] / peaks["lora"]}

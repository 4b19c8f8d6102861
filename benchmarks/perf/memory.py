"""Memory of a training step beyond what the model itself takes, over what the method's own tensors come to by reckoning.

A ratio above 1 is a copy that nobody asked for. Peaks are those of torch's CPU allocator, to the byte, by torch's profiler.
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
from strategies.clip.weight_matrices import weight_matrices


FLOAT = 4  # bytes
FIRST_BLOCK = (
    10  # figures of d: its input, q, k and v, the attention's output, the MLP's input, and four of its activation's
)
LEARNT = 3  # a trained figure and the two moments of AdamW; at the peak, before backward, there are no gradients


def peak_bytes(work: Callable[[], object]) -> int:
    """Most bytes that tensors take while `work` runs, beyond those that there were before."""
    gc.collect()  # what earlier work left would be freed within, and count against it
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        work()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        watched.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    memory = [event for event in events if event.get("name") == "[memory]"]
    memory.sort(key=lambda event: float(event["ts"]))
    # Not its own "Total Allocated": that goes on from earlier profiles, and never hears of what was freed between them.
    return max(accumulate(event["args"]["Bytes"] for event in memory))


def _frozen_step(setting: Setting) -> int:
    """The floor of a method that leaves the model alone: forward and input-gradient of both towers."""
    plain = setting.classifier.requires_grad_(False)

    def step() -> None:
        inputs = [plain.clip.visual.positional_embedding, plain.clip.positional_embedding]
        for tensor in inputs:
            tensor.requires_grad_(True)
        (plain.training_features(0).sum() + plain.encode_images(setting.batch).sum()).backward()

    return peak_bytes(step)


def _full_step(setting: Setting) -> int:
    """The floor of ZSCL: forward and backward of all parameters on task images, reference images and prompts."""
    model = setting.classifier.train()

    def step() -> None:
        features = model.training_features(0), model.encode_images(setting.batch), model.encode_images(setting.batch)
        torch.cat(features).sum().backward()

    return peak_bytes(step)


def _tokens(setting: Setting, tower: str) -> int:
    """B L of the images or C L of the prompts."""
    visual = setting.classifier.clip.visual
    length = len(visual.positional_embedding) if tower == "image" else setting.classifier.lengths[0]
    return length * (setting.batch_size if tower == "image" else setting.classifier.class_counts[0])


def low_rank_bytes(setting: Setting, rank: int, *, core: bool) -> int:
    """NuSA-CL (with a core) or LoRA: factors, and what backward needs of each matrix's input x (B L, d).

    Both need dropout's mask, a byte for each of (B L, d), and, to learn the matrix after it, the narrow x V (B L, r); LoRA,
    which learns the first matrix too, also the dropped x (B L, d).
    """
    floats = 0
    for matrix in weight_matrices(setting.classifier.clip):
        d_out, d_in = matrix.weight().shape
        tokens = _tokens(setting, matrix.tower)
        factors = rank * (d_in + d_out)
        floats += factors + LEARNT * rank * rank if core else LEARNT * factors
        floats += tokens * (d_in // FLOAT + rank + (0 if core else d_in))
    return FLOAT * floats


def moe_bytes(setting: Setting, settings: moe_adapter.Settings) -> int:
    """Experts and one router of each block, all learnt, and what backward needs of the two experts of an image (or prompt).

    That is for each the input x (L, d) and, of the narrow side (L, width), the ReLU's output, dropout's mask and product, and
    the gate's product. Less what the floor keeps of the first block, before whose end nothing is learnt here.
    """
    floats = 0
    for matrix in weight_matrices(setting.classifier.clip, matrices=("o",)):
        d = len(matrix.weight())
        expert = 2 * d * settings.width + settings.width + d
        floats += LEARNT * (settings.experts * expert + 2 * d * settings.experts)
        floats += moe_adapter.TOP_K * _tokens(setting, matrix.tower) * (d + 4 * settings.width)
        if matrix.block == 0:
            floats -= FIRST_BLOCK * _tokens(setting, matrix.tower) * d
    return FLOAT * floats


def zscl_bytes(setting: Setting) -> int:
    """Teacher, the task's start, the mean, and AdamW's moments: five models."""
    return 5 * FLOAT * sum(parameter.numel() for parameter in setting.classifier.clip.parameters())


def measure(model: str, batch_size: int, classes: int) -> dict[str, Any]:
    """For each method the ratio (its peak - the floor's) / reckoned, and the three in bytes."""
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
        setting = fresh()
        setting.refer(plugin)
        train = setting.training(setting.template(plugin))

        def work(plugin: Any = plugin, setting: Any = setting, train: Any = train) -> None:
            plugin.begin(setting.classifier)
            train()

        beyond = peak_bytes(work) - floor
        figures |= {
            f"{name}_memory_bytes": beyond,
            f"{name}_memory_reckoned_bytes": reckoned,
            f"{name}_memory_floor_bytes": floor,
            f"{name}_memory_over_reckoned": beyond / reckoned,
        }
    peaks = {name: figures[f"{name}_memory_bytes"] + frozen for name in ("nusa", "lora")}
    return {**figures, "nusa_peak_over_lora_peak": peaks["nusa"] / peaks["lora"]}

"""All of MTIL order I on a GPU: eleven trainings and twelve evaluations of NuSA-CL, on random images of the same number and
size, with as many classes and its templates; and how much of the GPU's arithmetic that uses.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.backbones.loading import random_backbone, tokenize_prompts
from benchmarks.config.errors import UserError
from benchmarks.config.resolve import resolve
from benchmarks.config.settings import Precision
from benchmarks.datasets.about import NAMES, info
from benchmarks.experiment import checkpoint
from benchmarks.experiment.evaluation import BATCH, EvaluationSet, evaluate
from benchmarks.images.gpu_cache import growth, resident, room
from benchmarks.measurements.spectrum import SpectrumMeter
from benchmarks.perf.setting import LOOP
from benchmarks.perf.step import FULL
from benchmarks.runs import write
from benchmarks.runtime import devices
from strategies import nusa
from strategies.clip.classifier import ClipClassifier
from strategies.training.experiences import LabelledImages, make_benchmark
from strategies.training.pixels import Pixels
from strategies.training.template import ClipTemplate


POOL = 2048  # different images, again and again
STEPS, BATCH_SIZE = 1000, 16  # published
# Dense FLOP/s from NVIDIA's data sheets of the H100 SXM and H200 SXM (half of the figures with sparsity); float32 is without
# tensor cores. Of other GPUs no utilisation is told.
PEAK = {"bf16": 989e12, "tf32": 494e12, "float32": 67e12}
KNOWN = ("H100 80GB HBM3", "H200")


class Pool:
    """As many random images as a data set has, out of `POOL` different ones; a `Pixels`."""

    def __init__(self, count: int, side: int) -> None:
        self.count = count
        self.images = torch.randint(0, 256, (min(POOL, count), 3, side, side), dtype=torch.uint8)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, places: int | slice) -> Tensor:
        if isinstance(places, int):
            return self.images[places % len(self.images)]
        return self.images[torch.arange(self.count)[places] % len(self.images)]


def _flops(work: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def measure(model: str, precision: Precision, device: str, place: Path, share: float = 1.0) -> dict[str, Any]:
    """Seconds of the whole, by what they were spent on, and the utilisation of training and evaluation.

    Args:
        place: an empty folder, for the checkpoints.
        share: of images, steps and classes; below 1 to try this part out.

    Raises:
        UserError: no GPU, on which alone the whole means anything.
    """
    if device != "cuda" and share == 1:
        raise UserError("--part mtil: needs a CUDA device; on a CPU it takes days")
    common = resolve({"strategy": "nusa", "stream": "mtil", "device": device, "precision": precision}).common
    devices.check(common)
    torch.manual_seed(0)
    backbone, where = random_backbone(model), torch.device(device)
    side, steps = backbone.size, max(int(STEPS * share), 2)
    expected = {name: info(name).expected for name in NAMES}
    counts = {
        name: {what: max(int(count * share), 2 if what == "classes" else BATCH_SIZE) for what, count in each.items()}
        for name, each in expected.items()
    }
    names = {name: tuple(f"{name} number {label}" for label in range(counts[name]["classes"])) for name in NAMES}
    prompts = [
        tokenize_prompts(backbone, names[name], info(name).templates) for name in NAMES
    ]  # for each task (K, C, L)
    classifier = ClipClassifier(backbone.clip, prompts, backbone.mean, backbone.std).to(where)
    devices.prepare(classifier, common)

    def labelled(name: str, what: str) -> tuple[Pixels, Tensor]:
        return Pool(counts[name][what], side), torch.arange(counts[name][what]) % counts[name]["classes"]

    tests: Sequence[EvaluationSet] = [EvaluationSet(*labelled(name, "test")) for name in NAMES]
    plugin = nusa.Plugin(FULL)
    plugin.begin(classifier)
    meter = SpectrumMeter(classifier.clip, plugin.matrices, plugin.rho)
    plugin.decompositions = meter.decompositions
    template = ClipTemplate(
        model=classifier,
        plugins=plugin.plugins(),
        iterations=steps,
        batch_size=BATCH_SIZE,
        device=where,
        threads=4,
        **LOOP,
    )
    tasks = make_benchmark([LabelledImages(*labelled(name, "train")) for name in NAMES]).train_stream
    spent: dict[str, float] = {"training": 0.0, "evaluation": 0.0, "spectrum": 0.0, "saving": 0.0}
    progress = write.Progress()

    def clocked(what: str, work: Any) -> None:
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        spent[what] += time.perf_counter() - began

    for state in range(len(NAMES) + 1):
        if state:
            clocked("training", lambda task=tasks[state - 1]: template.train(task))
        if state == 1:
            tests = resident(tests, where, room(where, growth(classifier, BATCH_SIZE, 0)))
        clocked("evaluation", lambda tests=tests: evaluate(classifier, tests, list(names.values()), where))
        clocked("spectrum", lambda state=state: meter.measure(state))
        clocked(
            "saving",
            lambda: checkpoint.save_checkpoint(place, backbone.clip.state_dict(), plugin.state_dict(), progress),
        )
    evaluated = (len(NAMES) + 1) * sum(each["test"] for each in counts.values())
    figures: dict[str, Any] = {
        "mtil_share": share,
        "mtil_seconds": spent,
        "mtil_minutes": sum(spent.values()) / 60,
        "evaluation_images_per_second": evaluated / spent["evaluation"],
        "training_steps_per_second": steps * len(NAMES) / spent["training"],
    }
    if device == "cuda" and any(name in torch.cuda.get_device_name() for name in KNOWN):
        flops = _work(classifier, steps, evaluated, side)
        figures |= {f"{what}_model_flop_utilisation": flops[what] / spent[what] / PEAK[precision] for what in flops}
    return figures


def _work(classifier: ClipClassifier, steps: int, evaluated: int, side: int) -> dict[str, float]:
    """Floating-point operations of all trainings and evaluations that the model itself wants: forward, and in training the
    input-gradient, of images and of the tasks' prompts; not those of the update.
    """
    images = torch.zeros(BATCH, 3, side, side, dtype=torch.uint8, device=classifier.mean.device)
    with torch.no_grad():
        image = _flops(lambda: classifier.encode_images(images)) / BATCH
        texts = [_flops(lambda task=task: classifier.training_features(task)) for task in range(len(NAMES))]
    templates = [len(classifier.tokens(task)) for task in range(len(NAMES))]
    states = len(NAMES) + 1
    evaluation = evaluated * image + states * sum(k * text for k, text in zip(templates, texts, strict=True))
    return {"training": sum(2 * steps * (BATCH_SIZE * image + text) for text in texts), "evaluation": evaluation}

"""Measures NuSA-CL on all of MTIL order I on a GPU: eleven trainings and twelve evaluations, and the utilisation of the
GPU.

The images are random, but their number and size, the number of classes and the templates are those of MTIL.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.config.errors import UserError
from benchmarks.config.resolve import resolve
from benchmarks.config.settings import Common, Precision
from benchmarks.datasets.about import info
from benchmarks.experiment.backbones.loading import random_backbone, tokenize_prompts
from benchmarks.experiment.callbacks import Callbacks, chosen_measurements
from benchmarks.experiment.evaluation import BATCH, EvaluationSet
from benchmarks.experiment.loop import TaskLoop
from benchmarks.experiment.measurements.base import RunState
from benchmarks.experiment.setup import make_template
from benchmarks.perf.setting import LOOP, operations, whole
from benchmarks.perf.step import FULL
from benchmarks.runtime import devices
from benchmarks.runtime.progress import ProgressBar
from benchmarks.streams.mtil import ORDERS
from strategies import nusa
from strategies.base import Budget
from strategies.clip.classifier import ClipClassifier
from strategies.numerics.subspace import Decompositions
from strategies.training.experiences import LabelledImages, make_benchmark
from strategies.training.pixels import Pixels


NAMES = ORDERS["I"]
POOL = 2048  # number of different images, which are repeated
STEPS, BATCH_SIZE = 1000, 16  # the paper's, as in the recipe
# Dense FLOP/s from NVIDIA's data sheets of the H100 SXM and H200 SXM (half of the values with sparsity); float32 is without
# tensor cores. For other GPUs no utilisation is computed.
PEAK = {"bf16": 989e12, "tf32": 494e12, "float32": 67e12}
KNOWN = ("H100 80GB HBM3", "H200")


class Pool:
    """As many random images as a data set has, of which at most `POOL` (2048) differ.

    An index gives one image (3, side, side) uint8, a slice gives images (B, 3, side, side).

    Args:
        count: number of images.
        side: their height and width, in pixels.

    Attributes:
        count: number of images.
        images: the different ones, (min(POOL, count), 3, side, side) uint8; image i is number i modulo their number.
    """

    def __init__(self, count: int, side: int) -> None:
        self.count = count
        self.images = torch.randint(0, 256, (min(POOL, count), 3, side, side), dtype=torch.uint8)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, places: int | slice) -> Tensor:
        if isinstance(places, int):
            return self.images[places % len(self.images)]
        return self.images[torch.arange(self.count)[places] % len(self.images)]


class Mtil:
    """NuSA-CL on MTIL in the training loop of a real run, with random weights and eleven tasks of random images.

    Args:
        model: name of an open_clip model.
        common: the settings of the run; its device is `cpu` or `cuda`.
        place: an empty folder for the checkpoints.
        share: which share of the published numbers of images and classes is used, above 0 and at most 1.

    Attributes:
        counts: by data set, the numbers of `train` and `test` images and of `classes`.
        side: height and width of the images, in pixels.
        classifier: the model.
        run: the state of the run.
        loop: learns and tests; `loop.reach(template, 1)` learns the first task.
        template: the Avalanche strategy that trains the model.
    """

    def __init__(self, model: str, common: Common, place: Path, share: float) -> None:
        torch.manual_seed(0)
        self.counts = _counts(share)
        backbone = random_backbone(model)
        self.side = backbone.size
        class_names = [
            tuple(f"{name} number {label}" for label in range(self.counts[name]["classes"])) for name in NAMES
        ]
        prompts = [
            tokenize_prompts(backbone.tokenize, classes, info(name).templates)
            for name, classes in zip(NAMES, class_names, strict=True)
        ]  # for each task (K, C, L)
        device = torch.device(common.device)
        self.classifier = ClipClassifier(backbone.clip, prompts, backbone.mean, backbone.std).to(device)
        devices.prepare(self.classifier, common.arithmetic)
        plugin = nusa.Plugin(FULL)
        plugin.decompositions = Decompositions(keep=True)
        plugin.begin(self.classifier)
        self.run = RunState(place, {}, NAMES, self.classifier, plugin)
        bar = ProgressBar(silent=True)
        budgets = [Budget(int(common.iterations), float(common.lr))] * len(NAMES)  # type: ignore[arg-type]
        self.loop = TaskLoop(
            self.run, Callbacks(chosen_measurements(plugin), bar), budgets=budgets, batch_size=common.batch_size, bar=bar,
            tests=[EvaluationSet(*self._labelled(name, "test")) for name in NAMES], class_names=class_names,
            experiences=make_benchmark([LabelledImages(*self._labelled(name, "train")) for name in NAMES]).train_stream,
            memory_hint="a smaller --model",
        )  # fmt: skip
        self.template = make_template(
            self.classifier, plugin, common, budgets, self.loop.step_begin, lambda: self.loop.step_end(self.template)
        )

    def _labelled(self, name: str, half: str) -> tuple[Pixels, Tensor]:
        count = self.counts[name][half]
        return Pool(count, self.side), torch.arange(count) % self.counts[name]["classes"]

    @property
    def seconds(self) -> dict[str, float]:
        """The seconds so far, summed over the tasks, by activity: `training`, `evaluation`, `spectrum` and `saving`.

        `training` includes NuSA-CL's decompositions; `spectrum` is the time of all measurements; `saving` is that of
        checkpoints and tables.
        """
        cost = self.run.cost
        return {
            "training": sum(cost.training) + sum(cost.decomposition),
            **{what: sum(getattr(cost, what)) for what in ("evaluation", "spectrum", "saving")},
        }


def _counts(share: float) -> dict[str, dict[str, int]]:
    """Returns the numbers of `train` and `test` images and of `classes` of each data set: a share of the published
    ones.
    """
    least = {"train": BATCH_SIZE, "test": BATCH_SIZE, "classes": 2}
    return {
        name: {what: max(int(count * share), least[what]) for what, count in info(name).expected.items()}
        for name in NAMES
    }


def measure(
    model: str, precision: Precision, device: str, place: Path, share: float = 1.0, estimate: bool = False
) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part mtil` measures: NuSA-CL on MTIL order I, on random images in memory.

    Args:
        model: name of an open_clip model.
        precision: in which the towers compute: `float32`, `tf32` or `bf16`.
        device: `cpu` or `cuda`.
        place: an empty folder for the checkpoints.
        share: which share of MTIL's images, steps and classes is used, above 0 and at most 1; below 1 for a trial.
        estimate: whether to measure only the first task and the evaluation after it, and estimate the whole as eleven
            trainings and twelve evaluations. The first task, Aircraft, has 100 classes; the mean is 109.

    Returns:
        `mtil_share`, `mtil_estimated`: the arguments `share` and `estimate`.
        `mtil_seconds`: total seconds by `training`, `evaluation`, `spectrum` (measurements) and `saving`.
        `mtil_minutes`: their sum in minutes.
        `mtil_measured_seconds`: only with `estimate`; the seconds that were measured, by the same keys.
        `evaluation_images_per_second`, `training_steps_per_second`: speeds over the whole stream.
        `training_model_flop_utilisation`, `evaluation_model_flop_utilisation`: only on an H100 or H200; floating-point
        operations of the model per second / the GPU's published peak, 0 to 1.

    Raises:
        UserError: the device is no GPU and `share` is 1.
    """
    if device != "cuda" and share == 1:
        raise UserError("--part mtil: needs a CUDA device; on a CPU it takes days")
    steps = max(int(STEPS * share), 2)
    settings = {"strategy": "nusa", "stream": "mtil", "device": device, "precision": precision, "iterations": steps}
    common = resolve({**settings, **LOOP}).common
    devices.check(common.device, common.arithmetic)
    mtil, tasks, states = Mtil(model, common, place, share), len(NAMES), len(NAMES) + 1
    figures: dict[str, Any] = {"mtil_share": share, "mtil_estimated": estimate}
    if estimate:
        mtil.run.resumed = True  # so that the interference of the first task is measured too
        mtil.loop.callbacks.tell("on_run_begin", mtil.run)
        mtil.loop.reach(mtil.template, 1)
        figures["mtil_measured_seconds"] = seconds = mtil.seconds
        seconds = {what: each * (tasks if what == "training" else states) for what, each in seconds.items()}
    else:
        for state in range(states):
            mtil.loop.reach(mtil.template, state)
        seconds = mtil.seconds
    evaluated = states * sum(each["test"] for each in mtil.counts.values())
    figures |= {
        "mtil_seconds": seconds,
        "mtil_minutes": sum(seconds.values()) / 60,
        "evaluation_images_per_second": evaluated / seconds["evaluation"],
        "training_steps_per_second": steps * tasks / seconds["training"],
    }
    if device == "cuda" and any(name in torch.cuda.get_device_name() for name in KNOWN):
        flops = _work(mtil.classifier, steps, evaluated, mtil.side)
        figures |= {f"{what}_model_flop_utilisation": flops[what] / seconds[what] / PEAK[precision] for what in flops}
    return figures


def _work(classifier: ClipClassifier, steps: int, evaluated: int, side: int) -> dict[str, float]:
    """Returns the floating-point operations of all trainings and evaluations that the whole model needs, by `training`
    and `evaluation`.

    These are the forward pass, and in training the input-gradient, of images and of the tasks' prompts. As usual for
    utilisation, neither the update's own are counted, nor is what the towers leave out taken off.
    """
    classifier = whole(classifier)
    images = torch.zeros(BATCH, 3, side, side, dtype=torch.uint8, device=classifier.mean.device)
    with torch.no_grad():
        image = operations(lambda: classifier.encode_images(images)) / BATCH
        texts = [operations(partial(classifier.training_features, task)) for task in range(len(NAMES))]
    templates = [len(classifier.tokens(task)) for task in range(len(NAMES))]
    states = len(NAMES) + 1
    evaluation = evaluated * image + states * sum(k * text for k, text in zip(templates, texts, strict=True))
    return {"training": sum(2 * steps * (BATCH_SIZE * image + text) for text in texts), "evaluation": evaluation}

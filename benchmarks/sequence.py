"""The loop over tasks: train, evaluate on all, measure the weights, record; and going on where a run was stopped."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import record
from benchmarks.backbones import Backbone, tokenize_prompts
from benchmarks.config import RunConfig
from benchmarks.errors import UserError
from benchmarks.evaluate import EvaluationSet, evaluate
from benchmarks.images import decode
from benchmarks.record import Progress
from benchmarks.spectrum import SpectrumMeter
from benchmarks.streams import Split, Stream
from benchmarks.watch import Watch
from strategies.parts.classifier import ClipClassifier
from strategies.parts.experiences import LabelledImages, make_benchmark
from strategies.parts.plugin import StrategyPlugin
from strategies.parts.template import ClipTemplate, NotFinite


STEP_WORK = 3  # a training image costs about three times an evaluated one (forward, backward): for the time left


@dataclass(frozen=True)
class Data:
    """A stream's images in memory, by task in order.

    All of them at once, as bytes at the backbone's size: 3 kB for an image at 32 pixels, 150 kB at 224.
    """

    train: Sequence[LabelledImages]
    test: Sequence[EvaluationSet]

    @property
    def sha256(self) -> str:
        """Of all images and labels: whether a run goes on with what it began with."""
        digest = hashlib.sha256()
        for train, test in zip(self.train, self.test, strict=True):
            for images, labels in ((train.images, torch.tensor(train.targets)), test):
                digest.update(images.numpy().data)
                digest.update(labels.numpy().data)
        return digest.hexdigest()


def load_data(stream: Stream, size: int, watch: Watch) -> Data:
    """Decodes every image of a stream once, at the backbone's size."""
    watch.begin("reading images", sum(len(task.train) + len(task.test) for task in stream.tasks))

    def load(split: Split) -> tuple[Tensor, Tensor]:
        return decode(split, size, watch.advance), torch.from_numpy(split.labels)

    return Data(
        train=[LabelledImages(*load(task.train)) for task in stream.tasks],
        test=[EvaluationSet(*load(task.test)) for task in stream.tasks],
    )


def make_classifier(backbone: Backbone, stream: Stream) -> ClipClassifier:
    """The classifier over the prompts of all tasks."""
    prompts = [tokenize_prompts(backbone, task.class_names, task.templates) for task in stream.tasks]
    return ClipClassifier(backbone.clip, prompts, backbone.mean, backbone.std)


class TaskSequence:
    """One run: a strategy taken through a stream.

    Args:
        config: with the device resolved.
        stream: tasks in the order in which they are learned.
        plugin: the strategy.
        path: the run folder, to be locked by the caller before `run`.
    """

    def __init__(
        self, config: RunConfig, stream: Stream, backbone: Backbone, plugin: StrategyPlugin, path: Path, watch: Watch
    ) -> None:
        self.config, self.stream, self.plugin, self.path, self.watch = config, stream, plugin, path, watch
        self.names = [task.name for task in stream.tasks]
        common = config.common
        self.device = torch.device(common.device)
        self.classifier = make_classifier(backbone, stream).to(self.device)
        self.meter = SpectrumMeter(self.classifier.clip, plugin.matrices, plugin.rho)
        self.data = load_data(stream, backbone.size, watch)
        self.experiences = make_benchmark(self.data.train).train_stream
        self.template = ClipTemplate(
            model=self.classifier,
            plugins=[plugin],
            iterations=common.iterations,
            batch_size=common.batch_size,
            lr=common.lr,
            weight_decay=common.weight_decay,
            warmup=common.warmup,
            label_smoothing=common.label_smoothing,
            seed=common.seed,
            device=self.device,
            on_step=lambda: watch.advance(STEP_WORK * common.batch_size),
        )

    def run(self) -> None:
        """Goes through all states that are not measured yet, and writes each down before the next begins.

        Raises:
            UserError: non-finite loss (task and step named), a damaged checkpoint, a disk that is full.
        """
        progress = self._restore()
        self._announce(progress)
        for state in range(progress.states, len(self.names) + 1):
            if state > 0:
                self._learn(state - 1, progress)
            self._measure(state, progress)
            self._save(progress)
        # Once more: a kill may have come between the last checkpoint and its tables.
        record.save_tables(self.path, progress, self.names)
        record.save_model(self.path, self.classifier.clip.state_dict())

    def _restore(self) -> Progress:
        """The progress so far with the model, the strategy and the meter as they were; empty for a new run."""
        found = record.load_checkpoint(self.path)
        if found is None:
            return Progress()
        model, strategy, progress = found
        try:
            self.classifier.clip.load_state_dict(model)
            self.plugin.load_state_dict(strategy)
        except (RuntimeError, KeyError) as error:
            raise UserError(f"{self.path / record.CHECKPOINT}: not a checkpoint of this model and strategy") from error
        self.meter.remember()
        learned = progress.states - 1
        self.classifier.known_train_tasks_labels = set(range(learned))
        self.template.clock.train_exp_counter = learned
        self.watch.say(f"going on after {learned} of {len(self.names)} tasks")
        return progress

    def _announce(self, progress: Progress) -> None:
        common = self.config.common
        states = len(self.names) + 1 - progress.states
        tasks = min(states, len(self.names))
        tested = sum(len(test.labels) for test in self.data.test)
        trained = tasks * STEP_WORK * common.iterations * common.batch_size if self.plugin.trains else 0
        self.watch.begin("", states * tested + trained)

    def _learn(self, task: int, progress: Progress) -> None:
        name, cost = self.names[task], progress.cost
        self.watch.now(f"{task + 1}/{len(self.names)} {name}: training")
        decomposing = self.plugin.decomposition_seconds
        try:
            with cost.timed("training"):
                self.template.train(self.experiences[task])
            self.template.check_weights()
        except NotFinite as error:
            raise UserError(
                f"task {task + 1} ({name}), step {error.step}: the {error.what} is not finite; try a smaller --lr. "
                f"The {progress.states} finished rows are kept in {self.path}"
            ) from error
        cost.decomposition.append(self.plugin.decomposition_seconds - decomposing)
        cost.training[-1] -= cost.decomposition[-1]
        cost.trained_parameters.append(self.template.trained_count)
        cost.carried_bytes.append(sum(tensor.nbytes for tensor in self.plugin.state_dict().values()))
        for note in self.plugin.notes:
            self.watch.say(f"  {note}")

    def _measure(self, state: int, progress: Progress) -> None:
        after = f"{state}/{len(self.names)} {self.names[state - 1]}" if state else "before training"
        self.watch.now(f"{after}: evaluating")
        with progress.cost.timed("evaluation"):
            class_names = [task.class_names for task in self.stream.tasks]
            accuracies = evaluate(self.classifier, self.data.test, class_names, self.device, self.watch.advance)
        with progress.cost.timed("spectrum"):
            progress.rank += self.meter.measure(state)
        progress.known.append(accuracies.known)
        progress.unknown.append(accuracies.unknown)
        progress.cost.note_memory()
        mean = sum(accuracies.known) / len(accuracies.known)
        own = f", this task {accuracies.known[state - 1]:.1f} %" if state else ""
        self.watch.say(f"{after}: mean accuracy {mean:.1f} %{own}")

    def _save(self, progress: Progress) -> None:
        model: dict[str, Any] = self.classifier.clip.state_dict()
        record.save_checkpoint(self.path, model, self.plugin.state_dict(), progress)
        record.save_tables(self.path, progress, self.names)

"""The loop over tasks: train, evaluate on all, measure the weights, record; and going on where a run was stopped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.backbones.loading import Backbone, tokenize_prompts
from benchmarks.config.errors import UnreadableImage, UserError
from benchmarks.config.settings import RunConfig, for_task
from benchmarks.experiment import checkpoint
from benchmarks.experiment.data import load
from benchmarks.experiment.evaluation import EvaluationSet, evaluate
from benchmarks.images.auxiliary import Reference, give
from benchmarks.images.decode import threads
from benchmarks.images.gpu_cache import growth, resident, room
from benchmarks.images.opener import Opener
from benchmarks.measurements.cost import Ledger
from benchmarks.measurements.spectrum import SpectrumMeter
from benchmarks.runs import write
from benchmarks.runs.write import Progress
from benchmarks.runtime import devices, processes
from benchmarks.runtime.progress import Watch
from benchmarks.streams.base import Stream
from strategies.base import Budget, StrategyPlugin, Unfit
from strategies.clip.classifier import ClipClassifier
from strategies.training.experiences import make_benchmark
from strategies.training.template import ClipTemplate, NotFinite


STEP_WORK = 3  # a training image costs about three times an evaluated one (forward, backward): for the time left


def make_classifier(backbone: Backbone, stream: Stream) -> ClipClassifier:
    """The classifier over the prompts of all tasks."""
    prompts = [tokenize_prompts(backbone, task.class_names, task.templates) for task in stream.tasks]
    return ClipClassifier(backbone.clip, prompts, backbone.mean, backbone.std)


class TaskSequence:
    """One run: a strategy taken through a stream.

    Args:
        config: with the device resolved.
        stream: tasks in the order in which they are learned.
        reference: what the strategy reads besides them.
        plugin: the strategy.
        path: the run folder, to be locked by the caller before `run`.
        cache: where decoded images are kept, None for nowhere.
    """

    def __init__(
        self,
        config: RunConfig,
        stream: Stream,
        reference: Reference,
        backbone: Backbone,
        plugin: StrategyPlugin,
        path: Path,
        cache: Path | None,
        watch: Watch,
    ) -> None:
        self.config, self.stream, self.plugin, self.path, self.watch = config, stream, plugin, path, watch
        self.names = [task.name for task in stream.tasks]
        common = config.common
        self.about = backbone.about
        self.device = torch.device(common.device)
        self.classifier = make_classifier(backbone, stream).to(self.device)
        devices.prepare(self.classifier, common)
        self.meter = SpectrumMeter(self.classifier.clip, plugin.matrices, plugin.rho)
        plugin.decompositions = self.meter.decompositions
        try:
            self.data = load(stream, backbone.size, common.augmentation, cache, watch)
        except UnreadableImage as error:
            raise UserError(
                f"{error}; benchmarks.prepare --stream {common.stream} --check names all such images"
            ) from error
        self.reference_sha256 = give(reference, plugin, backbone, Opener(backbone.size, cache, watch))
        try:
            plugin.begin(self.classifier)
        except Unfit as error:
            raise UserError(str(error)) from error
        self.tests: Sequence[EvaluationSet] = self.data.test
        self.counts = [len(task.test) for task in stream.tasks]
        self.experiences = make_benchmark(self.data.train).train_stream
        tasks = range(len(self.names))
        self.budgets = plugin.budgets(
            [Budget(self._of(common.iterations, task), self._of(common.lr, task)) for task in tasks],
            for_task(common.lr, "default", "default"),
        )
        self.template = ClipTemplate(
            model=self.classifier,
            plugins=plugin.plugins(),
            iterations=self.budgets[0].steps,
            batch_size=common.batch_size,
            lr=self.budgets[0].lr,
            weight_decay=common.weight_decay,
            warmup=common.warmup,
            label_smoothing=common.label_smoothing,
            seed=common.seed,
            device=self.device,
            threads=threads(),
            on_step=lambda: watch.advance(STEP_WORK * common.batch_size),
        )

    def _of(self, setting: Any, task: int) -> Any:
        return for_task(setting, self.names[task], self.stream.tasks[task].source.dataset)

    def run(self) -> None:
        """Goes through all states that are not measured yet, and writes each down before the next begins.

        Raises:
            UserError: non-finite loss (task and step named), a damaged checkpoint, a disk that is full.
        """
        progress = self._restore()
        self._announce(progress)
        for state in range(progress.states, len(self.names) + 1):
            with devices.memory_advice(devices.less_memory(self.config.common), self._kept(progress)):
                if state > 0:
                    self._learn(state - 1, progress)
                    self._keep_tests(state - 1)
                self._measure(state, progress)
            self._save(progress)
        if not processes.is_first():
            return
        # Once more: a kill may have come between the last checkpoint and its tables.
        write.save_tables(self.path, progress, self.names, self.counts)
        checkpoint.save_model(self.path, self.classifier.clip.state_dict(), self.about)

    def _kept(self, progress: Progress) -> str:
        return f"The {progress.states} finished rows are kept in {self.path}"

    def _keep_tests(self, learned: int) -> None:
        """Test images on the GPU, from the first training on, which tells how much memory is left for them."""
        if self.tests is self.data.test:
            larger = growth(self.classifier, self.config.common.batch_size, learned)
            self.tests = resident(self.data.test, self.device, room(self.device, larger))

    def _restore(self) -> Progress:
        """The progress so far with the model, the strategy and the meter as they were; empty for a new run."""
        found = checkpoint.load_checkpoint(self.path)
        if found is None:
            read = self.plugin.reference_images, self.plugin.reference_texts
            images, texts = (0 if each is None else len(each) for each in read)
            return Progress(cost=Ledger(reference_images=images, reference_texts=texts))
        model, strategy, progress = found
        # A state's saving is known once it is over, so its checkpoint does not have it; an older version's has none.
        progress.cost.saving += [0.0] * (progress.states - len(progress.cost.saving))
        try:
            self.classifier.clip.load_state_dict(model)
            self.plugin.load_state_dict(strategy)
        except (RuntimeError, KeyError) as error:
            raise UserError(f"{self.path / write.CHECKPOINT}: not a checkpoint of this model and strategy") from error
        self.meter.remember()
        learned = progress.states - 1
        self.classifier.known_train_tasks_labels = set(range(learned))
        self.template.clock.train_exp_counter = learned
        self.watch.say(f"going on after {learned} of {len(self.names)} tasks")
        return progress

    def _announce(self, progress: Progress) -> None:
        common = self.config.common
        states = len(self.names) + 1 - progress.states
        left = range(max(progress.states - 1, 0), len(self.names))
        steps = sum(self.budgets[task].steps for task in left) if self.plugin.trains else 0
        self.watch.begin("", states * sum(self.counts) + STEP_WORK * steps * common.batch_size)

    def _learn(self, task: int, progress: Progress) -> None:
        name, cost, budget = self.names[task], progress.cost, self.budgets[task]
        self.watch.now(f"{task + 1}/{len(self.names)} {name}: training")
        decomposing, ready = self.plugin.decomposition_seconds, self.plugin.ready_seconds
        self.template.iterations, self.template.lr = budget.steps, budget.lr
        try:
            with cost.timed("training"):
                self.template.train(self.experiences[task])
            self.template.check_weights()
        except NotFinite as error:
            raise UserError(
                f"task {task + 1} ({name}), step {error.step}: the {error.what} is not finite; try a smaller --lr. "
                + self._kept(progress)
            ) from error
        cost.decomposition.append(self.plugin.decomposition_seconds - decomposing)
        cost.training[-1] -= cost.decomposition[-1] - (self.plugin.ready_seconds - ready)  # which took no time here
        cost.trained_parameters.append(self.template.trained_count)
        cost.carried_bytes.append(sum(tensor.nbytes for tensor in self.plugin.state_dict().values()))
        for note in self.plugin.notes:
            self.watch.say(f"  {note}")

    def _measure(self, state: int, progress: Progress) -> None:
        after = f"{state}/{len(self.names)} {self.names[state - 1]}" if state else "before training"
        self.watch.now(f"{after}: evaluating")
        with progress.cost.timed("evaluation"):
            class_names = [task.class_names for task in self.stream.tasks]
            accuracies = evaluate(self.classifier, self.tests, class_names, self.device, state, self.watch.advance)
        with progress.cost.timed("spectrum"):
            progress.add_rank(self.meter.measure(state))
            if state in (0, len(self.names)):
                progress.add_spectrum(self.meter.spectra(state))
        progress.add_accuracies(accuracies)
        progress.cost.note_memory()
        mean = sum(accuracies.known) / len(accuracies.known)
        own = f", this task {accuracies.known[state - 1]:.1f} %" if state else ""
        self.watch.say(f"{after}: mean accuracy {mean:.1f} %{own}")

    def _save(self, progress: Progress) -> None:
        if not processes.is_first():
            return
        model: dict[str, Any] = self.classifier.clip.state_dict()
        with progress.cost.timed("saving"):
            checkpoint.save_checkpoint(self.path, model, self.plugin.state_dict(), progress)
            write.save_tables(self.path, progress, self.names, self.counts)

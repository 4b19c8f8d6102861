"""The loop over the tasks: train, test on all tasks, measure, save; and resuming an interrupted run."""

from collections.abc import Sequence
from typing import Any

from benchmarks.config.errors import Diverged, UserError
from benchmarks.experiment import checkpoint
from benchmarks.experiment.callbacks import Callbacks
from benchmarks.experiment.evaluation import Accuracies, EvaluationSet, evaluate_states
from benchmarks.experiment.gpu_cache import growth, resident, room
from benchmarks.experiment.measurements.base import RunState
from benchmarks.experiment.predictions import Predictions
from benchmarks.runs import record as tables
from benchmarks.runs.ledger import Ledger
from benchmarks.runs.record import RunRecord
from benchmarks.runs.write import CHECKPOINT
from benchmarks.runtime import devices, memory
from benchmarks.runtime.progress import ProgressBar
from strategies.base import Budget, Unfit
from strategies.training.template import ClipTemplate, NotFinite


STEP_WORK = 3  # a training image costs about three evaluated ones (forward, backward): for the remaining time


class TaskLoop:
    """Trains and tests one strategy on one stream.

    Args:
        run: the state of the run, which the loop updates; its model and strategy are trained.
        callbacks: notified of the run's events.
        tests: the test images and labels of each task, in learning order.
        class_names: for each task the names of its classes, in label order.
        budgets: steps and peak learning rate of each task.
        experiences: Avalanche's experiences, one for each task.
        batch_size: training images in a step.
        memory_hint: what to try if memory runs out, for the error message.
        bar: shows the progress.
        predictions: collects and writes what is predicted for each test image; None for nothing.

    Attributes:
        record: everything measured so far: accuracies, tables of the measurements and costs.
        counts: the number of test images of each task.
    """

    def __init__(
        self,
        run: RunState,
        callbacks: Callbacks,
        *,
        tests: Sequence[EvaluationSet],
        class_names: Sequence[Sequence[str]],
        budgets: Sequence[Budget],
        experiences: Any,
        batch_size: int,
        memory_hint: str,
        bar: ProgressBar,
        predictions: Predictions | None = None,
    ) -> None:
        self.run, self.callbacks, self.bar = run, callbacks, bar
        self.tests, self.first_tests, self.class_names = tests, tests, class_names
        self.budgets, self.experiences = budgets, experiences
        self.batch_size, self.memory_hint = batch_size, memory_hint
        self.counts = [len(labels) for _, labels in tests]
        self.predictions = predictions
        self.record = RunRecord()
        self._ahead: dict[int, Accuracies] = {}  # of states to come, as long as nothing changes the model
        self._evaluated = ""  # a digest of that model

    def step_begin(self) -> None:
        """Calls `on_step_begin` of every callback. The training template calls this method before every step."""
        self.callbacks.tell("on_step_begin", self.run)

    def step_end(self, template: ClipTemplate) -> None:
        """Stores the step's losses and learning rate in the state of the run and calls `on_step_end` of every callback.

        Then it counts the step and moves the progress bar. To be called after every training step.

        Args:
            template: the training template, which has just taken the step.
        """
        self.run.loss, self.run.cross_entropy = template.losses[self.run.step]
        self.run.lr = template.step_lr
        self.callbacks.step_end(self.run)
        self.run.step += 1
        self.bar.advance(STEP_WORK * self.batch_size)

    def go(self, template: ClipTemplate, about: dict[str, str]) -> None:
        """Tests the model before training, learns and tests task after task, and writes the merged model at the end.

        Each result is saved before the next task begins. A run that has a checkpoint is resumed after its last finished
        task.

        Args:
            template: the Avalanche strategy that trains the run's model, as `make_template` returns it.
            about: metadata of the merged model's file: `model`, its name, `quick_gelu`, `true` or
                `false`, and `preprocessing`, json.

        Raises:
            UserError: the loss is not finite (the message names task and step), scores are no numbers, the checkpoint is
                damaged, the disk is full, or a callback fails.
        """
        self._restore(template)
        self._announce()
        self.callbacks.tell("on_run_begin", self.run)
        for state in range(self.record.states, len(self.run.tasks) + 1):
            self.reach(template, state)
        if self.run.is_first:
            # Again: the process may have been killed between the last checkpoint and its tables.
            tables.save_tables(self.run.folder, self.record, list(self.run.tasks), self.counts)
            model, strategy = self.run.model.clip.state_dict(), self.run.strategy.state_dict()
            checkpoint.save_model(self.run.folder, model, strategy, about)
        self.callbacks.tell("on_run_end", self.run)

    def reach(self, template: ClipTemplate, state: int) -> None:
        """Learns one task, tests on all tasks, takes the measurements, and writes checkpoint and tables.

        Args:
            template: the Avalanche strategy that trains the run's model, as `make_template` returns it.
            state: the number of tasks learned afterwards: 1 learns the first task, 0 learns none.

        Raises:
            UserError: the loss is not finite (the message names task and step), the disk is full, or a callback fails.
        """
        with devices.memory_advice(self.memory_hint, self._kept()):
            if state > 0:
                self._learn(template, state - 1)
                self._keep_tests(state - 1)
            said = self._measure(state)
        self._save()
        self.callbacks.tell("on_saved", self.run)
        if said:
            self.bar.say(said)  # not before: who reads it may stop the run and expects it to go on from here

    def _kept(self) -> str:
        return f"The {self.record.states} finished rows are kept in {self.run.folder}"

    def _keep_tests(self, learned: int) -> None:
        """Moves test images to the GPU after the first training, whose peak memory tells how much is free for them."""
        if self.tests is self.first_tests:
            device = self.run.model.mean.device
            larger = growth(self.run.model, self.batch_size, learned)
            self.tests = resident(self.first_tests, device, room(device, larger))

    def _restore(self, template: ClipTemplate) -> None:
        """Loads the checkpoint's record, model and strategy, if there is one."""
        run = self.run
        found = checkpoint.load_checkpoint(run.folder, run.settings)
        if found is None:
            read = run.strategy.reference_images, run.strategy.reference_texts
            images, texts = (0 if each is None else len(each) for each in read)
            run.cost = self.record.cost = Ledger(reference_images=images, reference_texts=texts)
            return
        model, strategy, self.record = found
        run.cost = self.record.cost
        # A checkpoint lacks the time of its own saving; those of older versions lack all of them.
        run.cost.saving += [0.0] * (self.record.states - len(run.cost.saving))
        try:
            run.model.clip.load_state_dict(model)
            run.strategy.load_state_dict(strategy)
        except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{run.folder / CHECKPOINT}: not a checkpoint of this model and strategy") from error
        run.resumed, run.learned = True, self.record.states - 1
        run.model.known_train_tasks_labels = set(range(run.learned))
        template.clock.train_exp_counter = run.learned
        self.bar.say(f"going on after {run.learned} of {len(run.tasks)} tasks")

    def _announce(self) -> None:
        states = len(self.run.tasks) + 1 - self.record.states if self.run.strategy.trains else 1
        left = range(max(self.record.states - 1, 0), len(self.run.tasks))
        steps = sum(self.budgets[task].steps for task in left) if self.run.strategy.trains else 0
        self.bar.begin("", states * sum(self.counts) + STEP_WORK * steps * self.batch_size)

    def _learn(self, template: ClipTemplate, task: int) -> None:
        run, plugin, cost, budget = self.run, self.run.strategy, self.run.cost, self.budgets[task]
        self.bar.now(f"{task + 1}/{len(run.tasks)} {run.tasks[task]}: training")
        run.task, run.step, run.steps = task, 0, budget.steps
        self.callbacks.tell("on_task_begin", run)
        decomposing, ready = plugin.decomposition_seconds, plugin.ready_seconds
        template.iterations, template.lr = budget.steps, budget.lr
        try:
            with cost.timed("training"):
                template.train(self.experiences[task])
            template.check_weights()
        except Unfit as error:
            raise UserError(str(error)) from error  # the run cannot go on: what is finished is of no use
        except NotFinite as error:
            raise Diverged(
                f"task {task + 1} ({run.tasks[task]}), step {error.step}: the {error.what} is not finite; "
                f"try a smaller --lr. {self._kept()}"
            ) from error
        cost.decomposition.append(plugin.decomposition_seconds - decomposing)
        cost.training[-1] -= cost.decomposition[-1] - (plugin.ready_seconds - ready)  # these were not computed here
        cost.trained_parameters.append(template.trained_count + plugin.fitted)
        cost.carried_bytes.append(sum(tensor.nbytes for tensor in plugin.state_dict().values()))
        run.learned = task + 1
        self.callbacks.tell("on_task_end", run)
        run.task = None
        if plugin.trains and budget.steps and not template.trained_count:
            self.bar.say("  nothing was trained: no parameter required a gradient when the optimiser was made")
        for note in plugin.notes:
            self.bar.say(f"  {note}")

    def _measure(self, state: int) -> str:
        run, cost = self.run, self.run.cost
        before = "before training" if run.strategy.trains else "not trained"
        after = f"{state}/{len(run.tasks)} {run.tasks[state - 1]}" if state else before
        self.bar.now(f"{after}: evaluating")
        with cost.timed("evaluation"):
            found = self._accuracies(state)
            if self.predictions:
                self.predictions.write(run.folder, state, is_first=run.is_first)
        run.accuracy = found.known
        self._note_memory()
        with cost.timed("spectrum"):
            self.callbacks.measure(run, self.record)
        self._note_memory()
        self.record.add_accuracies(found.known, found.unknown, found.seen)
        mean = sum(found.known) / len(found.known)
        own = f", this task {found.known[state - 1]:.1f} %" if state else ""
        self.callbacks.tell("on_evaluation_end", run)
        if state and not run.strategy.trains:
            return ""  # which was said before any training
        return f"{after}: mean accuracy {mean:.1f} %{own}"

    def _accuracies(self, state: int) -> Accuracies:
        model, plugin, last = self.run.model, self.run.strategy, state
        if not plugin.trains:
            last = len(self.run.tasks)
            now = checkpoint.digest({**model.clip.state_dict(), **plugin.state_dict()})
            if now == self._evaluated:
                return self._ahead[state]
            self._evaluated = now
        states = range(state, last + 1)
        found = self.evaluate(states)
        self._ahead = dict(zip(states, found, strict=True))
        return self._ahead[state]

    def evaluate(self, states: Sequence[int]) -> list[Accuracies]:
        """Returns the accuracies of the model as it is now on all tasks, in each of several states.

        Args:
            states: for each state the number of tasks learned, which decides the classes that count as seen.
        """
        model, watch = self.run.model, None
        if self.predictions:
            self.predictions.begin()
            watch = self.predictions.watch
        return evaluate_states(model, self.tests, self.class_names, model.mean.device, states, self.bar.advance, watch)

    def _note_memory(self) -> None:
        self.run.cost.note_memory(memory.peak_host_bytes(), memory.peak_gpu_bytes())

    def _save(self) -> None:
        run = self.run
        if not run.is_first:
            return
        model: dict[str, Any] = run.model.clip.state_dict()
        with run.cost.timed("saving"):
            checkpoint.save_checkpoint(run.folder, model, run.strategy.state_dict(), self.record, run.settings)
            tables.save_tables(run.folder, self.record, list(run.tasks), self.counts)

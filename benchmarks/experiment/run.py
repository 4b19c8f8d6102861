"""One run: from a checked request to a finished run folder."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.backbones.loading import Backbone, load_backbone
from benchmarks.config.errors import UnreadableImage, UserError
from benchmarks.config.settings import Common
from benchmarks.experiment.callbacks import Callbacks, chosen_measurements
from benchmarks.experiment.data import Data, load
from benchmarks.experiment.loop import TaskLoop
from benchmarks.experiment.request import Request, check_batch, check_inputs
from benchmarks.experiment.setup import make_budgets, make_classifier, make_template
from benchmarks.images import auxiliary
from benchmarks.images.opener import Opener
from benchmarks.measurements.base import Callback, RunState
from benchmarks.runs import write
from benchmarks.runtime import devices, environment, files, hardware, process_group, processes
from benchmarks.runtime.progress import ProgressBar
from benchmarks.streams.base import Stream
from strategies import shared, training
from strategies.base import StrategyPlugin, Unfit
from strategies.numerics.subspace import Decompositions
from strategies.training.experiences import make_benchmark


def execute(request: Request, stream: Stream, callbacks: Sequence[Callback] = (), *, silent: bool = False) -> None:
    """Takes the request's strategy through a stream, or goes on where that was stopped; ends with a finished run folder.

    Args:
        stream: the request's, opened.
        callbacks: besides the measurements.
        silent: without a progress bar and lines on stderr.

    Raises:
        UserError: all wrong input, before the folder is made; then whatever stops a run.
    """
    began, first = time.perf_counter(), processes.is_first()
    common, folder = request.config.common, request.folder
    files.check_writable(folder)
    with ExitStack() as until_done:
        # Held until the end. Where the folder is there, it is taken before anything slow is done.
        if first and folder.exists():
            until_done.callback(write.lock(folder).release)
        environment.keep_freed_memory()
        plugin = make_plugin(request)
        read = auxiliary.find(
            plugin.reads, request.places.auxiliary_images, request.places.auxiliary_texts,
            method=common.strategy, drawn=common.model == "micro", pool=getattr(request.config.settings, "pool", 0),
            batch_size=common.batch_size,
        )  # fmt: skip
        device = devices.pick_device(common.device)
        if plugin.trains:
            check_batch(stream, common.batch_size)
        processes.check(common.strategy, common.batch_size, plugin.data_parallel)
        hint = devices.less_memory(common.checkpointing)
        until_done.enter_context(process_group.joined(device))
        until_done.enter_context(devices.memory_advice(hint))
        bar = until_done.enter_context(ProgressBar(silent=silent or not first))
        devices.check(device, common.arithmetic)  # on the device that this process has taken
        told = Callbacks([*chosen_measurements(request.measure), *callbacks], bar)

        backbone = load_backbone(common.model, common.pretrained)
        classifier = make_classifier(backbone, stream).to(device)
        devices.prepare(classifier, common.arithmetic)
        plugin.decompositions = Decompositions(keep=True)
        data = _load(stream, backbone, common, request.places.cache, bar)
        opener = Opener(backbone.size, request.places.cache, bar)
        read_sha256 = auxiliary.give(read, plugin, backbone.tokenize, opener)
        try:
            plugin.begin(classifier)
        except Unfit as error:
            raise UserError(str(error)) from error

        settings = {**request.config.flat(), "device": device}
        names = tuple(task.name for task in stream.tasks)
        run = RunState(folder, settings, names, classifier, plugin, is_first=first)
        budgets = make_budgets(plugin, common, stream)
        loop = TaskLoop(
            run, told, tests=data.test, class_names=[task.class_names for task in stream.tasks], budgets=budgets,
            experiences=make_benchmark(data.train).train_stream, batch_size=common.batch_size, memory_hint=hint, bar=bar,
        )  # fmt: skip
        template = make_template(classifier, plugin, common, budgets, loop.step_begin, lambda: loop.step_end(template))
        go = partial(loop.go, template, backbone.about)
        if not first:
            go()
            return
        if not folder.exists():
            until_done.callback(write.lock(folder).release)
        write.save_config(folder, settings)
        write.save_stream(folder, stream.describe())
        inputs = {"weights_sha256": backbone.sha256, "images_sha256": data.sha256, **read_sha256}
        if plugin.files:
            inputs["files_sha256"] = files.checksum(plugin.files)
        check_inputs(folder, inputs)
        about = {
            **_identity(request, told), **inputs, **request.places.auxiliary, **hardware.describe(device),
        }  # fmt: skip
        with _status(folder, about, began):
            go()
        (folder / write.CHECKPOINT).unlink()


def make_plugin(request: Request) -> StrategyPlugin:
    """The strategy's plugin with the run's settings. Raises UserError if it is no `StrategyPlugin`."""
    strategy = request.config.strategy
    made = strategy.plugin()
    if not (isinstance(made, type) and issubclass(made, StrategyPlugin)):
        raise UserError(f"strategy {strategy.name}: its Plugin must derive from strategies.base.StrategyPlugin")
    return made(request.config.settings)


def _load(stream: Stream, backbone: Backbone, common: Common, cache: Path | None, bar: ProgressBar) -> Data:
    try:
        return load(stream, backbone.size, common.augmentation, cache, bar)
    except UnreadableImage as error:
        raise UserError(
            f"{error}; benchmarks.prepare --stream {common.stream} --check names all such images"
        ) from error


def _identity(request: Request, callbacks: Callbacks) -> dict[str, Any]:
    """What says which method, in which version, made the figures, and what the tables hold."""
    strategy = request.config.strategy
    about = strategy.about
    versions = {"method": about.figures, "shared": shared.FIGURES_VERSION, "template": training.FIGURES_VERSION}
    return {
        "command": request.command,
        "method": {**asdict(about), "published": {name: asdict(row) for name, row in about.published.items()}},
        "strategy_sha256": strategy.sha256,
        "figures_version": versions,
        "tables": callbacks.tables(),
    }


@contextlib.contextmanager
def _status(folder: Path, about: Mapping[str, Any], began: float) -> Iterator[None]:
    """Keeps `run.json` true: running, then finished, failed or interrupted. A killed run stays at running."""
    started = datetime.now(UTC).isoformat(timespec="seconds")

    def say(status: str) -> None:
        times = {"started": started, "seconds": round(time.perf_counter() - began, 1)}
        files.write_json(folder / "run.json", {"status": status, **times, **about})

    say("running")
    try:
        yield
    except BaseException as error:
        # Not at the cost of the error itself: on a full disk this can't be written either.
        with contextlib.suppress(UserError):
            say("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    say("finished")

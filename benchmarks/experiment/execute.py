"""Does one run: from a checked request to a finished run folder."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UnreadableImage, UserError
from benchmarks.config.settings import Common, Device
from benchmarks.experiment import extended, fit
from benchmarks.experiment.backbones import kept
from benchmarks.experiment.backbones.loading import load_backbone
from benchmarks.experiment.callbacks import Callbacks, chosen_measurements
from benchmarks.experiment.data import Data, load
from benchmarks.experiment.extension import Extension
from benchmarks.experiment.kept_states import KeepStates
from benchmarks.experiment.loggers.base import chosen as chosen
from benchmarks.experiment.loop import TaskLoop
from benchmarks.experiment.measurements.base import Callback, Given, RunState
from benchmarks.experiment.measurements.probes import Meter as ProbeMeter
from benchmarks.experiment.parts import parts
from benchmarks.experiment.predictions import Predictions
from benchmarks.experiment.probes.base import prepare
from benchmarks.experiment.prompts import one_name_each
from benchmarks.experiment.request import (
    Request,
    check_batch,
    check_inputs,
    check_tables,
    figures_version,
    in_memory,
    smallest,
)
from benchmarks.experiment.setup import make_budgets, make_classifier, make_template
from benchmarks.images import auxiliary
from benchmarks.images.opener import Opener
from benchmarks.runs import schema, write
from benchmarks.runtime import devices, environment, files, hardware, memory, process_group, processes, signals
from benchmarks.runtime.progress import ProgressBar
from benchmarks.streams.base import Stream
from strategies.base import StrategyPlugin, Unfit
from strategies.clip.classifier import ClipClassifier
from strategies.numerics.subspace import Decompositions
from strategies.training.experiences import make_benchmark


CHECKPOINT = "Checkpoint"  # what tables call a model that was trained elsewhere and is only tested here


def execute(
    request: Request,
    stream: Stream,
    callbacks: Sequence[Callback] = (),
    *,
    silent: bool = False,
    is_locked: bool = False,
) -> None:
    """Trains and tests the requested strategy on a stream, task by task, and leaves a finished run folder.

    A run that was interrupted is continued after its last finished task.

    Args:
        request: the run that was asked for.
        stream: the request's stream, opened.
        callbacks: notified of the run's events, besides the measurements.
        silent: prints no progress bar and no lines on stderr.
        is_locked: whether the caller holds the run folder's lock already.

    Raises:
        UserError: wrong input, before the folder is made; later, whatever stops the run.
    """
    began, folder, common = time.perf_counter(), request.folder, request.config.common
    with ExitStack() as until_done:
        until_done.enter_context(devices.plain_torch())
        environment.keep_freed_memory()
        memory.restart_peaks()
        plugin = make_plugin(request)
        read = _auxiliary(request, plugin)
        device = devices.pick_device(common.device)
        if plugin.trains:
            check_batch(*smallest(stream), common.batch_size)
        processes.check(common.strategy, common.batch_size, plugin.data_parallel)
        until_done.enter_context(process_group.joined(device))
        until_done.enter_context(devices.memory_advice(devices.less_memory(common.checkpointing)))
        bar = until_done.enter_context(ProgressBar(silent=silent or not processes.is_first()))
        devices.check(device, common.arithmetic)  # on the device that this process has taken
        keeping = [KeepStates()] if request.besides.keep_states else []
        probed = ProbeMeter()
        measured = [*chosen_measurements(plugin, request.besides.measure), *([probed] if request.besides.probe else [])]
        told = Callbacks([*measured, *keeping, *callbacks], bar)
        ready = _get_ready(request, stream, plugin, read, told, probed, device, bar)
        if not processes.is_first():
            ready.go()
            process_group.meet()  # the first process has finished the folder then
            return
        if request.extension:
            _check_extension(request.extension, request, ready, stream, told.tables())
        if not is_locked:
            until_done.enter_context(write.locked(folder))
        write.save_config(folder, {**request.config.flat(), "device": device})
        write.save_stream(folder, stream.describe())
        check_inputs(folder, ready.inputs)
        check_tables(folder, told.tables())
        data_sha256 = request.data_sha256(stream.describe())
        here = hardware.describe(device)
        computed, said = parts(folder, here, len(stream.tasks))
        if said:
            bar.say(said)
        about = {
            **_identity(request, plugin, told), **ready.inputs,
            **({"memory_sha256": in_memory(stream)} if request.plan else {}), **request.places.auxiliary,
            **here, **({"parts": computed} if computed else {}),
            **({"data_sha256": data_sha256} if data_sha256 else {}),
            **({"start": request.start.about} if request.start else {}),
            **({"probes": probed.about} if probed.probes else {}), **({"routed": True} if ready.routed else {}),
            **({"weights_file_sha256": files.checksum([file])} if (file := request.weights_file) else {}),
            **({"extends": request.extension.about} if request.extension else {}),
        }  # fmt: skip
        with _status(folder, about, began):
            ready.go()
        (folder / write.CHECKPOINT).unlink()
        process_group.meet()


@dataclass(frozen=True)
class Ready:
    """A run that is prepared and can be started.

    Attributes:
        go: starts the run and returns when it is done.
        inputs: what must be the same when the run is resumed: `preprocessing`, the image normalisation and resizing,
            and SHA-256 digests, in hexadecimal, of what the run reads: `weights_sha256`, `images_sha256`,
            `stream_sha256` (the images independently of the order), and where
            there is such an input `reference_sha256` (auxiliary data), `strategy_sha256` (the strategy's file),
            `start_sha256` (weights from which it starts) and `files_sha256` (files that the settings name).
        routed: whether the method answers with more than the model's weights: it evaluates different images with different
            weights, or has scores of its own.
        images_sha256: for each task a digest of all images and labels of the tasks up to it; the last is among `inputs`.
    """

    go: Callable[[], None]
    inputs: dict[str, Any]
    images_sha256: Sequence[str]
    routed: bool


def _get_ready(
    request: Request,
    stream: Stream,
    plugin: StrategyPlugin,
    read: auxiliary.Auxiliary,
    told: Callbacks,
    probed: ProbeMeter,
    device: Device,
    bar: ProgressBar,
) -> Ready:
    """Loads the model and all images, and puts the loop together."""
    common, cache = request.config.common, request.places.cache
    backbone = kept.load(common.model, common.pretrained, trusted=request.trusted)
    weights_sha256 = backbone.sha256  # of the pretrained ones also where the run starts from others
    if request.start:
        backbone = load_backbone(common.model, str(request.start.weights), trusted=request.trusted)
    classifier = make_classifier(backbone, stream).to(device)
    fit.check(plugin, classifier)
    devices.prepare(classifier, common.arithmetic)
    classifier.images_repeat = common.augmentation == "none"
    plugin.decompositions = Decompositions(keep=True)
    opener = Opener(backbone.size, cache, bar)
    probed.probes = prepare(request.besides.probe, backbone, opener)
    data = _load(stream, backbone.size, common, cache, bar)
    fit.check_images(plugin, classifier, sum(map(len, data.train)))
    told.prepare(Given(classifier, plugin, backbone, opener, data.train, probed.probes))
    read_sha256 = auxiliary.give(read, plugin, backbone.tokenize, opener)
    try:
        plugin.begin(classifier)
    except Unfit as error:
        raise UserError(str(error)) from error
    if classifier.routing is not None and classifier.head is not None:
        raise UserError(f"strategy {common.strategy}: sets the classifier's routing and its head; it can have only one")
    settings = {**request.config.flat(), "device": device}
    names = tuple(task.name for task in stream.tasks)
    budgets = make_budgets(plugin, common, stream)
    loop = TaskLoop(
        RunState(request.folder, settings, names, classifier, plugin, is_first=processes.is_first()),
        told,
        tests=data.test,
        class_names=one_name_each(backbone.tokenize, stream),
        budgets=budgets,
        experiences=make_benchmark(data.train).train_stream,
        batch_size=common.batch_size,
        memory_hint=devices.less_memory(common.checkpointing),
        bar=bar,
        predictions=_predictions(request, names, classifier, data) if request.besides.predictions else None,
    )
    inputs: dict[str, Any] = {
        "weights_sha256": weights_sha256, "images_sha256": data.sha256[-1], "stream_sha256": data.stream_sha256, **read_sha256,
        "preprocessing": json.loads(backbone.about["preprocessing"]), "strategy_sha256": request.config.strategy.sha256,
    }  # fmt: skip
    if request.start:
        inputs["start_sha256"] = backbone.sha256
    if probed.probes:
        inputs["probes_sha256"] = hashlib.sha256("".join(each.sha256 for each in probed.probes).encode()).hexdigest()
    if plugin.files:
        inputs["files_sha256"] = files.checksum(plugin.files)

    def go() -> None:
        if request.extension:
            extended.begin(request.extension, loop, keep=request.besides.keep_states)
        # Not before: an extension begins the method anew, and the template holds what makes it up.
        template = make_template(classifier, plugin, common, budgets, loop.step_begin, lambda: loop.step_end(template))
        loop.go(template, backbone.about)

    answers_itself = classifier.routing is not None or classifier.head is not None
    return Ready(go, inputs, data.sha256, answers_itself)


def _predictions(request: Request, names: tuple[str, ...], classifier: ClipClassifier, data: Data) -> Predictions:
    labels = [test.labels for test in data.test]
    return Predictions(names, classifier.class_counts, labels, classifier.mean.device)


def _check_extension(
    extension: Extension, request: Request, ready: Ready, stream: Stream, tables: Mapping[str, Any]
) -> None:
    """Raises UserError if the finished run has learned other images or tasks, or was made by code with other results.

    A line on stderr names each table that is measured in a part of the run only.
    """
    extension.check_stream(stream.describe())
    if other := request.made_by_other(extension.run.about):
        raise UserError(f"--extend {extension.place}: {other}; extend it with that code, or run it anew with all tasks")
    check_tables(extension.run.folder, tables, "measure the same, or run it anew with all tasks")
    left = ("stream_sha256", "probes_sha256")  # of the tasks in any order, and of what the extension tests besides
    same = {name: value for name, value in ready.inputs.items() if name not in left}
    same = {**same, "images_sha256": ready.images_sha256[extension.learned - 1]}
    check_inputs(extension.run.folder, same, "bring those back, or run it anew with all tasks")


def _auxiliary(request: Request, plugin: StrategyPlugin) -> auxiliary.Auxiliary:
    """Returns the auxiliary images and texts that the method reads."""
    common, places = request.config.common, request.places
    return auxiliary.find(
        plugin.reads,
        places.auxiliary_images,
        places.auxiliary_texts,
        method=common.strategy,
        drawn=common.model == "micro",
        pool=getattr(request.config.settings, "pool", 0),
        batch_size=common.batch_size,
    )


def make_plugin(request: Request) -> StrategyPlugin:
    """Returns a new plugin of the requested strategy with the run's settings.

    Args:
        request: the run that was asked for.

    Raises:
        UserError: the strategy's `Plugin` is no subclass of `StrategyPlugin`.
    """
    strategy = request.config.strategy
    made = strategy.plugin()
    if not (isinstance(made, type) and issubclass(made, StrategyPlugin)):
        raise UserError(f"strategy {strategy.name}: its Plugin must derive from strategies.base.StrategyPlugin")
    return made(request.config.settings)


def _load(stream: Stream, size: int, common: Common, cache: Path | None, bar: ProgressBar) -> Data:
    try:
        return load(stream, size, common.augmentation, cache, bar, drawn=common.shots is not None)
    except UnreadableImage as error:
        raise UserError(
            f"{error}; benchmarks.prepare --stream {common.stream} --check names all such images"
        ) from error


def _identity(request: Request, plugin: StrategyPlugin, callbacks: Callbacks) -> dict[str, Any]:
    """Returns what `run.json` says of the method, its version and the tables' columns."""
    about = request.config.strategy.about
    if request.start and not plugin.trains:
        about = replace(about, name=CHECKPOINT)
    return {
        "command": request.command,
        "method": {**asdict(about), "published": {name: asdict(row) for name, row in about.published.items()}},
        "figures_version": figures_version(request.config),
        "tables": callbacks.tables(),
    }


@contextlib.contextmanager
def _status(folder: Path, about: Mapping[str, Any], began: float) -> Iterator[None]:
    """Keeps the status in `run.json` up to date: running, then finished, failed or interrupted. A killed run stays
    "running".
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")

    def say(status: str) -> None:
        times = {"started": started, "seconds": round(time.perf_counter() - began, 1)}
        files.write_json(folder / "run.json", {"status": status, **times, "schema_version": schema.VERSION, **about})

    say("running")
    try:
        with signals.before_the_end(lambda: say("interrupted")):
            yield
    except BaseException as error:
        # An error while writing the status, for instance on a full disk, must not hide the first error.
        with contextlib.suppress(UserError):
            say("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    say("finished")

"""Teach CLIP a stream of tasks with one strategy and write a run folder: `python -m benchmarks.run --strategy nusa`."""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config import command_line, registry
from benchmarks.config.errors import OwnError, UserError
from benchmarks.config.settings import HARNESS_NAMES, RunConfig, recipe, resolve, stream_family
from benchmarks.runtime import files, processes


if TYPE_CHECKING:
    from benchmarks.streams.base import Stream


FIRST_SPEAKS = 20  # seconds


def main(argv: list[str]) -> int:
    """Exit status: 0 done, 2 wrong input or surroundings (one line on stderr), 130 interrupted."""
    try:
        given = command_line.parse(argv)
        harness = {name: given.pop(name, None) for name in HARNESS_NAMES}
        start(resolve(given, harness["config"]), Places.of(harness), again=harness["again"])
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on after the last finished task", file=sys.stderr)
        return 130
    except (UserError, OSError) as error:
        if "--debug" in argv:
            traceback.print_exc()
        if not processes.is_first() and not isinstance(error, OwnError):
            time.sleep(FIRST_SPEAKS)  # torchrun ends this process once the first has said the same and ended
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        if processes.count() > 1:
            os._exit(2)  # at once: torch would wait for the other processes first
        return 2
    return 0


@dataclass(frozen=True)
class Places:
    """Where things lie.

    Attributes:
        results: run folders.
        data_root: published data sets.
        cache: decoded images; None without a cache.
        reference_images, reference_texts: a folder and a file that some methods read besides; None where none is named.
    """

    results: Path
    data_root: Path
    cache: Path | None
    reference_images: Path | None
    reference_texts: Path | None

    @property
    def references(self) -> dict[str, str | None]:
        """What was named, as `run.json` has it; None is the micro CLIP's own, or nothing."""
        named = {"reference_images": self.reference_images, "reference_texts": self.reference_texts}
        return {name: str(path.resolve()) if path else None for name, path in named.items()}

    @classmethod
    def of(cls, harness: dict[str, Any]) -> "Places":
        """Raises UserError for a cache that was named and can't be written; the user's own is done without then."""
        cache = None if harness["no_cache"] else harness["cache"]
        if cache is not None:
            files.check_writable(cache)
        elif not harness["no_cache"] and (cache := files.user_cache()) is None:
            print("no place for a cache of decoded images; name one with --cache", file=sys.stderr)
        others = harness["reference_images"], harness["reference_texts"]
        return cls(harness["results"], harness["data_root"], cache, *others)


def start(config: RunConfig, places: Places, *, again: bool) -> None:
    """Runs, goes on with, or shows the run that the settings mean."""
    from benchmarks.runs import write

    path = write.run_path(places.results, config)
    if again and write.is_finished(path):
        path = write.next_path(path)
    if write.is_finished(path):
        write.check_config(path, config)
        _check_references(path, places.references)
        (path / write.CHECKPOINT).unlink(missing_ok=True)  # a kill may have come just before its own unlinking
        _note_other_data(config, path, places.data_root)
        if processes.is_first():
            print(f"finished before; shown from {path} (--again runs it once more)\n")
    else:
        _run(config, path, places)
    if processes.is_first():
        from benchmarks.comparison.run_summary import show

        show(path)


def _run(config: RunConfig, path: Path, places: Places) -> None:
    """All wrong input is found before the folder is made, and all of it that is cheap to find before torch is loaded."""
    from benchmarks.images.auxiliary import find
    from benchmarks.runs import write
    from benchmarks.runtime.environment import describe, keep_freed_memory, pick_device, quick_imports, writable_home

    began, first = time.perf_counter(), processes.is_first()
    files.check_writable(path)
    held = write.lock(path) if first and path.exists() else None
    stream = _open_stream(config, places.data_root)
    if first:
        print("loading torch, open_clip and Avalanche (some 15 s) ...", file=sys.stderr)
    keep_freed_memory()
    with writable_home(), quick_imports():
        from benchmarks.backbones.loading import load_backbone
        from benchmarks.experiment.loop import TaskSequence
        from benchmarks.runtime import devices
        from benchmarks.runtime.progress import Watch

        plugin = registry.load("strategy", config.common.strategy).Plugin(config.settings)
    reference = find(config, plugin.reads, places.reference_images, places.reference_texts)
    config = replace(config, common=replace(config.common, device=pick_device(config.common.device)))
    if plugin.trains:
        _check_batch(config, stream)
    processes.check(config, plugin)
    with (
        processes.joined(config.common.device),
        devices.memory_advice(devices.less_memory(config.common)),
        Watch(silent=not first) as watch,
    ):
        devices.check(config.common)  # on the device that this process has taken
        backbone = load_backbone(config.common.model, config.common.pretrained)
        sequence = TaskSequence(config, stream, reference, backbone, plugin, path, places.cache, watch)
        if not first:
            sequence.run()
            return
        held = held or write.lock(path)  # kept until this function ends
        write.save_config(path, config)
        write.save_stream(path, stream.describe())
        inputs = {"weights_sha256": backbone.sha256, "images_sha256": sequence.data.sha256, **sequence.reference_sha256}
        if plugin.files:
            inputs["files_sha256"] = files.checksum(plugin.files)
        _check_inputs(path, inputs)
        with _status(path, {**inputs, **places.references, **describe(config.common.device)}, began):
            sequence.run()
            from plotting.draw import draw_all

            draw_all(path)
        (path / write.CHECKPOINT).unlink()


def _check_batch(config: RunConfig, stream: "Stream") -> None:
    """Raises UserError for a batch larger than a task."""
    batch = config.common.batch_size
    small = min(stream.tasks, key=lambda task: len(task.train))
    if len(small.train) < batch:
        raise UserError(
            f"--batch-size {batch}: {small.name} has {len(small.train)} training images; take at most as many"
        )


def _open_stream(config: RunConfig, data_root: Path) -> "Stream":
    """The tasks that the settings mean. Raises UserError for settings of tasks that the stream does not have."""
    from benchmarks.streams.few_shot import few_shot, short
    from benchmarks.streams.orders import arrange

    common = config.common
    family, argument = stream_family(common.stream)
    plan = registry.load("stream", family).build(argument, data_root)
    stream = arrange(plan, common.order)
    _check_names(config, plan.names, stream)
    if common.shots is None:
        return stream
    few = few_shot(stream, common.shots, common.seed)
    for line in short(stream, common.shots):
        print(line, file=sys.stderr)
    return few


def _note_other_data(config: RunConfig, path: Path, data_root: Path) -> None:
    """Says so where a user's own folders are others than when the run was made. A run is shown without its data, too."""

    if stream_family(config.common.stream)[0] != "folder":
        return
    with contextlib.suppress(UserError):
        stream = _open_stream(config, data_root)
        if stream.describe() != files.read_json(path / "stream.json"):
            print("the folders have other images or names now than when this run was made", file=sys.stderr)


def _check_names(config: RunConfig, known: tuple[str, ...], stream: "Stream") -> None:
    """Settings by task must name tasks or data sets of the stream; what a recipe names beyond them does no harm."""
    names = [*known, *(task.source.dataset for task in stream.tasks), "default"]
    published = recipe(config.common.stream, config.common.strategy)
    for setting in ("lr", "iterations"):
        given, usual = getattr(config.common, setting), published[setting]
        for name in given if isinstance(given, dict) else ():
            if name not in names and name not in (usual if isinstance(usual, dict) else ()):
                near = registry.nearest(name, names) or f"; there are {', '.join(dict.fromkeys(names[:-1]))}"
                raise UserError(f'--{setting}: no task or data set "{name}"{near}')


def _check_inputs(path: Path, inputs: dict[str, str]) -> None:
    """A run that goes on must stand on the weights and images it began with, also where the same name now means others."""
    from benchmarks.runs import write

    found = write.run_json(path) if (path / "run.json").exists() else inputs
    for name, sha256 in inputs.items():
        if found.get(name) != sha256:
            what = {"reference_sha256": "reference images or texts", "files_sha256": "files that its settings name"}
            words = what.get(name, name.removesuffix("_sha256"))
            raise UserError(
                f"{path}: the run there began with other {words}; name those again, or choose another --results"
            )


def _check_references(path: Path, references: dict[str, str | None]) -> None:
    """A finished run is shown for the reference data that it read, and for no others."""
    from benchmarks.runs import write

    found = write.run_json(path)
    for name, place in references.items():
        if name in found and found[name] != place:
            option, were = f"--{name.replace('_', '-')}", found[name] or "the model's own, or none"
            raise UserError(
                f"{option}: the finished run in {path} read {were}; name those, or choose another --results"
            )


@contextlib.contextmanager
def _status(path: Path, about: dict[str, Any], began: float) -> Iterator[None]:
    """Keeps `run.json` true: running, then finished, failed or interrupted. A killed run stays at running."""
    started = datetime.now(UTC).isoformat(timespec="seconds")

    def write(status: str) -> None:
        times = {"started": started, "seconds": round(time.perf_counter() - began, 1)}
        files.write_json(path / "run.json", {"status": status, **times, **about})

    write("running")
    try:
        yield
    except BaseException as error:
        # Not at the cost of the error itself: on a full disk this can't be written either.
        with contextlib.suppress(UserError):
            write("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    write("finished")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

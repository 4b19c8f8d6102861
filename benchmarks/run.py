"""Teach CLIP a stream of tasks with one strategy and write a run folder: `python -m benchmarks.run --strategy nusa`."""

import contextlib
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import files, options, registry
from benchmarks.config import RunConfig, resolve, stream_family
from benchmarks.errors import UserError


def main(argv: list[str]) -> int:
    """Exit status: 0 done, 2 wrong input or surroundings (one line on stderr), 130 interrupted."""
    try:
        given = options.parse(argv)
        harness = {name: given.pop(name, None) for name in ("results", "again", "debug", "config")}
        start(resolve(given, harness["config"]), harness["results"], again=harness["again"])
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on after the last finished task", file=sys.stderr)
        return 130
    except (UserError, OSError) as error:
        if "--debug" in argv:
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def start(config: RunConfig, results: Path, *, again: bool) -> None:
    """Runs, goes on with, or shows the run that the settings mean."""
    from benchmarks import record

    path = record.run_path(results, config)
    if again and record.is_finished(path):
        path = record.next_path(path)
    if record.is_finished(path):
        record.check_config(path, config)
        (path / record.CHECKPOINT).unlink(missing_ok=True)  # a kill may have come just before its own unlinking
        print(f"finished before; shown from {path} (--again runs it once more)\n")
    else:
        _run(config, path)
    from benchmarks.report import show

    show(path)


def _run(config: RunConfig, path: Path) -> None:
    """All wrong input is found before the folder is made, and all of it that is cheap to find before torch is loaded."""
    from benchmarks import record
    from benchmarks.orders import reorder
    from benchmarks.surroundings import describe, pick_device, writable_home

    began = time.perf_counter()
    files.check_writable(path)
    held = record.lock(path) if path.exists() else None
    family, argument = stream_family(config.common.stream)
    stream = reorder(registry.load("stream", family).build(argument), config.common.order)
    print("loading torch, open_clip and Avalanche (some 15 s) ...", file=sys.stderr)
    with writable_home():
        from benchmarks.backbones import load_backbone
        from benchmarks.sequence import TaskSequence
        from benchmarks.watch import Watch

        plugin = registry.load("strategy", config.common.strategy).Plugin(config.settings)
    config = replace(config, common=replace(config.common, device=pick_device(config.common.device)))
    backbone = load_backbone(config.common.model, config.common.pretrained)
    with Watch() as watch:
        sequence = TaskSequence(config, stream, backbone, plugin, path, watch)
        held = held or record.lock(path)  # kept until this function ends
        record.save_config(path, config)
        inputs = {"weights_sha256": backbone.sha256, "images_sha256": sequence.data.sha256}
        _check_inputs(path, inputs)
        with _status(path, {**inputs, **describe(config.common.device)}, began):
            sequence.run()
            from plotting.draw import draw_all

            draw_all(path)
        (path / record.CHECKPOINT).unlink()


def _check_inputs(path: Path, inputs: dict[str, str]) -> None:
    """A run that goes on must stand on the weights and images it began with, also where the same name now means others."""
    from benchmarks import record

    found = record.run_json(path) if (path / "run.json").exists() else inputs
    for name, sha256 in inputs.items():
        if found.get(name) != sha256:
            what = name.removesuffix("_sha256")
            raise UserError(f"{path}: the run there began with other {what}; choose another --results")


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

"""Another run's final model, or a file of weights, from which a run starts in the place of the pretrained model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.config.registry import Strategy
from benchmarks.config.resolve import resolve
from benchmarks.config.settings import RunConfig
from benchmarks.runs.folder import RunFiles
from benchmarks.runs.read import Run, read_whole
from benchmarks.runs.write import MODEL


OF_THE_RUN = ("strategy", "stream", "order", "seed", "model", "pretrained")  # its settings that a lineage names
BY_DIGEST = ("weights_sha256", "stream_sha256")  # entries of its `run.json` that a lineage names


@dataclass(frozen=True)
class Start:
    """A model from which a run starts.

    Attributes:
        weights: the file of its weights.
        settings: `model` and `pretrained` of the run that made it, which hold where none are given; empty for a file.
        about: where it comes from, for `run.json`: `from`, as it was named, and of a run further `strategy`, `stream`,
            `order`, `seed`, `model`, `pretrained`, `tasks` (the names, in the order of learning), `weights_sha256` and
            `stream_sha256`, and `start` likewise if that run started from another one.
        remark: what of the run does not come along, in one line; empty if all does.
        is_routed: whether the run's method answers with more than the weights in it: it computes different images with
            different weights, or has scores of its own.
    """

    weights: Path
    settings: Mapping[str, Any]
    about: Mapping[str, Any]
    remark: str = ""
    is_routed: bool = False


def resolved(
    given: Mapping[str, Any],
    file: Path | None = None,
    *,
    strategy: Strategy | None = None,
    own_stream: str | None = None,
) -> tuple[RunConfig, Start | None]:
    """Returns the settings of a run, checked, and the model from which it starts, if that is another than the pretrained.

    Where the model is another run's, that run's `model` and `pretrained` hold unless `given` or the file name others.

    Args:
        given, file, strategy, own_stream: as for `benchmarks.config.resolve.resolve`.

    Raises:
        UserError: as of `resolve`; or there is no such run or file, the run is not finished or has no model, its model or
            pretrained weights are others than the settings say, or it is to be tested, and does not hold all that its
            method computes with.
    """
    config = resolve(given, file, strategy=strategy, own_stream=own_stream)
    if config.common.start_from is None:
        return config, None
    start = find(config.common.start_from)
    config = resolve(given, file, strategy=strategy, own_stream=own_stream, beneath=start.settings)
    now = {name: getattr(config.common, name) for name in start.settings}
    for name, value in start.settings.items():
        if now[name] != value:
            raise UserError(f"--start-from {config.common.start_from}: its {name} is {value}, not {now[name]}")
    if start.is_routed and config.strategy.trains is False:
        raise UserError(
            f"{config.common.start_from}: its method computes with parts that are not in its model, so the model alone "
            "does not have the run's accuracies"
        )
    return config, start


def find(place: str) -> Start:
    """Returns the model in a finished run's folder, or in a file.

    Args:
        place: the run folder, or a weights file.

    Raises:
        UserError: there is neither, the run is damaged or not finished, or its folder has no model.
    """
    path = Path(place)
    if path.is_file() and not RunFiles.of(path).is_packed:
        return Start(path, {}, {"from": place})
    if not path.is_dir() and not RunFiles.of(path).is_packed:
        raise UserError(f"--start-from {place}: no such run folder or weights file")
    run = finished(path, "--start-from")
    if not (weights := run.folder / MODEL).is_file():
        raise UserError(
            f"--start-from {place}: it has no {MODEL}; only a run that finished on this machine has its model"
        )
    settings = {name: run.config.get(name) for name in ("model", "pretrained")}
    about = {"from": place, **{name: run.config.get(name) for name in OF_THE_RUN}, "tasks": list(run.tasks)}
    about |= {name: run.about[name] for name in (*BY_DIGEST, "start") if name in run.about}
    stored = run.cost["carried_bytes"][-1:] != [0]
    remark = f"{place}: its model alone comes along, not what {run.method.name} stores besides" if stored else ""
    return Start(weights, settings, about, remark, bool(run.about.get("routed")))


def finished(path: Path, option: str) -> Run:
    """Returns a finished run.

    Args:
        path: the run folder.
        option: the option that named it, for messages.

    Raises:
        UserError: it is no run folder, or the run is damaged or not finished.
    """
    run = read_whole(path)
    if not run.is_finished:
        raise UserError(f"{option} {path}: the run there is {run.about['status']}, not finished; finish it first")
    return run

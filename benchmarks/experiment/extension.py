"""A finished run that goes on with more tasks, in a folder of its own: which run, which tasks, with all its settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.config import registry
from benchmarks.config.errors import UserError, shown
from benchmarks.config.settings import FREE, RunConfig
from benchmarks.experiment.start import finished
from benchmarks.runs.read import Run
from benchmarks.runs.write import METHOD, MODEL
from benchmarks.runtime import files


FREE_TO_DIFFER = ("order", "device", FREE)
OF_THE_RUN = ("command", "versions", "git", "hardware")  # entries of its `run.json` that the new one repeats


@dataclass(frozen=True)
class Extension:
    """More tasks for a finished run.

    Attributes:
        run: the finished run.
        place: its folder, as it was named.
    """

    run: Run
    place: str

    @property
    def learned(self) -> int:
        """The number of tasks that the finished run has learned."""
        return len(self.run.tasks)

    @property
    def about(self) -> dict[str, Any]:
        """Where the first tasks were learned, for `run.json`: `from`, as it was named, `tasks`, their number, that run's
        `command`, `versions`, `git` and `hardware`, and `parts`, all environments in which it was computed.
        """
        found = {name: self.run.about[name] for name in OF_THE_RUN if name in self.run.about}
        return {"from": self.place, "tasks": self.learned, **found, "parts": self.run.environments}

    def check_settings(self, config: RunConfig) -> None:
        """Checks that all settings are those of the finished run, except the order, the device and `checkpointing`.

        Args:
            config: the settings of the extended run.

        Raises:
            UserError: one differs.
        """
        now = config.flat()
        for name, value in self.run.config.items():
            if name not in FREE_TO_DIFFER and now.get(name) != value:
                raise UserError(
                    f"--extend {self.place}: the run there has {name} {value}, not {now.get(name)}; it goes on with all its "
                    "settings"
                )

    def check_stream(self, described: Mapping[str, Any]) -> None:
        """Checks that the first tasks are those that the finished run has learned.

        Args:
            described: the stream of all tasks as `Stream.describe` returns it.

        Raises:
            UserError: the protocol, or a task's prompts, splits or numbers of images differ.
        """
        was = self.run.files.json("stream.json")
        for name in ("protocol", "identity"):
            if was.get(name) != described[name]:
                raise UserError(
                    f"--extend {self.place}: the run there has the {name} {was.get(name)}, not {described[name]}"
                )
        for old, new in zip(was["tasks"], described["tasks"], strict=False):
            if old != new:
                raise UserError(
                    f"--extend {self.place}: {new['name']} has other prompts, splits or images than when the run learned it"
                )


def find(place: str | Path, given: Mapping[str, Any], *, own: bool = False) -> tuple[Extension, dict[str, Any]]:
    """Returns the extension of a finished run, and the settings of the run with all tasks.

    Args:
        place: the finished run's folder.
        given: the settings by name that were given; `order` names the new tasks.
        own: whether a strategy was given that has no name, as an object.

    Raises:
        UserError: there is no finished run or it left no model, it cannot go on, its method is a file that was not given
            too, or no new tasks are named, or one that it has learned.
    """
    order, strategy = given.get("order"), given.get("strategy", "")
    if not isinstance(strategy, str):
        raise UserError(f"strategy: expected a name, got {shown(strategy)}")
    listed = order.split(",") if isinstance(order, str) else order or ()
    if not isinstance(listed, list | tuple) or not all(isinstance(name, str) for name in listed):
        raise UserError(f"order: expected the names of the tasks to add, got {shown(order)}")
    run = finished(Path(place), "--extend")
    for name in (MODEL, METHOD):
        files.check_readable(run.folder / name)
    if not (run.folder / MODEL).is_file():
        raise UserError(f"--extend {place}: it has no {MODEL}; only a run that finished on this machine can go on")
    if run.cost["carried_bytes"][-1] and not (run.folder / METHOD).is_file():
        raise UserError(
            f"--extend {place}: it has no {METHOD}, what its method stores; runs of earlier versions left none"
        )
    if run.learns_at_once and not run.learns_nothing:
        raise UserError(f"--extend {place}: {run.method.name} learns all tasks at once; run it anew with all of them")
    if strategy and not strategy.endswith(".py") and strategy != run.config["strategy"]:
        raise UserError(f"--extend {place}: the run there has the strategy {run.config['strategy']}, not {strategy}")
    if (
        not strategy and not own and run.config["strategy"] not in registry.names("strategy")
    ):  # a stranger may have named it
        raise UserError(
            f"--extend {place}: its strategy {run.config['strategy']} is none that is known here, and a file is run only if "
            "you name it; give it with --strategy"
        )
    names = [name.strip() for name in listed]
    if not names:
        raise UserError(f"--extend {place}: name the tasks to add with --order, as in --order A,B")
    for name in names:
        if name in run.tasks:
            raise UserError(f"--order: {name} is a task of {place} already; name only tasks to add")
    kept = {name: value for name, value in run.config.items() if name not in FREE_TO_DIFFER}
    return Extension(run, str(place)), {**kept, **given, "order": ",".join([*run.tasks, *names])}

"""Which runs may stand in one table: those of one stream, protocol, backbone and number of shots; and which are one method."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.config.settings import FREE
from benchmarks.runs.read import Run, read
from strategies.about import About


# What names a run within its method, or its group: all other settings tell methods apart.
OF_THE_RUN = ("seed", "order", "device", FREE)
OF_THE_GROUP = ("stream", "model", "pretrained", "shots")


@dataclass(frozen=True, eq=False)
class Method:
    """A strategy with its settings, over seeds and orders.

    Attributes:
        strategy: its name on the command line.
        name: in tables and figures.
        telling: ` name=value` for each setting that tells it from others of the same strategy in the group.
    """

    strategy: str
    name: str
    telling: str
    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        """In tables and figures: `MoE-Adapters decision=image`."""
        return f"{self.name}{self.telling}"

    @property
    def key(self) -> str:
        """On the command line and in csv files: `moe_adapter decision=image`."""
        return f"{self.strategy}{self.telling}"

    @property
    def about(self) -> About:
        """Its look, reference and published rows."""
        return self.runs[0].method

    def in_order(self, tasks: tuple[str, ...]) -> tuple[Run, ...]:
        """The runs that learn the tasks in an order, by seed."""
        return tuple(run for run in self.runs if run.tasks == tasks)


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that may be compared.

    Attributes:
        distinction: what the title says besides, where others would read the same.
    """

    methods: tuple[Method, ...]
    distinction: str = ""

    @property
    def first(self) -> Run:
        """Any run: all have the same stream, protocol and backbone."""
        return self.methods[0].runs[0]

    @property
    def runs(self) -> list[Run]:
        """Of all methods."""
        return [run for method in self.methods for run in method.runs]

    @property
    def identity(self) -> str:
        """The matrix that the protocol reports."""
        return self.first.protocol.identity

    @cached_property
    def orders(self) -> dict[tuple[str, ...], str]:
        """The orders of the tasks with their names, `default` first."""
        names: dict[tuple[str, ...], set[str]] = {}
        for run in self.runs:
            names.setdefault(run.tasks, set()).add(str(run.config["order"]))
        # The same order may be run by its name and as the default: "I, the default".
        named = {
            tasks: ", the ".join(sorted(given, key=lambda name: name == "default")) for tasks, given in names.items()
        }
        return dict(sorted(named.items(), key=lambda item: ("default" not in item[1], item[1])))

    @property
    def accuracy_identity(self) -> str:
        """As in `benchmarks.runs.read.Protocol`."""
        return self.first.protocol.accuracy_identity

    def named(self, name: str) -> Method | None:
        """The method with a key or label, or the only one of a strategy or name; None if there is none.

        Raises:
            UserError: there are several.
        """
        found = [method for method in self.methods if name in (method.key, method.label)]
        found = found or [method for method in self.methods if name in (method.strategy, method.name)]
        if len(found) > 1:
            keys = ", ".join(repr(method.key) for method in found)
            raise UserError(f"--baseline {name}: {len(found)} methods are called that; there are {keys}")
        return found[0] if found else None

    def in_order(self, tasks: tuple[str, ...]) -> "Group":
        """The runs of one order alone."""
        found = ((method, method.in_order(tasks)) for method in self.methods)
        return replace(self, methods=tuple(replace(method, runs=runs) for method, runs in found if runs))

    @property
    def title(self) -> str:
        """Stream, backbone and shots in a line."""
        config = self.first.config
        shots = config.get("shots")
        model = config["model"] if config.get("pretrained") is None else f"{config['model']} ({config['pretrained']})"
        parts = [f"stream {config['stream']}", f"{len(self.first.tasks)} tasks", f"model {model}"]
        return ", ".join([*parts, f"{shots} shots" if shots else "all training images"]) + self.distinction


@dataclass
class Sorted:
    """What became of the folders.

    Attributes:
        there: the streams, orders, strategies and settings of all runs that could be read, wanted or not.
        left_out: of the folders that are in no group, the reason in a line each.
        remarks: what is odd about folders that are.
    """

    groups: list[Group]
    there: dict[str, set[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Filter:
    """Which runs are wanted; empty is all.

    Attributes:
        strategies: by their names on the command line or in tables.
        settings: `name=value` as `config.yaml` has them.
    """

    streams: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def takes(self, run: Run) -> bool:
        config = run.config
        wanted = (("stream", self.streams), ("order", self.orders))
        if any(values and str(config[name]) not in values for name, values in wanted):
            return False
        if self.strategies and not {config["strategy"], run.method.name} & set(self.strategies):
            return False
        settings = (each.partition("=") for each in self.settings)
        return all(_is(config.get(name), value) for name, _, value in settings)


def _is(value: Any, text: str) -> bool:
    """Whether a setting has the value that a command line says."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            return float(text) == value
    return shown(value) == text


def shown(value: Any) -> str:
    """A setting's value as a label has it."""
    if isinstance(value, list):
        return "+".join(map(str, value))
    if isinstance(value, dict):
        return "+".join(f"{name}:{number}" for name, number in value.items())
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return " ".join(str(value).split())  # in one line


def settings(run: Run) -> dict[str, Any]:
    """What tells a run's method from others: its settings, and the auxiliary images and texts that it read, by checksum."""
    found = {name: value for name, value in run.config.items() if name not in (*OF_THE_RUN, *OF_THE_GROUP)}
    read = run.about.get("reference_sha256")
    return {**found, "references": read[:8]} if read else found


def sort(folders: Iterable[Path], wanted: Filter | None = None) -> Sorted:
    """Reads run folders, and sorts those that came to their end into groups."""
    found = Sorted([])
    piles: dict[tuple[str, ...], dict[tuple[str, ...], list[Run]]] = {}
    for folder in folders:
        try:
            run = read(folder)
            for name, value in run.config.items():
                found.there.setdefault(name, set()).add(shown(value))
            found.there["strategy"].add(run.method.name)
            if wanted is not None and not wanted.takes(run):
                continue
            if not run.is_finished:
                found.left_out.append(f"{folder}: {run.about['status']}, not finished")
                continue
            if remark := run.contradiction():
                found.remarks.append(remark)
            key = _key(run)
            _ = run.cost, run.entropy_rank  # read now, so that damaged ones are found now
            if not any(states[-1, -1] >= 0 for states in run.accuracy.values()):
                raise UserError(f"{folder}: finished, but its accuracies after the last task are missing")
        except UserError as error:
            found.left_out.append(str(error))
            continue
        method = tuple(f"{name}={shown(value)}" for name, value in sorted(settings(run).items()))
        piles.setdefault(key, {}).setdefault(method, []).append(run)
    found.groups = [Group(_methods(pile, found.left_out)) for _, pile in sorted(piles.items())]
    titles = Counter(group.title for group in found.groups)
    found.groups = [
        replace(group, distinction=_distinction(group)) if titles[group.title] > 1 else group for group in found.groups
    ]
    return found


def _distinction(group: Group) -> str:
    """What tells groups apart that have the same stream, model and shots by name."""
    weights = str(group.first.about.get("weights_sha256"))[:8]
    protocol = group.first.protocol
    return f", weights {weights}, protocol {protocol.digest[:8]} ({protocol.name}, task {protocol.identity})"


def alone(run: Run) -> Group:
    """A group of one run, whatever became of it."""
    return Group((Method(str(run.config["strategy"]), run.method.name, "", (run,)),))


def _key(run: Run) -> tuple[str, ...]:
    config = run.config
    weights = str(run.about.get("weights_sha256"))
    stream = (
        str(config["stream"]).partition(":")[0] if str(config["stream"]).startswith("folder:") else config["stream"]
    )
    return str(stream), run.protocol.digest, str(config["model"]), weights, shown(config.get("shots"))


def _methods(pile: dict[tuple[str, ...], list[Run]], left_out: list[str]) -> tuple[Method, ...]:
    """The methods, labelled, the one with the best Avg first; those that learn all at once have none and come last."""
    strategies: dict[str, list[list[Run]]] = {}
    for runs in pile.values():
        strategies.setdefault(str(runs[0].config["strategy"]), []).append(_once(runs, left_out))
    named = Counter(variants[0][0].method.name for variants in strategies.values())
    methods = []
    for strategy, variants in strategies.items():
        name = variants[0][0].method.name
        name = f"{name} ({strategy})" if named[name] > 1 else name
        telling = _telling([settings(runs[0]) for runs in variants])
        for runs in variants:
            own = settings(runs[0])
            words = [f" {setting}={shown(own.get(setting))}" for setting in telling]
            methods.append(Method(strategy, name, "".join(words), tuple(runs)))
    return tuple(sorted(methods, key=lambda method: (-_mean_avg(method.runs), method.key)))


def _telling(variants: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for variant in variants for name in variant)
    return [name for name in names if len({shown(variant.get(name)) for variant in variants}) > 1]


def _mean_avg(runs: tuple[Run, ...]) -> float:
    identity = runs[0].protocol.accuracy_identity
    means = [-1.0 if run.learns_at_once or (avg := run.metrics[identity]["avg"]) is None else avg for run in runs]
    return sum(means) / len(means)


def _once(runs: list[Run], left_out: list[str]) -> list[Run]:
    """Each seed once in each order: a second run of the same is the same draw, and no more evidence."""
    kept: dict[tuple[Any, ...], Run] = {}
    for run in sorted(runs, key=lambda run: (run.tasks, run.config["seed"], str(run.folder))):
        first = kept.setdefault((run.tasks, run.config["seed"]), run)
        if first is not run:
            left_out.append(f"{run.folder}: same settings, order and seed as {first.folder}, which counts")
    return list(kept.values())

"""Groups runs that may be compared (same stream, protocol, images, backbone and shots), and within a group by method."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.config.settings import FREE
from benchmarks.runs.read import Run, read_whole
from strategies.about import About


# Settings that identify a run within its method, and those that are equal in a group; all others define the method.
OF_THE_RUN = ("seed", "order", "device", FREE)
Piles = dict[tuple[str, ...], dict[tuple[str, ...], list[Run]]]  # runs by what they share, and then by their settings
OF_THE_GROUP = ("stream", "model", "pretrained", "shots")


@dataclass(frozen=True, eq=False)
class Method:
    """A strategy with certain settings, and its runs with different seeds and orders.

    Attributes:
        strategy: the strategy's name on the command line, such as `moe_adapter`.
        name: the strategy's title in tables and figures, such as `MoE-Adapters`.
        telling: the settings in which the group's methods of this strategy differ, as text: a space and `name=value`
            for each, such as `decision=image`; empty if there is only one such method.
        runs: the runs.
    """

    strategy: str
    name: str
    telling: str
    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        """The method in tables and figures: its title and the settings that distinguish it, `MoE-Adapters
        decision=image`.
        """
        return f"{self.name}{self.telling}"

    @property
    def key(self) -> str:
        """The method in options and csv files: its name and the settings that distinguish it, `moe_adapter
        decision=image`.
        """
        return f"{self.strategy}{self.telling}"

    @property
    def about(self) -> About:
        """The strategy's title, reference, colour and marker in figures, and the published results to compare it with."""
        return self.runs[0].method

    def in_order(self, tasks: tuple[str, ...]) -> tuple[Run, ...]:
        """Returns the method's runs that learn the tasks in a certain order, sorted by seed; empty if there are none.

        Args:
            tasks: the names of all tasks in that order.
        """
        return tuple(run for run in self.runs if run.tasks == tasks)


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that may be compared, by method: their stream, protocol, images, model, weights and number of shots are equal.

    Attributes:
        methods: the methods, each with its runs, the best Avg first.
        distinction: text that the title adds if another group would have the same title; else empty.
    """

    methods: tuple[Method, ...]
    distinction: str = ""

    @property
    def first(self) -> Run:
        """The first run of the first method, to read what is equal in all runs: stream, protocol, backbone and shots."""
        return self.methods[0].runs[0]

    @property
    def runs(self) -> list[Run]:
        """The runs of all methods in one list, method by method."""
        return [run for method in self.methods for run in method.runs]

    def about(self, name: str) -> Any:
        """Returns an entry of `run.json` that all runs share which have it; None if none has it.

        Args:
            name: the entry's key; runs of older versions may lack it.
        """
        return next((run.about[name] for run in self.runs if name in run.about), None)

    @property
    def identity(self) -> str:
        """What the protocol tells the model at test time: the task (`known`, task-aware), nothing (`unknown`,
        task-agnostic) or the classes learned so far (`seen`, class-incremental).
        """
        return self.first.protocol.identity

    @cached_property
    def orders(self) -> dict[tuple[str, ...], str]:
        """The names of the orders in which runs learn the tasks: a dict from the tuple of the tasks' names in that
        order.

        The order named `default` comes first. If runs name one order differently, the names are joined, as in `I, the
        default`.
        """
        names: dict[tuple[str, ...], set[str]] = {}
        for run in self.runs:
            names.setdefault(run.tasks, set()).add(str(run.config["order"]))
        # Runs may give the same order by its name and as the default: "I, the default".
        named = {
            tasks: ", the ".join(sorted(given, key=lambda name: name == "default")) for tasks, given in names.items()
        }
        return dict(sorted(named.items(), key=lambda item: ("default" not in item[1], item[1])))

    @property
    def accuracy_identity(self) -> str:
        """The test condition under which Transfer and forgetting are reported: `known` or `unknown`.

        It equals `identity`, except that class-incremental protocols (`seen`) use the task-aware accuracies (`known`).
        """
        return self.first.protocol.accuracy_identity

    def in_order(self, tasks: tuple[str, ...]) -> "Group":
        """Returns the group of only those runs that learn the tasks in a certain order; methods without such a run are
        left out.

        Args:
            tasks: the names of all tasks in that order.
        """
        found = ((method, method.in_order(tasks)) for method in self.methods)
        return replace(self, methods=tuple(replace(method, runs=runs) for method, runs in found if runs))

    @property
    def title(self) -> str:
        """Stream, number of tasks, model and shots in one line: `stream mtil, 11 tasks, model ViT-B-16, 5 shots`."""
        config = self.first.config
        shots = config.get("shots")
        model = config["model"] if config.get("pretrained") is None else f"{config['model']} ({config['pretrained']})"
        parts = [f"stream {config['stream']}", f"{len(self.first.tasks)} tasks", f"model {model}"]
        return ", ".join([*parts, f"{shots} shots" if shots else "all training images"]) + self.distinction


def named(methods: Sequence[Method], name: str) -> Method | None:
    """Returns the method that has a name; None if there is none.

    Args:
        methods: the methods.
        name: the strategy on the command line (`nusa`) or its title (`NuSA-CL`). If there are several methods of that
            strategy, their settings follow, as in `moe_adapter decision=image`.

    Raises:
        UserError: several methods have the name.
    """
    found = [method for method in methods if name in (method.key, method.label)]
    found = found or [method for method in methods if name in (method.strategy, method.name)]
    if len(found) > 1:
        keys = ", ".join(repr(method.key) for method in found)
        raise UserError(f"--baseline {name}: {len(found)} methods are called that; there are {keys}")
    return found[0] if found else None


def unnamed(methods: Sequence[Method], name: str) -> UserError:
    """Returns the error that no method is called like a baseline.

    Args:
        methods: the methods that there are.
        name: as it was asked for.
    """
    keys = dict.fromkeys(repr(method.key) for method in methods)
    return UserError(f"--baseline {name}: no such method; there are {', '.join(keys)}")


@dataclass
class Sorted:
    """Run folders, sorted into groups of runs that may be compared.

    Attributes:
        groups: the groups.
        there: by setting name, the values that occur in any readable run, as text, also in runs that no group has.
            Messages name them if a wanted value does not occur.
        left_out: a line with the reason for each folder that should be in a group but is not: damaged, unfinished, or
            the same run again.
        remarks: a line for each folder in a group whose `metrics.json` differs from its accuracy matrices.
    """

    groups: list[Group]
    there: dict[str, set[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Filter:
    """Which runs are wanted. A run must match one entry of each of the first three fields, and all entries of
    `settings`; an empty field accepts all runs.

    Attributes:
        streams: names of streams, as on the command line.
        orders: names of orders, as on the command line.
        strategies: names of strategies on the command line, or their titles in tables.
        settings: texts `name=value` with names and values as in `config.yaml`.
    """

    streams: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def takes(self, run: Run) -> bool:
        """Returns whether a run is wanted: it matches one entry of each field that is not empty, and all entries of
        `settings`.

        Args:
            run: the run.
        """
        config = run.config
        wanted = (("stream", self.streams), ("order", self.orders))
        if any(values and str(config[name]) not in values for name, values in wanted):
            return False
        if self.strategies and not {config["strategy"], run.method.name} & set(self.strategies):
            return False
        settings = (each.partition("=") for each in self.settings)
        return all(_is(config.get(name), value) for name, _, value in settings)


def _is(value: Any, text: str) -> bool:
    """Returns whether a setting has the value given on a command line."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            return float(text) == value
    return shown(value) == text


def shown(value: Any) -> str:
    """Returns a setting's value as text for a label, in one line.

    Lists read `q+k`, dicts `name:1+other:2`, None `none`, and booleans `true` or `false`.

    Args:
        value: the setting's value, as in `config.yaml`.
    """
    if isinstance(value, list):
        return "+".join(map(str, value))
    if isinstance(value, dict):
        return "+".join(f"{name}:{number}" for name, number in value.items())
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return " ".join(str(value).split())  # in one line


def settings(run: Run) -> dict[str, Any]:
    """Returns the settings that define a run's method, by name; runs with equal ones are runs of the same method.

    These are all but `seed`, `order`, `device` and `checkpointing`, which may differ between runs of a method, and
    `stream`, `model`, `pretrained` and `shots`, by which runs are separated into groups. If the run read auxiliary
    images or texts, the key `references` has the first eight digits of their SHA-256.

    Args:
        run: the run.
    """
    found = {name: value for name, value in run.config.items() if name not in (*OF_THE_RUN, *OF_THE_GROUP)}
    read = run.about.get("reference_sha256")
    return {**found, "references": read[:8]} if read else found


def sort(folders: Iterable[Path], wanted: Filter | None = None) -> Sorted:
    """Reads run folders and returns the finished runs in groups of runs that may be compared.

    No error is raised for a folder that is damaged or unfinished, or repeats a run with equal settings, seed and order:
    the result lists it.

    Args:
        folders: the run folders.
        wanted: which runs to keep; None keeps all.
    """
    found = Sorted([])
    piles: Piles = {}
    for folder in folders:
        try:
            run = read_whole(folder)
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
            if np.isnan(run.accuracy["known"][-1]).any():
                raise UserError(f"{folder}: finished, but its accuracies after the last task are missing")
            method = tuple(f"{name}={shown(value)}" for name, value in sorted(settings(run).items()))
        except UserError as error:
            found.left_out.append(str(error))
            continue
        piles.setdefault(key, {}).setdefault(method, []).append(run)
    found.groups = [Group(_methods(pile, found.left_out)) for _, pile in sorted(_with_old(piles).items())]
    titles = Counter(group.title for group in found.groups)
    found.groups = [
        replace(group, distinction=_distinction(group)) if titles[group.title] > 1 else group for group in found.groups
    ]
    return found


def _distinction(group: Group) -> str:
    """Returns what distinguishes groups whose stream, model and shots have the same names."""
    weights = str(group.first.about.get("weights_sha256"))[:8]
    protocol = group.first.protocol
    images = str(group.about("stream_sha256") or "unknown")[:8]
    return (
        f", weights {weights}, images {images}, "
        f"protocol {protocol.digest[:8]} ({protocol.name}, task {protocol.identity})"
    )


def alone(run: Run) -> Group:
    """Returns a group that consists of one run, whether it is finished or not, to draw the run as a group is drawn.

    Args:
        run: the run.
    """
    return Group((Method(str(run.config["strategy"]), run.method.name, "", (run,)),))


def _key(run: Run) -> tuple[str, ...]:
    config = run.config
    weights = str(run.about.get("weights_sha256"))
    stream = (
        str(config["stream"]).partition(":")[0] if str(config["stream"]).startswith("folder:") else config["stream"]
    )
    images = str(run.about.get("stream_sha256", ""))
    images += shown(run.about["preprocessing"]) if "preprocessing" in run.about else ""
    return str(stream), run.protocol.digest, str(config["model"]), weights, shown(config.get("shots")), images


def _with_old(piles: Piles) -> Piles:
    """Returns the piles; runs of versions that did not write the images' digest join the pile that is alike in the rest.

    Where several piles are, of other images, they stay apart.
    """
    found = {key: {method: list(runs) for method, runs in pile.items()} for key, pile in piles.items()}
    for key, pile in piles.items():
        *rest, images = key
        same = [other for other in found if list(other[:-1]) == rest and other[-1]]
        if not images and len(same) == 1:
            for method, runs in pile.items():
                found[same[0]].setdefault(method, []).extend(runs)
            del found[key]
    return found


def _methods(pile: dict[tuple[str, ...], list[Run]], left_out: list[str]) -> tuple[Method, ...]:
    """Returns the methods, labelled, the best Avg first; those that learn all tasks at once have no Avg and come
    last.
    """
    strategies: dict[str, list[list[Run]]] = {}
    for runs in pile.values():
        strategies.setdefault(str(runs[0].config["strategy"]), []).append(_once(runs, left_out))
    named = Counter(variants[0][0].method.name for variants in strategies.values())
    methods = []
    for strategy, variants in strategies.items():
        name = variants[0][0].method.name
        name = f"{name} ({strategy})" if named[name] > 1 else name
        differing = telling([settings(runs[0]) for runs in variants])
        for runs in variants:
            own = settings(runs[0])
            words = [f" {setting}={shown(own.get(setting))}" for setting in differing]
            methods.append(Method(strategy, name, "".join(words), tuple(runs)))
    return tuple(sorted(methods, key=lambda method: (-_mean_avg(method.runs), method.key)))


def telling(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the names of the settings in which some methods differ.

    Args:
        variants: the settings of each method by name.
    """
    names = dict.fromkeys(name for variant in variants for name in variant)
    return [name for name in names if len({shown(variant.get(name)) for variant in variants}) > 1]


def _mean_avg(runs: tuple[Run, ...]) -> float:
    identity = runs[0].protocol.accuracy_identity
    means = [-1.0 if run.learns_at_once or (avg := run.metrics[identity]["avg"]) is None else avg for run in runs]
    return sum(means) / len(means)


def _once(runs: list[Run], left_out: list[str]) -> list[Run]:
    """Returns one run for each seed and order: a repetition is the same sample, and adds no evidence."""
    kept: dict[tuple[Any, ...], Run] = {}
    for run in sorted(runs, key=lambda run: (run.tasks, run.config["seed"], str(run.folder))):
        first = kept.setdefault((run.tasks, run.config["seed"]), run)
        if first is not run:
            left_out.append(f"{run.folder}: same settings, order and seed as {first.folder}, which counts")
    return list(kept.values())

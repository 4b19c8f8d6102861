"""Reads run folders, and sorts their runs into groups that may be compared."""

import contextlib
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison.groups import Group, Method, settings, shown, telling
from benchmarks.config.errors import UserError
from benchmarks.runs.read import Run, read_whole


SHOWN = 60  # letters of the names of tasks in a title
START = "start_from"  # in the name of every method that has it, whether others have it too or not
Piles = dict[tuple[str, ...], dict[tuple[str, ...], list[Run]]]  # runs by what they share, and then by their settings


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
            if any(np.isnan(run.accuracy[each][-1]).any() for each in {"known", run.protocol.accuracy_identity}):
                raise UserError(f"{folder}: finished, but its accuracies after the last task are missing")
            method = tuple(f"{name}={shown(value)}" for name, value in sorted(settings(run).items()))
        except UserError as error:
            found.left_out.append(str(error))
            continue
        piles.setdefault(key, {}).setdefault(method, []).append(run)
    found.groups = [Group(_methods(pile, found.left_out)) for _, pile in sorted(_with_old(piles).items())]
    titles = Counter(group.title for group in found.groups)
    tasks = Counter((group.title, _named_tasks(group)) for group in found.groups)
    found.groups = [
        replace(group, distinction=_distinction(group, tasks[group.title, _named_tasks(group)] == 1))
        if titles[group.title] > 1
        else group
        for group in found.groups
    ]
    return found


def _named_tasks(group: Group) -> str:
    return ", ".join(sorted(group.first.tasks))


def _distinction(group: Group, tasks_tell: bool) -> str:
    """Returns what distinguishes groups whose stream, model and shots have the same names: the tasks if these do."""
    if tasks_tell:
        return f", {textwrap.shorten(_named_tasks(group), SHOWN, placeholder=' ...')}"
    weights = str(group.first.about.get("weights_sha256"))[:8]
    protocol = group.first.protocol
    images = str(group.about("stream_sha256") or "unknown")[:8]
    return (
        f", weights {weights}, images {images}, "
        f"protocol {protocol.digest[:8]} ({protocol.name}, task {protocol.identity})"
    )


def _key(run: Run) -> tuple[str, ...]:
    config = run.config
    weights = str(run.about.get("weights_sha256"))
    stream = (
        str(config["stream"]).partition(":")[0] if str(config["stream"]).startswith("folder:") else config["stream"]
    )
    images = str(run.about.get("stream_sha256", ""))
    images += shown(run.about["preprocessing"]) if "preprocessing" in run.about else ""
    drawn = str(config["splits"]), shown(config.get("shots"))
    return str(stream), run.protocol.digest, str(config["model"]), weights, *drawn, images


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
    named = Counter(name for variants in strategies.values() for name in {runs[0].method.name for runs in variants})
    methods = []
    for strategy, variants in strategies.items():
        differing = telling([settings(runs[0]) for runs in variants])
        differing += [START] if START not in differing and any(runs[0].is_second_stage for runs in variants) else []
        for runs in variants:
            name, own = runs[0].method.name, settings(runs[0])
            name = f"{name} ({strategy})" if named[name] > 1 else name
            # That a run starts from the pretrained model goes without saying.
            words = [f" {each}={shown(own.get(each))}" for each in differing if each != START or own.get(each)]
            methods.append(Method(strategy, name, "".join(words), tuple(runs)))
    return tuple(sorted(methods, key=lambda method: (-_mean_avg(method.runs), method.key)))


def _mean_avg(runs: tuple[Run, ...]) -> float:
    identity = runs[0].protocol.accuracy_identity
    means = [-1.0 if run.learns_at_once or (avg := run.metrics[identity]["avg"]) is None else avg for run in runs]
    return sum(means) / len(means)


def _once(runs: list[Run], left_out: list[str]) -> list[Run]:
    """Returns one run for each seed and order: a repetition is the same sample, and adds no evidence."""
    kept: dict[tuple[Any, ...], Run] = {}
    for run in sorted(runs, key=lambda run: (run.sample, str(run.folder))):
        first = kept.setdefault(run.sample, run)
        if first is not run:
            left_out.append(f"{run.folder}: same settings, order and seed as {first.folder}, which counts")
    return list(kept.values())

"""The arguments with which commands choose run folders, and the messages about those that are left out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmarks.comparison.groups import Group, shown
from benchmarks.comparison.sorting import Filter, Sorted, sort
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import say
from benchmarks.runs.folder import find


RESULTS = Path("results")
TELLING = ("stream", "model", "pretrained", "splits", "shots")  # settings under which runs are not compared


def choice(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the argument RESULTS and the filter options to a click command, and returns the command.

    They are `--stream`, `--order`, `--strategy` and `--setting`. The command gets them as the arguments `results`,
    `stream`, `order`, `strategy` and `setting`, each a tuple, and passes them to `chosen`, which reads the runs.

    Args:
        command: the click command, or the function to become one.
    """
    options = (
        click.argument("results", nargs=-1, type=click.Path(path_type=Path), metavar="[RESULTS...]"),
        click.option("--stream", multiple=True, metavar="TEXT", help="only these streams (again for more)"),
        click.option("--order", multiple=True, metavar="TEXT", help="only these orders"),
        click.option("--strategy", multiple=True, metavar="TEXT", help="only these strategies, with commas"),
        click.option("--setting", multiple=True, metavar="NAME=VALUE", help="only runs with these settings"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def chosen(
    results: tuple[Path, ...], stream: tuple[str, ...], order: tuple[str, ...], strategy: tuple[str, ...],
    setting: tuple[str, ...],
) -> Sorted:  # fmt: skip
    """Reads the finished runs at or below some folders, and returns them in groups of runs that may be compared.

    It prints on stderr which folders are left out and why.

    Args:
        results: the folders; empty means `results`.
        stream, order: names to keep; empty keeps all.
        strategy: likewise, several in one text with commas between them.
        setting: `NAME=VALUE` texts; only runs with all these settings are kept.

    Raises:
        UserError: no run is left, no run has one of the names, a folder is missing or holds no run, or a setting is not
            of the form NAME=VALUE.
    """
    if wrong := [each for each in setting if "=" not in each]:
        raise UserError(f"--setting {wrong[0]}: expected NAME=VALUE, as in lr=0.001")
    strategy = tuple(name.strip() for each in strategy for name in each.split(","))
    searched = find(results or (RESULTS,))
    found = sort(searched.folders, Filter(stream, order, strategy, setting))
    found.remarks += [searched.remark] if searched.remark else []
    for line in [*(f"left out: {line}" for line in found.left_out), *(f"note: {line}" for line in found.remarks)]:
        say(line)
    pairs = [("stream", value) for value in stream] + [("order", value) for value in order]
    pairs += [("strategy", value) for value in strategy]
    for name, value in pairs:
        if value not in found.there.get(name, set()):
            raise UserError(
                f"--{name} {value}: no run there has it; there are {', '.join(sorted(found.there.get(name, ())))}"
            )
    if not found.groups:
        reason = "all are left out" if found.left_out else "no run there has what was asked for"
        settings = [each.partition("=")[0] for each in setting]
        values = [f"{name} is {', '.join(sorted(found.there.get(name, {'nowhere set'})))}" for name in settings]
        raise UserError(f"nothing to compare: {'; '.join([reason, *values])}")
    return found


def only_group(found: Sorted) -> Group:
    """Returns the only group of comparable runs. A figure needs this, since it cannot show runs under different
    protocols.

    Args:
        found: the groups, at least one.

    Raises:
        UserError: there are several groups; the message names the first two.
    """
    if len(found.groups) > 1:
        titles = "; ".join(group.title for group in found.groups[:2])
        raise UserError(f"the runs are under {len(found.groups)} different protocols, the first two: {titles}. Name fewer "
                        f"folders, or choose {_telling(*found.groups[:2])}")  # fmt: skip
    return found.groups[0]


def _telling(one: Group, other: Group) -> str:
    """Returns the options that choose the first of two groups alone, as `with --setting shots=5`."""
    found = []
    for name in TELLING:
        ours, theirs = ({shown(run.config.get(name)) for run in group.runs} for group in (one, other))
        if len(ours) == 1 and not ours & theirs:
            option = f"--stream {ours.pop()}" if name == "stream" else f"--setting {name}={ours.pop()}"
            found.append(f"with {option} the first")
    return " or ".join(found) or "with --stream or --setting"

"""Chooses settings by their runs on validation images, by a named rule.

The runs are those of a sweep on `validation:SEED:STREAM`, where a tenth of each class's training images is never trained on
and tested on in the place of the test images, which are never read.
"""

import csv
import hashlib
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.config.errors import UserError
from benchmarks.runs.metrics import class_incremental
from benchmarks.runs.read import Run, read
from benchmarks.runs.write import run_json
from benchmarks.runtime import files
from benchmarks.streams import validation
from benchmarks.sweep.cells import Cell, said, text
from benchmarks.sweep.grid import DEFAULT, Block
from benchmarks.sweep.states import standing
from benchmarks.sweep.values import is_number


SEED = 7  # of the draw of validation images, and of the runs where no seed is named
FIRST = {"micro": "shapes,clocks,scans,colours,symbols"}  # of its order II
RULES = {
    "learning": "learning accuracy: mean accuracy on each task just after it was learned",
    "average": "Last: mean accuracy on all tasks after the last one (the cross-validation of A-GEM); it decides",
}
DECIDES = "average"
HEADER = ("strategy", "settings", "tried", "runs", *RULES, "chosen by")


def blocks(found: Sequence[Block]) -> list[Block]:
    """Returns the blocks of a search with their stream replaced by the one whose validation images are tested on.

    Without a seed it is 7; without an order, on `micro`, the first five tasks of order II.

    Args:
        found: the blocks; each names settings that are searched.

    Raises:
        UserError: a block searches nothing, has several streams, another than `micro` without an order, or several values
            of a setting that is not searched; or two blocks have the same strategy.
    """
    for block in found:
        if not block.searched:
            raise block.at(UserError("search: names no setting, but another block does; sweep them apart"))
    streams = {str(each) for block in found for each in block.values.get("stream", ["micro"])}
    if len(streams) > 1:
        raise UserError(f"--search: one stream at a time; got {', '.join(sorted(streams))}")
    for block in found:
        if len(named := block.values.get("strategy", [])) > len(set(map(str, named))):
            raise block.at(UserError("strategy: one is named twice"))
    strategies = [str(each) for block in found for each in block.values.get("strategy", [DEFAULT])]
    if len(set(strategies)) < len(strategies):
        raise UserError(
            "--search: a strategy stands in two blocks, whose runs would be one method's; search for them apart"
        )
    (stream,) = streams
    return [_block(block, stream) for block in found]


def _block(block: Block, stream: str) -> Block:
    if all(len(block.values.get(name, ())) == 1 for name in block.searched):
        raise block.at(UserError(f"--search {block.searched[0]}: one choice alone; name the values to choose among"))
    for name in ("strategy", "stream", "order", "seed"):
        if name in block.searched:
            raise block.at(UserError(f"--search {name}: is no setting of a method; leave it to --{name}"))
    for name, values in block.values.items():
        if name not in ("strategy", "order", "seed", *block.searched) and len(values) > 1:
            raise block.at(UserError(f"--set {name}: several values in a search; give one, or --search {name}=..."))
    if "order" not in block.values and stream not in FIRST:
        raise block.at(
            UserError(f"--order: name the tasks of {stream} on which settings are searched for, as in --order [A,B,C]")
        )
    usual: dict[str, Sequence[Any]] = {"seed": [SEED], "order": [FIRST.get(stream, "")]}
    changed = {**usual, **block.values, "stream": [validation.name(stream, SEED)]}
    return Block(changed, block.where, block.searched)


def check(cells: Sequence[Cell]) -> None:
    """Checks that each run of a search learns several tasks, without which the rules are the same.

    Args:
        cells: the runs, of streams that were opened.

    Raises:
        UserError: a run has one task.
    """
    if single := next((cell for cell in cells if cell.tasks == 1), None):
        order = single.request.config.common.order
        raise UserError(f"--order {order}: a search needs several tasks; brackets keep them together, as in [A,B,C]")


@dataclass
class Row:
    """A method with one choice of the searched settings.

    Attributes:
        strategy: the method's name.
        settings: the values of the searched settings that the method has.
        runs: number of its runs, over seeds and orders.
        scores: the rules' values in percent, means over its runs; None if a run is not finished, or lacks accuracies.
        tried: number of choices that the method has, which is its budget.
        chosen_by: the rules that choose it.
    """

    strategy: str
    settings: Mapping[str, Any]
    runs: int
    scores: Mapping[str, float | None]
    tried: int = 0
    chosen_by: tuple[str, ...] = ()

    @property
    def numbers(self) -> list[str]:
        """`tried`, `runs` and the rules' values, as text; empty for a value that is not known."""
        scores = [self.scores[rule] for rule in RULES]
        return [str(self.tried), str(self.runs), *("" if each is None else f"{each:.2f}" for each in scores)]


def choose(cells: Sequence[Cell]) -> list[Row]:
    """Returns a row for each method and each of its choices of settings, in the order of the runs.

    Each rule chooses one row of a method, the first of the best; a row whose runs are not all finished is never chosen.

    Args:
        cells: the runs of a search.
    """
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(json.dumps(_key(cell)), []).append(cell)
    rows = [_row(alike) for alike in found.values()]
    for strategy in dict.fromkeys(row.strategy for row in rows):
        own = [row for row in rows if row.strategy == strategy]
        for row in own:
            row.tried = len(own)
        for rule in RULES:
            if done := [row for row in own if row.scores[rule] is not None]:
                max(done, key=lambda row: row.scores[rule] or 0.0).chosen_by += (rule,)
    return rows


def _key(cell: Cell) -> tuple[str, dict[str, Any]]:
    """What tells a row apart."""
    flat = cell.request.config.flat()
    return cell.request.config.common.strategy, {name: flat[name] for name in cell.searched}


def _row(alike: Sequence[Cell]) -> Row:
    found = [scores(read(cell.folder)) for cell in alike if standing(cell.folder).state == "finished"]
    whole = len(found) == len(alike) and all(map(math.isfinite, (value for each in found for value in each.values())))
    means = {rule: statistics.fmean(each[rule] for each in found) if whole else None for rule in RULES}
    return Row(*_key(alike[0]), len(alike), means)


def fragment(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Returns the chosen settings by strategy, as a recipe has them below `strategies`.

    Args:
        rows: what `choose` returned.
    """
    return {row.strategy: dict(row.settings) for row in rows if DECIDES in row.chosen_by}


def remarks(rows: Sequence[Row]) -> list[str]:
    """Returns lines on what a reader should know: runs that are missing, budgets that differ, and values at the end of
    those that were tried.

    Args:
        rows: what `choose` returned.
    """
    found = []
    for row in rows:
        if row.scores[DECIDES] is None:
            found.append(
                f"{row.strategy} {said(row.settings)}: not all runs are finished with all accuracies, so it is not chosen"
            )
    tried = {row.strategy: row.tried for row in rows}
    if len(set(tried.values())) > 1:
        each = ", ".join(f"{name} {count}" for name, count in tried.items())
        found.append(f"the methods were not given the same number of choices: {each}")
    for row in (row for row in rows if DECIDES in row.chosen_by):
        own = [other.settings for other in rows if other.strategy == row.strategy]
        for name, value in row.settings.items():
            values = {settings[name] for settings in own if is_number(settings[name])}
            if len(values) > 1 and value in (min(values), max(values)):
                found.append(f"{row.strategy}: the best {name}, {value}, is at the end of those that were tried")
    return found


def table(rows: Sequence[Row], stream: str) -> list[list[str]]:
    """Returns the rows as text, with a header: stream, strategy, searched settings, tried, runs, rules, chosen by.

    Args:
        rows: what `choose` returned.
        stream: the stream whose settings are searched for.
    """
    searched = list(dict.fromkeys(name for row in rows for name in row.settings))
    lines = [["stream", "strategy", *searched, "tried", "runs", *RULES, "chosen_by"]]
    for row in rows:
        settings = [text(row.settings[name]) if name in row.settings else "" for name in searched]
        lines.append([stream, row.strategy, *settings, *row.numbers, " ".join(row.chosen_by)])
    return lines


def scores(run: Run) -> dict[str, float]:
    """Returns the value of each rule for a run, in percent, under the test condition of its stream's protocol.

    `average` is the tables' Last: the mean over tasks, and in class-incremental protocols over all test images.

    Args:
        run: a finished run.
    """
    states, tests = run.accuracy[run.protocol.identity][1:], np.array(run.protocol.tests)  # (T, T), (T,)
    last = class_incremental(states, tests)["last"] if run.protocol.identity == "seen" else float(states[-1].mean())
    return {"learning": float(states.diagonal().mean()), "average": math.nan if last is None else last}


def write(rows: Sequence[Row], cells: Sequence[Cell], results: Path, command: str) -> list[Path]:
    """Writes what a search found, and returns the paths: a table, a recipe's fragment, and where they come from.

    The names have a digest of the search, so that another search writes other files.

    Args:
        rows: what `choose` returned.
        cells: the runs.
        results: the folder of all run folders.
        command: the command that searches again.

    Raises:
        UserError: a file cannot be written.
    """
    digest = hashlib.sha256("\n".join(f"{cell.name} {' '.join(cell.searched)}" for cell in cells).encode()).hexdigest()[
        :8
    ]
    csv_file, recipe, about = (results / f"search-{digest}{end}" for end in (".csv", ".yaml", ".json"))
    written = io.StringIO()
    stream = cells[0].request.config.common.stream.split(":", 2)[2]
    csv.writer(written, lineterminator="\n").writerows(table(rows, stream))
    files.write_text(csv_file, written.getvalue())
    chosen = yaml.safe_dump({"strategies": fragment(rows)}, sort_keys=False)
    files.write_text(recipe, f"# Chosen by `{DECIDES}` on validation images; see {about.name}.\n{chosen}")
    commons = [cell.request.config.common for cell in cells]
    provenance = {
        "command": command,
        "rules": RULES,
        "decides": DECIDES,
        "streams": sorted({each.stream for each in commons}),
        "orders": sorted({each.order for each in commons}),
        "seeds": sorted({each.seed for each in commons}),
        "git": _commits(cells),
        "runs": [cell.name for cell in cells],
    }
    files.write_json(about, provenance)
    return [csv_file, recipe, about]


def _commits(cells: Sequence[Cell]) -> list[Any]:
    """The commits that the finished runs were made with, each with whether there were uncommitted changes."""
    finished = [cell.folder for cell in cells if standing(cell.folder).state == "finished"]
    found = [run_json(folder).get("git") for folder in finished]
    return [each for index, each in enumerate(found) if each not in found[:index]]

"""Runs of a study's whole grid with values that a test chooses, in the place of training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison.collection import Runs, load
from benchmarks.studies.base import Named
from benchmarks.sweep.cells import Cell
from benchmarks.sweep.door import plan, shared_by_all
from tests.run_folders import RANK, rank_rows, write_csv, write_run


Settings = dict[str, Any]


def cells(named: Named, results: Path, *, quick: bool = False) -> list[Cell]:
    """The runs of a study, of which nothing need be there."""
    return list(plan(named.blocks(quick=quick), shared_by_all(results), opened=False).cells)


def plain(given: Settings) -> np.ndarray:
    """Accuracies after 0 to 3 of three tasks: a task is learned to 70 % and loses 5 points at each later one."""
    drawn = np.random.default_rng(given["seed"] + round(1e4 * given["lr"])).uniform(-1, 1, (4, 3))
    gain = 10 + np.log10(given["lr"])
    learned = np.array([[50, 50, 50], [60, 49, 49], [57, 60, 48], [55, 57, 60]])
    return np.asarray(np.where(learned > 50, learned + gain, learned) + drawn * (np.arange(4) > 0)[:, None])


def made(named: Named, results: Path, states: Callable[[Settings], np.ndarray] = plain) -> Runs:
    """The finished runs of a study, written, as its command loads them.

    Args:
        states: returns the accuracies (4, 3) in percent of a run with these settings.
    """
    found = cells(named, results)
    for cell in found:
        settings = cell.request.config.flat()
        values = states(settings)
        known = {name: value for name, value in settings.items() if name not in ("strategy", "stream", "seed")}
        count = values.shape[1]
        write_run(
            cell.folder, values, [f"task{number}" for number in range(count)], settings["strategy"], settings["seed"],
            stream=settings["stream"], **known,
        )  # fmt: skip
        write_csv(cell.folder / "rank.csv", RANK.split(","), rank_rows(count, trained=True, blocks=1))
    return load([cell.folder for cell in found])

"""Runs of a study's whole grid with values that a test chooses, in the place of training."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison.collection import Runs, load
from benchmarks.streams.micro import DOMAINS
from benchmarks.studies.base import Named, Row
from benchmarks.studies.micro_or_real import NORMS, SHARES, WHERE
from benchmarks.sweep.cells import Cell
from benchmarks.sweep.door import plan, shared_by_all
from tests.run_folders import RANK, rank_rows, write_csv, write_run


Settings = dict[str, Any]
ANGLES = (
    "after,earlier,tower,block,matrix,rank,earlier_rank,left_largest,left_mean_squared,right_largest,right_mean_squared"
)


def cells(named: Named, results: Path, *, quick: bool = False) -> list[Cell]:
    """The runs of a study, of which nothing need be there."""
    blocks = named.blocks(quick=quick)
    return list(plan(blocks, shared_by_all(results), opened=False).cells) if blocks else []


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
        if "task_angles" in named.study.measure:
            angles = [[2, 1, "image", 0, matrix, 8, 8, 0.9, 0.2, 0.9, 0.4] for matrix in "qkvo"]
            write_csv(cell.folder / "task_angles.csv", ANGLES.split(","), angles)
    return load([cell.folder for cell in found])


def measured(named: Named) -> list[Row]:
    """What a study would have measured in its cells."""
    return ROWS[named.name](named.cells()) if named.study.data else []


def _similar(cells: list[Row]) -> list[Row]:
    """The later in the alphabet the more alike, by images and names in opposite order."""
    pairs = list(combinations(sorted(DOMAINS), 2))
    return [
        {"first": one, "second": other, "images": place / len(pairs), "names": 1 - place / len(pairs)}
        for place, (one, other) in enumerate(pairs)
    ]


def _real(cells: list[Row]) -> list[Row]:
    """Energy shares 0.5 and 0.6; accuracies 50 % less ten times what was changed, by seed."""
    found: list[Row] = []
    for cell in cells:
        towers = (("image", 0.5), ("text", 0.6))
        spectrum = {"of": "spectrum", "entropy_share": 0.75, "stable_rank": 18.0, "values": [1.0, 0.5, 0.1]}
        found += [{**cell, **spectrum, "tower": tower, "energy_share": share} for tower, share in towers]
        kinds: list[tuple[Any, ...]] = [("none", "", "", None, None)]
        kinds += [("removed", each, each, share, None) for share in SHARES for each in WHERE]
        kinds += [("updated", *pair, 0.25, norm) for norm in NORMS for pair in (("tail", "tail"), ("top", "any"))]
        names = ("change", "left", "right", "directions", "relative_norm")
        found += [
            {
                **cell,
                "of": "sensitivity",
                **dict(zip(names, kind, strict=True)),
                "accuracy": 8.0 + cell["seed"] - 10 * (kind[3] or 0),
            }
            for kind in kinds
        ]
    return found


def _cost(cells: list[Row]) -> list[Row]:
    """A step of 2 s, decompositions of 20 s and 2 s, and distances of 0.1 and 0.3 by power 2 and 0."""
    found: list[Row] = []
    for cell in cells:
        if "timed" in cell:
            machine = {"device": "cpu", "gpu": None, "processor": "a processor", "threads": 2}
            found.append({**cell, "of": "step", "seconds": 2.0, **machine})
            timed = [
                {"backbone": model, "by": by, "seconds": s} for model in ("ViT-B-16", "ViT-H-14") for by, s in TIMES
            ]
            found += [{**cell, "of": "all", **each} for each in timed]
        else:
            found.append({**cell, "of": "distance", "squared_sine": 0.1 if cell["power"] else 0.3})
    return found


TIMES = (("svd", 20.0), ("tail by inverse, power 0", 2.0))
ROWS: dict[str, Callable[[list[Row]], list[Row]]] = {"correlation": _similar, "micro-or-real": _real, "svd-cost": _cost}

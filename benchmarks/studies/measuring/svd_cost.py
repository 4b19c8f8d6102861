"""The seconds of decompositions, and how far approximate tails are from the exact ones."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.config.errors import UserError
from benchmarks.experiment.backbones.loading import load_backbone
from benchmarks.runtime.files import read_json
from benchmarks.studies.base import Row
from benchmarks.studies.svd_cost import RANK
from strategies.clip.weight_matrices import weight_matrices
from strategies.numerics.approximate_tail import complement, inverse, squared_sine
from strategies.numerics.subspace import choose, decompose


def measure(cell: Row, options: Mapping[str, Any]) -> Iterator[Row]:
    """Returns the rows of `timed` for a cell that names a model so, and else those of `distance`.

    Args:
        cell: `timed`, or `algorithm`, `power` and `seed`, with `model` and `pretrained` if they are named.
        options: not used.
    """
    return timed(cell["timed"]) if "timed" in cell else distance(cell)


def timed(model: str) -> Iterator[Row]:
    """Yields the seconds of a step of the model, then of each backbone's decomposition by each algorithm: what `python -m
    benchmarks.perf --part decomposition` measures.

    Args:
        model: an open_clip name.

    Raises:
        UserError: the command failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = ["--part", "decomposition", "--model", model, "--results", folder]
        command = [sys.executable, "-m", "benchmarks.perf", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"benchmarks.perf {' '.join(words[:-2])}: {(done.stderr.splitlines() or ['failed'])[-1]}")
        found = read_json(Path(folder) / "decomposition.json")
    machine = {name: found["hardware"][name] for name in ("device", "gpu", "processor", "threads")}
    yield {"of": "step", "seconds": found["seconds_of_a_step"], **machine}
    for backbone, seconds in found["decomposition_seconds_of_all_attention_matrices"].items():
        yield from ({"of": "all", "backbone": backbone, "by": by, "seconds": each} for by, each in seconds.items())


def distance(cell: Row) -> Iterator[Row]:
    """Yields the mean squared sine between approximate and exact tails, over the model's matrices and both sides.

    Args:
        cell: `algorithm`, `power`, `seed`, and `model` and `pretrained` if they are named.
    """
    torch.manual_seed(cell["seed"])
    find = {"complement": complement, "inverse": inverse}[cell["algorithm"]]
    sines: list[float] = []
    for matrix in weight_matrices(load_backbone(cell.get("model", "micro"), cell.get("pretrained")).clip):
        weight = matrix.weight().detach()
        (u, vh), exact = find(weight, RANK, cell["power"]), choose(decompose(weight), RANK, "tail")
        sines += [squared_sine(u, exact[0]), squared_sine(vh.T, exact[1].T)]
    yield {"of": "distance", "squared_sine": sum(sines) / len(sines)}

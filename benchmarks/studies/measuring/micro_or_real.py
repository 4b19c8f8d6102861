"""The spectra of a model's towers, and how much its accuracy hangs on parts of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.experiment.backbones.loading import load_backbone, random_backbone
from benchmarks.experiment.model_spectra import spectra
from benchmarks.experiment.model_test import ModelTest
from benchmarks.experiment.reading import data_place
from benchmarks.experiment.request import cache_place
from benchmarks.experiment.sensitivity import rows
from benchmarks.runtime.devices import plain_torch
from benchmarks.streams.named import build_plan
from benchmarks.studies.base import Row
from benchmarks.studies.micro_or_real import NORMS, SHARES
from strategies.clip.weight_matrices import weight_matrices


def measure(cell: Row, options: Mapping[str, Any]) -> Iterator[Row]:
    """Yields a row for each tower's spectrum, then one for each change of the weights, as `experiment.sensitivity` has them but
    for `directions`, a share of the narrowest matrix's.

    Args:
        cell: `weights` (`trained` or `random`), `seed`, and `model`, `pretrained` and `order` if they are named.
        options: `data_root` and `cache`, as in `nb.run`.
    """
    model, cache = cell.get("model", "micro"), options["cache"]
    torch.manual_seed(cell["seed"])
    trained = cell["weights"] == "trained"
    backbone = load_backbone(model, cell.get("pretrained")) if trained else random_backbone(model)
    with plain_torch():
        yield from ({"of": "spectrum", **found._asdict()} for found in spectra(backbone.clip))
        plan = build_plan("micro", data_place(options["data_root"]))
        place = cache_place(Path(cache) if cache else None, wanted=True)
        test = ModelTest(backbone, plan, cell.get("order", "default"), "auto", place)
        narrowest = min(min(matrix.weight().shape) for matrix in weight_matrices(backbone.clip))
        removed = [round(share * narrowest) for share in SHARES]
        for row in rows(test, removed=removed, norms=NORMS, directions=removed[0], seed=cell["seed"]):
            share = row.directions and row.directions / narrowest
            yield {"of": "sensitivity", **row._asdict(), "directions": share}

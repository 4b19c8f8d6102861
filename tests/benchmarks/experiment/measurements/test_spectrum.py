"""Rows of rank.csv and spectrum.csv against plain float64 references."""

import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.experiment.callbacks import Callbacks
from benchmarks.experiment.measurements import interference, singular_values, spectrum
from benchmarks.experiment.measurements.base import RunState
from benchmarks.runs.record import RunRecord
from benchmarks.runtime.progress import ProgressBar
from strategies.base import StrategyPlugin
from strategies.clip.weight_matrices import weight_matrices
from strategies.numerics.subspace import Decompositions
from tests.models import tiny_model


class Meters:
    """The measurements of a model's weights, asked as a run of one task asks them."""

    def __init__(self, clip: Any, matrices: Sequence[str], rho: float, resumed: bool = False) -> None:
        plugin = StrategyPlugin(None)
        plugin.matrices, plugin.rho, plugin.decompositions = tuple(matrices), rho, Decompositions(keep=True)
        model: Any = SimpleNamespace(clip=clip)
        self.run = RunState(Path("nowhere"), {}, ("one",), model, plugin, resumed=resumed)
        self.singular_values = singular_values.Meter()
        self.meters = [spectrum.Meter(), interference.Meter()]
        for meter in self.meters:
            meter.on_run_begin(self.run)

    def measure(self, learned: int) -> list[dict[str, Any]]:
        """The rows of both, joined."""
        self.run.learned = learned
        rank, touched = ([dict(row) for row in meter.measure(self.run)] for meter in self.meters)
        return [{**a, **b} for a, b in zip(rank, touched, strict=True)]

    def values(self, learned: int) -> list[dict[str, Any]]:
        self.run.learned = learned
        return [dict(row) for row in self.singular_values.measure(self.run)]


def test_a_states_rows_and_its_update(device: torch.device) -> None:
    clip = tiny_model(device=device)
    meter = Meters(clip, ("q", "o", "fc"), rho=0.8)
    first = meter.measure(0)
    assert len(first) == 3 * 3 and first[0]["update_norm"] is None and first[0]["interference"] is None
    site = next(s for s in weight_matrices(clip, "text", ("q",)))
    before = site.weight().detach().double().cpu().numpy().copy()
    torch.manual_seed(1)
    with torch.no_grad():
        site.weight().add_(0.1 * torch.randn(24, 24).to(device))
    row = next(r for r in meter.measure(1) if (r["tower"], r["block"], r["matrix"]) == ("text", 0, "q"))

    after = site.weight().detach().double().cpu().numpy()
    u, s, vh = np.linalg.svd(before)
    k = int(np.argmax(np.cumsum(s**2) >= 0.8 * (s**2).sum())) + 1
    delta = after - before
    norm = np.linalg.norm(delta)
    left, right = np.linalg.norm(u[:, :k].T @ delta) / norm, np.linalg.norm(delta @ vh[:k].T) / norm
    s = np.linalg.svd(after, compute_uv=False)
    k = int(np.argmax(np.cumsum(s**2) >= 0.8 * (s**2).sum())) + 1
    p = s / s.sum()
    assert (row["after"], row["dim"], row["rho"]) == (1, 24, 0.8)
    assert (row["energy_rank"], row["null_directions"]) == (k, 24 - k)
    assert row["energy_share"] == k / 24
    assert row["effective_rank"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)
    assert row["update_norm"] == pytest.approx(norm, rel=1e-5)
    assert row["interference_left"] == pytest.approx(left, rel=1e-4)
    assert row["interference_right"] == pytest.approx(right, rel=1e-4)
    assert row["interference"] == max(row["interference_left"], row["interference_right"])
    values = next(r for r in meter.values(1) if (r["tower"], r["block"], r["matrix"]) == ("text", 0, "q"))
    assert values["after"] == 1
    assert [values[str(place)] for place in range(1, 25)] == pytest.approx(s, rel=1e-4, abs=1e-5)


def test_the_table_of_spectra_has_a_column_for_each_value_of_the_largest() -> None:
    clip = tiny_model()
    meters = Meters(clip, ("q", "o"), 0.9)
    record = RunRecord()
    Callbacks([meters.singular_values], ProgressBar(silent=True)).measure(meters.run, record)
    table = pd.read_csv(io.StringIO(record.tables["spectrum"]))
    assert list(table.columns) == ["after", "tower", "block", "matrix", *map(str, range(1, 33))]
    text = table[table["tower"] == "text"]
    assert text["24"].notna().all() and text["25"].isna().all() and table[table["tower"] == "image"]["32"].notna().all()


def test_an_unchanged_matrix_has_no_interference_and_a_meter_may_begin_anywhere(device: torch.device) -> None:
    clip = tiny_model(device=device)
    meter, late = Meters(clip, ("v",), 0.9), Meters(clip, ("v",), 0.9, resumed=True)
    meter.measure(0)
    rows = meter.measure(1)
    assert rows[0]["update_norm"] == 0 and rows[0]["interference"] is None
    assert rows == late.measure(1)


def test_an_update_in_the_null_space_does_not_interfere(device: torch.device) -> None:
    clip = tiny_model(device=device)
    meter = Meters(clip, ("o",), 0.9)
    meter.measure(0)
    site = weight_matrices(clip, "image", ("o",))[0]
    u, _, vh = torch.linalg.svd(site.weight().detach())
    with torch.no_grad():
        site.weight().add_(0.1 * u[:, -1:] @ vh[-1:])
    assert meter.measure(1)[0]["interference"] < 1e-5

"""components.csv: a row for each matrix after each task, in runs of methods that drop components alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import api as nb
from benchmarks.config import registry
from benchmarks.experiment.callbacks import chosen_measurements


MATRICES = ("q", "k", "v", "o", "fc", "proj")


def test_what_a_method_keeps_of_each_matrix_stands_there_after_each_task(
    images: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    said: list[list[int]] = []

    class Kept(nb.Callback):
        def on_task_end(self, run: nb.RunState) -> None:
            assert run.strategy.components is not None
            said.append(list(run.strategy.components.values()))

    quick: dict[str, Any] = {"iterations": 8, "batch_size": 4, "device": "cpu", "plots": False, "silent": True}
    model = f"local-dir:{tiny_clip}"
    run = nb.run(
        "codyra",
        f"folder:{images}",
        rank=5,
        threshold=5.0,
        model=model,
        results=tmp_path,
        callbacks=[Kept()],
        **quick,
    )
    table = run.table("components")
    assert list(table.columns) == ["after", "tower", "block", "matrix", "components"]
    assert table["after"].tolist() == [after for after in (1, 2, 3) for _ in range(18)]
    places = [("image", 0), ("image", 1), ("text", 0)]
    expected = [(*place, matrix) for place in places for matrix in MATRICES]
    assert list(table[["tower", "block", "matrix"]].itertuples(index=False, name=None)) == expected * 3
    assert table["components"].tolist() == [count for each in said for count in each]
    assert table["components"].between(0, 5).all() and len(set(table["components"])) > 2
    assert "components" in json.loads((run.folder / "run.json").read_text())["tables"]


@pytest.mark.parametrize("name", ["nusa", "lora", "finetune", "zeroshot"])
def test_other_methods_are_not_asked_unless_it_is_named(name: str) -> None:
    plugin = registry.strategy_of(name).plugin()(registry.settings_class(name)())
    assert "components" not in {each.table for each in chosen_measurements(plugin)}
    (asked,) = [each for each in chosen_measurements(plugin, ["components"]) if each.table == "components"]
    run: Any = type("Run", (), {"strategy": plugin, "learned": 1})
    assert not list(asked.measure(run))

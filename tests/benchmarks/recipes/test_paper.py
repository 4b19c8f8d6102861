"""The sweep files of papers: on the data sets' genuine layouts, with a tiny CLIP and two steps for each task."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import api as nb
from benchmarks.config.recipes import RECIPES
from benchmarks.experiment.door import places
from benchmarks.sweep.cells import Cell, Shared
from benchmarks.sweep.door import plan
from benchmarks.sweep.file import read_blocks
from tests.conftest import ROOT, write_images
from tests.layouts import accept_layouts, write_all


FILES = sorted((RECIPES / "paper").glob("*.yaml"))
# A tiny model and few steps; a class of the layouts has two training images.
SMALL: dict[str, Any] = {"iterations": 2, "batch_size": 2, "device": "cpu", "augmentation": "none"}
OF_METHODS = {"moe_adapter": {"experts": 11, "width": 2}, "diki": {"length": 2}}
FAST = {"nusa-table1": "nusa", "nusa-ablations": "nusa"}  # files of which the fast test does the first run of a method


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_all(root)
    write_images(root / "others", {"a": 2})
    (root / "captions.txt").write_text("\n".join(f"a photo of thing {number}" for number in range(40)))
    return root


@pytest.fixture(autouse=True)
def _layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    accept_layouts(monkeypatch)


def cells(file: Path, data: Path, results: Path, more: dict[str, Any]) -> list[Cell]:
    """The runs of a sweep's file as the command plans them, with further settings in each block."""
    blocks = [
        replace(block, values={**block.values, **{name: [value] for name, value in more.items()}})
        for block in read_blocks(file)
    ]
    methods = {name for block in blocks for name in block.values["strategy"]}
    images = data / "others" / "a" / "train" if methods & {"zscl", "moe_adapter"} else None
    texts = data / "captions.txt" if "zscl" in methods else None
    at = places(results, data_root=data, auxiliary_images=images, auxiliary_texts=texts)
    return list(plan(blocks, Shared(at)).cells)


def small(model: Path) -> dict[str, Any]:
    return {**SMALL, "model": f"local-dir:{model}"}


def do(cell: Cell, data: Path) -> nb.Run:
    """The run of a cell, with settings of its method that suit a tiny model."""
    common = cell.request.config.common
    given = {**cell.given, **OF_METHODS.get(common.strategy, {})}
    reads = cell.request.places
    asked = nb.request(
        given, results=reads.results, data_root=data, auxiliary_images=reads.auxiliary_images,
        auxiliary_texts=reads.auxiliary_texts,
    )  # fmt: skip
    return nb.start(asked, plots=False, silent=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_run_is_one_that_the_command_accepts(file: Path, data: Path, tmp_path: Path) -> None:
    """With the published settings, but for the batch, which the layouts cannot fill: streams, orders and methods exist."""
    found = cells(file, data, tmp_path, {"batch_size": 2})
    assert len({cell.folder for cell in found}) == len(found) >= 1
    for cell in found:
        assert cell.request.config.common.model == "ViT-B-16-quickgelu" and cell.tasks in (6, 10, 11, 20, 21, 50)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_missing_data_are_named_before_anything_starts(file: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(nb.UserError, match=r"benchmarks\.prepare|--reference-images"):
        plan(read_blocks(file), Shared(places(tmp_path / "results", data_root=tmp_path / "nothing")))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("stem", FAST)
def test_a_run_of_the_file(stem: str, data: Path, tiny_clip: Path, tmp_path: Path) -> None:
    found = cells(RECIPES / "paper" / f"{stem}.yaml", data, tmp_path, small(tiny_clip))
    run = do(next(cell for cell in found if cell.request.config.common.strategy == FAST[stem]), data)
    assert len(run.tasks) == 11 and run.metrics["known"]["transfer"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_all_runs_of_the_file(file: Path, data: Path, tiny_clip: Path, tmp_path: Path) -> None:
    for cell in cells(file, data, tmp_path, small(tiny_clip)):
        run = do(cell, data)
        identity = run.protocol.accuracy_identity
        assert run.is_finished and run.metrics[identity]["last"] is not None
    table = nb.load_runs(tmp_path).table()
    assert len(table) and table["last"].notna().all()


def test_the_page_names_every_file_and_the_files_exist() -> None:
    page = (ROOT / "docs" / "reproducing.md").read_text(encoding="utf-8")
    named = set(re.findall(r"benchmarks/recipes/paper/([\w-]+\.yaml)", page))
    assert named == {file.name for file in FILES}

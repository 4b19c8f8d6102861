"""A data set is one file: found, described, fetched, opened and made a task of, with nothing else touched."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import datasets
from benchmarks.config.errors import UserError
from benchmarks.datasets.about import info, infos
from benchmarks.datasets.checks import open_checked
from benchmarks.datasets.download import download
from benchmarks.streams.from_datasets import whole_task


TOY = '''
"""Toy: squares of one colour."""

from pathlib import Path

from PIL import Image
from torchvision.datasets import ImageFolder

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part


INFO = Info(
    name="Toy",
    folder="toy-squares",
    origin="https://example.org/toy",
    archive="https://example.org/toy.zip",
    download=True,
    by_hand="draw it so that DATA_ROOT/toy-squares/train exists",
    split="the drawn halves",
    licence="none " "needed",
    citation="nobody",
    expected={"train": 4, "test": 2, "classes": 2},
    templates=("a square that is {}.",),
)


def read(root: Path) -> tuple[Part, ...]:
    found = [ImageFolder(root / INFO.folder / half) for half in ("train", "test")]
    return tuple(Part.of_files(each, each.targets, [path for path, _ in each.samples]) for each in found)


def download(root: Path) -> None:
    for half, count in (("train", 2), ("test", 1)):
        for name, colour in (("dark_red", (99, 0, 0)), ("green", (0, 255, 0))):
            place = root / INFO.folder / half / name
            place.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (4, 4), colour).save(place / f"{number}.png")
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the test's own in which data sets are found besides the published ones."""
    place = tmp_path / "own"
    place.mkdir()
    monkeypatch.setattr(datasets, "__path__", [*datasets.__path__, str(place)])
    infos.cache_clear()
    yield place
    infos.cache_clear()
    sys.modules.pop("benchmarks.datasets.toy", None)


def test_a_data_set_is_added_with_one_file(folder: Path, tmp_path: Path) -> None:
    (folder / "toy.py").write_text(TOY)
    assert list(infos())[-3:] == ["SUN397", "TinyImageNet", "Toy"] and len(infos()) == 13
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(UserError, match=r"^Toy: .*/toy-squares: no such folder; .* or draw it so that"):
        open_checked("Toy", root)
    assert info("Toy").licence == "none needed" and "benchmarks.datasets.toy" not in sys.modules
    download("Toy", root)
    opened = open_checked("Toy", root)
    task = whole_task(opened)
    assert (task.name, task.class_names, task.templates) == ("Toy", ("dark red", "green"), ("a square that is {}.",))
    assert opened.own_names == ("dark_red", "green") and task.source.citation == "nobody"
    assert task.train.labels.tolist() == [0, 0, 1, 1] and task.test.labels.tolist() == [0, 1]
    assert np.asarray(task.test.images.read(1))[0, 0].tolist() == [0, 255, 0]
    (root / "toy-squares" / "train" / "green" / "1.png").unlink()
    with pytest.raises(UserError, match=r"^Toy: found 3 train images, expected 4; "):
        open_checked("Toy", root)


def test_a_file_without_facts_is_no_data_set(folder: Path) -> None:
    (folder / "helper.py").write_text("raise RuntimeError\n")
    assert len(infos()) == 12


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'folder="toy-squares"',
            'folder="toy-squares".lower()',
            "INFO: folder is not written out: it is read without running",
        ),
        ("templates=", "template=", "INFO: .*unexpected keyword argument 'template'"),
        ('    citation="nobody",\n', "", "INFO: .*missing 1 required .*'citation'"),
        ('name="Toy"', 'name="Squares"', 'a data set called "Squares" is to be called squares.py'),
    ],
)
def test_a_file_that_does_not_say_what_it_should_is_named(folder: Path, old: str, new: str, message: str) -> None:
    assert old in TOY
    (folder / "toy.py").write_text(TOY.replace(old, new))
    with pytest.raises(UserError, match=rf"^{folder}/toy.py: .*{message}"):
        infos()

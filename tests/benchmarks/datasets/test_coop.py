"""CoOp's splits, read from made split files beside the tiny layouts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.config.errors import UserError
from benchmarks.datasets import coop
from benchmarks.datasets.about import info, infos
from benchmarks.datasets.checks import open_checked
from benchmarks.datasets.opening import open_dataset
from benchmarks.streams.xtail import ORDERS
from tests.layouts import accept_layouts, label_of, write_layout, write_split_file


NAMES = tuple(coop.FILES)
WITHOUT = ("Aircraft", "MNIST", "CIFAR100")
DTD = "split_zhou_DescribableTextures.json"


@pytest.fixture(autouse=True)
def accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    accept_layouts(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name in (*NAMES, *WITHOUT):
        write_layout(name, root)
    for name in NAMES:
        write_split_file(name, root)
    return root


@pytest.fixture
def dtd(tmp_path: Path) -> Path:
    write_layout("DTD", tmp_path)
    write_split_file("DTD", tmp_path)
    return tmp_path


def refusal(name: str, root: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_checked(name, root, "coop")
    message = str(caught.value)
    assert message.startswith(f"{name}: ") and "\n" not in message
    return message


@pytest.mark.parametrize("name", NAMES)
def test_the_images_labels_and_names_are_the_files(name: str, data: Path) -> None:
    folder = coop.FILES[name].images[0]
    plain = json.loads((data / Path(folder).parts[0] / coop.FILES[name].name).read_text())
    opened = open_checked(name, data, "coop")
    for half, split in (("train", opened.train), ("test", opened.test)):
        there = [split.images.where(row) for row in split.rows.tolist()]
        assert there == [f"{data}/{folder}/{path}" for path, _, _ in plain[half]]
        assert split.labels.tolist() == [label for _, label, _ in plain[half]]
        names = [opened.class_names[label] for label in split.labels.tolist()]
        assert names == [name.replace("_", " ") for _, _, name in plain[half]]
        assert names == [f"kind {label_of(split.images.read(row))}" for row in split.rows.tolist()]
    assert "coop" not in opened.info.split and coop.FILES[name].name in opened.info.split


@pytest.mark.parametrize("name", WITHOUT)
def test_data_sets_without_a_split_file_have_their_published_halves(name: str, data: Path) -> None:
    ours, theirs = open_checked(name, data), open_checked(name, data, "coop")
    assert theirs.class_names == ours.class_names
    assert theirs.train.rows.tolist() == ours.train.rows.tolist()
    assert theirs.test.labels.tolist() == ours.test.labels.tolist()


def test_every_class_has_the_one_prompt_of_rails_code() -> None:
    prompts = {name: coop.facts(about).templates for name, about in infos().items()}
    assert prompts.pop("EuroSAT") == ("a photo of a {} satellite location.",)
    assert prompts.pop("MNIST") == ('a photo of a number: "{}".',)
    assert set(prompts.values()) == {("a photo of a {}.",)}


def test_the_counts_are_coops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the paper, and X-TAIL's 1100 classes."""
    monkeypatch.undo()
    facts = [coop.facts(info(name)).expected for name in ORDERS["I"]]
    assert sum(each["classes"] for each in facts) == 1100
    assert coop.FILES["Food"].expected == {"train": 50500, "test": 30300, "classes": 101}
    assert coop.FILES["SUN397"].expected == {"train": 15880, "test": 19850, "classes": 397}


@pytest.mark.parametrize(
    ("name", "moves"),
    [
        ("Caltech101", {"caltech101": "caltech-101"}),
        ("OxfordPet", {"oxford-iiit-pet": "oxford_pets"}),
        ("Flowers", {"flowers-102": "oxford_flowers"}),
        ("DTD", {"dtd/dtd/images": "dtd/images", "dtd/dtd": "dtd/rest"}),
        ("SUN397", {"SUN397": "sun397/SUN397", f"sun397/SUN397/{coop.FILES['SUN397'].name}": "sun397"}),
    ],
)
def test_the_layout_of_coops_guide_is_read_too(name: str, moves: dict[str, str], data: Path, tmp_path: Path) -> None:
    folder = Path(coop.FILES[name].images[0]).parts[0]
    shutil.copytree(data / folder, tmp_path / folder)
    for old, new in moves.items():
        (tmp_path / new).parent.mkdir(exist_ok=True)
        shutil.move(tmp_path / old, tmp_path / new)
    before, after = open_checked(name, data, "coop"), open_checked(name, tmp_path, "coop")
    assert after.class_names == before.class_names and after.test.labels.tolist() == before.test.labels.tolist()
    assert after.test.images.where(0).startswith(f"{tmp_path}/{coop.FILES[name].images[1]}/")


def test_the_file_is_found_beside_and_inside_the_images(dtd: Path) -> None:
    for folder in ("dtd/dtd", "dtd/dtd/images"):
        (moved,) = dtd.rglob(DTD)
        moved.rename(dtd / folder / DTD)
        assert len(open_checked("DTD", dtd, "coop").test) == 47


def test_a_missing_file_or_folder_is_named_with_its_place(dtd: Path) -> None:
    (dtd / "dtd" / DTD).unlink()
    where = f"put {DTD} (github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md links it) into DATA_ROOT/dtd"
    assert refusal("DTD", dtd) == f"DTD: no {DTD} in {dtd}/dtd; {where}"
    shutil.rmtree(dtd / "dtd")
    message = refusal("DTD", dtd)
    assert message.startswith(f"DTD: {dtd}/dtd/dtd/images: no such folder; ") and message.endswith(f"; and {where}")
    assert open_dataset("DTD", write_again(dtd)).class_names[0] == "banded"  # ZSCL's split needs no file


def write_again(root: Path) -> Path:
    write_layout("DTD", root)
    return root


def test_absent_images_are_counted_and_named(dtd: Path) -> None:
    path = json.loads((dtd / "dtd" / DTD).read_text())["train"][5][0]
    (dtd / "dtd" / "dtd" / "images" / path).unlink()
    message = refusal("DTD", dtd)
    assert message.startswith(f"DTD: 1 of 94 train images is missing, first {dtd}/dtd/dtd/images/{path}; ")
    assert DTD in message


def entry(*values: Any) -> Callable[[Any], Any]:
    """A file whose second training image is another entry."""
    return lambda lists: {**lists, "train": [lists["train"][0], list(values), *lists["train"][2:]]}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda lists: [], 'expected {"train": [...], "val": [...], "test": [...]}'),
        (lambda lists: {"train": lists["train"]}, 'no list "test"'),
        (lambda lists: {**lists, "train": {}}, 'no list "train"'),
        (entry("a.jpg", 46), "entry 2 of train: expected [path, label, class name], got ['a.jpg', 46]"),
        (entry("a.jpg", "46", "kind_0"), "entry 2 of train: expected [path, label, class name]"),
        (entry("a.jpg", True, "kind_45"), "entry 2 of train: expected [path, label, class name]"),
        (entry("a.jpg", -1, "kind_0"), "entry 2 of train: expected [path, label, class name]"),
        (entry("a.jpg", 46, "kind\u001b[31m"), "entry 2 of train: expected [path, label, class name]"),
        (entry("a.jpg", 46, "another"), 'label 46 is called "another" and "kind_0"'),
        (entry("a.jpg", 48, "kind_x"), "48 labels that go up to 48; expected 0 to 47"),
        (entry("/etc/passwd", 0, "kind_46"), "entry 2 of train: '/etc/passwd' is no path below the images' folder"),
        (entry("../labels/train1.txt", 0, "kind_46"), "is no path below the images' folder"),
        (entry("banded/../../../x.jpg", 0, "kind_46"), "is no path below the images' folder"),
        (entry("", 0, "kind_46"), "'' is no path below the images' folder"),
        (entry(".", 0, "kind_46"), "'.' is no path below the images' folder"),
        (entry("a\0.jpg", 0, "kind_46"), "is no path below the images' folder"),
        (entry("a\ud800.jpg", 0, "kind_46"), "is no path below the images' folder"),
    ],
)
def test_a_damaged_or_wicked_file_is_one_line(change: Callable[[Any], Any], what: str, dtd: Path) -> None:
    file = dtd / "dtd" / DTD
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    message = refusal("DTD", dtd)
    assert message.startswith(f"DTD: {file}: ") and what in message and f"; put {DTD}" in message
    assert message.isprintable()


@pytest.mark.parametrize("content", [b"", b'{"train": [', b"\xff\xfe", b'{"train": [], "train": []}', b"[" * 100_000])
def test_a_file_that_is_no_json_is_one_line(content: bytes, dtd: Path) -> None:
    (dtd / "dtd" / DTD).write_bytes(content)
    assert f"{dtd}/dtd/{DTD}: damaged, not valid JSON; put" in refusal("DTD", dtd)


def test_a_file_cut_short_has_other_counts_than_published(dtd: Path) -> None:
    file = dtd / "dtd" / DTD
    lists = json.loads(file.read_text())
    file.write_text(json.dumps({**lists, "train": lists["train"][:-1]}))
    assert refusal("DTD", dtd).startswith("DTD: found 93 train images, expected 94; ")

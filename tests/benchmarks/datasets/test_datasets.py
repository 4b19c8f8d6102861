"""The published data sets, read from tiny copies of their layouts through the code that reads the real ones."""

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.config.errors import UserError
from benchmarks.datasets.about import info, infos, module
from benchmarks.datasets.checks import open_checked, problems
from benchmarks.datasets.opening import Opened, open_dataset
from benchmarks.images.image_io import read_rgb
from benchmarks.streams.from_datasets import whole_task
from benchmarks.streams.mtil import ORDERS
from tests.conftest import ROOT, SHARED
from tests.layouts import WHOLE, accept_layouts, counts, jpeg, label_of, write_all, write_layout


NAMES = ORDERS["I"]
ALL = (*NAMES, "TinyImageNet")
# From the protocol's description: train, test, classes, templates, and CLIP ViT-B/16's published zero-shot accuracy.
PROTOCOL = {
    "Aircraft": (3334, 3333, 100, 2),
    "Caltech101": (6941, 1736, 101, 34),
    "CIFAR100": (50000, 10000, 100, 18),
    "DTD": (1880, 1880, 47, 8),
    "EuroSAT": (21600, 5400, 10, 3),
    "Flowers": (1020, 6149, 102, 1),
    "Food": (75750, 25250, 101, 1),
    "MNIST": (60000, 10000, 10, 1),
    "OxfordPet": (3680, 3669, 37, 1),
    "StanfordCars": (8144, 8041, 196, 9),
    "SUN397": (87003, 21751, 397, 2),
}
# Class names by label: those that are rewritten, and those that a careless reader would spoil.
CLASS_NAMES = {
    "Aircraft": {0: "707-320", 1: "F/A-18", 2: "Cessna 172"},
    "Caltech101": {0: "off-center face", 3: "motorbike", 29: "head of a  crocodile", 95: "water lilly"},
    "CIFAR100": {0: "aquarium fish", 99: "c 096"},
    "DTD": {0: "banded", 30: "polka-dotted", 46: "zigzagged"},
    "EuroSAT": {0: "annual crop land", 2: "brushland or shrubland", 9: "lake or sea"},
    "Flowers": {0: "pink primrose", 59: "pink-yellow dahlia", 101: "blackberry lily"},
    "Food": {0: "apple pie", 100: "macaroni and cheese"},
    "MNIST": {0: "0 - zero", 9: "9 - nine"},
    "OxfordPet": {0: "Abyssinian", 1: "American Bulldog", 36: "Yorkshire Terrier"},
    "StanfordCars": {1: "Dodge Sprinter Cargo Van 2009", 2: "Ram C/V Cargo Van Minivan 2012"},
    "SUN397": {0: "abbey", 1: "apartment building/outdoor", 2: "balcony/exterior"},
    "TinyImageNet": {0: "Egyptian Mau", 83: "gas mask or respirator", 199: "African bush elephant"},
}
# By data set, the file of one image, as a message names it.
WHERE = {
    "Aircraft": "fgvc-aircraft-2013b/data/images/0000001.jpg",
    "Caltech101": "caltech101/101_ObjectCategories/Faces/image_0002.jpg",
    "CIFAR100": "cifar-100-python/train, image 1",
    "DTD": "dtd/dtd/images/banded/banded_0001.jpg",
    "EuroSAT": "eurosat/2750/AnnualCrop/AnnualCrop_2.jpg",
    "Flowers": "flowers-102/jpg/image_00002.jpg",
    "Food": "food-101/images/apple_pie/1.jpg",
    "MNIST": "MNIST/raw/train-images-idx3-ubyte, image 1",
    "OxfordPet": "oxford-iiit-pet/images/Abyssinian_2.jpg",
    "StanfordCars": "stanford_cars/cars_train/00002.jpg",
    "SUN397": "SUN397/a/abbey/sun_00000001.jpg",
    "TinyImageNet": "tiny-imagenet-200/train/n02124075/images/n02124075_1.JPEG",
}


@pytest.fixture(autouse=True)
def accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    accept_layouts(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_all(root)
    return root


@pytest.fixture
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data root of the test's own, with the data set that it is about."""
    write_layout(request.param, tmp_path)
    return tmp_path


def about(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("own", [name], indirect=True)


def refusal(name: str, root: Path) -> str:
    """Why `open_checked` refuses a data set: one line, beginning with its name and ending with how to get it."""
    with pytest.raises(UserError) as caught:
        open_checked(name, root)
    message = str(caught.value)
    assert message.startswith(f"{name}: ") and message.endswith(f"; {info(name).how}") and "\n" not in message
    return message.removeprefix(f"{name}: ").removesuffix(f"; {info(name).how}")


def rows(opened: Opened) -> list[list[int]]:
    return [opened.train.rows.tolist(), opened.test.rows.tolist()]


@pytest.mark.parametrize("name", ALL)
def test_a_layout_is_read_as_it_was_written(name: str, data: Path) -> None:
    opened = open_checked(name, data)
    for half, split in (("train", opened.train), ("test", opened.test)):
        assert len(split) == counts(name)[half]
        assert split.rows.dtype == split.labels.dtype == np.int64 and split.rows.shape == split.labels.shape
        assert [label_of(split.images.read(row)) for row in split.rows.tolist()] == split.labels.tolist()
        assert np.array_equal(np.unique(split.labels), np.arange(len(opened.class_names)))
    assert len(opened.class_names) == info(name).expected["classes"]
    for label, class_name in CLASS_NAMES[name].items():
        assert opened.class_names[label] == class_name
    images = opened.train.images
    assert images.where(1) == f"{data}/{WHERE[name]}"
    assert read_rgb(images, 1).mode == "RGB"
    assert images.name == (name if name in WHOLE else f"{name}-train")
    assert (images is opened.test.images) == (name in WHOLE)


@pytest.mark.parametrize("name", ALL)
def test_a_task_has_the_data_sets_prompts_and_provenance(name: str, data: Path) -> None:
    opened = open_dataset(name, data)
    task, known = whole_task(opened), info(name)
    assert (task.name, task.class_names, task.templates) == (name, opened.class_names, known.templates)
    assert task.train is opened.train and task.test is opened.test
    source = task.source
    assert (source.dataset, source.origin, source.split) == (name, known.origin, known.split)
    assert (source.licence, source.citation, source.expected) == (known.licence, known.citation, known.expected)


@pytest.mark.parametrize("name", ALL)
def test_a_fingerprint_is_the_datas_and_not_the_places(name: str, data: Path, tmp_path: Path) -> None:
    def fingerprint(root: Path) -> str:
        made = open_dataset(name, root).train.images.fingerprint
        assert made is not None
        return made()

    copy = tmp_path / "elsewhere"
    shutil.copytree(data / info(name).folder, copy / info(name).folder)
    assert fingerprint(copy) == fingerprint(data) and len(fingerprint(data)) == 64
    changed = copy / WHERE[name].partition(",")[0]
    os.utime(changed, ns=(0, 0))
    assert fingerprint(copy) != fingerprint(data)


def test_the_protocol_is_zscls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert tuple(PROTOCOL) == NAMES and tuple(infos()) == ALL
    known = [info(name) for name in NAMES]
    for each in known:
        expected = (each.expected["train"], each.expected["test"], each.expected["classes"])
        assert (*expected, len(each.templates)) == PROTOCOL[each.name]
        assert all(template.count("{}") == 1 for template in each.templates)
        assert len(each.class_names) in (0, each.expected["classes"])
    assert sum(each.expected["classes"] for each in known) == 1201
    assert sum(each.expected["train"] for each in known) == 319352
    assert sum(each.expected["test"] for each in known) == 97209
    assert sum(each.expected["classes"] * len(each.templates) for each in known) == 8648
    tiny = info("TinyImageNet")
    assert tiny.expected == {"train": 100000, "test": 10000, "classes": 200}
    assert (tiny.templates, tiny.class_names) == (("a bad photo of a {}.",), ())
    assert [each.name for each in infos().values() if not each.download] == ["StanfordCars", "TinyImageNet"]


@pytest.mark.parametrize("name", ALL)
def test_what_is_read_of_a_file_is_what_it_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    file = module(name)
    assert info(name) == file.INFO and hasattr(file, "download") == info(name).download


def test_prompts_are_those_of_the_protocols_files() -> None:
    path = SHARED / "protocol" / "prompts.json"
    if not path.exists():
        pytest.skip(f"{path} is absent: the prompts are not compared with it")
    prompts = json.loads(path.read_text(encoding="utf-8"))
    assert set(prompts) == set(NAMES)
    for name, expected in prompts.items():
        assert list(info(name).templates) == expected["templates"]
        assert list(info(name).class_names) == expected.get("classnames", [])


@pytest.mark.parametrize("name", WHOLE)
def test_the_random_split_is_torchs_with_seed_42(name: str, data: Path) -> None:
    import torch
    from torch.utils.data import TensorDataset, random_split

    opened = open_dataset(name, data)
    count = opened.train.images.count
    train = int(0.8 * count)
    plain = random_split(TensorDataset(torch.arange(count)), [train, count - train], torch.Generator().manual_seed(42))
    assert rows(opened) == [list(half.indices) for half in plain]


@pytest.mark.parametrize(("name", "theirs"), [("Caltech101", "y"), ("EuroSAT", "targets")])
def test_the_order_of_the_whole_is_torchvisions(name: str, theirs: str, data: Path) -> None:
    from torchvision import datasets

    opened = open_dataset(name, data)
    labels = np.zeros(opened.train.images.count, dtype=np.int64)
    for split in (opened.train, opened.test):
        labels[split.rows] = split.labels
    assert labels.tolist() == getattr(getattr(datasets, name)(data), theirs)


@pytest.mark.parametrize("name", WHOLE)
def test_the_file_systems_order_changes_nothing(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_dataset(name, data)
    files = [before.train.images.where(row) for row in range(before.train.images.count)]
    rglob, listdir, scandir = Path.rglob, os.listdir, os.scandir

    class Backwards:
        """`os.scandir` the other way round."""

        def __init__(self, path: str) -> None:
            with scandir(path) as entries:
                self.entries = iter(list(entries)[::-1])

        def __enter__(self) -> Iterator["os.DirEntry[str]"]:
            return self.entries

        def __exit__(self, *_: object) -> None: ...

        def __iter__(self) -> Iterator["os.DirEntry[str]"]:
            return self.entries

        def __next__(self) -> "os.DirEntry[str]":
            return next(self.entries)

        def close(self) -> None: ...

    monkeypatch.setattr(Path, "rglob", lambda path, pattern: list(rglob(path, pattern))[::-1])
    monkeypatch.setattr(os, "listdir", lambda path: listdir(path)[::-1])
    monkeypatch.setattr(os, "scandir", Backwards)
    after = open_dataset(name, data)
    assert [after.train.images.where(row) for row in range(after.train.images.count)] == files
    assert rows(after) == rows(before)
    assert np.array_equal(after.train.labels, before.train.labels)


def test_nothing_is_written_below_the_data_root(data: Path, tmp_path: Path) -> None:
    def found(root: Path) -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for path in (root, *root.rglob("*")))

    before = found(data), found(tmp_path)
    for name in ALL:
        open_checked(name, data).train.images.read(0).close()
        refusal(name, tmp_path)
    assert (found(data), found(tmp_path)) == before


@pytest.mark.parametrize("name", ALL)
def test_what_is_missing_is_named(name: str, tmp_path: Path) -> None:
    folder = tmp_path / info(name).folder
    assert refusal(name, tmp_path) == f"{folder}: no such folder"
    folder.mkdir()
    assert refusal(name, tmp_path).startswith(f"{folder} is incomplete or damaged (")


def test_a_data_root_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=rf"^data root {tmp_path}/nowhere: No such file or directory; --data-root names"
    ):
        open_dataset("DTD", tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Not a directory; --data-root"):
        open_dataset("DTD", tmp_path / "file")


def test_an_unknown_name() -> None:
    with pytest.raises(UserError, match='no data set is called "dtd"; there are Aircraft, '):
        info("dtd")


@about("DTD")
def test_a_half_extracted_archive(own: Path) -> None:
    folder = own / "dtd" / "dtd" / "images"
    for texture in ("blotchy", "zigzagged"):
        shutil.rmtree(folder / texture)
    found = problems(open_dataset("DTD", own))
    assert found == [
        f"4 of 94 train images are missing, first {folder}/blotchy/blotchy_0000.jpg; the archive was extracted only in part",
        f"2 of 47 test images are missing, first {folder}/blotchy/blotchy_0002.jpg; the archive was extracted only in part",
    ]
    assert refusal("DTD", own) == found[0]


@about("Caltech101")
def test_a_missing_file_among_numbered_ones(own: Path) -> None:
    gone = own / "caltech101" / "101_ObjectCategories" / "accordion" / "image_0002.jpg"
    gone.unlink()
    found = problems(open_dataset("Caltech101", own))
    assert found[0].endswith(f"images is missing, first {gone}; the archive was extracted only in part")
    assert found[0].startswith("1 of ") and any(line.startswith("found 564 train images") for line in found)


@about("OxfordPet")
def test_empty_files(own: Path) -> None:
    empty = own / "oxford-iiit-pet" / "images" / "pug_1.jpg"
    empty.write_bytes(b"")
    expected = f"1 of 74 train images is empty (0 bytes), first {empty}; the copy was cut short"
    assert refusal("OxfordPet", own) == expected


@about("OxfordPet")
def test_a_damaged_image_is_named_when_it_is_read(own: Path) -> None:
    broken = own / "oxford-iiit-pet" / "images" / "Abyssinian_2.jpg"
    broken.write_bytes(jpeg(0)[:100])
    with pytest.raises(UserError, match=f"^{broken}: not a readable image"):
        read_rgb(open_checked("OxfordPet", own).train.images, 1)


@pytest.mark.parametrize("key", ["train", "test", "classes"])
def test_counts_other_than_published(key: str, data: Path) -> None:
    opened = open_dataset("MNIST", data)
    expected = {**counts("MNIST"), key: 9999}
    what = "classes" if key == "classes" else f"{key} images"
    assert problems(replace(opened, info=replace(opened.info, expected=expected))) == [
        f"found {counts('MNIST')[key]} {what}, expected 9999"
    ]


@about("TinyImageNet")
def test_a_class_without_images(own: Path) -> None:
    for image in (own / "tiny-imagenet-200" / "train" / "n04067472" / "images").iterdir():
        image.unlink()
    found = problems(open_dataset("TinyImageNet", own))
    assert found == ["found 398 train images, expected 400", 'class "fishing casting reel" has no training image']
    opened = open_dataset("TinyImageNet", own)
    kept = opened.test.take(np.flatnonzero(opened.test.labels != 3))
    assert problems(replace(opened, test=kept))[-1] == 'class "rocking chair" has no test image'


def _halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("own", "file"),
    [
        ("CIFAR100", "train"),
        ("CIFAR100", "meta"),
        ("Flowers", "setid.mat"),
        ("Flowers", "imagelabels.mat"),
        ("Food", "meta/train.json"),
        ("MNIST", "raw/train-images-idx3-ubyte"),
        ("MNIST", "raw/t10k-labels-idx1-ubyte"),
        ("StanfordCars", "devkit/cars_train_annos.mat"),
        ("StanfordCars", "cars_test_annos_withlabels.mat"),
        ("StanfordCars", "devkit/cars_meta.mat"),
        ("SUN397", "ClassName.txt"),
        ("TinyImageNet", "wnids.txt"),
    ],
    indirect=["own"],
)
def test_damaged_lists(own: Path, file: str, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["own"]
    folder = own / info(name).folder
    for damage in (_halve, lambda path: path.write_bytes(b""), Path.unlink):
        damage(folder / file)
        assert refusal(name, own).startswith(f"{folder} is incomplete or damaged (")


@pytest.mark.parametrize(
    ("own", "file", "old", "new", "reason"),
    [
        ("Aircraft", "data/variants.txt", "F/A-18\n", "", "KeyError: 'F/A-18'"),
        ("DTD", "dtd/labels/test1.txt", "banded/banded_0002.jpg\n", "", "do not list the same classes: banded"),
        ("OxfordPet", "annotations/test.txt", "pug_3 26 2 1", "pug_3 26", "not enough values to unpack"),
        ("OxfordPet", "annotations/trainval.txt", " 37 ", " 38 ", "labels go from 0 to 37, with 37 classes"),
        ("Food", "meta/test.json", "apple_pie", "apple_cake", "same classes: apple_cake, apple_pie"),
        ("TinyImageNet", "wnids.txt", "n02124075", "n99999999", "other classes than published: n02124075, n99999999"),
        ("TinyImageNet", "val/val_annotations.txt", "val_7.JPEG\t", "val_7.JPEG", "val_annotations.txt: a line with"),
    ],
    indirect=["own"],
)
def test_lists_that_do_not_fit(
    own: Path, file: str, old: str, new: str, reason: str, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["own"]
    path = own / info(name).folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    if file.endswith("val_annotations.txt"):
        path.write_text(f"{path.read_text()}val_7.JPEG\n")
    assert reason in refusal(name, own)


@about("Caltech101")
def test_class_folders_that_are_missing(own: Path) -> None:
    folder = own / "caltech101" / "101_ObjectCategories"
    shutil.rmtree(folder / "yin_yang")
    assert "found 100 classes, expected 101" in refusal("Caltech101", own)
    shutil.rmtree(folder / "BACKGROUND_Google")
    assert "incomplete or damaged (ValueError" in refusal("Caltech101", own)


@pytest.mark.parametrize("own", ["CIFAR100", "Flowers"], indirect=True)
def test_torchvisions_checksums_are_asked(
    own: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.undo()
    name = request.node.callspec.params["own"]
    assert "(RuntimeError: Dataset not found or corrupted)" in refusal(name, own)


@about("EuroSAT")
@pytest.mark.filterwarnings("ignore:unclosed scandir:ResourceWarning")  # torchvision's, at the link to itself
def test_symbolic_links(own: Path) -> None:
    folder = own / "eurosat" / "2750"
    shutil.move(folder / "River", own / "River")
    (folder / "River").symlink_to(own / "River")
    open_checked("EuroSAT", own)
    for name in ("again", "and_again"):
        (folder / "Forest" / name).symlink_to(folder)
    assert "is a symbolic link to a folder that it lies in" in refusal("EuroSAT", own)
    (folder / "Forest" / "again").unlink()
    (folder / "Forest" / "and_again").unlink()
    (folder / "Swamp").symlink_to(folder / "Swamp")
    assert "incomplete or damaged" in refusal("EuroSAT", own)
    gc.collect()


@pytest.fixture
def deny() -> Iterator[Callable[[Path], None]]:
    """Takes all rights to a path away, from root too: it goes on as another user until the test ends."""
    denied: list[tuple[Path, int]] = []
    user = os.geteuid()

    def deny(path: Path) -> None:
        denied.append((path, path.stat().st_mode))
        path.chmod(0)
        if user == 0:
            os.seteuid(65534)

    yield deny
    if user == 0:
        os.seteuid(0)
    for path, mode in denied:
        path.chmod(mode)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A data root that every user may look into, which pytest's own folders are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(
    ("name", "place", "reason"),
    [
        ("DTD", "dtd", "no permission to read {}"),
        ("DTD", "dtd/dtd/labels/train1.txt", "no permission to read {}"),
        ("DTD", "dtd/dtd/images/banded", "2 of 94 train images are not to be read (no permission), first {}/"),
        (
            "DTD",
            "dtd/dtd/images/banded/banded_0000.jpg",
            "1 of 94 train images is not to be read (no permission), first",
        ),
        ("EuroSAT", "eurosat/2750/Forest", "no permission to read {}"),
        ("SUN397", "SUN397/a/abbey", "no permission to read {}"),
    ],
)
def test_lack_of_permission_is_named(
    name: str, place: str, reason: str, open_to_all: Path, deny: Callable[[Path], None]
) -> None:
    write_layout(name, open_to_all)
    open_checked(name, open_to_all)
    deny(open_to_all / place)
    assert refusal(name, open_to_all).startswith(reason.format(open_to_all / place))


def test_a_data_root_without_permission(open_to_all: Path, deny: Callable[[Path], None]) -> None:
    deny(open_to_all)
    with pytest.raises(UserError, match=r"^data root .*: Permission denied; --data-root"):
        open_dataset("DTD", open_to_all)


def test_facts_and_refusals_import_no_torch(tmp_path: Path) -> None:
    code = f"""
import contextlib, sys
from pathlib import Path
from benchmarks.config.errors import UserError
from benchmarks.datasets.about import infos
from benchmarks.datasets.checks import open_checked
from benchmarks.datasets.download import download

assert len(infos()) == 12
for wanted in ("DTD", "dtd"):
    for root in (Path({str(tmp_path)!r}), Path("nowhere")):
        with contextlib.suppress(UserError):
            sys.exit(str(open_checked(wanted, root)))
with contextlib.suppress(UserError):
    sys.exit(str(download("StanfordCars", Path({str(tmp_path)!r}))))
sys.exit(any(module in sys.modules for module in ("torch", "torchvision")))
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)

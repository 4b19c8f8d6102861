"""Folder streams: what is read, and what is said of a folder that is laid out otherwise."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.config.errors import UserError
from benchmarks.images.image_io import read_rgb
from benchmarks.images.sets import Split
from benchmarks.streams.base import Stream
from benchmarks.streams.folder import build
from benchmarks.streams.orders import arrange, whole
from tests.conftest import SHARED, write_images


def stream(folder: Path, order: str = "default") -> Stream:
    return arrange(build(str(folder)), order)


def files(split: Split) -> list[str]:
    """Paths of a split's images below its domain."""
    return ["/".join(Path(split.images.where(row)).parts[-3:]) for row in split.rows.tolist()]


def names(stream: Stream) -> list[str]:
    return [task.name for task in stream.tasks]


def put(file: Path, colour: str = "red") -> Path:
    """A picture; the same colour gives the same bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), colour).save(file, "png")
    return file


def undivided(place: Path, **classes: int) -> Path:
    """A domain, or its train folder, of so many images in each class."""
    for name, count in classes.items():
        for number in range(count):
            put(place / name / f"{number}.png")
    return place


def refusal(folder: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        whole(build(str(folder)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_domains_classes_labels_and_template(images: Path) -> None:
    found = stream(images)
    assert names(found) == ["ants", "bees", "cats"]
    assert (found.protocol, found.identity) == ("folder: the user's own images and splits", "known")
    bees = found.tasks[1]
    assert bees.class_names == ("class 0", "class 1", "class 2")
    assert bees.templates == ("a photo of a {}.",)
    assert bees.train.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert len(bees.test) == bees.test.images.count == 12
    assert (bees.train.images.name, bees.test.images.name) == ("bees-train", "bees-test")
    assert (bees.source.dataset, bees.source.split) == ("bees", "by the folders train and test")
    file = images / "bees" / "test" / "class_2" / "3.png"
    assert bees.test.images.where(11) == str(file)
    with Image.open(file) as expected:
        assert read_rgb(bees.test.images, int(bees.test.rows[11])).tobytes() == expected.tobytes()


def test_orders(images: Path) -> None:
    assert names(stream(images, "cats, ants")) == ["cats", "ants"]
    for wrong, part in (("default,ants", "whole order"), ("IV", "orders: default"), ("ants,", "no task or order")):
        with pytest.raises(UserError, match=part):
            stream(images, wrong)


def test_only_the_chosen_domains_are_read(tmp_path: Path) -> None:
    folder = write_images(tmp_path, {"ants": 2})
    (folder / "bees").mkdir()
    assert build(str(folder)).names == ("ants", "bees")
    assert names(stream(folder, "ants")) == ["ants"]
    assert "bees: no class folders in it" in refusal(folder)


def test_the_fingerprint_is_of_paths_sizes_and_times(tmp_path: Path) -> None:
    def fingerprint(folder: Path) -> str:
        make = stream(folder).tasks[0].train.images.fingerprint
        assert make is not None
        return make()

    first, second = (write_images(tmp_path / name, {"ants": 2}) for name in ("a", "b"))
    for folder in (first, second):
        for file in folder.rglob("*.png"):
            os.utime(file, ns=(0, 1234567890123456789))
    assert fingerprint(first) == fingerprint(second)  # wherever the folder lies

    before = fingerprint(second)
    changed = second / "ants" / "train" / "class_1" / "5.png"
    os.utime(changed, ns=(0, 1234567890123456790))
    assert fingerprint(second) != before
    os.utime(changed, ns=(0, 1234567890123456789))
    assert fingerprint(second) == before
    changed.rename(changed.with_name("6.png"))
    assert fingerprint(second) != before
    images = stream(second).tasks[0].train.images
    before = fingerprint(second)
    (second / "ants" / "train" / "class_1" / "6.png").unlink()
    assert images.fingerprint and images.fingerprint() != before  # a file that is gone is found out by reading it


@pytest.mark.parametrize("below", ["", "train"])
def test_a_domain_without_test_is_split_by_the_stated_rule(below: str, tmp_path: Path) -> None:
    counts = {"big": 23, "four": 4, "two": 2}
    undivided(tmp_path / "ants" / below, **counts)
    task = stream(tmp_path).tasks[0]
    assert task.class_names == ("big", "four", "two")
    assert task.train.images is task.test.images and task.train.images.name == "ants"
    assert sorted([*task.train.rows, *task.test.rows]) == list(range(29))
    assert np.bincount(task.train.labels).tolist() == [18, 3, 1]
    assert np.bincount(task.test.labels).tolist() == [5, 1, 1]
    assert "80 %" in task.source.split and "sha256(42, domain folder, class folder)" in task.source.split

    listed = sorted(f"{number}.png" for number in range(23))
    seed = int.from_bytes(hashlib.sha256(b"42\0ants\0big").digest(), "big")
    drawn = {listed[place] for place in np.random.default_rng(seed).permutation(23)[:18]}
    assert {file.split("/")[-1] for file in files(task.train) if "big/" in file} == drawn
    for split in (task.train, task.test):
        of_class = [task.class_names.index(Path(split.images.where(row)).parent.name) for row in split.rows.tolist()]
        assert of_class == split.labels.tolist()


def test_a_change_in_one_class_draws_no_other_anew(tmp_path: Path) -> None:
    undivided(tmp_path / "ants", a=10, b=10)
    before = files(stream(tmp_path).tasks[0].train)
    undivided(tmp_path / "ants", a=12, c=5)
    after = files(stream(tmp_path).tasks[0].train)
    assert [file for file in after if "/b/" in file] == [file for file in before if "/b/" in file]
    undivided(tmp_path / "bees", a=40, b=40)
    of_a, of_b = ([Path(f).name for f in files(stream(tmp_path).tasks[1].train) if f"/{c}/" in f] for c in "ab")
    assert of_a != of_b  # each class has a draw of its own


def test_divided_and_undivided_domains_in_one_stream(tmp_path: Path) -> None:
    write_images(tmp_path, {"ants": 2})
    undivided(tmp_path / "bees", a=5, b=5)
    undivided(tmp_path / "cats" / "train", a=5)
    assert [(len(task.train), len(task.test)) for task in stream(tmp_path).tasks] == [(12, 8), (8, 2), (4, 1)]


@pytest.mark.parametrize(
    "name",
    [
        "two words", "it's \"quoted\"", "either∕or", "日本の猫", "šķēle", "{}", "{a} {",
        "%s", "a,b", "-x", "*", "\\n", "CON", "x.jpg",
    ],
)  # fmt: skip
def test_odd_names(name: str, tmp_path: Path) -> None:
    undivided(tmp_path / name, **{name: 5, "other": 5})
    put(tmp_path / name / name / f"{name} 9.PNG")
    task = stream(tmp_path).tasks[0]
    assert (task.name, set(task.class_names)) == (name, {name, "other"})
    for split in (task.train, task.test):
        assert all(read_rgb(split.images, row).size == (6, 5) for row in split.rows.tolist())


def test_what_is_passed_over(tmp_path: Path) -> None:
    folder = write_images(tmp_path, {"ants": 1})
    place = folder / "ants" / "train" / "class_0"
    for name in (".hidden.png", "notes.txt", "Thumbs.db", "data.npy", "png"):
        put(place / name)
    for name in (".git", "ants/.cache", "ants/val", "ants/train/.class"):
        put(folder / name / "x.png")
    put(place / "nested" / "x.png")
    (place / "folder.png").mkdir()
    (folder / "README.md").write_text("about")
    os.symlink("nowhere", place / "broken.txt")
    task = stream(folder).tasks[0]
    assert (len(task.train), task.class_names) == (6, ("class 0",))
    for name in ("7.PNG", "8.JPeG", "9.Tiff"):
        put(place / name)
    assert len(stream(folder).tasks[0].train) == 9


def test_links_to_elsewhere_are_followed(tmp_path: Path) -> None:
    elsewhere = write_images(tmp_path / "elsewhere", {"ants": 2})
    folder = tmp_path / "stream"
    folder.mkdir()
    os.symlink(elsewhere / "ants", folder / "bees")
    place = undivided(folder / "cats", a=3)
    os.symlink(place / "a" / "0.png", place / "a" / "link.png")
    assert [(task.name, len(task.train)) for task in stream(folder).tasks] == [("bees", 12), ("cats", 3)]


@pytest.mark.parametrize("place", ["ants", "ants/train/link", "ants/test/link", "ants/train/class_0/link.png"])
@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{itself}", "a link that leads nowhere (Too many levels of symbolic links); mend or delete it"),
        ("nowhere", "a link that leads nowhere (No such file or directory); mend or delete it"),
        ("..", "a link up the tree, to a folder that it lies in; delete it"),
        (".", "a link up the tree, to a folder that it lies in; delete it"),
    ],
)
def test_links_that_lead_nowhere_or_up_the_tree(place: str, target: str, message: str, tmp_path: Path) -> None:
    folder = write_images(tmp_path, {"ants": 1})
    link = folder / place
    if link.exists():
        link = link.with_name("bees")
    os.symlink(target.format(itself=link.name), link)
    assert refusal(folder) == f"{link}: {message}"


@pytest.mark.parametrize("place", ["", "ants", "ants/train", "ants/train/class_0"])
def test_folders_without_permission(place: str, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, whom the file system refuses nothing."""
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path) == images / place:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert refusal(images) == f"{images / place}: cannot be read: Permission denied"


def test_what_is_passed_over_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_images(tmp_path, {"ants": 2, "bees": 2})
    place = folder / "ants" / "train" / "class_0"
    before = len(stream(folder).tasks[0].train)
    assert not capsys.readouterr().err
    for name in ("a.jfif", "b.PGM", "c.j2k", "Thumbs.db", ".DS_Store", "desktop.ini"):
        (place / name).write_bytes(b"")
    (folder / "__MACOSX" / "ants").mkdir(parents=True)
    assert len(stream(folder).tasks[0].train) == before + 3 and not capsys.readouterr().err
    for name in ("a.heic", "b.heic", "c.txt", "README"):
        (place / name).write_bytes(b"")
    (place / "more").mkdir()
    assert len(stream(folder).tasks[0].train) == before + 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and ".heic (2), " in said and "folders (1)" in said and "no ending (1)" in said


@pytest.mark.parametrize(
    ("lay", "kind", "where"),
    [
        (lambda place: put(place / "ants/train/class_0/.7.png"), "hidden", "ants/train/class_0/.7.png"),
        (lambda place: put(place / "ants/train/class_0/.more/7.png"), "hidden", "ants/train/class_0/.more"),
        (lambda place: put(place / "ants/test/.class_9/7.png"), "hidden", "ants/test/.class_9"),
        (lambda place: put(place / "ants/train/class_0/7.png/7.png"), "folders", "ants/train/class_0/7.png"),
        (lambda place: os.mkfifo(place / "ants/train/class_0/7.png"), "no plain files", "ants/train/class_0/7.png"),
        (lambda place: os.symlink("..", place / "ants/train/class_0/up"), "folders", "ants/train/class_0/up"),
        (lambda place: os.symlink("gone", place / "ants/train/class_0/x"), "links that lead nowhere", "ants/train/class_0/x"),
        (lambda place: put(place / "ants/train/7.png"), ".png", "ants/train/7.png"),
        (lambda place: put(place / "ants/7.png"), ".png", "ants/7.png"),
        (lambda place: put(place / "7.JPG"), ".jpg", "7.JPG"),
        (lambda place: put(place / "ants/val/class_0/7.png"), "folders", "ants/val"),
        (lambda place: put(place / "ants/train/class_9.tar"), ".tar", "ants/train/class_9.tar"),
    ],
)  # fmt: skip
def test_no_picture_is_left_out_in_silence(
    lay: Callable[[Path], object], kind: str, where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_images(tmp_path, {"ants": 2})
    before = len(stream(folder).tasks[0].train)
    assert not capsys.readouterr().err
    lay(folder)
    assert len(stream(folder).tasks[0].train) == before
    assert capsys.readouterr().err == f"passed over in {folder}: {kind} (1), the first {folder / where}\n"


def test_a_folder_without_halves_and_one_with_train_alone_say_it_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undivided(tmp_path / "ants", a=3)
    undivided(tmp_path / "bees" / "train", a=3)
    for place in ("ants", "bees", "bees/train"):
        put(tmp_path / place / "loose.png")
    assert [len(task.train) for task in stream(tmp_path).tasks] == [2, 2]
    assert f"passed over in {tmp_path}: .png (3), the first" in capsys.readouterr().err


def test_what_systems_and_tools_put_there_is_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_images(tmp_path, {"ants": 2})
    place = folder / "ants" / "train" / "class_0"
    for name in (".git/config", "._0.png", ".DS_Store", "__MACOSX/._0.png", "THUMBS.DB"):
        for above in (folder, folder / "ants", folder / "ants" / "train", place):
            put(above / name)
    stream(folder)
    assert not capsys.readouterr().err


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("bus", "train", "test"):
        (tmp_path / "vehicles" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (4, 4)).save(tmp_path / "vehicles" / name / f"{number}.png")
    assert stream(tmp_path).tasks[0].class_names == ("bus", "test", "train")


def test_layouts_that_cannot_be_read(tmp_path: Path) -> None:
    for half in ("train", "test"):
        folder = write_images(tmp_path / half, {"ants": 2})
        for file in (folder / "ants" / half / "class_1").iterdir():
            file.unlink()
        assert f"{half}/class_1: no image in this class (known endings: .apng, .avif," in refusal(folder)
        (folder / "ants" / half / "class_1").rmdir()
        if half == "test":
            assert "test/class_1: no image in this class" in refusal(folder)
        else:
            assert 'test: class "class_1" has no folder in train' in refusal(folder)
    assert "this is one domain; name the folder that holds" in refusal(folder / "ants")
    assert refusal("") == "--stream folder: needs a path, as in folder:PATH"
    assert "nowhere: no such folder" in refusal(tmp_path / "nowhere")
    assert "no such folder" in refusal(put(tmp_path / "file.png"))
    (tmp_path / "empty").mkdir()
    assert "empty: no domain folders in it; expected <domain>/train/<class>/<image>" in refusal(tmp_path / "empty")


@pytest.mark.parametrize(
    ("lay_out", "message"),
    [
        (lambda ants: ants.mkdir(), "ants: no class folders in it; expected ants/<class>/<image>"),
        (lambda ants: (ants / "train").mkdir(parents=True), "train: no class folders in it; expected train/<class>/<image>"),
        (lambda ants: undivided(ants / "test", a=5), "ants: has test but no train; a domain has both, or train alone"),
        (lambda ants: undivided(ants, a=5, b=1), "ants/b: one image, which can't be both for training and for testing"),
        (lambda ants: undivided(ants / "train", a=1), "ants/train/a: one image"),
        (lambda ants: undivided(ants, a_b=5, **{"a b": 5}), 'class folders a b and a_b are both called "a b"; rename one'),
        (lambda ants: (undivided(ants / "train", a=5), undivided(ants / "val", a=5)), "val beside train; call it test if"),
        (lambda ants: undivided(ants / "Train", a=5), "ants/Train: no image in this class"),
    ],
)  # fmt: skip
def test_domains_that_are_laid_out_otherwise(lay_out: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    lay_out(tmp_path / "ants")
    assert message in refusal(tmp_path)


def test_folder_names_that_are_no_utf8(tmp_path: Path) -> None:
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    assert refusal(tmp_path) == f"{tmp_path}/\\xff: the folder's name is no UTF-8 text; rename it"


def test_image_names_that_are_no_utf8(tmp_path: Path) -> None:
    undivided(tmp_path / "ants", a=4)
    try:
        os.rename(tmp_path / "ants" / "a" / "0.png", os.fsencode(tmp_path) + b"/ants/a/\xff.png")
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    images = stream(tmp_path).tasks[0].train.images
    assert images.where(3).endswith("/ants/a/\\xff.png") and read_rgb(images, 3).size == (6, 5)
    assert images.fingerprint and len(images.fingerprint()) == 64


def test_a_path_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undivided(tmp_path / "stream" / "ants", a=4)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert build("~/stream").names == ("ants",)


REAL = {
    "caltech101": (101, 1010, 505), "cifar10": (10, 400, 200), "dtd10": (10, 400, 200), "eurosat": (10, 400, 200),
    "flowers102": (102, 816, 408), "food101": (101, 1010, 505), "mnist": (10, 400, 200), "oxford_pets": (37, 222, 111),
    "scene15": (15, 450, 225), "stanford_cars": (196, 1568, 784),
}  # fmt: skip


@pytest.mark.skipif(
    not (SHARED / "data").exists(), reason="needs the real pictures in ../shared/data, which are not published"
)
def test_the_real_domains() -> None:
    found = stream(SHARED / "data" / "real-domains")
    counts = {task.name: (len(task.class_names), len(task.train), len(task.test)) for task in found.tasks}
    assert counts == REAL
    for task in found.tasks:
        for split in (task.train, task.test):
            assert np.array_equal(np.unique(split.labels), np.arange(len(task.class_names)))
            assert all(read_rgb(split.images, int(row)).mode == "RGB" for row in split.rows[:: len(split) // 4])

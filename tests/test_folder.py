"""Folder streams: what is read, and what is said of a folder that is laid out otherwise."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.errors import UserError
from benchmarks.images import decode
from benchmarks.orders import reorder
from benchmarks.streams.folder import build
from tests.conftest import SHARED, write_images


def test_domains_classes_labels_and_template(images: Path) -> None:
    stream = build(str(images))
    assert [task.name for task in stream.tasks] == ["ants", "bees", "cats"]
    bees = stream.tasks[1]
    assert bees.class_names == ("class 0", "class 1", "class 2")
    assert bees.templates == ("a photo of a {}.",)
    assert bees.train.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert len(bees.test) == 12
    expected = Image.open(images / "bees" / "test" / "class_2" / "3.png").convert("RGB")
    assert bees.test.read(11).tobytes() == expected.tobytes()


def test_images_are_resized_and_cropped_as_open_clip_does(images: Path) -> None:
    import open_clip
    import torch

    split = build(str(images)).tasks[0].test
    transform = open_clip.image_transform(16, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))
    expected = torch.stack([transform(split.read(i)) for i in range(len(split))])
    assert torch.equal(decode(split, 16) / 255, expected)


def test_orders(images: Path) -> None:
    stream = build(str(images))
    names = ("ants", "bees", "cats")
    assert tuple(task.name for task in reorder(stream, "default").tasks) == names
    assert [task.name for task in reorder(stream, "cats, ants").tasks] == ["cats", "ants"]
    for wrong, part in (("default,ants", "whole order"), ("IV", "orders: default"), ("ants,", "no task or order")):
        with pytest.raises(UserError, match=part):
            reorder(stream, wrong)
    drawn = {tuple(task.name for task in reorder(stream, f"random:{seed}").tasks) for seed in range(20)}
    assert len(drawn) > 3 and all(sorted(order) == list(names) for order in drawn)


@pytest.mark.parametrize("kind", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_every_kind_of_picture_becomes_rgb(kind: str, tmp_path: Path) -> None:
    folder = write_images(tmp_path, {"ants": 1})
    ending = "jpg" if kind == "CMYK" else "png"
    Image.new(kind, (30, 20)).save(folder / "ants" / "test" / "class_0" / f"9.{ending}")
    assert build(str(folder)).tasks[0].test.read(4).mode == "RGB"


def test_layouts_that_cannot_be_read(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "a", {"ants": 2})
    for file in (folder / "ants" / "train" / "class_1").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="class_1: no image in this class"):
        build(str(folder))
    folder = write_images(tmp_path / "untested", {"ants": 2})
    for file in (folder / "ants" / "test" / "class_1").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="test/class_1: no image in this class"):
        build(str(folder))
    with pytest.raises(UserError, match="this is one domain"):
        build(str(folder / "ants"))
    folder = write_images(tmp_path / "b", {"ants": 2})
    (folder / "ants" / "test" / "class_7").mkdir()
    with pytest.raises(UserError, match='class "class_7" has no folder in train'):
        build(str(folder))
    (tmp_path / "c" / "ants").mkdir(parents=True)
    with pytest.raises(UserError, match="train: missing"):
        build(str(tmp_path / "c"))
    with pytest.raises(UserError, match="needs a path"):
        build("")


@pytest.mark.skipif(
    not (SHARED / "data").exists(), reason="needs the real pictures in ../shared/data, which are not published"
)
def test_the_real_domains() -> None:
    stream = build(str(SHARED / "data" / "real-domains"))
    assert len(stream.tasks) == 10
    assert sum(len(task.class_names) for task in stream.tasks) == 592
    assert sum(len(task.train) for task in stream.tasks) == 6676
    assert sum(len(task.test) for task in stream.tasks) == 3338

"""The families of streams over published data sets, the orders of their tasks, and few-shot draws."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.config.recipes import stream_family
from benchmarks.datasets.about import info
from benchmarks.datasets.opening import Opened, open_dataset
from benchmarks.images.sets import Images, Split
from benchmarks.streams import cifar100, from_datasets, tinyimagenet
from benchmarks.streams.base import Plan, Stream
from benchmarks.streams.few_shot import few_shot, short
from benchmarks.streams.orders import arrange, choose, whole
from tests.conftest import ROOT, SHARED
from tests.layouts import accept_layouts, label_of, write_all


CLASSES = {"CIFAR100": 100, "TinyImageNet": 200, "MNIST": 10, "EuroSAT": 10}  # others have 13
CLASS_ORDERS = {"cifar100": cifar100.CLASS_ORDER, "tinyimagenet": tinyimagenet.CLASS_ORDER}
EACH = 6  # training images of a class


def plan(stream: str, data_root: Path = Path("nowhere")) -> Plan:
    family, argument = stream_family(stream)
    found: Plan = registry.find("stream", family).load().build(argument, data_root)
    return found


def names(stream: Stream) -> list[str]:
    return [task.name for task in stream.tasks]


def made(name: str) -> Opened:
    """A data set in memory, its images in no order, as after a random split."""

    def split(half: str, each: int) -> Split:
        images = Images(f"{name}-{half}", classes * each, lambda row: Image.new("RGB", (4, 4)), str)
        rows = np.random.default_rng(0).permutation(classes * each)
        return Split(images, rows, rows // each)

    classes = CLASSES.get(name, 13)
    class_names = tuple(f"{name} {label}" for label in range(classes))
    about = replace(info(name), templates=("one {}.", "two {}."), expected={"classes": classes})
    return Opened(about, class_names, class_names, split("train", EACH), split("test", 2))


@dataclass
class Disk:
    """What stands for the data sets on disk: which are missing, and which were opened so far."""

    missing: set[str] = field(default_factory=set)
    opened: list[str] = field(default_factory=list)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()

    def open_checked(name: str, root: Path, splits: str) -> Opened:
        disk.opened.append(name)
        if name in disk.missing:
            raise UserError(f"{name}: not in {root}")
        return made(name)

    monkeypatch.setattr(from_datasets, "open_checked", open_checked)
    return disk


@pytest.mark.parametrize(
    ("stream", "count", "orders", "identity"),
    [
        ("mtil", 11, ["I", "II"], "known"),
        ("mtil-split:2", 22, ["I", "II", "rounds"], "known"),
        ("mtil-split:10", 110, ["I", "II", "rounds"], "known"),
        ("xtail", 10, ["I", "II"], "unknown"),
        ("cifar100:10", 10, ["default"], "seen"),
        ("cifar100:20", 20, ["default"], "seen"),
        ("cifar100:50", 50, ["default"], "seen"),
        ("tinyimagenet:5", 6, ["default"], "seen"),
        ("tinyimagenet:10", 11, ["default"], "seen"),
        ("tinyimagenet:20", 21, ["default"], "seen"),
        ("micro", 11, ["I", "II"], "known"),
        ("repeat:2", 22, ["I", "II"], "known"),
        ("repeat:3:micro", 33, ["I", "II"], "known"),
        ("repeat:2:mtil-split:3", 66, ["I", "II", "rounds"], "known"),
        ("repeat:2:cifar100:10", 20, ["default"], "seen"),
    ],
)
def test_a_plan_names_its_tasks_without_the_disk(
    stream: str, count: int, orders: Sequence[str], identity: str, disk: Disk
) -> None:
    found = plan(stream)
    assert len(set(found.names)) == len(found.names) == count
    assert list(found.orders) == list(orders) and found.names == next(iter(found.orders.values()))
    assert all(sorted(order) == sorted(found.names) for order in found.orders.values())
    assert found.identity == identity and found.protocol and not disk.opened


@pytest.mark.parametrize("stream", ["mtil", "mtil-split:3", "xtail", "cifar100:10", "tinyimagenet:5", "repeat:2:xtail"])
def test_the_whole_stream_is_what_the_plan_says(stream: str, disk: Disk) -> None:
    found = whole(plan(stream))
    assert names(found) == list(plan(stream).names)
    assert (found.orders, found.protocol) == (plan(stream).orders, plan(stream).protocol)
    assert found.identity == plan(stream).identity
    for task in found.tasks:
        assert len(task.train) == EACH * len(task.class_names) and len(task.test) == 2 * len(task.class_names)
        assert np.array_equal(np.unique(task.train.labels), np.arange(len(task.class_names)))


def test_mtil_has_the_published_orders() -> None:
    order_1 = (
        "Aircraft", "Caltech101", "CIFAR100", "DTD", "EuroSAT", "Flowers",
        "Food", "MNIST", "OxfordPet", "StanfordCars", "SUN397",
    )  # fmt: skip
    assert plan("mtil").names == plan("mtil").orders["I"] == order_1
    assert plan("mtil").orders["II"] == tuple(order_1[i] for i in (9, 6, 7, 8, 5, 10, 0, 1, 3, 4, 2))


def test_xtail_leaves_cifar100_out_and_has_one_template(disk: Disk) -> None:
    found = arrange(plan("xtail"), "II")
    assert names(found) == [
        "StanfordCars", "Aircraft", "OxfordPet", "Food", "SUN397", "MNIST", "Flowers", "DTD", "Caltech101", "EuroSAT",
    ]  # fmt: skip
    assert {task.templates for task in found.tasks} == {("a photo of a {}.",)}
    assert "do not compare" in found.protocol


def test_only_the_chosen_data_sets_are_opened_and_each_once(disk: Disk) -> None:
    assert names(arrange(plan("mtil"), "DTD,Aircraft")) == ["DTD", "Aircraft"]
    assert disk.opened == ["DTD", "Aircraft"]
    disk.opened.clear()
    assert names(arrange(plan("repeat:3:mtil-split:2"), "DTD-2 (3), DTD-1, DTD-2")) == ["DTD-2 (3)", "DTD-1", "DTD-2"]
    assert disk.opened == ["DTD"]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (
            "Aircaft,DTD",
            'no task or order "Aircaft" \\(did you mean "Aircraft"\\?\\); orders: default, I, II; tasks: Air',
        ),
        ("DTD,DTD", "named twice"),
        ("I,DTD", "whole order"),
        ("random:one", "expected a seed"),
        ("", "no task or order"),
    ],
)
def test_a_wrong_order_is_refused_before_the_disk_is_touched(order: str, message: str, disk: Disk) -> None:
    with pytest.raises(UserError, match=message):
        arrange(plan("mtil"), order)
    assert not disk.opened


def test_orders_of_names() -> None:
    orders = {"first": ("a", "b", "c"), "second": ("c", "b", "a")}
    assert choose("abc", orders, "default") == ("a", "b", "c")
    assert choose("abc", orders, "second") == ("c", "b", "a")
    assert choose("abc", orders, " c , a") == ("c", "a")
    drawn = {choose("abc", orders, f"random:{seed}") for seed in range(30)}
    assert len(drawn) == 6 and all(sorted(order) == list("abc") for order in drawn)
    assert choose("abc", orders, "random:1") == choose("abc", orders, "random:1")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"Food"}, "Food: not in nowhere"),
        (
            {"Food", "DTD"},
            "DTD: not in nowhere; and 1 other: Food; python -m benchmarks.prepare --stream {} --data-root nowhere shows all",
        ),
        (
            {"MNIST", "Food", "CIFAR100", "DTD"},
            "CIFAR100: not in nowhere; and 3 others: DTD, Food, MNIST; python -m benchmarks.prepare --stream {} "
            "--data-root nowhere shows all",
        ),
    ],
)
@pytest.mark.parametrize("stream", ["mtil", "mtil-split:4"])
def test_missing_data_sets_are_named_together(stream: str, missing: set[str], message: str, disk: Disk) -> None:
    disk.missing = missing
    with pytest.raises(UserError) as caught:
        whole(plan(stream))
    assert str(caught.value) == message.format(stream)


def test_a_missing_data_root_is_named_once() -> None:
    with pytest.raises(UserError) as caught:
        whole(plan("mtil"))
    assert str(caught.value).startswith("data root nowhere: ") and "other" not in str(caught.value)


def test_mtil_split_cuts_the_classes_into_neighbouring_parts(disk: Disk) -> None:
    found = whole(plan("mtil-split:3"))
    parts = {task.name: task for task in found.tasks}
    assert names(found)[:4] == ["Aircraft-1", "Aircraft-2", "Aircraft-3", "Caltech101-1"]
    assert [len(parts[f"DTD-{number}"].class_names) for number in (1, 2, 3)] == [5, 4, 4]
    assert sum((parts[f"DTD-{number}"].class_names for number in (1, 2, 3)), ()) == made("DTD").class_names
    part = parts["DTD-2"]
    assert (part.source.dataset, dict(part.source.expected)) == ("DTD", {})
    assert set(part.train.rows[part.train.labels == 1] // EACH) == {6}  # the second class of 5, 6, 7, 8
    assert found.orders["II"][:4] == ("StanfordCars-1", "StanfordCars-2", "StanfordCars-3", "Food-1")
    rounds = found.orders["rounds"]
    assert rounds[:2] == ("Aircraft-1", "Caltech101-1") and rounds[10:12] == ("SUN397-1", "Aircraft-2")


@pytest.mark.parametrize(
    ("stream", "sizes"),
    [
        ("cifar100:10", [10] * 10),
        ("cifar100:20", [5] * 20),
        ("cifar100:50", [2] * 50),
        ("tinyimagenet:5", [100] + [20] * 5),
        ("tinyimagenet:10", [100] + [10] * 10),
        ("tinyimagenet:20", [100] + [5] * 20),
    ],
)
def test_class_incremental_streams_take_every_class_once_in_the_fixed_order(
    stream: str, sizes: Sequence[int], disk: Disk
) -> None:
    found = whole(plan(stream))
    assert [len(task.class_names) for task in found.tasks] == sizes
    labels = [int(name.split()[1]) for task in found.tasks for name in task.class_names]
    assert sorted(labels) == list(range(len(labels)))
    start = [87, 0, 52, 58, 44, 91] if stream.startswith("cifar") else [131, 181, 22, 172, 144, 92]
    assert labels[:6] == start and tuple(labels) == CLASS_ORDERS[stream.partition(":")[0]]
    rows = np.concatenate([task.train.rows for task in found.tasks])
    assert np.array_equal(np.sort(rows), np.arange(EACH * len(labels)))
    assert found.tasks[0].templates == ("a bad photo of a {}.",)
    assert names(found)[:2] == (["step-01", "step-02"] if stream.startswith("cifar") else ["base", "step-01"])
    assert len({id(task.train.images) for task in found.tasks}) == len(disk.opened) == 1


@pytest.mark.skipif(not (SHARED / "protocol").is_dir(), reason="the gathered facts are not here")
def test_class_orders_are_those_that_were_gathered() -> None:
    gathered = json.loads((SHARED / "protocol" / "class-orders.json").read_text(encoding="utf-8"))
    assert {name: list(order) for name, order in CLASS_ORDERS.items()} == {
        name: gathered[name] for name in CLASS_ORDERS
    }


def test_repeated_tasks_share_their_splits(disk: Disk) -> None:
    found = arrange(plan("repeat:2"), "II")
    assert names(found)[10:12] == ["CIFAR100", "StanfordCars (2)"]
    for first, second in zip(found.tasks[:11], found.tasks[11:], strict=True):
        assert second.name == f"{first.name} (2)"
        assert second.train is first.train and second.test is first.test and second.source is first.source
    drawn = few_shot(found, 2, seed=1)
    assert drawn.tasks[0].train is drawn.tasks[11].train


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ("mtil:3", 'write "mtil"'),
        ("xtail:16", 'write "xtail"'),
        ("micro:1", 'write "micro"'),
        ("mtil-split", 'N from 2 to 10 .* got ""'),
        ("mtil-split:1", "N from 2 to 10"),
        ("mtil-split:11", "N from 2 to 10"),
        ("mtil-split:02", "N from 2 to 10"),
        ("cifar100", 'one of cifar100:10, cifar100:20, cifar100:50, got ""'),
        ("cifar100:5", "one of cifar100:10"),
        ("tinyimagenet", "one of tinyimagenet:5, tinyimagenet:10, tinyimagenet:20"),
        ("tinyimagenet:100", "one of tinyimagenet:5"),
        ("repeat", 'N from 2 to 50, got ""'),
        ("repeat:1", "N from 2 to 50"),
        ("repeat:51:micro", "N from 2 to 50"),
        ("repeat:micro", 'N from 2 to 50, got "micro"'),
        ("repeat:2:repeat:2:micro", "cannot be repeated"),
        ("repeat:2:mico", 'did you mean "micro"'),
        ("repeat:2:cifar100:7", "one of cifar100:10"),
    ],
)
def test_wrong_arguments_are_refused(stream: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(stream)


def test_a_name_that_would_stand_for_two_tasks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.streams import micro

    names = ("ants", "ants (2)")
    monkeypatch.setattr(micro, "build", lambda *given: Plan(names, {"default": names}, "a test", lambda chosen: ()))
    with pytest.raises(UserError, match=r"called as a repeated one would be, NAME \(2\)"):
        plan("repeat:2:micro")


def drawn(stream: str, seed: int, order: str = "default", shots: int = 3) -> dict[str, list[int]]:
    """By class name, the rows that were drawn."""
    return {
        name: task.train.rows[task.train.labels == label].tolist()
        for task in few_shot(arrange(plan(stream), order), shots, seed).tasks
        for label, name in enumerate(task.class_names)
    }


def test_few_shots_are_drawn_by_seed_and_class_alone(disk: Disk) -> None:
    first = drawn("mtil", seed=1)
    assert all(len(set(rows)) == 3 for rows in first.values())
    assert drawn("mtil", seed=1, order="II") == drawn("mtil", seed=1) == first
    assert drawn("mtil-split:7", seed=1, order="random:4") == first
    assert drawn("mtil", seed=1, order="DTD").items() <= first.items()
    other = drawn("mtil", seed=2)
    assert sum(other[name] != rows for name, rows in first.items()) > len(first) / 2
    places = {tuple(row % EACH for row in rows) for rows in first.values()}
    assert len(places) > 10  # not the same draw for every class


def test_few_shots_are_fixed_for_good(disk: Disk) -> None:
    assert drawn("mtil", seed=42, order="DTD")["DTD 0"] == [1, 2, 5]


def test_few_shot_leaves_tests_alone_and_rows_rise(disk: Disk) -> None:
    before = arrange(plan("mtil"), "DTD,MNIST")
    after = few_shot(before, EACH, seed=1)
    for old, new in zip(before.tasks, after.tasks, strict=True):
        assert new.test is old.test and new.train.images is old.train.images
        assert np.array_equal(new.train.rows, np.arange(len(old.train)))
        assert np.array_equal(new.train.labels, new.train.rows // EACH)
        assert new.train.labels.dtype == np.int64


def test_a_class_with_fewer_images_gives_all_of_them_and_says_so(disk: Disk) -> None:
    stream = whole(plan("cifar100:10"))
    task = stream.tasks[0]
    smaller = task.train.take(np.flatnonzero((task.train.labels != 3) | (task.train.rows % EACH < 2)))
    stream = replace(stream, tasks=(replace(task, train=smaller), *stream.tasks[1:]))
    counts = np.bincount(few_shot(stream, 4, seed=1).tasks[0].train.labels)
    assert counts.tolist() == [2 if label == 3 else 4 for label in range(10)]
    assert short(stream, 4) == [
        "CIFAR100: 1 classes have fewer than 4 training images (from 2); all of theirs are used"
    ]
    assert short(stream, 2) == []
    with pytest.raises(UserError, match=r"--shots 7: no class has so many training images; the largest, .* has 6"):
        few_shot(stream, 7, seed=1)


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data sets on disk, tiny."""
    root = tmp_path_factory.mktemp("layouts")
    write_all(root)
    return root


@pytest.mark.parametrize(
    "stream", ["mtil", "mtil-split:10", "xtail", "cifar100:50", "tinyimagenet:20", "repeat:2:mtil"]
)
def test_a_stream_from_disk_has_the_images_of_its_classes(
    stream: str, layouts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept_layouts(monkeypatch)
    found = few_shot(whole(plan(stream, layouts)), 2, seed=1)
    assert names(found) == list(plan(stream).names)
    opened = {name: open_dataset(name, layouts) for name in {task.source.dataset for task in found.tasks}}
    for task in found.tasks:
        assert len(task.train) == 2 * len(task.class_names)
        assert set(task.test.labels) == set(range(len(task.class_names)))
        for split in (task.train, task.test):
            for place in (0, -1):
                label = label_of(split.images.read(int(split.rows[place])))
                dataset = opened[task.source.dataset]
                known = dataset.own_names if found.identity == "seen" else dataset.class_names
                assert known[label] == task.class_names[split.labels[place]]


def test_class_incremental_prompts_are_the_published_ones(layouts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR100's names keep their underscores, and TinyImageNet's order indexes its own list, not a sorted one."""
    accept_layouts(monkeypatch)
    cifar100 = [name for task in whole(plan("cifar100:10", layouts)).tasks for name in task.class_names]
    assert cifar100[1] == "aquarium_fish"  # after class 87 comes class 0
    tiny = whole(plan("tinyimagenet:5", layouts))
    assert tiny.tasks[0].class_names[:3] == ("Persian cat", "stick insect", "goldfish")
    assert tiny.tasks[-1].class_names[-1] == "pill bottle"


@pytest.mark.parametrize("family", ["mtil", "mtil-split", "xtail", "cifar100", "tinyimagenet", "repeat", "micro"])
def test_a_family_is_listed(family: str) -> None:
    assert family in registry.names("stream")
    assert registry.find("stream", family).summary.endswith((".", ")"))


def test_families_bring_neither_torch_nor_avalanche() -> None:
    modules = [f"benchmarks.streams.{family.replace('-', '_')}" for family in registry.names("stream")]
    code = (
        f"import sys, benchmarks.streams.few_shot, benchmarks.streams.orders, {', '.join(modules)}; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'torchvision', 'avalanche')))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)

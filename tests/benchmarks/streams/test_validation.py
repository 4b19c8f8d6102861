"""Streams whose tasks are tested on a tenth of their training images."""

import numpy as np
import pytest

from benchmarks.config.errors import UserError
from benchmarks.config.recipes import recipe
from benchmarks.streams import validation
from benchmarks.streams.named import build_plan
from benchmarks.streams.orders import arrange


def opened(stream, order, tmp_path):
    return arrange(build_plan(stream, tmp_path), order).tasks


def test_a_tenth_of_each_class_is_held_out_and_the_test_images_are_not_read(tmp_path):
    order = "clocks,scans"
    for whole, part in zip(
        opened("micro", order, tmp_path), opened("validation:7:micro", order, tmp_path), strict=True
    ):
        assert part.test.images is whole.train.images or part.test.images.name == whole.train.images.name
        assert not set(part.train.rows) & set(part.test.rows)
        assert sorted([*part.train.rows, *part.test.rows]) == sorted(whole.train.rows)
        labels = dict(zip(whole.train.rows.tolist(), whole.train.labels.tolist(), strict=True))
        for split in (part.train, part.test):
            assert [labels[row] for row in split.rows.tolist()] == split.labels.tolist()
        counts, held = (np.bincount(split.labels) for split in (whole.train, part.test))
        assert held.tolist() == [round(count / 10) for count in counts]


def test_the_draw_is_of_seed_data_set_and_class_alone(tmp_path):
    first = {task.name: task.test.rows.tolist() for task in opened("validation:7:micro", "clocks,scans", tmp_path)}
    second = {task.name: task.test.rows.tolist() for task in opened("validation:7:micro", "scans,clocks", tmp_path)}
    other = {task.name: task.test.rows.tolist() for task in opened("validation:8:micro", "scans,clocks", tmp_path)}
    assert first == second
    assert first != other


def test_it_has_the_recipe_and_the_orders_of_its_stream(tmp_path):
    assert recipe("validation:7:micro", "nusa") == recipe("micro", "nusa")
    assert build_plan("validation:7:micro", tmp_path).orders == build_plan("micro", tmp_path).orders
    assert "tenth" in build_plan("validation:7:micro", tmp_path).protocol


@pytest.mark.parametrize(
    "name", ["validation", "validation:micro", "validation:x:micro", "validation:7:", "validation:-1:micro"]
)
def test_wrong(name, tmp_path):
    with pytest.raises(UserError, match=r"expected validation:SEED:STREAM, as in validation:7:micro"):
        build_plan(name, tmp_path)


def test_not_twice(tmp_path):
    with pytest.raises(UserError, match="held out already"):
        build_plan(validation.name("validation:7:micro", 7), tmp_path)


def test_a_class_of_one_image_keeps_it(tmp_path):
    (task,) = opened("micro", "clocks", tmp_path)
    first = np.array([np.flatnonzero(task.train.labels == label)[0] for label in range(len(task.class_names))])
    alone = type(task)(**{**vars(task), "train": task.train.take(first)})
    with pytest.raises(UserError, match="no class has two training images"):
        validation.held_out(alone, 7)
    two = np.append(first, np.flatnonzero(task.train.labels == 0)[1])
    found = validation.held_out(type(task)(**{**vars(task), "train": task.train.take(two)}), 7)
    assert (len(found.train), found.test.labels.tolist()) == (len(first), [0])

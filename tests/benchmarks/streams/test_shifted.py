"""Streams whose images are changed."""

import numpy as np
import pytest

from benchmarks.config.errors import UserError
from benchmarks.config.recipes import recipe
from benchmarks.streams import shifted
from benchmarks.streams.named import build_plan
from benchmarks.streams.orders import arrange


def pixels(stream, tmp_path, half="test", index=3):
    (task,) = arrange(build_plan(stream, tmp_path), "scans").tasks
    split = getattr(task, half)
    return np.asarray(split.images.read(int(split.rows[index]))).astype(int), split.labels


def test_pixels_are_changed_as_it_says_and_labels_are_not(tmp_path):
    for half in ("train", "test"):
        plain, labels = pixels("micro", tmp_path, half)
        for kind, wanted in (("inverted", 255 - plain), ("colours", plain[:, :, [2, 0, 1]])):
            found, same = pixels(f"shifted:{kind}:micro", tmp_path, half)
            assert np.array_equal(found, wanted) and np.array_equal(labels, same)


def test_colours_turn_red_into_green():
    red = np.zeros((1, 1, 3), np.uint8) + np.array([9, 0, 0], np.uint8)
    assert shifted.KINDS["colours"](red, np.random.default_rng(0)).tolist() == [[[0, 9, 0]]]


def test_noise_is_an_image_s_own_and_always_the_same(tmp_path):
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = shifted.KINDS["noise"](grey, np.random.default_rng(0)).astype(float)
    assert noisy.mean() == pytest.approx(128, abs=1) and 50 < noisy.std() < shifted.DEVIATION
    name = "shifted:noise:micro"
    first, other = pixels(name, tmp_path)[0], pixels(name, tmp_path, index=4)[0] - pixels("micro", tmp_path, index=4)[0]
    assert np.array_equal(first, pixels(name, tmp_path)[0])
    assert not np.array_equal(first - pixels("micro", tmp_path)[0], other)


def test_it_has_the_recipe_and_the_orders_of_its_stream_and_a_cache_of_its_own(tmp_path):
    assert recipe("shifted:noise:micro", "nusa") == recipe("micro", "nusa")
    found, whole = build_plan("shifted:noise:micro", tmp_path), build_plan("micro", tmp_path)
    assert found.orders == whole.orders and found.protocol == f"{whole.protocol}; all images changed: noise"
    (task,), (plain,) = (arrange(plan, "scans").tasks for plan in (found, whole))
    first, second = (each.train.images.fingerprint for each in (task, plain))
    assert first and second and first() != second()
    assert task.source.dataset == plain.source.dataset and task.source.split.endswith("; images changed: noise")


def test_it_can_be_repeated(tmp_path):
    assert len(build_plan("repeat:2:shifted:inverted:micro", tmp_path).names) == 22
    assert recipe("repeat:2:shifted:inverted:micro", "nusa") == recipe("micro", "nusa")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shifted", "expected shifted:KIND:STREAM, as in shifted:inverted:micro"),
        ("shifted:inverted", "expected shifted:KIND:STREAM"),
        ("shifted:invertd:micro", r'with one of colours, inverted, noise \(did you mean "inverted"\?\)'),
        ("shifted:noise:shifted:noise:micro", "takes no stream that is shifted or repeated"),
        ("shifted:noise:repeat:2:micro", "takes no stream that is shifted or repeated"),
    ],
)
def test_wrong(name, message, tmp_path):
    with pytest.raises(UserError, match=message):
        build_plan(name, tmp_path)

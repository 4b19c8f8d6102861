"""The stream `micro`, its seeds, the pretraining command and the weights that come with the project."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.config.errors import UserError
from benchmarks.experiment.backbones.loading import MICRO, WEIGHTS
from benchmarks.images.sets import Split
from benchmarks.micro.captions import pair
from benchmarks.micro.seeds import SETS, sequence
from benchmarks.streams.base import Stream
from benchmarks.streams.micro import DOMAINS, ORDER_II, build
from benchmarks.streams.orders import whole


ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def stream() -> Stream:
    return whole(build(""))


def _pixels(split: Split, index: int) -> np.ndarray:
    return np.asarray(split.images.read(int(split.rows[index])))


def test_stream_has_eleven_tasks_in_alphabetical_order(stream: Stream) -> None:
    names = [task.name for task in stream.tasks]
    assert len(names) == 11
    assert names == sorted(names) == list(stream.orders["I"])
    assert next(iter(stream.orders)) == "I"
    assert sorted(stream.orders["II"]) == names != list(ORDER_II)


def test_stream_takes_no_argument() -> None:
    with pytest.raises(UserError, match="nothing after its name"):
        build("anything")


@pytest.mark.parametrize("name", DOMAINS)
def test_task_keeps_the_contract(stream: Stream, name: str) -> None:
    task = next(task for task in stream.tasks if task.name == name)
    classes = len(task.class_names)
    assert len(set(task.class_names)) == classes >= 6
    assert all(template.count("{}") == 1 for template in task.templates)
    for split, least, most in ((task.train, 300, 600), (task.test, 280, 320)):
        assert least <= len(split) <= most
        assert split.labels.dtype == np.int64
        counts = np.bincount(split.labels, minlength=classes)
        assert len(counts) == classes and counts.min() == counts.max()
        picture = split.images.read(int(split.rows[-1]))
        assert (picture.mode, picture.size) == ("RGB", (32, 32))


@pytest.mark.parametrize("name", DOMAINS)
def test_pictures_are_the_same_each_time(stream: Stream, name: str) -> None:
    task, again = (next(t for t in s.tasks if t.name == name) for s in (stream, whole(build(""))))
    assert np.array_equal(_pixels(task.train, 3), _pixels(again.train, 3))
    assert not np.array_equal(_pixels(task.train, 3), _pixels(task.train, 4))
    assert not np.array_equal(_pixels(task.train, 3), _pixels(task.test, 3))


def test_no_two_sets_share_a_seed() -> None:
    states = {
        tuple(sequence(subset, seed, *place).generate_state(4))
        for subset in SETS
        for seed in (0, 2026)
        for place in [(0, index) for index in range(200)] + [(index,) for index in range(200)]
    }
    assert len(states) == len(SETS) * 2 * 400


def test_scans_for_training_and_testing_are_different_ones(stream: Stream) -> None:
    scans = next(task for task in stream.tasks if task.name == "scans")
    train = {_pixels(scans.train, i).tobytes() for i in range(len(scans.train))}
    assert not any(_pixels(scans.test, i).tobytes() in train for i in range(len(scans.test)))


def test_pretraining_pairs_depend_on_seed_and_index_only() -> None:
    (caption, picture), (again, same) = pair(7, seed=1), pair(7, seed=1)
    assert caption == again and np.array_equal(np.asarray(picture), np.asarray(same))
    assert not np.array_equal(np.asarray(picture), np.asarray(pair(7, seed=2)[1]))


def test_import_brings_neither_torch_nor_avalanche() -> None:
    code = (
        "import sys, benchmarks.streams.micro; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'avalanche', 'sklearn', 'matplotlib')))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_weights_load_in_plain_open_clip() -> None:
    import open_clip

    clip = open_clip.create_model(f"local-dir:{MICRO}", require_pretrained=True)
    words = open_clip.SimpleTokenizer(str(MICRO / "vocabulary.txt.gz"), context_length=clip.context_length)
    assert words.vocab_size == clip.vocab_size
    assert words.eot_token_id == clip.vocab_size - 1  # the text tower pools at the highest id
    assert (MICRO / WEIGHTS).stat().st_size <= 10_000_000


@pytest.mark.slow
def test_weights_know_something_of_every_domain(stream: Stream) -> None:
    from benchmarks.pretrain.publish import zero_shot

    accuracies = zero_shot(MICRO)
    recorded = json.loads((MICRO / "pretraining.json").read_text(encoding="utf-8"))["zero_shot"]
    assert accuracies == pytest.approx(recorded, abs=1.0)
    assert 40 <= accuracies["mean"] <= 75
    for task in stream.tasks:
        assert accuracies[task.name] >= 2 * 100 / len(task.class_names), task.name


def test_prompts_fit_the_text_tower(stream: Stream) -> None:
    from benchmarks.experiment.backbones.loading import load_backbone

    backbone = load_backbone("micro", None)
    prompts = [t.replace("{}", name) for task in stream.tasks for t in task.templates for name in task.class_names]
    tokens = backbone.tokenize(prompts)
    assert not tokens[:, -1].any()  # room to spare: nothing is cut off


@pytest.mark.slow
def test_pretrain_command_writes_a_model_that_loads(tmp_path: Path) -> None:
    import open_clip

    out = tmp_path / "clip"
    options = ["--steps", "3", "--pairs", "200", "--batch-size", "32", "--out", str(out)]
    line = [sys.executable, "-m", "benchmarks.pretrain", *options]
    subprocess.run(line, cwd=ROOT, check=True, capture_output=True)
    open_clip.create_model(f"local-dir:{out}", require_pretrained=True)
    again = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1) and "not empty" in again.stderr
    record = json.loads((out / "pretraining.json").read_text(encoding="utf-8"))
    assert len(record["loss"]) == record["steps"] == 3
    assert sorted(record["zero_shot"]) == sorted([*DOMAINS, "mean"])

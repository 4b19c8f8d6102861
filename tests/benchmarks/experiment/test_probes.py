"""Probes: against plain references, on made layouts, under every method, and what is said of incomplete data."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from benchmarks import api as nb
from benchmarks.comparison.sorting import sort
from benchmarks.comparison.tables import probe_table
from benchmarks.experiment.backbones.loading import load_backbone, tokenize_prompts
from benchmarks.experiment.probes import base, folder, imagenet, micro, retrieval
from benchmarks.images.decode import decode
from benchmarks.images.opener import Opener
from benchmarks.micro.captions import pair
from benchmarks.runs.folder import find
from benchmarks.runtime.progress import ProgressBar
from tests.conftest import interrupt_at
from tests.models import tiny_classifier


def picture(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def karpathy(place: Path, name: str = "flickr30k", folder_: str = "flickr30k-images", count: int = 6) -> Path:
    """Karpathy's layout: the last images are for training, and each image has six captions, of which five count."""
    entries = []
    for number in range(count):
        picture(place / folder_ / f"{number}.png", number)
        texts = [{"raw": f"thing {number} seen {way} ways"} for way in range(6)]
        entry = {"filename": f"{number}.png", "split": "test" if number < count - 2 else "train", "sentences": texts}
        entries.append(entry | ({"filepath": folder_} if name == "coco" else {}))
    (place / f"dataset_{name}.json").write_text(json.dumps({"images": entries, "dataset": name}))
    return place


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageNet's layout with one image in each of 1000 classes."""
    place = tmp_path_factory.mktemp("imagenet")
    for number in range(1000):
        picture(place / "val" / f"n{number:08d}" / "a.png", number)
    return place


def learn(images: Path, tiny_clip: Path, results: Path, strategy: str = "nusa", **more: Any) -> nb.Run:
    settings: dict[str, Any] = {"iterations": 3, "batch_size": 4, "device": "cpu", "plots": False, "silent": True}
    settings |= {"rank": 4} if strategy == "nusa" else {}
    return nb.run(strategy, f"folder:{images}", model=f"local-dir:{tiny_clip}", results=results, **{**settings, **more})


def test_recalls_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(30, 150))
    of_images, of_texts = rng.integers(0, 20, 30), rng.integers(0, 20, 150)
    found = base.recalls(of_images, of_texts)(torch.from_numpy(scores))
    for rank in (1, 5):
        rows = [set(of_texts[np.argsort(-row)[:rank]]) for row in scores]
        assert found[f"image_to_text_r{rank}"] == pytest.approx(
            100 * np.mean([own in there for own, there in zip(of_images, rows, strict=True)])
        )
        columns = [set(of_images[np.argsort(-column)[:rank]]) for column in scores.T]
        assert found[f"text_to_image_r{rank}"] == pytest.approx(
            100 * np.mean([own in there for own, there in zip(of_texts, columns, strict=True)])
        )


def test_imagenets_names_templates_and_labels(val: Path, tiny_clip: Path) -> None:
    (probe,) = imagenet.build(str(val))
    assert probe.texts[0] == "tench" and len(probe.texts) == 1000 and len(set(probe.templates)) == 80
    assert probe.templates[0] == "a bad photo of a {}." and probe.images.labels.tolist() == list(range(1000))
    assert probe.images.images.where(999).endswith("n00000999/a.png")
    assert [template("x") for template in open_clip.OPENAI_IMAGENET_TEMPLATES] == [
        each.replace("{}", "x") for each in probe.templates
    ]


@pytest.mark.parametrize(
    ("name", "place"), [("flickr30k", "flickr30k-images"), ("flickr30k", "images"), ("coco", "val2014")]
)
def test_karpathys_test_split_and_first_five_captions(name: str, place: str, tmp_path: Path) -> None:
    (probe,) = retrieval.build(str(karpathy(tmp_path, name, place)))
    assert (probe.name, len(probe.images), len(probe.texts)) == (name, 4, 20)
    assert probe.texts[5] == "thing 1 seen 0 ways" and "4 images, 20 captions" in probe.protocol
    perfect = torch.eye(4).repeat_interleave(5, dim=1)
    assert set(probe.score(perfect).values()) == {100.0}


def test_a_probe_is_plain_open_clip_on_the_runs_model(images: Path, tiny_clip: Path, val: Path, tmp_path: Path) -> None:
    """Features of the run's model.safetensors in open_clip alone, against the last rows of `probes.csv`."""
    probes = [f"imagenet:{val}", f"retrieval:{karpathy(tmp_path / 'flickr')}", f"folder:{images}"]
    run = learn(images, tiny_clip, tmp_path / "results", probe=probes)
    table = run.table("probes").set_index(["after", "probe", "metric"])["value"]
    assert {name for _, name, _ in table.index} == {"imagenet", "flickr30k", "ants", "bees", "cats"}
    assert set(run.about["probes"]) == {"imagenet", "flickr30k", "ants", "bees", "cats"}
    assert len({probe["sha256"] for probe in run.about["probes"].values()}) == 5
    backbone = load_backbone(f"local-dir:{tiny_clip}", str(run.folder / "model.safetensors"))
    clip: Any = backbone.clip.eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (backbone.mean, backbone.std))
    for probe in [*imagenet.build(str(val)), *retrieval.build(str(tmp_path / "flickr")), *folder.build(str(images))]:
        with torch.no_grad():
            pixels = (decode(probe.images, backbone.size) / 255 - mean) / std
            features = clip.encode_image(pixels, normalize=True)
            tokens = tokenize_prompts(backbone.tokenize, probe.texts, probe.templates or ("{}",))
            texts = torch.stack([clip.encode_text(each, normalize=True) for each in tokens]).mean(dim=0)
            texts = texts / texts.norm(dim=1, keepdim=True)
        for metric, value in probe.score(features @ texts.T).items():
            assert table[3, probe.name, metric] == pytest.approx(value), (probe.name, metric)


def test_domains_of_a_folder_are_the_streams_own_accuracies(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    routed: dict[str, Any] = {"auxiliary_images": images / "ants", "experts": 3, "width": 2, "decision": "image"}
    settings = {"nusa": {}, "moe_adapter": routed, "diki": {"length": 2, "templates": "all", "decision": "image"}}
    for strategy, more in settings.items():  # the last two compute each image with the parts of its task
        run = learn(images, tiny_clip, tmp_path, strategy, probe=[f"folder:{images}"], **more)
        table = run.table("probes").pivot(index="after", columns="probe", values="value")
        np.testing.assert_allclose(table[list(run.tasks)], run.accuracy["known"], err_msg=strategy)


def test_probes_of_one_name_with_other_data_are_columns_of_their_own(
    images: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    for number, strategy in enumerate(("nusa", "finetune")):
        place = karpathy(tmp_path / str(number), count=6 + 2 * number)
        learn(images, tiny_clip, tmp_path / "results", strategy, probe=[f"retrieval:{place}"])
    (group,) = sort(find([tmp_path / "results"]).folders).groups
    found = probe_table(group, group.first.tasks)
    assert found is not None and len(set(found.header)) == 1 + 3 + 4  # among four texts R@5 would always be right
    assert not any(cell.mark for row in found.rows for cell in row)
    assert all(sum(cell.value is not None for cell in row) in (3, 4) for row in found.rows)


def test_a_run_resumes_with_the_same_probes_alone(
    images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = karpathy(tmp_path / "flickr")
    with monkeypatch.context() as patch:
        interrupt_at(patch, "checkpoint.safetensors", 2)
        with pytest.raises(KeyboardInterrupt):
            learn(images, tiny_clip, tmp_path / "results", probe=[f"retrieval:{place}"])
    karpathy(tmp_path / "flickr", count=8)
    with pytest.raises(nb.UserError, match="other images or texts of probes"):
        learn(images, tiny_clip, tmp_path / "results", probe=[f"retrieval:{place}"])


def test_a_split_as_large_as_cocos_is_read_and_a_pipe_is_passed_over(tmp_path: Path) -> None:
    picture(tmp_path / "val2014" / "a.png", 0)
    sentence = {"raw": "a thing", "tokens": ["a", "thing"], "imgid": 1, "sentid": 2}
    entry = {"filepath": "val2014", "filename": "a.png", "split": "test", "sentences": [sentence] * 5}
    rest = {"filepath": "train2014", "filename": "b.png", "split": "train", "sentences": [sentence] * 5}
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": [entry] + [rest] * 60_000, "dataset": "coco"}))
    assert (tmp_path / "dataset_coco.json").stat().st_size > 2**24
    os.mkfifo(tmp_path / "dataset_pipe.json")
    (probe,) = retrieval.build(str(tmp_path))
    assert len(probe.texts) == 5


def test_measure_does_not_take_it(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(nb.UserError, match="--measure probes: is taken with --probe"):
        learn(images, tiny_clip, tmp_path, measure=["probes"])


def test_a_probe_changes_nothing_and_survives_a_kill(
    images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = [f"retrieval:{karpathy(tmp_path / 'flickr')}"]
    plain = learn(images, tiny_clip, tmp_path / "plain")
    straight = learn(images, tiny_clip, tmp_path / "straight", probe=probe)
    with monkeypatch.context() as patch:
        interrupt_at(patch, "checkpoint.safetensors", 2)
        with pytest.raises(KeyboardInterrupt):
            learn(images, tiny_clip, tmp_path / "stopped", probe=probe)
    stopped = learn(images, tiny_clip, tmp_path / "stopped", probe=probe)
    for name in ("accuracy.csv", "rank.csv", "history.csv", "model.safetensors"):
        assert (straight.folder / name).read_bytes() == (plain.folder / name).read_bytes(), name
    assert (stopped.folder / "probes.csv").read_bytes() == (straight.folder / "probes.csv").read_bytes()
    untrained = learn(images, tiny_clip, tmp_path, "zeroshot", probe=probe).table("probes")
    assert untrained.groupby("metric")["value"].nunique().eq(1).all() and len(untrained) == 4 * 3


def test_a_classifier_beside_another_forgets_with_it() -> None:
    """A method whose text features differ from batch to batch empties those of the run's classifier."""
    classifier = tiny_classifier().eval()
    other = classifier.beside([classifier.tokens(1)])
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    before = other.union_logits(images)
    torch.testing.assert_close(before, classifier.union_logits(images)[:, 2:])
    with torch.no_grad():
        classifier.clip.text_projection[:, 0].mul_(3)
    torch.testing.assert_close(other.union_logits(images), before)
    classifier.forget_texts()
    assert not torch.allclose(other.union_logits(images), before)


def test_micros_pairs_are_not_those_of_pretraining(tmp_path: Path) -> None:
    (probe,) = micro.build("")
    pretrained = json.loads((Path(base.__file__).parents[2] / "micro" / "clip" / "pretraining.json").read_text())
    assert pretrained["seed"] == micro.SEED and pretrained["pairs"] == micro.FIRST
    caption, drawn = pair(micro.FIRST + 7, micro.SEED)
    assert caption in probe.texts and len(set(probe.texts)) == len(probe.texts)
    assert np.array_equal(np.array(probe.images.images.read(7)), np.array(drawn))
    with ProgressBar(silent=True) as bar:
        backbone = load_backbone("micro", None)
        (ready,) = base.prepare(["micro"], backbone, Opener(32, tmp_path, bar))
    assert len(ready.images) == 1000 and len(ready.prompts) > 1


def wrong_imagenet(place: Path) -> str:
    shutil.rmtree(place / "val" / "n00000007")
    return "999 class folders"


def uneven_imagenet(place: Path) -> str:
    picture(place / "val" / "n00000007" / "b.png", 0)
    return "n00000007 has 2 images, most classes 1"


@pytest.mark.parametrize("change", [wrong_imagenet, uneven_imagenet])
def test_an_incomplete_imagenet_is_refused(change: Any, val: Path, tmp_path: Path) -> None:
    place = shutil.copytree(val, tmp_path / "copy")
    message = change(place)
    with pytest.raises(nb.UserError, match=message):
        imagenet.build(str(place))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("image,caption\na.png,a thing\nb.png,another\n", r"captions\.csv: row 3: b\.png: no such image"),
        ("image,caption\n../a.png,a thing\n", "leads out of"),
        ("image,caption\na.png, \n", "row 2: no image or no caption"),
        ("file,text\na.png,a thing\n", "expected the columns image and caption"),
        ("image,caption\n", "expected the columns image and caption, and a row"),
        ("image,caption\na.png,\xff\n", "not a csv file in UTF-8"),
    ],
)
def test_wrong_captions_are_named(rows: str, message: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 0)
    (tmp_path / "captions.csv").write_bytes(rows.encode("latin-1"))
    with pytest.raises(nb.UserError, match=message):
        retrieval.build(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": [{"split": "test", "filename": "x.png", "sentences": [{"raw": "x"}]}]}, r"x\.png: no such image"),
        ({"images": [{"split": "test", "filename": "../x.png", "sentences": [{"raw": "x"}]}]}, "leads out of"),
        ({"images": [{"split": "test", "filename": "x.png", "sentences": []}]}, "some without a caption"),
        ({"images": [{"split": "train", "filename": "x.png", "sentences": [{"raw": "x"}]}]}, "no test images"),
        ({"pictures": []}, "no split of Karpathy's"),
        ([1], "no split of Karpathy's"),
    ],
)
def test_wrong_splits_are_named(content: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "dataset_coco.json").write_text(json.dumps(content))
    with pytest.raises(nb.UserError, match=message):
        retrieval.build(str(tmp_path))


def test_wrong_probes_are_refused_before_training(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for probe, message in {
        "imagnet:x": r'no probe "imagnet" \(did you mean "imagenet"',
        "imagenet": "name a folder, as in imagenet:DIR",
        f"imagenet:{tmp_path}/no": "no such folder",
        f"imagenet:{tmp_path}/empty": "0 class folders",
        f"retrieval:{tmp_path}/empty": "0 files dataset_",
        f"folder:{tmp_path}/empty": "empty",
        "micro:3": 'write "micro"',
    }.items():
        with pytest.raises(nb.UserError, match=message):
            learn(images, tiny_clip, tmp_path / "results", probe=[probe])
    with pytest.raises(nb.UserError, match='two probes are called "ants"'):
        learn(images, tiny_clip, tmp_path / "results", probe=[f"folder:{images}", f"folder:{images}/"])
    assert not list(tmp_path.rglob("run.json"))


def test_what_the_model_does_not_read_is_said(
    images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "captio{}ned"
    picture(place / "a.png", 1)
    picture(place / "b.png", 2)
    long = "very " * 100 + "long"
    (place / "captions.csv").write_text(f"image,caption\na.png,{long}\nb.png,short\nb.png,short\n")
    run = learn(images, tiny_clip, tmp_path / "results", "zeroshot", probe=[f"retrieval:{place}"])
    said = capsys.readouterr().err
    assert "1 of 2 captions is longer than the 16 tokens" in said and "1 rows stand there before" in said
    assert "2 images, 2 captions" in run.about["probes"]["captio{}ned"]["protocol"]


@pytest.mark.parametrize(
    ("classes", "domain", "message"),
    [
        (("polo", "Polo"), "cars", 'the classes "Polo" and "polo" have the same prompt'),
        (("red", "blue"), "cars\x1b[2J", "characters that cannot be printed"),
    ],
)
def test_classes_and_names_that_nobody_can_tell_apart_are_refused(
    classes: tuple[str, str], domain: str, message: str, images: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    for part in ("train", "test"):
        for number, name in enumerate(classes):
            picture(tmp_path / "set" / domain / part / name / "a.png", number)
    with pytest.raises(nb.UserError, match=message):
        learn(images, tiny_clip, tmp_path / "results", "zeroshot", probe=[f"folder:{tmp_path / 'set'}"])

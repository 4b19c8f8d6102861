"""Auxiliary images and texts: what is read, and what is said of those that are missing or wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.config.errors import UserError
from benchmarks.images.auxiliary import MICRO_PAIRS, find
from benchmarks.run import main
from tests.benchmarks.test_run import fails, only_run, words
from tests.conftest import SHARED, write_images


def settings(*, drawn: bool = False, pool: int = 100_000) -> dict[str, Any]:
    return {"method": "zscl", "drawn": drawn, "pool": pool, "batch_size": 4}


def folder(place: Path, count: int = 6) -> Path:
    (place / "below").mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (6, 5), (number, 0, 0)).save((place / "below" if number % 2 else place) / f"{number}.png")
    (place / "notes.txt").write_text("no picture")
    return place


def test_the_micro_clip_gets_pictures_and_captions_of_its_pretrainings_kind() -> None:
    found = find(("images", "texts"), None, None, **settings(drawn=True))
    assert found.images is not None and found.captions is not None
    assert len(found.images) == MICRO_PAIRS and len(set(found.captions)) == len(found.captions) > 500
    assert found.images.images.read(3).size == (32, 32)
    assert find((), None, None, **settings(drawn=True)) == type(found)()


def test_a_folder_is_read_with_what_lies_below_it_and_a_file_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "captions.tsv"
    file.write_text("a cat\thttp://a\na dog\n", encoding="utf-8")
    found = find(("images", "texts"), folder(tmp_path / "images"), file, **settings())
    assert found.images is not None and found.captions == ("a cat", "a dog")
    reds = [np.asarray(found.images.images.read(row))[0, 0, 0] for row in found.images.rows.tolist()]
    assert sorted(reds) == [0, 1, 2, 3, 4, 5]
    few = find(("images",), tmp_path / "images", None, **settings(pool=4)).images
    again = find(("images",), tmp_path / "images", None, **settings(pool=4)).images
    assert few is not None and again is not None and len(few) == 4
    assert few.rows.tolist() == again.rows.tolist() == sorted(few.rows.tolist())


def test_wrong_auxiliary_data(tmp_path: Path) -> None:
    def refusal(
        reads: tuple[str, ...] = ("images", "texts"), images: Path | None = None, texts: Path | None = None
    ) -> str:
        with pytest.raises(UserError) as error:
            find(reads, images, texts, **settings())
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "--reference-images" in refusal() and "ImageNet" in refusal()
    assert "--reference-texts" in refusal(("texts",)) and "Conceptual Captions" in refusal(("texts",))
    assert "no such folder" in refusal(images=tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "0 images, fewer than a batch of 4" in refusal(images=tmp_path / "empty")
    assert "3 images, fewer than a batch of 4" in refusal(images=folder(tmp_path / "few", 3))
    assert "cannot be read" in refusal(("texts",), texts=tmp_path / "absent.txt")
    assert "a file, not a folder" in refusal(images=Path(__file__))
    assert "zscl reads no texts besides the tasks'; leave it out" in refusal(("images",), tmp_path, tmp_path)
    file = tmp_path / "captions.txt"
    for content, part in (
        (b"", "empty"),
        (b"a cat\n\na dog\n", "line 2 has no caption"),
        (b"a\n\turl\n", "line 2"),
        (b"\xff", "UTF-8"),
    ):
        file.write_bytes(content)
        assert part in refusal(("texts",), texts=file)


def test_what_of_a_folder_is_not_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder(tmp_path / "some", 8)
    (place / "notes.txt").unlink()
    find(("images",), place, None, **settings())
    assert not capsys.readouterr().err
    for name in ("a.heic", "more/b.heic", "more/.c.png", "d.tar", "more/e.png"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"")
    found = find(("images",), place, None, **settings())
    assert found.images is not None and len(found.images) == 9
    said = capsys.readouterr().err
    assert said.startswith(f"passed over in {place}: .heic (2), ") and "hidden (1)" in said and ".tar (1)" in said


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    write_images(place / "tasks", {"ants": 2, "bees": 3})
    folder(place / "reference", 8)
    (place / "captions.txt").write_text("a cat\na dog\n")
    return place


def test_through_the_command(data: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--strategy", "zscl", *words(data / "tasks", tiny_clip, tmp_path, "--cache", tmp_path / "cache")]
    assert "--reference-images" in fails(line, capsys)
    given = [*line, "--reference-images", str(data / "reference"), "--reference-texts", str(data / "captions.txt")]
    assert main(given) == 0
    run = only_run(tmp_path)
    assert len(json.loads((run / "run.json").read_text())["reference_sha256"]) == 64
    cost = json.loads((run / "cost.json").read_text())
    assert main(given) == 0  # the finished run is shown
    assert "read" in fails(line, capsys) and "choose another --results" in fails(line, capsys)
    assert "--reference-texts: the finished run in" in fails([*given[:-1], str(data / "tasks")], capsys)
    assert (
        (cost["reference_images"], cost["reference_texts"]) == (8, 2)
        and len(set(cost["carried_bytes"])) == 1
        and cost["carried_bytes"][0] > 0
    )
    assert any(path.name.startswith("reference-reference") for path in (tmp_path / "cache").iterdir())
    (data / "reference" / "bad.png").write_bytes(b"")
    more = ["--seed", "1", *given[2:]]
    assert "bad.png: not a readable image" in fails(["--strategy", "zscl", *more], capsys)
    (data / "reference" / "bad.png").unlink()


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the private test data are not here")
def test_real_reference_images_and_captions() -> None:
    found = find(
        ("images", "texts"),
        SHARED / "data" / "reference-images",
        SHARED / "data" / "reference-captions.txt",
        **settings(),
    )
    assert found.images is not None and found.captions is not None
    assert len(found.images) == len(found.captions) == 1000

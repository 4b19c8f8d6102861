"""The files that a finished run's stream reads: what counts as a change of them, and the line about it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.experiment.data_files import digest
from benchmarks.run import main
from tests.benchmarks.streams.test_protocols import words
from tests.benchmarks.test_run import only_run
from tests.conftest import command, write_images
from tests.layouts import accept_layouts, write_layout


CHANGED = "that {} reads have changed since this run was made (names, sizes or contents)"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    accept_layouts(monkeypatch)
    for name in ("DTD", "MNIST"):
        write_layout(name, tmp_path / "data")
    return tmp_path / "data"


def first(folder: Path, pattern: str) -> Path:
    return sorted(folder.rglob(pattern))[0]


def flip(file: Path) -> None:
    """Another last byte, the size and time as before."""
    data, times = file.read_bytes(), file.stat()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def touch_all(root: Path) -> None:
    for file in root.rglob("*"):
        os.utime(file, ns=(0, 5))


def move(root: Path) -> None:
    root.rename(root.with_name("moved"))
    os.symlink(root.with_name("moved"), root)


CHANGES: list[Callable[[Path], object]] = [
    lambda root: flip(first(root / "dtd", "*.jpg")),
    lambda root: flip(first(root / "MNIST", "*ubyte")),
    lambda root: first(root / "dtd", "*.jpg").unlink(),
    lambda root: first(root / "dtd", "*.jpg").rename(root / "dtd" / "other.jpg"),
    lambda root: flip(first(root / "dtd", "train1.txt")),
    lambda root: shutil.copy(first(root / "dtd", "*.jpg"), root / "dtd" / "more.jpg"),
]
SAME: list[Callable[[Path], object]] = [
    touch_all,
    lambda root: (root / "dtd" / "dtd-r1.0.1.tar.gz").write_bytes(b"the archive"),
    lambda root: (root / "dtd" / ".DS_Store").write_bytes(b"x"),
    lambda root: write_layout("EuroSAT", root),
    lambda root: os.symlink(root / "dtd", root / "dtd" / "round"),
    move,
]


@pytest.mark.parametrize(("change", "same"), [*((each, False) for each in CHANGES), *((each, True) for each in SAME)])
def test_what_changes_the_digest(change: Callable[[Path], object], same: bool, root: Path) -> None:
    before = digest("mtil", ["DTD", "MNIST"], root)
    assert before is not None and len(before) == 64
    change(root)
    assert (digest("mtil", ["MNIST", "DTD", "DTD"], root) == before) == same


def test_streams_without_files_and_missing_folders_have_none(root: Path, tmp_path: Path) -> None:
    assert digest("micro", ["arrows", "clocks"], root) is None
    assert digest("mtil", ["DTD", "Food"], root) is None  # Food is not there
    assert digest("mtil", ["DTD"], tmp_path / "nowhere") is None
    assert digest(f"folder:{tmp_path / 'nowhere'}", ["ants"], root) is None


def test_a_finished_run_of_a_published_stream_whose_files_have_changed(
    root: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = words("mtil", root, tiny_clip, tmp_path / "out", "--strategy", "zeroshot", "--order", "DTD,MNIST")
    said = CHANGED.format("mtil")
    assert main(line) == 0 and main(line) == 0
    assert said not in capsys.readouterr().err
    flip(first(root / "dtd", "*.jpg"))
    assert main(line) == 0
    captured = capsys.readouterr()
    assert "finished before" in captured.out and captured.err.count(said) == 1
    shutil.rmtree(root)
    assert main(line) == 0
    assert said not in capsys.readouterr().err  # nothing is known of it
    write_layout("DTD", root)
    write_layout("MNIST", root)
    assert main(line) == 0
    assert said not in capsys.readouterr().err  # as they were
    file = only_run(tmp_path / "out") / "run.json"
    about = json.loads(file.read_text())
    del about["data_sha256"]  # as older versions wrote it
    file.write_text(json.dumps(about))
    flip(first(root / "dtd", "*.jpg"))
    assert main(line) == 0
    assert said not in capsys.readouterr().err


def test_a_picture_of_ones_own_that_was_exchanged_for_another_is_noticed(
    tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = write_images(tmp_path / "pictures", {"ants": 2, "bees": 2})
    stream = f"folder:{pictures}"
    line = words(stream, tmp_path, tiny_clip, tmp_path / "out", "--strategy", "zeroshot", "--order", "ants")
    assert main(line) == 0
    (pictures / "README.md").write_text("no picture")
    shutil.rmtree(pictures / "bees" / "test" / "class_0")  # of a domain that is not in this run
    assert main(line) == 0
    assert "have changed" not in capsys.readouterr().err
    place = pictures / "ants" / "test"
    shutil.copy(place / "class_0" / "1.png", place / "class_0" / "0.png")
    assert main(line) == 0
    assert CHANGED.format(stream) in capsys.readouterr().err


def test_a_finished_run_is_shown_without_torch(root: Path, tiny_clip: Path, tmp_path: Path) -> None:
    line = words("mtil", root, tiny_clip, tmp_path / "out", "--strategy", "zeroshot", "--order", "DTD")
    assert main(line) == 0
    done = command(*line, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0 and "finished before" in done.stdout
    assert not [text for text in done.stderr.splitlines() if text.endswith((" torch", " torchvision"))]


def test_a_stream_around_folders_reads_the_folders(images: Path, tmp_path: Path) -> None:
    names, own = ["ants", "bees"], f"folder:{images}"
    assert digest(f"validation:7:{own}", names, tmp_path) == digest(own, names, tmp_path) is not None
    assert digest(f"repeat:2:validation:7:{own}", names, tmp_path) == digest(own, names, tmp_path)

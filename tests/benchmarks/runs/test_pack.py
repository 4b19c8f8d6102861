"""Packed runs: the same bytes back, read like run folders, and what is said of damaged ones."""

import hashlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import compare
from benchmarks.config.errors import UserError
from benchmarks.runs.folder import RunFiles, find
from benchmarks.runs.pack import main, pack, unpack
from benchmarks.runs.read import read
from plotting.draw import draw_all
from tests.conftest import ROOT
from tests.run_folders import write_run


TASKS = ["one", "zwei ä", "three"]
REFERENCE = ROOT / "results" / "reference"


def runs(results: Path) -> list[Path]:
    """Two finished runs, one with a dot in its name, and one that still runs."""
    folders = [results / "micro" / "nusa" / name for name in ("seed1", "seed1,lr=0.003", "seed2")]
    for number, folder in enumerate(folders):
        states = 50 + np.random.default_rng(number).uniform(0, 10, (4, 3))
        write_run(folder, states, TASKS, seed=number, status="running" if number == 2 else "finished")
    return folders


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def printed(*arguments: object) -> str:
    result = CliRunner().invoke(compare.main, [str(argument) for argument in arguments])
    assert result.exit_code == 0 and not result.stderr, result.output
    return result.stdout


def test_unpacked_is_byte_for_byte_what_was_packed(tmp_path: Path) -> None:
    first, second, running = runs(tmp_path / "results")
    (first / "notes.csv").write_bytes(b"a column of a later version,\r\n\xc3\xa4")
    before = [files_of(folder) for folder in (first, second)]
    (first / "model.safetensors").write_bytes(b"weights")
    (first / "plots").mkdir()
    packed = pack(tmp_path / "results", tmp_path / "packed")
    assert packed == [tmp_path / "packed" / "micro" / "nusa" / f"{folder.name}.zip" for folder in (first, second)]
    assert running.is_dir() and first.is_dir()
    (stream,) = (tmp_path / "packed" / "streams").iterdir()  # once for both
    assert stream.name == f"{hashlib.sha256(before[0]['stream.json']).hexdigest()}.json"
    back = unpack(tmp_path / "packed", tmp_path / "back")
    assert [files_of(folder) for folder in back] == before
    assert [folder.relative_to(tmp_path / "back").parts for folder in back] == [
        ("micro", "nusa", folder.name) for folder in (first, second)
    ]


def test_equal_runs_give_equal_bytes_and_packed_ones_may_be_packed_elsewhere(tmp_path: Path) -> None:
    runs(tmp_path / "results")
    packed = [pack(tmp_path / "results", tmp_path / name) for name in ("one", "two")]
    moved = pack(tmp_path / "one", tmp_path / "three")
    for again in (packed[1], moved):
        assert [file.read_bytes() for file in again] == [file.read_bytes() for file in packed[0]]


def test_readers_take_a_packed_run_for_its_folder(tmp_path: Path) -> None:
    first, second, running = runs(tmp_path)
    shutil.rmtree(running)
    table = [printed(tmp_path, "--format", form) for form in ("markdown", "csv", "runs")]
    drawn = [path.read_bytes() for path in draw_all(second)]
    pack(tmp_path)
    for folder in (first, second):
        shutil.rmtree(folder)
    assert find([tmp_path]).folders == [first, second]
    assert find([first]).folders == find([first.with_name("seed1.zip")]).folders == [first]
    assert [printed(tmp_path, "--format", form) for form in ("markdown", "csv", "runs")] == table
    again = draw_all(second.with_name("seed1,lr=0.003.zip"))
    assert again[0].parent == second / "plots"
    assert [path.read_bytes() for path in again] == drawn
    assert find([tmp_path]).folders == [first, second]  # one of them has a folder now, which holds plots alone


def test_a_folder_counts_before_its_zip_file_and_is_not_overwritten(tmp_path: Path) -> None:
    first, second, _ = runs(tmp_path)
    pack(tmp_path)
    (first / "metrics.json").write_text("{}")
    shutil.rmtree(second)
    assert find([tmp_path]).folders[:2] == [first, second]
    assert RunFiles(first).json("metrics.json") == {}
    assert unpack(tmp_path) == [second]
    assert (first / "metrics.json").read_text() == "{}"


def test_a_single_run_by_the_command(tmp_path: Path) -> None:
    first, *_ = runs(tmp_path)
    whole = files_of(first)
    done = CliRunner().invoke(main, [str(first)])
    assert done.stdout.strip() == str(first.with_name("seed1.zip")), done.output
    shutil.rmtree(first)
    assert CliRunner().invoke(main, ["--unpack", str(first.with_name("seed1.zip"))]).exit_code == 0
    assert files_of(first) == whole
    nothing = CliRunner().invoke(main, [str(tmp_path / "nowhere")])
    assert nothing.exit_code == 2 and "no such folder" in nothing.stderr and len(nothing.stderr.splitlines()) == 1


def test_what_is_wrong_with_a_packed_run_is_said(tmp_path: Path) -> None:
    first, second, _ = runs(tmp_path)
    one, _ = pack(tmp_path)
    shutil.rmtree(first)
    (stream,) = (tmp_path / "streams").iterdir()
    whole = stream.read_bytes()
    stream.write_bytes(whole + b"\n")
    with pytest.raises(UserError, match="changed; its sha256 is not its name"):
        _ = read(first).protocol
    stream.unlink()
    with pytest.raises(UserError, match=r"seed1.zip/stream.json: stands for streams/\w+.json, which no folder above"):
        _ = read(first).protocol
    stream.write_bytes(whole)
    assert read(first).protocol == read(second).protocol
    one.write_bytes(one.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"seed1.zip: damaged, not a run packed as a zip file"):
        read(first)
    result = CliRunner().invoke(compare.main, [str(tmp_path)])
    assert "left out: " in result.stderr and "seed1.zip: damaged" in result.stderr and result.exit_code == 0


def test_a_byte_changed_within_a_zip_file_is_found(tmp_path: Path) -> None:
    first, *_ = runs(tmp_path)
    one, _ = pack(tmp_path)
    shutil.rmtree(first)
    with zipfile.ZipFile(one) as archive:
        about = archive.getinfo("rank.csv")
    data = bytearray(one.read_bytes())
    data[about.header_offset + 30 + len("rank.csv") + about.compress_size // 2] ^= 0xFF
    one.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        _ = read(first).rank


def test_other_zip_files_are_no_runs(tmp_path: Path) -> None:
    first, *_ = runs(tmp_path)
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        archive.writestr("a.png", b"")
    assert len(find([tmp_path]).folders) == 3
    with pytest.raises(UserError, match="a file, not a folder"):
        find([first / "config.yaml"])


def test_the_committed_runs_compare_as_their_folders_do(tmp_path: Path) -> None:
    unpack(REFERENCE / "bf16", tmp_path)
    for form in ("csv", "markdown"):
        assert printed(tmp_path, "--format", form) == printed(REFERENCE / "bf16", "--format", form)

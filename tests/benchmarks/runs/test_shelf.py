"""Many runs in one file: the same bytes back, read like run folders, and what is said of damaged ones."""

import io
import lzma
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.config.errors import UserError
from benchmarks.runs import shelf
from benchmarks.runs.folder import find
from benchmarks.runs.pack import main, pack, unpack
from benchmarks.runs.read import read
from plotting.draw import draw_all
from tests.benchmarks.runs.test_pack import files_of, printed, runs


def test_unpacked_is_byte_for_byte_what_was_packed(tmp_path: Path) -> None:
    first, second, _ = runs(tmp_path / "results")
    before = [files_of(folder) for folder in (first, second)]
    (packed,) = pack(tmp_path / "results", tmp_path / "packed", together=True)
    assert packed == tmp_path / "packed" / "micro" / "nusa.runs.zip.xz"
    assert [files_of(folder) for folder in unpack(tmp_path / "packed", tmp_path / "back")] == before
    (again,) = pack(tmp_path / "packed", tmp_path / "again", together=True)
    assert again.read_bytes() == packed.read_bytes()


def test_readers_take_the_runs_for_their_folders(tmp_path: Path) -> None:
    first, second, running = runs(tmp_path)
    shutil.rmtree(running)
    table = [printed(tmp_path, "--format", form) for form in ("markdown", "csv", "runs")]
    drawn = [path.read_bytes() for path in draw_all(second)]
    (packed,) = pack(tmp_path, together=True)
    shutil.rmtree(first.parent)
    for place in (tmp_path, packed, first.parent):
        assert find([place]).folders == [first, second]
    first.parent.mkdir()  # as for the plots of one of them
    assert find([first.parent]).folders == [first, second]
    assert find([first]).folders == [first]
    assert [printed(tmp_path, "--format", form) for form in ("markdown", "csv", "runs")] == table
    assert [path.read_bytes() for path in draw_all(second)] == drawn


def test_more_runs_join_and_files_can_be_left_out(tmp_path: Path) -> None:
    first, second, running = runs(tmp_path)
    pack(first, together=True)
    shutil.rmtree(first)
    shutil.rmtree(running)
    done = CliRunner().invoke(main, ["--together", "--without", "rank.csv,spectrum.csv", str(tmp_path)])
    assert done.exit_code == 0, done.output
    kept = shelf.runs(shelf.of(first.parent))
    assert list(kept) == [first.name, second.name]
    assert all("rank.csv" not in files and "cost.json" in files for files in kept.values())
    shutil.rmtree(second)
    assert read(second).entropy_rank is None
    assert read(unpack(tmp_path, tmp_path / "back")[0]).entropy_rank is None  # as its left_out.json says
    shutil.rmtree(tmp_path / "back")
    assert "NuSA-CL" in printed(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--without", "run.json"), "--without run.json: a run cannot be read without it"),
        (("--unpack", "--together"), "--unpack: goes without --together"),
    ],
)
def test_wrong_input_is_one_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    runs(tmp_path)
    done = CliRunner().invoke(main, [*words, str(tmp_path)])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert message in done.stderr


def archive(*names: str, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A shelf as a stranger may have made it."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", compression) as opened:
        warnings.simplefilter("ignore")  # of a name that stands twice
        for name in names:
            opened.writestr(name, "x" * 100)
    return lzma.compress(out.getvalue())


WHOLE = archive("seed1/config.yaml")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"no archive", WHOLE[:-8], lzma.compress(b"no archive within"), archive("../seed1/config.yaml"),
        archive("../config.yaml"), archive("/seed1"), archive("seed1/a/b"), archive("seed1\\x/config.yaml"),
        archive("./config.yaml"), archive("seed1/config.yaml", "seed1/config.yaml"), archive("seed\x1b[31m/config.yaml"),
        archive("seed1/config.yaml", compression=zipfile.ZIP_DEFLATED),
    ],
)  # fmt: skip
def test_what_is_no_shelf_is_damaged(tmp_path: Path, data: bytes) -> None:
    first, *_ = runs(tmp_path)
    path = shelf.of(first.parent)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"nusa.runs.zip.xz: damaged"):
        shelf.runs(path)
    (packed,) = find([path]).folders
    with pytest.raises(UserError, match=r"nusa.runs.zip.xz"):
        read(packed)
    assert read(first).is_finished  # a folder counts before it
    assert not (tmp_path / "seed1").exists()


def test_from_within_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, running = runs(tmp_path)
    shutil.rmtree(running)
    monkeypatch.chdir(first.parent)
    (packed,) = pack(Path(), together=True)
    assert packed.absolute() == shelf.of(first.parent)
    shutil.rmtree(first)
    assert find([Path()]).folders == [Path(first.name), Path(second.name)]
    assert read(Path(first.name)).is_finished
    (copied,) = pack(Path(), tmp_path / "out", together=True)
    assert copied == tmp_path / "out" / "nusa.runs.zip.xz"


def test_other_files_of_such_names_are_no_shelves(tmp_path: Path) -> None:
    first, second, running = runs(tmp_path)
    os.mkfifo(tmp_path / "pipe.runs.zip.xz")  # which never ends
    (tmp_path / "folder.runs.zip.xz").mkdir()
    (tmp_path / ".runs.zip.xz").write_bytes(WHOLE)
    assert find([tmp_path]).folders == [first, second, running]


def test_one_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "LARGEST", 10_000)
    path = tmp_path / "a.runs.zip.xz"
    path.write_bytes(lzma.compress(bytes(10_000_000)))
    with pytest.raises(UserError, match="more than 10000 bytes"):
        shelf.runs(path)


@pytest.mark.parametrize("together", [True, False])
def test_nothing_is_unpacked_through_a_link(tmp_path: Path, together: bool) -> None:
    """A stranger's tree, in which a link stands where a run folder would be."""
    first, *_ = runs(tmp_path / "results")
    pack(tmp_path / "results", tmp_path / "packed", together=together)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "packed" / first.relative_to(tmp_path / "results")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    with pytest.raises(UserError, match="a link, through which nothing is written"):
        unpack(tmp_path / "packed")
    assert not list(elsewhere.iterdir())


def test_only_files_of_runs_are_unpacked(tmp_path: Path) -> None:
    _, second, _ = runs(tmp_path / "results")
    (path,) = pack(tmp_path / "results", tmp_path / "packed", together=True)
    held = shelf.runs(path)
    path.write_bytes(shelf.packed({name: {**files, "run.sh": b"x"} for name, files in held.items()}, path))
    made = unpack(tmp_path / "packed", tmp_path / "back")
    assert second.name in {folder.name for folder in made}
    assert not list((tmp_path / "back").rglob("run.sh"))


def test_more_than_one_file_can_hold_is_refused_before_it_is_written(tmp_path: Path) -> None:
    first, *_ = runs(tmp_path)
    (first / "rank.csv").write_bytes(b"0" * (shelf.LARGEST + 1))
    with pytest.raises(UserError, match=r"one file holds at most .*; leave files out"):
        pack(tmp_path, together=True)
    assert not list(tmp_path.rglob("*.xz"))
    assert pack(tmp_path, together=True, without=["rank.csv"])

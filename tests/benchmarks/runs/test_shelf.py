"""Many runs in one file: the same bytes back, read like run folders, and what is said of damaged ones."""

import io
import json
import lzma
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.compare import main as compare
from benchmarks.config.errors import UserError
from benchmarks.runs import shelf
from benchmarks.runs.folder import RunFiles, find
from benchmarks.runs.pack import main, pack, unpack
from benchmarks.runs.read import read
from plotting.draw import draw_all
from plotting.rank import main as figure_of_ranks
from plotting.report import main as report
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
    assert read(second).entropy_rank is None and read(second).rank.empty
    drawn = CliRunner().invoke(figure_of_ranks, [str(tmp_path), "-o", str(tmp_path / "rank.png")])
    assert drawn.exit_code == 2 and "nothing to draw; not drawn (no rank measured): NuSA-CL" in drawn.stderr
    assert CliRunner().invoke(report, [str(tmp_path), "-o", str(tmp_path / "report.html")]).exit_code == 0
    assert read(unpack(tmp_path, tmp_path / "back")[0]).entropy_rank is None  # as its left_out.json says
    shutil.rmtree(tmp_path / "back")
    assert "NuSA-CL" in printed(tmp_path)


def test_what_was_left_out_before_stays_left_out(tmp_path: Path) -> None:
    first, _, _ = runs(tmp_path)
    (packed,) = pack(first, without=["rank.csv"])
    shutil.rmtree(first)
    assert pack(packed, without=["accuracy_seen.csv", "no.csv"]) == [packed]
    with zipfile.ZipFile(packed) as archive:
        assert json.loads(archive.read("left_out.json")) == ["accuracy_seen.csv", "rank.csv"]
    assert read(first).rank.empty


def test_a_packed_run_by_its_folders_name_goes_into_the_target(tmp_path: Path) -> None:
    first, _, _ = runs(tmp_path / "in")
    pack(first)
    shutil.rmtree(first)
    pack(first, tmp_path / "out")
    assert read(tmp_path / "out" / first.name).is_finished


def test_a_zip_that_would_hide_a_new_shelf_and_a_link_are_refused(tmp_path: Path) -> None:
    first, _, _ = runs(tmp_path)
    (archive,) = pack(first)
    with pytest.raises(UserError, match=r"counts before what is packed together; delete it first"):
        pack(first, together=True)
    archive.unlink()
    (tmp_path / "secret").write_text("{}")
    (first / "notes.json").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"notes\.json: a link, which is not packed"):
        pack(first, together=True)


def _zip(path: Path, entries: list[tuple[str, bytes]]) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for name, data in entries:
            archive.writestr(name, data)


@pytest.mark.parametrize("how", ["twice", "below", "large", "name", "version"])
def test_hostile_zip_files_are_left_out_in_a_line(tmp_path: Path, how: str) -> None:
    first, _, _ = runs(tmp_path)
    (path,) = pack(first)
    shutil.rmtree(first)
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    extra = {
        "twice": [("accuracy.csv", entries[0][1])],
        "below": [("x/accuracy.csv", entries[0][1])],
        "large": [("z.csv", bytes(shelf.LARGEST + 1))],
    }
    _zip(path, entries + extra.get(how, []))
    if how in ("name", "version"):
        data = path.read_bytes()
        central = data.rindex(b"PK\x01\x02")
        changed = bytearray(data)
        if how == "name":
            changed[central + 9] |= 0x08  # the name is UTF-8
            changed[central + 46] = 0xFF
        else:
            changed[central + 6] = 76  # the version that is needed
        path.write_bytes(changed)
    if how == "large":
        with pytest.raises(UserError, match="larger than"):
            RunFiles(first).data("z.csv")
    else:
        with pytest.raises(UserError, match="damaged"):
            read(first)
        compared = CliRunner().invoke(compare, [str(tmp_path)])
        assert compared.exit_code == 0 and "NuSA-CL" in compared.stdout and "damaged" in compared.stderr
        with pytest.raises(UserError, match="damaged"):
            unpack(path, tmp_path / "back")


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

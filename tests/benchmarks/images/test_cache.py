"""The decoded-image cache: the same bytes as torchvision's transform, resumable, shared, and never trusted when damaged."""

import errno
import gc
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Lock, Timer
from types import SimpleNamespace

import numpy as np
import open_clip
import psutil
import pytest
import torch
from PIL import Image

from benchmarks.config.errors import UserError
from benchmarks.images import cache as cache_module
from benchmarks.images.cache import CacheFile, check_space
from benchmarks.images.cached import MOST_OPEN, Cached
from benchmarks.images.decode import FromFiles, decode, decode_one, digests
from benchmarks.images.opener import Opener
from benchmarks.images.sets import Images, Split
from benchmarks.runtime import locks
from benchmarks.runtime.locks import HOLDER
from benchmarks.runtime.progress import ProgressBar
from tests.benchmarks.runtime.test_locks import holding
from tests.conftest import ROOT


def pictures(folder: Path, count: int = 7) -> Split:
    """Photographs' sizes and kinds: none is square, some are grey."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    for number in range(count):
        shape = (40 + 9 * number, 60, 3) if number % 3 else (50, 41 + number)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{number}.jpg", quality=90)
    files = sorted(folder.iterdir())

    def fingerprint() -> str:
        return str([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])

    images = Images(
        "a name/with 'signs", count, lambda row: Image.open(files[row]), lambda row: str(files[row]), fingerprint
    )
    return Split(images, np.arange(count), np.zeros(count, dtype=np.int64))


def test_the_cache_holds_what_torchvisions_transform_makes(tmp_path: Path) -> None:
    split = pictures(tmp_path / "pictures")
    transform = open_clip.image_transform(24, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))
    expected = torch.stack([transform(split.images.read(row)) for row in range(len(split))])
    file = CacheFile(tmp_path / "cache", split.images, 24)
    file.fill(split.rows)
    cached = Cached(file, split.rows)
    assert torch.equal(cached[:] / 255, expected)
    assert torch.equal(decode(split, 24) / 255, expected)
    assert torch.equal(FromFiles(split, 24)[2:5] / 255, expected[2:5])
    assert torch.equal(cached[3], cached[:][3])
    taken = split.take(np.array([5, 1, 5]))
    assert torch.equal(Cached(file, taken.rows)[:], cached[:][[5, 1, 5]])
    assert np.array_equal(file.ready(), digests(FromFiles(split, 24)))


def test_only_what_is_needed_is_decoded_and_what_is_there_is_used_again(tmp_path: Path) -> None:
    split = pictures(tmp_path / "pictures")
    file = CacheFile(tmp_path / "cache", split.images, 24)
    decoded: list[int] = []
    file.fill(np.array([4, 1, 4]), lambda: decoded.append(1))
    assert len(decoded) == 2 and file.missing(split.rows).tolist() == [0, 2, 3, 5, 6]
    again = CacheFile(tmp_path / "cache", split.images, 24)
    again.fill(split.rows, lambda: decoded.append(1))
    assert len(decoded) == 7 and not len(again.missing(split.rows))


def test_a_bad_image_is_named_and_those_before_it_are_kept(tmp_path: Path) -> None:
    split = pictures(tmp_path / "pictures")
    (tmp_path / "pictures" / "5.jpg").write_bytes(b"")
    file = CacheFile(tmp_path / "cache", split.images, 24)
    with pytest.raises(UserError, match=r"5\.jpg: not a readable image"):
        file.fill(split.rows)
    assert set(range(5)).isdisjoint(file.missing(split.rows).tolist())


def test_other_data_versions_and_sizes_never_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = pictures(tmp_path / "pictures")
    folders = {CacheFile(tmp_path, split.images, 24).folder, CacheFile(tmp_path, split.images, 25).folder}
    os.utime(tmp_path / "pictures" / "3.jpg", ns=(1, 1))
    folders.add(CacheFile(tmp_path, split.images, 24).folder)
    monkeypatch.setattr(cache_module, "version", lambda package: "99")
    folders.add(CacheFile(tmp_path, split.images, 24).folder)
    assert len(folders) == 4


@pytest.mark.parametrize("name", ["pixels.u8", "digests.u8"])
def test_a_cache_that_was_cut_short_is_built_again(name: str, tmp_path: Path) -> None:
    split = pictures(tmp_path / "pictures")
    file = CacheFile(tmp_path / "cache", split.images, 24)
    file.fill(split.rows)
    whole = Cached(file, split.rows)[:]
    os.truncate(file.folder / name, 10)
    assert len(file.missing(split.rows)) == len(split)
    file.fill(split.rows)
    assert torch.equal(Cached(file, split.rows)[:], whole)


def test_a_run_that_waits_for_another_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other fills two caches one after the other; each is there when it is wanted, and not yet free."""
    monkeypatch.setattr(locks, "SOON", 0)
    splits = [pictures(tmp_path / name) for name in ("some", "more")]
    (tmp_path / "more" / "0.jpg").write_bytes((tmp_path / "more" / "1.jpg").read_bytes())  # other images, another cache
    folders = [CacheFile(tmp_path / "cache", split.images, 24).folder for split in splits]
    for folder in folders:
        folder.mkdir(parents=True)
    holders = [holding(folder) for folder in folders]
    (folders[1] / HOLDER).write_bytes((folders[0] / HOLDER).read_bytes())

    class Bar(ProgressBar):
        def say(self, line: str) -> None:
            super().say(line)
            if line.startswith("waiting"):
                holders[0].communicate("\n")
                Timer(0.5, holders[1].communicate, ["\n"]).start()

    with Bar() as bar:
        assert Opener(24, tmp_path / "cache", bar).fill(splits) == 14
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("waiting"))
    assert line.startswith(f"waiting for process {holders[0].pid}, which has been decoding the same images into ")


def test_killed_while_it_decodes_it_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    """A process that dies after the third image; then as if the power had gone before the second's pixels were on the disk."""
    split = pictures(tmp_path / "pictures")
    code = f"""
import os
from pathlib import Path
from benchmarks.images import cache, decode
from tests.benchmarks.images.test_cache import pictures
split = pictures(Path({str(tmp_path / "pictures")!r}))
decode.threads = lambda: 1
decode_one, done = cache.decode_one, []
def dying(*words):
    done.append(1)
    return decode_one(*words) if len(done) <= 3 else os._exit(9)
cache.decode_one = dying
cache.CacheFile(Path({str(tmp_path / "cache")!r}), split.images, 24).fill(split.rows)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=100, check=False)
    assert done.returncode == 9
    file = CacheFile(tmp_path / "cache", split.images, 24)
    assert file.ready()[1].any() and not file.trusted()
    assert 0 < len(file.missing(split.rows)) < len(split)  # the space that is asked for is what is still to be written
    with file.pixels.open("r+b") as opened:
        opened.seek(file.image_bytes)
        opened.write(bytes(file.image_bytes))
    decoded: list[int] = []
    file.fill(split.rows, lambda: decoded.append(1))
    assert 0 < len(decoded) < len(split)
    assert torch.equal(Cached(file, split.rows)[:], decode(split, 24))
    assert file.trusted() and not len(file.missing(split.rows))


def test_pixels_that_were_damaged_are_found_when_asked_for(tmp_path: Path) -> None:
    split = pictures(tmp_path / "pictures")
    file = CacheFile(tmp_path / "cache", split.images, 24)
    file.distrust()  # nothing is there
    file.fill(split.rows)
    with file.pixels.open("r+b") as opened:
        opened.seek(3 * file.image_bytes)
        opened.write(b"abc")
    file.distrust()
    decoded: list[int] = []
    file.fill(split.rows, lambda: decoded.append(1))
    assert len(decoded) == 1 and torch.equal(Cached(file, split.rows)[:], decode(split, 24))


def test_a_disk_that_takes_half_an_image_leaves_nothing_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a full disk does: a short count, then an error."""
    split = pictures(tmp_path / "pictures")
    file = CacheFile(tmp_path / "cache", split.images, 24)
    write, left, one_by_one = os.pwrite, [4 * (file.image_bytes + 8) + 700], Lock()

    def full(descriptor: int, data: memoryview, place: int) -> int:
        with one_by_one:  # the images are written by several threads, which share what is left
            if not left[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = write(descriptor, data[: left[0]], place)
            left[0] -= written
            return written

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(UserError, match="cannot be written: No space left"):
        file.fill(split.rows)
    monkeypatch.undo()
    assert not file.trusted()
    file.fill(split.rows)
    assert file.trusted() and torch.equal(Cached(file, split.rows)[:], decode(split, 24))


def test_long_names_in_any_letters_make_a_folder(tmp_path: Path) -> None:
    images = replace(pictures(tmp_path / "pictures").images, name="ж語" * 100)
    CacheFile(tmp_path / "cache", images, 24).fill(np.array([0]))


def test_a_picture_too_thin_to_resize_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (65500, 1)).save(tmp_path / "line.png")
    images = Images("thin", 1, lambda row: Image.open(tmp_path / "line.png"), lambda row: "line.png", None)
    with pytest.raises(UserError, match=r"line\.png: not a usable image \(65500 x 1 pixels, so thin"):
        decode_one(images, 0, 224)


def test_too_little_space_is_said_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = pictures(tmp_path / "pictures")
    file = CacheFile(tmp_path / "cache", split.images, 24)
    missing = {file: file.missing(split.rows)}
    assert check_space(tmp_path / "cache", missing) == 7 * 3 * 24 * 24
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(UserError, match=r"more are needed.*--no-cache"):
        check_space(tmp_path / "cache", missing)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    split = pictures(tmp_path / "pictures")
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="the cache cannot be written"):
        CacheFile(tmp_path / "cache", split.images, 24).fill(split.rows)


def test_a_cache_cut_or_changed_while_it_is_read_is_decoded_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = pictures(tmp_path / "pictures", 6)
    right, file = decode(split, 24), CacheFile(tmp_path / "cache", split.images, 24)
    file.fill(split.rows)
    cached = Cached(file, split.rows)
    assert torch.equal(cached[:], right) and not capsys.readouterr().err
    pixels = bytearray(file.pixels.read_bytes())
    pixels[3 * 24 * 24 + 5] ^= 1  # of the second image
    file.pixels.write_bytes(pixels)
    assert torch.equal(cached[1], right[1]) and torch.equal(cached[:], right)
    assert capsys.readouterr().err.count("cut or changed") == 1
    os.truncate(file.pixels, 2 * 3 * 24 * 24 + 7)
    assert torch.equal(cached[:], right) and torch.equal(cached[5], right[5])
    assert not capsys.readouterr().err  # said before


def test_a_link_in_the_cache_is_not_written_through(tmp_path: Path) -> None:
    split = pictures(tmp_path / "pictures", 2)
    file = CacheFile(tmp_path / "cache", split.images, 24)
    precious = tmp_path / "precious"
    for target in (file.pixels, file.digests, file.filling, file.folder / "about.json"):
        precious.write_text("precious")
        file.folder.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(precious)
        file.fill(split.rows)
        assert precious.read_text() == "precious" and torch.equal(Cached(file, split.rows)[:], decode(split, 24))


def many(count: int) -> list[Split]:
    """Splits of a few tiny images, as of a stream of that many tasks."""
    rng = np.random.default_rng(0)
    drawn = [Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)) for _ in range(4)]
    return [
        Split(Images(f"task {task}", 4, drawn.__getitem__, str, lambda: ""), np.arange(4), np.zeros(4, dtype=np.int64))
        for task in range(count)
    ]


def test_many_tasks_hold_few_files_open_and_a_file_that_is_gone_is_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits, process = many(3 * MOST_OPEN), psutil.Process()
    files = [CacheFile(tmp_path / "cache", split.images, 24) for split in splits]
    for file, split in zip(files, splits, strict=True):
        file.fill(split.rows)
    before = process.num_fds()
    opened = [Cached(file, split.rows) for file, split in zip(files, splits, strict=True)]
    for _ in range(2):
        for cached, split in zip(opened, splits, strict=True):
            assert torch.equal(cached[:], decode(split, 24))
            assert process.num_fds() <= before + MOST_OPEN
    assert capsys.readouterr().err == ""
    files[0].pixels.unlink()
    assert torch.equal(opened[0][:], decode(splits[0], 24))
    assert capsys.readouterr().err.startswith(f"{files[0].pixels}: gone, cut or changed; what differs is decoded anew.")
    del opened, cached
    gc.collect()
    assert process.num_fds() <= before

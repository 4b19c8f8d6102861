"""`benchmarks.prepare` on a complete, a partial and a damaged data root, checking, decoding and fetching."""

import http.server
import shutil
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.config.errors import UserError
from benchmarks.datasets.download import download
from benchmarks.datasets.opening import open_dataset
from benchmarks.prepare import main
from benchmarks.streams.mtil import ORDERS
from tests.conftest import write_images
from tests.layouts import accept_layouts, counts, write_all, write_layout


NAMES = ORDERS["I"]


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("complete")
    write_all(root)
    return root


@pytest.fixture(autouse=True)
def _layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    accept_layouts(monkeypatch)


def prepare(root: Path, *words: object, stream: str = "mtil") -> Result:
    return CliRunner().invoke(main, ["--stream", stream, "--data-root", str(root), *map(str, words)])


def lines(result: Result) -> dict[str, str]:
    """The line of each data set."""
    return {line.split()[0]: line for line in result.stdout.splitlines() if line.split()[0] in (*NAMES, "TinyImageNet")}


def snapshot(root: Path) -> set[tuple[Path, int]]:
    return {(path, path.stat().st_mtime_ns) for path in root.rglob("*")}


def test_a_complete_root(complete: Path) -> None:
    before = snapshot(complete)
    done = prepare(complete)
    assert done.exit_code == 0 and not done.stderr
    assert list(lines(done)) == list(NAMES)
    for name, line in lines(done).items():
        wanted = counts(name)
        assert " complete " in line
        assert f"{wanted['train']} training images, {wanted['test']} test images, {wanted['classes']} classes" in line
    assert snapshot(complete) == before


def test_a_partial_root(tmp_path: Path) -> None:
    for name in ("Aircraft", "DTD", "MNIST"):
        write_layout(name, tmp_path)
    done = prepare(tmp_path)
    assert done.exit_code == 2
    found = lines(done)
    assert [name for name in NAMES if " complete " in found[name]] == ["Aircraft", "DTD", "MNIST"]
    missing = [name for name in NAMES if " missing " in found[name]]
    assert len(missing) == 8 and "stanford_cars" in found["StanfordCars"] and "SUN397" in found["SUN397"]
    assert done.stderr == f"error: 8 of 11 are not ready: {', '.join(missing)}\n"
    assert {path.name for path in tmp_path.iterdir()} == {"fgvc-aircraft-2013b", "dtd", "MNIST"}


def test_a_damaged_root(complete: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(complete, root)
    victims = sorted((root / "food-101" / "images").rglob("*.jpg"))
    victims[0].unlink()
    shutil.rmtree(root / "oxford-iiit-pet" / "annotations")
    (root / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"")
    flower = next((root / "flowers-102" / "jpg").iterdir())
    flower.write_bytes(flower.read_bytes()[:40])
    done = prepare(root)
    found = lines(done)
    assert done.exit_code == 2
    assert "extracted only in part" in found["Food"] and str(victims[0]) in found["Food"]
    assert " incomplete " in found["OxfordPet"] and " incomplete " in found["MNIST"]
    assert " complete " in found["Flowers"]  # its file is there; only reading it tells
    cache = tmp_path / "cache"
    checked = prepare(root, "--check", "--cache", cache, "--model", "micro")
    assert checked.exit_code == 2 and f"{flower}: not a readable image" in checked.stdout
    assert checked.stdout.count("\n") == 12  # what is not there is said once, not image by image
    assert not any(path.name.startswith("Food") for path in cache.iterdir())
    plain = prepare(root, "--check", "--no-cache", "--model", "micro")
    assert plain.exit_code == 2 and f"{flower}: not a readable image" in plain.stdout


def test_a_root_or_a_cache_that_cannot_be(complete: Path, tmp_path: Path) -> None:
    done = prepare(tmp_path / "absent")
    assert (
        done.exit_code == 2 and not done.stdout and done.stderr.startswith(f"error: data root {tmp_path / 'absent'}: ")
    )
    file = tmp_path / "file"
    file.write_text("")
    done = prepare(complete, "--check", "--cache", file, stream="cifar100:10")
    assert done.exit_code == 2 and f"{file}: cannot be written" in done.stderr and done.stderr.count("\n") == 1


def test_checking_fills_the_cache_and_goes_on_from_there(complete: Path, tmp_path: Path) -> None:
    words = ("--check", "--cache", tmp_path, "--model", "micro")
    first = prepare(complete, *words, stream="cifar100:10")
    assert first.exit_code == 0 and "all good" in first.stdout and "decoding" in first.stderr
    again = prepare(complete, *words, stream="cifar100:10")
    assert again.exit_code == 0 and "decoding" not in again.stderr
    assert "read 0 images, all good, 300 were cached before" in again.stdout
    pixels = next(tmp_path.rglob("pixels.u8"))
    with pixels.open("r+b") as opened:
        opened.write(b"abc")
    mended = prepare(complete, *words, stream="cifar100:10")
    assert "read 1 images, all good, 299 were cached before" in mended.stdout


def test_streams_without_published_data(tmp_path: Path) -> None:
    write_images(tmp_path, {"ants": 2, "bees": 3})
    done = prepare(tmp_path, "--check", "--no-cache", stream=f"folder:{tmp_path}")
    assert done.exit_code == 0, done.stderr
    assert "12 training images, 8 test images, 2 classes" in done.stdout and "read 50 images, all good" in done.stdout
    (tmp_path / "bees" / "test" / "class_1" / "0.png").write_bytes(b"")
    done = prepare(tmp_path, "--check", "--no-cache", stream=f"folder:{tmp_path}")
    assert done.exit_code == 2 and "class_1/0.png: not a readable image" in done.stdout


@pytest.mark.parametrize("stream", ["mtill", "mtil-split:1", "repeat:2:nothing"])
def test_wrong_streams(stream: str, tmp_path: Path) -> None:
    done = prepare(tmp_path, stream=stream)
    assert done.exit_code == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def pack_aircraft(tmp_path: Path, target: Path) -> None:
    write_layout("Aircraft", tmp_path / "packed")
    with tarfile.open(target, "w:gz") as archive:
        archive.add(tmp_path / "packed" / "fgvc-aircraft-2013b", "fgvc-aircraft-2013b")


def test_fetching_puts_a_data_set_in_its_place_whole_or_not_at_all(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    archive = folder / "fgvc-aircraft-2013b.tar.gz"
    pack_aircraft(tmp_path, archive)
    monkeypatch.setattr("torchvision.datasets.FGVCAircraft._URL", f"{address}/{archive.name}")
    whole, root = archive.read_bytes(), tmp_path / "root"
    archive.write_bytes(whole[: len(whole) // 2])  # a connection that broke off
    with pytest.raises(UserError, match="Aircraft: cannot be fetched"):
        download("Aircraft", root)
    assert [path.name for path in root.iterdir()] == [".download-Aircraft"]
    archive.write_bytes(whole)
    download("Aircraft", root)
    assert [path.name for path in root.iterdir()] == ["fgvc-aircraft-2013b"]
    assert len(open_dataset("Aircraft", root).train) == counts("Aircraft")["train"]
    with pytest.raises(UserError, match="move it away first"):
        download("Aircraft", root)


def test_what_cannot_be_fetched_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.DTD._URL", "http://127.0.0.1:9/dtd.tar.gz")
    done = prepare(tmp_path, "--download", stream="repeat:2:mtil")
    found = lines(done)
    assert done.exit_code == 2
    assert "cannot be fetched" in found["DTD"] and "DATA_ROOT" in found["DTD"]
    assert "torchvision cannot fetch it" in found["StanfordCars"]
    assert not any("--download" in line for line in found.values())


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that fetches everything must not reach the real archives, some of which are 40 GB."""
    if "cannot_be_fetched" in request.node.name:
        import urllib.request

        def refuse(request: object, *arguments: object, **options: object) -> None:
            raise OSError("no network in this test")

        monkeypatch.setattr(urllib.request, "urlopen", refuse)

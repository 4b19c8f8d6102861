"""What tests share: a tiny CLIP with random weights, a folder of tiny images, and the real command."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image


if TYPE_CHECKING:
    import torch


# One thread each, for the tests are shared among processes, and figures are compared bit for bit; before numpy and torch load.
os.environ["OMP_NUM_THREADS"] = "1"
if sys.dont_write_bytecode:
    # Compiling the sources of torch, open_clip and Avalanche anew takes each process 10 s: here they are kept, out of the way.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "bytecode")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A cache of decoded images for this test run alone, of all its processes and of the commands that they start.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["NUSA_BENCH_CACHE"] = tempfile.mkdtemp(prefix="nusa-bench-tests-")
    atexit.register(shutil.rmtree, os.environ["NUSA_BENCH_CACHE"], ignore_errors=True)

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 1},
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):  # not its keywords, which hold the names of folders too
                item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> "torch.device":
    """One device after the other, with the arithmetic of a run by default: float32 without TF32."""
    import torch

    from strategies.numerics.precision import set_tf32

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    set_tf32(False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)  # tests compare runs bit for bit
    return torch.device(request.param)


@pytest.fixture
def signals_heard() -> Iterator[None]:
    """No signal is ignored: a test run that nohup or a script's `&` began ignores some, and what it starts does too."""
    standard: dict[Any, Any] = {
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGINT: signal.default_int_handler,
    }
    before = {number: signal.signal(number, handler) for number, handler in standard.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in open_clip's local-dir layout with a CLIP of random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("tiny-clip")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": {}}))
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def write_images(folder: Path, domains: dict[str, int], size: int = 20) -> Path:
    """A folder stream: for each domain, this many classes of noisy single-coloured images."""
    rng = np.random.default_rng(0)
    for domain, classes in domains.items():
        for label in range(classes):
            colour = rng.integers(0, 256, 3)
            for split, count in (("train", 6), ("test", 4)):
                place = folder / domain / split / f"class_{label}"
                place.mkdir(parents=True)
                for number in range(count):
                    pixels = np.clip(colour + rng.normal(0, 30, (size, size + 4, 3)), 0, 255)
                    Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three domains of 2, 3 and 4 classes."""
    return write_images(tmp_path_factory.mktemp("images"), {"ants": 2, "bees": 3, "cats": 4})


def command(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """`python -m benchmarks.run WORDS` as a user would, in a process of its own."""
    environment = {**os.environ, **dict(options.pop("env", {}))}  # type: ignore[call-overload]
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
        **options,  # type: ignore[call-overload]
    )


def interrupt_at(patch: pytest.MonkeyPatch, name: str, count: int) -> None:
    """From here on a run in this process is interrupted, as by Ctrl-C, once it has put this file in its place so many times."""
    replace, left = os.replace, [None] * count

    def interrupting(source: str, target: Path) -> None:
        replace(source, target)
        if Path(target).name == name and left:
            left.pop()
            if not left:
                raise KeyboardInterrupt

    patch.setattr(os, "replace", interrupting)

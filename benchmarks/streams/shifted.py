"""Any other stream with all its images changed, written shifted:KIND:STREAM; KIND is colours, inverted or noise.

Training and test images are changed alike, labels and prompts are not. `colours` turns red into green, green into blue and
blue into red; `inverted` makes each value v of 0..255 to 255 - v; `noise` adds to each value a Gaussian of standard deviation
60, drawn once for each image, and cuts the sum to 0..255. So the same tasks lie further from what a CLIP was pretrained on.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.config.errors import UserError
from benchmarks.config.recipes import SHIFTED
from benchmarks.config.registry import nearest
from benchmarks.config.settings import Splits
from benchmarks.images.sets import Images, Split
from benchmarks.streams.base import DATA_ROOT, Plan, Task
from benchmarks.streams.named import build_plan


DEVIATION = 60.0  # of `noise`, on the scale 0..255
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # of pixels (H, W, 3) uint8 in RGB


def _noise(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noisy = pixels + rng.normal(0.0, DEVIATION, pixels.shape)
    return np.asarray(noisy.round().clip(0, 255).astype(np.uint8))


KINDS: dict[str, Change] = {
    "colours": lambda pixels, _: pixels[:, :, [2, 0, 1]],
    "inverted": lambda pixels, _: 255 - pixels,
    "noise": _noise,
}


def changed(images: Images, kind: str) -> Images:
    """Returns the images of a data set, each changed when it is read.

    Args:
        images: the images.
        kind: a key of `KINDS`.
    """
    seed = int.from_bytes(hashlib.sha256(images.name.encode()).digest()[:8], "big")

    def read(index: int) -> Image.Image:
        pixels = np.asarray(images.read(index).convert("RGB"))
        return Image.fromarray(np.ascontiguousarray(KINDS[kind](pixels, np.random.default_rng([seed, index]))))

    def fingerprint() -> str:
        assert images.fingerprint is not None
        return f"{kind} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()} {images.fingerprint()}"

    cached = None if images.fingerprint is None else fingerprint
    return replace(images, name=f"{images.name}-{kind}", read=read, fingerprint=cached)


def _split(split: Split, kind: str) -> Split:
    return replace(split, images=changed(split.images, kind))


def _open(inner: Plan, kind: str, chosen: tuple[str, ...]) -> tuple[Task, ...]:
    return tuple(
        replace(
            task,
            train=_split(task.train, kind),
            test=_split(task.test, kind),
            source=replace(task.source, split=f"{task.source.split}; images changed: {kind}"),
        )
        for task in inner.open(chosen)
    )


def build(argument: str, data_root: Path = Path(DATA_ROOT), splits: Splits = "zscl") -> Plan:
    """Returns another stream with all its images changed. Nothing is read from disk yet.

    Args:
        argument: the text after the colon of the stream's name: "KIND:STREAM", such as "inverted:micro".
        data_root: the folder of the published data sets.
        splits: whose splits, class names and templates the data sets have: `zscl` or `coop`.

    Raises:
        UserError: the kind is unknown, no stream is named or an unknown one, or one that is shifted or repeated itself. The
            plan's `open` raises it if data are missing.
    """
    kind, _, stream = argument.partition(":")
    if kind not in KINDS or not stream:
        raise UserError(
            f"--stream {SHIFTED}:{argument}: expected {SHIFTED}:KIND:STREAM, as in {SHIFTED}:inverted:micro, with one of "
            f"{', '.join(KINDS)}{nearest(kind, list(KINDS))}"
        )
    if stream.partition(":")[0] in (SHIFTED, "repeat"):
        raise UserError(
            f"--stream {SHIFTED}:{argument}: takes no stream that is shifted or repeated; repeat:N:{SHIFTED}:..."
        )
    inner = build_plan(stream, data_root, splits)
    return replace(
        inner,
        protocol=f"{inner.protocol}; all images changed: {kind}",
        open=partial(_open, inner, kind),
    )

"""Any picture that Pillow opens, as RGB with eight bits a channel; what it can't open is named."""

import struct
import warnings
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from benchmarks.config.errors import UnreadableImage
from benchmarks.images.sets import Images


# What Pillow's decoders raise on broken files. MemoryError: a header that promises more than there is; Warning: only where
# warnings are errors.
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError, RuntimeError,
    struct.error, zlib.error, Image.DecompressionBombError, Warning,
)  # fmt: skip
# Pictures with more pixels are refused before they are decoded: from here on Pillow takes them for attacks.
MOST_PIXELS = 178_956_970

# Half of that and more makes Pillow warn, which can't be turned off for one thread alone. So the limit is kept here instead.
Image.MAX_IMAGE_PIXELS = None
# About metadata, for instance "Corrupt EXIF data", of which nothing is read; pixels that can't be read are errors all the same.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def _eight_bits(grey: Image.Image) -> Image.Image:
    """Of 16-bit greys the upper eight bits: Pillow would clip them at 255."""
    values = np.asarray(grey)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit grey values outside 0 to 65535; save it with 8 or 16 bits")
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))


def to_rgb(picture: Image.Image) -> Image.Image:
    """Grey, palette, CMYK and transparent pictures as Pillow's (and torchvision's) `convert("RGB")` makes them.

    Transparency is dropped, EXIF rotation is not applied, of several frames the first is taken. 16-bit greys keep their upper
    eight bits; integers of 32 bits count as 16-bit greys.

    Raises:
        ValueError: pixels that no rule turns into eight bits: floats, and integers outside 0 to 65535.
    """
    if picture.mode == "F":
        raise ValueError("float pixels, which have no agreed range; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):
        return _eight_bits(picture).convert("RGB")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")  # the same colours; straight to RGB, Pillow warns
    return picture.convert("RGB")


def _reason(error: BaseException) -> str:
    """In one line, without the file's name, which Pillow and the system may repeat."""
    if isinstance(error, UnidentifiedImageError):
        return "no picture format that Pillow knows, or an empty or broken file"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def read_rgb(images: Images, row: int) -> Image.Image:
    """Image `row` as RGB (see `to_rgb`), its file closed.

    Raises:
        UnreadableImage: naming the file of one that can't be read, is cut short, or has more than MOST_PIXELS pixels.
    """
    try:
        with images.read(row) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels, more than {MOST_PIXELS}; make it smaller")
            return to_rgb(picture)
    except UNREADABLE as error:
        raise UnreadableImage(f"{images.where(row)}: not a readable image ({_reason(error)})") from error

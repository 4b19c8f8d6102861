"""Reads any image that Pillow can open as RGB with eight bits per channel; errors name the file."""

import struct
import warnings
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from benchmarks.config.errors import UnreadableImage
from benchmarks.images.sets import Images


# What Pillow's decoders raise on broken files. MemoryError: a header that states a wrong size; Warning: only if warnings
# are errors.
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError, RuntimeError,
    struct.error, zlib.error, Image.DecompressionBombError, Warning,
)  # fmt: skip
# Images with more pixels are refused before they are decoded: the limit above which Pillow assumes an attack.
MOST_PIXELS = 178_956_970

# Pillow warns from half of that on, which cannot be turned off for one thread alone. So this module applies the limit.
Image.MAX_IMAGE_PIXELS = None
# Warnings about metadata, such as "Corrupt EXIF data", do not matter here; unreadable pixels are errors in any case.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def _eight_bits(grey: Image.Image) -> Image.Image:
    """Returns the upper eight bits of 16-bit grey values, which Pillow would clip at 255."""
    values = np.asarray(grey)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit grey values outside 0 to 65535; save it with 8 or 16 bits")
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))


def to_rgb(picture: Image.Image) -> Image.Image:
    """Returns an image as RGB with eight bits per channel, like Pillow's `convert("RGB")` but for 16-bit grey values.

    Transparency is dropped, EXIF rotation is not applied, and of several frames the first is used. Grey values of 16
    bits keep their upper eight bits; 32-bit integers are treated as 16-bit grey values.

    Args:
        picture: the image, in any mode of Pillow.

    Raises:
        ValueError: the pixels are floats, or integers outside 0 to 65535.
    """
    if picture.mode == "F":
        raise ValueError("float pixels, which have no agreed range; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):
        return _eight_bits(picture).convert("RGB")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")  # the same colours; straight to RGB, Pillow warns
    return picture.convert("RGB")


def _reason(error: BaseException) -> str:
    """Returns the error's message in one line, without the file's name, which Pillow and the system may repeat."""
    if isinstance(error, UnidentifiedImageError):
        return "no picture format that Pillow knows, or an empty or broken file"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def read_rgb(images: Images, row: int) -> Image.Image:
    """Returns one image as RGB with eight bits per channel, in its original size, and closes its file.

    Args:
        images: the images as their owner stores them.
        row: the index of the image among them.

    Raises:
        UnreadableImage: the image cannot be read, is cut short, or has more than 178 956 970 pixels (`MOST_PIXELS`);
            the message names its file.
    """
    try:
        with images.read(row) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels, more than {MOST_PIXELS}; make it smaller")
            return to_rgb(picture)
    except UNREADABLE as error:
        raise UnreadableImage(f"{images.where(row)}: not a readable image ({_reason(error)})") from error

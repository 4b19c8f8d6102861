"""Draws one object as a grey mask: 255 where it is, 0 elsewhere."""

from functools import cache, lru_cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.micro.names import FAMILIES, GLYPHS


def _turn(degrees: float) -> np.ndarray:
    """Returns a (2, 2) rotation for row vectors, clockwise in the image."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, s], [-s, c]])


def _around(start: float, stop: float, points: int, radius: float = 1.0) -> np.ndarray:
    """Returns points (points, 2) along an arc; angles in degrees clockwise from the right."""
    angles = np.radians(np.linspace(start, stop, points))
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star() -> np.ndarray:
    points = _around(-90, 270, 11)[:10]
    points[1::2] *= 0.42
    return points


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 24)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([np.sin(t) ** 3, -y / 16], axis=1)


def _cross(arm: float = 0.33) -> np.ndarray:
    quarter = np.array([(arm, -1), (arm, -arm), (1, -arm)])
    return np.concatenate([quarter @ _turn(degrees) for degrees in (0, 90, 180, 270)])


# Outlines within the unit circle, y pointing down.
POLYGONS: dict[str, np.ndarray] = {
    "circle": _around(0, 360, 24),
    "square": 0.85 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]),
    "triangle": _around(-90, 150, 3),
    "star": _star(),
    "cross": _cross(),
    "heart": _heart(),
    "diamond": np.array([(0, -1), (0.65, 0), (0, 1), (-0.65, 0)]),
    "hexagon": _around(0, 300, 6),
    "crescent": np.concatenate([_around(60, 300, 16), _around(290, 70, 14, 0.9) + np.array([0.35, 0])]),
    "arch": np.concatenate([_around(180, 360, 14), _around(360, 180, 12, 0.5)]) + np.array([0, 0.4]),
    "arrow": np.array([(-1, -0.25), (0.1, -0.25), (0.1, -0.7), (1, 0), (0.1, 0.7), (0.1, 0.25), (-1, 0.25)]),
}


def polygon(name: str, side: int, degrees: float, outline: bool) -> Image.Image:
    """Returns the mask of a polygon: a grey image (mode `L`) of side x side pixels, 255 on the polygon and 0 elsewhere.

    Args:
        name: `arrow` (to the right) or a class of the family `shapes`, such as `circle` or `star`; the keys of
            `POLYGONS`.
        side: height and width of the mask, in pixels.
        degrees: rotation clockwise.
        outline: whether to draw the outline only.
    """
    mask = Image.new("L", (side, side))
    points = [tuple(point) for point in side / 2 + (side / 2 - 1) * POLYGONS[name] @ _turn(degrees)]
    if outline:
        ImageDraw.Draw(mask).line([*points, *points[:2]], fill=255, width=max(2, side // 10), joint="curve")
    else:
        ImageDraw.Draw(mask).polygon(points, fill=255)
    return mask


@cache
def _font_file(name: str) -> bytes:
    return (files("matplotlib") / "mpl-data" / "fonts" / "ttf" / name).read_bytes()


@lru_cache(maxsize=16)  # each has a copy of its file, of half a megabyte, and there are hundreds of sizes
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(BytesIO(_font_file(name)), size)


def glyph(character: str, font: str, side: int, degrees: float) -> Image.Image:
    """Returns the mask of one character: a grey image (mode `L`) of side x side pixels, 255 on the character.

    It is 0 elsewhere, and between both at edges. The character is centred by its bounding box.

    Args:
        character: the character.
        font: file name of one of the fonts that matplotlib installs, such as `DejaVuSans.ttf`.
        side: height and width of the mask, in pixels.
        degrees: rotation clockwise.
    """
    face = _font(font, round(1.3 * side))  # a capital is about 0.7 of the font's size
    left, top, right, bottom = face.getbbox(character)
    mask = Image.new("L", (side, side))
    corner = ((side - left - right) / 2, (side - top - bottom) / 2)
    ImageDraw.Draw(mask).text(corner, character, fill=255, font=face)
    return mask.rotate(-degrees, Image.Resampling.BILINEAR)


def clock(hour: int, side: int, degrees: float) -> Image.Image:
    """Returns the mask of a clock at the full hour: a grey image (mode `L`) of side x side pixels.

    It is 255 on the rim and the two hands, and 0 elsewhere.

    Args:
        hour: the full hour, 0 (twelve o'clock) to 11, to which the short hand points.
        side: height and width of the mask, in pixels.
        degrees: rotation of the whole clock, clockwise.
    """
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    middle, width = side / 2, max(2, side // 12)
    draw.ellipse((1, 1, side - 2, side - 2), outline=255, width=width)
    for angle, length, thickness in ((0.0, 0.8, width), (30.0 * hour, 0.55, 2 * width)):
        x, y = np.array([length * middle, 0.0]) @ _turn(angle + degrees - 90)
        draw.line((middle, middle, middle + x, middle + y), fill=255, width=thickness)
    return mask


def texture(label: int, side: int, degrees: float, period: float, rng: np.random.Generator) -> Image.Image:
    """Returns the mask of a pattern that fills the image: a grey image (mode `L`) of side x side pixels, 255 or 0.

    Args:
        label: the class within the family `textures`, an index into `benchmarks.micro.names.FAMILIES["textures"]`.
        side: height and width of the mask, in pixels; for speckles a multiple of 4.
        degrees: rotation clockwise; speckles are not rotated.
        period: distance after which the pattern repeats, in pixels; speckles have none.
        rng: the source of the random numbers, for the pattern's position or the speckles.
    """
    steps = np.arange(side) / period
    grid = np.stack(np.meshgrid(steps, steps), axis=-1) @ _turn(-degrees) + rng.random(2)
    x, y = grid[..., 0], grid[..., 1]
    name = FAMILIES["textures"][label]
    if name == "horizontal stripes":
        on = y % 1 < 0.5
    elif name == "vertical stripes":
        on = x % 1 < 0.5
    elif name == "diagonal stripes":
        on = (x + y) / np.sqrt(2) % 1 < 0.5
    elif name == "checks":
        on = (x % 1 < 0.5) ^ (y % 1 < 0.5)
    elif name == "dots":
        on = (x % 1 - 0.5) ** 2 + (y % 1 - 0.5) ** 2 < 0.09
    elif name == "grid":
        on = (x % 1 < 0.25) | (y % 1 < 0.25)
    elif name == "waves":
        on = (y + 0.35 * np.sin(2 * np.pi * x)) % 1 < 0.5
    elif name == "bricks":
        on = (y % 1 > 0.25) & ((x / 1.5 + 0.5 * (np.floor(y) % 2)) % 1 > 0.15)
    elif name == "rings":
        on = np.hypot(x - x.mean(), y - y.mean()) % 1 < 0.5
    else:
        coarse = rng.random((side // 4, side // 4)) < 0.35
        on = np.kron(coarse, np.ones((4, 4), bool))[:side, :side]
    return Image.fromarray(on.astype(np.uint8) * 255)


def subject(kind: str, label: int, side: int, degrees: float, font: str, outline: bool) -> Image.Image:
    """Returns the mask of one object: a grey image (mode `L`) of side x side pixels, 255 on the object and 0 elsewhere.

    Args:
        kind: its family: `shapes`, `arrows`, `clocks`, `digits`, `letters` or `symbols`.
        label: the class within the family, an index into `benchmarks.micro.names.FAMILIES[kind]`.
        side: height and width of the mask, in pixels.
        degrees: rotation clockwise.
        font: for digits, letters and symbols, the file name of one of the fonts that matplotlib installs, such as
            `DejaVuSans.ttf`; not used otherwise.
        outline: for shapes and arrows, whether to draw the outline only; not used otherwise.
    """
    if kind == "shapes":
        return polygon(FAMILIES["shapes"][label], side, degrees, outline)
    if kind == "arrows":
        return polygon("arrow", side, degrees + 45 * label, outline)
    if kind == "clocks":
        return clock(label, side, degrees)
    return glyph(GLYPHS[kind][label], font, side, degrees)

"""Draws a whole picture: ground, clutter, subject, light, blur and noise."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.micro import masks
from benchmarks.micro.names import COLOURS, FAMILIES
from benchmarks.micro.shift import Range, Shift


SIDE = 32  # of the finished picture, in pixels
CANVAS = 2 * SIDE  # drawn at twice the size, for smooth edges
PALETTE = np.array(list(COLOURS.values()), dtype=np.float64)


@dataclass(frozen=True)
class Scene:
    """What a picture shows; everything else about it is up to the shift.

    Attributes:
        kind: the family of the things drawn.
        label: which of the family's classes.
        colour, ground: indices into COLOURS.
        count: how many things.
        place: index into the positions, or None for the middle.
    """

    kind: str
    label: int
    colour: int
    ground: int
    count: int = 1
    place: int | None = None


def sample(family: str, label: int, shift: Shift, rng: np.random.Generator) -> Scene:
    """A scene of a class; what the class leaves open is drawn by chance."""
    kind = shift.things if family in ("counting", "positions") else family
    if family == "colours":
        kind = ("shapes", "letters", "digits", "symbols")[rng.integers(4)]
    colour = label if family == "colours" else int(rng.integers(len(PALETTE)))
    far = np.flatnonzero(np.linalg.norm(PALETTE - PALETTE[colour], axis=1) >= shift.contrast)
    return Scene(
        kind=kind,
        label=label if kind == family else int(rng.integers(len(FAMILIES[kind]))),
        colour=colour,
        ground=int(rng.choice(far)),
        count=label + 1 if family == "counting" else 1,
        place=label if family == "positions" else None,
    )


def _tinted(colour: int, shift: Shift, rng: np.random.Generator) -> tuple[int, ...]:
    off = rng.uniform(-shift.tint, shift.tint, 3)
    return tuple(int(value) for value in np.clip(PALETTE[colour] + off, 0, 255))


def _strokes(picture: Image.Image, number: Range, width: Range, rng: np.random.Generator) -> None:
    """Lines, each with a blob at one end or without, in colours of their own."""
    draw = ImageDraw.Draw(picture)
    for _ in range(round(rng.uniform(*number))):
        x, y = rng.uniform(0, CANVAS, 2)
        dx, dy = rng.uniform(-CANVAS / 3, CANVAS / 3, 2)
        fill = tuple(int(value) for value in rng.uniform(0, 255, 3))
        thickness = rng.uniform(*width)
        if rng.random() < 0.5 and thickness > 3:
            draw.ellipse((x, y, x + 2 * thickness, y + 2 * thickness), fill=fill)
        else:
            draw.line((x, y, x + dx, y + dy), fill=fill, width=round(thickness))


def _cells(scene: Scene, rng: np.random.Generator) -> tuple[list[int], float]:
    """Which of the nine places hold a thing, and the things' size against that of a lone one in the middle."""
    if scene.place is not None:
        return [scene.place], 0.5
    if scene.count > 1:
        return rng.choice(9, scene.count, replace=False).tolist(), 0.4
    return [4], 1.0


def _mask(scene: Scene, shift: Shift, rng: np.random.Generator) -> Image.Image:
    """(CANVAS, CANVAS): the scene's things, or its texture."""
    degrees = rng.uniform(*shift.rotation)
    size = rng.uniform(*shift.size)
    if scene.kind == "textures":
        return masks.texture(scene.label, CANVAS, degrees, CANVAS * size / 3, rng)
    cells, share = _cells(scene, rng)
    mask = Image.new("L", (CANVAS, CANVAS))
    font, outline = shift.fonts[rng.integers(len(shift.fonts))], bool(rng.random() < shift.outline)
    side = max(8, round(CANVAS * size * share))
    thing = masks.subject(scene.kind, scene.label, side, degrees, font, outline)
    for cell in cells:
        wander = rng.uniform(-1, 1, 2) * shift.wander * share
        row, column = divmod(cell, 3)
        x, y = (0.5 + shift.spread * (np.array([column, row]) - 1) + wander) * CANVAS - side / 2
        mask.paste(thing, (round(x), round(y)), thing)
    return mask


def finish(picture: Image.Image, shift: Shift, rng: np.random.Generator) -> Image.Image:
    """Blur, light and noise on a picture of the final size."""
    blurred = picture.filter(ImageFilter.GaussianBlur(rng.uniform(*shift.blur)))
    pixels = np.asarray(blurred, dtype=np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(*shift.shade)
    ramp = np.linspace(-1, 1, SIDE)
    light = 1 + strength * (np.cos(angle) * ramp[None] + np.sin(angle) * ramp[:, None]) / np.sqrt(2)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(*shift.noise)
    return Image.fromarray(np.clip(pixels * light[..., None] * np.array(shift.cast) + noise, 0, 255).astype(np.uint8))


def render(scene: Scene, shift: Shift, rng: np.random.Generator) -> Image.Image:
    """(SIDE, SIDE) RGB."""
    picture = Image.new("RGB", (CANVAS, CANVAS), _tinted(scene.ground, shift, rng))
    _strokes(picture, shift.clutter, (2, 6), rng)
    picture.paste(_tinted(scene.colour, shift, rng), mask=_mask(scene, shift, rng))
    _strokes(picture, shift.scratches, (1, 2), rng)
    return finish(picture.resize((SIDE, SIDE), Image.Resampling.BOX), shift, rng)

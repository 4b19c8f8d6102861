"""Draws a whole image: background, clutter, objects, light, blur and noise."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.micro import masks
from benchmarks.micro.names import COLOURS, FAMILIES
from benchmarks.micro.shift import Range, Shift


SIDE = 32  # of the final image, in pixels
CANVAS = 2 * SIDE  # drawn at twice the size, for smooth edges
PALETTE = np.array(list(COLOURS.values()), dtype=np.float64)


@dataclass(frozen=True)
class Scene:
    """What an image shows. How it is drawn (position, size, rotation, tint, light, noise) is drawn at random later.

    Attributes:
        kind: the family of the objects, a key of `benchmarks.micro.names.FAMILIES`, such as `shapes`.
        label: their class within the family, an index into `FAMILIES[kind]`.
        colour, ground: colours of objects and background, as indices into the twelve of
            `benchmarks.micro.names.COLOURS`.
        count: number of equal objects, 1 to 7.
        place: for the family `positions`, where the object is: an index into the nine of `FAMILIES["positions"]`. Else
            None: a single object is in the middle, several are on random places.
    """

    kind: str
    label: int
    colour: int
    ground: int
    count: int = 1
    place: int | None = None


def sample(family: str, label: int, shift: Shift, rng: np.random.Generator) -> Scene:
    """Returns a random scene that shows a class; everything that the class does not determine is drawn, for instance
    the colour of a digit, or which objects are counted.

    Args:
        family: the family of images, a key of `benchmarks.micro.names.FAMILIES`, such as `digits` or `counting`.
        label: the class within the family, an index into `FAMILIES[family]`.
        shift: how images vary: it names the family of the objects that are counted or placed, and the least contrast.
        rng: the source of the random numbers.
    """
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
    """Draws lines and blobs in random colours."""
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
    """Returns which of the nine places hold an object, and the objects' size relative to a single one in the middle."""
    if scene.place is not None:
        return [scene.place], 0.5
    if scene.count > 1:
        return rng.choice(9, scene.count, replace=False).tolist(), 0.4
    return [4], 1.0


def _mask(scene: Scene, shift: Shift, rng: np.random.Generator) -> Image.Image:
    """Returns the mask (CANVAS, CANVAS) of the scene's objects or texture."""
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
    """Returns a copy of an image with blur, uneven light, a colour cast and noise, (32, 32) RGB.

    Args:
        picture: the image, (32, 32) RGB.
        shift: the ranges from which blur, light and noise are drawn, and the colour cast.
        rng: the source of the random numbers.
    """
    blurred = picture.filter(ImageFilter.GaussianBlur(rng.uniform(*shift.blur)))
    pixels = np.asarray(blurred, dtype=np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(*shift.shade)
    ramp = np.linspace(-1, 1, SIDE)
    light = 1 + strength * (np.cos(angle) * ramp[None] + np.sin(angle) * ramp[:, None]) / np.sqrt(2)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(*shift.noise)
    return Image.fromarray(np.clip(pixels * light[..., None] * np.array(shift.cast) + noise, 0, 255).astype(np.uint8))


def render(scene: Scene, shift: Shift, rng: np.random.Generator) -> Image.Image:
    """Returns the image of a scene, (32, 32) RGB.

    Args:
        scene: what it shows: objects and colours.
        shift: how images vary: the ranges from which position, size, rotation, tint, light and noise are drawn.
        rng: the source of the random numbers.
    """
    picture = Image.new("RGB", (CANVAS, CANVAS), _tinted(scene.ground, shift, rng))
    _strokes(picture, shift.clutter, (2, 6), rng)
    picture.paste(_tinted(scene.colour, shift, rng), mask=_mask(scene, shift, rng))
    _strokes(picture, shift.scratches, (1, 2), rng)
    return finish(picture.resize((SIDE, SIDE), Image.Resampling.BOX), shift, rng)

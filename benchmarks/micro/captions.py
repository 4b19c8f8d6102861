"""The pretraining data: an image of any family, with a caption that describes it in more or less detail."""

import numpy as np
from PIL import Image

from benchmarks.micro.names import COLOURS, FAMILIES
from benchmarks.micro.render import Scene, render, sample
from benchmarks.micro.seeds import generator
from benchmarks.micro.shift import PRETRAINING


# Fields: name (of the class), colour, thing (the kind of object that is drawn).
PHRASES: dict[str, tuple[str, ...]] = {
    "arrows": (
        "an arrow pointing {name}", "a {colour} arrow pointing {name}", "an arrow that points {name}",
        "an arrow to the {name}", "{name}",
    ),
    "clocks": (
        "a clock showing {name}", "a {colour} clock showing {name}", "a clock at {name}", "the time is {name}", "{name}",
    ),
    "colours": (
        "something {name}", "a {name} thing", "a {name} {thing}", "the colour {name}", "a {name} object", "{name}",
    ),
    "counting": (
        "{name} {colour} things", "{name} {thing}s", "{name} {colour} {thing}s", "{name} objects", "a group of {name}",
        "{name} things",
    ),
    "digits": (
        "the digit {name}", "the number {name}", "a {colour} digit {name}", "the digit {name} in {colour}", "a {name}",
        "{name}",
    ),
    "letters": (
        "the letter {name}", "a {colour} letter {name}", "the letter {name} in {colour}", "the capital letter {name}",
        "an {name}",
    ),
    "positions": (
        "a {thing} at the {name}", "a {colour} {thing} at the {name}", "something at the {name}",
        "a thing in the {name}", "the {name}",
    ),
    "shapes": ("a {name}", "a {colour} {name}", "the shape of a {name}", "a {name} in {colour}", "one {colour} {name}"),
    "symbols": ("a {name}", "the symbol {name}", "a {colour} {name}", "the {name} in {colour}", "a printed {name}"),
    "textures": (
        "{name}", "a pattern of {name}", "{colour} {name}", "a surface with {name}", "the texture {name}",
    ),
}  # fmt: skip
# Families that take longer to learn occur more often.
SHARES = {"colours": 0.5, "textures": 0.5, "arrows": 1.5, "clocks": 1.5, "positions": 1.5, "letters": 2.0}
FRAMES = ("{}", "{}", "{}.", "a picture of {}", "a picture of {}.", "an image of {}.", "a drawing of {}", "this is {}.")
THINGS = {"digits": "digit", "letters": "letter", "symbols": "sign"}


def describe(family: str, label: int, scene: Scene, rng: np.random.Generator) -> str:
    """Returns a caption of a scene in one of many wordings, drawn at random, such as `a red circle.`

    Args:
        family: the family of images, a key of `benchmarks.micro.names.FAMILIES`, such as `shapes`.
        label: the class within the family, an index into `FAMILIES[family]`.
        scene: what the image shows: objects and colours.
        rng: the source of the random choices.
    """
    colours = tuple(COLOURS)
    phrase = PHRASES[family][rng.integers(len(PHRASES[family]))].format(
        name=FAMILIES[family][label],
        colour=colours[scene.colour],
        thing=FAMILIES["shapes"][scene.label] if scene.kind == "shapes" else THINGS.get(scene.kind, ""),
    )
    if rng.random() < 0.1:
        phrase += f" on a {colours[scene.ground]} background"
    return FRAMES[rng.integers(len(FRAMES))].format(phrase)


def pair(index: int, seed: int) -> tuple[str, Image.Image]:
    """Returns the caption and the image (32, 32) RGB of one pair of the micro CLIP's pretraining set.

    Args:
        index: number of the pair in the set, from 0; a pair does not depend on the others.
        seed: the seed of the whole set. Equal index and seed give the same pair.
    """
    rng = generator("pretraining", seed, index)
    shares = np.array([SHARES.get(family, 1.0) for family in FAMILIES])
    family = list(FAMILIES)[rng.choice(len(shares), p=shares / shares.sum())]
    label = int(rng.integers(len(FAMILIES[family])))
    scene = sample(family, label, PRETRAINING, rng)
    return describe(family, label, scene, rng), render(scene, PRETRAINING, rng)

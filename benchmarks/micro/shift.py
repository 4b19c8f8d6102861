"""How much images vary: the only difference between pretraining and the domains of the stream `micro`."""

from dataclasses import dataclass


Range = tuple[float, float]

PLAIN = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "STIXGeneral.ttf", "cmss10.ttf")
SERIF = ("DejaVuSerif.ttf", "DejaVuSerif-Italic.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf")
TYPEWRITER = ("DejaVuSansMono.ttf", "DejaVuSansMono-BoldOblique.ttf", "DejaVuSansMono-Bold.ttf")


@dataclass(frozen=True)
class Shift:
    """The random variations of an image. From each range (lowest, highest) a value is drawn uniformly for each image.

    Attributes:
        size: the object's width as a share of the image's, 0 to 1.
        spread: distance between neighbouring places, as a share of the image's width.
        wander: maximal distance of an object from its place, as a share of the image's width.
        rotation: degrees clockwise.
        tint: maximal deviation of each colour channel from its pure value, 0..255.
        contrast: minimal distance in RGB between object and background, 0..441.
        clutter: number of strokes and blobs behind the object.
        scratches: number of thin strokes across the object.
        outline: share of shapes and arrows drawn as outlines, 0 to 1.
        cast: factors of the light on the red, green and blue channel.
        shade: strength of a light that decreases across the image, 0..1.
        blur: radius of a Gaussian blur, in pixels of the image.
        noise: standard deviation of the pixels' noise, 0..255.
        things: the family of the objects that are counted or placed, a key of `FAMILIES`.
        fonts: file names of matplotlib's fonts, one of which is drawn at random.
    """

    size: Range = (0.45, 1.0)
    spread: float = 0.3
    wander: float = 0.08
    rotation: Range = (-8.0, 8.0)
    tint: float = 20.0
    contrast: float = 150.0
    clutter: Range = (0, 2)
    scratches: Range = (0, 1)
    outline: float = 0.2
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shade: Range = (0.0, 0.3)
    blur: Range = (0.0, 0.8)
    noise: Range = (0.0, 20.0)
    things: str = "shapes"
    fonts: tuple[str, ...] = PLAIN + SERIF[:1] + TYPEWRITER[:1]


PRETRAINING = Shift()

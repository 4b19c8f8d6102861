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
        size: the width of a single object as a share of the image's, 0 to 1; objects that are counted or placed are 0.4
            or 0.5 times as wide. A texture's period is a third of it.
        spread: distance between neighbouring places, as a share of the image's width; objects lie on 3 x 3 places.
        wander: maximal distance of an object from its place in each direction, as a share of the image's width; less
            for small objects, as for `size`.
        rotation: degrees clockwise.
        tint: maximal deviation of each colour channel from its pure value, 0..255.
        contrast: minimal distance in RGB between the pure colours of object and background, 0..441.
        clutter: number of strokes and blobs behind the object.
        scratches: number of thin strokes across the object.
        outline: share of shapes and arrows drawn as outlines, 0 to 1.
        cast: factors by which the light multiplies the red, green and blue channel of every image.
        shade: strength of a light that decreases across the image, 0..1: a corner is at most `1 + shade` times as
            bright as the middle.
        blur: radius of a Gaussian blur, in pixels of the final image.
        noise: standard deviation of the pixels' noise, on the scale 0..255.
        things: the family of the objects that are counted or placed, a key of `benchmarks.micro.names.FAMILIES`.
        fonts: file names of fonts that matplotlib installs; one is drawn for each image, for digits, letters and
            symbols.
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

"""How far pictures vary: the one place where pretraining and the domains of the stream differ."""

from dataclasses import dataclass


Range = tuple[float, float]

PLAIN = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "STIXGeneral.ttf", "cmss10.ttf")
SERIF = ("DejaVuSerif.ttf", "DejaVuSerif-Italic.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf")
TYPEWRITER = ("DejaVuSansMono.ttf", "DejaVuSansMono-BoldOblique.ttf", "DejaVuSansMono-Bold.ttf")


@dataclass(frozen=True)
class Shift:
    """The nuisances of a picture. A range is drawn from evenly, once for each picture.

    Attributes:
        size: the subject's width as a share of the picture's.
        spread: distance between neighbouring places, as a share of the picture's width.
        wander: how far the subject may be off its place, as a share of the picture's width.
        rotation: degrees clockwise.
        tint: how far each channel of a colour may be off its pure value, 0..255.
        contrast: least distance in RGB between subject and ground, 0..441.
        clutter: number of strokes and blobs behind the subject.
        scratches: number of thin strokes across the subject.
        outline: share of shapes and arrows drawn as outlines.
        cast: factor that the light puts on each channel.
        shade: strength of a light that falls off across the picture, 0..1.
        blur: radius of a Gaussian blur, in pixels.
        noise: standard deviation of the pixels' noise, 0..255.
        things: the family of the things that are counted or placed.
        fonts: file names among Matplotlib's fonts.
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

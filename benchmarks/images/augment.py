"""Training images with a random crop, as ZSCL and its family train; cut from the files at every reading, not from the cache.

A crop takes 0.9 to 1 of the whole image at its own aspect ratio, which the cached square no longer has. So with augmentation
the training images are decoded anew for each step, by all cores while the model computes.
"""

import math

import numpy as np
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import pil_to_tensor, resized_crop

from benchmarks.images.decode import FromFiles
from benchmarks.images.image_io import read_rgb
from strategies.training.loader import draw


SCALE, RATIO = (0.9, 1.0), (3 / 4, 4 / 3)  # ZSCL's, and torchvision's default for the ratio
TRIES = 10


def crop_box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of torchvision's RandomResizedCrop: an area and a ratio (uniform in its logarithm) are drawn
    until the box fits, at most TRIES times; then the largest centred box whose ratio is allowed.
    """
    for _ in range(TRIES):
        area = width * height * rng.uniform(*SCALE)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    return (height - h) // 2, (width - w) // 2, h, w


class Cropped(FromFiles):
    """RandomResizedCrop (bicubic) of a split's images, a `Pixels`; each crop a pure function of `draw` and the image.

    Read outside the loop, where nothing is drawn, they are as in a test.
    """

    def one(self, place: int) -> Tensor:
        """Image (3, S, S)."""
        drawn = draw.get()
        if drawn is None:
            return super().one(place)
        picture = read_rgb(self.split.images, int(self.split.rows[place]))
        box = crop_box(*picture.size, np.random.default_rng((*drawn, place)))
        cropped = resized_crop(picture, *box, [self.size, self.size], InterpolationMode.BICUBIC)
        return pil_to_tensor(cropped).contiguous()

"""Training images with a random crop, as in ZSCL's training code; they are decoded from their files, not from the
cache.

A crop has 0.9 to 1 of the area of the whole image at its own aspect ratio, which the cached square no longer has. So
with augmentation, training images are decoded again for each step, on all cores while the model computes.
"""

import math

import numpy as np
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import pil_to_tensor, resized_crop

from benchmarks.images.decode import FromFiles
from benchmarks.images.image_io import read_rgb
from strategies.training.loader import draw


SCALE, RATIO = (0.9, 1.0), (3 / 4, 4 / 3)  # ZSCL's scale, and torchvision's default ratio
TRIES = 10


def crop_box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Returns top, left, height and width of a random crop, in pixels, as torchvision's RandomResizedCrop draws it.

    An area and an aspect ratio (uniform in its logarithm) are drawn until the box fits, at most 10 times; otherwise the
    result is the largest centred box with an allowed ratio. The area is 0.9 to 1 of the image's, the ratio 3/4 to 4/3.

    Args:
        width, height: size of the image in pixels.
        rng: the generator of the random numbers.
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
    """A split's images, randomly cropped and resized to squares (bicubic) at each reading.

    Item i is (3, size, size) uint8, a slice (B, 3, size, size). The crop depends only on the image's index and on the
    state that the training loader sets for each image it reads (`strategies.training.loader.draw`). Outside of training
    there is no such state, and images are resized and centre cropped, as for testing.

    Args:
        split: the images.
        size: side of the resulting images, in pixels.
    """

    def one(self, place: int) -> Tensor:
        """Returns one image of the split as (3, size, size) uint8: randomly cropped in training, else centre cropped.

        Args:
            place: the index of the image in the split.

        Raises:
            UnreadableImage: the image cannot be read; the message names its file.
        """
        drawn = draw.get()
        if drawn is None:
            return super().one(place)
        picture = read_rgb(self.split.images, int(self.split.rows[place]))
        box = crop_box(*picture.size, np.random.default_rng((*drawn, place)))
        cropped = resized_crop(picture, *box, [self.size, self.size], InterpolationMode.BICUBIC)
        return pil_to_tensor(cropped).contiguous()

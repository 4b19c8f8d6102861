"""Features of images that come again and again to an encoder that does not change, each computed once."""

from collections.abc import Callable
from copy import deepcopy
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor


class Once:
    """An image encoder that remembers the features of every image it was given, and computes none a second time.

    Images are told apart by a digest (128 bits) of their pixels, so a new crop of an image is a new image. Nothing is
    forgotten while the object lives: it keeps D values for each image.

    Args:
        encode: returns the features (B, D) of images (B, 3, S, S) uint8. Those of an image must depend on nothing but
            the image.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor]) -> None:
        self.encode = encode
        self._found: dict[bytes, Tensor] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Once":
        return Once(deepcopy(self.encode, memo))  # a copy of a model may change: it begins without features

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Returns features (B, D) of B > 0 images (B, 3, S, S) uint8, without gradients, on the device of `encode`'s."""
        names = [blake2b(image.numpy(), digest_size=16).digest() for image in images.cpu().contiguous()]
        new = {name: place for place, name in enumerate(names) if name not in self._found}
        if new:
            places = list(new.values())
            rows = self.encode(images if len(places) == len(images) else images[places])  # (number of new images, D)
            self._found.update(zip(new, rows, strict=True))
        return torch.stack([self._found[name] for name in names])

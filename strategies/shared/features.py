"""Features of the images of a whole data set, of which only a batch is in memory at a time."""

from typing import Any

import torch
from torch import Tensor

from strategies.clip.classifier import ClipClassifier


BATCH = 128  # images


@torch.no_grad()
def image_features(model: ClipClassifier, images: Any) -> Tensor:
    """Returns unit-length features (N, D) of N images, on the model's device.

    Args:
        model: the classifier whose image tower is used, in the mode that it is in.
        images: a data set whose items begin with an image (3, S, S) uint8.
    """
    batches = (range(first, min(first + BATCH, len(images))) for first in range(0, len(images), BATCH))
    pixels = (torch.stack([images[i][0] for i in batch]) for batch in batches)  # (B, 3, S, S) each
    return torch.cat([model.encode_images(some.to(model.mean.device)) for some in pixels])

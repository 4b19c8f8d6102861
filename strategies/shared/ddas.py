"""DDAS: decides which task an image is from, by the auto-encoder that reconstructs the image's features best.

Source: MoE-Adapters, arXiv 2403.11549. There is one auto-encoder for each task, F -> 100 (ReLU) -> F (sigmoid). It
learns to reconstruct the features (F,) in 0..1, from a frozen extractor, of the task's images. An image's error is the
mean squared difference.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Literal

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from strategies.clip.classifier import ClipClassifier


HIDDEN = 100
WEIGHT_DECAY = 1e-4
DECAY_EVERY = 10  # epochs after which the learning rate is divided by ten


class AutoEncoder(nn.Module):
    """An auto-encoder of image features: linear F -> 100 with ReLU, then linear 100 -> F with sigmoid.

    Args:
        features: F, the number of features of an image; their values are in 0..1.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(features, HIDDEN), nn.Linear(HIDDEN, features)

    def errors(self, features: Tensor) -> Tensor:
        """Returns the reconstruction error (B,) of each of B images: the mean squared difference of its F features.

        Args:
            features: (B, F), in 0..1.
        """
        return (self.decode(self.encode(features).relu()).sigmoid() - features).square().mean(dim=1)


def train_autoencoder(features: Iterable[Tensor], epoch: int, lr: float) -> AutoEncoder:
    """Returns an auto-encoder trained to reconstruct features, by Adam with weight decay 1e-4; it is frozen.

    The loss is the mean squared difference. The initial weights are drawn on the CPU from torch's global generator.

    Args:
        features: the batch (B, F) of each optimiser step, in 0..1, on the device where the training is done; at least
            one batch.
        epoch: the number of steps in an epoch.
        lr: the learning rate in the first ten epochs; after every ten epochs it is divided by ten.
    """
    batches = iter(features)
    first = next(batches)
    model = AutoEncoder(first.shape[1]).to(first.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=DECAY_EVERY * epoch, gamma=0.1)
    for batch in chain([first], batches):
        optimizer.zero_grad()
        model.errors(batch).mean().backward()
        optimizer.step()
        schedule.step()
    return model.requires_grad_(False)


@torch.no_grad()
def decide(
    encoders: Mapping[int, AutoEncoder],
    features: Tensor,
    decision: Literal["batch", "image"],
    threshold: float | None,
    otherwise: int,
) -> Tensor:
    """Returns the route of each image, (B,) int64: that of the auto-encoder with the smallest error on its features.

    An error is the mean squared difference between features and reconstruction.

    Args:
        encoders: the auto-encoders, by route (an integer, such as the index of a task).
        features: (B, F), in 0..1.
        decision: `batch` for one decision by the mean errors of all B images, `image` for one decision for each image.
        threshold: images whose smallest error is larger take the route `otherwise`; None for no such limit.
        otherwise: the route of images above the threshold.
    """
    errors = torch.stack([encoder.errors(features) for encoder in encoders.values()])  # (A, B)
    if decision == "batch":
        errors = errors.mean(dim=1, keepdim=True).expand_as(errors)
    best, which = errors.min(dim=0)  # (B,)
    routes = torch.tensor(list(encoders), device=features.device)[which]
    return routes if threshold is None else routes.masked_fill(best > threshold, otherwise)


class ClipFeatures:
    """CLIP itself as extractor of the features by which MoE-Adapters' auto-encoders decide on an image's task (DDAS).

    The features are sigmoid(sqrt(D) * unit image feature), D values for each image. The factor sqrt(D) makes the mean
    square of the sigmoid's inputs 1, whatever the model. Calling the extractor with images (B, 3, H, W) uint8 returns
    their features (B, D) in 0..1.

    Args:
        classifier: the model whose image tower is used, with the weights that it has at the call.
    """

    def __init__(self, classifier: ClipClassifier) -> None:
        self.classifier = classifier

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Returns features (B, D) in 0..1 of images (B, 3, H, W), uint8."""
        unit = self.classifier.encode_images(images)
        return (unit * unit.shape[1] ** 0.5).sigmoid()


class AlexNetFeatures:
    """AlexNet as extractor of the features by which MoE-Adapters' auto-encoders decide on an image's task (DDAS).

    The features are the sigmoid of its last convolution, before that layer's ReLU and pooling. Calling the extractor
    with images (B, 3, H, W) uint8 returns their features (B, F) in 0..1. Images of 224 pixels have F = 256 * 13 * 13.

    Args:
        file: torchvision's AlexNet weights, as a state dict saved by torch or safetensors.
        mean, std: (3, 1, 1), the mean and standard deviation of the channels that normalise images in 0..1; those of
            CLIP are used.

    Raises:
        OSError: the file does not exist, or does not hold AlexNet's weights.
    """

    def __init__(self, file: Path, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std = mean, std
        if not file.is_file():
            wrong = "a folder, not a file" if file.exists() else "no such file"
            raise FileNotFoundError(f"--alexnet {file}: {wrong}; expected torchvision's AlexNet weights")
        with torch.device("meta"):
            self.layers: nn.Sequential = torchvision.models.alexnet().features[:11]
        try:
            if file.suffix == ".safetensors":
                state = load_file(file)
            else:
                state = torch.load(file, map_location="cpu", weights_only=True)
            own = {name.removeprefix("features."): state[f"features.{name}"] for name in self.layers.state_dict()}
            self.layers.load_state_dict(own, assign=True)
        except Exception as error:  # the readers raise all kinds of errors on a foreign file
            raise OSError(
                f"--alexnet {file}: not torchvision's AlexNet weights; expected alexnet-owt-7be5be79.pth or its tensors"
            ) from error
        self.layers.to(mean.device).requires_grad_(False)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Returns features (B, F) in 0..1 of images (B, 3, H, W), uint8."""
        scaled = (images.to(self.mean.dtype) / 255 - self.mean) / self.std
        return self.layers(scaled).flatten(1).sigmoid()

"""DDAS: which task an image is from, told by the auto-encoder that reconstructs its frozen features best.

An auto-encoder for each task, F -> 100 (ReLU) -> F (sigmoid), learns to reconstruct the features (F,) in 0..1 of the task's
images; the error of an image is the mean squared difference.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from strategies.clip.classifier import ClipClassifier


HIDDEN = 100
WEIGHT_DECAY = 1e-4


class AutoEncoder(nn.Module):
    """F -> 100 -> F."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(features, HIDDEN), nn.Linear(HIDDEN, features)

    def errors(self, features: Tensor) -> Tensor:
        """Features (B, F) to the mean squared error of each image (B,)."""
        return (self.decode(self.encode(features).relu()).sigmoid() - features).square().mean(dim=1)


def train_autoencoder(features: Tensor, steps: int, batch: int, lr: float) -> AutoEncoder:
    """Adam on features (N, F), in batches that go through all of them again and again, each time in another order.

    Start and order are drawn on the CPU, from torch's generator.
    """
    model = AutoEncoder(features.shape[1]).to(features.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=WEIGHT_DECAY)
    epochs = -(-steps * batch // len(features))
    rows = torch.cat([torch.randperm(len(features)) for _ in range(epochs)])
    for each in rows.split(batch)[:steps]:
        optimizer.zero_grad()
        model.errors(features[each.to(features.device)]).mean().backward()
        optimizer.step()
    return model.requires_grad_(False)


@torch.no_grad()
def decide(
    encoders: Mapping[int, AutoEncoder],
    features: Tensor,
    decision: Literal["batch", "image"],
    threshold: float | None,
    otherwise: int,
) -> Tensor:
    """Features (B, F) to routes (B,) int64: that of the auto-encoder with the smallest error.

    Args:
        encoders: by route.
        decision: `batch`: one decision by the mean errors of all B images; `image`: one for each alone.
        threshold: `otherwise` where the smallest error is larger; None for never.
    """
    errors = torch.stack([encoder.errors(features) for encoder in encoders.values()])  # (A, B)
    if decision == "batch":
        errors = errors.mean(dim=1, keepdim=True).expand_as(errors)
    best, which = errors.min(dim=0)  # (B,)
    routes = torch.tensor(list(encoders), device=features.device)[which]
    return routes if threshold is None else routes.masked_fill(best > threshold, otherwise)


class ClipFeatures:
    """sigmoid(sqrt(D) * unit image feature) of CLIP as it is; the factor makes the mean square 1, whatever the model."""

    def __init__(self, classifier: ClipClassifier) -> None:
        self.classifier = classifier

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) uint8 to (B, D) in 0..1."""
        unit = self.classifier.encode_images(images)
        return (unit * unit.shape[1] ** 0.5).sigmoid()


class AlexNetFeatures:
    """sigmoid of what AlexNet's last convolution gives, before its ReLU and pooling: 256 x 13 x 13 for 224 pixels.

    Args:
        file: torchvision's AlexNet weights, as a state dict of torch or safetensors.
        mean, std: (3, 1, 1), normalisation; CLIP's.

    Raises:
        OSError: no such file, or not AlexNet's weights.
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
        except Exception as error:  # whatever the readers make of somebody's file
            raise OSError(
                f"--alexnet {file}: not torchvision's AlexNet weights; expected alexnet-owt-7be5be79.pth or its tensors"
            ) from error
        self.layers.to(mean.device).requires_grad_(False)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) uint8 to (B, F) in 0..1."""
        scaled = (images.to(self.mean.dtype) / 255 - self.mean) / self.std
        return self.layers(scaled).flatten(1).sigmoid()

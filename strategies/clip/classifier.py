"""CLIP as a classifier over the prompts of many tasks, in the form that Avalanche's strategies expect."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from avalanche.models import MultiTaskModule
from torch import Tensor, nn

from strategies.clip import prompts as texts
from strategies.clip.activation import fuse
from strategies.clip.attention import spare_copies


class Routing(Protocol):
    """How a method answers some images with one set of weights and others with another, unseen by whoever evaluates."""

    def choose(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W), uint8, as they are evaluated together, to the number of the route (B,) int64 of each."""
        ...

    def use(self, route: int, rows: Tensor) -> None:
        """From now on the model computes both towers as this route does.

        Args:
            rows: (B,) bool, which of the images of the last choice take it: the image tower gets these, in their order.
        """
        ...


class ClipClassifier(MultiTaskModule):
    """Cosine between an image's feature and each class prompt's, times the logit scale.

    Training uses a task's first template, evaluation the normalised mean over all its templates (Radford et al. 2021; ZSCL).
    The task label is the task's index in the stream; class labels are local to the task. Works under this project's
    template and under Avalanche's own strategies.

    Args:
        clip: an open_clip model.
        prompts: for each task its tokens (K templates, C classes, L).
        mean, std: normalisation of the three channels, for images in 0..1.

    Attributes:
        routing: set by a method that has several answers; None for all others.
        low: what the towers compute in where the hardware gains from it (bfloat16), weights and features staying float32.
    """

    mean: Tensor
    std: Tensor
    known_train_tasks_labels: set[int]

    def __init__(self, clip: nn.Module, prompts: Sequence[Tensor], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.clip: Any = clip
        self.clip.logit_scale.requires_grad_(False)
        fuse(clip)
        spare_copies(clip)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        for task, tokens in enumerate(prompts):
            self.register_buffer(f"tokens_{task}", tokens, persistent=False)
        self.class_counts = [tokens.shape[1] for tokens in prompts]
        self.lengths = [texts.length(clip, tokens) for tokens in prompts]  # positions that have to be computed
        self.firsts = [  # for each task the first one with the same prompts: where a stream repeats its tasks, an earlier turn
            next(other for other, first in enumerate(prompts) if torch.equal(first, tokens)) for tokens in prompts
        ]
        self.routing: Routing | None = None
        self.low: torch.dtype | None = None
        self._features: dict[tuple[int, int], Tensor] = {}  # by route and task

    def tokens(self, task: int) -> Tensor:
        """(K, C, L) int64, as the tokenizer made them."""
        return getattr(self, f"tokens_{task}")

    def cut_tokens(self, task: int) -> Tensor:
        """(K, C, L') int64, without the padding behind the task's longest prompt where it changes nothing."""
        return self.tokens(task)[..., : self.lengths[task]]

    def encode_images(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W), uint8, at the model's size, to unit features (B, D)."""
        return F.normalize(self.embed_images(images), dim=-1)

    def embed_images(self, images: Tensor) -> Tensor:
        """As `encode_images`, but of the length that the model gives them."""
        # On the model's device, so that a quarter of the bytes travel; the arithmetic is torchvision's ToTensor and Normalize.
        scaled = (images.to(self.mean.dtype) / 255 - self.mean) / self.std
        with self._autocast():
            return self.clip.encode_image(scaled).to(self.mean.dtype)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.mean.device.type, self.low, enabled=self.low is not None)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Tokens (N, L) to unit features (N, D); L as `strategies.clip.prompts.length` allows."""
        with self._autocast():
            return F.normalize(texts.encode(self.clip, tokens).to(self.mean.dtype), dim=-1)

    def training_features(self, task: int) -> Tensor:
        """Unit text features (C, D) of the first template, recomputed each time: the text tower may be learning."""
        return self.encode_texts(self.cut_tokens(task)[0])

    @torch.no_grad()
    def evaluation_features(self, task: int, route: int = 0) -> Tensor:
        """Unit text features (C, D): normalised mean of the unit features of all templates. Kept until `train()`.

        Args:
            route: the one that the model computes with now.
        """
        task = self.firsts[task]
        if (route, task) not in self._features:
            each = torch.stack([self.encode_texts(tokens) for tokens in self.cut_tokens(task)])  # (K, C, D)
            self._features[route, task] = F.normalize(each.mean(dim=0), dim=-1)
        return self._features[route, task]

    def forward_single_task(self, x: Tensor, task_label: int) -> Tensor:
        """Logits (B, C) over the classes of one task."""
        if self._learning():
            features = self.training_features(task_label)  # before the images: dropout draws for the texts first
            return self.clip.logit_scale.exp() * self.encode_images(x) @ features.T
        return self._evaluation_logits(x, [task_label])

    def _learning(self) -> bool:
        # Also in evaluation mode where gradients are wanted: EWC differentiates there, and features kept without gradients
        # would leave the text tower without importance.
        return self.training or torch.is_grad_enabled()

    def forward_all_tasks(self, x: Tensor) -> dict[int, Tensor]:
        """For each task seen in training its logits (B, C). Avalanche's own version encodes the images for each task."""
        scaled = self.clip.logit_scale.exp() * self.encode_images(x)  # (B, D)
        features = self.training_features if self._learning() else self.evaluation_features
        return {task: scaled @ features(task).T for task in self.known_train_tasks_labels}

    def forward(self, x: Tensor, task_labels: Tensor | int | None) -> Any:
        """Logits (B, C), unpadded for a batch of one task; a mixed batch is padded with the dtype's minimum.

        Avalanche's own version pads every batch with zeros, which gives classes that do not exist a share of the softmax.
        Without task labels: a dict of the logits of every task seen in training.
        """
        if task_labels is None:
            return self.forward_all_tasks(x)
        if isinstance(task_labels, int):
            return self.forward_single_task(x, task_labels)
        present = task_labels.unique().tolist()
        if len(present) == 1:
            return self.forward_single_task(x, present[0])
        width = max(self.class_counts[task] for task in present)
        out = x.new_full((len(x), width), torch.finfo(self.mean.dtype).min, dtype=self.mean.dtype)  # (B, width)
        for task in present:
            rows = task_labels == task
            out[rows, : self.class_counts[task]] = self.forward_single_task(x[rows], task)
        return out

    @torch.no_grad()
    def union_logits(self, images: Tensor) -> Tensor:
        """Evaluation: logits (B, sum of C) over the classes of all tasks side by side, each task's with its own prompts."""
        return self._evaluation_logits(images, range(len(self.class_counts)))

    def _evaluation_logits(self, images: Tensor, tasks: Sequence[int]) -> Tensor:
        """Logits (B, sum of C) over the classes of these tasks, each image's as its route computes them."""
        if self.routing is None:
            return self._route_logits(images, tasks, route=0)
        routes = self.routing.choose(images)  # (B,)
        out = torch.empty(len(images), sum(self.class_counts[task] for task in tasks), device=self.mean.device)
        for route in routes.unique().tolist():
            rows = routes == route
            self.routing.use(route, rows)
            out[rows] = self._route_logits(images[rows], tasks, route)
        return out

    def _route_logits(self, images: Tensor, tasks: Sequence[int], route: int) -> Tensor:
        features = torch.cat([self.evaluation_features(task, route) for task in tasks])
        return self.clip.logit_scale.exp() * self.encode_images(images) @ features.T

    def train(self, mode: bool = True) -> "ClipClassifier":
        self._features.clear()
        return super().train(mode)

    def adaptation(self, experience: Any) -> None:
        """Only remembers the tasks seen: the prompts are the heads, so nothing grows."""
        if self.training:
            self.known_train_tasks_labels = self.known_train_tasks_labels | set(experience.task_labels)

"""Fine-tuning that a frozen teacher holds back: ZSCL's distillation (arXiv 2303.06628), which LwF, LwF-VR and iCaRL share.

At every step a batch of B reference images goes through student and teacher. With N reference texts, all features of unit
length, and the logit scale c:

    student logits  S = c * x_student @ y_teacher^T        teacher logits  T = c * x_teacher @ y_teacher^T        (B, N)
    loss = cross-entropy + w * distill(S, T) + w * distill(S^T, T^T)

The texts' features are the teacher's on both sides. So the distillation moves the image tower only, and the features can be
computed once for a teacher instead of at every step.
"""

from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import RandomSampler

from strategies.base import FullPlugin
from strategies.clip.classifier import ClipClassifier
from strategies.clip.prompts import length
from strategies.training.loader import Loader, threads


TEXTS = 256  # encoded at once


def distill(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of softmax(student / T) under softmax(teacher / T), times T squared; mean over rows of logits (B, N)."""
    wanted = F.softmax(teacher / temperature, dim=1)
    return F.cross_entropy(student / temperature, wanted) * temperature**2


def frozen_copy(classifier: ClipClassifier) -> ClipClassifier:
    """A teacher that shares no storage with the student."""
    return deepcopy(classifier).requires_grad_(False).eval()


@torch.no_grad()
def text_features(teacher: ClipClassifier, tokens: Tensor) -> Tensor:
    """Tokens (N, L) to the teacher's unit features (N, D)."""
    short = tokens[:, : length(teacher.clip, tokens)]  # (N, L')
    return torch.cat([teacher.encode_texts(some.to(teacher.mean.device)) for some in short.split(TEXTS)])


class _Images:
    """Images alone, without random crops, in the form that `Loader` reads."""

    def __init__(self, images: Any) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        item = self.images[index]
        return item if isinstance(item, Tensor) else item[0]

    @staticmethod
    def collate_fn(items: list[Tensor]) -> list[Tensor]:
        return [torch.stack(items)]


class DistillationPlugin(FullPlugin):
    """A method says in `make_teacher`, `reference_tokens` and `reference_data` who teaches what over which texts and images."""

    data_parallel = False  # half of its loss compares the images of a batch with each other

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.teacher: ClipClassifier | None = None  # None: nothing is distilled in this task
        self.texts = torch.empty(0)  # (N, D) the teacher's features of the reference texts
        self._batches: Any = None

    def make_teacher(self, strategy: Any) -> ClipClassifier | None:
        """Who teaches in the coming task: by default the model as it is at its start."""
        return frozen_copy(strategy.model)

    def reference_tokens(self, strategy: Any) -> Tensor:
        """(N, L) int64: by default the task's prompts, first template."""
        return strategy.model.tokens(strategy.experience.task_label)[0]

    def reference_data(self, strategy: Any) -> Any:
        """What the reference images are drawn from: by default the task's training set, seen as in a test."""
        return strategy.adapted_dataset

    def make_texts(self, strategy: Any, teacher: ClipClassifier) -> Tensor:
        """(N, D) features of the reference texts."""
        return text_features(teacher, self.reference_tokens(strategy))

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        self.teacher = self.make_teacher(strategy)
        if self.teacher is not None:
            self.texts = self.make_texts(strategy, self.teacher)

    def before_training_epoch(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self.teacher is not None:
            self._batches = iter(self._loader(strategy))

    def _loader(self, strategy: Any) -> Loader:
        """As many batches as the epoch has, of the same size, reshuffled whenever all images have been seen."""
        data = _Images(self.reference_data(strategy))
        number = len(strategy.dataloader) * strategy.train_mb_size
        order = torch.Generator().manual_seed(int(torch.randint(2**62, ())))  # drawn from the task's own generator
        sampler = RandomSampler(data, num_samples=number, generator=order)
        pin = strategy.device.type == "cuda"
        return Loader(data, sampler, strategy.train_mb_size, seed=None, threads=threads(strategy), pin=pin)

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self.teacher is None:
            return
        (images,) = next(self._batches)
        images = images.to(strategy.device, non_blocking=True)  # (B, 3, H, W)
        scale, temperature = strategy.model.clip.logit_scale.exp(), self.settings.temperature
        with torch.no_grad():
            teacher = scale * self.teacher.encode_images(images) @ self.texts.T  # (B, N)
        student = scale * strategy.model.encode_images(images) @ self.texts.T  # (B, N)
        both = distill(student, teacher, temperature) + distill(student.T, teacher.T, temperature)
        strategy.loss = strategy.loss + self.settings.distillation * both

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self._batches is not None:
            self._batches.close()  # its threads
        self.teacher, self._batches = None, None

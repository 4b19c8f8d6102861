"""Fine-tuning with distillation from a frozen teacher: the losses that ZSCL, LwF, LwF-VR and iCaRL share.

Source: ZSCL, arXiv 2303.06628, and its code, which runs the other three with the same losses.

At every step a batch of B auxiliary images goes through student and teacher. With N auxiliary texts, all features of
unit length, and the logit scale c:

    student logits  S = c * x_student @ y_teacher^T        teacher logits  T = c * x_teacher @ y_teacher^T        (B, N)
    loss = cross-entropy + w * distill(S, T) + w * distill(S^T, T^T)

The text features are the teacher's in both. So the distillation moves the image tower only, and the text features are
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
from strategies.training.loader import Loader, Unlabelled, threads


TEXTS = 256  # texts that are encoded at once


def distill(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Returns the distillation loss, a scalar: cross-entropy of the student's softmax under the teacher's, times T^2.

    The target is softmax(teacher / T), the prediction softmax(student / T), both over the columns; the mean is over the
    rows.

    Args:
        student, teacher: logits (B, N), for instance of B images over N texts.
        temperature: T, above 0.
    """
    wanted = F.softmax(teacher / temperature, dim=1)
    return F.cross_entropy(student / temperature, wanted) * temperature**2


def frozen_copy(classifier: ClipClassifier) -> ClipClassifier:
    """Returns a frozen copy of a model in evaluation mode, to be a teacher; it shares no storage with the model.

    Args:
        classifier: the model to copy.
    """
    teacher = deepcopy(classifier).requires_grad_(False).eval()
    teacher.images_repeat = True  # its images are read without augmentation
    return teacher


@torch.no_grad()
def text_features(teacher: ClipClassifier, tokens: Tensor) -> Tensor:
    """Returns the teacher's unit-length features (N, D) of N texts.

    Args:
        teacher: the model whose text tower is used.
        tokens: (N, L) int64, the texts.
    """
    short = tokens[:, : length(teacher.clip, tokens)]  # (N, L')
    return torch.cat([teacher.encode_texts(some.to(teacher.mean.device)) for some in short.split(TEXTS)])


class DistillationPlugin(FullPlugin):
    """Base of methods that fine-tune all parameters with distillation from a teacher, on auxiliary images and texts.

    With S and T the logits (B, N) of student and teacher for B images over N texts, distill(S, T) + distill(S^T, T^T)
    is added to the cross-entropy, times the setting `distillation`. Here distill is the cross-entropy under the
    teacher's softmax at the setting `temperature`, times the square of that. A subclass chooses the teacher in
    `make_teacher`, the texts in `reference_tokens` and the images in `reference_data`. By default they are those of
    LwF: the model before the task, and the task's own prompts and images.

    Attributes:
        teacher: the teacher of the current task; None between tasks, and where there is no distillation.
        texts: (N, D), the teacher's unit-length features of the auxiliary texts.
    """

    data_parallel = False  # half of the loss compares the images of a batch with each other

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.teacher: ClipClassifier | None = None
        self.texts = torch.empty(0)
        self._batches: Any = None

    def make_teacher(self, strategy: Any) -> ClipClassifier | None:
        """Returns the teacher of the coming task, or None for no distillation.

        By default it is a frozen copy of the model before the task.

        Args:
            strategy: the Avalanche strategy that trains, at the current experience.
        """
        return frozen_copy(strategy.model)

    def reference_tokens(self, strategy: Any) -> Tensor:
        """Returns the tokens (N, L) int64 of the N auxiliary texts.

        By default they are the task's prompts, first template.

        Args:
            strategy: the Avalanche strategy that trains, at the current experience.
        """
        return strategy.model.tokens(strategy.experience.task_label)[0]

    def reference_data(self, strategy: Any) -> Any:
        """Returns the data set of auxiliary images, (3, S, S) uint8 each; they are read without augmentation.

        By default they are the task's training images. Item i may be an image, or a tuple that begins with one.

        Args:
            strategy: the Avalanche strategy that trains, at the current experience.
        """
        return strategy.adapted_dataset

    def make_texts(self, strategy: Any, teacher: ClipClassifier) -> Tensor:
        """Returns the teacher's unit-length features (N, D) of the N auxiliary texts.

        Args:
            strategy: the Avalanche strategy that trains, at the current experience.
            teacher: the teacher of the coming task.
        """
        return text_features(teacher, self.reference_tokens(strategy))

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        self.teacher = self.make_teacher(strategy)
        if self.teacher is not None:
            self.texts = self.make_texts(strategy, self.teacher)

    def before_training_epoch(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self.teacher is not None:
            self._batches = iter(self._loader(strategy))

    def _loader(self, strategy: Any) -> Loader:
        """As many batches as the task has steps, of its size; images are reshuffled whenever all have been seen."""
        data = Unlabelled(self.reference_data(strategy))
        number = len(strategy.dataloader) * strategy.train_mb_size
        order = torch.Generator().manual_seed(int(torch.randint(2**62, ())))  # drawn from the task's own generator
        sampler = RandomSampler(data, num_samples=number, generator=order)
        pin = strategy.device.type == "cuda"
        return Loader(data, sampler, strategy.train_mb_size, seed=None, threads=threads(strategy), pin=pin)

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self.teacher is None:
            return
        (images,) = next(self._batches)
        scale, temperature = strategy.model.clip.logit_scale.exp(), self.settings.temperature
        with torch.no_grad():
            teacher = scale * self.teacher.encode_again(images) @ self.texts.T  # (B, N)
        images = images.to(strategy.device, non_blocking=True)  # (B, 3, H, W)
        student = scale * strategy.model.encode_images(images) @ self.texts.T  # (B, N)
        both = distill(student, teacher, temperature) + distill(student.T, teacher.T, temperature)
        strategy.loss = strategy.loss + self.settings.distillation * both

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self._batches is not None:
            self._batches.close()  # ends the reading threads
        if self.teacher is not None:
            self.teacher.forget_texts()  # the features of images that it keeps
        self.teacher, self._batches = None, None

"""iCaRL on CLIP: a memory of 10 000 images, chosen by herding, over which the model before the task is distilled.

Rebuffi et al., iCaRL: Incremental Classifier and Representation Learning, arXiv 1611.07725, in the form of ZSCL's MTIL
baseline (arXiv 2303.06628). All parameters learn from cross-entropy on the task's images plus, from the second task on,
the two distillation terms of `strategies.shared.distillation` (T = 2). The teacher is the model at the start of the
task, the auxiliary images are those of the memory, and the auxiliary texts are the task's prompts.

After a task each of the C classes met so far keeps m = floor(memory / C) images. They are the first m of a list that
herding makes when the class is learned. Image k of the list is the one that brings the mean of the chosen unit features
nearest to the class's mean,

    argmin_x || mean - (f(x) + sum_{j<k} f(x_j)) / k ||        with f the image tower after the task.

Fidelity: as ZSCL's description (10 000 images in all, herding on image features, distillation on the memory with the
current prompts). Its script has placeholder settings, so it is not known whether these are the published ones. Unlike
in the original, classification is by prompts, not by nearest mean, and the memory serves distillation alone, not the
cross-entropy. Images are stored as bytes at the model's size, without crops. A class with fewer than m images keeps all
it has.
"""

from typing import Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import PURPLE, About, Published
from strategies.base import Unfit
from strategies.clip.classifier import ClipClassifier
from strategies.shared.distillation import DistillationPlugin
from strategies.shared.settings import DistillationSettings


ABOUT = About(
    name="iCaRL",
    reference="Rebuffi et al., CVPR 2017, arXiv 1611.07725, as in ZSCL",
    colour=PURPLE,
    marker="o",
    published={"iCaRL": Published()},
)

BATCH = 128  # images whose features are computed at once


@dataclass(frozen=True)
class Settings(DistillationSettings):
    """Settings of iCaRL: the distillation that LwF-like methods share, and the size of its memory of images.

    The defaults are those of ZSCL's description of this baseline. `temperature` and `distillation` are as in
    `DistillationSettings`: temperature and weight of the distillation.

    Attributes:
        memory: the number of images stored from all tasks together; each class seen has an equal part.
    """

    memory: int = Field(
        default=10_000, ge=1, description="images kept from all tasks together", json_schema_extra={"unit": "images"}
    )


def herd(features: Tensor, count: int) -> list[int]:
    """Returns the indices of the images that herding chooses, in the order chosen.

    Each image brings the mean of the chosen features as near as possible to the mean of all N: image k has the feature
    f with the least |mean - (f + sum of the features chosen before) / k|.

    Args:
        features: (N, D), the unit-length features of one class's images.
        count: how many to choose; all N if there are fewer.
    """
    mean, total = features.mean(dim=0), torch.zeros_like(features[0])  # (D,)
    left = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen: list[int] = []
    for k in range(1, min(count, len(features)) + 1):
        distances = (mean - (features + total) / k).norm(dim=1).masked_fill(~left, torch.inf)  # (N,)
        best = int(distances.argmin())
        chosen.append(best)
        left[best], total = False, total + features[best]
    return chosen


@torch.no_grad()
def image_features(model: ClipClassifier, images: Tensor, device: torch.device) -> Tensor:
    """Returns unit-length features (N, D) of images, computed in batches on `device`.

    Args:
        model: the classifier whose image tower is used.
        images: (N, 3, S, S) uint8.
        device: the model's device.
    """
    return torch.cat([model.encode_images(some.to(device)) for some in images.split(BATCH)])


class Plugin(DistillationPlugin):
    """iCaRL: fine-tuning of all parameters, with distillation from the model before the task on stored images.

    The images stored after a task are chosen by herding, the same number of each class.

    Attributes:
        images: (M, 3, S, S) uint8, the M images in memory.
        classes: (M,) int64, the class of each, counted from 0 over all tasks.
    """

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.images, self.classes = torch.empty(0, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)

    def begin(self, classifier: ClipClassifier) -> None:
        """Checks that the memory is large enough.

        Args:
            classifier: the model of the run, which knows the number of classes of every task.

        Raises:
            Unfit: the memory (`memory`) holds fewer images than there are classes in all tasks.
        """
        classes = sum(classifier.class_counts)
        if self.settings.memory < classes:
            raise Unfit(f"--memory: must be at least {classes}, one image of each class, got {self.settings.memory}")

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the memory by name: `images` (M, 3, S, S) uint8 and `classes` (M,) int64, counted over all tasks.

        Empty before the first task.
        """
        return {"images": self.images, "classes": self.classes} if len(self.classes) else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the memory of images.

        Args:
            state: what `state_dict` returned: tensors by the names `images` and `classes`, or nothing.
        """
        if state:
            self.images, self.classes = state["images"], state["classes"]

    def make_teacher(self, strategy: Any) -> ClipClassifier | None:
        """Returns a frozen copy of the model before the task; None in the first task, where there is no distillation.

        Args:
            strategy: the Avalanche strategy that trains; its `model` is copied.
        """
        return super().make_teacher(strategy) if len(self.classes) else None

    def reference_data(self, strategy: Any) -> Any:
        """Returns the images in memory, (M, 3, S, S) uint8, over which the teacher is distilled.

        Args:
            strategy: not used.
        """
        return self.images

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        super().after_training_exp(strategy)
        data, first = strategy.adapted_dataset, int(self.classes.max()) + 1 if len(self.classes) else 0
        labels = torch.as_tensor(list(data.targets))  # (N,)
        here = labels.unique().tolist()
        each = self.settings.memory // (first + len(here))
        kept = torch.cat([(self.classes == label).nonzero()[:each, 0] for label in range(first)] or [labels[:0]])
        images, classes = [self.images[kept]] if first else [], [self.classes[kept]]
        for number, label in enumerate(here, start=first):
            own = torch.stack([data[place][0] for place in (labels == label).nonzero()[:, 0].tolist()])
            best = herd(image_features(strategy.model, own, strategy.device), each)
            images.append(own[best])
            classes.append(torch.full((len(best),), number))
        self.images, self.classes = torch.cat(images), torch.cat(classes)

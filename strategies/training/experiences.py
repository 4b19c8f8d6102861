"""Tasks as an Avalanche benchmark: one experience for each task, with class labels from 0 in each.

The task label is the task's index.
"""

from collections.abc import Sequence
from typing import Any

from avalanche.benchmarks import benchmark_from_datasets, task_incremental_benchmark, with_classes_timeline
from avalanche.benchmarks.utils import DataAttribute, TaskAwareClassificationDataset
from torch import Tensor
from torch.utils.data import Dataset

from strategies.training.pixels import Pixels


class LabelledImages(Dataset):
    """A data set of N images and their labels; item i is (image (3, S, S) uint8, label).

    The labels are also in the list `targets`, where Avalanche looks for them; without it Avalanche would read every
    image.

    Args:
        images: N images (3, S, S) uint8.
        labels: (N,) int64, the class of each image within its task.
    """

    def __init__(self, images: Pixels, labels: Tensor) -> None:
        self.images, self.targets = images, labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.targets[index]


def make_benchmark(train: Sequence[LabelledImages]) -> Any:
    """Returns an Avalanche benchmark whose `train_stream` has one experience for each training set, in order.

    The task label of an experience is its index, from 0.

    Args:
        train: the training set of each task.
    """
    # Avalanche's LwF requires data sets of this class; `as_classification_dataset` makes another.
    sets = [
        TaskAwareClassificationDataset([data], data_attributes=[DataAttribute(data.targets, "targets")])
        for data in train
    ]
    return with_classes_timeline(task_incremental_benchmark(benchmark_from_datasets(train=sets)))

"""Tasks as an Avalanche benchmark: one experience for each task, local class labels, the task label its index."""

from collections.abc import Sequence
from typing import Any

from avalanche.benchmarks import benchmark_from_datasets, task_incremental_benchmark, with_classes_timeline
from avalanche.benchmarks.utils import DataAttribute, TaskAwareClassificationDataset
from torch import Tensor
from torch.utils.data import Dataset

from strategies.training.pixels import Pixels


class LabelledImages(Dataset):
    """Images and their labels (N,).

    Avalanche reads labels from `targets`, which most of torchvision's data sets lack, and would else read every image.
    """

    def __init__(self, images: Pixels, labels: Tensor) -> None:
        self.images, self.targets = images, labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.targets[index]


def make_benchmark(train: Sequence[LabelledImages]) -> Any:
    """An Avalanche benchmark whose `train_stream` has the tasks in the order given."""
    # The class that Avalanche's LwF asks for a task's images; `as_classification_dataset` makes another.
    sets = [
        TaskAwareClassificationDataset([data], data_attributes=[DataAttribute(data.targets, "targets")])
        for data in train
    ]
    return with_classes_timeline(task_incremental_benchmark(benchmark_from_datasets(train=sets)))

"""Tasks as an Avalanche benchmark: one experience for each task, local class labels, the task label its index."""

from collections.abc import Sequence
from typing import Any, Protocol

from avalanche.benchmarks import benchmark_from_datasets, task_incremental_benchmark, with_classes_timeline
from avalanche.benchmarks.utils import as_classification_dataset
from torch import Tensor
from torch.utils.data import Dataset


class Pixels(Protocol):
    """N images of one size; a plain tensor (N, 3, S, S) is one too."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: Any, /) -> Tensor:
        """Image (3, S, S) of a number, images (B, 3, S, S) of a slice; uint8."""
        ...


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
    sets = [as_classification_dataset(data) for data in train]
    return with_classes_timeline(task_incremental_benchmark(benchmark_from_datasets(train=sets)))

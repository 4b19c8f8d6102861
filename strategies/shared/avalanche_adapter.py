"""What Avalanche's own plugins need to run here: all parameters trained, their state as tensors, their images as pixels."""

from typing import Any

import torch
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.core import SupervisedPlugin
from torch import Tensor

from strategies.base import FullPlugin
from strategies.clip.classifier import ClipClassifier
from strategies.training.experiences import LabelledImages, make_benchmark


class StockPlugin(FullPlugin):
    """Fine-tuning of all parameters beside one of Avalanche's plugins, which is told of every event before this one.

    A strategy says in `make` which, and in `state_dict` and `load_state_dict` what of it is carried from task to task.

    Attributes:
        stock: Avalanche's plugin, new for every run.
        classifier: of the run; there is none before `begin`.
    """

    classifier: ClipClassifier

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.stock = self.make()

    def make(self) -> Any:
        """A new stock plugin with the settings."""
        raise NotImplementedError

    def begin(self, classifier: ClipClassifier) -> None:
        self.classifier, self.stock = classifier, self.make()

    def plugins(self) -> list[SupervisedPlugin]:
        return [self.stock, self]


class MemoryPlugin(StockPlugin):
    """A stock plugin that keeps images of past tasks.

    Avalanche's buffers are lists of places in the tasks' training sets. A method that may not see those again keeps the
    images, so after each task they are replaced with their pixels, which are what is carried, counted and read from then on.
    Where training crops at random, they are kept as a test sees them.
    """

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._state: dict[str, Tensor] = {}

    def buffers(self) -> list[AvalancheDataset]:
        """The images kept, task by task."""
        raise NotImplementedError

    def refill(self, buffers: list[AvalancheDataset]) -> None:
        """Gives the stock plugin these images instead of its own."""
        raise NotImplementedError

    def begin(self, classifier: ClipClassifier) -> None:
        super().begin(classifier)
        self._state = {}

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        state: dict[str, Tensor] = {}
        for task, buffer in enumerate(self.buffers()):
            images, labels, _ = zip(*buffer, strict=True)
            state |= {f"images.{task}": torch.stack(images), f"labels.{task}": torch.tensor(labels)}
        self.load_state_dict(state)

    def state_dict(self) -> dict[str, Tensor]:
        """For each task `images.TASK` (n, 3, S, S) uint8 and `labels.TASK` (n,) int64."""
        return self._state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._state, tasks = state, range(len(state) // 2)
        kept = [LabelledImages(state[f"images.{task}"], state[f"labels.{task}"]) for task in tasks]
        self.refill([experience.dataset for experience in make_benchmark(kept).train_stream] if kept else [])

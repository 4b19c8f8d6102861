"""Base classes that let Avalanche's own plugins run here.

They train all parameters, and store a plugin's state as tensors and its images as pixels.
"""

from typing import Any

import torch
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.core import SupervisedPlugin
from torch import Tensor

from strategies.base import FullPlugin
from strategies.clip.classifier import ClipClassifier
from strategies.training.experiences import LabelledImages, make_benchmark


class StockPlugin(FullPlugin):
    """Fine-tuning of all parameters together with one of Avalanche's plugins, whose hooks are called first.

    A subclass makes Avalanche's plugin in `make`, and says in `state_dict` and `load_state_dict` what of it is stored
    between tasks.

    Attributes:
        stock: Avalanche's plugin; `begin` makes a new one.
        classifier: the model of the run; set by `begin`.
    """

    classifier: ClipClassifier

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.stock = self.make()

    def make(self) -> Any:
        """Returns a new plugin of Avalanche with this method's settings (`self.settings`). A subclass defines it.

        Raises:
            NotImplementedError: the subclass does not.
        """
        raise NotImplementedError

    def begin(self, classifier: ClipClassifier) -> None:
        """Remembers the model of the run in `classifier`, and makes a new plugin of Avalanche in `stock`.

        Args:
            classifier: the model of the run.
        """
        self.classifier, self.stock = classifier, self.make()

    def plugins(self) -> list[SupervisedPlugin]:
        """Returns Avalanche's plugin (`stock`), then this one: Avalanche calls them in this order."""
        return [self.stock, self]


class MemoryPlugin(StockPlugin):
    """Fine-tuning together with one of Avalanche's plugins that keeps images of past tasks.

    Avalanche's buffers hold indices into the training sets of past tasks, which a continual learner may not read again.
    So after each task the buffers are replaced by the pixels of their images. These pixels are stored, counted as
    storage and read from then on. They are without augmentation, even where training crops at random.
    """

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._state: dict[str, Tensor] = {}

    def buffers(self) -> list[AvalancheDataset]:
        """Returns the buffers of Avalanche's plugin, one for each past task, in learning order. A subclass defines it.

        Item i of a buffer is (image (3, S, S) uint8, label within the task, task index).
        """
        raise NotImplementedError

    def refill(self, buffers: list[AvalancheDataset]) -> None:
        """Replaces the buffers of Avalanche's plugin by others. A subclass defines it.

        Args:
            buffers: one for each past task, in learning order; item i of each is (image (3, S, S) uint8, label within
                the task, task index).
        """
        raise NotImplementedError

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run without stored images.

        Args:
            classifier: the model of the run.
        """
        super().begin(classifier)
        self._state = {}

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        state: dict[str, Tensor] = {}
        for task, buffer in enumerate(self.buffers()):
            images, labels, _ = zip(*buffer, strict=True)
            state |= {f"images.{task}": torch.stack(images), f"labels.{task}": torch.tensor(labels)}
        self.load_state_dict(state)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the n stored images of every past task TASK, by name; empty before the first task.

        `images.TASK` (n, 3, S, S) uint8 has the images, and `labels.TASK` (n,) int64 their classes within the task.
        """
        return self._state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the stored images, and fills the buffers of Avalanche's plugin with them.

        Args:
            state: what `state_dict` returned: tensors by the names `images.TASK` and `labels.TASK`, TASK from 0.
        """
        self._state, tasks = state, range(len(state) // 2)
        kept = [LabelledImages(state[f"images.{task}"], state[f"labels.{task}"]) for task in tasks]
        self.refill([experience.dataset for experience in make_benchmark(kept).train_stream] if kept else [])

"""Avalanche's A-GEM: a step may not raise the loss on a sample of past tasks' images.

Chaudhry et al., Efficient Lifelong Learning with A-GEM, arXiv 1812.00420, as `AGEMPlugin` of avalanche-lib computes it.
With g the gradient of the batch and r that of a sample of `sample_size` stored images (the same number of each past
task):

    g <- g - (g r) / (r r) r        if g r < 0

`patterns_per_exp` images of each task are stored, drawn at random after the task. AdamW turns the projected gradient
into the step.

Storage between tasks: the stored images as pixels (uint8) and their labels.

Fidelity: Avalanche's plugin, unchanged. A sample has images of several tasks: each image has the logits of its own
task's prompts, and label smoothing goes over its own task's classes alone.
"""

from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.training.plugins import AGEMPlugin
from pydantic import Field
from pydantic.dataclasses import dataclass

from strategies.about import BLACK, About
from strategies.base import Unfit
from strategies.clip.classifier import ClipClassifier
from strategies.shared.avalanche_adapter import MemoryPlugin


ABOUT = About(
    name="A-GEM",
    reference="Chaudhry et al., ICLR 2019, arXiv 1812.00420; Avalanche's plugin",
    colour=BLACK,
    marker=">",
)


@dataclass(frozen=True)
class Settings:
    """Settings of A-GEM (Averaged Gradient Episodic Memory): how many images it stores and how many a step reads.

    The default of `sample_size` is smaller than in the paper (256 to 1300), to limit the cost of a step.

    Attributes:
        patterns_per_exp: the number of images of each task that are stored.
        sample_size: the number of stored images, the same of each past task, whose loss a step may not raise.
    """

    patterns_per_exp: int = Field(
        default=64, ge=1, description="images of each task that are kept", json_schema_extra={"unit": "images"}
    )
    sample_size: int = Field(
        default=64,
        ge=1,
        description="stored images in a step; at least one of each past task",
        json_schema_extra={"unit": "images"},
    )


class Plugin(MemoryPlugin):
    """A-GEM: fine-tuning of all parameters with Avalanche's `AGEMPlugin`, whose stored images are kept as pixels.

    Attributes:
        stock: Avalanche's plugin, which stores the images and projects the gradients; `begin` makes a new one.
    """

    stock: AGEMPlugin

    def make(self) -> AGEMPlugin:
        """Returns a new `AGEMPlugin` of Avalanche with this method's settings and an empty memory."""
        return AGEMPlugin(self.settings.patterns_per_exp, self.settings.sample_size)

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run without stored images.

        Args:
            classifier: the model of the run, which knows the number of tasks T.

        Raises:
            Unfit: `sample_size` is below T - 1, so that at the last task it could not hold one image of each past task.
        """
        past = len(classifier.class_counts) - 1
        if self.settings.sample_size < past:
            raise Unfit(
                f"--sample-size: must be at least {past}, one image of each past task, got {self.settings.sample_size}"
            )
        super().begin(classifier)

    def buffers(self) -> list[AvalancheDataset]:
        """Returns the stored images, one buffer for each past task, in learning order.

        Item i of a buffer is (image (3, S, S) uint8, label within the task, task index).
        """
        return self.stock.buffers

    def refill(self, buffers: list[AvalancheDataset]) -> None:
        """Replaces the stored images by those of other buffers.

        Args:
            buffers: one for each past task, in learning order; item i of each is (image (3, S, S) uint8, label within
                the task, task index).
        """
        self.stock.buffers.clear()
        for buffer in buffers:
            self.stock.update_memory(buffer)  # no larger than its limit, so all images are kept

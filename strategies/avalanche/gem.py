"""Avalanche's GEM: a step may not raise the loss on the stored images of any past task.

Lopez-Paz and Ranzato, Gradient Episodic Memory, arXiv 1706.08840, as `GEMPlugin` of avalanche-lib computes it. g is the
gradient of the batch, and G (past tasks, parameters) has the gradient on all stored images of each past task. Where G g
has a negative entry, g <- G^T v + g, with v the solution of the dual quadratic program with v >= `memory_strength`.

A step computes the gradient on every stored image of every past task and holds G, one gradient as large as the model
for each task. At the eleventh task with ViT-B/16 this takes 6 GB, and 12 GB more in double precision while solving.

Storage between tasks: the stored images as pixels (uint8), their labels and tasks. They are the first
`patterns_per_exp` images of each task in a shuffled order.

Fidelity: Avalanche's plugin, unchanged; AdamW turns the projected gradient into the step, where the paper has SGD.
"""

from avalanche.training.plugins import GEMPlugin
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import SKY, About
from strategies.shared.avalanche_adapter import StockPlugin


ABOUT = About(
    name="GEM",
    reference="Lopez-Paz and Ranzato, NeurIPS 2017, arXiv 1706.08840; Avalanche's plugin",
    colour=SKY,
    marker="h",
)


@dataclass(frozen=True)
class Settings:
    """Settings of GEM (Gradient Episodic Memory): how many images it stores, and the least weight of a past task.

    Avalanche has no defaults for them; the one of `memory_strength` is the paper's.

    Attributes:
        patterns_per_exp: the number of images of each task that are stored.
        memory_strength: the least factor on each past task's gradient where it is added to a projected gradient; larger
            values favour past tasks.
    """

    patterns_per_exp: int = Field(
        default=32, ge=1, description="images of each task that are kept", json_schema_extra={"unit": "images"}
    )
    memory_strength: float = Field(default=0.5, ge=0, allow_inf_nan=False, description="least weight of a past task")


class Plugin(StockPlugin):
    """GEM: fine-tuning of all parameters with Avalanche's `GEMPlugin`, and the images that it stores.

    Attributes:
        stock: Avalanche's plugin, which stores the images and projects the gradients; `begin` makes a new one.
    """

    stock: GEMPlugin

    def make(self) -> GEMPlugin:
        """Returns a new `GEMPlugin` of Avalanche with this method's settings and an empty memory."""
        return GEMPlugin(self.settings.patterns_per_exp, self.settings.memory_strength)

    def _kept(self) -> dict[str, dict[int, Tensor]]:
        return {"images": self.stock.memory_x, "labels": self.stock.memory_y, "tasks": self.stock.memory_tid}

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the stored images of every past task by name; TASK is the task's index.

        `images.TASK` (n, 3, S, S) uint8 has the images, `labels.TASK` (n,) int64 their classes within the task, and
        `tasks.TASK` (n,) int64 the task's index for each. The result is empty before the first task.
        """
        return {f"{what}.{task}": tensor for what, tasks in self._kept().items() for task, tensor in tasks.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the stored images of past tasks, their labels, and the task of each. `begin` is to be called before.

        Args:
            state: what `state_dict` returned: tensors by the names `images.TASK`, `labels.TASK` and `tasks.TASK`, with
                TASK the index of a past task.
        """
        for key, tensor in state.items():
            what, task = key.split(".")
            self._kept()[what][int(task)] = tensor

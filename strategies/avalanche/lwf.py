"""Avalanche's LwF: distillation from the model before the task, over the classes of past tasks.

Li and Hoiem, Learning without Forgetting, arXiv 1606.09282, as `LwFPlugin` of avalanche-lib computes it on the images
of the current task:

    loss + alpha * sum over past tasks t of KL(softmax(z'_t / T) || softmax(z_t / T))        z_t (B, C_t)

z_t are the model's logits over task t's prompts, and z'_t those of the model before the task. KL is the mean over the
batch, without the factor T^2. This is not ZSCL's LwF (`lwf`), which distils over the current task's prompts. Both
models compute the prompts of past tasks anew at every step.

Storage between tasks: the previous model, which the plugin keeps as a whole second copy (between tasks it equals the
model).

Fidelity: Avalanche's plugin, unchanged. At the first task there is no teacher, so the pretrained model's knowledge is
not protected.
"""

from copy import deepcopy

import torch
from avalanche.training.plugins import LwFPlugin
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import VERMILLION, About
from strategies.shared.avalanche_adapter import StockPlugin


ABOUT = About(
    name="LwF (Avalanche)",
    reference="Li and Hoiem, ECCV 2016, arXiv 1606.09282; Avalanche's plugin",
    colour=VERMILLION,
    marker="v",
)


@dataclass(frozen=True)
class Settings:
    """Settings of Avalanche's LwF (Learning without Forgetting): weight and temperature of the distillation.

    The defaults are those of Avalanche's `LwFPlugin`.

    Attributes:
        alpha: the factor on the distillation loss, a sum over the past tasks; cross-entropy has factor 1.
        temperature: divides the logits of the model and of the previous model before their softmax.
    """

    alpha: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="weight of the distillation")
    temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False, description="softens teacher and student")


class Plugin(StockPlugin):
    """LwF: fine-tuning of all parameters with Avalanche's `LwFPlugin`, and the previous model that it stores.

    Attributes:
        stock: Avalanche's plugin, which computes the distillation; `begin` makes a new one.
    """

    stock: LwFPlugin

    def make(self) -> LwFPlugin:
        """Returns a new `LwFPlugin` of Avalanche with this method's settings."""
        return LwFPlugin(self.settings.alpha, self.settings.temperature)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the previous model and the classes seen, by name; empty before the first task.

        `model.NAME` is a parameter or buffer of the previous open_clip model, the one after the last task. `classes`
        (n, 2) int64 has a row (task index, class within the task) for each class seen.
        """
        lwf = self.stock.lwf
        if lwf.prev_model is None:
            return {}
        seen = [(task, label) for task, labels in lwf.prev_classes_by_task.items() for label in sorted(labels)]
        model = {f"model.{name}": tensor for name, tensor in lwf.prev_model.clip.state_dict().items()}
        return {**model, "classes": torch.tensor(seen)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the model after the last task, and the classes seen. `begin` is to be called before.

        Args:
            state: what `state_dict` returned: a tensor `model.NAME` for each parameter or buffer of the model, and
                `classes` (n, 2), rows of task index and class; or nothing.
        """
        if state:
            lwf = self.stock.lwf
            for task, label in state["classes"].tolist():
                lwf.prev_classes_by_task[task].add(label)
            lwf.expcount = len(lwf.prev_classes_by_task)
            lwf.prev_model = deepcopy(self.classifier).train()
            lwf.prev_model.known_train_tasks_labels = set(lwf.prev_classes_by_task)
            model = {name.removeprefix("model."): tensor for name, tensor in state.items() if name != "classes"}
            lwf.prev_model.clip.load_state_dict(model)

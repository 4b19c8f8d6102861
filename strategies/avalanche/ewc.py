"""Avalanche's EWC: a quadratic penalty on changes of the weights, by their importance for past tasks.

Kirkpatrick et al., Overcoming catastrophic forgetting, arXiv 1612.00796, as `EWCPlugin` of avalanche-lib computes it:

    loss + lambda * sum over past tasks t and parameters i of F_ti (w_i - w_ti)^2

w_t: the weights after task t. F_t: the importance. After the task there is one pass over its training images in batches
of the run's size; F_t is the mean over the batches of the squared gradient of the batch's loss. (The paper's Fisher
information is the mean of the squared gradients of single images; F_t is smaller, the more so the larger the batch.)
With `decay_factor` d there is one penalty in place of one for each task (online EWC): F <- d F + F_t, around the
weights after the last task.

Storage between tasks: F_t and w_t, each as large as the model, for every task (11 tasks with ViT-B/16: 13 GB); with
`decay_factor`, one F and the weights after the last task.

Fidelity: Avalanche's plugin, unchanged. The gradient is taken in evaluation mode with the prompts of training (the
first template), text tower included.
"""

from avalanche.training.plugins import EWCPlugin
from avalanche.training.utils import ParamData
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import GREEN, About
from strategies.shared.avalanche_adapter import StockPlugin


ABOUT = About(
    name="EWC",
    reference="Kirkpatrick et al., PNAS 2017, arXiv 1612.00796; Avalanche's plugin",
    colour=GREEN,
    marker="P",
)


@dataclass(frozen=True)
class Settings:
    """Settings of EWC (Elastic Weight Consolidation): its penalty's weight, and whether each task has a penalty.

    Avalanche has no default for `ewc_lambda`; the 1 here is a start for a search, not a recommendation.

    Attributes:
        ewc_lambda: the weight of the penalty in the loss.
        decay_factor: None for one penalty for each past task. A number d in 0..1 gives online EWC: one penalty whose
            importances are d times the old ones plus those of the last task.
    """

    ewc_lambda: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="weight of the penalty")
    decay_factor: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="one penalty for all tasks, in which earlier ones fade by this (online EWC)",
    )


class Plugin(StockPlugin):
    """EWC: fine-tuning of all parameters with Avalanche's `EWCPlugin`, whose importances and old weights are stored.

    Attributes:
        stock: Avalanche's plugin, which computes importances and penalty; `begin` makes a new one.
    """

    stock: EWCPlugin

    def make(self) -> EWCPlugin:
        """Returns a new `EWCPlugin` of Avalanche with this method's settings: online EWC if `decay_factor` is set."""
        settings = self.settings
        mode = "separate" if settings.decay_factor is None else "online"
        return EWCPlugin(settings.ewc_lambda, mode=mode, decay_factor=settings.decay_factor)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns importances and old weights of past tasks by name, each of the shape of the model's parameter NAME.

        `weight.TASK.NAME` is the parameter after task TASK (an index), and `importance.TASK.NAME` its squared gradient
        then, as a mean over batches. With `decay_factor`, only the last task has entries, and its importances include
        the faded earlier ones. The result is empty before the first task.
        """
        kept = {"importance": self.stock.importances, "weight": self.stock.saved_params}
        return {
            f"{what}.{task}.{name}": data.data
            for what, tasks in kept.items()
            for task, parameters in tasks.items()
            for name, data in parameters.items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the importances and weights of past tasks, on the model's device. `begin` is to be called before.

        Args:
            state: what `state_dict` returned: by the names `importance.TASK.NAME` and `weight.TASK.NAME`, the
                importance and the old value of parameter NAME after the task of index TASK.
        """
        kept = {"importance": self.stock.importances, "weight": self.stock.saved_params}
        device = self.classifier.mean.device
        for key, tensor in state.items():
            what, task, name = key.split(".", 2)
            kept[what][int(task)][name] = ParamData(name, init_tensor=tensor.to(device), device=device)

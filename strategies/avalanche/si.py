"""Avalanche's Synaptic Intelligence: a quadratic penalty by each weight's share in the fall of the loss.

Zenke et al., Continual Learning Through Synaptic Intelligence, arXiv 1703.04200, as `SynapticIntelligencePlugin` of
avalanche-lib computes it, after arXiv 1806.08568:

    loss + lambda / 2 * sum over parameters i of Omega_i (w_i - w*_i)^2
    Omega_i = min(0.001, - sum over past tasks of (sum over steps of g_i dw_i) / ((change of w_i in the task)^2 + eps))

w*: the weights at the start of the task; g: the gradient of the step (penalty included); dw: the step of the optimiser.

Storage between tasks: the sums and Omega, each as large as the model, on the CPU as the plugin keeps them.

Fidelity: Avalanche's plugin, unchanged but for one repair. The plugin's "copies" of the weights are views, which on the
CPU share the model's memory: the weights before and after a step are then the same tensor, and every Omega is 0. Here
they are made real copies, as they are on a GPU.
"""

from typing import Any

from avalanche.training.plugins import SynapticIntelligencePlugin
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import ORANGE, About
from strategies.shared.avalanche_adapter import StockPlugin


ABOUT = About(
    name="SI",
    reference="Zenke et al., ICML 2017, arXiv 1703.04200; Avalanche's plugin",
    colour=ORANGE,
    marker="X",
)


@dataclass(frozen=True)
class Settings:
    """Settings of SI (Synaptic Intelligence): the weight of its penalty, and a constant that keeps its quotient finite.

    Avalanche has no default for `si_lambda`; the 1 here is a start for a search, not a recommendation.

    Attributes:
        si_lambda: the weight lambda of the penalty, lambda / 2 * sum of importance * (change of the weight)^2.
        eps: a small number added to the denominator of the importance, the squared change of a weight in a task.
    """

    si_lambda: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="weight of the penalty")
    eps: float = Field(default=1e-7, gt=0, allow_inf_nan=False, description="added to the squared change of a weight")


class Plugin(StockPlugin):
    """SI: fine-tuning of all parameters with Avalanche's `SynapticIntelligencePlugin`, with real copies of the weights.

    On the CPU the stock plugin's copies share the model's memory, so that every importance would be 0. Stored between
    tasks are the importances and the running sums from which they are computed.

    Attributes:
        stock: Avalanche's plugin, which computes importances and penalty; `begin` makes a new one.
    """

    stock: SynapticIntelligencePlugin

    def make(self) -> SynapticIntelligencePlugin:
        """Returns a new `SynapticIntelligencePlugin` of Avalanche with this method's settings."""
        return SynapticIntelligencePlugin(self.settings.si_lambda, eps=self.settings.eps)

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        _own(self.stock.ewc_data[0])

    def before_training_iteration(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        _own(self.stock.syn_data["old_theta"])

    def _kept(self) -> dict[str, dict[str, Any]]:
        return {"importance": self.stock.ewc_data[1], "sum": self.stock.syn_data["cum_trajectory"]}

    def state_dict(self) -> dict[str, Tensor]:
        """Returns importances and sums by name, each flat (number of values,), for every parameter NAME of the model.

        `importance.NAME` is Omega, the importance of each weight in the penalty. `sum.NAME` is the sum over past tasks
        from which the next Omega is computed. The result is empty before the first task.
        """
        return {f"{what}.{name}": data.data for what, kept in self._kept().items() for name, data in kept.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the importances and sums. `begin` is to be called before.

        Args:
            state: what `state_dict` returned: for each parameter NAME its importances `importance.NAME` and running
                sums `sum.NAME`, both flat; or nothing.
        """
        if state:
            stock = self.stock
            stock.create_syn_data(self.classifier, stock.ewc_data, stock.syn_data, stock.excluded_parameters)
            for what, kept in self._kept().items():
                for name, data in kept.items():
                    data.data = state[f"{what}.{name}"].clone()  # cloned, since the plugin adds to it in place


def _own(copies: dict[str, Any]) -> None:
    for data in copies.values():
        data.data = data.data.clone()

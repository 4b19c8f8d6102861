"""Task arithmetic: every task is fine-tuned from the initial weights, to which the sum of all changes is added.

Ilharco et al., Editing Models with Task Arithmetic, arXiv 2212.04089, ICLR 2023, with tasks that arrive one after another:

    tau_t = theta_t - theta_0             task t fine-tuned from theta_0, one vector over all trained parameters
    deployed = theta_0 + lambda * (tau_1 + ... + tau_t)

With the rule `sum`, lambda is fixed (`scale`, 0.3). With `average` it is 1 / t: the mean of the models fine-tuned so
far. Stored are theta_0, the sum and the number of tasks: twice the trained weights (image tower of ViT-B/16: 2 x 345 MB).

Fidelity: the sum and its fixed factor are the paper's, which chooses the factor on validation images, about 0.3; here it
is a setting, 0.3. Only the image tower learns, as there (`--towers both` trains both). The paper merges all tasks at once
at the end; here the merge is deployed after each task. No settings and no values are published for MTIL.
"""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from strategies.about import VERMILLION, About
from strategies.shared.merging import INITIAL, MergingPlugin, Weights, moved
from strategies.shared.settings import MergingSettings, only_with


ABOUT = About(
    name="Task Arithmetic",
    reference="Ilharco et al., ICLR 2023, arXiv 2212.04089, task after task",
    colour=VERMILLION,
    marker="D",
)
SUM = "sum"  # the task vectors' sum among what is stored


@dataclass(frozen=True)
class Settings(MergingSettings):
    """Settings of task arithmetic: the towers that learn, and the factor on the sum. `towers` is as in `MergingSettings`.

    Attributes:
        rule: `sum` for a fixed factor on the sum of the task vectors, `average` for one over the number of tasks so far.
        scale: the fixed factor of `sum`.
    """

    rule: Literal["sum", "average"] = Field(
        default="sum", description="factor on the sum of the task vectors: `scale`, or one over their number"
    )
    scale: float = Field(
        default=0.3,
        gt=0,
        allow_inf_nan=False,
        description="factor on the sum, with the rule `sum`",
        json_schema_extra=only_with("rule", "sum"),
    )


class Plugin(MergingPlugin):
    """Task arithmetic: fine-tunes each task from the initial weights, and deploys these plus the scaled sum of all changes."""

    settings: Settings

    def merged(self, tuned: Weights) -> Weights:
        """Returns theta_0 + lambda * (tau_1 + ... + tau_t), after the task vector has gone into the sum.

        Args:
            tuned: theta_t.
        """
        total, before = self.task_vector(tuned), self.weights(SUM)
        for name, tensor in before.items():
            total[name] += tensor
        count = self.count()
        self.keep(SUM, total)
        scale = 1 / count if self.settings.rule == "average" else self.settings.scale
        return moved(self.weights(INITIAL), total, scale)

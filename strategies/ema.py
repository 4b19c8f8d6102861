"""EMA (Best-in-TIME): each task starts from, and leaves, an exponential moving average of the weights at task ends.

Dziadzio et al., How to Merge Your Multimodal Models Over Time?, arXiv 2412.06712, CVPR 2025:

    A_0 = theta_0
    A_t = alpha * theta_t + (1 - alpha) * A_{t-1}        over every trained parameter; A_t is deployed

with theta_t the weights at the end of task t's training, which starts from A_{t-1}. The paper's finding is that where a
task starts and what is deployed matter far more than the rule of merging. So the start is a setting: `deployed`
(A_{t-1}, Best-in-TIME), `sequential` (theta_{t-1}, not merged) or `initial` (theta_0); and so is the rule: `running` is
the plain mean, A_t = ((t - 1) A_{t-1} + theta_t) / t.

Started from the average with the rule `ema` on both towers, this is exactly WiSE-FT as ZSCL runs it (`wise_ft`) with
the same share alpha: the two papers describe one method. It is here for the other starts, the running mean, and the
image tower alone. Stored is then nothing besides the model, which is A_t; with another start one copy of the trained
weights (image tower of ViT-B/16: 345 MB), and with the running mean the number of tasks.

Fidelity: start, deployment and average are the paper's. The share that its authors used is not known here: 0.5 is this
project's. They train both towers contrastively on another stream of data; here the image tower learns by default, as
with the other merging methods (`--towers both` trains both). No settings and no values are published for MTIL.
"""

from typing import Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from strategies.about import SKY, About
from strategies.shared.merging import MergingPlugin, Start, Weights
from strategies.shared.settings import MergingSettings, only_with


ABOUT = About(
    name="EMA",
    reference="Dziadzio et al., CVPR 2025, arXiv 2412.06712",
    colour=SKY,
    marker="s",
)


@dataclass(frozen=True)
class Settings(MergingSettings):
    """Settings of EMA: the towers that learn, where tasks start, and the average. `towers` is as in `MergingSettings`.

    Attributes:
        start: where a task starts: `deployed` at the average, `sequential` at the end of the task before, `initial` at
            the weights before the first task.
        rule: `ema` for the exponential moving average, `running` for the plain mean over the tasks.
        alpha: the share of the new weights in the moving average of `ema`, in 0..1.
    """

    start: Literal["deployed", "sequential", "initial"] = Field(
        default="deployed",
        description="where a task starts: the average, the end of the task before, or the initial CLIP",
    )
    rule: Literal["ema", "running"] = Field(
        default="ema", description="average over task ends: an exponential moving one, or their plain mean"
    )
    alpha: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of the new weights in the moving average",
        json_schema_extra=only_with("rule", "ema"),
    )


class Plugin(MergingPlugin):
    """EMA: fine-tunes each task, by default from the average of the weights at task ends, and deploys that average."""

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.start: Start = settings.start
        self.keeps_initial = settings.start == "initial"
        self._average: Weights = {}  # A_{t-1} while task t is trained

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        learning = self.learning(strategy.model.clip)
        self._average = {name: parameter.detach().clone() for name, parameter in learning.items()}
        super().before_train_dataset_adaptation(strategy, *args, **kwargs)

    def merged(self, tuned: Weights) -> Weights:
        """Returns the new average A_t.

        Args:
            tuned: theta_t.
        """
        average, self._average, share = self._average, {}, self.settings.alpha
        if self.settings.rule == "running":
            share = 1 / self.count()
        return {name: (share * tuned[name]).add_(old, alpha=1 - share) for name, old in average.items()}

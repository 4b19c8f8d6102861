"""WiSE-FT: fine-tuning, then the weights are averaged with those at the start of the task.

Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, arXiv 2109.01903, used sequentially as in ZSCL (arXiv
2303.06628):

    W <- alpha * W_fine-tuned + (1 - alpha) * W_start        after each task, over every trained parameter.

Fidelity: as in ZSCL's scripts, alpha is 0.8 and W_start is the model at the start of the current task (not the initial
CLIP). Batches run across epochs, where that code ends an epoch with a short one. Nothing is stored between tasks;
during a task there is a second copy of the weights.
"""

from typing import Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import ORANGE, About, Published
from strategies.base import FullPlugin


ABOUT = About(
    name="WiSE-FT",
    reference="Wortsman et al., CVPR 2022, arXiv 2109.01903, as in ZSCL",
    colour=ORANGE,
    marker="*",
    published={"WiSE-FT": Published(differs={"MTIL 5-shot": "re-run by others, with settings that are not known"})},
)


@dataclass(frozen=True)
class Settings:
    """Settings of WiSE-FT: the share of the fine-tuned weights in the average with those at the start of the task.

    The default is that of ZSCL's scripts.

    Attributes:
        alpha: the share, in 0..1: after a task, W = alpha * W_finetuned + (1 - alpha) * W_start.
    """

    alpha: float = Field(default=0.8, ge=0, le=1, description="share of the fine-tuned weights in the average")


class Plugin(FullPlugin):
    """WiSE-FT: fine-tunes all parameters on each task, then averages them with those at its start."""

    settings: Settings
    data_parallel = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._trained: list[Tensor] = []
        self._start: list[Tensor] = []

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        self._trained = [parameter for parameter in strategy.model.clip.parameters() if parameter.requires_grad]
        self._start = [parameter.detach().clone() for parameter in self._trained]

    @torch.no_grad()
    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        for parameter, start in zip(self._trained, self._start, strict=True):
            parameter.mul_(self.settings.alpha).add_(start, alpha=1 - self.settings.alpha)
        self._trained, self._start = [], []

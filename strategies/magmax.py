"""MagMax: sequential fine-tuning; what is deployed adds to the initial weights the largest change of each of them.

Marczak et al., MagMax: Leveraging Model Merging for Seamless Continual Learning, arXiv 2407.06322, ECCV 2024. Task t is
fine-tuned from theta_{t-1}, the weights at the end of the task before (not from the merge), and

    tau_t = theta_t - theta_0                                         one vector over all trained parameters
    M[i] = tau_s[i]    with s the task in 1..t whose |tau_s[i]| is largest, the latest of those that are equal
    deployed = theta_0 + scale * M                                    scale 0.5

The running choice M <- tau_t where |tau_t| >= |M|, otherwise M, is exactly the choice among all tasks, so no task
vector is kept. Stored are theta_0, theta_t and M: three times the trained weights (image tower of ViT-B/16: 3 x 345 MB).

Fidelity: as in the authors' code: the sequential start, the choice with its ties, the scale, and that only the image
tower learns, before a frozen text tower (`--towers both` trains both). Different: training uses the first prompt template,
as in all methods of this project. Their fine-tuning is AdamW with rate 1e-5, weight decay 0.1, 128 images and 500 steps of
warm-up, on other streams than MTIL; no settings and no values are published for MTIL.
"""

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from strategies.about import BLUE, About
from strategies.shared.merging import INITIAL, MergingPlugin, Weights, moved
from strategies.shared.settings import MergingSettings


ABOUT = About(
    name="MagMax",
    reference="Marczak et al., ECCV 2024, arXiv 2407.06322",
    colour=BLUE,
    marker="^",
)
LARGEST = "largest"  # M among what is stored


@dataclass(frozen=True)
class Settings(MergingSettings):
    """Settings of MagMax: the towers that learn, and the scale of the merged change. `towers` is as in `MergingSettings`.

    Attributes:
        scale: the factor on the merged task vector M, published 0.5.
    """

    scale: float = Field(default=0.5, gt=0, allow_inf_nan=False, description="factor on the merged task vector")


class Plugin(MergingPlugin):
    """MagMax: fine-tunes the tasks one after another, and deploys the initial weights with the largest change of each."""

    settings: Settings
    start = "sequential"

    def merged(self, tuned: Weights) -> Weights:
        """Returns theta_0 + scale * M, after the task vector has gone into M.

        Args:
            tuned: theta_t.
        """
        vector, largest = self.task_vector(tuned), self.weights(LARGEST)
        for name, before in largest.items():
            smaller = vector[name].abs() < before.abs()  # false for NaN, which is not to be hidden
            vector[name] = torch.where(smaller, before, vector[name])
        self.keep(LARGEST, vector)
        return moved(self.weights(INITIAL), vector, self.settings.scale)

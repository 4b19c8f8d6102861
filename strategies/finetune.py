"""Continual fine-tuning: all parameters of both towers learn, and nothing prevents forgetting.

The loss is the cross-entropy on the current task's prompts. Every parameter is trained except the logit scale, and each
task starts from the weights after the previous one. Fidelity: as Continual-FT in ZSCL's code (arXiv 2303.06628); its
batch size, steps and learning rates are in the recipes. Batches run across epochs, where that code ends an epoch with a
short batch.
"""

from pydantic.dataclasses import dataclass

from strategies.about import BLACK, About, Published
from strategies.base import FullPlugin


ABOUT = About(
    name="Continual-FT",
    reference="continual fine-tuning, as in Zheng et al., ICCV 2023, arXiv 2303.06628",
    colour=BLACK,
    marker="P",
    published={"Continual-FT": Published()},
)


@dataclass(frozen=True)
class Settings:
    """Continual fine-tuning has no settings of its own."""


class Plugin(FullPlugin):
    """Continual fine-tuning: trains all parameters, except the logit scale, on one task after the other."""

    data_parallel = True

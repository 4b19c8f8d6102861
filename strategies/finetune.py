"""Continual fine-tuning: all parameters of both towers learn (the usual lower end after training).

Cross-entropy on the current task's prompts, every parameter trained except the logit scale, each task from where the last
one ended. Fidelity: as Continual-FT in ZSCL's code (arXiv 2303.06628); its batch, steps and learning rates are in the recipes.
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
    """Nothing besides what every strategy has."""


class Plugin(FullPlugin):
    """The method as an Avalanche plugin."""

    data_parallel = True

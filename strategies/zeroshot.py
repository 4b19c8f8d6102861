"""Zero-shot CLIP: nothing is trained (the other methods try to keep its accuracy on tasks not learned yet).

Source: Radford et al., arXiv 2103.00020. Fidelity: as in ZSCL's evaluation, the unit-length text features of all prompt
templates of a data set are averaged.
"""

from typing import Any

from pydantic.dataclasses import dataclass

from strategies.about import BLUE, About, Published
from strategies.base import StrategyPlugin


ABOUT = About(
    name="Zero-shot",
    reference="Radford et al., ICML 2021, arXiv 2103.00020",
    colour=BLUE,
    marker="D",
    # Nothing is trained, so only image resizing, weights and split can change the result: the tolerance is small.
    published=dict.fromkeys(("Zero-shot CLIP ViT-B/16", "Zero-shot CLIP"), Published(tolerance=0.3)),
)


@dataclass(frozen=True)
class Settings:
    """Zero-shot CLIP has no settings of its own."""


class Plugin(StrategyPlugin):
    """Zero-shot CLIP as an Avalanche plugin: it freezes all parameters, so that the template trains nothing."""

    trains = False
    data_parallel = True

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        strategy.model.clip.requires_grad_(False)

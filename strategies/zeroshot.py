"""Zero-shot CLIP: nothing is trained (what the others have to keep).

Radford et al., arXiv 2103.00020. Fidelity: as in ZSCL's evaluation, the unit features of all of a data set's templates are
averaged.
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
    # Nothing is trained, so only the resize, the weights and the split can move it.
    published={"Zero-shot CLIP ViT-B/16": Published(tolerance=0.3)},
)


@dataclass(frozen=True)
class Settings:
    """Nothing besides what every strategy has."""


class Plugin(StrategyPlugin):
    """The method as an Avalanche plugin: freezes all, and the template trains nothing where nothing can be."""

    trains = False
    data_parallel = True

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        strategy.model.clip.requires_grad_(False)

"""Toy Tuning: only biases learn."""

from typing import Any

from pydantic.dataclasses import dataclass

from strategies.about import SKY, About
from strategies.base import StrategyPlugin


ABOUT = About(name="Toy Tuning", reference="nobody", colour=SKY, marker="h")


@dataclass(frozen=True)
class Settings:
    """None."""


class Plugin(StrategyPlugin):
    """The method as an Avalanche plugin."""

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        for name, parameter in strategy.model.clip.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))

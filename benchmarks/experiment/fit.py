"""Whether memory can hold what a method's settings ask for, checked before any of it is made."""

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from benchmarks.config.errors import UserError
from benchmarks.runtime.memory import free_bytes, lacking
from strategies.base import ALL, StrategyPlugin
from strategies.clip.classifier import ClipClassifier


def check(plugin: StrategyPlugin, classifier: ClipClassifier, free: int | None = None) -> None:
    """Checks that the device of a model could hold the parts that a method adds to it.

    Args:
        plugin: the method, which says what its parts take at least (`StrategyPlugin.least_bytes`).
        classifier: the model, on its device.
        free: bytes that are free; None for those that are free on the model's device.

    Raises:
        UserError: it could not; the message names the setting that is too large, and what would fit.
    """
    free = free_bytes(classifier.mean.device.type) if free is None else free
    needed = {name: count for name, count in plugin.least_bytes(classifier).items() if count > free}
    if not needed:
        return
    if ALL in needed:
        raise UserError(
            f"gradients and moments of all parameters: take {lacking(needed[ALL], free)}; take a smaller --model, or a method "
            "that trains fewer parameters"
        )
    name = max(needed, key=lambda each: _excess(plugin.settings, each))
    value = getattr(plugin.settings, name, None)
    fitting = _fitting(plugin, classifier, name, free) if value else 0
    raise UserError(
        f"--{name.replace('_', '-')}{'' if value is None else f' {value}'}: takes {lacking(needed[name], free, fitting)}"
    )


def check_images(plugin: StrategyPlugin, classifier: ClipClassifier, count: int, free: int | None = None) -> None:
    """Checks that the device of a model could hold what a method makes of all training images of a run.

    Args:
        plugin: the method, which says what that takes at least (`StrategyPlugin.bytes_of_images`).
        classifier: the model, on its device.
        count: the number of training images of all tasks.
        free: as for `check`.

    Raises:
        UserError: it could not.
    """
    free = free_bytes(classifier.mean.device.type) if free is None else free
    needed = plugin.bytes_of_images(classifier, count)
    if needed > free:
        raise UserError(
            f"what the method makes of {count} training images takes {lacking(needed, free)}; give --shots, a stream "
            "with fewer images, or a method or variant that does not keep them"
        )


def _fitting(plugin: StrategyPlugin, classifier: ClipClassifier, name: str, free: int) -> int:
    """Returns the largest value of a setting whose parts fit, all other settings unchanged; 0 where none does."""
    low, high = 0, getattr(plugin.settings, name)  # the last value that fits, and the first that does not
    while high - low > 1:
        middle = (low + high) // 2
        try:
            other = type(plugin)(replace(plugin.settings, **{name: middle}))
        except ValidationError:  # the setting has a least value, which is too large too
            return 0
        low, high = (middle, high) if other.least_bytes(classifier).get(name, 0) <= free else (low, middle)
    return low


def _excess(settings: Any, name: str) -> float:
    """Returns how many times as large a setting is as its default."""
    field = getattr(type(settings), "__pydantic_fields__", {}).get(name)
    return float(getattr(settings, name) / field.default) if field is not None and field.default else 0.0

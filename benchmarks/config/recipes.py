"""The default settings of each stream, from the YAML files in `recipes/`, which cite their sources."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchmarks.config import registry
from benchmarks.config.errors import UserError


RECIPES = Path(__file__).parents[1] / "recipes"
VALIDATION = "validation"  # the family of streams on which settings are chosen
SHIFTED = "shifted"  # the family of streams whose images are changed
AROUND = ("repeat", VALIDATION, SHIFTED)  # streams of another stream, FAMILY:WORD:STREAM, whose recipe is that one's
ANY_STREAM = "folder"  # its settings are the default for streams without a recipe: users' images and users' streams


def stream_family(stream: str) -> tuple[str, str]:
    """Splits a stream's name at the first colon into its family and its argument, and checks that the family exists.

    `folder:PATH` gives `("folder", "PATH")`, `repeat:2:mtil` gives `("repeat", "2:mtil")`, and `mtil` gives `("mtil",
    "")`.

    Args:
        stream: the stream's name on the command line.

    Raises:
        UserError: there is no stream of that name before the colon; the message offers the nearest.
    """
    family, _, argument = stream.partition(":")
    registry.find("stream", family)
    return family, argument


def repeated(argument: str) -> tuple[str, str]:
    """Splits what follows `repeat:` in a stream's name into the number of repetitions and the repeated stream's name.

    `3:micro` gives `("3", "micro")`, and `3` gives `("3", "mtil")`.

    Args:
        argument: the text after `repeat:`. The number in it is returned as text and not checked; without a stream's
            name it is MTIL that is repeated.
    """
    times, _, inner = argument.partition(":")
    return times, inner or "mtil"


def innermost(stream: str) -> str:
    """Returns the stream that another one repeats, changes, or holds images out of.

    It is `folder:PATH` for `validation:7:folder:PATH`. Any other stream's name is returned as it is.

    Args:
        stream: the stream's name on the command line.
    """
    family, _, argument = stream.partition(":")
    return innermost(repeated(argument)[1]) if family in AROUND else stream


def recipe(stream: str, strategy: str, splits: str = "zscl") -> dict[str, Any]:
    """Returns the default settings of a strategy on a stream, by setting name: published ones where there are any.

    They are read from the stream's recipe, a YAML file. It has settings under `all` for every strategy and under
    `strategies` by name. It may have `like`, which names a stream to start from, `variants`, with the same keys for
    each text that may follow the stream's colon, and `splits`, with settings by the name of the data sets' splits.
    Settings of the strategy take precedence over those for all, then those of the variant over those of the stream, and
    those of the splits over both. An entry such as `avalanche` applies to all strategies `avalanche:NAME`. A stream of
    another package has its recipe next to its module, or else uses the recipe for folders of images.

    Args:
        stream: the stream's name on the command line, such as `mtil` or `cifar100:10`.
        strategy: the strategy's name.
        splits: the name of the data sets' splits.

    Raises:
        UserError: the stream is unknown, or no variant is named as the text after its colon.
    """
    like, parts = _parts(stream)
    found = recipe(like, strategy, splits) if like else {}
    for part in parts:
        found |= part.get("all", {})
    for part in parts:
        named = part.get("strategies", {})
        found |= named.get(strategy.partition(":")[0], {}) | named.get(strategy, {})
    for part in parts:
        found |= part.get("splits", {}).get(splits, {})
    return found


def has_entry(stream: str, strategy: str) -> bool:
    """Returns whether a stream's recipe names a strategy, even without settings of its own.

    Args:
        stream: the stream's name on the command line.
        strategy: the strategy's name.

    Raises:
        UserError: the stream is unknown, or no variant is named as the text after its colon.
    """
    like, parts = _parts(stream)
    named = {name for part in parts for name in part.get("strategies", {})}
    return bool({strategy, strategy.partition(":")[0]} & named) or (like is not None and has_entry(like, strategy))


def _parts(stream: str) -> tuple[str | None, list[dict[str, Any]]]:
    """Returns the stream that a recipe starts from, if any, and the recipe's parts: for all variants, and for this one."""
    family, argument = stream_family(stream)
    if family in AROUND:
        return repeated(argument)[1], []
    data = _parsed(_file(family).read_text(encoding="utf-8"))
    variants = data.get("variants", {"": {}})
    if variants.keys() != {""} and argument not in variants:
        raise UserError(f"--stream {stream}: expected one of {', '.join(f'{family}:{name}' for name in variants)}")
    return data.get("like"), [data, variants.get(argument, {})]


@cache
def _parsed(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def _file(family: str) -> Path:
    """Returns the recipe file of a family: this project's, the one next to another package's module, or that for any
    images.
    """
    name = f"{family.replace('-', '_')}.yaml"
    beside = registry.find("stream", family).file.with_suffix(".yaml")
    return next((file for file in (RECIPES / name, beside) if file.is_file()), RECIPES / f"{ANY_STREAM}.yaml")

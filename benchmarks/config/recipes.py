"""The default settings of each stream, from the files in `recipes/`, which name their sources."""

from pathlib import Path
from typing import Any

import yaml

from benchmarks.config import registry
from benchmarks.config.errors import UserError


RECIPES = Path(__file__).parent / "recipes"
ANY_STREAM = "folder"  # whose settings hold for streams that have none of their own: users' images, users' streams


def stream_family(stream: str) -> tuple[str, str]:
    """`folder:PATH` to `("folder", "PATH")`. Raises UserError for an unknown family."""
    family, _, argument = stream.partition(":")
    registry.check_name("stream", family)
    return family, argument


def repeated(argument: str) -> tuple[str, str]:
    """What follows `repeat:`, as times and stream: `3:micro` to `("3", "micro")`, `3` to `("3", "mtil")`."""
    times, _, inner = argument.partition(":")
    return times, inner or "mtil"


def recipe(stream: str, strategy: str) -> dict[str, Any]:
    """The published or documented settings for a stream and a strategy.

    A file has `all` for every strategy, `strategies` by name, and may have `like` (another file, which it adds to) and
    `variants` (the same by what follows the stream's colon). What is nearer to the strategy, then to the variant, wins. A name
    without what follows its colon (`avalanche`) is all such strategies. A stream from another package has the file of its own
    name beside its module, or else the settings for any folder of images.
    """
    family, argument = stream_family(stream)
    if family == "repeat":
        return recipe(repeated(argument)[1], strategy)
    data = yaml.safe_load(_file(family).read_text(encoding="utf-8"))
    variants = data.get("variants", {"": {}})
    if variants.keys() != {""} and argument not in variants:
        raise UserError(f"--stream {stream}: expected one of {', '.join(f'{family}:{name}' for name in variants)}")
    parts = [data, variants.get(argument, {})]
    found = recipe(data["like"], strategy) if "like" in data else {}
    for part in parts:
        found |= part.get("all", {})
    for part in parts:
        named = part.get("strategies", {})
        found |= named.get(strategy.partition(":")[0], {}) | named.get(strategy, {})
    return found


def _file(family: str) -> Path:
    """The recipe of a family: ours, the one beside another package's module, or that for any images."""
    name = f"{family.replace('-', '_')}.yaml"
    beside = registry.find("stream", family).file.with_suffix(".yaml")
    return next((file for file in (RECIPES / name, beside) if file.is_file()), RECIPES / f"{ANY_STREAM}.yaml")

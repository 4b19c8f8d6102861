"""How much memory a model takes at least, by arithmetic on its open_clip config, so that none is built that cannot be."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import open_clip

from benchmarks.config.errors import UserError
from benchmarks.runtime.memory import free_bytes, lacking


VALUE = 4  # bytes of a float32
LAYER = 20_000  # bytes of Python's objects for a block, less than they take
EMBEDDING = "embed_dim"
USUAL: dict[str, dict[str, Any]] = {
    "vision_cfg": asdict(open_clip.CLIPVisionCfg()), "text_cfg": asdict(open_clip.CLIPTextCfg()),
}  # fmt: skip
# The numbers of a config with which a model grows, by the part that holds them.
GROWING = {"vision_cfg": ("layers", "width", "mlp_ratio", "image_size", "patch_size"),
           "text_cfg": ("layers", "width", "mlp_ratio", "vocab_size", "context_length")}  # fmt: skip


def least_bytes(config: Mapping[str, Any]) -> int:
    """Returns the number of bytes that the weights of a CLIP take in float32, and a text's attention mask: a lower bound.

    Only plain transformers are counted. A number that is missing has open_clip's default, and what is no number counts
    as none.

    Args:
        config: the model's config, with `embed_dim`, `vision_cfg` and `text_cfg`.
    """
    vision, text = (_numbers(config, part) for part in USUAL)
    embedding = _number(config.get(EMBEDDING))
    patch, side = max(vision["patch_size"], 1), vision["image_size"]
    values = _blocks(vision) + _blocks(text) + embedding * (vision["width"] + text["width"])
    values += vision["width"] * (3 * patch**2 + (side // patch) ** 2)
    values += text["width"] * (text["vocab_size"] + text["context_length"]) + text["context_length"] ** 2
    return VALUE * values + LAYER * (vision["layers"] + text["layers"])


def _blocks(tower: Mapping[str, int]) -> int:
    return tower["layers"] * tower["width"] ** 2 * (4 + 2 * tower["mlp_ratio"])


def _numbers(config: Mapping[str, Any], part: str) -> dict[str, int]:
    found = config.get(part)
    given = {**USUAL[part], **(found if isinstance(found, dict) else {})}
    return {name: _number(given[name]) for name in GROWING[part]}


def _number(value: Any) -> int:
    """Returns a number of a config, rounded down; 0 for anything else, on which open_clip has the word."""
    return max(int(value), 0) if isinstance(value, int | float) and value < float("inf") else 0


def check(where: str, config: Mapping[str, Any], free: int | None = None) -> None:
    """Checks that the memory of this machine could hold a model.

    Args:
        where: the config's file or the model's name, for the message.
        config: the model's config.
        free: bytes that are free; None for those that are free on this machine.

    Raises:
        UserError: it could not; the message names the number in the config that is too large, and what would fit.
    """
    free = free_bytes("cpu") if free is None else free
    needed = least_bytes(config)
    if needed <= free:
        return
    part, name = max(_places(), key=lambda place: _excess(config, *place))
    value = _at(config, part, name)
    fitting = _fitting(config, part, name, value, free)
    raise UserError(
        f"{where}: {f'{part}.{name}' if part else name} is {value}, with which the model takes {lacking(needed, free, fitting)}"
    )


def _places() -> list[tuple[str, str]]:
    return [("", EMBEDDING), *((part, name) for part, names in GROWING.items() for name in names)]


def _at(config: Mapping[str, Any], part: str, name: str) -> int:
    return _numbers(config, part)[name] if part else _number(config.get(name))


def _excess(config: Mapping[str, Any], part: str, name: str) -> float:
    """Returns how many times as large a number is as in the usual CLIP."""
    usual = USUAL[part][name] if part else USUAL["text_cfg"]["width"]
    return float(_at(config, part, name) / usual)


def _fitting(config: Mapping[str, Any], part: str, name: str, value: int, free: int) -> int:
    """Returns the largest number below `value` with which the model would fit; 0 if none would."""

    def fits(number: int) -> bool:
        inner: Any = config.get(part)
        changed = {part: {**(inner if isinstance(inner, dict) else {}), name: number}} if part else {name: number}
        return least_bytes({**config, **changed}) <= free

    low, high = 0, value  # low fits or is 0, high does not fit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low

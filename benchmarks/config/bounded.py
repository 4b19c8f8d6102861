"""Reads YAML and JSON that a stranger may have written: bounded in size, depth and repetition, and no key twice."""

import json
import re
from collections import Counter
from typing import Any

import yaml


LONGEST = 16 * 2**20  # characters; a stream.yaml with ten thousand class names has half a million
DEEPEST = 100  # levels of lists and mappings
MOST = 1_000_000  # values, each alias counted as all that it stands for
DIGITS = 30  # of an integer in JSON
CHARACTERS = 60  # of a number in YAML
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
INDENTED = re.compile(r"^[ \-?:]{200}", re.MULTILINE)  # a line of YAML that may lie deep


Plain: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is six times as fast
MERGE = "tag:yaml.org,2002:merge"


class _Loader(Plain):  # type: ignore[misc]
    """Refuses a key that stands twice in a mapping (plain YAML takes the last), merge keys and endless numbers."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.tag == MERGE:
                raise ValueError("merge keys (<<) are not read; write the entries out")
            if isinstance(key, yaml.ScalarNode) and found.setdefault((key.tag, key.value), key) is not key:
                raise ValueError(f'"{key.value}" stands twice')
        return super().construct_mapping(node, deep=deep)

    def construct_scalar(self, node: Any) -> Any:
        if node.tag in NUMBERS and len(node.value) > CHARACTERS:
            raise ValueError(f"a number of {len(node.value)} characters")
        return super().construct_scalar(node)


def from_yaml(text: str, loader: Any = _Loader) -> Any:
    """Returns the value in a YAML text; like `yaml.safe_load`, it runs no code.

    Args:
        text: the content of the file.
        loader: a class of PyYAML's, by default one that returns the types of YAML and refuses a key that stands twice.

    Raises:
        ValueError: the text is not valid YAML, has a value that YAML cannot read, a key twice, or is too long or too
            deep; the message is one line.
    """
    _check_length(text)
    try:
        if text.count("[") + text.count("{") > DEEPEST or INDENTED.search(text):
            _check_depth(text)
        found = yaml.load(text, Loader=loader)
        _count(found, [MOST])
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except (
        AttributeError,
        LookupError,
        TypeError,
        OverflowError,
    ) as error:  # of YAML's own constructors, on odd values
        raise ValueError(f"a value that YAML cannot read ({type(error).__name__}: {error})") from error
    return found


def from_json(text: str, times: int = 1) -> Any:
    """Returns the value in a JSON text.

    Args:
        text: the content of the file.
        times: how many times as long as others it may be, and how many times as many values it may have.

    Raises:
        ValueError: the text is not valid JSON, has a key twice or an integer of more than 30 digits, or is too long or
            too deep; the message is one line.
    """
    _check_length(text, times)
    try:
        found = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_once, parse_int=_integer)
        _count(found, [times * MOST])
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return found


def _check_length(text: str, times: int = 1) -> None:
    if len(text) > times * LONGEST:
        raise ValueError(f"longer than {times * LONGEST} characters")


def _check_depth(text: str) -> None:
    """Raises ValueError for YAML nested too deeply, before a loader that calls itself for each level reads it."""
    depth = 0
    for event in yaml.parse(text, Loader=Plain):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} levels deep")


def _count(value: Any, left: list[int], depth: int = 0) -> None:
    """Raises ValueError if a value has too many levels, or more parts than are left."""
    left[0] -= 1
    if left[0] < 0:
        raise ValueError("too many values, aliases counted")
    if depth > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} levels deep")
    if isinstance(value, dict):
        for part in value.values():
            _count(part, left, depth + 1)
    elif isinstance(value, list | tuple | set):
        for part in value:
            _count(part, left, depth + 1)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f'"{Counter(name for name, _ in pairs).most_common(1)[0][0]}" stands twice')
    return found


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)

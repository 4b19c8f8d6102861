"""Resolves the settings of a run: command line before settings file before recipe before defaults, each value checked
once.
"""

import math
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from benchmarks.config import registry
from benchmarks.config.bounded import from_yaml
from benchmarks.config.errors import UserError, shown
from benchmarks.config.recipes import ANY_STREAM, VALIDATION, has_entry, recipe
from benchmarks.config.registry import Strategy, strategy_of
from benchmarks.config.settings import COMMON_NAMES, HARNESS_NAMES, OPTIONS, Common, RunConfig, extra, flat
from benchmarks.config.terminal import plain


PLAIN = (str, int, float, bool, type(None))  # values of the settings that are no lists or dicts
BY_METHOD = ("iterations", "batch_size", "lr", "weight_decay", "warmup")  # settings for all that depend on the method


def resolve(
    given: Mapping[str, Any],
    file: Path | None = None,
    *,
    strategy: Strategy | None = None,
    own_stream: str | None = None,
    beneath: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Returns the settings of a run, checked.

    A value in `given` takes precedence over the file, the file over the recipe (the stream's defaults for the
    strategy), and the recipe over the defaults of the fields. With another model than the recipe's, `pretrained` is None
    unless it is given.

    Args:
        given: settings by name (with underscores), from the command line or a call; text is converted.
        file: the `--config` file, YAML with a line `name: value` for each setting; None for none. It may name
            strategies and streams, but no Python files.
        strategy: a strategy given as an object; None takes the one that `given` or the file names, or else `nusa`.
        own_stream: the name of a user's stream that was given as an object, for which the recipe of image folders is
            taken; None takes the stream that `given` or the file names, or else `micro`.
        beneath: settings that take precedence over the recipe only, and none where `given` or the file names a model: the
            model of a run from which this one starts.

    Raises:
        UserError: a name is unknown (the message offers the nearest), or a value has the wrong type or is out of range.
    """
    from_file = read_file(file) if file else {}
    where = {name: f"--config {file}: {name}" for name in from_file}
    where |= {name: f"--{name.replace('_', '-')}" for name in given}
    chosen = {**from_file, **given}
    chosen = chosen if "model" in chosen else {**(beneath or {}), **chosen}
    method = strategy or _named(str(chosen.get("strategy", "nusa")), None if "strategy" in given else file)
    stream = own_stream or str(chosen.get("stream", "micro"))
    own = settings_of(method)
    for name in chosen:
        if name not in (*COMMON_NAMES, *own):
            raise UserError(f"{where[name]}: {unknown_setting(name, method)}")
    names = {"strategy": method.name, "stream": stream}
    published = recipe(ANY_STREAM if own_stream else stream, method.name, str(chosen.get("splits", "zscl")))
    usual = flat(*_build(method, published | names, where))
    if stream.partition(":")[0] == VALIDATION:  # what is chosen goes into the recipe, and the folders keep their names
        usual = {name: value for name, value in usual.items() if name not in given}
    if chosen.get("model", published["model"]) != published["model"]:
        published["pretrained"] = None  # the recipe's weights are its own model's
    found = RunConfig(*_build(method, published | chosen | names, where), method, usual)
    if own_stream and found.common.splits != "zscl":
        raise UserError(f"{where['splits']}: a stream of your own has its own splits; leave it out")
    for name, value in found.flat().items():
        _check_storable(name, value, method)
    _check_effect(found, where)
    return found


def general_defaults(found: RunConfig, *, own_stream: bool) -> str:
    """Returns a line with the settings of a method that the stream's recipe does not name; empty if it names it.

    Such a method gets what the recipe has for all, not what it has for the method that it was derived from.

    Args:
        found: the settings of a run.
        own_stream: whether its stream was given as an object.
    """
    strategy, stream = found.strategy.name, ANY_STREAM if own_stream else found.common.stream
    if has_entry(stream, strategy):
        return ""
    values = {name: value for name, value in found.flat().items() if name in BY_METHOD or name not in COMMON_NAMES}
    shown = ", ".join(f"{name} {value}" for name, value in values.items())
    return (
        f"{strategy}: the recipe of {stream.partition(':')[0]} has no entry for it; it gets general defaults: {shown}"
    )


def _check_effect(found: RunConfig, where: Mapping[str, str]) -> None:
    """Raises UserError for a setting with a value of its own that nothing reads, since another setting has another value.

    Args:
        found: the settings of a run.
        where: those that were given, and how an error names each.
    """
    values = found.flat()
    for name, field in settings_of(found.strategy).items():
        unset = values[name] in (found.usual.get(name, field.default), field.default)
        for other, choices in extra(field).get("only_with", {}).items():
            if name in where and not unset and values[other] not in choices:
                raise UserError(
                    f"{where[name]}: has an effect with {other} {' and '.join(choices)} alone, got {other} {values[other]}; "
                    "leave it out"
                )


def _check_storable(name: str, value: Any, method: Strategy) -> None:
    """Raises UserError for a value that `config.yaml` would not hold, or would return as another one."""
    if isinstance(value, str) and plain(value) != value:
        raise UserError(f'--{name.replace("_", "-")}: "{plain(value)}" holds signs that no text file shows; rename it')
    if _is_stored(value):
        return
    raise UserError(
        f"strategy {method.name}: setting {name} has {shown(value)}, a {type(value).__name__}, which a settings file can't "
        "hold; use numbers, texts, truth values, and lists or dicts of them"
    )


def _is_stored(value: Any) -> bool:
    """Whether YAML returns a value as it was."""
    if type(value) is list:
        return all(map(_is_stored, value))
    if type(value) is dict:
        return all(_is_stored(name) and _is_stored(each) for name, each in value.items())
    return _comes_back(value) if isinstance(value, PLAIN) else _returned(value)


def _returned(value: Any) -> bool:
    try:
        return (
            value != value or yaml.safe_load(yaml.safe_dump(value)) == value
        )  # NaN is stored, and differs from itself
    except (yaml.YAMLError, ValueError):  # ValueError: an integer of thousands of digits
        return False


@lru_cache(maxsize=10_000, typed=True)  # a sweep asks of the same values again and again
def _comes_back(value: Any) -> bool:
    return (isinstance(value, int) and abs(value) < 2**63) or _returned(value)


def _named(strategy: str, file: Path | None) -> Strategy:
    """Returns a strategy by the name that the command line gave, or the settings file, if that is given here."""
    try:
        return strategy_of(strategy)
    except UserError as error:
        if file is None:
            raise
        raise UserError(
            f"--config {file}: {str(error).removeprefix('--')}; if it is a file of your own, add --strategy {strategy}.py"
        ) from error


def _build(method: Strategy, values: Mapping[str, Any], where: Mapping[str, str]) -> tuple[Common, Any]:
    own = settings_of(method)
    common = _checked(Common, {name: values[name] for name in COMMON_NAMES if name in values}, where)
    return common, _checked(method.settings, {name: values[name] for name in own if name in values}, where)


def _checked(cls: Any, values: Mapping[str, Any], where: Mapping[str, str]) -> Any:
    for name, value in values.items():
        # YAML reads yes, no, on and off as booleans, which pydantic would convert to 1 and 0.
        words = [word for word in (value.values() if isinstance(value, dict) else [value]) if isinstance(word, bool)]
        field = cls.__pydantic_fields__[name]
        if words and field.annotation is not bool:
            raise UserError(f"{where.get(name, name)}: yes and no, true and false mean nothing here, got {words[0]}")
        endless = [each for each in _numbers(value) if not math.isfinite(each)]
        if endless and endless != [field.default] and not _may_be_endless(field):
            raise UserError(f"{where.get(name, name)}: must be a finite number, got {shown(value)}")
    try:
        return _adapter(cls).validate_python(dict(values))
    except ValidationError as error:
        raise _explain(error, where) from error


def _numbers(value: Any) -> Iterator[float]:
    """The floats that a setting's value is, also as text or in a list or dict."""
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]:
        try:
            yield float(each)
        except (TypeError, ValueError, OverflowError):
            continue


def _may_be_endless(field: Any) -> bool:
    """Whether a setting takes `inf` and `nan`: one that can be a text, or says so with `allow_inf_nan=True`."""
    shown = f"{field.annotation} {field.metadata}"
    return "float" not in shown or "str" in shown or "allow_inf_nan=True" in shown


@cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def _explain(error: ValidationError, where: Mapping[str, str]) -> UserError:
    """One line for the first thing that is wrong: the setting, where it was given, and what would be right."""
    name = str(error.errors()[0]["loc"][0])
    # The most deeply nested error of a setting: for values by task, "not a number" is also reported but misleading.
    first = max((each for each in error.errors() if each["loc"][0] == name), key=lambda each: len(each["loc"]))
    message = first["msg"].removeprefix("Input ").replace("should be", "must be")
    return UserError(f"{where.get(name, name)}: {message}, got {shown(first['input'])}")


def settings_of(method: Strategy) -> dict[str, Any]:
    """Returns a strategy's own settings, without those that every strategy has.

    The result has the pydantic `FieldInfo` (type, default, description) of each by the setting's name.

    Args:
        method: the strategy.

    Raises:
        UserError: a setting has the name of one that every strategy has, or `Settings` is no pydantic dataclass.
    """
    found = getattr(method.settings, "__pydantic_fields__", None)
    if found is None:
        raise UserError(f"strategy {method.name}: its Settings must be a frozen dataclass of pydantic.dataclasses")
    if clash := set(found) & {*COMMON_NAMES, *HARNESS_NAMES}:
        raise UserError(f"strategy {method.name}: settings {sorted(clash)} exist for every strategy; rename them")
    return found


def unknown_setting(name: str, *methods: Strategy) -> str:
    """Returns why a setting is unknown, as the end of a message.

    It is for instance `a setting of lora, not of nusa`, or `no such setting of nusa (did you mean "rank"?)`.

    Args:
        name: the unknown setting, with underscores.
        methods: the strategies, none of which has it.
    """
    asked = ", ".join(method.name for method in methods)
    owners = [other for other in registry.names("strategy") if name in settings_of(strategy_of(other))]
    if owners:
        return f"a setting of {', '.join(owners)}, {'not of' if len(methods) == 1 else 'of none of'} {asked}"
    known = dict.fromkeys([*COMMON_NAMES, *(setting for method in methods for setting in settings_of(method))])
    if name in HARNESS_NAMES:
        return f"no setting, but {'an option of the command' if name in OPTIONS else 'an argument of nb.run alone'}"
    return f"no such setting of {asked}{registry.nearest(name, [*known, *OPTIONS])}"


def read_yaml(path: Path, where: str) -> Any:
    """Returns the value in a YAML file of the user's.

    Args:
        path: the file.
        where: how an error names it, such as `--config FILE`.

    Raises:
        UserError: the file cannot be read, or is not valid YAML.
    """
    try:
        return from_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except ValueError as error:
        raise UserError(f"{where}: not valid YAML: {error}") from error


def read_file(path: Path) -> dict[str, Any]:
    """Returns the settings in a flat YAML file, by name; their values are not checked.

    Args:
        path: the file, with a line `name: value` for each setting.

    Raises:
        UserError: the file cannot be read, is no mapping, or names a strategy by a Python file, since a settings file
            must not load code.
    """
    data = read_yaml(path, f"--config {path}")
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        raise UserError(f"--config {path}: expected lines of the form `name: value`")
    if str(data.get("strategy", "")).endswith(".py"):
        raise UserError(f"--config {path}: strategy: a settings file names no code; give the file with --strategy")
    return data

"""What determines a run's figures: the common settings, the recipe behind their defaults, and where each value came from."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from benchmarks.config import registry
from benchmarks.config.errors import UserError


Device = Literal["auto", "cpu", "cuda"]
Augmentation = Literal["none", "random-resized-crop"]
Precision = Literal["float32", "tf32", "bf16"]
RECIPES = Path(__file__).parent / "recipes"
DATA_ROOT = "data"  # where published data sets lie unless --data-root says otherwise
Number = TypeVar("Number", int, float)


def _split_tasks(value: object) -> object:
    """`1e-5,Aircraft=5e-5` to `{"default": "1e-5", "Aircraft": "5e-5"}`; what is no such text stays as it is."""
    if isinstance(value, str) and "=" in value:
        pairs = [part.rpartition("=") for part in value.split(",")]
        names = [name.strip() or "default" for name, _, _ in pairs]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"should have one value for each task; {twice} has more")
        value = {name: number.strip() for name, (_, _, number) in zip(names, pairs, strict=True)}
    if isinstance(value, dict) and "default" not in value:
        raise ValueError("needs a value for all other tasks too, as in 1e-5,Aircraft=5e-5")
    return value


def _all_shots(value: object) -> object:
    """`all`, which a command line can say, to None."""
    return None if value == "all" else value


Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# One number for all tasks, or one for each that is named (a task or its data set) and a default.
CountByTask = Annotated[Count | dict[str, Count], BeforeValidator(_split_tasks)]
RateByTask = Annotated[Rate | dict[str, Rate], BeforeValidator(_split_tasks)]


def for_task(value: Number | dict[str, Number], task: str, dataset: str) -> Number:
    """The number that holds for a task: its own, its data set's, or the default."""
    if not isinstance(value, dict):
        return value
    return value.get(task, value.get(dataset, value["default"]))


@dataclass(frozen=True, kw_only=True)
class Common:
    """Settings that every strategy has. Those without a default come from the stream's recipe."""

    strategy: str = Field(default="nusa", description="the method; see --list")
    stream: str = Field(default="micro", description="the tasks; see --list")
    order: str = Field(
        default="default", description="an order the stream names, task names with commas, or random:SEED"
    )
    seed: int = Field(default=42, ge=0, lt=2**31, description="seed of sampling, dropout and initialisation")
    device: Device = Field(default="auto", description="auto takes CUDA where there is one")
    model: str = Field(description="micro, an open_clip model name, or local-dir:FOLDER")
    pretrained: str | None = Field(description="an open_clip tag or a weights file")
    shots: Annotated[Count | None, BeforeValidator(_all_shots)] = Field(
        default=None, description="training images of each class, or all"
    )
    augmentation: Augmentation = Field(
        default="none", description="random crops of 0.9 to 1 of a training image, or none"
    )
    iterations: CountByTask = Field(description="training steps for each task; also 100,NAME=50")
    batch_size: int = Field(ge=1, description="images in a training step")
    lr: RateByTask = Field(description="peak learning rate of AdamW; also 1e-5,NAME=5e-5")
    weight_decay: float = Field(ge=0, allow_inf_nan=False, description="weight decay of AdamW")
    warmup: float = Field(
        ge=0,
        allow_inf_nan=False,
        description="linear warm-up before the cosine to 0: share of the steps, from 1 on steps",
    )
    label_smoothing: float = Field(ge=0, lt=1, description="of the cross-entropy")
    precision: Precision = Field(
        default="float32",
        description="of the towers' products (published: float32); weights, SVD and merging stay float32",
    )
    compile: bool = Field(default=False, description="torch.compile for the blocks of both towers")
    checkpointing: bool = Field(
        default=False, description="activations computed again in backward: less memory, more time, the same figures"
    )


@dataclass(frozen=True)
class RunConfig:
    """One run: the common settings and the strategy's own."""

    common: Common
    settings: Any

    def flat(self) -> dict[str, Any]:
        """One flat mapping with the names of the command line: what `config.yaml` holds and `--config` reads."""
        values = {**asdict(self.common), **asdict(self.settings)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


COMMON_NAMES = tuple(field.name for field in fields(Common))
# How the arithmetic is done. Runs from before 0.3 do not name these, and were done like this.
ARITHMETIC = {
    name: Common.__pydantic_fields__[name].default  # type: ignore[attr-defined]
    for name in ("precision", "compile", "checkpointing")
}
FREE = "checkpointing"  # changes no figure: a run that ran out of memory goes on with it
# Words of the command, not settings: nothing here changes a figure.
HARNESS_NAMES = (
    "config", "results", "data_root", "reference_images", "reference_texts", "cache", "no_cache", "again", "debug", "list",
    "version", "help",
)  # fmt: skip


def strategy_settings(strategy: str) -> dict[str, Any]:
    """Name to pydantic FieldInfo of the strategy's own settings."""
    found = registry.settings_class(strategy).__pydantic_fields__
    if clash := set(found) & {*COMMON_NAMES, *HARNESS_NAMES}:
        raise UserError(f"strategy {strategy}: settings {sorted(clash)} exist for every strategy; rename them")
    return found


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
    """The published or documented settings for a stream and a strategy, from `benchmarks/config/recipes/`.

    A file has `all` for every strategy, `strategies` by name, and may have `like` (another file, which it adds to) and
    `variants` (the same by what follows the stream's colon). What is nearer to the strategy, then to the variant, wins. A name
    without what follows its colon (`avalanche`) is all such strategies.
    """
    family, argument = stream_family(stream)
    if family == "repeat":
        return recipe(repeated(argument)[1], strategy)
    file = RECIPES / f"{family.replace('-', '_')}.yaml"
    if not file.is_file():
        raise UserError(f"--stream {stream}: no recipe; write its default settings into {file}")
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
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


def read_file(path: Path) -> dict[str, Any]:
    """A flat YAML mapping of settings. Raises UserError if it is missing, unreadable or not a mapping."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"--config {path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        raise UserError(f"--config {path}: expected lines of the form `name: value`")
    return data


def _explain(error: ValidationError, where: Mapping[str, str]) -> UserError:
    """One line for the first thing that is wrong: the setting, where it was given, and what would be right."""
    name = str(error.errors()[0]["loc"][0])
    # Of a setting's errors the one farthest in: a value by task is no number either, but that is not what is wrong with it.
    first = max((each for each in error.errors() if each["loc"][0] == name), key=lambda each: len(each["loc"]))
    message = first["msg"].removeprefix("Input ").replace("should be", "must be")
    return UserError(f"{where.get(name, name)}: {message}, got {first['input']!r}")


def _build(cls: Any, values: Mapping[str, Any], where: Mapping[str, str]) -> Any:
    for name, value in values.items():
        # YAML's yes, no, on and off; pydantic would take them for 1 and 0.
        words = [word for word in (value.values() if isinstance(value, dict) else [value]) if isinstance(word, bool)]
        if words and cls.__pydantic_fields__[name].annotation is not bool:
            raise UserError(f"{where.get(name, name)}: yes and no, true and false mean nothing here, got {words[0]}")
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        raise _explain(error, where) from error


def resolve(given: Mapping[str, Any], file: Path | None = None) -> RunConfig:
    """Command line over file over recipe over defaults.

    Args:
        given: what stood on the command line, by setting name.
        file: the `--config` file, if any.

    Raises:
        UserError: unknown names (the nearest is offered), values of the wrong type or out of range.
    """
    from_file = read_file(file) if file else {}
    where = {name: f"--config {file}: {name}" for name in from_file}
    where |= {name: f"--{name.replace('_', '-')}" for name in given}
    chosen = {**from_file, **given}
    strategy, stream = str(chosen.get("strategy", "nusa")), str(chosen.get("stream", "micro"))
    own = strategy_settings(strategy)
    known = [*COMMON_NAMES, *own]
    for name in chosen:
        if name not in known:
            raise UserError(f"{where[name]}: {unknown_setting(name, strategy)}")
    published = recipe(stream, strategy)
    if chosen.get("model", published["model"]) != published["model"]:
        published["pretrained"] = None  # the recipe's weights are its own model's
    values = published | chosen
    common = _build(Common, {name: values[name] for name in COMMON_NAMES if name in values}, where)
    settings = _build(registry.settings_class(strategy), {n: values[n] for n in own if n in values}, where)
    return RunConfig(common, settings)


def unknown_setting(name: str, strategy: str) -> str:
    """Says why a setting is unknown: it belongs to other strategies, or it is misspelt."""
    owners = [other for other in registry.names("strategy") if name in strategy_settings(other)]
    if owners:
        return f"a setting of {', '.join(owners)}, not of {strategy}"
    known = [*COMMON_NAMES, *strategy_settings(strategy)]
    return f"no such setting of {strategy}{registry.nearest(name, known)}"


def label(config: RunConfig) -> str:
    """The run folder's name: the seed and whatever differs from the recipe, for instance `seed42,rank=16`."""
    default = resolve({"strategy": config.common.strategy, "stream": config.common.stream}).flat()
    skipped = {"strategy", "stream", "seed", "device", FREE}
    parts = [f"seed{config.common.seed}"]
    for name, value in config.flat().items():
        if name not in skipped and value != default[name]:
            parts.append(f"{name}={''.join(c if c.isalnum() or c in '.+-' else '_' for c in _shown(value))}")
    return ",".join(parts)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "+".join(str(number) if task == "default" else f"{task}-{number}" for task, number in value.items())
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)

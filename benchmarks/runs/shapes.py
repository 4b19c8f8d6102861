"""The shapes of a run folder's YAML and JSON files: which keys they must have, and of which types."""

from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic asks for it below Python 3.12

from benchmarks.config.errors import UserError
from benchmarks.config.terminal import plain
from benchmarks.runs.folder import RunFiles
from strategies.about import About


class _Open(TypedDict):
    """A dictionary that may have more keys than are checked."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]


class _Config(_Open):
    strategy: str
    stream: str
    seed: int
    order: str
    model: str
    pretrained: NotRequired[str | None]
    splits: NotRequired[str]
    shots: NotRequired[int | None]


class _Task(_Open):
    test: Annotated[int, Field(gt=0)]


class _Stream(_Open):
    protocol: str
    identity: Literal["known", "unknown", "seen"]
    tasks: list[_Task]


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class _Seconds(_Open):
    training: Seconds
    evaluation: Seconds
    decomposition: NotRequired[Seconds]
    spectrum: NotRequired[Seconds]
    saving: NotRequired[Seconds]


class _Cost(_Open):
    trained_parameters: list[Count]
    carried_bytes: list[Count]
    reference_images: NotRequired[Count]
    peak_memory_bytes: Count
    peak_gpu_memory_bytes: NotRequired[Count | None]
    total_seconds: _Seconds


class _Hardware(_Open):
    device: NotRequired[str | None]
    gpu: NotRequired[str | None]
    processor: NotRequired[str | None]
    threads: NotRequired[int | None]
    processes: NotRequired[int | None]
    platform: NotRequired[str | None]


class _Environment(_Open):
    versions: NotRequired[dict[str, str] | None]
    git: NotRequired[dict[str, Any] | None]
    hardware: NotRequired[_Hardware | None]


class _Part(_Environment):
    state: int


class _Probe(_Open):
    protocol: str
    sha256: str


class _Extends(_Environment):
    parts: NotRequired[list[_Environment]]


class _Column(_Open):
    name: str
    kind: str


class _Table(_Open):
    keys: list[str]
    columns: list[_Column]


class _About(_Open):
    status: str
    weights_sha256: NotRequired[str]
    start: NotRequired[dict[str, Any]]
    start_sha256: NotRequired[str]
    reference_sha256: NotRequired[str]
    versions: NotRequired[dict[str, str]]
    git: NotRequired[dict[str, Any] | None]
    hardware: NotRequired[_Hardware]
    extends: NotRequired[_Extends]
    routed: NotRequired[bool]
    probes: NotRequired[dict[str, _Probe]]
    tables: NotRequired[dict[str, _Table]]
    parts: NotRequired[Annotated[list[_Part], Field(min_length=1)]]


CONFIG, STREAM, COST, ABOUT = (TypeAdapter[Any](shape) for shape in (_Config, _Stream, _Cost, _About))
METHOD = TypeAdapter[Any](About)


def _printable(value: Any) -> Any:
    """The value with all texts in it as a terminal can show them: a stranger may have written them."""
    if isinstance(value, dict):
        return {_printable(key): _printable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_printable(part) for part in value]
    return plain(value) if isinstance(value, str) else value


def checked(file: Path, found: Any, shape: TypeAdapter) -> dict[str, Any]:
    """Returns the content of a file if it has a shape; of its texts, characters that a terminal would obey are written out.

    Args:
        file: the file's path, for the message.
        found: the content.
        shape: one of `CONFIG`, `STREAM`, `COST`, `ABOUT` and `METHOD`.

    Raises:
        UserError: a key is missing or has another type; the message names the file and the first such key.
    """
    try:
        return shape.validate_python(_printable(found))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise UserError(f"{file}: damaged, {place}: {first['msg']}") from error


def about_of(files: RunFiles) -> dict[str, Any]:
    """Returns the content of `run.json`, whose parts have the right types; also of a run that is not finished.

    Args:
        files: the run's files.

    Raises:
        UserError: the file is missing or damaged.
    """
    found: dict[str, Any] = checked(files.at("run.json"), files.json("run.json"), ABOUT)
    return found

"""The schema version of the run folder, and the defaults of settings that older folders do not have.

A folder's `run.json` states the schema version with which it was written. A new column, key or setting increases the
minor number: older folders are read with its default, and older readers ignore it. The major number increases if older
readers would misunderstand a folder; they then refuse it.

The keys of json files are listed in `benchmarks.runs.keys`. The columns of measured tables are declared by the
measurements and the settings of a strategy in its file; both are read without importing torch. `results/README.md` is
generated from all of them.
"""

from functools import cache
from typing import Any

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.config.settings import Common, extra
from benchmarks.runs.folder import RunFiles


VERSION = "1.1"


def number(version: str) -> tuple[int, int]:
    """Returns a version as two numbers, (major, minor): `"1.10"` gives `(1, 10)`.

    Args:
        version: the version as text.

    Raises:
        ValueError: the text is no such version.
    """
    major, minor = version.split(".")
    return int(major), int(minor)


def version(files: RunFiles) -> tuple[int, int]:
    """Returns the version of the run folder's format (names of files, columns and keys) with which a folder was
    written, as (major, minor).

    Before 1.0 it equals the project's version, and it is (0, 1) for folders that state none.

    Args:
        files: the run's files.

    Raises:
        UserError: `run.json` is damaged, or the folder has a higher major version than this project can read.
    """
    about = files.json("run.json") if files.has("run.json") else {}
    try:
        written = about.get("schema_version") or ".".join(about["versions"]["nusa-bench"].split(".")[:2])
        found = number(written)
    except KeyError:
        found = (0, 1)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{files.at('run.json')}: damaged, it says no schema_version like {VERSION}") from error
    if found[0] > number(VERSION)[0]:
        raise UserError(
            f"{files.folder}: written with version {written} of the run folder, this reads up to {VERSION.split('.')[0]}.x; "
            "update nusa-bench"
        )
    return found


def settings(strategy: str) -> dict[str, Any]:
    """Returns the definitions of all settings of a strategy's runs, by the setting's name.

    A definition is pydantic's `FieldInfo` (type, default, description). The settings are those of every run and the
    strategy's own; for an unknown strategy only the former.

    Args:
        strategy: its name on the command line.
    """
    try:
        own = registry.settings_class(strategy).__pydantic_fields__
    except UserError:
        own = {}
    return {**Common.__pydantic_fields__, **own}  # type: ignore[attr-defined]


def complete(config: dict[str, Any]) -> dict[str, Any]:
    """Returns all settings of a run: those of `config.yaml`, and values for settings that are newer than the run.

    A newer setting gets the value that equals what the run did: what the setting's field states as
    `json_schema_extra={"before": VALUE}`, else its default.

    Args:
        config: the content of `config.yaml`.
    """
    missing = _defaults(str(config["strategy"])).items()
    return {**config, **{name: value for name, value in missing if name not in config}}


@cache
def _defaults(strategy: str) -> dict[str, Any]:
    found = {}
    for name, field in settings(strategy).items():
        said = extra(field)
        if "before" in said or not field.is_required():
            default = said.get("before", field.default)
            found[name] = list(default) if isinstance(default, tuple) else default
    return found

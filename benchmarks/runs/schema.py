"""The version of the run folder, and the settings that older folders do not have.

A folder says in `run.json` with which version of the schema it was written. A new column, key or setting raises the number
after the point: older folders lack it and read with its default, and older readers pass on what they do not know. The
number before the point is raised where older readers would misunderstand a folder; they refuse it then.

Keys of json files are listed in `benchmarks.runs.keys`. Columns of measured tables stand with their measurements, settings
of a strategy in its file; both are read from there without torch. `results/README.md` is made from all of them.
"""

from functools import cache
from typing import Any

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.config.settings import Common
from benchmarks.runs.folder import RunFiles


VERSION = "1.0"


def number(version: str) -> tuple[int, int]:
    """`"1.10"` to `(1, 10)`. Raises ValueError if it is no version."""
    major, minor = version.split(".")
    return int(major), int(minor)


def version(files: RunFiles) -> tuple[int, int]:
    """The schema version with which a run folder was written; before 1.0 that of the project's version.

    Raises:
        UserError: `run.json` is damaged, or the folder is of a version that this one cannot read.
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
    """By name, pydantic's FieldInfo of every setting of a strategy's runs; of a strategy unknown here only the common ones."""
    try:
        own = registry.settings_class(strategy).__pydantic_fields__
    except UserError:
        own = {}
    return {**Common.__pydantic_fields__, **own}  # type: ignore[attr-defined]


def complete(config: dict[str, Any]) -> dict[str, Any]:
    """All settings of a run: those that `config.yaml` says, and the defaults of settings that came later.

    The default in the code is what all runs did before there was the setting. One without a default is added with
    `json_schema_extra={"before": VALUE}`.
    """
    missing = _defaults(str(config["strategy"])).items()
    return {**config, **{name: value for name, value in missing if name not in config}}


@cache
def _defaults(strategy: str) -> dict[str, Any]:
    found = {}
    for name, field in settings(strategy).items():
        extra = field.json_schema_extra or {}
        if "before" in extra or not field.is_required():
            default = extra.get("before", field.default)
            found[name] = list(default) if isinstance(default, tuple) else default
    return found

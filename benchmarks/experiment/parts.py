"""In which environments a run was computed that was interrupted and goes on in another: fewer threads, another torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.experiment.checkpoint import states
from benchmarks.runs.folder import RunFiles
from benchmarks.runs.shapes import about_of


OF_AN_ENVIRONMENT = ("versions", "git", "hardware")  # keys of `run.json`


def parts(folder: Path, here: Mapping[str, Any], tasks: int) -> tuple[list[dict[str, Any]], str]:
    """Returns the parts of a run that are computed in different environments, for `run.json`, and a line about it.

    Each part is a dict with `state`, the first state that is computed in this environment (0: the evaluation before any
    training, i: task i), and `versions`, `git` and `hardware`. The list is empty for a run that is computed in one
    environment. The line says what changed; it is empty unless a part begins here.

    Args:
        folder: the run folder, before `run.json` is written anew.
        here: the environment in which the run begins or goes on: `versions`, `git` and `hardware`.
        tasks: the number of tasks of the run.

    Raises:
        UserError: `run.json` or the checkpoint is damaged.
    """
    done = states(folder)
    if not done or not (folder / "run.json").exists():
        return [], ""
    about = about_of(RunFiles(folder))
    began = about.get("parts", [{"state": 0, **_environment(about)}])
    first = [part["state"] for part in began]
    if first != sorted({0, *first}) or first[-1] > tasks:
        raise UserError(
            f"{folder / 'run.json'}: damaged, its parts begin in the states {first}; move the folder away to start anew"
        )
    # A start that was stopped before its first state was kept has computed nothing of the run.
    found = [part for part in began if part["state"] < done]
    said = ""
    if done <= tasks and (changed := _difference(found[-1], here)):
        found.append({"state": done, **_environment(here)})
        said = (
            f"going on in another environment ({changed}): results may differ in their last digits from those of one "
            "alone; run.json has which tasks were computed in which"
        )
    return (found if len(found) > 1 else []), said


def _environment(about: Mapping[str, Any]) -> dict[str, Any]:
    return {name: about.get(name) for name in OF_AN_ENVIRONMENT}


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Returns what an environment has otherwise than the one before it: `threads 1, before 2`; empty for nothing."""
    then, here = _flat(before), _flat(now)
    differs = [name for name in dict.fromkeys([*here, *then]) if here.get(name) != then.get(name)]
    return "; ".join(f"{name} {_shown(here.get(name))}, before {_shown(then.get(name))}" for name in differs)


def _flat(about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of an environment by their names, which are different in its three groups."""
    found: dict[str, Any] = {}
    for group in reversed(OF_AN_ENVIRONMENT):
        found |= {name.replace("_", " "): value for name, value in (about.get(group) or {}).items()}
    return found


def _shown(value: Any) -> str:
    return "unknown" if value is None else str(value)

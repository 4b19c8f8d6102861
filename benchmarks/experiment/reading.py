"""The functions behind `benchmarks.api` that read, test and list: finished runs, models, strategies and streams."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.config.registry import Strategy
from benchmarks.config.settings import Splits, default_data_root
from benchmarks.experiment.request import cache_place
from benchmarks.runs import write
from benchmarks.runs.read import Run as ReadRun
from benchmarks.runtime.environment import ready_for_avalanche
from benchmarks.runtime.lean_imports import lean_imports
from benchmarks.streams.base import Plan
from benchmarks.streams.named import build_plan


if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.comparison.collection import Runs


class Run(ReadRun):
    """A finished run, read from its folder: settings, metrics and tables, and the model that it ended with.

    Its attributes are those of `benchmarks.runs.read.Run`. The most important are `folder`, the run folder; `config`,
    the settings by name; `metrics`, percentages such as `metrics["known"]["last"]`, where `known` is task-aware,
    `unknown` task-agnostic and `seen` class-incremental; and `table(NAME)`, the table NAME.csv as a pandas frame.
    """

    def model(self, *, trust_model_code: bool = False) -> Any:
        """Returns the merged model after the last task, a plain open_clip model on the CPU in float32.

        It is in evaluation mode. Its attribute `tokenizer` turns a list of n prompts into token ids (n, L) int64.

        Args:
            trust_model_code: whether the config in the model's folder (`local-dir:`) may name a tokenizer that may run
                code.

        Raises:
            UserError: the folder has no `model.safetensors` (committed reference runs have none), the file is damaged, or
                the run's method computes with parts that are not in its model, so that the model would be another one.
        """
        from benchmarks.experiment.backbones.loading import load_backbone

        file = self.folder / write.MODEL
        if not file.is_file():
            raise UserError(f"{file}: no such file; only a run that finished on this machine has its model")
        if self.about.get("routed"):
            raise UserError(
                f"{self.folder}: {self.config['strategy']} computes with parts that are not in its model, so the model alone "
                "would not be the one that was measured"
            )
        backbone = load_backbone(self.config["model"], str(file), trusted=trust_model_code)
        clip: Any = backbone.clip.eval()
        clip.tokenizer = backbone.tokenize
        return clip


def with_model(found: ReadRun) -> Run:
    """Returns a run, read from its folder, as one that can load its model.

    Args:
        found: the run.
    """
    values = {each.name: getattr(found, each.name) for each in fields(found)}
    return Run(**{**values, "folder": found.folder.absolute()})  # wherever the process goes later


def load_runs(*places: str | Path) -> "Runs":
    """Returns a sequence of the finished runs at or below some folders.

    Its attribute `left_out` holds a line of text for each damaged or unfinished run, with the reason.

    Args:
        places: run folders, or folders that contain some at any depth; `results` if none is given.

    Raises:
        UserError: a folder is missing, or there is no run folder in it.
    """
    for place in places:
        if not isinstance(place, str | Path):
            raise UserError(f"load_runs: expected folders, one after the other, got {place!r}")
    from benchmarks.comparison.collection import load

    return load([Path(place) for place in places or ("results",)], with_model)


def evaluate(
    model: Any,
    stream: str | Plan,
    *,
    tokenizer: Any = None,
    order: str = "default",
    device: str = "auto",
    data_root: str | Path | None = None,
    cache: str | Path | None = None,
) -> "pd.DataFrame":
    """Tests a model on every task of a stream, without training it.

    Args:
        model: an open_clip model, for instance `run.model()`; it is not changed.
        stream: the stream's name, or a plan of one's own.
        tokenizer: turns a list of n prompts into token ids (n, L) int64; by default the model's attribute `tokenizer`.
        order: `default`, the name of another order of the stream, `random:SEED`, or task names separated by commas,
            which select tasks.
        device: `auto`, `cpu` or `cuda`.
        data_root: the folder of the published data sets; by default `$NUSA_BENCH_DATA`, or else `data`.
        cache: the folder for decoded images; by default `$NUSA_BENCH_CACHE`, or else in the user's cache folder.

    Returns:
        One row for each task, indexed by its name, with top-1 accuracies in percent: `task_aware` among the task's own
        classes, `task_agnostic` among the classes of all tasks.

    Raises:
        UserError: the model has no tokenizer or its towers are no plain transformers, or data are missing.
    """
    if not isinstance(stream, str | Plan):
        raise UserError(f"stream: expected a name or nb.own_stream(...), got {stream!r}")
    if not isinstance(order, str):
        raise UserError(f"order: expected an order's name or task names with commas, got {order!r}")
    if tokenizer is not None and not callable(tokenizer):
        raise UserError(f"tokenizer: expected a function of a list of prompts, got {tokenizer!r}")
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device: expected auto, cpu or cuda, got {device!r}")
    with ready_for_avalanche(), lean_imports():
        from benchmarks.experiment.model_test import accuracy_of

    plan = stream if isinstance(stream, Plan) else build_plan(stream, data_place(data_root))
    return accuracy_of(model, plan, tokenizer, order, device, cache_place(Path(cache) if cache else None, wanted=True))


def strategies() -> dict[str, str]:
    """Returns, by the name of each strategy, its description in one line."""
    return {name: source.summary for name, source in registry.sources("strategy").items()}


def streams() -> dict[str, str]:
    """Returns, by the name of each stream, its description in one line."""
    return {name: source.summary for name, source in registry.sources("stream").items()}


def stream(name: str, data_root: str | Path | None = None, splits: Splits = "zscl") -> Plan:
    """Returns the plan of a stream: the names and orders of its tasks, and `open(names)`, which returns the tasks.

    Args:
        name: the stream's name, as on the command line: `mtil`, or one with an argument, such as `folder:PATH`.
        data_root: the folder of the published data sets; by default `$NUSA_BENCH_DATA`, or else `data`.
        splits: whose splits, class names and templates MTIL's data sets have: `zscl` or `coop`.

    Raises:
        UserError: the name is unknown, the argument after its colon is wrong, or the stream has no such splits.
    """
    if splits not in get_args(Splits):
        raise UserError(f"splits: expected {' or '.join(get_args(Splits))}, got {splits!r}")
    if not isinstance(name, str):
        raise UserError(f"stream: expected a name, got {name!r}")
    return build_plan(name, data_place(data_root), splits)


def strategy(name: str | Path) -> Strategy:
    """Returns a strategy as an object that `nb.run` accepts instead of the name.

    Args:
        name: the strategy's name, or the path of a Python file with `Settings` and `Plugin`.

    Raises:
        UserError: the name is unknown, or the file defines no strategy.
    """
    return registry.strategy_of(str(name))


def data_place(named: str | Path | None) -> Path:
    """Returns the folder of the published data sets: the given one, or else `$NUSA_BENCH_DATA`, or else `data`."""
    return Path(named) if named else default_data_root()

"""What the Python door opens to: running, reading, testing, with plain arguments in and objects out (`benchmarks.api`)."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.config.registry import Strategy
from benchmarks.config.resolve import resolve
from benchmarks.config.settings import DATA_ROOT
from benchmarks.experiment.request import Places, Request, build_plan, cache_place
from benchmarks.runs import write
from benchmarks.runs.read import Run as ReadRun
from benchmarks.runs.read import read
from benchmarks.runtime import files, processes
from benchmarks.runtime.environment import quick_imports, writable_home
from benchmarks.streams.base import Plan, Task
from strategies.about import About


if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.comparison.collection import Runs
    from benchmarks.measurements.base import Callback


class Run(ReadRun):
    """One run folder, as `benchmarks.runs.read.Run`, with the model that it ended with."""

    def model(self) -> Any:
        """The merged model after the last task: a plain open_clip model on the CPU, in evaluation mode, in float32.

        Its attribute `tokenizer` is the model's tokenizer: prompts to (n, L) int64.

        Raises:
            UserError: the folder has no `model.safetensors` (it is not committed with reference runs), or it is damaged.
        """
        from benchmarks.backbones.loading import load_backbone

        file = self.folder / write.MODEL
        if not file.is_file():
            raise UserError(f"{file}: no such file; only a run that finished on this machine has its model")
        backbone = load_backbone(self.config["model"], str(file))
        clip: Any = backbone.clip.eval()
        clip.tokenizer = backbone.tokenize
        return clip


def run(
    strategy: str | Path | Strategy = "nusa",
    stream: str | Plan = "micro",
    *,
    results: str | Path = "results",
    callbacks: Sequence["Callback"] = (),
    measure: Sequence[str] = (),
    config: str | Path | None = None,
    data_root: str | Path = DATA_ROOT,
    cache: str | Path | None = None,
    use_cache: bool = True,
    auxiliary_images: str | Path | None = None,
    auxiliary_texts: str | Path | None = None,
    again: bool = False,
    plots: bool = True,
    silent: bool = False,
    **settings: Any,
) -> Run:
    """Takes a strategy through a stream and returns the finished run, as `python -m benchmarks.run` does.

    A run that was interrupted goes on after its last finished task; one that is finished is returned as it is.

    Args:
        strategy: a name (`nb.strategies()`), a path to a Python file with `Settings` and `Plugin`, or `nb.own_strategy(...)`.
        stream: a name (`nb.streams()`), or a plan of one's own (`nb.own_stream`).
        results: where the run folder goes.
        callbacks: told of what happens in the run; a `Measurement` among them fills a table of the run folder.
        measure: names of measurements of installed packages, or of such as are not taken by default.
        config: a YAML file of settings; what is given here beats it.
        data_root: where the published data sets lie.
        cache: where decoded images are kept; by default in the user's cache folder.
        use_cache: whether they are kept at all. The figures are the same without.
        auxiliary_images, auxiliary_texts: a folder and a file for methods that read images or captions besides the tasks'.
        again: runs a finished run once more, into a folder of its own.
        plots: whether `plots/` of the run folder is drawn at the end.
        silent: without a progress bar and lines on stderr.
        settings: any setting by its name on the command line with underscores, for instance `seed=1`, `rank=16`, `lr=1e-3`.

    Raises:
        UserError: wrong input, or whatever stops a run, in one line.
    """
    asked = request(
        {"strategy": strategy, "stream": stream, **settings}, results=results, measure=measure, config=config,
        data_root=data_root, cache=cache, use_cache=use_cache, auxiliary_images=auxiliary_images,
        auxiliary_texts=auxiliary_texts, again=again,
    )  # fmt: skip
    return start(asked, callbacks, plots=plots, silent=silent)


def request(
    given: Mapping[str, Any],
    *,
    results: str | Path = "results",
    measure: Sequence[str] = (),
    config: str | Path | None = None,
    data_root: str | Path = DATA_ROOT,
    cache: str | Path | None = None,
    use_cache: bool = True,
    auxiliary_images: str | Path | None = None,
    auxiliary_texts: str | Path | None = None,
    again: bool = False,
    command: str = "",
) -> Request:
    """What `run` would do, with all settings resolved and checked, and nothing done yet; brings no torch.

    Args:
        given: settings by name, `strategy` and `stream` among them as in `run`; for the others see there.
        command: what `run.json` says the run was asked for with; by default the call.

    Raises:
        UserError: wrong settings.
    """
    given = dict(given)
    strategy, stream = given.pop("strategy", None), given.pop("stream", None)
    own = strategy if isinstance(strategy, Strategy) else None
    plan = stream if isinstance(stream, Plan) else None
    named = {"strategy": str(strategy) if strategy and own is None else None, "stream": None if plan else stream}
    _check_objects(strategy, stream)
    chosen = {**{name: value for name, value in named.items() if value is not None}, **given}
    resolved = resolve(chosen, Path(config) if config else None, strategy=own, own_stream=plan.name if plan else None)
    places = Places(
        Path(results), Path(data_root), cache_place(Path(cache) if cache else None, wanted=use_cache),
        Path(auxiliary_images) if auxiliary_images else None, Path(auxiliary_texts) if auxiliary_texts else None,
    )  # fmt: skip
    folder = write.run_path(places.results, resolved)
    if again and write.is_finished(folder):
        folder = write.next_path(folder)
    words = ", ".join(f"{name}={value!r}" for name, value in resolved.flat().items())
    return Request(resolved, places, plan, folder, command or f"nb.run({words})", tuple(measure))


def _check_objects(strategy: Any, stream: Any) -> None:
    """Raises UserError for a strategy or stream that is neither a name nor an object of ours."""
    if not isinstance(strategy, str | Path | Strategy | None):
        raise UserError(f"strategy: expected a name, a path or nb.own_strategy(...), got {strategy!r}")
    if not isinstance(stream, str | Plan | None):
        raise UserError(f"stream: expected a name or nb.own_stream(...), got {stream!r}")
    if isinstance(strategy, Strategy) and strategy.sha256 == "" and strategy.name in registry.names("strategy"):
        raise UserError(f"strategy {strategy.name}: there is a strategy called that already; give it another name")
    if isinstance(stream, Plan) and not (stream.name and stream.name.replace("-", "_").isidentifier()):
        raise UserError(f'stream: a plan needs a name of letters, digits, "-" and "_", got "{stream.name}"')
    if isinstance(stream, Plan) and stream.name in registry.names("stream"):
        raise UserError(f"stream {stream.name}: there is a stream called that already; give it another name")


def start(asked: Request, callbacks: Sequence["Callback"] = (), *, plots: bool = True, silent: bool = False) -> Run:
    """Does what was requested, or finds it done. Raises UserError, as `run`."""
    if asked.is_finished:
        asked.check_finished()
    else:
        files.check_writable(asked.folder)
        stream = asked.open_stream()
        if processes.is_first() and not silent:
            print("loading torch, open_clip and Avalanche ...", file=sys.stderr)
        with writable_home(), quick_imports():
            from benchmarks.experiment.run import execute
        execute(asked, stream, callbacks, silent=silent)
    if plots and processes.is_first():
        from plotting.draw import draw_missing

        draw_missing(asked.folder)
    return _with_model(read(asked.folder))


def _with_model(found: ReadRun) -> Run:
    return Run(**{each.name: getattr(found, each.name) for each in fields(found)})


def load_runs(*places: str | Path) -> "Runs":
    """The finished runs at or below some folders (default: `results`), as `nb.Runs`.

    Raises:
        UserError: a folder is missing, or there is no run folder in it. Damaged and unfinished runs are in `.left_out`.
    """
    from benchmarks.comparison.collection import load

    return load([Path(place) for place in places or ("results",)], _with_model)


def evaluate(
    model: Any,
    stream: str | Plan,
    *,
    tokenizer: Any = None,
    order: str = "default",
    device: str = "auto",
    data_root: str | Path = DATA_ROOT,
    cache: str | Path | None = None,
) -> "pd.DataFrame":
    """Tests a model on every task of a stream, without training it.

    Args:
        model: an open_clip model, for instance `run.model()`; it is left as it is.
        stream: a name, or a plan of one's own.
        tokenizer: prompts to (n, L) int64; by default the model's own attribute `tokenizer`.
        order: of the tasks; it decides which there are.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        A row for each task: `task_aware`, top-1 accuracy in percent among the task's own classes, and `task_agnostic`,
        among the classes of all tasks.

    Raises:
        UserError: a model without tokenizer, or with towers that are no plain transformers; data that are missing.
    """
    from benchmarks.experiment.model_test import accuracy_of

    plan = stream if isinstance(stream, Plan) else build_plan(stream, Path(data_root))
    return accuracy_of(model, plan, tokenizer, order, device, cache_place(Path(cache) if cache else None, wanted=True))


def strategies() -> dict[str, str]:
    """The names of all strategies, each with what it is in a line."""
    return {name: source.summary for name, source in registry.sources("strategy").items()}


def streams() -> dict[str, str]:
    """The names of all streams, each with what it is in a line."""
    return {name: source.summary for name, source in registry.sources("stream").items()}


def stream(name: str, data_root: str | Path = DATA_ROOT) -> Plan:
    """The plan of a stream: its tasks' names and orders, and `open(names)`, which gives the tasks."""
    return build_plan(name, Path(data_root))


def strategy(name: str | Path) -> Strategy:
    """The strategy of a name, or of a path to a Python file, as an object that `nb.run` takes in place of the name.

    Raises:
        UserError: unknown, or a file that is no strategy.
    """
    return registry.strategy_of(str(name))


def own_strategy(plugin: type, settings: type, name: str, about: About | None = None) -> Strategy:
    """A method of one's own, written in a notebook or a module, to be passed to `nb.run`.

    Args:
        plugin: a subclass of `nb.StrategyPlugin`.
        settings: a frozen pydantic dataclass with the method's settings.
        name: of the method, in run folders and tables.
        about: what it is called in tables and how it is drawn.
    """
    shown = about or registry.about(name)
    return Strategy(name, settings, shown, "", lambda: plugin)


def own_stream(name: str, tasks: Sequence[Task], protocol: str = "one's own stream") -> Plan:
    """A stream of one's own tasks, in their order, to be passed to `nb.run`.

    Args:
        name: letters, digits, `-` and `_`; no name of a stream that there is.
        tasks: `nb.Task`s, their splits made with `nb.split_of`.
        protocol: what the run folder says of it, in a line.
    """
    by_name = {task.name: task for task in tasks}
    names = tuple(by_name)
    return Plan(
        names=names, orders={"default": names}, protocol=protocol, open=lambda some: tuple(by_name[one] for one in some),
        name=name,
    )  # fmt: skip

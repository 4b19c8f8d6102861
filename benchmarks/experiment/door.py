"""The functions behind `benchmarks.api` that do a run: they take plain arguments and return objects."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from benchmarks.config import registry
from benchmarks.config.errors import UserError, of_the_system, shown
from benchmarks.config.registry import Strategy
from benchmarks.config.resolve import general_defaults
from benchmarks.config.terminal import say
from benchmarks.experiment.besides import besides, check_switches
from benchmarks.experiment.extension import find as find_extension
from benchmarks.experiment.own import NAME
from benchmarks.experiment.reading import Run, data_place, with_model
from benchmarks.experiment.request import Places, Request, cache_place
from benchmarks.experiment.start import resolved
from benchmarks.runs import schema, write
from benchmarks.runs.folder import RunFiles
from benchmarks.runs.read import read
from benchmarks.runtime import files, processes
from benchmarks.runtime.environment import import_matplotlib, quick_imports, ready_for_avalanche
from benchmarks.runtime.lean_imports import lean_imports
from benchmarks.streams.base import Plan


if TYPE_CHECKING:
    from benchmarks.experiment.loggers.base import Log
    from benchmarks.experiment.measurements.base import Callback


ONE_RUN = Lock()


def run(
    strategy: str | Path | Strategy | None = None,
    stream: str | Plan | None = None,
    *,
    results: str | Path = "results",
    callbacks: Sequence["Callback"] = (),
    measure: Sequence[str] = (),
    log: Sequence[str] = (),
    extend: str | Path | None = None,
    keep_states: bool = False,
    predictions: bool = False,
    probe: Sequence[str] = (),
    config: str | Path | None = None,
    data_root: str | Path | None = None,
    cache: str | Path | None = None,
    use_cache: bool = True,
    auxiliary_images: str | Path | None = None,
    auxiliary_texts: str | Path | None = None,
    trust_model_code: bool = False,
    again: bool = False,
    plots: bool = True,
    silent: bool = False,
    **settings: Any,
) -> Run:
    """Trains a strategy on a stream, task by task, and returns the finished run, as `python -m benchmarks.run` does.

    A run that was interrupted is resumed after its last finished task. A run that is already finished is returned as it
    is.

    Args:
        strategy: a name (`nb.strategies()`), a path to a Python file with `Settings` and `Plugin`, or
            `nb.own_strategy(...)`; by default what `config` says, else `nusa`.
        stream: a name (`nb.streams()`), or a plan of one's own (`nb.own_stream`); by default what `config` says, else
            `micro`.
        results: the folder in which the run folder is made.
        callbacks: `nb.Callback` objects, notified of the run's events; a `Measurement` among them fills a table of the
            run folder.
        measure: names of measurements from installed packages, or of those not taken by default.
        log: names of loggers (`tensorboard`, `wandb`), to which losses, accuracies, ranks and plots go as well.
        extend: the folder of a finished run, which goes on with the tasks that `order` names, with all its settings, in a
            folder of its own; None for a run from its first task.
        keep_states: whether the weights that each task changed are kept in `states/` of the run folder, so that earlier
            states can be tested on tasks that are added later.
        predictions: whether the best classes of each test image in each state are written into `predictions/` of the run
            folder, which `Run.predictions` and `Run.confusion` read.
        probe: probes of what CLIP knew outside the stream, on which the model is tested in every state: `imagenet:DIR`,
            `retrieval:DIR`, `folder:PATH`, or `micro`.
        config: a YAML file of settings; arguments of this call take precedence over it.
        data_root: the folder of the published data sets; by default `$NUSA_BENCH_DATA`, or else `data`.
        cache: the folder for decoded images; by default `$NUSA_BENCH_CACHE`, or else in the user's cache folder.
        use_cache: whether decoded images are stored at all. The metrics do not depend on it.
        auxiliary_images: a folder of images, for methods that read images besides the tasks'; None if not given.
        auxiliary_texts: a text file with one caption in each line, for methods that read texts besides the tasks'; None
            if not given.
        trust_model_code: whether the config in a model's folder (`local-dir:`) may name a Hugging Face tokenizer, for
            which transformers may run code in that folder.
        again: runs a finished run once more, into a new folder.
        plots: whether the folder `plots/` of the run is drawn at the end.
        silent: prints no progress bar and no lines on stderr.
        settings: any setting by its name on the command line with underscores, for instance `seed=1`, `rank=16`,
            `lr=1e-3`.

    Raises:
        UserError: wrong input, or whatever stops a run, in one line.
    """
    asked = request(
        {"strategy": strategy, "stream": stream, **settings}, results=results, measure=measure, log=log,
        extend=extend, keep_states=keep_states, predictions=predictions, probe=probe, config=config,
        data_root=data_root, cache=cache, use_cache=use_cache,
        auxiliary_images=auxiliary_images, auxiliary_texts=auxiliary_texts, trust_model_code=trust_model_code, again=again,
    )  # fmt: skip
    return start(asked, callbacks, plots=plots, silent=silent)


def request(
    given: Mapping[str, Any],
    *,
    results: str | Path = "results",
    measure: Sequence[str] = (),
    log: Sequence[str] = (),
    extend: str | Path | None = None,
    keep_states: bool = False,
    predictions: bool = False,
    probe: Sequence[str] = (),
    config: str | Path | None = None,
    data_root: str | Path | None = None,
    cache: str | Path | None = None,
    use_cache: bool = True,
    auxiliary_images: str | Path | None = None,
    auxiliary_texts: str | Path | None = None,
    trust_model_code: bool = False,
    again: bool = False,
    command: str = "",
) -> Request:
    """Returns a request, from which `start` or `complete` does the run that `run` would do with these arguments.

    All its settings are resolved and checked; nothing has been run. It does not import torch.

    Args:
        given: settings by name, among them `strategy` and `stream` as in `run`.
        results: the folder of all run folders.
        measure: names of measurements in addition to those taken by default.
        log: names of loggers.
        extend: the folder of a finished run, which goes on with the tasks that `given` names as `order`; None for a run from
            its first task.
        keep_states: whether the weights that each task changed are kept in the run folder.
        predictions: whether what is predicted for each test image is written into the run folder.
        probe: names of probes with their arguments, such as `imagenet:DIR`.
        config: a YAML file of settings; `given` takes precedence over it.
        data_root: the folder of the published data sets; by default `$NUSA_BENCH_DATA`, or else `data`.
        cache: the folder for decoded images; by default `$NUSA_BENCH_CACHE`, or else in the user's cache folder.
        use_cache: whether decoded images are stored at all.
        auxiliary_images: a folder of images, for methods that read images besides the tasks'; None if not given.
        auxiliary_texts: a text file with one caption in each line, for methods that read texts besides the tasks'; None
            if not given.
        trust_model_code: whether the config in a model's folder may name a tokenizer that may run code.
        again: if the run is finished already, a new folder is chosen, so that it is done once more.
        command: the command that `run.json` records; by default the call of `nb.run`.

    Raises:
        UserError: a setting is unknown or has a wrong value.
    """
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise UserError(f"request: expected settings by name, as in {{'seed': 1}}, got {shown(given)}")
    check_switches(trust_model_code=trust_model_code, again=again)
    given = dict(given)
    strategy, stream = given.pop("strategy", None), given.pop("stream", None)
    own = strategy if isinstance(strategy, Strategy) else None
    plan = stream if isinstance(stream, Plan) else None
    _check_objects(strategy, stream)
    at = places(
        results, data_root=data_root, cache=cache, use_cache=use_cache, auxiliary_images=auxiliary_images,
        auxiliary_texts=auxiliary_texts,
    )  # fmt: skip
    check_path("config", config)
    check_path("extend", extend)
    paths = {
        "data_root": data_root, "cache": cache, "auxiliary_images": auxiliary_images, "auxiliary_texts": auxiliary_texts,
    }  # fmt: skip
    also = besides(measure, log, probe, keep_states=keep_states, predictions=predictions)
    named = {"strategy": str(strategy) if strategy and own is None else None, "stream": None if plan else stream}
    chosen = {**{name: value for name, value in named.items() if value is not None}, **given}
    if extend and config:
        raise UserError("--config: goes without --extend, where the finished run's settings hold")
    asked = chosen
    extension, chosen = find_extension(extend, chosen, own=own is not None) if extend else (None, chosen)
    found, start = resolved(
        chosen, Path(config) if config else None, strategy=own, own_stream=plan.name if plan else None
    )
    try:
        folder = write.run_path(at.results, found)
        if extension:
            extension.check_settings(found)
            folder = folder.with_name(f"{folder.name},extended")
        if again and write.is_finished(folder):
            folder = write.next_path(folder)
        told = {
            **(asked if extend else found.flat()),
            **{name: str(place) for name, place in paths.items() if place},
        }
        told |= also.given
        told |= {"trust_model_code": True} if trust_model_code else {}
        told |= {"extend": str(extend)} if extend else {}
        told |= {} if use_cache else {"use_cache": False}
        words = ", ".join(f"{name}={value!r}" for name, value in told.items())
        return Request(
            found, at, plan, folder, command or f"nb.run({words})", also, trust_model_code, start, extension,
        )  # fmt: skip
    except OSError as error:
        raise of_the_system(error) from error


def places(
    results: str | Path = "results",
    *,
    data_root: str | Path | None = None,
    cache: str | Path | None = None,
    use_cache: bool = True,
    auxiliary_images: str | Path | None = None,
    auxiliary_texts: str | Path | None = None,
) -> Places:
    """Returns the folders and files that runs read or write, checked.

    Args:
        results, data_root, cache, use_cache, auxiliary_images, auxiliary_texts: as in `request`.

    Raises:
        UserError: a value is no path, or the cache cannot be written.
    """
    check_switches(use_cache=use_cache)
    if results is None:
        raise UserError("results: expected a path, got None")
    named = {"data_root": data_root, "cache": cache, "auxiliary_images": auxiliary_images}
    for name, place in {"results": results, **named, "auxiliary_texts": auxiliary_texts}.items():
        check_path(name, place)
    try:
        return Places(
            Path(results), data_place(data_root), cache_place(Path(cache) if cache else None, wanted=use_cache),
            Path(auxiliary_images) if auxiliary_images else None, Path(auxiliary_texts) if auxiliary_texts else None,
        )  # fmt: skip
    except OSError as error:
        raise of_the_system(error) from error


def check_path(name: str, place: Any) -> None:
    """Checks that an argument is a path or None.

    Args:
        name: the argument's name.
        place: its value.

    Raises:
        UserError: it is another value.
    """
    if not isinstance(place, str | Path | None) or "\0" in str(place) or place == "":
        raise UserError(f"{name}: expected a path, got {shown(place)}")


def _check_objects(strategy: Any, stream: Any) -> None:
    """Raises UserError for a strategy or stream that is neither a name nor an object of the right class."""
    if not isinstance(strategy, str | Path | Strategy | None):
        raise UserError(f"strategy: expected a name, a path or nb.own_strategy(...), got {shown(strategy)}")
    if not isinstance(stream, str | Plan | None):
        raise UserError(f"stream: expected a name or nb.own_stream(...), got {shown(stream)}")
    if isinstance(stream, Plan) and not (isinstance(stream.name, str) and NAME.fullmatch(stream.name)):
        raise UserError(f'stream: a plan needs a name of letters, digits, "-" and "_", got "{stream.name}"')
    if isinstance(stream, Plan) and stream.name in registry.names("stream"):
        raise UserError(f"stream {stream.name}: there is a stream called that already; give it another name")


def start(asked: Request, callbacks: Sequence["Callback"] = (), *, plots: bool = True, silent: bool = False) -> Run:
    """Does a requested run and returns it; if its folder holds a finished run already, returns that.

    Args:
        asked: the request, made by `request`.
        callbacks: notified of the run's events.
        plots: whether the folder `plots/` of the run is drawn at the end.
        silent: prints no progress bar and no lines on stderr.

    Raises:
        UserError: wrong input, or whatever stops a run, in one line.
    """
    complete(asked, callbacks, plots=plots, silent=silent)
    return with_model(read(asked.folder))


def complete(asked: Request, callbacks: Sequence["Callback"] = (), *, plots: bool = True, silent: bool = False) -> None:
    """Does a requested run, unless its folder holds a finished one already, and returns nothing.

    Unlike `start`, it does not read the run folder afterwards: under torchrun that may be visible to one process only.

    Args:
        asked: the request, made by `request`.
        callbacks: notified of the run's events.
        plots: whether the folder `plots/` of the run is drawn at the end.
        silent: prints no progress bar and no lines on stderr.

    Raises:
        UserError: wrong input, or whatever stops a run, in one line.
    """
    check_switches(plots=plots, silent=silent)
    if not isinstance(asked, Request):
        raise UserError(f"start: expected what nb.request(...) returns, got {shown(asked)}")
    if not isinstance(callbacks, list | tuple):
        raise UserError(f"callbacks: expected a list of nb.Callback objects, got {shown(callbacks)}")
    logs = _loggers(asked)
    try:
        if was_finished := asked.is_finished:
            asked.check_finished()
            if callbacks:
                say("the run was finished before: its callbacks are not called; again=True runs it anew")
        elif not ONE_RUN.acquire(blocking=False):
            raise UserError(
                "another run goes on in this process, whose random numbers they would share; run one by one"
            )
        else:
            try:
                _execute(asked, [*callbacks, *logs], silent)
            finally:
                ONE_RUN.release()
    except OSError as error:
        raise of_the_system(error) from error
    if processes.is_first():
        if plots:
            _draw(asked.folder, must=not was_finished)
        for log in logs:
            log.follow(asked.folder, to_the_end=True)


def _loggers(asked: Request) -> "list[Log]":
    if not asked.besides.log:
        return []
    with ready_for_avalanche(), quick_imports(), lean_imports():
        found: list[Log] = _torch_part().chosen(asked.besides.log)
        return found


def _torch_part() -> Any:
    """Imports what needs torch, which neither plans nor shown runs wait for."""
    from benchmarks.experiment import execute

    return execute


def _execute(asked: Request, callbacks: Sequence["Callback"], silent: bool) -> None:
    with ExitStack() as until_done:
        files.check_writable(asked.folder)
        # A folder that is there is taken before anything slow is done.
        if is_locked := processes.is_first() and asked.folder.exists():
            until_done.enter_context(write.locked(asked.folder))
            schema.version(RunFiles(asked.folder))  # refuses a folder that a newer version began
            asked.check_unfinished()
        with ready_for_avalanche(), quick_imports(), lean_imports():
            stream = asked.open_stream()  # whose data sets may import torchvision
            if processes.is_first() and not silent:
                if line := general_defaults(asked.config, own_stream=asked.plan is not None):
                    say(line)
                if asked.start and asked.start.remark:
                    say(asked.start.remark)
                say("loading torch, open_clip and Avalanche ...")
            execute = _torch_part().execute
        # In a context of its own, which takes what a run leaves in context variables with it, however it ends.
        copy_context().run(execute, asked, stream, callbacks, silent=silent, is_locked=is_locked)


def _draw(folder: Path, *, must: bool) -> None:
    """Draws what is missing of a run's plots; of one that was finished before only where its folder can be written."""
    import_matplotlib()
    from plotting.draw import draw_missing

    if RunFiles(folder).is_packed:
        return
    try:
        draw_missing(folder)
    except UserError as error:
        if must:
            raise
        say(f"not drawn: {error}")

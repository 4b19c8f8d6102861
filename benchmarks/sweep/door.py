"""The function behind `nb.sweep` and `python -m benchmarks.sweep`: from a grid to finished run folders."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config.errors import UserError, shown
from benchmarks.config.terminal import say
from benchmarks.experiment.besides import NOTHING, Besides, besides, check_switches
from benchmarks.experiment.door import check_path, places
from benchmarks.experiment.reading import load_runs
from benchmarks.runs import write
from benchmarks.runtime import files
from benchmarks.sweep import cells as cells_of
from benchmarks.sweep import search
from benchmarks.sweep.cells import Cell, Shared
from benchmarks.sweep.file import block, read_blocks
from benchmarks.sweep.grid import Block
from benchmarks.sweep.options import Options
from benchmarks.sweep.outcomes import Outcome
from benchmarks.sweep.states import Standing, standing
from benchmarks.sweep.view import View


if TYPE_CHECKING:
    from benchmarks.comparison.collection import Runs


@dataclass(frozen=True)
class Plan:
    """A sweep that is checked.

    Attributes:
        cells: its runs.
        shared: what they have in common.
        standings: where each run stands, in the same order.
        remarks: lines on orders of a single task, and on finished runs whose values today's code may not give again.
    """

    cells: Sequence[Cell]
    shared: Shared
    standings: Sequence[Standing]
    remarks: Sequence[str] = ()

    @property
    def is_search(self) -> bool:
        """Whether settings are chosen from its runs, on validation images."""
        return any(cell.searched for cell in self.cells)

    def left(self, *, retry_failed: bool) -> list[int]:
        """Returns the indices of the runs that are to be done.

        Args:
            retry_failed: whether runs that failed are among them.
        """
        leave = {"finished"} if retry_failed else {"finished", "failed"}
        return [index for index, each in enumerate(self.standings) if each.state not in leave]


def plan(blocks: Sequence[Block], shared: Shared, *, opened: bool = True) -> Plan:
    """Returns the runs of a sweep, checked, and where they stand. Neither torch nor Ray is imported.

    Args:
        blocks: alternatives of settings; if one names settings to choose among, the runs are on validation images.
        shared: what all runs have in common.
        opened: whether each stream is opened once, to see whether its data are there.

    Raises:
        UserError: a setting or a value is wrong, two runs have the same folder, data are missing, a run folder is
            damaged or holds a run with other settings, or an unfinished one of another version, there are no runs or too
            many, or a search cannot be one.
    """
    searched = any(block.searched for block in blocks)
    found = cells_of.cells(search.blocks(blocks) if searched else blocks, shared, opened=opened)
    if searched and opened:
        search.check(found)
    standings = [standing(cell.folder) for cell in found]
    remarks = _checked_folders(found, standings) if opened else []
    return Plan(found, shared, standings, [*_single_tasks(found), *remarks])


def _single_tasks(found: Sequence[Cell]) -> list[str]:
    """A line where several orders are one task each, which may be meant as one order."""
    orders = list(dict.fromkeys(cell.request.config.common.order for cell in found if cell.tasks == 1))
    if len(orders) < 2:
        return []
    return [
        f"order {', '.join(orders)}: streams of one task each; an order of several has brackets, [{','.join(orders)}]"
    ]


def _checked_folders(found: Sequence[Cell], standings: Sequence[Standing]) -> list[str]:
    """Checks what the run folders hold, and returns lines on finished runs of other code or data, or that lack what is to
    be measured; raises UserError for what cannot be gone on with.
    """
    others: Counter[str] = Counter()
    changed: dict[str, str] = {}  # looked for once for all runs that read the same
    for cell, each in zip(found, standings, strict=True):
        if each.state == "finished":
            cell.request.check_same()
            about, common = write.run_json(cell.folder), cell.request.config.common
            others[cell.request.made_by_other(about)] += 1
            data = [about.get(name) for name in ("data_sha256", "stream_sha256")]
            drawn = common.shots and common.seed
            read = repr(
                [common.stream, common.order, common.splits, common.shots, drawn, data, cell.request.weights_file]
            )
            if read not in changed:
                changed[read] = cell.request.changed(about)
            others[changed[read]] += 1
            others[f"{words} adds nothing to them" if (words := cell.request.besides.not_afterwards) else ""] += 1
        elif (cell.folder / "config.yaml").exists():
            write.check_config(cell.folder, cell.request.config.flat())
            cell.request.check_unfinished()
    return [
        f"{count} finished: {why}; move their folders away to run them anew" for why, count in others.items() if why
    ]


def run_plan(asked: Plan, options: Options, *, retry_failed: bool = False, silent: bool = False) -> dict[str, Outcome]:
    """Does the runs of a sweep that are not finished, and returns when none is left.

    Args:
        asked: the sweep.
        options: how machines are used.
        retry_failed: whether runs that failed before are tried again.
        silent: whether to print nothing on stderr.

    Returns:
        How those ended that failed, now or before, by the run folder below that of all results.

    Raises:
        UserError: Ray is not installed, or it or the cluster cannot do the runs.
        KeyboardInterrupt: a signal ended the sweep.
    """
    indices = asked.left(retry_failed=retry_failed)
    cells = [asked.cells[index] for index in indices]
    before = {
        cell.name: Outcome("failed", each.why, each.log)
        for cell, each in zip(asked.cells, asked.standings, strict=True)
        if each.state == "failed" and not retry_failed
    }
    if not cells:
        return before
    files.check_writable(asked.shared.places.results)
    try:
        from benchmarks.sweep.engine import run_cells  # here, since whoever only plans needs no Ray
    except ImportError as error:
        raise UserError(
            'Ray is missing; install the extra "cluster" (uv run --extra cluster ..., pip install "nusa-bench[cluster]"), '
            "or take --print-commands, which needs none"
        ) from error
    with View(cells, zip(asked.cells, asked.standings, strict=True), silent=silent) as view:
        return before | run_cells(cells, asked.shared, options, view, max(each.memory for each in asked.standings))


@dataclass(frozen=True)
class SweepResult:
    """What `nb.sweep` returns.

    Attributes:
        runs: the finished runs, as `nb.load_runs` returns them; None if there are none.
        failed: why each of the others failed, by its run folder below that of all results.
        chosen: what a search chose: by strategy the searched settings with their values; else empty. The table, the
            recipe and where they come from are written into the results folder, as the command does.
    """

    runs: "Runs | None"
    failed: Mapping[str, str]
    chosen: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def sweep(
    grid: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | Path,
    *,
    results: str | Path = "results",
    measure: Sequence[str] = (),
    log: Sequence[str] = (),
    probe: Sequence[str] = (),
    keep_states: bool = False,
    predictions: bool = False,
    data_root: str | Path | None = None,
    cache: str | Path | None = None,
    use_cache: bool = True,
    auxiliary_images: str | Path | None = None,
    auxiliary_texts: str | Path | None = None,
    trust_model_code: bool = False,
    plots: bool = False,
    retry_failed: bool = False,
    address: str | None = None,
    cpus_per_run: int = Options.cpus,
    gpus_per_run: float | None = None,
    timeout: float = Options.timeout,
    scratch: str | Path | None = None,
    silent: bool = False,
) -> SweepResult:
    """Does every run of a grid, on this machine's processors or on a Ray cluster, as `python -m benchmarks.sweep` does.

    Finished runs are not done again, and interrupted ones go on after their last finished task.

    Args:
        grid: settings by name, each with a list of alternatives or with one value (`{"strategy": ["nusa", "lora"],
            "seed": range(42, 47)}`), of which every combination is a run; a list of such grids; or the path of a YAML
            file that holds one. Settings below `search` (`{"strategy": "nusa", "search": {"lr": [1e-3, 1e-2]}}`) are
            chosen among on validation images, as with the command's `--search`.
        results: the folder in which the run folders are made.
        measure, log, probe, keep_states, predictions: what each run does besides, as in `nb.run`.
        data_root, cache, use_cache, auxiliary_images, auxiliary_texts, trust_model_code: as in `nb.run`.
        plots: whether each run's `plots/` is drawn at its end.
        retry_failed: whether runs that failed before are tried again.
        address: of a Ray cluster (`HOST:PORT`, or `auto`); None for this machine.
        cpus_per_run: processors, and threads of torch, of a run.
        gpus_per_run: GPUs of a run, or a share of one; 0 for none; None for one where there are GPUs.
        timeout: seconds after which a run that says nothing counts as lost.
        scratch: a folder for run folders on machines of the cluster that do not see `results`; None if all see it.
        silent: prints nothing on stderr.

    Raises:
        UserError: wrong input, before the first run begins; the extra `cluster` is not installed; or what a search found
            cannot be written.
    """
    check_switches(retry_failed=retry_failed, silent=silent)
    check_path("scratch", scratch)
    shared = shared_by_all(
        results, besides(measure, log, probe, keep_states=keep_states, predictions=predictions), data_root=data_root,
        cache=cache, use_cache=use_cache, auxiliary_images=auxiliary_images, auxiliary_texts=auxiliary_texts,
        trust_model_code=trust_model_code, plots=plots,
    )  # fmt: skip
    options = Options(address, cpus_per_run, gpus_per_run, timeout, Path(scratch) if scratch else None)
    asked = plan(_blocks(grid), shared)
    for line in () if silent else asked.remarks:
        say(line)
    failed = run_plan(asked, options, retry_failed=retry_failed, silent=silent)
    finished = [cell.folder for cell in asked.cells if standing(cell.folder).state == "finished"]
    chosen = {}
    if asked.is_search:
        rows = search.choose(asked.cells)
        chosen = search.fragment(rows)
        search.write(rows, asked.cells, shared.places.results, f"nb.sweep({grid!r})")
    errors = {name: each.error for name, each in failed.items()}
    return SweepResult(load_runs(*finished) if finished else None, errors, chosen)


def _blocks(grid: Any) -> list[Block]:
    if isinstance(grid, str | Path):
        return read_blocks(Path(grid))
    grids = [grid] if isinstance(grid, Mapping) else grid
    if not isinstance(grids, list | tuple) or not all(isinstance(each, Mapping) for each in grids):
        raise UserError(f"sweep: expected settings by name, a list of such grids, or a file; got {shown(grid)}")
    return [block(each, f"grid {number}") for number, each in enumerate(grids, start=1)]


def shared_by_all(
    results: str | Path = "results",
    also: Besides = NOTHING,
    *,
    data_root: str | Path | None = None,
    cache: str | Path | None = None,
    use_cache: bool = True,
    auxiliary_images: str | Path | None = None,
    auxiliary_texts: str | Path | None = None,
    trust_model_code: bool = False,
    plots: bool = False,
) -> Shared:
    """Returns what all runs of a sweep have in common besides their settings, checked.

    Args:
        results, data_root, cache, use_cache, auxiliary_images, auxiliary_texts, trust_model_code, plots: as in `sweep`.
        also: what each run does besides.

    Raises:
        UserError: a value has the wrong type, a measurement is unknown, or a folder or file is missing or cannot be
            written.
    """
    at = places(
        results, data_root=data_root, cache=cache, use_cache=use_cache, auxiliary_images=auxiliary_images,
        auxiliary_texts=auxiliary_texts,
    )  # fmt: skip
    if at.results.exists() and not at.results.is_dir():
        raise UserError(f"--results {at.results}: not a folder")
    for option, place in (("--reference-images", at.auxiliary_images), ("--reference-texts", at.auxiliary_texts)):
        if place and not place.exists():
            raise UserError(f"{option} {place}: there is no such file or folder")
    check_switches(plots=plots, trust_model_code=trust_model_code)
    named = {"--results": results, "--data-root": data_root, "--cache": cache}
    switches = {"--no-cache": not use_cache, "--no-plots": not plots, "--trust-model-code": trust_model_code}
    words = [word for name, value in named.items() if value is not None for word in (name, str(value))]
    words += [*(name for name, on in switches.items() if on), *also.words]
    return Shared(at, also, plots, trust_model_code, tuple(words))

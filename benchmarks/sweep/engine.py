"""Does the runs of a sweep on Ray; the run folders say afterwards how each of them ended."""

import hashlib
import platform
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ray
from ray.exceptions import RayError

from benchmarks.config.errors import UserError
from benchmarks.runtime import files
from benchmarks.sweep.cells import Cell, Shared
from benchmarks.sweep.cluster import first_line, joined
from benchmarks.sweep.crew import Crew, Turn
from benchmarks.sweep.options import Options
from benchmarks.sweep.outcomes import Outcome
from benchmarks.sweep.view import View
from benchmarks.sweep.worker import Post


def go(cells: Sequence[Cell], shared: Shared, options: Options, view: View, memory: int = 0) -> dict[str, Outcome]:
    """Does runs, those that were begun from their last finished task on.

    Args:
        cells: the runs.
        shared: what all runs have in common.
        options: how the machines are used.
        view: shows how far the sweep is.
        memory: the most memory that a run of the sweep is known to have needed, in bytes; 0 if none is.

    Returns:
        How those ended that failed, by the run folder below that of all results; each folder notes it too.

    Raises:
        UserError: Ray or the cluster cannot do the runs.
        KeyboardInterrupt: a signal ended the sweep.
    """
    try:
        return _do(cells, shared, options, view, memory)
    except RayError as error:
        raise UserError(f"the Ray cluster is gone ({first_line(error)}); the same command goes on") from error


def _do(cells: Sequence[Cell], shared: Shared, options: Options, view: View, memory: int) -> dict[str, Outcome]:
    with joined(options.address), _marked(shared.places.results) as marker:
        options = _checked(options)
        here = absolute(shared)
        scratch = options.scratch and options.scratch.absolute() / f"sweep-{_digest(here.places.results)}"
        post = Post(here, Path.cwd(), options.cpus, bool(options.gpus), marker.absolute(), scratch)
        crew = Crew(options, post, map(Turn, cells), view, memory)
        crew.go()
        failed = crew.failed
        if crew.too_large:
            alone = Crew(options, post, crew.too_large, view, 0, alone=True)
            alone.go()
            failed = failed | alone.failed
    return failed


def _checked(options: Options) -> Options:
    """Returns the options with the share of a GPU decided; raises UserError if no machine has what a run needs."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if options.gpus is None:
        options = replace(options, gpus=1.0 if any(node.get("GPU") for node in nodes) else 0.0)
    if options.gpus and not any(node.get("GPU") for node in nodes):
        raise UserError(f"--gpus-per-run {options.gpus:g}: no machine here has a GPU that Ray knows; leave it out")
    if not any(node.get("CPU", 0) >= options.cpus and node.get("GPU", 0) >= (options.gpus or 0) for node in nodes):
        raise UserError(
            f"--cpus-per-run {options.cpus}, --gpus-per-run {options.gpus or 0:g}: no machine has as much; the largest has "
            f"{max((node.get('CPU', 0) for node in nodes), default=0):g} processors"
        )
    return options


def _digest(results: Path) -> str:
    return hashlib.sha256(f"{platform.node()}\0{results.resolve()}".encode()).hexdigest()[:16]


@contextmanager
def _marked(results: Path) -> Iterator[Path]:
    """Context in which a file in the results folder tells workers that they see this disk."""
    marker = results / f".sweep-{secrets.token_hex(8)}"
    files.write_text(marker, "")
    try:
        yield marker
    finally:
        marker.unlink(missing_ok=True)


def absolute(shared: Shared) -> Shared:
    """Returns what all runs have in common with absolute paths, for processes with other working folders.

    Args:
        shared: what all runs have in common.
    """
    places = shared.places
    named = {name: place.absolute() for name, place in vars(places).items() if place is not None}
    return replace(shared, places=replace(places, **named))

"""Does the runs of a sweep on Ray; the run folders say afterwards how each of them ended."""

import glob
import hashlib
import os
import platform
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
from ray.exceptions import RayError

from benchmarks.config.errors import UserError
from benchmarks.runtime import files
from benchmarks.sweep.cells import Cell, Shared
from benchmarks.sweep.cluster import first_line, joined
from benchmarks.sweep.machines import Machines, living
from benchmarks.sweep.options import Options
from benchmarks.sweep.outcomes import Outcome
from benchmarks.sweep.queued import QueuedRun
from benchmarks.sweep.scheduler import Scheduler
from benchmarks.sweep.view import View
from benchmarks.sweep.worker import Setup, Worker


def run_cells(
    cells: Sequence[Cell], shared: Shared, options: Options, view: View, memory: int, worker: type[Worker] = Worker
) -> dict[str, Outcome]:
    """Does runs, those that were begun from their last finished task on.

    Args:
        cells: the runs.
        shared: what all runs have in common.
        options: how the machines are used.
        view: shows how far the sweep is.
        memory: the most memory that a run of the sweep is known to have needed, in bytes; 0 if none is.
        worker: the class of the workers.

    Returns:
        How those ended that failed, by the run folder below that of all results; each folder notes it too.

    Raises:
        UserError: Ray or the cluster cannot do the runs.
        KeyboardInterrupt: a signal ended the sweep.
    """
    try:
        with joined(options.address), _marked(shared.places.results) as marker:
            options = _checked(options, cells)
            view.say(f"{len(cells)} run{'' if len(cells) == 1 else 's'} to do; the first ones import torch")
            here = absolute(shared)
            scratch = options.scratch and options.scratch.absolute() / f"sweep-{_digest(here.places.results)}"
            setup = Setup(here, Path.cwd(), options.cpus, bool(options.gpus), marker.absolute(), scratch)
            machines = Machines(options)
            many = Scheduler(machines, setup, map(QueuedRun, cells), view, memory, worker=worker)
            many.run()
            if not many.too_large:
                return many.failed
            alone = Scheduler(machines, setup, many.too_large, view, 0, alone=True, worker=worker)
            alone.run()
            return many.failed | alone.failed
    except RayError as error:
        raise UserError(f"the Ray cluster is gone ({first_line(error)}); the same command goes on") from error


def _checked(options: Options, cells: Sequence[Cell]) -> Options:
    """Returns the options with the share of a GPU decided; raises UserError if no machine has what the runs need."""
    machines = [machine.has for machine in living()]
    has_gpu = any(each.get("GPU") for each in machines)
    if options.gpus is None:
        options = replace(options, gpus=1.0 if has_gpu else 0.0)
    if options.gpus and not has_gpu:
        raise UserError(f"--gpus-per-run {options.gpus:g}: no machine here has a GPU that Ray knows; leave it out")
    if not any(each.get("CPU", 0) >= options.cpus and each.get("GPU", 0) >= (options.gpus or 0) for each in machines):
        raise UserError(
            f"--cpus-per-run {options.cpus}, --gpus-per-run {options.gpus or 0:g}: no machine has as much; the largest has "
            f"{max((each.get('CPU', 0) for each in machines), default=0):g} processors"
        )
    for cell in cells if not options.gpus else ():
        if cell.request.config.common.device == "cuda":
            raise UserError(
                f"device cuda ({cell.name}): the runs have no GPU; name a device cpu, or machines with GPUs"
            )
    return options


def _digest(results: Path) -> str:
    return hashlib.sha256(f"{platform.node()}\0{results.resolve()}".encode()).hexdigest()[:16]


@contextmanager
def _marked(results: Path) -> Iterator[Path]:
    """Context in which a file in the results folder tells workers that they see this disk; those of sweeps of this machine
    that were killed go.
    """
    own = f".sweep-{platform.node()}-"
    for old in results.glob(f"{glob.escape(own)}*"):
        process = re.fullmatch("([0-9]+)-[0-9a-f]+", old.name.removeprefix(own))
        if process and not psutil.pid_exists(int(process[1])):
            old.unlink(missing_ok=True)
    marker = results / f"{own}{os.getpid()}-{secrets.token_hex(8)}"
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

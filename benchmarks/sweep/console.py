"""What a sweep says on the terminal: where its runs stand, and how they end while they are done."""

import signal
import sys
from collections import Counter

from benchmarks.config.terminal import plain, say
from benchmarks.runtime import signals
from benchmarks.sweep import door
from benchmarks.sweep.door import Plan
from benchmarks.sweep.options import Options
from benchmarks.sweep.states import STATES


def say_remarks(asked: Plan) -> None:
    """Prints the remarks of a sweep on stderr.

    Args:
        asked: the sweep.
    """
    for line in asked.remarks:
        say(line)


def counts(asked: Plan) -> str:
    """Returns how many runs of a sweep stand where, such as `40 runs: 12 finished, 28 to do`.

    Args:
        asked: the sweep.
    """
    found = Counter(each.state for each in asked.standings)
    return f"{len(asked.cells)} runs: " + ", ".join(f"{found[state]} {state}" for state in STATES if found[state])


def show_status(asked: Plan) -> None:
    """Prints how many runs of a sweep stand where, and a line for each that is begun or failed.

    Args:
        asked: the sweep.
    """
    print(plain(counts(asked)))
    for cell, each in zip(asked.cells, asked.standings, strict=True):
        if each.state in ("running", "interrupted"):
            print(plain(f"{each.state:<11} {cell.name}: {len(each.seconds)} tasks learned"))
        elif each.state == "failed":
            print(plain(f"{each.state:<11} {cell.name}: {_why(each.why, each.log)}"))


def do(asked: Plan, options: Options, *, retry_failed: bool) -> bool:
    """Does the runs of a sweep that are not finished, and returns whether some failed.

    Interrupted by a signal it says how to go on, and ends the process with the signal's status.

    Args:
        asked: the sweep.
        options: how machines are used.
        retry_failed: whether runs that failed before are tried again.
    """
    with signals.raised() as came:
        try:
            failed = door.run_plan(asked, options, retry_failed=retry_failed)
        except KeyboardInterrupt:
            say("\ninterrupted; the same command goes on after the last finished task of each run")
            sys.exit(128 + (came[0] if came else signal.SIGINT))
    print(plain(f"{len(asked.cells) - len(failed)} of {len(asked.cells)} runs finished"))
    for name, outcome in failed.items():
        say(f"failed: {name}: {_why(outcome.error, outcome.log)}")
    if failed:
        say("the same command with --retry-failed tries those again")
    return bool(failed)


def _why(error: str, log: str) -> str:
    return f"{error}; log: {log}" if log else error

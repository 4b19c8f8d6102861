"""Trains CLIP on a stream of tasks with one strategy and writes a run folder: `python -m benchmarks.run --strategy
nusa`.
"""

import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import api
from benchmarks.config import command_line
from benchmarks.config.errors import OwnError, UserError
from benchmarks.config.settings import HARNESS_NAMES
from benchmarks.config.terminal import guard_output, plain, say, say_error
from benchmarks.runtime import processes, signals


FIRST_SPEAKS = 20  # seconds


def main(argv: list[str]) -> int:
    """Runs the command `python -m benchmarks.run`: trains on a stream with a strategy, or shows the run if it is
    finished.

    Errors are printed in one line on stderr.

    Args:
        argv: the command's options and values, without its name.

    Returns:
        The exit status: 0 done, 2 an error that the user can correct, 130 interrupted (143 by SIGTERM, 129 by
        SIGHUP).
    """
    guard_output()
    try:
        given = command_line.parse(argv)
        with signals.raised() if processes.count() == 1 else _ended():
            _run(given, {name: given.pop(name, None) for name in HARNESS_NAMES}, argv)
    except KeyboardInterrupt as error:
        _say_interrupted()
        return 128 + (error.args[0] if isinstance(error, signals.Signalled) else signal.SIGINT)
    except (UserError, OSError) as error:
        if "--debug" in argv:
            traceback.print_exc()
        if not processes.is_first() and not isinstance(error, OwnError):
            time.sleep(FIRST_SPEAKS)  # meanwhile the first process prints the same error, and torchrun ends this one
        say_error(error)
        if processes.count() > 1:
            os._exit(2)  # without cleaning up: torch would wait for the other processes
        return 2
    return 0


def _say_interrupted() -> None:
    if processes.is_first():
        say("\ninterrupted; the same command goes on after the last finished task")


@contextmanager
def _ended() -> Iterator[None]:
    with signals.ending(), signals.before_the_end(_say_interrupted):
        yield


def _run(given: dict, harness: dict, argv: list[str]) -> None:
    request = api.request(
        given,
        config=harness["config"], results=harness["results"], data_root=harness["data_root"], cache=harness["cache"],
        use_cache=not harness["no_cache"], auxiliary_images=harness["reference_images"],
        auxiliary_texts=harness["reference_texts"], again=harness["again"],
        trust_model_code=harness["trust_model_code"],
        measure=_names(harness["measure"]), log=_names(harness["log"]),
        extend=harness["extend"], keep_states=bool(harness["keep_states"]), predictions=bool(harness["predictions"]),
        probe=list(harness["probe"] or ()),
        command=shlex.join(["python", "-m", "benchmarks.run", *argv]),
    )  # fmt: skip
    before = request.is_finished
    api.complete(request, plots=not harness["no_plots"])
    if processes.is_first():
        if before:
            print(plain(f"finished before; shown from {request.folder} (--again runs it once more)\n"))
        api.show(request.folder)


def _names(given: str | None) -> list[str]:
    return [name.strip() for name in (given or "").split(",") if name.strip()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

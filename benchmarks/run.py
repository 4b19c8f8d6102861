"""Trains CLIP on a stream of tasks with one strategy and writes a run folder: `python -m benchmarks.run --strategy
nusa`.
"""

import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import api
from benchmarks.config import command_line
from benchmarks.config.errors import OwnError, UserError
from benchmarks.config.settings import HARNESS_NAMES
from benchmarks.config.terminal import plain, say, say_error, use_any_encoding
from benchmarks.runtime import processes


FIRST_SPEAKS = 20  # seconds


def main(argv: list[str]) -> int:
    """Runs the command `python -m benchmarks.run`: trains on a stream with a strategy, or shows the run if it is
    finished.

    Errors are printed in one line on stderr.

    Args:
        argv: the command's options and values, without its name.

    Returns:
        The exit status: 0 done, 2 an error that the user can correct, 130 interrupted
    (143 by SIGTERM, 129 by SIGHUP).
    """
    use_any_encoding()
    try:
        given = command_line.parse(argv)
        with _stopped_by_signals():
            _run(given, {name: given.pop(name, None) for name in HARNESS_NAMES}, argv)
    except KeyboardInterrupt as error:
        say("\ninterrupted; the same command goes on after the last finished task")
        return 128 + (error.args[0] if isinstance(error, _Signalled) else signal.SIGINT)
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


class _Signalled(KeyboardInterrupt):
    """Raised by a signal, whose number it holds."""


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Context in which SIGTERM and SIGHUP stop the run as Ctrl-C does, so that its folder says `interrupted`.

    A cluster's scheduler sends SIGTERM, a closed terminal SIGHUP. One that is ignored (nohup) stays so. One of several
    processes may be waiting for the others inside torch, where it would not notice: there the signals end it at once.
    """

    before: dict[int, Any] = {}

    def stop(number: int, frame: object) -> None:
        for each in before:  # the second of two would end the writing of the status
            signal.signal(each, signal.SIG_IGN)
        raise _Signalled(number)

    if processes.count() == 1 and threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.SIG_DFL
    try:
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(given: dict, harness: dict, argv: list[str]) -> None:
    request = api.request(
        given,
        config=harness["config"], results=harness["results"], data_root=harness["data_root"], cache=harness["cache"],
        use_cache=not harness["no_cache"], auxiliary_images=harness["reference_images"],
        auxiliary_texts=harness["reference_texts"], again=harness["again"],
        trust_model_code=harness["trust_model_code"],
        measure=[name.strip() for name in (harness["measure"] or "").split(",") if name.strip()],
        command=shlex.join(["python", "-m", "benchmarks.run", *argv]),
    )  # fmt: skip
    before = request.is_finished
    api.complete(request, plots=not harness["no_plots"])
    if processes.is_first():
        if before:
            print(plain(f"finished before; shown from {request.folder} (--again runs it once more)\n"))
        api.show(request.folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

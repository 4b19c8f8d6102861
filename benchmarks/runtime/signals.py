"""SIGTERM, SIGHUP and Ctrl-C, which stop a run in such a way that its folder says `interrupted`."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


# A cluster's scheduler sends SIGTERM, a closed terminal SIGHUP, which Windows does not have.
FROM_OUTSIDE = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
STOP = 0  # no signal's number: ends the thread that waits for one
_last_acts: list[Callable[[], None]] = []
_acting = threading.Lock()


class Signalled(KeyboardInterrupt):
    """Raised by a signal, whose number it holds."""


@contextmanager
def raised() -> Iterator[list[int]]:
    """Context in which SIGTERM and SIGHUP raise `Signalled`, which stops the only process of a run as Ctrl-C does.

    A signal that is ignored (nohup) stays so. Yields a list that holds the number of the signal afterwards, since a
    library on its way may raise a plain `KeyboardInterrupt` instead; empty if none came.
    """
    came: list[int] = []

    def stop(number: int) -> None:
        came.append(number)
        raise Signalled(number)

    with _handled(FROM_OUTSIDE, stop):
        yield came


@contextmanager
def ending() -> Iterator[None]:
    """Context in which SIGTERM, SIGHUP and Ctrl-C end this process, one of several of a run, at once.

    It may be waiting for the others inside torch, where Python raises nothing, so a thread does it: it calls what
    `before_the_end` was given, and ends the process with the exit status 128 and the signal's number.
    """
    waiting, writing = os.pipe()
    os.set_blocking(writing, False)
    with _handled([*FROM_OUTSIDE, signal.SIGINT], lambda number: None) as numbers:
        known = signal.set_wakeup_fd(writing) if numbers else -1
        watch = threading.Thread(target=_end_by, args=[waiting, numbers], daemon=True)
        watch.start()
        try:
            yield
        finally:
            if numbers:
                signal.set_wakeup_fd(known)
            os.write(writing, bytes([STOP]))  # closing would not do: a forked process may hold the pipe too
            watch.join()
            os.close(writing)
            os.close(waiting)


@contextmanager
def _handled(numbers: list[int], act: Callable[[int], None]) -> Iterator[list[int]]:
    """Context in which those signals that have Python's usual handling are handled by a function, the first one only.

    Yields which these are; none outside the main thread, where Python handles no signals.
    """
    usual: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    usual = {number: each for number, each in usual.items() if each in (signal.SIG_DFL, signal.default_int_handler)}
    if threading.current_thread() is not threading.main_thread():
        usual = {}

    def handle(number: int, frame: object) -> None:
        for each in usual:  # the second of two would end the writing of the status
            signal.signal(each, signal.SIG_IGN)
        act(number)

    try:
        for number in usual:
            signal.signal(number, handle)
        yield list(usual)
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _end_by(waiting: int, numbers: list[int]) -> None:
    """Ends the process by one of the signals, whose numbers Python writes into a pipe as they arrive."""
    while (number := os.read(waiting, 1)[0]) != STOP:
        if number in numbers:
            with _acting:
                for act in reversed(_last_acts):
                    with contextlib.suppress(Exception):  # such as a full disk, which must not keep the process alive
                        act()
                os._exit(128 + number)  # without cleaning up: torch would wait for the other processes


@contextmanager
def before_the_end(act: Callable[[], None]) -> Iterator[None]:
    """Context in which something is done before a signal ends this process, one of several of a run.

    Args:
        act: what is done, in a thread of its own; the last given is done first.
    """
    with _acting:
        _last_acts.append(act)
    try:
        yield
    finally:
        with _acting:
            _last_acts.remove(act)

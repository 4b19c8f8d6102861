"""Starts Ray on this machine, or joins a cluster that is there."""

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray

from benchmarks.config.errors import UserError


STORE = 256 * 2**20  # bytes of Ray's object store here: a sweep passes little through it
HERE = "127.0.0.1"
ANSWER = 10.0  # seconds that a cluster has to answer a call
TOKEN = secrets.token_hex(32)  # of Ray here; one for the process, in which Ray reads it once


@contextmanager
def joined(address: str | None) -> Iterator[None]:
    """Context in which this process is connected with Ray.

    Without an address Ray is started on this machine for this process alone: reachable from nowhere else, with a token of
    its own, without a dashboard. It ends with the context, and with the process.

    Args:
        address: of a cluster (`HOST:PORT`, or `auto` for the one that this machine is part of); None starts Ray here.

    Raises:
        UserError: Ray cannot be started, or there is no cluster at the address.
    """
    if address and address != "auto":
        _call(address)
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE, "_node_ip_address": HERE}
    with _environment({} if address else {"RAY_AUTH_TOKEN": TOKEN, "RAY_AUTH_MODE": None}):
        own |= {"num_cpus": allowed} if (allowed := _processors()) else {}
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else own))
        except Exception as error:  # ConnectionError, RuntimeError and others, by what is wrong
            raise UserError(f"{_where(address)} ({first_line(error)})") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own there, which ends the process in the middle
        try:
            yield
        finally:
            ray.shutdown()


def _processors() -> int:
    """How many processors this process may use (`taskset`, Slurm), which Ray does not look at; 0 if it may use all."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return allowed if allowed < (os.cpu_count() or 1) else 0


@contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Context in which environment variables have other values, or none, as processes that start there inherit them."""
    kept = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(kept)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def _call(address: str) -> None:
    """Raises UserError if nobody listens at an address, where Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and int(port) < 2**16 and "/" not in host):
        raise UserError(f"--address {address}: expected HOST:PORT, as `ray start` prints it, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except (OSError, ValueError) as error:  # ValueError: of a name that no host can have
        raise UserError(f"{_where(address)} ({getattr(error, 'strerror', None) or error})") from error


def _where(address: str | None) -> str:
    if address is None:
        return "Ray cannot be started here"
    return f"--address {address}: no Ray cluster answers there; `ray status` says whether one is up"


def first_line(error: BaseException) -> str:
    """Returns the first line of an error of Ray's, whose others are for whoever mends Ray.

    Args:
        error: the error.
    """
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__

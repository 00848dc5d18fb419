"""The Ray that a command works with: the one that is there, or one of its own."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import ray

from captioning.errors import ConfigError, WorkersFailed

if TYPE_CHECKING:
    from ray._private.worker import BaseContext

_OBJECT_STORE_BYTES = 200 * 1024 * 1024  # of a Ray of our own: what goes through it is text
_ATTEMPTS = 3
_ANSWER_S = 10.0

_log = logging.getLogger(__name__)


@contextmanager
def running_ray(*, cpus: int | None = None) -> Iterator[None]:
    """The process's own Ray, the cluster of RAY_ADDRESS, or else one of this machine with so many CPUs.

    Raises:
        ConfigError: nothing answers at RAY_ADDRESS.
        WorkersFailed: Ray does not start.
    """
    if ray.is_initialized():
        yield
        return
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if os.environ.get("RAY_ADDRESS"):
            join_ray()
        else:
            start_ray(num_cpus=cpus, object_store_memory=_OBJECT_STORE_BYTES, include_dashboard=False)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set one that exits at once
        yield
    finally:
        ray.shutdown()


def join_ray() -> BaseContext:
    """Connect to the cluster of RAY_ADDRESS.

    Raises:
        ConfigError: nothing answers there; Ray itself would wait for some ten minutes.
    """
    address = os.environ["RAY_ADDRESS"]
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        if place.hostname and place.port:
            socket.create_connection((place.hostname, place.port), timeout=_ANSWER_S).close()
        return ray.init(log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"RAY_ADDRESS = {address!r}: no Ray answers there ({error}). Give the address of a running "
            "cluster's head, as `ray start --head` prints it, or unset RAY_ADDRESS to work on this machine."
        ) from error


def start_ray(**options: Any) -> BaseContext:
    """Start a Ray on this machine, with those options of `ray.init`.

    Tried several times: Ray gives its own processes 30 s to start, which a busy machine may not manage.

    Raises:
        WorkersFailed: it does not start.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return ray.init(address="local", log_to_driver=False, logging_level=logging.WARNING, **options)
        except Exception as error:  # Ray raises no narrower one
            if attempt == _ATTEMPTS:
                raise WorkersFailed(
                    f"Ray does not start after {attempt} attempts: {root_cause(error)}"
                ) from error
            _log.warning("Ray did not start (%s); once more", error)
    raise AssertionError("unreachable")


def root_cause(error: BaseException) -> str:
    """The last line of the deepest message: Ray nests tracebacks as text."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__

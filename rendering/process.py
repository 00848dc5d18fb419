"""A worker process, and the channel to it: for what hostile input may hang, crash or inflate.

The process runs a module that ends in `rendering.worker.serve`. It is a plain subprocess, so it works in
threads, in daemonic processes and in Ray actors alike.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

from rendering.frames import receive, send

_START_TIMEOUT_S = 60.0  # importing a renderer on a busy machine
_KEPT_ENVIRONMENT = ("HOME", "LD_LIBRARY_PATH", "LANG", "PATH", "TMPDIR")  # and no secrets
_KEPT_PREFIXES = ("FONTCONFIG_", "XDG_")


class Worker:
    """`python -m MODULE ARGUMENT...`, killed when nobody holds it any more; used by one thread at a time.

    Raises:
        OSError: it does not start.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # -P: a file in the working directory must not pose as a module
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # a Ctrl-C on the terminal is for the parent to handle
            )
        self.kill = weakref.finalize(self, _end, self._process, self._channel)
        try:
            self.hello, _ = receive(
                self._channel, max_bytes=1 << 16, deadline=time.monotonic() + _START_TIMEOUT_S
            )
        except (OSError, EOFError, ValueError) as error:
            self.kill()
            raise OSError(
                f"the {module} process did not start ({error}; exit status {self.exit_status})."
                f" Does this work: {sys.executable} -c 'import {module}'"
            ) from None
        except BaseException:  # Ctrl-C while it starts must not leave it behind
            self.kill()
            raise

    @property
    def exit_status(self) -> int | None:
        """None while it runs; below 0 the signal that ended it."""
        return self._process.poll()

    def ask(
        self, request: dict[str, Any], body: bytes, *, timeout_s: float, max_bytes: int
    ) -> tuple[dict[str, Any], bytes]:
        """The answer to one message, header and body.

        After a failure the process is dead: the channel may hold half a message.

        Raises:
            TimeoutError: there was none after `timeout_s`.
            OSError, EOFError: the process died.
            ValueError: the answer is longer than `max_bytes`, or it is none.
        """
        deadline = time.monotonic() + timeout_s
        try:
            self._channel.settimeout(timeout_s)
            send(self._channel, request | {"timeout_s": timeout_s}, body)
            return receive(self._channel, max_bytes=max_bytes, deadline=deadline)
        except BaseException:
            self.kill()
            raise


def _end(process: subprocess.Popen[bytes], channel: socket.socket) -> None:
    process.kill()
    process.wait()
    channel.close()


def _environment() -> dict[str, str]:
    """What a worker needs to find its libraries and fonts, and nothing else of ours."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT_ENVIRONMENT or name.startswith(_KEPT_PREFIXES)
    }
    roots = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, roots))}

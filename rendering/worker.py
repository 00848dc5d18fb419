"""The process that draws: one file after another, under limits that the kernel enforces.

Started by the pool in `raster.py` as `python -m rendering.worker BACKEND MEMORY_MIB`, with a socket as
standard input. It ends when that socket closes, so it does not outlive its parent. It knows nothing of
uploads: the text that it gets is sanitized, and still the limits assume the worst.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from rendering.backends import Backend, open_backend
from rendering.compose import compose, encode_png, fit
from rendering.errors import RenderError
from rendering.frames import receive, send

MAX_REQUEST_BYTES = 64 << 20
GRACE_S = 1.0  # the pool kills at the limit; the kernel does so this much later if the pool is gone
_MAX_OPEN_FILES = 64
_MAX_IMAGE_PIXELS = 16 << 20  # of one embedded raster image; Pillow refuses twice as many
_WARM_UP = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
    '<path d="M0 0h9v9z"/><text y="9">a</text></svg>'
)

Answer = Callable[[dict[str, Any], str], tuple[dict[str, Any], bytes]]
"""From the header of a request and its SVG to the header and the body of a reply."""


def main() -> None:
    name, memory_mib = sys.argv[1], int(sys.argv[2])
    channel = open_channel()
    try:
        backend = open_backend(name)
        backend.draw(_WARM_UP, 8, 8)  # reads the font cache and late imports before the limits close the door
    except RenderError as error:
        send(channel, {"code": error.code, "message": str(error)})
        return
    limit_resources(memory_mib)
    serve(channel, {"backend": backend.name, "version": backend.version}, partial(_answer, backend))


def open_channel() -> socket.socket:
    """The channel to the parent, in a process that the kernel's signals end again."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # a parent's thread may have blocked signals
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return socket.socket(fileno=os.dup(0))


def serve(channel: socket.socket, hello: dict[str, Any], answer: Answer) -> None:
    """Say hello, then answer one message after another, each in its time, until the parent is gone."""
    send(channel, hello)
    with suppress(EOFError):
        while True:
            request, svg = receive(channel, max_bytes=MAX_REQUEST_BYTES)
            _limit_time(request["timeout_s"] + GRACE_S)
            reply = answer(request, svg.decode())
            signal.setitimer(signal.ITIMER_REAL, 0)
            send(channel, *reply)


def limit_resources(memory_mib: int) -> None:
    """Has the kernel hold this process to so much memory more than it has now, and to nearly no files."""
    os.environ["PATH"] = ""  # nothing is ever started from here
    Image.MAX_IMAGE_PIXELS = _MAX_IMAGE_PIXELS
    _lower_limit(resource.RLIMIT_AS, _address_space_bytes() + (memory_mib << 20))
    _lower_limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES)
    _lower_limit(resource.RLIMIT_FSIZE, 0)
    _lower_limit(resource.RLIMIT_CORE, 0)


def _lower_limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with suppress(ValueError, OSError):  # some systems refuse some limits
        resource.setrlimit(kind, (value, value))


def _answer(backend: Backend, request: dict[str, Any], svg: str) -> tuple[dict[str, Any], bytes]:
    """Draw one file: a header with the cost and the PNG, or a header with code and message."""
    _forget_peak_memory()
    memory_before, started = _peak_memory_mib(), time.perf_counter()
    try:
        picture = backend.draw(svg, *fit(request["width"], request["height"], request["size_px"]))
        png = encode_png(compose(picture, request["size_px"], request["background"]))
    except MemoryError:
        return {"code": "render_memory"}, b""
    except Exception as error:  # noqa: BLE001 - renderers raise anything on a file that they cannot draw
        message = f"{backend.name} could not draw it: {type(error).__name__}: {error}"
        return {"code": "render_failed", "message": message[:500]}, b""
    cost = {
        "time_ms": 1000 * (time.perf_counter() - started),
        "memory_mib": _peak_memory_mib() - memory_before,
    }
    return cost, png


def _limit_time(seconds: float) -> None:
    """Have the kernel end this process after so much wall time, or so much CPU time on any thread."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = cpu_s if hard == resource.RLIM_INFINITY else min(cpu_s, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _address_space_bytes() -> int:
    """What this process maps now; 0 where the system does not say, which makes the limit tighter."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _forget_peak_memory() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_mib() -> float:
    """Peak resident memory since `_forget_peak_memory`, or since the start where that is refused."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

"""A pool of warm processes that turn drawings into PNG pictures, each file under limits.

    with Rasterizer() as rasterizer:
        png = rasterizer.render(load(data), size_px=256, background="auto")

A file that oversteps its time or memory costs its worker: the worker is killed and replaced, the file
gets a `RenderError`, and no other file notices. The workers are plain subprocesses, so a pool works in
threads, in daemonic processes and in Ray actors alike; it does not cross a fork: make one in each process.
"""

from __future__ import annotations

import math
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rendering.backends import backend_names
from rendering.compose import check_background
from rendering.errors import RenderError
from rendering.frames import receive, send

if TYPE_CHECKING:
    from rendering.document import Drawing

MAX_SIZE_PX = 4096
_START_TIMEOUT_S = 60.0  # importing a renderer on a busy machine
_KEPT_ENVIRONMENT = ("HOME", "LD_LIBRARY_PATH", "LANG", "PATH", "TMPDIR")  # and no secrets
_KEPT_PREFIXES = ("FONTCONFIG_", "XDG_")


@dataclass(frozen=True)
class Raster:
    """One picture, who drew it, and what it cost."""

    png: bytes
    backend: str  # name and version, such as "cairosvg 2.9.1"
    time_ms: float  # drawing and encoding, inside the worker
    memory_mib: float  # growth of the worker's peak resident memory


class Rasterizer:
    """Draws with one back end in up to `workers` processes, which start when they are first needed.

    `timeout_s` limits wall and CPU time of a file, `memory_mib` its address space. A worker is replaced
    after `renders_per_worker` files, because renderers leak.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        timeout_s: float = 5.0,
        memory_mib: int = 512,
        backend: str = "cairosvg",
        renders_per_worker: int = 500,
    ) -> None:
        if min(workers, timeout_s, memory_mib, renders_per_worker) <= 0:
            raise ValueError(
                f"{workers=}, {timeout_s=}, {memory_mib=} and {renders_per_worker=} must be positive"
            )
        if backend not in backend_names():
            raise ValueError(f"no back end {backend!r}. Known: {', '.join(backend_names())}.")
        self._workers, self._timeout_s, self._memory_mib = workers, timeout_s, memory_mib
        self._backend, self._renders_per_worker = backend, renders_per_worker
        self._pid = os.getpid()
        self._closed = False
        self._closing = threading.Lock()
        # One slot per worker; an empty one starts its worker when taken. Last in, first out: warm ones first.
        self._slots: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(workers):
            self._slots.put(None)
        weakref.finalize(self, _kill_idle, self._slots)

    def render(self, drawing: Drawing, *, size_px: int = 512, background: str = "white") -> bytes:
        """PNG of the drawing, centred in a square of `size_px`; thread-safe.

        `background` is "white", "transparent", any colour, or "auto": white, but a contrasting ground when
        the drawing is near-white and would be lost.

        Raises:
            RenderError: no picture within the limits; its `code` is `render_failed`, `render_timeout`,
                `render_memory`, or `backend_unavailable`.
            ValueError: bad size or background.
        """
        return self.measure(drawing, size_px=size_px, background=background).png

    def measure(self, drawing: Drawing, *, size_px: int = 512, background: str = "white") -> Raster:
        """Like `render`, with the cost of the picture."""
        request = self._request(drawing, size_px, background)
        worker = self._slots.get()
        try:
            if self._closed:
                raise RuntimeError("this Rasterizer is closed")
            if worker is None or not worker.usable():
                worker = self._replace(worker)
            return worker.draw(request, drawing.svg)
        finally:
            self._slots.put(worker)

    def close(self) -> None:
        """End the workers, after the renders that are under way; safe to call twice."""
        self._closed = True
        with self._closing:
            for worker in [self._slots.get() for _ in range(self._workers)]:
                if worker is not None:
                    worker.kill()
                self._slots.put(None)  # wakes a caller that waits for a slot: it finds the pool closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, drawing: Drawing, size_px: int, background: str) -> dict[str, Any]:
        if os.getpid() != self._pid:
            raise RuntimeError("this Rasterizer was made in another process: make one in each process")
        if not 1 <= size_px <= MAX_SIZE_PX:
            raise ValueError(f"size_px is {size_px}, must be from 1 to {MAX_SIZE_PX}")
        check_background(background)
        width, height = drawing.width, drawing.height
        if not (drawing.svg and 0 < width < math.inf and 0 < height < math.inf):
            raise RenderError(f"the drawing is empty or its size is {width} x {height}")
        return {
            "width": width,
            "height": height,
            "size_px": size_px,
            "background": background,
            "timeout_s": self._timeout_s,
        }

    def _replace(self, worker: _Worker | None) -> _Worker:
        if worker is not None:
            worker.kill()
        return _Worker(self._backend, self._memory_mib, self._renders_per_worker)


class _Worker:
    """One `rendering.worker` process and the channel to it; used by one thread at a time."""

    def __init__(self, backend: str, memory_mib: int, renders: int) -> None:
        self._memory_mib = memory_mib
        self._renders_left = renders
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # -P: a file in the working directory must not pose as a module
                [sys.executable, "-P", "-m", "rendering.worker", backend, str(memory_mib)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # a Ctrl-C on the terminal is for the parent to handle
            )
        try:
            hello, _ = receive(self._channel, max_bytes=1 << 16, deadline=time.monotonic() + _START_TIMEOUT_S)
        except (OSError, EOFError, ValueError) as error:
            self.kill()
            raise RenderError(
                f"the {backend} worker did not start ({error}; exit status {self._process.returncode})."
                f" Does this work: {sys.executable} -c 'import rendering.worker'",
                code="backend_unavailable",
            ) from None
        except BaseException:  # Ctrl-C while it starts must not leave it behind
            self.kill()
            raise
        if "code" in hello:
            self.kill()
            raise RenderError(hello["message"], code=hello["code"])
        self._backend = f"{hello['backend']} {hello['version']}"

    def usable(self) -> bool:
        return self._renders_left > 0 and self._process.poll() is None

    def draw(self, request: dict[str, Any], svg: str) -> Raster:
        """Draw one file; after any failure the worker is no longer usable: a library may keep its error."""
        self._renders_left -= 1
        deadline = time.monotonic() + request["timeout_s"]
        most_bytes = 8 * request["size_px"] ** 2 + (1 << 16)
        try:
            self._channel.settimeout(request["timeout_s"])
            send(self._channel, request, svg.encode())
            reply, png = receive(self._channel, max_bytes=most_bytes, deadline=deadline)
        except BaseException as error:  # whatever happened, the channel may hold half a message
            self.kill()
            if isinstance(error, (OSError, EOFError, ValueError)):
                raise self._explain(error, request["timeout_s"]) from None
            raise
        if "code" not in reply:
            return Raster(png, self._backend, reply["time_ms"], reply["memory_mib"])
        self.kill()
        if reply["code"] == "render_memory":
            raise self._out_of_memory()
        raise RenderError(reply["message"], code=reply["code"])

    def kill(self) -> None:
        """End the process and reap it."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def _explain(self, error: Exception, timeout_s: float) -> RenderError:
        ended_by = -self._process.returncode
        if isinstance(error, TimeoutError) or ended_by in (signal.SIGALRM, signal.SIGXCPU):
            return RenderError(
                f"no picture after {timeout_s:g} s, the limit for one file; the drawing is too costly",
                code="render_timeout",
            )
        how = signal.Signals(ended_by).name if ended_by > 0 else str(error)
        return RenderError(f"the renderer crashed on this drawing ({how})", code="render_failed")

    def _out_of_memory(self) -> RenderError:
        return RenderError(
            f"the drawing needs more than {self._memory_mib} MiB of memory, the limit for one file",
            code="render_memory",
        )


def _environment() -> dict[str, str]:
    """What a worker needs to find its libraries and fonts, and nothing else of ours."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT_ENVIRONMENT or name.startswith(_KEPT_PREFIXES)
    }
    roots = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, roots))}


def _kill_idle(slots: queue.LifoQueue[_Worker | None]) -> None:
    """Last resort for a pool that nobody closed: runs when it is collected or the interpreter ends."""
    while not slots.empty():
        worker = slots.get_nowait()
        if worker is not None:
            worker.kill()

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
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rendering.backends import backend_names
from rendering.compose import check_background
from rendering.errors import RenderError
from rendering.process import Worker

if TYPE_CHECKING:
    from rendering.document import Drawing

MAX_SIZE_PX = 4096


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
            return worker.draw(request, drawing.svg, self._timeout_s)
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
        }

    def _replace(self, worker: _Worker | None) -> _Worker:
        if worker is not None:
            worker.kill()
        return _Worker(self._backend, self._memory_mib, self._renders_per_worker)


class _Worker(Worker):
    """One `rendering.worker` process; used by one thread at a time."""

    def __init__(self, backend: str, memory_mib: int, renders: int) -> None:
        self._memory_mib = memory_mib
        self._renders_left = renders
        try:
            super().__init__("rendering.worker", backend, str(memory_mib))
        except OSError as error:
            raise RenderError(str(error), code="backend_unavailable") from None
        if "code" in self.hello:
            self.kill()
            raise RenderError(self.hello["message"], code=self.hello["code"])
        self._backend = f"{self.hello['backend']} {self.hello['version']}"

    def usable(self) -> bool:
        return self._renders_left > 0 and self.exit_status is None

    def draw(self, request: dict[str, Any], svg: str, timeout_s: float) -> Raster:
        """Draw one file; after any failure the worker is no longer usable: a library may keep its error."""
        self._renders_left -= 1
        most_bytes = 8 * request["size_px"] ** 2 + (1 << 16)
        try:
            reply, png = self.ask(request, svg.encode(), timeout_s=timeout_s, max_bytes=most_bytes)
        except (OSError, EOFError, ValueError) as error:
            raise self._explain(error, timeout_s) from None
        if "code" not in reply:
            return Raster(png, self._backend, reply["time_ms"], reply["memory_mib"])
        self.kill()
        if reply["code"] == "render_memory":
            raise self._out_of_memory()
        raise RenderError(reply["message"], code=reply["code"])

    def _explain(self, error: Exception, timeout_s: float) -> RenderError:
        ended_by = -(self.exit_status or 0)
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

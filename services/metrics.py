"""Numbers for Prometheus, through Ray: it exports them with those of its own on every node's metrics port.

Ray writes `ray_` before each name and adds `deployment`, `replica` and `application` to the labels of ours,
so that replicas stay apart. Units are in the names; what never falls is a counter and ends in `_total`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict

from ray.serve.metrics import Counter, Gauge, Histogram

from captioning.load import Load
from captioning.ticket import Ticket
from services.watch import Record

_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]

# What the sanitizer took out is named by the file itself: any other name counts as `other`.
_KINDS = frozenset(
    [
        "event handler",
        "external reference",
        "foreign element",
        "foreignObject",
        "processing instruction",
        "reference cycle",
        "script",
        "unreadable embedded image",
    ]
)

_GAUGES = {
    "waiting": "Requests without a place in the batch.",
    "rows": "Texts that are being written.",
    "max_rows": "Texts that can be written at once.",
    "adapter_bytes": "Memory that adapters take.",
}
_COUNTERS = {
    "started": "Requests that have got a place in the batch.",
    "finished": "Requests that were answered.",
    "failed": "Requests that failed in the engine.",
    "prompt_tokens": "Tokens of prompts that were read.",
    "prefix_tokens": "Tokens of prompts that were at hand and not read again.",
    "new_tokens": "Tokens that were written.",
    "steps": "Passes that wrote a token to each text of the batch.",
    "step_rows": "Texts of all passes; by the passes it is the mean batch.",
    "adapter_loads": "Adapters that were loaded.",
    "adapter_evictions": "Adapters that made room for others.",
}


class RequestMetrics:
    """What an ingress replica counts; call it with each record."""

    def __init__(self) -> None:
        self._requests = Counter(
            "svg_requests",
            "Requests to the API by what became of them: ok, or the type of the error.",
            ("endpoint", "outcome", "model"),  # type: ignore[arg-type] # Ray means tuple[str, ...]
        )
        self._seconds = Histogram(
            "svg_request_seconds", "From the first byte read to the last sent.", _SECONDS, ("endpoint",)
        )
        self._drawings = _from_zero(Counter("svg_drawings", "Drawings that came in."))
        self._refused = Counter("svg_drawings_refused", "Drawings that were refused.", ("code",))
        self._removed = Counter("svg_sanitized", "What the sanitizer took out of drawings.", ("kind",))

    def __call__(self, record: Record) -> None:
        self._requests.inc(
            tags={"endpoint": record.endpoint, "outcome": record.outcome, "model": record.model or ""}
        )
        self._seconds.observe(record.seconds, tags={"endpoint": record.endpoint})
        if record.drawings:
            self._drawings.inc(record.drawings)
        for code, count in record.refused.items():
            self._refused.inc(count, tags={"code": code})
        for kind, count in record.removed.items():
            self._removed.inc(count, tags={"kind": kind if kind in _KINDS else "other"})


class EngineMetrics:
    """What an engine replica counts: `export` now and then what the engine says, `observe` each ticket."""

    def __init__(self) -> None:
        self._gauges = {name: Gauge(f"svg_engine_{name}", text) for name, text in _GAUGES.items()}
        self._counters = {
            name: _from_zero(Counter(f"svg_engine_{name}", text)) for name, text in _COUNTERS.items()
        }
        self._queue = Histogram("svg_engine_queue_seconds", "Waits for a place in the batch.", _SECONDS)
        self._first_token = Histogram(
            "svg_engine_first_token_seconds", "From the request to its first token.", _SECONDS
        )
        self._before = asdict(Load())

    def export(self, load: Load) -> None:
        now = asdict(load)
        for name, gauge in self._gauges.items():
            gauge.set(now[name])
        for name, counter in self._counters.items():
            if now[name] > self._before[name]:
                counter.inc(now[name] - self._before[name])
        self._before = now

    def observe(self, ticket: Ticket) -> None:
        if ticket.started is not None:
            self._queue.observe(ticket.started - ticket.submitted)
        if ticket.first_token is not None:
            self._first_token.observe(ticket.first_token - ticket.submitted)

    def keep_exporting(self, load: Callable[[], Load], *, every_s: float = 1.0) -> None:
        """From a thread that ends with the process."""

        def run() -> None:
            while True:
                self.export(load())
                time.sleep(every_s)

        threading.Thread(target=run, name="engine-metrics", daemon=True).start()


def _from_zero(counter: Counter) -> Counter:
    """Shows it before it first counts; Ray's `inc` would not take a 0."""
    counter._record(0)
    return counter

"""Log lines: replicas write them as JSON where Ray Serve keeps its own, a terminal shows them from there.

Ray Serve gives each line the id of its request, in whichever replica it is written.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from ray.serve.schema import LoggingConfig

OURS = ("captioning", "rendering", "services")
REPLICA_LOGGING = LoggingConfig(
    encoding="JSON",
    log_level="INFO",
    enable_access_log=False,  # `services.watch` says more
    additional_log_standard_attrs=["name"],
)

# What Ray adds to a line about itself.
_UNTOLD = frozenset(
    "actor_class actor_id actor_name application component_name filename job_id lineno name node_id process "
    "replica route task_func_name task_id task_name timestamp_ns worker_id".split()
)
_LOOK_EVERY_S = 0.2

Format = Callable[[dict[str, Any]], str]


def join_ray_serve() -> None:
    """In a replica: what our modules log goes where Ray Serve's own lines go."""
    serve = logging.getLogger("ray.serve")
    for name in OURS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = list(serve.handlers), False
        logger.setLevel(serve.level)


def as_json(line: dict[str, Any]) -> str:
    told = {key: value for key, value in line.items() if key not in _UNTOLD}
    return json.dumps({"time": told.pop("asctime"), "level": told.pop("levelname")} | told)


def as_text(line: dict[str, Any]) -> str:
    """For people: the time of day, what happened, and the details that are worth a glance.

    A client chooses the id of its request: no letter of it commands the terminal.
    """
    clock = line["asctime"].partition(" ")[2].partition(",")[0]
    details = [str(line[key]) for key in ("outcome", "model", "key") if line.get(key)]
    details += [f"{line['ms']:g} ms"] if "ms" in line else []
    if line.get("request_id"):
        details.append(f"[{line['request_id'][:8]}]")
    level = "" if line["levelname"] == "INFO" else f"{line['levelname']} "
    trace = f"\n{line['exc_text']}" if line.get("exc_text") else ""
    text = f"{clock} {level}{line['message']}  {' '.join(details)}".rstrip()
    return "".join(letter if letter.isprintable() else "?" for letter in text) + trace


@contextmanager
def following(folder: Path, out: TextIO, form: Format) -> Iterator[None]:
    """Inside the `with` block, what the replicas of this machine log in `folder` appears on `out`."""
    follower, over = _Follower(folder), threading.Event()

    def follow() -> None:
        ended = False
        while not ended:
            ended = over.wait(_LOOK_EVERY_S)  # and once more after the end
            for line in follower.new_lines():
                out.write(f"{form(line)}\n")
            out.flush()
        follower.close()

    thread = threading.Thread(target=follow, name="log-lines", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Follower:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, TextIO] = {}
        self._unfinished: dict[Path, str] = {}

    def new_lines(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self._folder.glob("replica_*.log")):
            file = self._files.get(path)
            with suppress(OSError):  # it has just been renamed
                if file and not _same(path, file):
                    yield from self._read(path, file)  # the rest of what was renamed
                    file.close()
                    file = None
                file = self._files[path] = file or path.open(encoding="utf-8", errors="replace")
                yield from self._read(path, file)

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _read(self, path: Path, file: TextIO) -> Iterator[dict[str, Any]]:
        *lines, self._unfinished[path] = (self._unfinished.get(path, "") + file.read()).split("\n")
        for line in lines:
            with suppress(ValueError):
                fields = json.loads(line)
                if _concerns_us(fields):
                    yield fields


def _same(path: Path, file: TextIO) -> bool:
    return os.path.samestat(path.stat(), os.fstat(file.fileno()))


def _concerns_us(line: dict[str, Any]) -> bool:
    """Ray Serve's own lines do when something is wrong."""
    ours = str(line.get("name", "")).partition(".")[0] in OURS
    return ours or line.get("levelname") in {"WARNING", "ERROR", "CRITICAL"}

"""Which processes live, read from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def workers_of(parent: int | None = None, module: str = "rendering.worker") -> set[int]:
    """Process ids of the workers of that kind that `parent` (this process by default) started."""
    parent = parent or os.getpid()
    processes = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {pid for pid in processes if _is_worker(pid, parent, module)}


def alive(pid: int) -> bool:
    return _state(pid) not in ("", "Z")


def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    ends_at = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.05)
    return True


def _is_worker(pid: int, parent: int, module: str) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return module.encode() in command and _fields(pid)[1] == str(parent)
    except OSError:
        return False


def _state(pid: int) -> str:
    try:
        return _fields(pid)[0]
    except OSError:
        return ""


def _fields(pid: int) -> list[str]:
    """State, parent and so on: what follows the command's name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()

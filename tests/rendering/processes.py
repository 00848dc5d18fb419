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
    """Whether any of its threads is left: until then nobody can have its exit status."""
    return any(_state(thread) not in ("", "Z") for thread in Path(f"/proc/{pid}/task").glob("*"))


def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    ends_at = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.05)
    return True


def _is_worker(pid: int, parent: int, module: str) -> bool:
    process = Path(f"/proc/{pid}")
    try:
        command = (process / "cmdline").read_bytes()
        return module.encode() in command and _fields(process)[1] == str(parent)
    except OSError:
        return False


def _state(thread: Path) -> str:
    try:
        return _fields(thread)[0]
    except OSError:
        return ""


def _fields(task: Path) -> list[str]:
    """State, parent and so on: what follows the command's name."""
    return (task / "stat").read_text().rpartition(") ")[2].split()

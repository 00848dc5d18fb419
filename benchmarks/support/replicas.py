"""The processes of a running service, found in /proc: to kill them, and to see what memory they take."""

from __future__ import annotations

import re
from pathlib import Path


def replicas_of(service: int, deployment: str) -> set[int]:
    """Process ids of the replicas of a Ray Serve deployment that the process `service` has started."""
    processes = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {pid for pid in processes if _is_replica(pid, deployment) and _descends(pid, service)}


def resident_bytes(pid: int) -> int:
    """Memory that the process holds now."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(found[1]) * 1024 if found else 0


def _is_replica(pid: int, deployment: str) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
    return bool(re.match(rf"ray::\S+[:#]{deployment}\b", command))


def _descends(pid: int, ancestor: int) -> bool:
    try:
        while pid not in {0, ancestor}:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return False
    return pid == ancestor

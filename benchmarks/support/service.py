"""A caption service of one's own, on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def service(base_model: str, folder: Path) -> Iterator[tuple[str, int]]:
    """Its address and process id."""
    words = ["--json", "--no-page", "--base-model", base_model, "--adapters-dir", str(folder / "adapters")]
    words += ["--port", str(_free_port()), "--dashboard-port", str(_free_port())]
    command = [sys.executable, "-m", "services", *words]
    with (
        (folder / "log.txt").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise SystemExit((folder / "log.txt").read_text())
            yield json.loads(line)["url"], process.pid
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

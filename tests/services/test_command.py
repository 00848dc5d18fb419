"""`python -m services` where it must not start; how it runs and ends is seen in `tests.live_service`."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_help_names_the_options() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert "--adapters-dir" in shown.stdout


def test_a_port_in_use_is_one_line_and_status_1() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = run("--port", str(port))
    assert refused.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unknown_base_model_is_named_before_ray_starts() -> None:
    refused = run("--base-model", "embeded", "--port", "18999")
    assert refused.returncode == 1
    assert "Did you mean 'embedded'?" in refused.stderr.replace("\n", " ")
    assert "Starting Ray" not in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "0"),
        ("--port", "x"),
        ("--replicas", "0"),
        ("--prot", "1"),
        ("--set", "max_files"),
        ("--set", "max_fils=3"),
    ],
)
def test_wrong_use_is_status_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).returncode == 2

"""A Ray of our own on this machine: small, in a temporary folder, gone when we go.

`RAY_ADDRESS` makes the service join a running cluster instead; that one is left running.
"""

from __future__ import annotations

import math
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

OBJECT_STORE_BYTES = 128 << 20  # requests are small; Ray's default is 30 % of the memory
ROOM_FOR_JOBS_CPUS = 4  # beyond what the service books: what `ray job submit` may ask for

_REPOSITORY = Path(__file__).parent.parent


def prepare_environment() -> None:
    """Settings that Ray and Gradio read once, when they are imported; child processes inherit them."""
    settings = {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_AUTH_MODE": "token",  # Ray's ports are open to the network; the token lies in ~/.ray
        "RAY_SERVE_LOG_TO_STDERR": "0",
        # A busy machine takes longer than Ray Serve's 5 s to import its proxy, which it would then kill.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # not 15, at which the service starves beside other work on the machine
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def joins_cluster() -> bool:
    return bool(os.environ.get("RAY_ADDRESS"))


@dataclass(frozen=True)
class Session:
    """A Ray that runs. Of one that was there before, its nodes know where their metrics and logs are."""

    jobs_url: str  # for `ray job submit`
    metrics_url: str | None = None  # for Prometheus
    logs_dir: Path | None = None  # of Ray Serve


@contextmanager
def ray_session(
    *, service_cpus: float, dashboard_port: int | None = None, metrics_port: int | None = None
) -> Iterator[Session]:
    """Starts or joins Ray; on leaving, ends what it started.

    Raises:
        ConfigError: nothing answers at RAY_ADDRESS.
        WorkersFailed: Ray does not start.
    """
    import ray

    from captioning.running_ray import join_ray

    if joins_cluster():
        context = join_ray()
        try:
            yield Session(f"http://{context.dashboard_url}")
        finally:
            ray.shutdown()
        return
    # Ray's processes find our packages without an installation, and so do the jobs that it runs.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_REPOSITORY), os.environ.get("PYTHONPATH")]))
    # And `python` in a job is the interpreter that has our libraries, activated or not.
    path = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), path])
    # Short on purpose: Ray puts Unix sockets deep below it, and their paths end at 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="svg-", dir="/tmp"))
    try:
        metrics_port = metrics_port or _free_port()
        cpus = math.ceil(service_cpus) + ROOM_FOR_JOBS_CPUS
        jobs_url = _start_ray(folder, cpus, dashboard_port, metrics_port)
        logs = folder / "session_latest" / "logs" / "serve"
        yield Session(jobs_url, f"http://127.0.0.1:{metrics_port}/metrics", logs)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _start_ray(folder: Path, cpus: int, dashboard_port: int | None, metrics_port: int) -> str:
    import ray
    from ray._private.parameter import RayParams
    from ray._private.utils import write_ray_address

    from captioning.running_ray import start_ray

    # `ray.init` has no option for the job agent's port, and the fixed one leaves the second Ray of a
    # machine unable to run jobs.
    agent_port = partial(RayParams, dashboard_agent_listen_port=_free_port())
    with patch("ray._private.parameter.RayParams", agent_port):
        context = start_ray(
            num_cpus=cpus,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            dashboard_port=dashboard_port,
            _metrics_export_port=metrics_port,
            _temp_dir=str(folder),
        )
    # Without this file, Ray sends the jobs of one Ray to any other that runs on the machine.
    write_ray_address(ray.get_runtime_context().gcs_address, str(folder))
    return f"http://{context.dashboard_url}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""A Ray of our own on this machine: small, in a temporary folder, gone when we go.

`RAY_ADDRESS` makes the service join a running cluster instead; that one is left running.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OBJECT_STORE_BYTES = 128 << 20  # requests are small; Ray's default is 30 % of the memory
ROOM_FOR_JOBS_CPUS = 4  # beyond what the service books: what `ray job submit` may ask for

_REPOSITORY = Path(__file__).parent.parent


def prepare_environment() -> None:
    """Settings that Ray and Gradio read once, when they are imported; child processes inherit them."""
    quiet = {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_AUTH_MODE": "token",  # Ray's ports are open to the network; the token lies in ~/.ray
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)


def joins_cluster() -> bool:
    return bool(os.environ.get("RAY_ADDRESS"))


@contextmanager
def ray_session(*, service_cpus: float, dashboard_port: int = 8265) -> Iterator[str]:
    """Starts or joins Ray and gives the address for `ray job submit`; on leaving, ends what it started."""
    import ray

    if joins_cluster():
        context = ray.init(log_to_driver=False, logging_level=logging.WARNING)
        try:
            yield f"http://{context.dashboard_url}"
        finally:
            ray.shutdown()
        return
    # Ray's processes find our packages without an installation, and so do the jobs that it runs.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_REPOSITORY), os.environ.get("PYTHONPATH")]))
    # Short on purpose: Ray puts Unix sockets deep below it, and their paths end at 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="svg-", dir="/tmp"))
    try:
        context = ray.init(
            address="local",
            num_cpus=math.ceil(service_cpus) + ROOM_FOR_JOBS_CPUS,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            dashboard_port=dashboard_port,
            log_to_driver=False,
            logging_level=logging.WARNING,
            _temp_dir=str(folder),
        )
        yield f"http://{context.dashboard_url}"
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)

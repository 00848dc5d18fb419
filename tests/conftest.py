"""What every test relies on: no hub, no telemetry, one thread, so that a machine matters little."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

QUIET_ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # at Ray's 15 workers starve on a busy machine
    "TOKENIZERS_PARALLELISM": "false",
}
# Before any test module imports torch or Ray: both read these once. Child processes inherit them.
os.environ.update(QUIET_ENVIRONMENT)
# Scripts and jobs that say `python` mean this one.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

pytest_plugins = ["tests.live_service"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several processes, one has all tests that start Ray, from the beginning; the others go file by file.

    Two instances of Ray would find each other, and be twice as slow to start.
    """
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        group = "ray" if item.get_closest_marker("ray") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: not item.get_closest_marker("ray"))

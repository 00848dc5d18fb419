"""What every test relies on: no hub, no telemetry, one thread, so that a machine matters little."""

from __future__ import annotations

import os
import signal
import sys
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

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
# A shell's background job ignores Ctrl-C, and so would the commands that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Scripts and jobs that say `python` mean this one.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

pytest_plugins = ["tests.buckets", "tests.live_service"]


class RayApart(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """Of several processes, one has all files whose tests start Ray; the others go file by file.

    Two instances of Ray would find each other, and be twice as slow to start.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "ray" if _starts_ray(self.config.rootpath / path) else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> RayApart:
    return RayApart(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not _starts_ray(item.path))  # what takes longest comes first


@cache
def _starts_ray(path: Path) -> bool:
    return "pytest.mark.ray" in path.read_text(encoding="utf-8")

"""A bulk run on many workers by Ray Data, each with an engine of its own.

The workers read the files themselves, under the paths that the driver has: on a cluster, files and adapter
lie on storage that all nodes see. What a worker that dies had under way, others do again.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, ExecutionOptions
from ray.exceptions import RayError

from captioning.bulk import BulkCaptioner, BulkSettings, Record, Scale, read
from captioning.errors import WorkersFailed
from captioning.running_ray import root_cause, running_ray

_FILES_A_TASK = 64  # a worker that dies takes the work on so many with it, and on as many that waited
_TASKS_AT_ONCE = 2  # of one worker: while the last files of one are written, its rows take those of the next


def records(files: Iterable[Path], settings: BulkSettings, scale: Scale) -> Generator[Record]:
    """A record for each file, in order, as `BulkCaptioner.records` gives them.

    Raises:
        WorkersFailed: the engine cannot be started on the workers, or it broke down there.
    """
    with running_ray(cpus=math.ceil(scale.workers * scale.cpus_per_worker)):
        _configure()
        tasks = _tasks([os.fsencode(file) for file in files], scale.workers)
        if not tasks:
            return
        written = ray.data.from_arrow(tasks).map_batches(
            _Worker,
            batch_size=None,
            fn_constructor_args=(settings.absolute(), Path.cwd()),
            compute=ActorPoolStrategy(
                size=min(scale.workers, len(tasks)),
                max_tasks_in_flight_per_actor=2 * _TASKS_AT_ONCE,
                max_concurrent_calls_per_actor=_TASKS_AT_ONCE,
                enable_true_multi_threading=True,
            ),
            num_cpus=scale.cpus_per_worker,
            num_gpus=scale.gpus_per_worker,
        )
        try:
            for row in written.iter_rows():
                yield json.loads(row["record"])
        except RayError as error:
            raise WorkersFailed(f"the workers failed: {root_cause(error)}") from error


class _Worker:
    """One engine; a batch is a column of paths, relative to `folder`, its result one of records as JSON."""

    def __init__(self, settings: BulkSettings, folder: Path) -> None:
        self._folder = folder
        self._captioner = BulkCaptioner(settings.load_engine(), settings)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        contents = (read(Path(os.fsdecode(path)), self._folder) for path in batch["path"])
        return {"record": [json.dumps(record) for record in self._captioner.records(contents)]}


def _tasks(paths: Sequence[bytes], workers: int) -> list[pa.Table]:
    """Paths in parts, as many of them that no worker is idle; a path need not be Unicode."""
    size = min(_FILES_A_TASK, math.ceil(len(paths) / (workers * _TASKS_AT_ONCE)))
    return [pa.table({"path": paths[start : start + size]}) for start in range(0, len(paths), max(1, size))]


def _configure() -> None:
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False  # `captioning.progress` shows it
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    context.execution_options = ExecutionOptions(preserve_order=True)

"""What jobs leave, by run id: `python deploy/jobs/runs.py --help`.

RUNS is a folder that every node sees, or a bucket: `/shared/runs`, `s3://bucket/runs`, `gs://bucket/runs`.
In either, a run is the folder of its id, with `job.json` beside what the command wrote. A bucket cannot be
written to step by step: the command works in a folder of its own (WORK_DIR), which gets what the run has
already. What changes there is kept every few minutes and when the command has ended, however it did.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem, copy_files

RECORD = "job.json"
_KEEP_EVERY_S = 300.0  # what a node that is lost takes with it
_GRACE_S = 600.0  # from the time limit to the end by force: a run saves a checkpoint

app = typer.Typer(
    help="Run jobs and find what they left.", add_completion=False, pretty_exceptions_enable=False
)

Runs = Annotated[str, typer.Option("--runs", envvar="RUNS_DIR", help="Folder, or s3:// or gs:// address.")]


def _checked_id(run: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", run):
        raise typer.BadParameter(f"'{run}' is not up to 64 letters, digits, '.', '_' and '-'")
    return run


RunId = Annotated[
    str, typer.Argument(metavar="RUN", help="The id printed at submission.", callback=_checked_id)
]


class Store:
    """The place of all runs, one folder each."""

    def __init__(self, runs: str) -> None:
        self._kept: dict[
            str, tuple[int, int]
        ] = {}  # time and size of the files that are there as they are here
        self._fs: FileSystem = LocalFileSystem()
        self._root = str(Path(runs).absolute())
        if "://" in runs:
            try:
                self._fs, self._root = FileSystem.from_uri(runs)
            except (ArrowException, OSError, ValueError) as error:
                raise typer.BadParameter(f"'{runs}' is no bucket that can be reached: {error}") from None

    @property
    def folder(self) -> Path | None:
        """Where it is on this machine; none for a bucket."""
        return Path(self._root) if isinstance(self._fs, LocalFileSystem) else None

    def records(self) -> dict[str, dict[str, Any]]:
        entries = self._fs.get_file_info(FileSelector(self._root, allow_not_found=True))
        names = [entry.base_name for entry in entries if entry.type == FileType.Directory]
        return {name: record for name in sorted(names) if (record := self.record(name)) is not None}

    def record(self, run: str) -> dict[str, Any] | None:
        path = f"{self._root}/{run}/{RECORD}"
        if self._fs.get_file_info(path).type == FileType.NotFound:
            return None
        with self._fs.open_input_stream(path) as file:
            return dict(json.loads(file.read()))

    def write_record(self, run: str, record: dict[str, Any]) -> None:
        self._fs.create_dir(f"{self._root}/{run}")
        with self._fs.open_output_stream(f"{self._root}/{run}/{RECORD}") as file:
            file.write(json.dumps(record, indent=2).encode())

    def files(self, run: str) -> dict[str, int]:
        """Sizes in bytes."""
        folder = f"{self._root}/{run}"
        entries = self._fs.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
        return {entry.path[len(folder) + 1 :]: entry.size for entry in entries if entry.is_file}

    def fetch(self, run: str, folder: Path) -> None:
        if self.files(run):
            folder.mkdir(parents=True, exist_ok=True)
            copy_files(f"{self._root}/{run}", str(folder), source_filesystem=self._fs)

    def keep(self, run: str, folder: Path) -> None:
        """Make the run what is in `folder`: what is new or has changed is copied, what is gone is deleted."""
        if not folder.exists():
            return
        here = {}
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            with suppress(FileNotFoundError):  # replaced or deleted at this moment
                name, found = path.relative_to(folder).as_posix(), path.stat()
                here[name] = found.st_mtime_ns, found.st_size
                if self._kept.get(name) != here[name]:
                    self._copy(path, f"{self._root}/{run}/{name}")
        for name in self.files(run).keys() - here.keys() - {RECORD}:
            self._fs.delete_file(f"{self._root}/{run}/{name}")
        self._kept = here

    def _copy(self, path: Path, target: str) -> None:
        self._fs.create_dir(target.rpartition("/")[0])
        with path.open("rb") as source, self._fs.open_output_stream(target) as stream:
            shutil.copyfileobj(source, stream, 1 << 20)


@app.command()
def execute(
    run: RunId,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="@run is its id, @runs the folder of runs.")
    ],
    *,
    runs: Runs = "runs",
    time_limit: Annotated[
        float | None, typer.Option(min=0, help="Seconds after which the command is interrupted.")
    ] = None,
) -> None:
    """Run a command as the run RUN, and end with its status. An interrupted run goes on under the same id."""
    store = Store(runs)
    record = {"run": run, "command": command, "began": _now()}
    store.write_record(run, record)
    work = Path(os.environ.get("WORK_DIR") or store.folder or tempfile.mkdtemp(prefix="runs-"))
    apart = work != store.folder
    if apart:
        store.fetch(run, work / run)
    words = [word.replace("@runs", str(work)).replace("@run", run) for word in command]
    status = _status(words, time_limit, partial(_keep_for_now, store, run, work / run) if apart else None)
    if apart:
        _keep(store, run, work / run)
    store.write_record(run, record | {"ended": _now(), "status": status})
    print(f"run {run}: status {status}, kept in {runs}", file=sys.stderr)
    sys.exit(status)


def _keep_for_now(store: Store, run: str, folder: Path) -> None:
    try:
        store.keep(run, folder)
    except OSError as error:
        print(f"run {run} could not be kept for now: {error}", file=sys.stderr)


def _keep(store: Store, run: str, folder: Path) -> None:
    try:
        store.keep(run, folder)
    except OSError as error:
        sys.exit(f"run {run} could not be kept: {error}. Its files are still in {folder} on this node.")
    shutil.rmtree(folder, ignore_errors=True)


@app.command("list")
def list_runs(*, runs: Runs = "runs") -> None:
    """List the runs, with when they began and how they ended."""
    for run, record in Store(runs).records().items():
        print(f"{run}  {record['began']}  {_state(record)}")


@app.command()
def show(
    run: RunId,
    *,
    runs: Runs = "runs",
    to: Annotated[Path | None, typer.Option(help="Also copy its files into this folder.")] = None,
) -> None:
    """Say what became of a run and which files it left."""
    store = Store(runs)
    record = store.record(run)
    if record is None:
        known = ", ".join(store.records()) or "none"
        raise typer.BadParameter(f"no run '{run}' in {runs}. There are: {known}")
    print(f"{run}  {record['began']}  {_state(record)}\n{' '.join(record['command'])}")
    for name, size in store.files(run).items():
        print(f"{size:>15,}  {name}")
    if to:
        store.fetch(run, to / run)


def _status(command: Sequence[str], time_limit: float | None, keep: Callable[[], None] | None) -> int:
    """Ctrl-C and `ray job stop` reach every process of a job: the command ends itself, we wait for it.

    Meanwhile `keep` is called every few minutes.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    process = subprocess.Popen(command)
    ends_at = math.inf if time_limit is None else time.monotonic() + time_limit
    while (left := ends_at - time.monotonic()) > 0:
        try:
            return _shell_status(process.wait(min(left, _KEEP_EVERY_S)))
        except subprocess.TimeoutExpired:
            if keep:
                keep()
    print(f"interrupted after {time_limit:g} s, the time limit", file=sys.stderr)
    process.send_signal(signal.SIGINT)
    try:
        return _shell_status(process.wait(_GRACE_S)) or os.EX_TEMPFAIL
    except subprocess.TimeoutExpired:
        process.kill()
        return _shell_status(process.wait())


def _shell_status(code: int) -> int:
    return 128 - code if code < 0 else code  # as a shell says that a signal ended it


def _state(record: dict[str, Any]) -> str:
    return "did not end" if "status" not in record else f"status {record['status']} {record['ended']}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    try:
        app()
    except OSError as error:  # of the storage
        sys.exit(f"{type(error).__name__}: {error}")

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training.checkpoints import Checkpoint, CheckpointFolder, read_best
from training.progress import Progress


def _checkpoint(step: int) -> Checkpoint:
    adapter = {"a": torch.full((4,), float(step)), "b": torch.arange(3.0)}
    progress = Progress(step=step, first_loss=2.0, last_loss=1.5, best_loss=1.0, best_step=1)
    return Checkpoint(progress, adapter, {"a": torch.ones(4), "b": torch.zeros(3)}, {"state": {0: step}})


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    store = CheckpointFolder(tmp_path, keep=2)
    assert store.latest() is None
    store.save(_checkpoint(3))
    folder = store.latest()
    assert folder == tmp_path / "checkpoint-000003"
    read = Checkpoint.read(folder, torch.device("cpu"))
    assert read.progress == _checkpoint(3).progress
    assert torch.equal(read.adapter["a"], torch.full((4,), 3.0))
    assert read.optimizer == {"state": {0: 3}}
    assert torch.equal(read_best(folder)["a"], torch.ones(4))


def test_the_last_ones_are_kept_each_with_the_best_adapter(tmp_path: Path) -> None:
    store = CheckpointFolder(tmp_path, keep=2)
    for step in (2, 4, 6):
        store.save(_checkpoint(step))
    assert _names(tmp_path) == ["checkpoint-000004", "checkpoint-000006"]
    assert all(torch.equal(read_best(tmp_path / name)["a"], torch.ones(4)) for name in _names(tmp_path))


def test_what_a_person_laid_beside_them_is_no_checkpoint(tmp_path: Path) -> None:
    store = CheckpointFolder(tmp_path, keep=1)
    for name in ("checkpoint-000100.bak", "checkpoint-best"):
        (tmp_path / name).mkdir()
    store.save(_checkpoint(2))
    store.save(_checkpoint(4))
    assert store.latest() == tmp_path / "checkpoint-000004"
    assert _names(tmp_path) == ["checkpoint-000004", "checkpoint-000100.bak", "checkpoint-best"]


@pytest.mark.parametrize("file", ["adapter.safetensors", "optimizer.pt", "progress.json", "checksums.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_checkpoint_is_passed_over(file: str, damage: str, tmp_path: Path) -> None:
    store = CheckpointFolder(tmp_path, keep=3)
    store.save(_checkpoint(1))
    store.save(_checkpoint(2))
    path = tmp_path / "checkpoint-000002" / file
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if damage == "cut" else bytes([content[0] ^ 1]) + content[1:])
    found, [words] = store.look()
    assert found == tmp_path / "checkpoint-000001"
    assert words.startswith(f"{tmp_path / 'checkpoint-000002'}: ")
    path.parent.joinpath("checksums.json").write_text("[]")
    assert store.latest() == tmp_path / "checkpoint-000001"


def test_a_damaged_checkpoint_of_a_later_step_costs_no_whole_one(tmp_path: Path) -> None:
    store = CheckpointFolder(tmp_path, keep=1)
    store.save(_checkpoint(100))
    (tmp_path / "checkpoint-000100" / "adapter.safetensors").write_bytes(b"")
    store.save(_checkpoint(25))
    assert _names(tmp_path) == ["checkpoint-000025"]
    assert store.latest() == tmp_path / "checkpoint-000025"


def test_the_newest_is_that_of_the_highest_step(tmp_path: Path) -> None:
    store = CheckpointFolder(tmp_path, keep=2)
    for step in (999_999, 1_000_000):
        store.save(_checkpoint(step))
    assert store.latest() == tmp_path / "checkpoint-1000000"


def _save_under_a_file_limit(folder: str) -> None:
    """Files cannot grow past 100 bytes here, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        CheckpointFolder(Path(folder), keep=1).save(_checkpoint(2))
    except OSError as error:
        os.write(1, f"refused: {error}".encode())


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path, keep=1).save(_checkpoint(1))
    program = f"from {__name__} import _save_under_a_file_limit as save; save({str(tmp_path)!r})"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert "refused: " in result.stdout
    assert _names(tmp_path) == ["checkpoint-000001"]
    assert CheckpointFolder(tmp_path, keep=1).latest() == tmp_path / "checkpoint-000001"


def test_a_writer_that_is_killed_leaves_no_checkpoint_but_those_before(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    class Dying(Checkpoint):
        def write(self, folder: Path) -> None:
            super().write(folder)
            raise Killed

    store = CheckpointFolder(tmp_path, keep=1)
    store.save(_checkpoint(1))
    with pytest.raises(Killed):
        store.save(Dying(**vars(_checkpoint(2))))
    assert store.latest() == tmp_path / "checkpoint-000001"
    store.save(_checkpoint(2))
    assert _names(tmp_path) == ["checkpoint-000002"]

"""Starts a benchmark's workers: a process each, in a process group of their own when there are several."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings

import transformers

from training.worker import Job

_SHOWN = 3000  # characters of what failing workers wrote


def launch(job: Job, module: str, *words: str) -> None:
    """Run `python -m module words...` as each of the job's workers, and wait for their end.

    Raises:
        SystemExit: one of them failed.
    """
    workers = job.recipe.resources.workers
    group = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(workers), "-m"]
    command = [sys.executable, "-m", *(group if workers > 1 else []), module, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(job), check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-_SHOWN:]}")


def _environment(job: Job) -> dict[str, str]:
    return os.environ | {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(max(1, int(job.recipe.resources.cpus_per_worker))),
        "TOKENIZERS_PARALLELISM": "false",
    }


def quiet() -> None:
    """Nothing of what libraries would tell a person who runs them by hand."""
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")

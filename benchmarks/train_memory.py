"""The longest sample that one training step fits into a memory budget, ours against TRL's SFTTrainer.

    python -m benchmarks.train_memory                     # 256 MiB beside the loaded embedded model
    python -m benchmarks.train_memory --device cuda --recipe test3 --model gemma-2-9b-shaped --budget-mib 4e4

One sample per pass, forward and backward, with and without activation checkpointing, each trainer in a
process of its own. Lengths grow by a tenth until the step takes more than the budget. On a CPU that is
the growth of resident memory over the process with its model loaded; on a GPU, all that is allocated.
TRL is no dependency of ours: pip install -e '.[bench]'.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import re
import sys
import tempfile
from array import array
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.support.launch import launch, quiet
from benchmarks.support.shaped import is_shaped, save_shaped
from benchmarks.support.trainers import TRAINERS, Task, require_trl, sft_trainer
from captioning.base_models import resolve
from rendering import SvgCaptionError
from training import tokens
from training.data import Example, Step, Tokenized
from training.recipe import load_recipe
from training.worker import Job, make_accelerator, make_loop

_SHORTEST, _GROWTH, _LONGEST = 128, 1.1, 200_000  # tokens
_CAPTION_TOKENS = 16
_ONE_BY_ONE = ("batch_size=1", "accumulation=1", "resources.workers=1", "max_tokens=null", "epochs=1")
_MIB = 1024**2
_TASK_FILE, _PEAKS_FILE = "task.json", "peaks.json"  # in the job's folder


class Gauge:
    """The most memory that is held at once since `reset`, in MiB.

    On a CPU what was held at the reset does not count: oneDNN keeps some 10 MiB for every new shape.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._base = 0.0

    def reset(self) -> None:
        gc.collect()
        if self._device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            return
        ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now what is held
        self._base = _resident("VmRSS")

    def peak(self) -> float:
        if self._device == "cuda":
            return torch.cuda.max_memory_allocated() / _MIB
        return _resident("VmHWM") - self._base


def _resident(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def growing_examples() -> list[Example]:
    """The first one is for the step that warms up."""
    lengths = [_SHORTEST, _SHORTEST]
    while lengths[-1] < _LONGEST:
        lengths.append(int(lengths[-1] * _GROWTH))
    caption = array("i", range(_CAPTION_TOKENS))
    return [
        Example(str(place), array("i", [7] * (length - _CAPTION_TOKENS)), [caption])
        for place, length in enumerate(lengths)
    ]


def peaks_of_ours(task: Task, budget_mib: float) -> list[float]:
    job = task.job
    loop = make_loop(job, make_accelerator(job.recipe, job.device))
    loop.backward(Step(0, [[[0]]]))
    gauge, peaks = Gauge(job.device), [0.0]
    while peaks[-1] <= budget_mib and len(peaks) < len(growing_examples()):
        gauge.reset()
        try:
            loop.backward(Step(0, [[[len(peaks)]]]))
        except torch.OutOfMemoryError:
            break
        peaks.append(gauge.peak())
    return peaks


def peaks_of_trl(task: Task, budget_mib: float) -> list[float]:
    from transformers import TrainerCallback

    peaks: list[float] = []

    gauge = Gauge(task.job.device)

    class Follower(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            gauge.reset()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            peaks.append(gauge.peak() if peaks else 0.0)  # the first one warms up
            control.should_training_stop = peaks[-1] > budget_mib

    examples = growing_examples()
    trainer = sft_trainer(
        task, examples, examples[:1], [Follower()],
        train_sampling_strategy="sequential", eval_strategy="no", eval_on_start=False,
    )  # fmt: skip
    with suppress(torch.OutOfMemoryError):
        trainer.train()
    return peaks


def longest_within(peaks: list[float], budget_mib: float) -> int:
    """In tokens. Between the last length that fits and the first that does not, memory is taken as linear."""
    lengths = [example.length(0) for example in growing_examples()]
    for place, (fits, next_) in enumerate(pairwise(peaks)):
        if fits <= budget_mib < next_:
            share = (budget_mib - fits) / (next_ - fits)
            return round(lengths[place] + share * (lengths[place + 1] - lengths[place]))
    return lengths[len(peaks) - 1]


def measure(task: Task, budget_mib: float) -> list[float]:
    """In a process of its own."""
    folder = task.job.folder
    folder.mkdir(parents=True)
    (folder / _TASK_FILE).write_text(task.model_dump_json(), encoding="utf-8")
    launch(task.job, "benchmarks.train_memory", "--task", str(folder), "--budget-mib", str(budget_mib))
    peaks: list[float] = json.loads((folder / _PEAKS_FILE).read_text(encoding="utf-8"))
    return peaks


def work(folder: Path, budget_mib: float) -> None:
    task = Task.model_validate_json((folder / _TASK_FILE).read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    peaks = (peaks_of_ours if task.trainer == "ours" else peaks_of_trl)(task, budget_mib)
    (folder / _PEAKS_FILE).write_text(json.dumps(peaks), encoding="utf-8")


def compare(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    model = options.model
    if is_shaped(model):
        model = str(save_shaped(model, folder, options.device))
    path = folder / "tokens.parquet"
    tokens.write(path, Tokenized(growing_examples()))
    rows: list[dict[str, Any]] = []
    for checkpointing in (False, True):
        recipe = load_recipe(options.recipe, [f"model={model}", *_ONE_BY_ONE])
        recipe = recipe.model_copy(update={"activation_checkpointing": checkpointing})
        for trainer in TRAINERS:
            job = Job(
                recipe=recipe, spec=resolve(model), device=options.device,
                folder=folder / f"{trainer}-{checkpointing}", train=path, validation=path,
            )  # fmt: skip
            peaks = measure(Task(trainer=trainer, job=job), options.budget_mib)
            longest = longest_within(peaks, options.budget_mib)
            rows.append({"trainer": trainer, "checkpointing": checkpointing, "tokens": longest})
            print(_line(rows[-1]), file=sys.stderr, flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    how = "with" if row["checkpointing"] else "without"
    return f"  {row['trainer']:5}{how:8}activation checkpointing {row['tokens']:8,} tokens"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", default="embedded")
    parser.add_argument("--model", default="embedded", help="or llama-3.1-8b-shaped, gemma-2-9b-shaped")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--budget-mib", type=float, default=256)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--task", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    quiet()
    if options.task:
        work(options.task, options.budget_mib)
        return
    try:
        require_trl()
        with tempfile.TemporaryDirectory() as folder:
            rows = compare(options, Path(folder))
    except SvgCaptionError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    by_checkpointing = [rows[start]["tokens"] / rows[start + 1]["tokens"] for start in (0, 2)]
    if options.json:
        print(json.dumps({"budget_mib": options.budget_mib, "rows": rows, "times_as_long": by_checkpointing}))
        return
    print(f"longest sample in {options.budget_mib:,.0f} MiB:")
    print("\n".join(map(_line, rows)))
    print("ours are {:.2f}x as long without checkpointing, {:.2f}x with".format(*by_checkpointing))


if __name__ == "__main__":
    main()

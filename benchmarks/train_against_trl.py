"""Samples per second and validation loss of our training loop against TRL's SFTTrainer, on the same task.

    python -m benchmarks.train_against_trl                         # the embedded recipe on two CPU workers
    python -m benchmarks.train_against_trl --profile max_steps=40  # and where each spends its time
    python -m benchmarks.train_against_trl --device cuda --recipe test3 --model gemma-2-9b-shaped max_steps=40

Both train the same quantized model with the same LoRA, optimizer, schedule, samples per step and
validations, in turns, each run in processes of its own. TRL has its best ordinary settings for this
data: loss on the completion alone, nothing cut, batches of like length, no search for unused weights,
and eager attention on a CPU, where it is the faster one. Steps alone are timed: validations, and the
first three steps, are not. A shaped model has random weights, and samples as long as icons.
TRL is no dependency of ours: pip install -e '.[bench]'.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from benchmarks.support import trainers
from benchmarks.support.launch import launch, quiet
from benchmarks.support.shaped import is_shaped, random_examples, save_shaped
from benchmarks.support.trainers import TRAINERS, Record, Task, Trainer
from captioning.base_models import resolve
from rendering import SvgCaptionError
from training import model, tokens
from training.preflight import check
from training.recipe import Recipe, load_recipe
from training.throughput import ModelFlops
from training.worker import Job

_SHAPED_SAMPLES = {"train": 4_000, "validation": 64}
_NOT_COMPARED = (  # TRL has nothing like the first two, and is told to write no checkpoints
    "early_stopping=null",
    "validation.captions=0",
    "checkpoints.every_steps=1000000",
)


@dataclass(frozen=True)
class Result:
    """Of one run, without its first steps."""

    samples_per_s: float
    tokens_per_s: float  # of samples, padding left out
    model_tflops: float  # per worker; what a forward and a backward pass over those tokens take
    cpu_s_per_1000: float  # of all workers, for 1,000 samples
    memory_gib: float  # the most that one worker held
    validation_loss: float  # after the last step; nats per token
    profile: dict[str, float]  # seconds per step, by kind of operator


def prepare(options: argparse.Namespace, folder: Path) -> Job:
    """The task, with its token ids in files and, of a shaped model, its weights."""
    words = [*_NOT_COMPARED, f"resources.device={options.device}", *options.overrides]
    if not is_shaped(options.model):
        recipe = load_recipe(options.recipe, [*words, f"model={options.model}"])
        checked = check(recipe, folder / "corpus", folder / "tokens")
        train, validation = _with_one_reference(checked.train.file, folder), checked.validation.file
    else:
        weights = save_shaped(options.model, folder, options.device)
        recipe = load_recipe(options.recipe, [*words, f"model={weights}"])
        train, validation = _random_tokens(folder)
    return Job(
        recipe=recipe, spec=resolve(recipe.model), device=options.device, folder=folder,
        train=train, validation=validation,
    )  # fmt: skip


def _with_one_reference(path: Path, folder: Path) -> Path:
    """The samples with their first reference: ours would take another in every epoch, TRL cannot."""
    split = tokens.read(path)
    examples = [replace(example, completions=example.completions[:1]) for example in split.examples]
    fewer = folder / "one-reference.parquet"
    tokens.write(fewer, replace(split, examples=examples))
    return fewer


def _random_tokens(folder: Path) -> list[Path]:
    paths = []
    for seed, (split, number) in enumerate(_SHAPED_SAMPLES.items()):
        paths.append(folder / f"{split}.parquet")
        tokens.write(paths[-1], random_examples(number, seed=seed))
    return paths


def compare(job: Job, options: argparse.Namespace) -> dict[Trainer, list[Result]]:
    """Runs in turns, so that both meet the same neighbours on a shared machine."""
    results: dict[Trainer, list[Result]] = {trainer: [] for trainer in TRAINERS}
    for seed in range(options.rounds):
        recipe = job.recipe.model_copy(update={"seed": seed})
        for trainer in TRAINERS:
            own = job.model_copy(update={"recipe": recipe, "folder": job.folder / f"{trainer}-{seed}"})
            task = Task(
                trainer=trainer, job=own, profiled=options.profile,
                sampling=options.sampling, attention=options.attention,
            )  # fmt: skip
            results[trainer].append(run(task))
            print(f"round {seed + 1}  {_row(trainer, results[trainer][-1:])}", file=sys.stderr, flush=True)
    return results


def run(task: Task) -> Result:
    """Train in fresh processes, and find the loss of what came out."""
    job = task.job
    job.folder.mkdir(parents=True)
    task_file = job.folder / "task.json"
    task_file.write_text(task.model_dump_json(), encoding="utf-8")
    launch(job, trainers.MODULE, str(task_file))
    files = sorted(job.folder.glob("record-*.json"))
    return _result(job, [Record(**json.loads(path.read_text(encoding="utf-8"))) for path in files])


def _result(job: Job, records: Sequence[Record]) -> Result:
    examples = tokens.read(job.train).examples
    count, total = len(examples), sum(example.length(0) for example in examples)
    labels = sum(len(example.completion(0)) for example in examples)
    flops = ModelFlops.of(model.on_meta(AutoConfig.from_pretrained(job.spec.source)))
    seconds = sum(records[0].seconds)
    rate = len(records[0].seconds) * job.recipe.samples_per_step / seconds  # samples/s
    result = Result(
        samples_per_s=rate,
        tokens_per_s=rate * total / count,
        model_tflops=rate * flops.of_step(total, labels, total / count) / count / len(records) / 1e12,
        cpu_s_per_1000=1000 / rate / seconds * sum(sum(record.cpu_seconds) for record in records),
        memory_gib=max(record.memory_gib for record in records),
        validation_loss=trainers.validation_loss(job, job.folder / trainers.ADAPTER_FILE),
        profile=records[0].profile,
    )
    torch.cuda.empty_cache()  # the next workers need it
    return result


_COLUMNS = {
    "samples_per_s": ("samples/s", ".2f"),
    "tokens_per_s": ("tokens/s", ",.0f"),
    "model_tflops": ("model TFLOP/s", ".3f"),
    "cpu_s_per_1000": ("CPU s per 1,000", ".1f"),
    "memory_gib": ("GiB", ".2f"),
    "validation_loss": ("validation loss", ".4f"),
}
_WIDTH = 17


def _header() -> str:
    return " " * 5 + "".join(f"{title:>{_WIDTH}}" for title, _ in _COLUMNS.values())


def _row(trainer: Trainer, results: Sequence[Result]) -> str:
    """Medians over the runs."""
    values = (
        format(statistics.median(getattr(result, name) for result in results), form)
        for name, (_, form) in _COLUMNS.items()
    )
    return f"{trainer:5}" + "".join(f"{value:>{_WIDTH}}" for value in values)


def summary(results: dict[Trainer, list[Result]], recipe: Recipe) -> dict[str, Any]:
    pairs = list(zip(results["ours"], results["trl"], strict=True))
    return {
        "times_as_fast": statistics.median(ours.samples_per_s / trl.samples_per_s for ours, trl in pairs),
        "times_as_fast_by_cpu_time": statistics.median(
            trl.cpu_s_per_1000 / ours.cpu_s_per_1000 for ours, trl in pairs
        ),
        "recipe": recipe.model_dump(mode="json"),
        "runs": {trainer: [asdict(result) for result in runs] for trainer, runs in results.items()},
    }


def profile_table(results: dict[Trainer, list[Result]]) -> str:
    """Milliseconds of a step by kind of operator, in the first run of each."""
    ours, trl = (results[trainer][0].profile for trainer in TRAINERS)
    lines = [f"{'ms per step':28}{'ours':>10}{'trl':>10}"]
    for kind in sorted(ours.keys() | trl.keys(), key=lambda kind: -trl.get(kind, 0.0)):
        lines.append(f"{kind:28}{ours.get(kind, 0.0) * 1e3:10.1f}{trl.get(kind, 0.0) * 1e3:10.1f}")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the recipe")
    parser.add_argument("--recipe", default="embedded")
    parser.add_argument("--model", default="embedded", help="or llama-3.1-8b-shaped, gemma-2-9b-shaped")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--sampling", default="group_by_length", help="TRL's; or batch_rebalance, padding_free"
    )
    parser.add_argument("--attention", help="TRL's; default: eager on a CPU, else as the model is loaded")
    parser.add_argument("--profile", action="store_true", help="say where the time of ten steps goes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.device == "cpu":
        options.attention = options.attention or "eager"
    return options


def main() -> None:
    options = parse()
    quiet()
    try:
        trainers.require_trl()
        with tempfile.TemporaryDirectory() as folder:
            job = prepare(options, Path(folder))
            results = compare(job, options)
    except SvgCaptionError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    facts = summary(results, job.recipe)
    if options.json:
        print(json.dumps(facts))
        return
    print(_header())
    print("\n".join(_row(trainer, runs) for trainer, runs in results.items()))
    fast, by_cpu = facts["times_as_fast"], facts["times_as_fast_by_cpu_time"]
    print(f"ours is {fast:.2f}x as fast; by CPU time {by_cpu:.2f}x")
    if options.profile:
        print(profile_table(results))


if __name__ == "__main__":
    main()

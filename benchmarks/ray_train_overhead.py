"""What Ray Train costs: seconds per step of the same worker under it, and in a bare process group.

    python -m benchmarks.ray_train_overhead                 # the embedded recipe, 40 steps, 3 rounds in turns

Both run `training.worker.work` with the same recipe, token ids and number of workers; torchrun starts
the bare ones. Each step reads the same samples in all runs, so steps are compared one by one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from benchmarks.support.launch import launch, quiet
from rendering import SvgCaptionError
from training import cluster
from training.preflight import Checked, check
from training.recipe import load_recipe
from training.worker import METRICS_FILE, Job, work

Way = Literal["bare", "ray"]

WAYS: tuple[Way, ...] = ("bare", "ray")
WARM_UP_STEPS = 110  # on two cores Ray's own helpers load for most of a minute beside the first ones
# Between the steps nothing but the step: no validation, no captions, one checkpoint at the end
_QUIET = (
    "early_stopping=null",
    "epochs=99",
    "validation.captions=0",
    "validation.every_steps=9999",
    "resources.device=cpu",
)


def step_seconds(way: Way, checked: Checked, folder: Path) -> list[float]:
    """Of the steps after the warm-up, as the main worker logs them."""
    folder.mkdir(parents=True)
    if way == "ray":
        cluster.fit(checked, folder)
    else:
        run_bare(checked, folder)
    lines = map(json.loads, (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines())
    seconds = [float(line["seconds"]) for line in lines if line["event"] == "step"]
    return seconds[WARM_UP_STEPS:]


def run_bare(checked: Checked, folder: Path) -> None:
    job = Job(
        recipe=checked.recipe, spec=checked.spec, device="cpu", folder=folder,
        train=checked.train.file, validation=checked.validation.file,
    )  # fmt: skip
    job_file = folder / "job.json"
    job_file.write_text(job.model_dump_json(), encoding="utf-8")
    launch(job, "benchmarks.ray_train_overhead", "--job", str(job_file))


def compare(checked: Checked, rounds: int, folder: Path) -> dict[Way, list[list[float]]]:
    """Runs in turns, so that both meet the same neighbours on a shared machine."""
    seconds: dict[Way, list[list[float]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS:
            seconds[way].append(step_seconds(way, checked, folder / f"{way}-{number}"))
            median = statistics.median(seconds[way][-1])
            print(f"{way}, round {number + 1}: {median:.3f} s per step", file=sys.stderr, flush=True)
    return seconds


def summary(seconds: dict[Way, list[list[float]]]) -> dict[str, Any]:
    bare, under_ray = (_by_step(seconds[way]) for way in WAYS)
    ratios = [ray / alone for alone, ray in zip(bare, under_ray, strict=True)]
    return {
        "overhead": statistics.median(ratios) - 1,
        "bare_s": statistics.median(bare),
        "ray_s": statistics.median(under_ray),
        "steps": len(ratios),
        "seconds": seconds,
    }


def _by_step(rounds: Sequence[Sequence[float]]) -> list[float]:
    """The median over the rounds of each step."""
    return [statistics.median(step) for step in zip(*rounds, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the recipe")
    parser.add_argument("--recipe", default="embedded")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    quiet()
    if options.job:
        work(json.loads(options.job.read_text(encoding="utf-8")))
        return
    words = [*_QUIET, f"max_steps={options.steps + WARM_UP_STEPS}", *options.overrides]
    try:
        with tempfile.TemporaryDirectory() as folder:
            checked = check(
                load_recipe(options.recipe, words), Path(folder) / "corpus", Path(folder) / "tokens"
            )
            facts = summary(compare(checked, options.rounds, Path(folder)))
    except SvgCaptionError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    if options.json:
        print(json.dumps(facts))
        return
    print(f"{facts['steps']} steps, medians of {options.rounds} rounds")
    print(f"bare process group  {facts['bare_s']:.3f} s per step")
    print(f"under Ray Train     {facts['ray_s']:.3f} s per step: {facts['overhead']:+.1%}, step by step")


if __name__ == "__main__":
    main()

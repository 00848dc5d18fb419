"""One training run, from a recipe to an adapter folder: the driver's side.

Everything is checked before Ray is asked for anything (`training.preflight`); then
`training.worker.work` runs on every worker, and the best adapter is exported and installed.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict
from transformers import AutoConfig

from captioning.adapters import Manifest, install_adapter, library_versions, write_adapter
from captioning.atomic import write_text
from captioning.base_models import BASE_MODELS, load_tokenizer, resolve
from captioning.errors import ConfigError
from captioning.prompt import PROMPT_VERSION
from rendering import CANONICALIZER_VERSION
from training import cluster, model
from training.card import write_card
from training.checkpoints import CheckpointFolder, read_best
from training.errors import TrainingFailed, TrainingInterrupted
from training.loop import Outcome
from training.preflight import TOKENS_DIR, Checked, SplitReport, check
from training.recipe import Recipe, dump_recipe, flat
from training.runs import read_run
from training.worker import text_of

LOCKS_DIR = ".locks"  # among the runs
FAILED_STEP_FILE = "failed_step.json"  # in the run's folder: the samples that a run was stopped at

_log = logging.getLogger(__name__)


class RunResult(BaseModel):
    """What a run ended with; kept as `result.json` in its folder."""

    model_config = ConfigDict(frozen=True)

    run: str
    status: str  # completed, or stopped_early
    adapter: Path  # folder
    steps: int
    total_steps: int
    best_step: int
    validation_loss_before: float  # nats per token
    validation_loss: float  # of the exported adapter
    padding_share: float
    splits: dict[str, SplitReport]
    seconds: float  # of steps and validations, over all restarts


def default_name(recipe_name: str, recipe: Recipe) -> str:
    """Recipe and model; never the name of a base model, which a service would mistake it for."""
    base = resolve(recipe.model).id.rpartition("/")[2]
    return f"{recipe_name}-{'adapter' if base == recipe_name else base}"


def train(recipe: Recipe, *, name: str, runs_dir: Path, adapters_dir: Path) -> RunResult:
    """Run the recipe to its end. An interrupted run of that name goes on; a finished one is not repeated.

    Raises:
        ConfigError, CorpusError: before any resource is asked for.
        TrainingFailed: the workers failed, or found that going on is pointless.
        TrainingInterrupted: SIGTERM or Ctrl-C; the same call goes on.
    """
    folder = runs_dir.resolve() / name
    _check_name(name)
    _check_same_recipe(recipe, folder)
    with _locked(folder):
        checked = check(recipe, folder / "corpus", runs_dir.resolve() / TOKENS_DIR)
        _require_writable(adapters_dir)
        _open(folder, checked)
        result_file = folder / "result.json"
        if not result_file.exists():
            outcome = cluster.fit(checked, folder)
            _require_end(checked, outcome, folder)
            _export(checked, outcome, folder)
            write_text(result_file, _result(checked, outcome, folder).model_dump_json(indent=2))
        write_card(folder)
        install_adapter(folder / "adapter", adapters_dir)
    return RunResult.model_validate_json(result_file.read_text(encoding="utf-8"))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two processes that write the same checkpoints and log would spoil both."""
    path = folder.parent / LOCKS_DIR / folder.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"run '{folder.name}' is being trained by another process. Wait until that has ended, or "
                "give this run a name of its own with --run."
            ) from None
        except OSError as error:
            _log.warning("'%s' cannot be locked (%s): give no run twice at a time", path, error)
        yield


def _require_writable(adapters_dir: Path) -> None:
    """Hours of training later it would be too late."""
    try:
        adapters_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=adapters_dir):
            pass
    except OSError as error:
        raise ConfigError(f"--adapters-dir '{adapters_dir}' cannot be written: {error}") from None


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ConfigError(f"run '{name}': a name has up to 64 letters, digits, '.', '_' and '-'")
    if name in BASE_MODELS:
        raise ConfigError(f"run '{name}' has the name of a base model: its adapter could not be asked for")


def _check_same_recipe(recipe: Recipe, folder: Path) -> None:
    path = folder / "recipe.yaml"
    if not path.exists():
        return
    before = flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    now = flat(recipe.model_dump(mode="json"))
    changes = [
        f"{key} was {before.get(key)}, is {now.get(key)}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if changes:
        raise ConfigError(
            f"run '{folder.name}' was begun with another recipe ({'; '.join(changes)}). "
            f"Give this one a name of its own with --run, or delete {folder}."
        )


def _open(folder: Path, checked: Checked) -> None:
    """Write what the run is made of, or make sure that it is what the run was begun with."""
    path = folder / "identity.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if changed := [what for what, value in checked.identity.items() if before.get(what) != value]:
            raise ConfigError(
                f"run '{folder.name}' cannot go on: its {', '.join(changed)} changed since it was begun. "
                f"Give the run another name with --run, or delete {folder}."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "recipe.yaml", dump_recipe(checked.recipe))
    write_text(path, json.dumps(checked.identity, indent=2))  # last: with it, all is there


def _require_end(checked: Checked, outcome: Outcome, folder: Path) -> None:
    name = folder.name
    if outcome.status == "interrupted":
        raise TrainingInterrupted(
            f"run '{name}' was stopped at step {outcome.progress.step} of {outcome.total_steps}, as asked. "
            "The same command goes on from there."
        )
    if outcome.status != "failed":
        return
    seen = ""
    if outcome.losses:
        path = folder / FAILED_STEP_FILE
        try:
            write_text(path, json.dumps(_failed_step(checked, outcome), indent=1))
            seen = f" The samples, each with its loss: {path}"
        except OSError as error:
            seen = f" The samples could not be written to {path}: {error}"
    raise TrainingFailed(f"run '{name}' was stopped at {outcome.diagnosis}{seen}")


def _failed_step(checked: Checked, outcome: Outcome) -> list[dict[str, Any]]:
    """The samples that the run failed at, as the model saw them. A loss that is not a number is a word."""
    tokenizer = load_tokenizer(checked.spec)
    known = (*checked.validation.tokenized.examples, *checked.train.tokenized.examples)
    examples = {example.id: example for example in known}
    return [
        {
            "id": sample_id,
            "loss": loss if math.isfinite(loss) else str(loss),
            "prompt": tokenizer.decode(list(examples[sample_id].prompt)),
            "completions": [text_of(tokenizer, ids) for ids in examples[sample_id].completions],
        }
        for sample_id, loss in outcome.losses.items()
    ]


def _export(checked: Checked, outcome: Outcome, folder: Path) -> None:
    """Write the best adapter. The base model's weights are not needed, only its shapes."""
    checkpoint = CheckpointFolder(folder, keep=checked.recipe.checkpoints.keep).latest()
    if checkpoint is None:
        raise TrainingFailed(f"'{folder}' holds no whole checkpoint: was something deleted?")
    base = model.on_meta(AutoConfig.from_pretrained(checked.spec.source))
    adapted = model.with_lora(base, checked.recipe.lora, meta=True)
    unexpected = adapted.load_state_dict(read_best(checkpoint), strict=False, assign=True).unexpected_keys
    if unexpected:
        raise TrainingFailed(f"{checkpoint} holds weights that the adapter has no place for: {unexpected[0]}")
    progress = outcome.progress
    manifest = Manifest(
        adapter_id=folder.name,
        base_model=checked.spec.id,
        base_fingerprint=checked.identity["base model"],
        prompt_version=PROMPT_VERSION,
        canonicalizer_version=CANONICALIZER_VERSION,
        recipe=_public(checked),
        corpus_fingerprint=checked.identity["training corpus"],
        metrics={
            "validation_loss_before": progress.first_loss,
            "validation_loss": progress.best_loss,
            "best_step": float(progress.best_step),
        },
        library_versions=library_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_adapter(folder / "adapter", adapted, manifest)


def _public(checked: Checked) -> dict[str, Any]:
    """The recipe as others may see it: without the folders of the machine that trained."""
    recipe = checked.recipe.model_dump(mode="json")
    files = {split: Path(recipe["corpus"][split]).name for split in ("train", "validation")}
    return recipe | {"model": checked.spec.id, "corpus": recipe["corpus"] | files}


def _result(checked: Checked, outcome: Outcome, folder: Path) -> RunResult:
    return RunResult(
        run=folder.name,
        status=outcome.status,
        adapter=folder / "adapter",
        steps=outcome.progress.step,
        total_steps=outcome.total_steps,
        best_step=outcome.progress.best_step,
        validation_loss_before=outcome.progress.first_loss,
        validation_loss=outcome.progress.best_loss,
        padding_share=checked.padding_share,
        splits=checked.splits,
        seconds=round(read_run(folder).seconds, 1),
    )

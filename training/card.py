"""The card of a finished run's adapter: the loss curve, what the run was told, and what it read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from captioning.adapters import CARD_FILE, CURVE_FILE, Manifest, read_manifest
from captioning.corpus import corpus_fingerprint, read_corpus
from captioning.model_card import adapter_card, recipe_facts
from training.curve import Curve, curve_svg
from training.recipe import Recipe, flat
from training.runs import Run, read_run

_MOST_ROWS = 12  # of validation losses; the curve shows them all


def write_card(run_folder: Path) -> None:
    """Write `README.md` and `curve.svg` into the run's adapter folder."""
    run, adapter = read_run(run_folder), run_folder / "adapter"
    manifest = read_manifest(adapter)
    curves = [
        Curve("training loss", run.training_losses),
        Curve("validation loss", run.validation_losses, is_marked=True),
    ]
    (adapter / CURVE_FILE).write_text(curve_svg(curves, run.name), encoding="utf-8")
    (adapter / CARD_FILE).write_text(adapter_card(manifest, _sections(run, manifest)), encoding="utf-8")


def _sections(run: Run, manifest: Manifest) -> str:
    splits = run.result["splits"] if run.result else {}
    lines = [
        "## Training",
        "",
        *([_outcome(run.status, run.result)] if run.result else ()),
        "",
        "![Training and validation loss by step](curve.svg)",
        "",
        *_table(["step", "validation loss, nats per token"], _validation_rows(run)),
        "",
        "Settings that are not the recipe's defaults:",
        "",
        *_table(["setting", "value", "default"], changed_settings(recipe_facts(manifest))),
        "",
        "## Corpus",
        "",
        *_table(["split", "samples", "longest, tokens", "dropped"], _split_rows(splits)),
        "",
        *_origins(run),
        "",
    ]
    return "\n".join(lines) + "\n"


def _outcome(status: str, result: dict[str, Any]) -> str:
    return (
        f"{status.capitalize()} after {result['steps']:,} of {result['total_steps']:,} steps and "
        f"{result['seconds'] / 60:,.1f} minutes. The adapter is that of step {result['best_step']:,}, "
        "which had the lowest validation loss."
    )


def changed_settings(recipe: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and default, as JSON, of each setting that is not at its default."""
    defaults, settings = flat(Recipe().model_dump(mode="json")), flat(recipe)
    return [
        (name, json.dumps(value), json.dumps(defaults[name]) if name in defaults else "")
        for name, value in sorted(settings.items())
        if name not in defaults or value != defaults[name]
    ]


def _validation_rows(run: Run) -> list[tuple[str, str]]:
    """Evenly spread ones, with the first, the last and the best, which is bold."""
    losses = run.validation_losses
    best = min(losses, key=lambda point: point[1], default=None)
    stride = max(1, -(-len(losses) // (_MOST_ROWS - 2)))
    shown = {*losses[::stride], *losses[-1:], *([best] if best else ())}
    rows = [(f"{step:,}", f"{loss:.4f}", (step, loss) == best) for step, loss in sorted(shown)]
    return [(f"**{step}**", f"**{loss}**") if is_best else (step, loss) for step, loss, is_best in rows]


def _split_rows(splits: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for name, split in splits.items():
        dropped = ", ".join(f"{count:,} x {reason}" for reason, count in sorted(split["dropped"].items()))
        yield name, f"{split['samples']:,}", f"{split['longest_tokens']:,}", dropped or "none"


def _origins(run: Run) -> list[str]:
    """Licences and caption authors in the training corpus, where its file is still what it was."""
    file = run.folder / "corpus" / "train.jsonl"
    path = file if file.exists() else Path(str(run.recipe.get("corpus.train")))
    if not path.is_file() or corpus_fingerprint(path) != run.identity.get("training corpus"):
        return []
    licences, authors = Counter[str](), Counter[str]()
    for sample in read_corpus(path):
        licences[sample.license or "not stated"] += 1
        authors[sample.caption_author or "not stated"] += 1
    return [
        f"- Licences of the drawings: {_counted(licences)}",
        f"- Authors of the captions: {_counted(authors)}",
    ]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.most_common())


def _table(header: Sequence[str], rows: Sequence[Sequence[str]] | Iterator[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "|---" * len(header) + "|", *lines[1:]]

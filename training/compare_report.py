"""A comparison of runs for people: text for a terminal, and an HTML page with the curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from training.compare import Comparison, labelled
from training.curve import Curve, curve_svg
from training.runs import Run

# Fields of `compare.Facts`, in words, and how they are formatted.
_FIGURES = {
    "status": ("status", ""),
    "model": ("base model", ""),
    "steps": ("steps", ","),
    "total_steps": ("steps planned", ","),
    "samples_per_step": ("samples per step", ","),
    "validation_loss_before": ("validation loss before", ".4f"),
    "best_validation_loss": ("best validation loss", ".4f"),
    "best_step": ("... at step", ","),
    "last_validation_loss": ("last validation loss", ".4f"),
    "best_to_common_step": ("best to the common step", ".4f"),
    "training_loss_at_common_step": ("training loss at the common step", ".4f"),
    "tokens_per_s": ("tokens per second", ",.0f"),
    "seconds_per_step": ("seconds per step, median", ",.2f"),
    "padding_share": ("padding", ".1%"),
    "gpu_memory_gib": ("GPU memory, GiB", ".1f"),
    "mfu": ("model FLOPs utilization", ".1%"),
    "hours": ("hours in steps and validations", ",.2f"),
}


class Table(NamedTuple):
    title: str
    header: list[str]
    rows: list[list[str]]


def tables(comparison: Comparison) -> list[Table]:
    """The comparison with a column for each run."""
    labels = list(comparison.runs)
    figures = [
        [words, *(_shown(getattr(run, field), spec) for run in comparison.runs.values())]
        for field, (words, spec) in _FIGURES.items()
    ]
    settings = [
        [name, *(json.dumps(values[label]) for label in labels)] for name, values in comparison.recipe.items()
    ]
    losses = [
        [f"{row.step:,}", *(f"{row.validation_loss[label]:.4f}" for label in labels)]
        for row in comparison.equal_steps
    ]
    return [
        Table(f"Runs (the common step is {comparison.common_step:,})", ["", *labels], figures),
        Table("Settings that differ", ["setting", *labels], settings),
        Table("Validation loss at equal steps", ["step", *labels], losses),
    ]


def text(comparison: Comparison) -> str:
    """For a terminal."""
    notes = [f"Note: {note}" for note in comparison.notes]
    return "\n\n".join([*map(_text_table, tables(comparison)), *notes])


def page(comparison: Comparison, runs: Sequence[Run]) -> str:
    """One HTML page that needs no other file, for light and dark screens."""
    notes = "".join(f"<p class=note>{escape(note)}</p>" for note in comparison.notes)
    sections = "".join(map(_html_table, tables(comparison)))
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(" against ".join(comparison.runs))}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }}
svg {{ width: 100%; height: auto }}
table {{ border-collapse: collapse; display: block; overflow-x: auto }}
th, td {{ text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid #8884 }}
th, td {{ vertical-align: top }}
td {{ font-variant-numeric: tabular-nums }}
.note {{ border-left: 4px solid #c75605; padding-left: 1rem }}
</style>
<h1>{escape(" against ".join(comparison.runs))}</h1>
{notes}
{overlay(runs)}
{sections}
</html>
"""


def overlay(runs: Sequence[Run]) -> str:
    """All curves in one SVG: a colour for each run, thin for training and thick for validation."""
    curves = [
        curve
        for colour, (label, run) in enumerate(labelled(runs).items())
        for curve in (
            Curve(f"{label}, training", run.training_losses, colour),
            Curve(f"{label}, validation ({run.status})", run.validation_losses, colour, is_marked=True),
        )
    ]
    return curve_svg(curves)


def _shown(value: Any, spec: str) -> str:
    return "-" if value is None else format(value, spec)


def _text_table(table: Table) -> str:
    if not table.rows:
        return f"{table.title}: none"
    rows = [table.header, *table.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n  ".join([table.title, *lines])


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = "".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>\n"
        for row in table.rows
    )
    body = f"<table><tr>{head}</tr>\n{rows}</table>" if table.rows else "<p>None.</p>"
    return f"<h2>{escape(table.title)}</h2>\n{body}\n"

"""The page of a comparison: the pictures side by side, in one HTML file that needs nothing else.

Ids and messages come from files of unknown origin and are escaped. The sanitized SVG is shown too, as
an image (where a browser runs no script and loads nothing), so that the reader's own browser is one
more renderer to compare with.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

from rendering.compare import DRAWN, Comparison, FileResult, Outcome, report

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Renderers compared</title>
<style>
  body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #1d2733; }}
  table {{ border-collapse: collapse; margin: 1rem 0 2rem; }}
  th, td {{ border: 1px solid #d5dbe3; padding: .4rem .7rem; text-align: left; vertical-align: top; }}
  thead th {{ background: #f2f5f8; }}
  img {{ width: 192px; height: 192px; object-fit: contain; display: block; }}
  small {{ color: #5c6875; display: block; max-width: 192px; overflow-wrap: anywhere; }}
  .failed {{ color: #a11d1d; }}
</style>
<h1>Renderers compared</h1>
<p>{summary}</p>
{totals}
{pairs}
{files}
</html>
"""


def page(comparison: Comparison) -> str:
    """The HTML page, complete in itself."""
    totals = report(comparison)
    summary = f"{len(comparison.files)} files, seed {comparison.seed}."
    if comparison.not_reached:
        summary += f" It was stopped before {comparison.not_reached} more."
    return _PAGE.format(
        summary=summary,
        totals=_table(
            ("Back end", "Version", "Drawn", "Failed", "Median ms", "Longest ms", "Most MiB"),
            (
                (
                    escape(name),
                    escape(row["version"]),
                    str(row["drawn"]),
                    escape(", ".join(f"{code} ({count})" for code, count in row["failed"].items())) or "none",
                    _number(row["median_time_ms"]),
                    _number(row["max_time_ms"]),
                    _number(row["max_memory_mib"]),
                )
                for name, row in totals["backends"].items()
            ),
        ),
        pairs=_table(
            ("Pair", "Files", "Alike", "Mean absolute difference", "Block SSIM"),
            (
                (
                    escape(pair),
                    str(row["files"]),
                    str(row["alike"]),
                    _number(row["mean_absolute_difference"], 4),
                    _number(row["block_ssim"], 4),
                )
                for pair, row in totals["similarities"].items()
            ),
        ),
        files=_table(
            ("File", "This browser", *map(escape, comparison.backends)),
            (_file_row(file, comparison) for file in comparison.files),
        ),
    )


def _file_row(file: FileResult, comparison: Comparison) -> Iterable[str]:
    notes = [*file.messages, *(f"{pair}: SSIM {s.block_ssim:.4f}" for pair, s in file.similarities.items())]
    name = escape(file.id) + "".join(f"<small>{escape(note)}</small>" for note in notes)
    if file.refused:
        refusal = f'<span class="failed">{escape(file.refused)}</span>'
        return (name, refusal, *("" for _ in comparison.backends))
    drawn = (_outcome_cell(file.outcomes[backend]) for backend in comparison.backends)
    return (name, _image("image/svg+xml", file.svg.encode()), *drawn)


def _outcome_cell(outcome: Outcome) -> str:
    if outcome.outcome != DRAWN:
        code, message = escape(outcome.outcome), escape(outcome.message)
        return f'<span class="failed">{code}</span><small>{message}</small>'
    cost = "" if outcome.time_ms is None else f"{outcome.time_ms:,.1f} ms, {_number(outcome.memory_mib)} MiB"
    return f"{_image('image/png', outcome.png)}<small>{cost}</small>"


def _image(media_type: str, data: bytes) -> str:
    return f'<img alt="" src="data:{media_type};base64,{base64.b64encode(data).decode()}">'


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"

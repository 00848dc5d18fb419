"""The page's two tables, captions of many files and the latest evaluation; and the first one as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from services.schemas import FileResult

EMPTY_BATCH = '<p class="blank">One row for each file appears here.</p>'
NO_REPORT = """\
<p class="blank">No evaluation yet. <code>python -m evaluation</code> measures the captioners and leaves
a report, which then appears here.</p>"""

SAVE_JS = """\
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-save]');
  if (button) trigger('save', {kind: button.dataset.save});
});"""

_SCORES = {
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "cider": "CIDEr",
    "clip_score": "CLIP Score",
    "concept_match": "Concept",
    "colour_accuracy": "Colours",
    "faithfulness": "Faithfulness",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


def batch(results: Sequence[FileResult], total: int) -> str:
    """How far the batch is, and a row for each file so far."""
    bad = sum(result.status != 200 for result in results)
    state = f"{len(results)} of {total} files" + (f", {bad} refused" if bad else "")
    if len(results) == total:
        buttons = "".join(
            f'<button type="button" data-save="{kind}">Download {kind.upper()}</button>' for kind in EXPORTS
        )
        head = f'<div class="actions">{buttons}</div>'
    else:
        head = f'<progress max="{total}" value="{len(results)}" aria-label="Files captioned"></progress>'
    rows = "".join(_row(result) for result in results)
    return f"""<div class="progress"><p class="label" role="status">{state}</p>{head}</div>
    <div class="scroll" tabindex="0" role="region" aria-label="Captions"><table class="table">
    <thead><tr><th scope="col">File</th><th scope="col">Caption</th></tr></thead>
    <tbody>{rows}</tbody></table></div>"""


def _row(result: FileResult) -> str:
    if result.error:
        said = f'<span class="bad">{escape(result.error.message)}</span>'
    else:
        said = "<br>".join(escape(caption.text) for caption in result.captions or ())
    return f'<tr><th scope="row">{escape(result.file)}</th><td>{said}</td></tr>'


def to_jsonl(results: Sequence[FileResult]) -> str:
    """One file a line, as the API describes it."""
    return "".join(f"{result.model_dump_json(exclude_none=True)}\n" for result in results)


def to_csv(results: Sequence[FileResult]) -> str:
    """One caption a line. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["file", "caption", "status", "error"])
    for result in results:
        error = result.error.message if result.error else ""
        for text in [caption.text for caption in result.captions or ()] or [""]:
            writer.writerow([_plain(result.file), _plain(text), result.status, _plain(error)])
    return out.getvalue()


EXPORTS = {"csv": (to_csv, "text/csv"), "jsonl": (to_jsonl, "application/jsonl")}


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def report(found: Mapping[str, Any]) -> str:
    """Scores by captioner with their intervals, and what some samples were called.

    Raises:
        KeyError, TypeError, ValueError: it is not shaped like a report of ours.
    """
    rows = found["rows"]
    scored = [row for row in rows if "scores" in row]
    names = [name for name in _SCORES if any("score" in row["scores"].get(name, {}) for row in scored)]
    head = "".join(f'<th scope="col">{_SCORES[name]}</th>' for name in names)
    body = "".join(_scored(row, names) for row in rows)
    day = escape(str(found["created"])[:10])
    return f"""<h2>Suite {escape(str(found["suite"]))}</h2>
    <p class="note">Run {escape(str(found["run"]))} of {day} on {int(found["samples"])} drawings.
    In small type: 95 % intervals. <a href="/v1/report">The whole report as JSON</a></p>
    <div class="scroll" tabindex="0" role="region" aria-label="Scores"><table class="table scores"><thead>
    <tr><th scope="col">Captioner</th>{head}</tr></thead><tbody>{body}</tbody></table></div>
    {_examples(found.get("examples", ()))}"""


def _scored(row: Mapping[str, Any], names: Sequence[str]) -> str:
    if "scores" not in row:
        why = escape(str(row.get("unavailable", "not scored")))
        cells = f'<td colspan="{len(names)}" class="note">{why}</td>'
    else:
        cells = "".join(f"<td>{_score(row['scores'].get(name, {}))}</td>" for name in names)
    return f'<tr><th scope="row">{escape(str(row["captioner"]))}</th>{cells}</tr>'


def _score(score: Mapping[str, Any]) -> str:
    if "score" not in score:
        return f'<span class="note" title="{escape(str(score.get("unavailable", "")))}">n/a</span>'
    if score["low"] is None:
        return f"{score['score']:.3f}"
    return f"{score['score']:.3f} <small>{score['low']:.3f} to {score['high']:.3f}</small>"


def _examples(examples: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(str(example["references"][0]))}</th><td>'
        + "<br>".join(
            f"<small>{escape(str(name))}</small> {escape(str(said or 'no caption'))}"
            for name, said in example["candidates"].items()
        )
        + "</td></tr>"
        for example in examples
    )
    if not rows:
        return ""
    return f"""<h3>Examples, not chosen</h3>
    <div class="scroll" tabindex="0" role="region" aria-label="Examples"><table class="table"><thead>
    <tr><th scope="col">A reference</th><th scope="col">What captioners said</th></tr></thead>
    <tbody>{rows}</tbody></table></div>"""

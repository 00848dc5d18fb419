"""The report as one self-contained HTML page: table, plots, claims, and the samples that tell most.

Nothing is loaded from anywhere; the one script filters samples and is named by its hash in the page's policy.
All texts are of unknown origin and escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from captioning.corpus import Sample
from evaluation.comparison import claim
from evaluation.report import HEADINGS, Report, ScoredRow, cells, headings, notes, signatures
from evaluation.samples import STYLE, Written, card, read_captioner
from evaluation.scoring import Score
from evaluation.tables import CLAIM_HEADINGS, score_cells
from rendering import Rasterizer

_EACH = 8  # samples of a kind
_RANKED_BY = ("cider", "rouge_l", "faithfulness", "clip_score", "concept_match", "shape_accuracy")
_FLOORS = ("constant", "shuffled", "nearest", "title")
_ROW_PX, _NAME_PX, _PLOT_PX = 22, 130, 300


def write_page(report: Report, samples: Sequence[Sample], folder: Path) -> None:
    """Write `report.html` beside the run's other files."""
    rows = [row for row in report.rows if isinstance(row, ScoredRow)]
    captioners = [read_captioner(folder, row.captioner) for row in rows]
    own = [one for one, row in zip(captioners, rows, strict=True) if row.settings.get("kind") not in _FLOORS]
    names = dict(zip(HEADINGS, headings(report.rows)[3:], strict=True)) | CLAIM_HEADINGS
    ranked_by, kinds = telling_samples([sample.id for sample in samples], own or captioners)
    by_id = {sample.id: sample for sample in samples}
    with Rasterizer() as rasterizer:
        cards = [
            card(by_id[name], captioners, rasterizer, _attributes(by_id[name], kind), f" ({kind})")
            for kind, chosen in kinds.items()
            for name in chosen
        ]
    page = _PAGE.substitute(
        title=escape(f"{report.suite}: {report.run}"),
        about=escape(
            f"{report.samples} samples, scored {report.created}. In brackets and as bars: 95 % intervals."
        ),
        policy=_POLICY,
        style=STYLE + _STYLE,
        tables=_table(headings(report.rows), [cells(row) for row in report.rows])
        + _table(
            ["Captioner", *CLAIM_HEADINGS.values()],
            [[row.captioner, *score_cells(row.scores, CLAIM_HEADINGS)] for row in rows],
        ),
        claims=_list(claim(one, names) for one in report.comparisons),
        plots="".join(_plot(heading, name, rows) for name, heading in names.items()),
        choices=_choices(kinds, samples, captioners),
        ranked_by=escape(ranked_by or "nothing"),
        cards="\n".join(cards),
        notes=_list(notes(report.rows)),
        signatures=_list(signatures(report.rows)),
        manifest=escape(json.dumps({"setup": report.setup, "versions": report.versions}, indent=2)),
        script=_SCRIPT,
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def telling_samples(
    ids: Sequence[str], captioners: Sequence[Written]
) -> tuple[str | None, dict[str, list[str]]]:
    """The score that ranks, and ids of the best, the worst and the most disputed samples by it.

    Best and worst by the mean over captioners; disputed by how far they are apart.
    """
    known = {name for one in captioners for scores in one.scores.values() for name in scores}
    ranked_by = next((name for name in _RANKED_BY if name in known), None)
    values = {
        name: [
            score
            for one in captioners
            if (score := one.scores.get(name, {}).get(ranked_by or "")) is not None
        ]
        for name in ids
    }
    scored = [name for name in ids if values[name]]
    by_mean = sorted(scored, key=lambda name: sum(values[name]) / len(values[name]))
    by_spread = sorted(scored, key=lambda name: min(values[name]) - max(values[name]))
    disputed = [name for name in by_spread if max(values[name]) > min(values[name])]
    return ranked_by, {
        "best": by_mean[::-1][:_EACH],
        "worst": by_mean[:_EACH],
        "disputed": disputed[:_EACH],
    }


def _attributes(sample: Sample, kind: str) -> str:
    return f' data-kind="{kind}" data-source="{escape(sample.source or "unknown")}"'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table class="scores"><tr>{titles}</tr>{lines}</table></div>'


def _list(lines: Iterator[str] | Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _plot(heading: str, name: str, rows: Sequence[ScoredRow]) -> str:
    """A dot and its interval for each captioner, all on one scale that begins at 0 or below."""
    found = [(row.captioner, one) for row in rows if isinstance(one := row.scores.get(name), Score)]
    if not found:
        return ""
    low = min(0.0, *(one.score if one.low is None else one.low for _, one in found))
    high = max(one.score if one.high is None else one.high for _, one in found)
    scale = _PLOT_PX / (high - low or 1.0)

    def x(value: float) -> str:
        return f"{_NAME_PX + (value - low) * scale:.1f}"

    marks = []
    for index, (captioner, one) in enumerate(found):
        y = (index + 0.5) * _ROW_PX
        if one.low is not None and one.high is not None:
            marks.append(f'<line x1="{x(one.low)}" y1="{y}" x2="{x(one.high)}" y2="{y}"/>')
        marks.append(f'<circle cx="{x(one.score)}" cy="{y}" r="4"/>')
        marks.append(f'<text x="{_NAME_PX - 8}" y="{y + 4}" text-anchor="end">{escape(captioner)}</text>')
    height = len(found) * _ROW_PX
    ends = "".join(
        f'<text class="end" x="{x(value)}" y="{height + 12}" text-anchor="{anchor}">{value:.3g}</text>'
        for value, anchor in ((low, "start"), (high, "end"))
        if low < high
    )
    axis = f'<line class="axis" x1="{x(low)}" y1="{height}" x2="{x(high)}" y2="{height}"/>'
    size = f"{_NAME_PX + _PLOT_PX + 10} {height + 16}"
    return (
        f'<figure><figcaption>{escape(heading)}</figcaption><svg viewBox="0 0 {size}" role="img" '
        f'aria-label="{escape(heading)}">{axis}{"".join(marks)}{ends}</svg></figure>'
    )


def _choices(
    kinds: Mapping[str, Sequence[str]], samples: Sequence[Sample], captioners: Sequence[Written]
) -> str:
    """The filters: kind, source, captioners, and words."""
    sources = sorted({sample.source or "unknown" for sample in samples})
    boxes = "".join(
        f'<label><input type="checkbox" checked value="{escape(one.name)}"> {escape(one.name)}</label> '
        for one in captioners
    )
    return (
        f"<label>Show {_select('kind', list(kinds))}</label> "
        f"<label>from {_select('source', sources)}</label> "
        f'<label>with the words <input type="search" id="words"></label> {boxes}'
    )


def _select(name: str, values: Sequence[str]) -> str:
    options = "".join(f"<option>{escape(value)}</option>" for value in values)
    return f'<select id="{name}"><option value="">all</option>{options}</select>'


_SCRIPT = """
const form = document.querySelector("form");
form.addEventListener("input", () => {
  const kind = form.querySelector("#kind").value, source = form.querySelector("#source").value;
  const words = form.querySelector("#words").value.toLowerCase();
  const shown = new Set([...form.querySelectorAll("input:checked")].map((box) => box.value));
  for (const row of document.querySelectorAll("tr[data-captioner]"))
    row.hidden = !shown.has(row.dataset.captioner);
  for (const card of document.querySelectorAll("article"))
    card.hidden = (kind && card.dataset.kind !== kind) || (source && card.dataset.source !== source)
      || !card.textContent.toLowerCase().includes(words);
});
form.addEventListener("submit", (event) => event.preventDefault());
"""
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    f"script-src 'sha256-{base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()}'"
)
_STYLE = """\
body > h2 { font-size: 1.2rem; font-weight: bold; color: inherit; margin: 2rem 0 0.5rem; }
[hidden] { display: none !important; }
.wide { overflow-x: auto; }
.scores { margin: 1rem 0; font-size: 0.85rem; }
.scores th { width: auto; }
.scores td { width: auto !important; font-size: inherit !important; white-space: nowrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1rem; }
figure { margin: 0; }
figcaption { font-size: 0.85rem; color: #595959; }
svg { width: 100%; font-size: 12px; }
svg line { stroke: #0b57a4; stroke-width: 2; }
svg line.axis { stroke: #a0a0a0; stroke-width: 1; }
svg circle { fill: #0b57a4; }
svg .end { fill: #595959; font-size: 10px; }
form { padding: 0.5rem 0; display: flex; flex-wrap: wrap; gap: 0.75rem; }
pre { overflow-x: auto; font-size: 0.8rem; }
summary { cursor: pointer; font-weight: bold; padding: 0.5rem 0; }
article[data-kind] h2 { margin-bottom: 0.25rem; }
"""
_PAGE = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="$policy">
<title>$title</title>
<style>
$style</style>
<h1>$title</h1>
<p>$about</p>
$tables
<details open><summary>What may be claimed</summary>$claims</details>
<h2>Scores with intervals</h2>
<div class="plots">$plots</div>
<h2>Samples</h2>
<p>The best and the worst by the mean of $ranked_by over captioners that are no floors, and those that they
differ on most. For samples that were not chosen, see the command <code>samples</code>.</p>
<form>$choices</form>
$cards
<details><summary>Notes</summary>$notes</details>
<details><summary>Signatures</summary>$signatures</details>
<details><summary>Manifest</summary><pre>$manifest</pre></details>
<script>$script</script>
</html>
""")

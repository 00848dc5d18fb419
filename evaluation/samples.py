"""Samples of a run on one self-contained page: the drawing, its references, what every captioner wrote.

Which samples is decided by a seed and the split's ids alone, so that bad captions are shown as they come.
All texts are of unknown origin and escaped; pictures are rendered from the sanitized drawing.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from captioning.corpus import Sample, corpus_fingerprint
from captioning.errors import ConfigError
from captioning.pipeline import as_bytes
from evaluation.candidates import Candidate, read_candidates
from evaluation.errors import EvaluationError
from evaluation.report import Report, ScoredRow, UnavailableRow
from evaluation.split import read_split
from evaluation.suite import SUITES, load_suite
from evaluation.tables import REFERENCE_HEADINGS
from rendering import Rasterizer, SvgCaptionError, load

_PICTURE_SIZE_PX = 256


@dataclass(frozen=True)
class Written:
    """What one captioner wrote, and the scores of its sentences, by sample id."""

    name: str
    candidates: dict[str, Candidate]
    scores: dict[str, dict[str, Any]]


def write_samples(run: Path, out: Path, *, n: int, seed: int, corpus: Path | None = None) -> int:
    """Write the page for the run in that folder; returns how many samples are on it.

    Raises:
        EvaluationError: there is no finished run in the folder.
        ConfigError: the split is not known, or not the one that the run was about.
    """
    report = read_report(run)
    split = read_its_split(report, corpus)
    captioners = [read_captioner(run, row.captioner) for row in report.rows if isinstance(row, ScoredRow)]
    with Rasterizer() as rasterizer:
        cards = [card(split[name], captioners, rasterizer) for name in drawn_ids(list(split), n, seed)]
    page = _PAGE.substitute(
        title=escape(f"{len(cards)} samples of {report.run}"),
        about=escape(
            f"{len(cards)} of {report.samples} samples, drawn by the seed {seed} from their ids alone. "
            f"Suite {report.suite}, run {report.run} of {report.created}."
        ),
        unavailable="".join(_unavailable(row) for row in report.rows if isinstance(row, UnavailableRow)),
        cards="\n".join(cards),
        style=STYLE,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    return len(cards)


def drawn_ids(ids: Sequence[str], n: int, seed: int) -> list[str]:
    """`n` of the ids, or all; the same ones in whatever order the split has them."""
    return random.Random(f"samples {seed}").sample(sorted(ids), min(n, len(ids)))


def read_report(run: Path) -> Report:
    path = run / "report.json"
    if not path.is_file():
        raise EvaluationError(f"{run}: there is no report.json. Is it the folder of a finished run?")
    return Report.model_validate_json(path.read_bytes())


def read_its_split(report: Report, corpus: Path | None) -> dict[str, Sample]:
    if corpus is None:
        if not (SUITES / f"{report.suite}.yaml").is_file():
            raise ConfigError(f"'{report.suite}' is no shipped suite: name the run's split with --corpus")
        corpus = Path(load_suite(report.suite)[1].corpus)
    if corpus_fingerprint(corpus) != report.setup["corpus"]["fingerprint"]:
        raise ConfigError(f"{corpus} is not the split that the run was about. Name that one with --corpus")
    return {sample.id: sample for sample in read_split(corpus, report.samples)}


def read_captioner(run: Path, name: str) -> Written:
    with (run / name / "scores.jsonl").open(encoding="utf-8") as file:
        scores = {row["id"]: row for row in map(json.loads, file)}
    return Written(name, read_candidates(run / name / "candidates.jsonl"), scores)


def _unavailable(row: UnavailableRow) -> str:
    return f"<p>{escape(row.captioner)} is unavailable: {escape(row.unavailable)}</p>"


def card(
    sample: Sample,
    captioners: Sequence[Written],
    rasterizer: Rasterizer,
    attributes: str = "",
    note: str = "",
) -> str:
    """A sample with its picture, references, and each captioner's caption; `attributes` are safe HTML."""
    references = "".join(f"<li>{escape(reference)}</li>" for reference in sample.references)
    rows = "".join(_row(captioner, sample.id) for captioner in captioners)
    return (
        f"<article{attributes}>{_picture(sample, rasterizer)}<div><h2>{escape(sample.id)}{escape(note)}</h2>"
        f"<ul>{references}</ul><table>{rows}</table></div></article>"
    )


def _row(captioner: Written, sample_id: str) -> str:
    candidate = captioner.candidates.get(sample_id)
    if candidate is None or candidate.caption is None:
        text = f"<em>none: {escape(candidate.reason if candidate else 'no candidate')}</em>"
    else:
        text = escape(candidate.caption) if candidate.caption.strip() else "<em>empty</em>"
    marks = "".join(_marks(captioner.scores.get(sample_id, {})))
    name = escape(captioner.name)
    return f'<tr data-captioner="{name}"><th>{name}</th><td>{text}</td><td>{marks}</td></tr>'


def _marks(scores: Mapping[str, Any]) -> Iterator[str]:
    """For each claim that the sample asks for, whether the caption makes it."""
    for name, heading in REFERENCE_HEADINGS.items():
        if (score := scores.get(name)) is not None:
            kind, sign = ("right", "✓") if score else ("wrong", "✗")
            yield f'<span class="{kind}">{heading} {sign}</span> '


def _picture(sample: Sample, rasterizer: Rasterizer) -> str:
    try:
        png = rasterizer.render(load(as_bytes(sample.svg)), size_px=_PICTURE_SIZE_PX, background="auto")
    except SvgCaptionError as error:
        return f'<p class="picture">{escape(str(error))}</p>'
    data = base64.b64encode(png).decode()
    return f'<img class="picture" alt="" src="data:image/png;base64,{data}">'


STYLE = """\
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1a1a1a; }
body { font: 1rem/1.45 system-ui, sans-serif; }
article { display: flex; gap: 1.5rem; padding: 1.5rem 0; border-top: 1px solid #d0d0d0; }
article > div { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.picture { width: 128px; height: 128px; flex: none; margin: 0; border: 1px solid #d0d0d0; }
p.picture { font-size: 0.75rem; overflow: hidden; }
h2 { margin: 0; font-size: 0.85rem; font-weight: normal; color: #595959; }
ul { margin: 0.25rem 0 0.75rem; padding-left: 1.2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.15rem 0.75rem 0.15rem 0; font-weight: normal; }
th { color: #595959; width: 6rem; }
td:last-child { width: 15rem; font-size: 0.8rem; }
.right { color: #0b6b2f; }
.wrong { color: #b00020; }
@media (max-width: 40rem) { article { flex-direction: column; } }
"""

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
$style</style>
<h1>$title</h1>
<p>$about</p>
<p>Under each drawing's id its references; then each captioner's caption and, where the references ask for it,
whether it names the concept and says the same colours, shapes and counts as a reference.</p>
$unavailable
$cards
</html>
""")

"""What a run found, as JSON for programs and Markdown for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from captioning.corpus import Sample
from evaluation.candidates import Candidate
from evaluation.scoring import NoScore, Score, ScoreCard

HEADINGS = {
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "cider": "CIDEr",
    "clip_score": "CLIP Score, 0 to 2.5",
    "clip_score_100": "CLIP Score, 0 to 100",
}
"""Columns of tables; the JSON has every score."""

_EXAMPLES = 8


class ScoredRow(ScoreCard):
    """A captioner that was scored."""

    captioner: str
    settings: dict[str, Any]
    circular: bool  # references written by a captioner of the same kind favour it


class UnavailableRow(BaseModel):
    """A captioner that belongs into the table but could not run."""

    model_config = ConfigDict(frozen=True)

    captioner: str
    settings: dict[str, Any]
    unavailable: str  # why


class Example(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    references: tuple[str, ...]
    candidates: dict[str, str | None]  # by captioner


class Report(BaseModel):
    model_config = ConfigDict(frozen=True)

    suite: str
    run: str
    created: str  # ISO 8601, UTC
    setup: dict[str, Any]  # what the candidates depend on
    samples: int
    caption_authors: dict[str, int]  # who wrote the references, by samples
    versions: dict[str, str]
    rows: tuple[ScoredRow | UnavailableRow, ...]
    examples: tuple[Example, ...]


def caption_authors(samples: Sequence[Sample]) -> dict[str, int]:
    return dict(Counter(sample.caption_author or "unknown" for sample in samples).most_common())


def choose_examples(
    samples: Sequence[Sample], candidates: Mapping[str, Mapping[str, Candidate]]
) -> tuple[Example, ...]:
    """Samples spread evenly over the split, not chosen for what was said about them."""
    step = max(1, len(samples) // _EXAMPLES)
    return tuple(
        Example(
            id=sample.id,
            references=sample.references,
            candidates={
                name: made[sample.id].caption for name, made in candidates.items() if sample.id in made
            },
        )
        for sample in samples[::step][:_EXAMPLES]
    )


def write_report(report: Report, folder: Path) -> None:
    """Write report.json and report.md."""
    text = json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")


def markdown(report: Report) -> str:
    """Table, reasons, signatures, examples."""
    authors = ", ".join(f"{author} ({count})" for author, count in report.caption_authors.items())
    parts = [
        f"# Evaluation: {report.suite}",
        f"Run `{report.run}` of {report.created}: {report.samples} samples, "
        f"references written by {_escape(authors)}. In brackets: 95 % intervals (bootstrap over samples).",
        _table(["Captioner", "Scored", "Empty", *HEADINGS.values()], [cells(row) for row in report.rows]),
        *(f"## {title}\n\n{_list(lines)}" for title, lines in _notes(report) if lines),
        "## Examples\n\nSpread evenly over the split, not chosen.",
        _table(
            ["Sample", "By", "Caption"], [line for example in report.examples for line in _example(example)]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def cells(row: ScoredRow | UnavailableRow) -> list[str]:
    """Captioner, samples scored, empty candidates, then one cell for each of `HEADINGS`."""
    if isinstance(row, UnavailableRow):
        return [row.captioner, *("-" for _ in ("scored", "empty", *HEADINGS))]
    name = f"{row.captioner} (circular)" if row.circular else row.captioner
    scores = (_cell(row.scores.get(key)) for key in HEADINGS)
    return [name, f"{row.scored}/{row.samples}", str(row.empty), *scores]


def notes(rows: Sequence[ScoredRow | UnavailableRow]) -> list[str]:
    """Why a captioner or a score is missing, and what to be careful with."""
    lines = [
        f"{row.captioner} is unavailable: {row.unavailable}"
        for row in rows
        if isinstance(row, UnavailableRow)
    ]
    scored = [row for row in rows if isinstance(row, ScoredRow)]
    missing = {
        (name, score.unavailable): None
        for row in scored
        for name, score in row.scores.items()
        if isinstance(score, NoScore)
    }
    lines += [f"{name} is unavailable: {reason}" for name, reason in missing]
    lines += [
        f"{row.captioner} has no candidate for {len(row.unscored)} of {row.samples} samples, which are in "
        f"none of its scores: compare it with care. {_most_common(row.unscored.values())}"
        for row in scored
        if row.unscored
    ]
    lines += [
        f"{row.captioner}: references were written by a captioner of the same kind, which favours it."
        for row in scored
        if row.circular
    ]
    return lines


def _notes(report: Report) -> list[tuple[str, list[str]]]:
    return [
        ("Notes", [_escape(note) for note in notes(report.rows)]),
        ("Signatures", [f"`{signature}`" for signature in _signatures(report.rows)]),
    ]


def _signatures(rows: Sequence[ScoredRow | UnavailableRow]) -> list[str]:
    return list(
        {
            score.signature: None
            for row in rows
            if isinstance(row, ScoredRow)
            for score in row.scores.values()
            if isinstance(score, Score)
        }
    )


def _cell(score: Score | NoScore | None) -> str:
    """`0.412 [0.390, 0.433]`, or a dash."""
    if not isinstance(score, Score):
        return "-"
    digits = 1 if score.score >= 10 else 3
    if score.low is None or score.high is None:
        return f"{score.score:.{digits}f}"
    return f"{score.score:.{digits}f} [{score.low:.{digits}f}, {score.high:.{digits}f}]"


def _example(example: Example) -> Iterator[list[str]]:
    captions = [("reference", text) for text in example.references]
    captions += [(name, _shown(caption)) for name, caption in example.candidates.items()]
    for index, (name, caption) in enumerate(captions):
        yield ["" if index else _escape(example.id), _escape(name), _escape(caption)]


def _shown(caption: str | None) -> str:
    return "(none)" if caption is None else caption.strip() or "(empty)"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _most_common(reasons: Iterable[str]) -> str:
    reason, count = Counter(reasons).most_common(1)[0]
    return f"Most often ({count}): {reason}"


def _escape(text: str) -> str:
    """Text of unknown origin as plain Markdown text, on one line."""
    escaped = "".join(f"\\{char}" if char in r"\`*_{}[]<>()#|!&~$" else char for char in text)
    return " ".join(escaped.split())

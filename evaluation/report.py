"""What a run found, as JSON for programs and Markdown for people."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from captioning.corpus import Sample
from evaluation.candidates import Candidate
from evaluation.comparison import Comparison
from evaluation.scoring import NO_CANDIDATE, NoScore, Score, ScoreCard
from evaluation.tables import (
    CLAIM_HEADINGS,
    captions_table,
    claims_table,
    comparison_section,
    escape,
    latex_table,
    score_cells,
    source_section,
    strata_section,
    table,
)

HEADINGS = {
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "cider": "CIDEr",
    "clip_score": "CLIP Score, 0 to 2.5",
    "clip_score_100": "CLIP Score, 0 to 100",
}
"""Columns of tables; the JSON has every score. A model's name is added, see `headings`."""

_FAMILIES = ("blip", "vit-gpt2", "cogvlm", "llava", "qwen", "internvl", "gpt-4")
_EXAMPLES = 8
_MODEL = re.compile(r"\|model:([^,|]+)")


class ScoredRow(ScoreCard):
    """A captioner that was scored."""

    captioner: str
    settings: dict[str, Any]
    circular: bool  # references written by a captioner of the same kind favour it
    partial: int | None = None  # samples that it got to before the time was up; None: all


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
    comparisons: tuple[Comparison, ...]  # of every pair of captioners
    examples: tuple[Example, ...]


def caption_authors(samples: Sequence[Sample]) -> dict[str, int]:
    return dict(Counter(sample.caption_author or "unknown" for sample in samples).most_common())


def same_family(settings: Mapping[str, Any], author: str) -> bool:
    """Whether a captioner of those settings is of the kind that wrote the references."""
    name = f"{settings.get('kind')} {settings.get('source') or settings.get('model')}".lower()
    return any(family in name and family in author.lower() for family in _FAMILIES)


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
    """Write report.json, report.md and report.tex."""
    text = json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")
    (folder / "report.tex").write_text(latex(report), encoding="utf-8")


def markdown(report: Report) -> str:
    """Table, reasons, signatures, examples."""
    scored = {row.captioner: row for row in report.rows if isinstance(row, ScoredRow)}
    columns = dict(zip(HEADINGS, headings(report.rows)[3:], strict=True))
    authors = ", ".join(f"{author} ({count})" for author, count in report.caption_authors.items())
    parts = [
        f"# Evaluation: {report.suite}",
        f"Run `{report.run}` of {report.created}: {report.samples} samples, "
        f"references written by {escape(authors)}. In brackets: 95 % intervals (bootstrap over samples).",
        table(headings(report.rows), [cells(row) for row in report.rows]),
        claims_table({name: row.scores for name, row in scored.items()}),
        *source_section({name: row.by_source for name, row in scored.items()}, columns),
        *comparison_section(report.comparisons, columns),
        *strata_section(
            {name: row.by_stratum for name, row in scored.items()},
            lambda name, group: same_family(scored[name].settings, group),
        ),
        "## Captions",
        captions_table({name: row.captions for name, row in scored.items()}),
        *(f"## {title}\n\n{_list(lines)}" for title, lines in _notes(report) if lines),
        "## Examples\n\nSpread evenly over the split, not chosen.",
        table(
            ["Sample", "By", "Caption"], [line for example in report.examples for line in _example(example)]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def latex(report: Report) -> str:
    """The two tables for a paper, with the package booktabs; intervals are in the second line of a cell."""
    names = dict(zip(HEADINGS, headings(report.rows)[3:], strict=True))
    scored = [row for row in report.rows if isinstance(row, ScoredRow)]
    return "\n".join(
        [
            f"% {report.suite}, run {report.run} of {report.created}; signatures are in report.json",
            *latex_table({row.captioner: row.scores for row in scored}, names),
            *latex_table({row.captioner: row.scores for row in scored}, CLAIM_HEADINGS),
        ]
    )


def headings(rows: Sequence[ScoredRow | UnavailableRow]) -> list[str]:
    """Captioner, samples scored, empty candidates, then `HEADINGS`.

    A score that hangs on a model's weights has the model's name in its heading, so that nobody puts it
    beside scores of the same name by other weights.
    """
    return [
        "Captioner",
        "Scored",
        "Empty",
        *(_named(heading, _models(rows, name)) for name, heading in HEADINGS.items()),
    ]


def _models(rows: Sequence[ScoredRow | UnavailableRow], name: str) -> list[str]:
    """The models that this score's signatures speak of."""
    scores = [row.scores.get(name) for row in rows if isinstance(row, ScoredRow)]
    found = (_MODEL.search(score.signature) for score in scores if isinstance(score, Score))
    return sorted({match[1] for match in found if match})


def _named(heading: str, models: Sequence[str]) -> str:
    """`CLIP Score (embedded-clip), 0 to 100`."""
    name, comma, scale = heading.partition(",")
    return f"{name} ({', '.join(models)}){comma}{scale}" if models else heading


def cells(row: ScoredRow | UnavailableRow) -> list[str]:
    """Captioner, samples scored, empty candidates, then one cell for each of `HEADINGS`."""
    if isinstance(row, UnavailableRow):
        return [row.captioner, *("-" for _ in ("scored", "empty", *HEADINGS))]
    marks = ["circular"] * row.circular + ["partial"] * (row.partial is not None)
    name = f"{row.captioner} ({', '.join(marks)})" if marks else row.captioner
    return [name, f"{row.scored}/{row.samples}", str(row.empty), *score_cells(row.scores, HEADINGS)]


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
        f"{row.captioner} is partial: it got to {row.partial} of {row.samples} samples before the time was "
        "up, and its scores are of those alone. The same command goes on with the rest."
        for row in scored
        if row.partial is not None
    ]
    lines += [
        f"{row.captioner} has no candidate for {len(failed)} of {row.samples} samples, which are in "
        f"none of its scores: compare it with care. {_most_common(failed)}"
        for row in scored
        if (failed := _failures(row))
    ]
    lines += [
        f"{row.captioner}: references were written by a captioner of the same kind, which favours it."
        for row in scored
        if row.circular
    ]
    lines += [
        f"{row.captioner} was revised by what Faithfulness, Precision and Recall measure: they favour it."
        for row in scored
        if row.settings.get("revise")
    ]
    return lines


def _failures(row: ScoredRow) -> list[str]:
    """Why samples that the captioner got to have no candidate."""
    reasons = row.unscored.values()
    return [reason for reason in reasons if row.partial is None or reason != NO_CANDIDATE]


def _notes(report: Report) -> list[tuple[str, list[str]]]:
    return [
        ("Notes", [escape(note) for note in notes(report.rows)]),
        ("Signatures", [f"`{signature}`" for signature in signatures(report.rows)]),
    ]


def signatures(rows: Sequence[ScoredRow | UnavailableRow]) -> list[str]:
    return list(
        {
            score.signature: None
            for row in rows
            if isinstance(row, ScoredRow)
            for score in row.scores.values()
            if isinstance(score, Score)
        }
    )


def _example(example: Example) -> Iterator[list[str]]:
    captions = [("reference", text) for text in example.references]
    captions += [(name, _shown(caption)) for name, caption in example.candidates.items()]
    for index, (name, caption) in enumerate(captions):
        yield ["" if index else escape(example.id), escape(name), escape(caption)]


def _shown(caption: str | None) -> str:
    return "(none)" if caption is None else caption.strip() or "(empty)"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _most_common(reasons: Iterable[str]) -> str:
    reason, count = Counter(reasons).most_common(1)[0]
    return f"Most often ({count}): {reason}"

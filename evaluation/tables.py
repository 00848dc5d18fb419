"""Tables of a report in Markdown: what captions say, scores by source, differences from the baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from evaluation.captions import CaptionStatistics
from evaluation.comparison import LEVEL, Comparison, claim, n_tests
from evaluation.metrics.statistics import SHUFFLES, Difference
from evaluation.scoring import NoScore, Score

REFERENCE_HEADINGS = {
    "concept_match": "Concept",
    "colour_accuracy": "Colours",
    "shape_accuracy": "Shapes",
    "count_accuracy": "Counts",
}
"""Shares of captions that name the concept, or say the same as a reference."""

CLAIM_HEADINGS = {
    "faithfulness": "Faithfulness",
    "claim_precision": "Precision",
    "claim_recall": "Recall",
    **REFERENCE_HEADINGS,
}
"""Columns of the second table: what is true of the drawing, and what the references say as well."""

Scores = Mapping[str, Score | NoScore]


def claims_table(scores: Mapping[str, Scores]) -> str:
    """What each captioner's captions say of the drawings, and beside the references."""
    lines = [[captioner, *score_cells(found, CLAIM_HEADINGS)] for captioner, found in scores.items()]
    return table(["Captioner", *CLAIM_HEADINGS.values()], lines)


def source_section(scores: Mapping[str, Mapping[str, Scores]], headings: Mapping[str, str]) -> Iterator[str]:
    """The scores, by captioner and source, on the samples of each source; nothing where there is only one."""
    sources = dict.fromkeys(source for found in scores.values() for source in found)
    if not sources:
        return
    yield "## By source"
    for columns in (headings, CLAIM_HEADINGS):
        yield table(
            ["Source", "Captioner", *columns.values()],
            [
                [escape(source), captioner, *score_cells(found[source], columns)]
                for source in sources
                for captioner, found in scores.items()
            ],
        )


STRATUM_HEADINGS = {
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "clip_score": "CLIP Score",
    "faithfulness": "Faithfulness",
    "concept_match": "Concept",
}


def strata_section(
    scores: Mapping[str, Mapping[str, Mapping[str, Scores]]], circular: Callable[[str, str], bool]
) -> Iterator[str]:
    """Scores by stratum and group; `circular` says whether a captioner's kind wrote a group's references."""
    strata = dict.fromkeys(stratum for found in scores.values() for stratum in found)
    if not strata:
        return
    yield "## By kind of drawing\n\nNothing is tested here: the intervals explore."
    yield table(
        ["", "Group", "Captioner", "Samples", *STRATUM_HEADINGS.values()],
        [
            [
                stratum,
                escape(group),
                f"{captioner} (circular)" if circular(captioner, group) else captioner,
                str(max((one.n for one in cells.values() if isinstance(one, Score)), default=0)),
                *score_cells(cells, STRATUM_HEADINGS),
            ]
            for stratum in strata
            for captioner, found in scores.items()
            for group, cells in found.get(stratum, {}).items()
        ],
    )


def captions_table(captions: Mapping[str, CaptionStatistics | None]) -> str:
    """Length, variety, repetition, language."""
    head = ["Captioner", "Words", "Length ratio", "Distinct", "Repetitive", "Not English", "Said most often"]
    return table(head, [[captioner, *_caption_cells(found)] for captioner, found in captions.items()])


def _caption_cells(found: CaptionStatistics | None) -> list[str]:
    if found is None:
        return ["-"] * 6
    shares = [f"{share:.1%}" for share in (found.distinct, found.repetitive, found.not_english)]
    most = f"{escape(found.most_common[0])} ({found.most_common[1]})" if found.most_common else "-"
    return [f"{found.words:.1f}", f"{found.length_ratio:.2f}", *shares, most]


def comparison_section(comparisons: Sequence[Comparison], headings: Mapping[str, str]) -> Iterator[str]:
    """What may be claimed, the tests of every pair, and differences from the first captioner by source."""
    if not comparisons:
        return
    names = {**headings, **CLAIM_HEADINGS}
    yield "\n".join(
        [
            "## What may be claimed\n",
            f"At the level {LEVEL:g} over all {n_tests(comparisons)} tests of this report (approximate "
            f"randomization, {SHUFFLES:,} shuffles, Holm's correction):\n",
            *(f"- {escape(claim(one, names))}" for one in comparisons),
        ]
    )
    yield (
        "## Differences\n\nOn the samples that both captioners were scored on, with paired 95 % intervals: "
        "above 0 the first is better. p is corrected; within a source nothing was tested."
    )
    for columns in (headings, CLAIM_HEADINGS):
        yield table(
            ["Captioner", "Against", "Source", *columns.values()],
            [
                [one.captioner, one.baseline, escape(source), *(signed(found.get(name)) for name in columns)]
                for one in comparisons
                for source, found in _groups(one, comparisons[0].baseline)
            ],
        )


def _groups(comparison: Comparison, first: str) -> Iterator[tuple[str, Mapping[str, Difference]]]:
    yield "all", comparison.differences
    if comparison.baseline == first:
        yield from comparison.by_source.items()


def latex_table(scores: Mapping[str, Scores], columns: Mapping[str, str]) -> Iterator[str]:
    """Lines of a tabular; the best of each column is bold, which says nothing of what may be claimed."""
    best = {name: _best(scores, name) for name in columns}
    yield f"\\begin{{tabular}}{{l{'r' * len(columns)}}}"
    yield "\\toprule"
    yield " & ".join(["Captioner", *map(escape_latex, columns.values())]) + r" \\"
    yield "\\midrule"
    for captioner, found in scores.items():
        cells = [_latex_cell(found.get(name), is_best=captioner in best[name]) for name in columns]
        yield " & ".join([escape_latex(captioner), *cells]) + r" \\"
    yield "\\bottomrule"
    yield "\\end{tabular}"


def _best(scores: Mapping[str, Scores], name: str) -> set[str]:
    values = {
        captioner: one.score
        for captioner, found in scores.items()
        if isinstance(one := found.get(name), Score)
    }
    return {captioner for captioner, value in values.items() if value == max(values.values())}


def _latex_cell(score: Score | NoScore | None, *, is_best: bool) -> str:
    value, _, interval = _cell(score).partition(" ")
    if value == "-":
        return "--"
    return (rf"\textbf{{{value}}}" if is_best else value) + (
        rf" {{\scriptsize {interval}}}" if interval else ""
    )


def escape_latex(text: str) -> str:
    """Text of unknown origin for LaTeX."""
    special = {
        **{char: f"\\{char}" for char in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
    return "".join(special.get(char, char) for char in text)


def score_cells(scores: Scores, headings: Mapping[str, str]) -> list[str]:
    """One cell for each heading: `0.412 [0.390, 0.433]`, or a dash."""
    return [_cell(scores.get(name)) for name in headings]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape(text: str) -> str:
    """Text of unknown origin as plain Markdown text, on one line."""
    escaped = "".join(f"\\{char}" if char in r"\`*_{}[]<>()#|!&~$" else char for char in text)
    return " ".join(escaped.split())


def _cell(score: Score | NoScore | None) -> str:
    if not isinstance(score, Score):
        return "-"
    digits = 1 if score.score >= 10 else 3
    if score.low is None or score.high is None:
        return f"{score.score:.{digits}f}"
    return f"{score.score:.{digits}f} [{score.low:.{digits}f}, {score.high:.{digits}f}]"


def signed(found: Difference | None) -> str:
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.difference:+.3f}"
    p = "" if found.p_holm is None else f", p {_p_value(found.p_holm)}"
    return f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]{p}"


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"

"""BLEU, ROUGE-L, METEOR and CIDEr against pycocoevalcap called directly, on captions with odd characters."""

from __future__ import annotations

import random
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from evaluation.errors import Unavailable
from evaluation.metrics import meteor as meteor_module
from evaluation.metrics.meteor import meteor
from evaluation.metrics.statistics import Measured
from evaluation.metrics.text import bleu, cider, rouge_l
from evaluation.metrics.tokens import Tokenized, tokenize, tokenize_all

_PARAPHRASES = slice(16, 20)  # words that METEOR matched as paraphrases, of its 23 counts
LINE_BREAKS = ["\n", "\r", "\r\n", "\v", "\f", "\u2028", "\u2029"]
_WORDS = (
    "a red circle on the blue square icon of house cat cats running runs large big small arrow up".split()
)
_ODD = [
    *(chr(code) for code in range(1, 0x100)),
    *"\u200b\u00ad\u2011\u2013\u2019\u201c\ufeff\U0001f600中文ß€",
    *(
        "#FF0000",
        "(round)",
        "-lrb-",
        "|||",
        "``",
        "...",
        "$5.00",
        "1/2",
        "cannot",
        "it's",
        "U.S.",
        "<b",
        "&lt;",
    ),
]

# Candidate and reference, with phrases that METEOR's table pairs, some with odd characters beside.
_PARAPHRASED = [
    ("he is in favour of the plan, in the u.s.", "he supports the plan in the US"),
    ("a number of shapes, as well as a line", "several shapes and also a line"),
    ("the arrow is able to turn \u2013 for instance left", "the arrow can turn, for example left"),
    ("with regard to the square caf\u00e9 ...", "concerning the square caf\u00e9"),
]


def _caption(rng: random.Random) -> str:
    words = (rng.choice(_WORDS if rng.random() < 0.85 else _ODD) for _ in range(rng.randint(0, 12)))
    return " ".join(words)


def _corpus(n_samples: int) -> tuple[list[str], list[list[str]]]:
    rng = random.Random(7)
    references = [[_caption(rng) for _ in range(rng.randint(1, 3))] for _ in range(n_samples)]
    candidates = [rng.choice(texts) if rng.random() < 0.3 else _caption(rng) for texts in references]
    candidates[:3] = ["", "   ", "..."]
    paraphrased, originals = zip(*_PARAPHRASED, strict=True)
    return [*candidates, *paraphrased], [*references, *([original] for original in originals)]


class _Reference:
    """pycocoevalcap as its own `eval.py` calls it; it cannot bear line breaks, so they are spaces for it."""

    def __init__(self, candidates: list[str], references: list[list[str]]) -> None:
        self._references = self._tokenize(references)
        self._candidates = self._tokenize([[candidate] for candidate in candidates])

    def score(self, metric: Any) -> tuple[Any, Any]:
        score: tuple[Any, Any] = metric.compute_score(self._references, self._candidates)
        return score

    def meteor(self) -> tuple[Any, Any]:
        theirs = Meteor()
        found = self.score(theirs)
        theirs.meteor_p.stdout.close()  # which it forgets
        theirs.meteor_p.stderr.close()
        return found

    @staticmethod
    def _tokenize(captions: list[list[str]]) -> dict[int, list[str]]:
        clean = "|".join(LINE_BREAKS)
        tokens: dict[int, list[str]] = PTBTokenizer().tokenize(
            {i: [{"caption": re.sub(clean, " ", text)} for text in texts] for i, texts in enumerate(captions)}
        )
        return tokens


@pytest.fixture(scope="module")
def corpus() -> tuple[list[str], list[list[str]]]:
    return _corpus(200)


@pytest.fixture(scope="module")
def reference(corpus: tuple[list[str], list[list[str]]]) -> _Reference:
    return _Reference(*corpus)


@pytest.fixture(scope="module")
def tokens(corpus: tuple[list[str], list[list[str]]]) -> Tokenized:
    candidates, references = corpus
    [tokens] = tokenize_all([candidates], references)
    return tokens


def _assert_equal(ours: Measured, corpus_score: float, sample_scores: Any, but: tuple[int, ...] = ()) -> None:
    kept = [index for index in range(len(sample_scores)) if index not in but]
    np.testing.assert_allclose(ours.sample_scores()[kept], np.array(sample_scores)[kept], atol=1e-9, rtol=0)
    if not but:
        assert ours.corpus_score() == pytest.approx(corpus_score, abs=1e-9)


def test_bleu_is_pycocoevalcaps(tokens: Tokenized, reference: _Reference) -> None:
    corpus_scores, sample_scores = reference.score(_QuietBleu())
    for ours, corpus_score, by_sample in zip(bleu(tokens), corpus_scores, sample_scores, strict=True):
        _assert_equal(ours, corpus_score, by_sample)


class _QuietBleu(Bleu):  # type: ignore[misc]
    def compute_score(self, gts: Any, res: Any) -> Any:
        return super().compute_score(gts, res, verbose=0)


def test_rouge_l_is_pycocoevalcaps(tokens: Tokenized, reference: _Reference) -> None:
    _assert_equal(rouge_l(tokens), *reference.score(Rouge()), but=_empty_against_empty(tokens))


def _empty_against_empty(tokens: Tokenized) -> tuple[int, ...]:
    """Where pycocoevalcap gives a candidate without words the score 1."""
    return tuple(
        index for index, texts in enumerate(tokens.references) if not tokens.candidates[index] and "" in texts
    )


def test_cider_is_pycocoevalcaps(tokens: Tokenized, reference: _Reference) -> None:
    _assert_equal(cider(tokens), *reference.score(Cider()))


def test_meteor_is_pycocoevalcaps_even_where_java_writes_commas(
    tokens: Tokenized, reference: _Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reference.meteor()
    monkeypatch.setattr(meteor_module, "_LINES_A_PROCESS", 100)  # several processes share the lines
    monkeypatch.setenv("LC_ALL", "it_IT.UTF-8")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=it -Duser.country=IT")
    monkeypatch.setenv("_JAVA_OPTIONS", "-Duser.language=it -Duser.country=IT -Dfile.encoding=US-ASCII")
    [ours] = meteor([tokens])
    _assert_equal(ours, *expected)
    assert ours.corpus_score() != pytest.approx(np.mean(expected[1]))
    assert (ours.statistics[-len(_PARAPHRASED) :, _PARAPHRASES].sum(axis=1) > 0).all()


def test_meteor_takes_a_temporary_folder_with_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "Größe 図"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    [tokens] = tokenize_all([["a red circle"]], [["a red circle"]])
    assert meteor([tokens])[0].corpus_score() == 1.0


@pytest.mark.slow
def test_five_thousand_candidates_have_pycocoevalcaps_values_to_1e_9() -> None:
    candidates, references = _corpus(5_000)
    [tokens] = tokenize_all([candidates], references)
    reference = _Reference(candidates, references)
    for ours, expected in zip(bleu(tokens), zip(*reference.score(_QuietBleu()), strict=True), strict=True):
        _assert_equal(ours, *expected)
    _assert_equal(cider(tokens), *reference.score(Cider()))
    [ours] = meteor([tokens])
    _assert_equal(ours, *reference.meteor())
    _assert_equal(rouge_l(tokens), *reference.score(Rouge()), but=_empty_against_empty(tokens))


def test_bleu_has_the_precisions_of_its_papers_first_example() -> None:
    """Papineni et al. 2002, section 2.1: 17/18 and 10/17 against 8/14 and 1/13."""
    guide = "It is a guide to action which ensures that the military always obeys the commands of the party."
    forever = "It is to insure the troops forever hearing the activity guidebook that party direct."
    references = [
        "It is a guide to action that ensures that the military will forever heed Party commands.",
        "It is the guiding principle which guarantees the military forces always being under the command of "
        "the Party.",
        "It is the practical guide for the army always to heed the directions of the party.",
    ]
    [tokens] = tokenize_all([[guide, forever]], [references] * 2)
    bleu_1, bleu_2, *_ = bleu(tokens)
    brief = np.exp(1 - 16 / 14)  # the second is shorter than any reference
    assert bleu_1.sample_scores() == pytest.approx([17 / 18, brief * 8 / 14])
    assert bleu_2.sample_scores() == pytest.approx([(10 / 18) ** 0.5, brief * (8 / 14 / 13) ** 0.5])


def test_rouge_l_has_the_values_of_its_papers_example() -> None:
    """Lin 2004, section 3.1; precision is recall there, so that the weight of recall plays no part."""
    [tokens] = tokenize_all(
        [["police kill the gunman", "the gunman kill police"]], [["police killed the gunman"]] * 2
    )
    assert rouge_l(tokens).sample_scores() == pytest.approx([3 / 4, 2 / 4])


@pytest.mark.parametrize("line_break", LINE_BREAKS, ids=ascii)
def test_a_line_break_within_a_caption_does_not_shift_the_next(line_break: str) -> None:
    captions = [f"a red{line_break}circle", "a blue square", f"{line_break}", "the end"]
    assert tokenize(captions) == ["a red circle", "a blue square", "", "the end"]


def test_captions_of_several_captioners_stay_apart() -> None:
    first, second = tokenize_all([["One.", "two"], ["", "four"]], [["A"], ["b", "c\nd"]])
    assert (first.candidates, second.candidates) == (["one", "two"], ["", "four"])
    assert first.references == second.references == [["a"], ["b", "c d"]]


@pytest.mark.parametrize("candidate", ["", "...", "\u2028"])
def test_an_empty_candidate_scores_zero_and_counts(candidate: str) -> None:
    [tokens] = tokenize_all(
        [["a red circle", candidate, "a square"]], [["a red circle"], ["?"], ["a square"]]
    )
    for measured in (*bleu(tokens), rouge_l(tokens), cider(tokens)):
        assert measured.sample_scores()[1] == pytest.approx(0.0, abs=1e-6)
        assert measured.n_scored == 3
    assert rouge_l(tokens).corpus_score() == pytest.approx(2 / 3)


def test_cider_needs_two_samples() -> None:
    with pytest.raises(Unavailable, match="two samples"):
        cider(Tokenized(["a circle"], [["a circle"]]))


def test_a_constant_caption_scores_high_on_templated_references() -> None:
    """Why every table has floors."""
    references = [[f"a {colour} circle on a white ground"] for colour in ("red", "blue", "green", "pink")]
    [tokens] = tokenize_all([["a red circle on a white ground"] * 4], references)
    assert bleu(tokens)[3].corpus_score() > 0.6
    assert rouge_l(tokens).corpus_score() > 0.8


def test_signatures_say_how() -> None:
    tokens = Tokenized(["a", "b"], [["a"], ["b"]])
    assert bleu(tokens)[3].signature == "bleu_4|ref:closest|tok:ptb-3.4.1|pycocoevalcap:1.2"
    assert "df:2_samples" in cider(tokens).signature

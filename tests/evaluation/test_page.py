"""The report's page, its LaTeX, and the comparison of two runs."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from pathlib import Path

import pytest

from captioning.corpus import Sample, write_corpus
from captioning.errors import ConfigError
from evaluation.compare import compare_runs
from evaluation.page import telling_samples
from evaluation.run import RunOptions, run_suite
from evaluation.samples import Written
from evaluation.suite import load_suite
from evaluation.tables import escape_latex


def _run(folder: Path, name: str, captioners: str) -> Path:
    suite = folder / f"{name}.yaml"
    suite.write_text(
        f"corpus: corpus.jsonl\nmetrics: [colour_accuracy, shape_accuracy, faithfulness]\n"
        f"captioners: {{{captioners}}}\n",
        encoding="utf-8",
    )
    options = RunOptions(runs_dir=folder / "runs", run=name)
    return run_suite(*load_suite(str(suite)), options, lambda *_: None)[1]


@pytest.fixture
def run(corpus: Path, tmp_path: Path) -> Path:
    return _run(
        tmp_path,
        "first",
        "said: {kind: constant, caption: <b>a red circle</b>}, shuffled: {kind: shuffled}, "
        "later: {kind: unavailable, reason: not <i>yet</i>}",
    )


def test_the_page_is_self_contained_and_nothing_on_it_is_taken_for_markup(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "&lt;b&gt;a red circle&lt;/b&gt;" in page
    assert "later is unavailable: not &lt;i&gt;yet" in page
    assert all(link.startswith("data:") for link in re.findall(r"""(?:src|href)=["']([^"']*)""", page))
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert f"script-src 'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in page
    kinds = re.findall(r'<article data-kind="(\w+)"', page)
    assert set(kinds) == {"best", "worst", "disputed"}
    assert page.count("data:image/png;base64,") == len(kinds)
    assert "<figcaption>Faithfulness</figcaption>" in page
    assert "faithfulness|f1|own" in page
    assert "&quot;fingerprint&quot;" in page, "the manifest"
    assert "shuffled against said" in page


def test_best_worst_and_disputed_samples_are_found() -> None:
    scores = {"a": (0.9, 0.8), "b": (0.1, 0.15), "c": (0.0, 1.0), "d": (None, None)}
    captioners = [
        Written(f"captioner {index}", {}, {name: {"rouge_l": pair[index]} for name, pair in scores.items()})
        for index in range(2)
    ]
    ranked_by, found = telling_samples(list(scores), captioners)
    assert ranked_by == "rouge_l"
    assert found == {"best": ["a", "c", "b"], "worst": ["b", "c", "a"], "disputed": ["c", "a", "b"]}
    assert telling_samples(["a"], []) == (None, {"best": [], "worst": [], "disputed": []})


def test_the_latex_has_both_tables_and_no_live_text(run: Path) -> None:
    latex = (run / "report.tex").read_text(encoding="utf-8")
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    assert r"said & \textbf{" in latex or r"\textbf{" in latex
    assert escape_latex(r"50% of $x_1 \input{y}") == r"50\% of \$x\_1 \textbackslash{}input\{y\}"


def test_two_runs_are_compared_by_captioners_that_both_have(run: Path, corpus: Path, tmp_path: Path) -> None:
    second = _run(tmp_path, "second", "said: {kind: constant, caption: a square}, other: {kind: shuffled}")
    found = compare_runs(run, second, corpus=corpus, metrics=("shape_accuracy", "colour_accuracy"))
    [said] = found.comparisons
    assert (said.captioner, said.baseline) == ("second/said", "first/said")
    assert said.differences["shape_accuracy"].difference == -1.0
    assert said.differences["shape_accuracy"].p_holm is not None
    assert found.only_in_one == ("other", "shuffled")
    named = compare_runs(
        run, second, captioners=("shuffled", "other"), corpus=corpus, metrics=("shape_accuracy",)
    )
    assert named.comparisons[0].differences["shape_accuracy"].difference == 0.0
    json.loads(found.model_dump_json())


def test_runs_that_cannot_be_paired_are_refused(
    run: Path, corpus: Path, samples: list[Sample], tmp_path: Path
) -> None:
    other = _run(tmp_path, "second", "other: {kind: shuffled}")
    with pytest.raises(ConfigError, match="no captioner was scored in the run"):
        compare_runs(run, other, corpus=corpus)
    write_corpus(tmp_path / "corpus.jsonl", samples[:5])
    with pytest.raises(ConfigError, match="are about different samples"):
        compare_runs(run, _run(tmp_path, "third", "said: {kind: shuffled}"), corpus=corpus)

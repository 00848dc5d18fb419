"""The page of samples: which ones, and that nothing on it is taken for markup."""

from __future__ import annotations

from pathlib import Path

import pytest

from captioning.corpus import Sample, write_corpus
from captioning.errors import ConfigError
from evaluation.errors import EvaluationError
from evaluation.run import RunOptions, run_suite
from evaluation.samples import drawn_ids, write_samples
from evaluation.suite import load_suite


@pytest.fixture
def run(corpus: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "corpus: corpus.jsonl\nmetrics: [colour_accuracy, shape_accuracy]\ncaptioners:\n"
        "  constant: {kind: constant, caption: <b>a red circle</b>}\n"
        "  later: {kind: unavailable, reason: not <i>yet</i>}\n",
        encoding="utf-8",
    )
    options = RunOptions(runs_dir=tmp_path / "runs")
    return run_suite(*load_suite(str(path)), options, lambda *_: None)[1]


def test_the_page_shows_drawn_samples_with_all_that_was_said(
    run: Path, corpus: Path, samples: list[Sample], tmp_path: Path
) -> None:
    out = tmp_path / "pages" / "page.html"
    assert write_samples(run, out, n=5, seed=3, corpus=corpus) == 5
    page = out.read_text(encoding="utf-8")
    shown = [sample for sample in samples if f"<h2>{sample.id}</h2>" in page]
    assert {sample.id for sample in shown} == set(drawn_ids([sample.id for sample in samples], 5, 3))
    assert page.count("<article>") == page.count('src="data:image/png;base64,') == 5
    assert all(reference in page for sample in shown for reference in sample.references)
    assert page.count("&lt;b&gt;a red circle&lt;/b&gt;") == 5
    assert "<b>" not in page
    assert "later is unavailable: not &lt;i&gt;yet" in page
    red = sum("red" in sample.references[0] for sample in shown)
    assert page.count('<span class="right">Colours') == red
    assert page.count('<span class="wrong">Colours') == 5 - red
    assert page.count('<span class="right">Shapes') == 5
    assert "http" not in page.replace("http-equiv", "")


def test_the_seed_alone_decides_which_samples_are_shown() -> None:
    ids = [f"s{index}" for index in range(100)]
    assert drawn_ids(ids, 40, 0) == drawn_ids(ids[::-1], 40, 0)
    assert drawn_ids(ids, 40, 0) != drawn_ids(ids, 40, 1)
    assert sorted(drawn_ids(ids, 400, 0)) == sorted(ids)


def test_a_refused_drawing_and_a_missing_caption_are_shown_as_such(
    samples: list[Sample], tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    write_corpus(corpus, [samples[0].model_copy(update={"svg": "no drawing"}), samples[1]])
    suite = tmp_path / "tiny.yaml"
    suite.write_text(
        "corpus: corpus.jsonl\nmetrics: [shape_accuracy]\n"
        "captioners: {nearest: {kind: nearest, corpus: train.jsonl}}\n",
        encoding="utf-8",
    )
    write_corpus(tmp_path / "train.jsonl", samples[5:])
    _, folder = run_suite(*load_suite(str(suite)), RunOptions(runs_dir=tmp_path / "runs"), lambda *_: None)
    write_samples(folder, tmp_path / "page.html", n=2, seed=0, corpus=corpus)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<em>none: not_svg:" in page
    assert '<p class="picture">' in page


def test_a_page_needs_a_run_and_its_split(run: Path, samples: list[Sample], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    with pytest.raises(EvaluationError, match=r"there is no report\.json"):
        write_samples(tmp_path, out, n=5, seed=0)
    with pytest.raises(ConfigError, match="'tiny' is no shipped suite: name the run's split with --corpus"):
        write_samples(run, out, n=5, seed=0)
    write_corpus(tmp_path / "other.jsonl", samples[:3])
    with pytest.raises(ConfigError, match="is not the split that the run was about"):
        write_samples(run, out, n=5, seed=0, corpus=tmp_path / "other.jsonl")
    assert not out.exists()

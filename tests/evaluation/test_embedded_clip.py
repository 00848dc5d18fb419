"""The CLIP that ships with the repository, on the shipped split, without a network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest

import evaluation
from captioning.corpus import Sample, read_corpus, write_corpus
from evaluation.metrics.clip import ClipModel, ClipScorer
from evaluation.report import UnavailableRow, headings, markdown
from evaluation.run import RunOptions, run_suite
from evaluation.suite import load_suite
from rendering import Rasterizer

FOLDER = Path(evaluation.__file__).parent / "embedded_clip"
SPLIT = Path(evaluation.__file__).parent / "suites" / "embedded" / "test.jsonl"
MOST_BYTES = 10_000_000


@pytest.fixture(scope="module")
def rasterizer() -> Iterator[Rasterizer]:
    with Rasterizer() as rasterizer:
        yield rasterizer


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(read_corpus(SPLIT))[::23]


def test_open_clips_own_loader_reads_the_folder() -> None:
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{FOLDER}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{FOLDER}")
    [start, *_, last] = tokenizer(["a red circle " * 60])[0].tolist()
    assert (start, last) == (tokenizer.tokenizer.bos_token_id, tokenizer.tokenizer.eos_token_id)
    assert len(tokenizer.tokenizer) == model.vocab_size
    assert transform is not None
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < MOST_BYTES


def test_true_captions_beat_false_ones(samples: list[Sample], rasterizer: Rasterizer) -> None:
    scorer = ClipScorer(ClipModel.load("embedded"), samples, rasterizer)
    captions = [sample.references[0] for sample in samples]
    false = captions[1:] + captions[:1]
    for true_scores, false_scores in zip(scorer.measure(captions), scorer.measure(false), strict=True):
        won = true_scores.sample_scores() > false_scores.sample_scores()
        assert len(won) == 20
        assert won.mean() >= 0.9
        assert true_scores.corpus_score() > 2 * false_scores.corpus_score()


def test_its_signature_tells_whose_scores_these_are(samples: list[Sample], rasterizer: Rasterizer) -> None:
    for measured in ClipScorer(ClipModel.load("embedded"), samples[:2], rasterizer).measure(["a", "b"]):
        assert "|model:embedded-clip,weights:" in measured.signature
        assert not np.isnan(measured.corpus_score())


def test_the_embedded_suite_uses_it_and_others_do_not() -> None:
    assert load_suite("embedded")[1].clip == "embedded"
    assert load_suite("ext_capt")[1].clip not in (None, "embedded")


def test_a_report_names_the_model_in_the_heading(samples: list[Sample], tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl", samples[:4])
    (tmp_path / "tiny.yaml").write_text(
        "corpus: corpus.jsonl\nmetrics: [clip_score]\nclip: embedded\n"
        "captioners: {constant: {kind: constant, caption: a red circle}, "
        "later: {kind: unavailable, reason: not yet}}\n"
    )
    suite = load_suite(str(tmp_path / "tiny.yaml"))
    report, _ = run_suite(*suite, RunOptions(runs_dir=tmp_path / "runs"), lambda *_: None)
    table = markdown(report)
    assert "CLIP Score (embedded-clip), 0 to 2.5 | CLIP Score (embedded-clip), 0 to 100" in table
    assert "|model:embedded-clip,weights:" in table
    without = [row for row in report.rows if isinstance(row, UnavailableRow)]
    assert "CLIP Score, 0 to 2.5" in headings(without)


def test_score_works_offline(samples: list[Sample], tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl", samples[:4])
    lines = [json.dumps({"id": sample.id, "caption": sample.references[0]}) for sample in samples[:4]]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "evaluation", "score", "mine.jsonl", "corpus.jsonl", "--json"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(FOLDER.parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)["scores"]
    for name in ("clip_score", "clip_score_100"):
        assert scores[name]["score"] > 0
        assert "|model:embedded-clip,weights:" in scores[name]["signature"]

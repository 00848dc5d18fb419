"""`python -m evaluation` as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from captioning.corpus import Sample, write_corpus

ROOT = Path(__file__).parents[2]


def _run(
    *arguments: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "evaluation", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    path = tmp_path / "candidates.jsonl"
    lines = [{"id": f"s{index}", "caption": "a red circle"} for index in range(11)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_score_prints_one_object_with_every_metric(candidates: Path, corpus: Path, tiny_clip: Path) -> None:
    done = _run("score", candidates, corpus, "--json", "--clip", tiny_clip)
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    card = json.loads(line)
    assert (card["samples"], card["scored"], card["unscored"]) == (
        12,
        11,
        {"s11": "there is no candidate for it"},
    )
    assert list(card["scores"]) == [
        *(
            "bleu_1",
            "bleu_2",
            "bleu_3",
            "bleu_4",
            "rouge_l",
            "meteor",
            "cider",
        ),
        *("clip_score", "clip_score_100", "clip_score_sentences"),
        *("ref_clip_score", "clip_margin", "clip_retrieval"),
        *("faithfulness", "claim_precision", "claim_recall"),
        *("concept_match", "colour_accuracy", "shape_accuracy", "count_accuracy"),
    ]
    assert "first tag" in card["scores"].pop("concept_match")["unavailable"]
    assert "more than one thing" in card["scores"].pop("count_accuracy")["unavailable"]
    for score in card["scores"].values():
        assert score["low"] <= score["score"] <= score["high"]
        assert score["signature"]


def test_score_without_java_and_weights_prints_reasons_and_no_number(candidates: Path, corpus: Path) -> None:
    environment = {"PATH": "", "HF_HUB_OFFLINE": "1"}
    done = _run("score", candidates, corpus, "--clip", "nobody/nothing", environment=environment)
    assert done.returncode == 0, done.stderr
    assert "│ candidates │ 11/12  │ 0     │ -      │" in done.stdout
    assert "meteor is unavailable: The PTB tokenizer needs Java" in done.stdout
    assert "clip_score is unavailable: 'nobody/nothing' is neither a folder nor in the hub" in done.stdout
    assert "candidates has no candidate for 1 of 12 samples" in done.stdout


def test_a_suite_in_a_log_has_progress_table_and_the_place_of_its_report(
    corpus: Path, tmp_path: Path
) -> None:
    suite = tmp_path / "floors.yaml"
    suite.write_text(
        "corpus: corpus.jsonl\nmetrics: [bleu, rouge_l]\n"
        "captioners: {constant: {kind: constant, caption: a circle}}\n",
        encoding="utf-8",
    )
    done = _run(suite, "--limit", "5", "--runs-dir", tmp_path / "runs", "--run", "first")
    assert done.returncode == 0, done.stderr
    assert "constant: 5 of 5 candidates" in done.stderr
    assert "│ constant  │ 5/5" in done.stdout
    assert done.stdout.endswith(f"Report: {tmp_path}/runs/first/report.md\n")

    done = _run(suite, "--limit", "5", "--runs-dir", tmp_path / "runs", "--run", "first", "--json")
    assert json.loads(done.stdout)["folder"] == f"{tmp_path}/runs/first"
    assert "candidates" not in done.stderr, "nothing was made again"


def test_a_floor_learns_from_the_corpus_that_is_named_and_samples_are_shown(
    corpus: Path, samples: list[Sample], tmp_path: Path
) -> None:
    suite, runs, page = tmp_path / "floors.yaml", tmp_path / "runs", tmp_path / "page.html"
    suite.write_text(
        "corpus: corpus.jsonl\nmetrics: [shape_accuracy]\n"
        "captioners:\n  constant: {kind: constant, caption: x}\n"
        "  nearest: {kind: nearest, corpus: none.jsonl}\n",
        encoding="utf-8",
    )
    write_corpus(tmp_path / "train.jsonl", samples[6:])
    done = _run(suite, "--limit", "6", "--runs-dir", runs, "--json")
    assert "--training-corpus" in json.loads(done.stdout)["rows"][1]["unavailable"]
    done = _run(
        *(suite, "--limit", "6", "--runs-dir", runs, "--run", "first", "--json"),
        *("--training-corpus", tmp_path / "train.jsonl"),
    )
    report = json.loads(done.stdout)
    assert report["rows"][1]["scores"]["shape_accuracy"]["score"] == 1
    [comparison] = report["comparisons"]
    assert (comparison["captioner"], comparison["baseline"]) == ("nearest", "constant")
    assert comparison["differences"]["shape_accuracy"]["difference"] == 1
    assert (
        "nearest against constant: nearest is better in Shapes" in (runs / "first" / "report.md").read_text()
    )

    done = _run("samples", runs / "first", "--n", "4", "--out", page, "--corpus", corpus)
    assert done.stdout == f"4 samples in {page}\n"
    assert page.read_text().count("<article>") == 4


def test_a_run_in_which_nobody_could_write_fails(corpus: Path, tmp_path: Path) -> None:
    suite = tmp_path / "nobody.yaml"
    suite.write_text(
        "corpus: corpus.jsonl\nmetrics: [bleu]\ncaptioners: {later: {kind: unavailable, reason: not yet}}\n",
        encoding="utf-8",
    )
    done = _run(suite, "--runs-dir", tmp_path / "runs")
    assert done.returncode == 1
    assert "later is unavailable: not yet" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["no-such-suite"], 2, "no suite 'no-such-suite'"),
        (["run", "embedded", "--limit", "0"], 2, "Invalid value for '--limit'"),
        (["--limt", "3"], 2, "No such option: --limt"),
        (["--adapter", "no/such/folder"], 2, "does not exist"),
        (["--corpus", "no/such.jsonl"], 2, "does not exist"),
        (["score", "{candidates}"], 2, "Missing argument 'CORPUS.jsonl'"),
        (["score", "{candidates}", "no/such.jsonl"], 2, "does not exist"),
        (["score", "{corpus}", "{corpus}"], 1, "line 1: caption: Field required"),
        (["score", "{candidates}", "{candidates}"], 1, "line 1: svg: Field required"),
    ],
)
def test_wrong_use_and_wrong_files(
    arguments: list[str], status: int, message: str, candidates: Path, corpus: Path
) -> None:
    done = _run(*(word.format(candidates=candidates, corpus=corpus) for word in arguments))
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_error_is_one_object_too() -> None:
    done = _run("no-such-suite", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["type"] == "config"


def test_help_is_quick_and_names_the_commands() -> None:
    done = _run("--help")
    assert done.returncode == 0
    assert "score" in done.stdout

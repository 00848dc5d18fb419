from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from captioning.corpus import read_corpus
from captioning.errors import ConfigError, CorpusError
from tests.training.corpora.drawings import HOUSE, HOUSE_AGAIN, corpus, different, sample
from training.corpora.cli import app


@pytest.fixture
def path(tmp_path: Path) -> Path:
    many = [sample(f"s{n}", different(n), source="here") for n in range(6)]
    return corpus(tmp_path / "all.jsonl", *many, sample("a", HOUSE), sample("b", HOUSE_AGAIN))


def run(*arguments: str | Path) -> Any:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_inspect_counts_tokens_and_writes_a_page(path: Path, tmp_path: Path) -> None:
    answer = run("inspect", path, "--html", tmp_path / "page.html", "--samples", "3")
    assert answer["files"]["all.jsonl"]["quantities"]["tokens"]["count"] == 8
    assert answer["tokenizer"] == "embedded"
    assert answer["duplicates"]["canonical"]["groups"] == 1
    assert (tmp_path / "page.html").read_text().count("<figure>") == 3 + 2


def test_inspect_prints_tables_for_people(path: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", str(path), "--tokenizer", "none"])
    assert "1 groups of equal canonical texts, 0 across files" in result.stdout
    assert "license" in result.stdout


def test_split_then_verify_then_rebuild(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = run("split", path, "--out", out, "--shares", "0.5,0.2,0.3", "--hold-out-source", "here")
    assert answer["splits"]["test"]["samples"] >= 6
    assert "dropped_ids" not in answer
    manifest = out / "test.manifest.json"
    assert run("split", path, "--manifest", manifest)["splits"][0]["is_identical"] is None
    again = run("split", out, "--manifest", manifest, "--out", tmp_path / "again")
    assert again["complete"]
    assert again["splits"][0]["is_identical"]


def test_a_manifest_that_does_not_fit_fails(path: Path, tmp_path: Path) -> None:
    run("split", path, "--out", tmp_path, "--shares", "0,0,1")
    shorter = corpus(tmp_path / "less.jsonl", *list(read_corpus(path))[1:])
    arguments = ["split", str(shorter), "--manifest", str(tmp_path / "test.manifest.json")]
    with pytest.raises(CorpusError, match="test: 1 missing: s0"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["splits"][0]["differences"]["missing"] == ["s0"]


def test_import_says_as_json_what_was_left_out(path: Path, tmp_path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("{oops\n")
    answer = run("import", path, "--out", tmp_path / "o.jsonl")
    assert answer["left_out"] == {"not JSON": 1}
    assert (answer["rows"], answer["samples"]) == (9, 8)


def test_import_by_mapping(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.parquet"
    answer = run("import", path, "--column", "svg=svg", "--column", "references=references", "--out", out,
                 "--license", "MIT", "--caption-author", "me", "--source-name", "mine",
                 "--limit", "2")  # fmt: skip
    assert answer["samples"] == 2
    assert {(each.license, each.caption_author, each.source) for each in read_corpus(out)} == {
        ("MIT", "me", "mine")
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "gone.jsonl"], "does not exist"),
        (["split", "PATH"], "say where the splits go"),
        (["split", "PATH", "--out", "x", "--shares", "0.5,0.5"], "not three numbers"),
        (["split", "PATH", "--manifest", "PATH", "--drop-duplicates"], "says itself which samples"),
        (["split", "PATH", "--manifest", "PATH", "--seed", "0"], "says itself which samples"),
        (["split", "PATH", "--manifest", "PATH", "--shares", "1,0,0"], "says itself which samples"),
        (["import", "PATH", "--out", "x.json"], "must end in .jsonl or .parquet"),
        (["import", "PATH", "--out", "x.jsonl", "--column", "svg"], "is not FIELD=COLUMN"),
        (["import", "PATH", "--out", "x.jsonl", "--layout", "omni"], "is not known"),
    ],
)
def test_wrong_use_ends_with_status_2(path: Path, arguments: list[str], message: str) -> None:
    words = [str(path) if word == "PATH" else word for word in arguments]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.output


def test_shares_that_do_not_add_up_are_wrong_use(path: Path) -> None:
    with pytest.raises(ConfigError, match="must add up to 1"):
        CliRunner().invoke(
            app, ["split", str(path), "--out", "x", "--shares", "1,1,1"], catch_exceptions=False
        )

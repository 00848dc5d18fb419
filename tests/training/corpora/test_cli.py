from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from captioning.corpus import read_corpus
from captioning.errors import ConfigError
from training.corpora.cli import app


def test_build_prints_its_report_as_json(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["build", "--out", str(tmp_path), "--scenes", "20", "--icons", "", "--style", "alt", "--json"]
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["splits"]["train"]["samples"] == len(list(read_corpus(tmp_path / "train.jsonl"))) == 20
    assert report["spec"]["style"] == "alt"


def test_build_prints_a_table_for_people(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["build", "--out", str(tmp_path), "--scenes", "20", "--icons", ""])
    assert result.exit_code == 0, result.output
    assert "validation" in result.stdout


def test_an_unknown_family_is_wrong_use(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["build", "--out", str(tmp_path), "--icons", "icns"])
    assert result.exit_code == 2
    assert "no such family" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--style", "fancy"], "no caption style 'fancy'"),
        (["--style", "literal", "--icons", "lucide, bootstrap"], "for scenes only"),
        (["--scenes", "0", "--icons", " , "], "nothing to build"),
    ],
)
def test_what_cannot_be_built_is_wrong_use(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        CliRunner().invoke(app, ["build", "--out", str(tmp_path), *arguments], catch_exceptions=False)

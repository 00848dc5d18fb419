from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from captioning.errors import ConfigError
from tests.training.run_folders import log, loss, make_run, worker
from training.compare import compare
from training.compare_report import overlay, page, text
from training.runs import Run, read_run


def run(folder: Path, **changes: Any) -> Run:
    return read_run(make_run(folder, **changes))


@pytest.fixture
def slow(tmp_path: Path) -> Run:
    return run(tmp_path / "slow", steps=40, speed=0.01)


@pytest.fixture
def fast(tmp_path: Path) -> Run:
    """Another rank, and 20 steps more."""
    return run(tmp_path / "fast", steps=60, speed=0.1, recipe={"lora": {"r": 8}}, status="stopped_early")


def test_losses_are_compared_at_equal_steps(slow: Run, fast: Run) -> None:
    compared = compare([slow, fast])
    assert compared.common_step == 40
    assert compared.runs["fast"].best_validation_loss == loss(60, 0.1)
    assert compared.runs["fast"].best_step == 60
    assert compared.runs["fast"].best_to_common_step == loss(40, 0.1)
    assert [row.step for row in compared.equal_steps] == [0, 10, 20, 30, 40]
    assert compared.equal_steps[-1].validation_loss == {"slow": loss(40, 0.01), "fast": loss(40, 0.1)}
    recent = [loss(step, 0.1) + 0.1 for step in range(21, 41)]
    assert compared.runs["fast"].training_loss_at_common_step == pytest.approx(sum(recent) / 20)


def test_figures_are_those_of_the_log(slow: Run, fast: Run) -> None:
    facts = compare([slow, fast]).runs["slow"]
    assert (facts.status, facts.steps, facts.total_steps) == ("completed", 40, 40)
    assert facts.tokens_per_s == 500
    assert facts.seconds_per_step == 2
    assert facts.padding_share == pytest.approx(0.1)
    assert facts.gpu_memory_gib == 4.4
    assert facts.mfu is None
    assert facts.hours == pytest.approx((40 * 2 + 5) / 3600)


def test_only_settings_that_differ_are_listed(slow: Run, fast: Run) -> None:
    compared = compare([slow, fast])
    assert compared.recipe == {"lora.r": {"slow": 16, "fast": 8}}
    assert compared.notes == []


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    one = run(tmp_path / "one", identity={"validation corpus": "a", "tokenizer": "a"})
    other = run(
        tmp_path / "other", identity={"validation corpus": "b", "tokenizer": "b"}, recipe={"batch_size": 8}
    )
    samples, tokens, work = compare([one, other]).notes
    assert "not of the same samples" in samples
    assert "not of the same tokens" in tokens
    assert "4 in one, 8 in other" in work


def test_runs_that_go_on_or_failed_are_shown_as_far_as_they_came(slow: Run, tmp_path: Path) -> None:
    going, failed, fresh = (
        make_run(tmp_path / name, steps=15, status=None) for name in ("going", "failed", "f")
    )
    log(going, event="start", step=15, workers=[worker()])
    log(failed, event="stopped", step=15, status="failed", diagnosis="step 16: the training loss is nan")
    (fresh / "metrics.jsonl").unlink()
    compared = compare([slow, read_run(going), read_run(failed)])
    assert [facts.status for facts in compared.runs.values()] == ["completed", "running", "failed"]
    assert compared.common_step == 15
    assert "failed was stopped: step 16: the training loss is nan" in compared.notes
    nothing_yet = compare([slow, read_run(fresh)])
    assert nothing_yet.equal_steps == []
    assert re.search(r"best validation loss +\d\.\d+ +-\n", text(nothing_yet))


def test_many_validations_make_a_short_table(tmp_path: Path) -> None:
    compared = compare([run(tmp_path / "a", steps=500), run(tmp_path / "b", steps=500)])
    steps = [row.step for row in compared.equal_steps]
    assert steps[0] == 0
    assert steps[-1] == 500
    assert len(steps) <= 12


def test_runs_of_one_name_are_told_apart_and_one_run_is_no_comparison(tmp_path: Path) -> None:
    twins = [run(tmp_path / "a" / "icons"), run(tmp_path / "b" / "icons")]
    assert list(compare(twins).runs) == [str(twin.folder) for twin in twins]
    for runs in ([], twins[:1], [twins[0], twins[0], twins[1]]):
        with pytest.raises(ConfigError, match="two or more runs"):
            compare(runs)


def test_text_has_a_column_for_each_run(slow: Run, fast: Run) -> None:
    lines = text(compare([slow, fast])).splitlines()
    (status,) = [line for line in lines if line.strip().startswith("status")]
    assert re.split(r"  +", status.strip()) == ["status", "completed", "stopped early"]
    assert "  lora.r   16    8" in lines


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_no_other_file_and_runs_nothing(slow: Run, tmp_path: Path) -> None:
    corpus = {"train": "<script>alert(1)</script>.jsonl", "validation": "other.jsonl"}
    evil = run(tmp_path / "evil", recipe={"corpus": corpus})
    html = page(compare([slow, evil]), [slow, evil])
    tags = Page(html).tags
    assert {"html", "svg", "table"} <= {tag for tag, _ in tags}
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in tags}
    assert not any(name in ("src", "href") or name.startswith("on") for _, attrs in tags for name in attrs)
    assert "&lt;script&gt;alert(1)" in html


def test_all_curves_are_overlaid(slow: Run, fast: Run) -> None:
    svg = overlay([slow, fast])
    assert "fast, validation (stopped early)" in svg
    assert svg.count("<circle") == 5 + 7

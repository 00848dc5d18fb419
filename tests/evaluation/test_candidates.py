from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.candidates import Candidate, candidate_log, read_candidates
from evaluation.errors import CandidatesError, EvaluationError
from rendering import RenderError


def test_candidates_of_other_tools_are_read(tmp_path: Path) -> None:
    path = tmp_path / "candidates.jsonl"
    path.write_text(
        '{"id": "a", "caption": "x\u2028y", "seconds": 2}\n{"id": "b", "caption": null}\n', encoding="utf-8"
    )
    first, second = read_candidates(path).values()
    assert first.caption == "x\u2028y"
    assert (second.caption, second.reason) == (None, "the captioner gave no caption")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "a", "caption": "x"}', "line 2: id 'a' was used before"),
        ('{"id": "b"}', "line 2: caption: Field required"),
        ('{"id": "b", "caption": 3}', "line 2: caption: Input should be a valid string"),
        ('{"id": 3, "caption": "x"}', "line 2: id: Input should be a valid string"),
        ("", "line 2: Invalid JSON"),
    ],
)
def test_a_bad_line_is_named(line: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "candidates.jsonl"
    path.write_text(f'{{"id": "a", "caption": ""}}\n{line}\n', encoding="utf-8")
    with pytest.raises(CandidatesError, match=reason):
        read_candidates(path)


def test_a_log_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "captioner" / "candidates.jsonl"
    failed = Candidate.of("b", RenderError("too slow", code="render_timeout"))
    with candidate_log(path) as log:
        log.append(Candidate.of("a", "a circle"))
        log.append(failed)
    with path.open("ab") as file:
        file.write(b'{"id": "c", "capt')
    with candidate_log(path) as log:
        assert list(log.candidates) == ["a", "b"]
        log.append(Candidate.of("c", ""))
    assert read_candidates(path)["b"] == failed
    assert failed.error == "render_timeout: too slow"
    assert path.read_text().splitlines()[2] == '{"id":"c","caption":""}'


def test_a_log_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "candidates.jsonl"
    with candidate_log(path), pytest.raises(EvaluationError, match="another process"), candidate_log(path):
        pass

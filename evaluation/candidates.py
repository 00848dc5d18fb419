"""Candidate captions and their files: one JSON object per line, `{"id": ..., "caption": ...}`.

Files made anywhere can be read. Our own grow line by line, so that a killed run loses nothing and
goes on where it stopped.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from captioning.atomic import append
from evaluation.errors import CandidatesError, EvaluationError
from rendering import SvgCaptionError


class Candidate(BaseModel):
    """What a captioner wrote for one sample, or why it wrote nothing; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True)

    id: str
    caption: str | None  # None: not scored; an empty string is scored, as 0
    error: str | None = None

    @classmethod
    def of(cls, sample_id: str, outcome: str | Exception) -> Self:
        """A caption, or the error in its place."""
        if isinstance(outcome, str):
            return cls(id=sample_id, caption=outcome)
        kind = outcome.code if isinstance(outcome, SvgCaptionError) else type(outcome).__name__
        return cls(id=sample_id, caption=None, error=f"{kind}: {outcome}")

    @property
    def reason(self) -> str:
        """Why there is no caption."""
        return self.error or "the captioner gave no caption"


def read_candidates(path: Path) -> dict[str, Candidate]:
    """Candidates by sample id, in file order.

    Raises:
        CandidatesError: no such file, a line that is no candidate, or an id for the second time.
    """
    if not path.is_file():
        raise CandidatesError(f"{path}: there is no such candidates file")
    with path.open("rb") as file:
        return _parse(path, file)


class CandidateLog:
    """The candidates file of one captioner in one run, open for more."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._file = file
        self.candidates = read_candidates(path)

    def append(self, candidate: Candidate) -> None:
        """Keep a candidate: it is with the operating system, all of it, before this returns."""
        unneeded = {"error"} if candidate.error is None else None
        append(self._file, candidate.model_dump_json(exclude=unneeded).encode() + b"\n")
        self.candidates[candidate.id] = candidate


@contextmanager
def candidate_log(path: Path) -> Iterator[CandidateLog]:
    """Open a candidates file for appending, alone; what a killed run left of a last line is cut off.

    Raises:
        EvaluationError: another process is writing it.
        CandidatesError: it holds something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EvaluationError(
                f"{path}: another process is writing this file. Wait for it, or choose another --name."
            ) from None
        _cut_torn_line(file)
        yield CandidateLog(path, file)


def _cut_torn_line(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)


def _parse(path: Path, lines: IO[bytes]) -> dict[str, Candidate]:
    candidates: dict[str, Candidate] = {}
    for number, line in enumerate(lines, start=1):
        try:
            candidate = Candidate.model_validate_json(line)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(map(str, problem["loc"]))
            reason = f"{where}: {problem['msg']}" if where else problem["msg"]
            raise CandidatesError(f"{path} line {number}: {reason}") from None
        if candidates.setdefault(candidate.id, candidate) is not candidate:
            raise CandidatesError(f"{path} line {number}: id '{candidate.id}' was used before")
    return candidates

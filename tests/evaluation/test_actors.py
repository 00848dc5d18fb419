"""Captioners in Ray's actors: the same captions, none lost with an actor, an environment of their own."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import ray

from captioning.corpus import Sample, write_corpus
from captioning.running_ray import running_ray
from evaluation.actors import ActorCaptioner
from evaluation.candidates import Candidate, read_candidates
from evaluation.captioners.floors import TitleCaptioner
from evaluation.errors import Unavailable
from evaluation.report import ScoredRow, UnavailableRow
from evaluation.run import RunOptions, run_suite
from evaluation.suite import Suite, load_suite
from tests.evaluation.conftest import sample

OLDER = "4.36.2"  # of transformers: what CogVLM's code runs with

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::FutureWarning:ray"),
]


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with running_ray():
            yield


def _suite(folder: Path, captioners: str) -> tuple[str, Suite]:
    path = folder / "actors.yaml"
    path.write_text(
        f"corpus: corpus.jsonl\nmetrics: [bleu]\ncaptioners: {{{captioners}}}\n", encoding="utf-8"
    )
    return load_suite(str(path))


class _Counts:
    """A run's progress."""

    def __init__(self) -> None:
        self.written: list[int] = []

    def __call__(self, captioner: str, done: int, total: int) -> None:
        self.written.append(done)


class _KillsOne(_Counts):
    """After the first candidate, one actor dies."""

    def __call__(self, captioner: str, done: int, total: int) -> None:
        super().__call__(captioner, done, total)
        if len(self.written) == 1:
            os.kill(_actors()[0], signal.SIGKILL)


def _actors() -> list[int]:
    """The process ids of the actors of this process's Ray."""
    session = Path(ray.worker.global_worker.node.get_session_dir_path()).name
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and b"ray::_Writer" in (entry / "cmdline").read_bytes():
                found += [int(entry.name)] * (session in str((entry / "fd" / "1").readlink()))
    return found


def test_actors_write_what_one_process_writes_though_one_dies(
    samples: list[Sample], tiny_blip: Path, tmp_path: Path
) -> None:
    broken = sample(99).model_copy(update={"svg": "<svg><circle"})
    write_corpus(tmp_path / "corpus.jsonl", [*samples, broken])
    alone = _suite(tmp_path, f"blip: {{kind: blip, source: {tiny_blip}}}")
    expected, _ = run_suite(*alone, RunOptions(runs_dir=tmp_path / "alone"), _Counts())

    beside = _suite(tmp_path, f"blip: {{kind: blip, source: {tiny_blip}, actors: 2, cpus_each: 0.5}}")
    progress = _KillsOne()
    report, folder = run_suite(*beside, RunOptions(runs_dir=tmp_path / "actors"), progress)
    assert progress.written == list(range(1, 14))
    assert (report.run, report.rows, report.examples) == (expected.run, expected.rows, expected.examples)
    [row] = report.rows
    assert isinstance(row, ScoredRow)
    assert row.unscored["s99"].startswith("malformed: ")

    log = folder / "blip" / "candidates.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:9]))
    rest = _Counts()
    again, _ = run_suite(*beside, RunOptions(runs_dir=tmp_path / "actors"), rest)
    assert rest.written == [10, 11, 12, 13]
    assert again.rows == expected.rows
    assert log.read_text().startswith("".join(lines[:9]))
    assert len(read_candidates(log)) == 13


def test_a_captioner_that_cannot_be_built_is_unavailable_as_it_is_here(corpus: Path, tmp_path: Path) -> None:
    blip = "kind: blip, source: nobody/nothing"
    beside, big = f"{blip}, actors: 1, cpus_each: 0.5", f"{blip}, actors: 1, gpus_each: 64"
    suite = _suite(tmp_path, f"here: {{{blip}}}, beside: {{{beside}}}, big: {{{big}}}")
    report, _ = run_suite(*suite, RunOptions(runs_dir=tmp_path / "runs"), _Counts())
    reasons = [row.unavailable for row in report.rows if isinstance(row, UnavailableRow)]
    assert "nobody/nothing" in reasons[0]
    assert reasons[0] == reasons[1]
    assert reasons[2].startswith("each of its actors asks for 1 CPU and 64 GPU, and Ray's nodes have")


class _Mortal:
    """Titles; one sample kills the process."""

    def __init__(self, deadly: str) -> None:
        self._deadly = deadly

    def caption(self, samples: Sequence[Sample]) -> Iterator[Candidate]:
        for one in samples:
            if one.id == self._deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            yield from TitleCaptioner().caption([one])


def test_actors_that_die_again_and_again_end_the_captioner_after_everything_else_is_written(
    samples: list[Sample],
) -> None:
    captioner = ActorCaptioner(partial(_Mortal, "s0"), actors=2, cpus=0.5)
    candidates = captioner.caption(samples)
    written = [next(candidates).id for _ in range(9)]
    assert sorted(written) == sorted(one.id for one in samples[3:]), "the deadly part has three samples"
    with pytest.raises(Unavailable, match="4 of its actors died one after another"):
        next(candidates)


def test_nobody_is_waited_for_when_the_time_is_up(samples: list[Sample]) -> None:
    captioner = ActorCaptioner(partial(_Mortal, ""), actors=1, cpus=0.5, ends_at=time.monotonic() - 1)
    assert list(captioner.caption(samples)) == []


@pytest.mark.slow
def test_cogvlm_runs_in_an_environment_with_an_older_transformers(
    corpus: Path, tiny_cogvlm: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(tiny_cogvlm, tmp_path / "model")
    with (model / "modeling_cogvlm.py").open("a") as code:
        code.write(f"\nimport transformers\nassert transformers.__version__ == '{OLDER}'\n")
    settings = f"kind: cogvlm, source: {model}, tokenizer: {model}, max_new_tokens: 8"
    packages = f"actors: 1, packages: [transformers=={OLDER}, sentencepiece]"
    suite = _suite(tmp_path, f"here: {{{settings}}}, cogvlm: {{{settings}, {packages}}}")
    report, _ = run_suite(*suite, RunOptions(runs_dir=tmp_path / "runs", trust_remote_code=True), _Counts())
    here, cogvlm = report.rows
    assert isinstance(here, UnavailableRow)
    assert isinstance(cogvlm, ScoredRow), cogvlm
    assert (cogvlm.scored, cogvlm.empty) == (12, 0)

"""One run of a suite: candidates from each captioner, their scores, a report.

The run's folder holds `setup.json`, for each captioner `<name>/candidates.jsonl` and
`<name>/scores.jsonl`, and the report as JSON, Markdown, LaTeX and a page. The same command again goes on
where it was stopped: candidates that are there are not made twice.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from captioning.adapters import WEIGHTS_FILE, read_manifest
from captioning.atomic import write_text
from captioning.base_models import Quantization, resolve, weight_fingerprint
from captioning.corpus import Sample, corpus_fingerprint
from captioning.errors import ConfigError, WorkersFailed
from captioning.prompt import PROMPT_VERSION
from evaluation.candidates import Candidate, candidate_log
from evaluation.comparison import compare_all
from evaluation.errors import Unavailable
from evaluation.page import write_page
from evaluation.report import (
    Report,
    ScoredRow,
    UnavailableRow,
    caption_authors,
    choose_examples,
    same_family,
    write_report,
)
from evaluation.scoring import ClipMeasure, Scored, by_source, score
from evaluation.split import read_split
from evaluation.suite import (
    CaptionerSpec,
    ConstantSpec,
    EngineSpec,
    NearestSpec,
    Suite,
    ZeroShotSpec,
    with_model,
    with_training_corpus,
)
from evaluation.workbench import Workbench
from rendering import CANONICALIZER_VERSION

_LIBRARIES = ("numpy", "open_clip_torch", "pycocoevalcap", "scikit-learn", "torch", "transformers")

Candidates = dict[str, Candidate]
Progress = Callable[[str, int, int], None]
"""Called with a captioner's name, how many candidates it has, and how many it will have."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line adds to a suite."""

    adapter: Path | None = None
    corpus: Path | None = None  # instead of the suite's
    training_corpus: Path | None = None  # instead of the floors'
    model: str | None = None  # the base model of all that our engine runs, instead of the suite's
    quantization: Quantization | None = None  # of that model
    limit: int | None = None  # only the first so many samples
    clip: str | None = None  # instead of the suite's weights
    run: str | None = None  # its name; None: one that follows from the setup
    runs_dir: Path = Path("runs")
    time_limit_s: float | None = None  # of writing candidates: what is there by then is scored
    trust_remote_code: bool = False  # whether code that is published with weights may run


def run_suite(name: str, suite: Suite, options: RunOptions, progress: Progress) -> tuple[Report, Path]:
    """The report, and the folder that it was written to.

    Raises:
        ConfigError: a run of that name has another setup.
        CorpusError: of the split.
        AdapterError: the adapter is broken or does not fit its base model.
    """
    if options.training_corpus:
        suite = with_training_corpus(suite, options.training_corpus)
    if options.model:
        suite = with_model(suite, options.model, options.quantization)
    corpus = options.corpus or Path(suite.corpus)
    samples = read_split(corpus, options.limit)
    setup = setup_of(suite, corpus, samples, options.adapter)
    run = options.run or f"{name}-{short_hash(setup)}"
    if Path(run).name != run:
        raise ConfigError(f"'{run}' is no name of a run: it names a folder in {options.runs_dir}")
    folder = options.runs_dir.resolve() / run
    claim_folder(folder, setup)
    ends_at = math.inf if options.time_limit_s is None else time.monotonic() + options.time_limit_s
    with Workbench(
        samples, adapter=options.adapter, ends_at=ends_at, trust_remote_code=options.trust_remote_code
    ) as workbench:
        work = Work(suite, samples, folder, workbench, ends_at)
        outcomes = {captioner: work.candidates(captioner, progress) for captioner in suite.captioners}
        scored = work.scores(outcomes, work.clip(options.clip))
    report = Report(
        suite=name,
        run=run,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        setup=setup,
        samples=len(samples),
        caption_authors=caption_authors(samples),
        versions={library: version(library) for library in _LIBRARIES},
        rows=tuple(work.rows(outcomes, scored)),
        comparisons=compare_all({name: one.measured for name, one in scored.items()}, by_source(samples)),
        examples=choose_examples(
            samples, {name: made for name, made in outcomes.items() if not isinstance(made, Unavailable)}
        ),
    )
    write_report(report, folder)
    write_page(report, samples, folder)
    return report, folder


@dataclass(frozen=True)
class Work:
    """The captioners of a suite at work on samples, and the folder that keeps what they write."""

    suite: Suite
    samples: Sequence[Sample]
    folder: Path
    workbench: Workbench
    ends_at: float = math.inf  # of time.monotonic()

    def candidates(self, captioner: str, progress: Progress) -> Candidates | Unavailable:
        """What the captioner wrote in this and in earlier, interrupted runs."""
        with candidate_log(self.folder / captioner / "candidates.jsonl") as log:
            missing = [sample for sample in self.samples if sample.id not in log.candidates]
            try:
                for candidate in self._written(captioner, missing):
                    log.append(candidate)
                    progress(captioner, len(log.candidates), len(self.samples))
            except (ConfigError, Unavailable, WorkersFailed) as error:
                return Unavailable(_goes_on(str(error), len(log.candidates), len(self.samples)))
            if not log.candidates:
                return Unavailable("the time was up before it wrote anything. The same command goes on")
            return log.candidates

    def _written(self, captioner: str, missing: Sequence[Sample]) -> Iterator[Candidate]:
        """What the captioner writes for those samples before the time is up."""
        if not missing or time.monotonic() >= self.ends_at:
            return
        for candidate in self.workbench.captioner(self.suite.captioners[captioner]).caption(missing):
            yield candidate
            if time.monotonic() >= self.ends_at:
                return

    def clip(self, source: str | None) -> ClipMeasure | Unavailable:
        if "clip_score" not in self.suite.metrics:
            return Unavailable("the suite does not ask for it")
        return self.workbench.clip(source or self.suite.clip)

    def scores(
        self, outcomes: Mapping[str, Candidates | Unavailable], clip: ClipMeasure | Unavailable
    ) -> dict[str, Scored]:
        """Of the captioners that wrote something."""
        made = {name: outcome for name, outcome in outcomes.items() if not isinstance(outcome, Unavailable)}
        scored = score(self.samples, list(made.values()), clip=clip, metrics=self.suite.metrics)
        return dict(zip(made, scored, strict=True))

    def rows(
        self, outcomes: Mapping[str, Candidates | Unavailable], scored: Mapping[str, Scored]
    ) -> Iterator[ScoredRow | UnavailableRow]:
        """The lines of the table; sample scores are written beside the candidates."""
        for name, outcome in outcomes.items():
            spec = self.suite.captioners[name]
            if isinstance(outcome, Unavailable):
                yield UnavailableRow(captioner=name, settings=spec.model_dump(), unavailable=str(outcome))
                continue
            found = scored[name]
            lines = "".join(json.dumps(scores) + "\n" for scores in found.by_sample)
            (self.folder / name / "scores.jsonl").write_text(lines, encoding="utf-8")
            yield ScoredRow(
                captioner=name,
                settings=spec.model_dump(),
                circular=_is_circular(spec, self.samples),
                partial=len(outcome) if len(outcome) < len(self.samples) else None,
                **dict(found.card),
            )


def _goes_on(reason: str, done: int, total: int) -> str:
    return f"{reason} ({done} of {total} candidates are kept; the same command goes on)" if done else reason


def setup_of(suite: Suite, corpus: Path, samples: Sequence[Sample], adapter: Path | None) -> dict[str, Any]:
    """All that the candidates depend on; metrics may change between two runs of one setup."""
    return {
        "captioners": {name: _identity(spec) for name, spec in suite.captioners.items()},
        "corpus": {"fingerprint": corpus_fingerprint(corpus), "samples": len(samples)},
        "adapter": _adapter_identity(adapter),
        "base_models": {
            spec.model: _fingerprint(spec.model)
            for spec in suite.captioners.values()
            if isinstance(spec, EngineSpec | ZeroShotSpec)
        },
        "prompt_version": PROMPT_VERSION,
        "canonicalizer_version": CANONICALIZER_VERSION,
    }


def _identity(spec: CaptionerSpec) -> dict[str, Any]:
    """The settings, with a training corpus' fingerprint in the place of its path."""
    if not (isinstance(spec, ConstantSpec | NearestSpec) and spec.corpus):
        return spec.model_dump(mode="json")
    found = Path(spec.corpus).is_file()
    return spec.model_dump(mode="json") | {"corpus": corpus_fingerprint(spec.corpus) if found else None}


def _adapter_identity(folder: Path | None) -> dict[str, str] | None:
    if folder is None:
        return None
    adapter_id = read_manifest(folder).adapter_id
    with (folder / WEIGHTS_FILE).open("rb") as file:
        return {"id": adapter_id, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _fingerprint(model: str) -> str | None:
    try:
        return weight_fingerprint(resolve(model))
    except ConfigError:  # its captioner will say why it is unavailable
        return None


def short_hash(setup: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(setup, sort_keys=True).encode()).hexdigest()[:8]


def claim_folder(folder: Path, setup: dict[str, Any]) -> None:
    """Make the run's folder, or go on in the one that was made for the same setup."""
    path = folder / "setup.json"
    if not path.is_file():
        write_text(path, json.dumps(setup, indent=2) + "\n")
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    if changed := [key for key, value in setup.items() if before.get(key) != value]:
        raise ConfigError(
            f"the run '{folder.name}' was made with another setup (other {', '.join(changed)}). "
            f"Choose another name, or delete {folder}"
        )


def _is_circular(spec: CaptionerSpec, samples: Sequence[Sample]) -> bool:
    settings = spec.model_dump()
    return any(same_family(settings, sample.caption_author or "") for sample in samples)

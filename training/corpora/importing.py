"""Foreign data to a corpus file: every row becomes a sample, or is counted with its reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from captioning.corpus import Sample, write_corpus
from captioning.errors import CorpusError
from training.corpora.layouts import Layout, Row, sample_of
from training.corpora.rows import Rows, dataset_rows, file_rows, folder_rows

_ROWS_PER_NOTE = 1_000
_ON_A_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")  # ORG/NAME


@dataclass(frozen=True)
class Source:
    """What is read: a folder, a file, or a data set on a hub with its version."""

    name: str
    split: str = "train"
    subset: str | None = None
    revision: str | None = None

    @property
    def is_local(self) -> bool:
        path = Path(self.name)
        is_file = path.exists() or path.suffix in (".jsonl", ".csv", ".tsv", ".parquet")
        return is_file or not _ON_A_HUB.fullmatch(self.name)

    def label(self) -> str:
        """What the samples name as their source: of a folder or file no more than its name."""
        if self.is_local:
            return Path(self.name).resolve().name
        return f"{self.name}@{self.revision}" if self.revision else self.name

    def rows(self, layout: Layout) -> Rows:
        if Path(self.name).is_dir():
            return folder_rows(Path(self.name))
        if self.is_local:
            return file_rows(Path(self.name), layout)
        return dataset_rows(self.name, layout, split=self.split, name=self.subset, revision=self.revision)


@dataclass
class ImportReport:
    """What was written, and what was left out for which reason."""

    file: str
    source: str
    samples: int = 0
    references: int = 0
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def import_corpus(
    source: Source,
    layout: Layout,
    out: Path,
    *,
    limit: int | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> ImportReport:
    """Write the corpus file `out`, whole or not at all.

    Raises:
        CorpusError: the source cannot be read, lacks a column, or has no row that makes a sample.
    """
    report = ImportReport(str(out), source.label())
    layout = layout.with_columns({}, {"source": source.label(), **layout.constants})
    columns: set[str] = set()
    samples = islice(_samples(source, layout, report, columns, progress), limit)
    write_corpus(out, _checked(samples, report, layout, columns))
    return report


def _samples(
    source: Source,
    layout: Layout,
    report: ImportReport,
    columns: set[str],
    progress: Callable[[str], None],
) -> Iterator[Sample]:
    seen: set[str] = set()
    unique: set[str] = set()
    prefix = f"{source.label()}/{source.split}" if not source.is_local else source.label()
    for number, row in enumerate(source.rows(layout), start=1):
        report.rows = number
        if not isinstance(row, str):
            columns.update(row)
        sample = row if isinstance(row, str) else _once(row, layout, unique, f"{prefix}/{number}")
        if isinstance(sample, Sample) and sample.id in seen:
            sample = "id used before"
        if isinstance(sample, str):
            report.left_out[sample] += 1
        else:
            seen.add(sample.id)
            yield sample
        if number % _ROWS_PER_NOTE == 0:
            progress(f"{number:,} rows, {len(seen):,} samples")


def _once(row: Row, layout: Layout, unique: set[str], fallback_id: str) -> Sample | str:
    sample = sample_of(row, layout, fallback_id)
    if isinstance(sample, Sample) and layout.unique:
        value = str(row[layout.unique])
        if value in unique:
            return f"{layout.unique} seen before"
        unique.add(value)
    return sample


def _checked(
    samples: Iterator[Sample], report: ImportReport, layout: Layout, columns: set[str]
) -> Iterator[Sample]:
    """Counts; an import that went wrong fails before it replaces a file."""
    for sample in samples:
        report.samples += 1
        report.references += len(sample.references)
        yield sample
    missing = [name for name in layout.column_names() if name not in columns]
    if report.samples and (layout.lenient or not missing):
        return
    found = (
        f"Its columns: {', '.join(sorted(columns)) or 'none'}. Name the right ones by --column FIELD=COLUMN."
    )
    if report.samples:
        raise CorpusError(f"{report.source}: no row has a column '{missing[0]}'. {found}")
    reasons = ", ".join(f"{count:,} x {reason}" for reason, count in report.left_out.most_common(5))
    raise CorpusError(
        f"{report.source}: none of {report.rows:,} rows makes a sample: {reasons or 'no rows'}. {found}"
    )

"""Corpus records: one sample is one SVG with its reference captions.

Files are JSON Lines (`.jsonl`) or Parquet (`.parquet`), read as a stream and strictly: a bad record
names file, line and reason. What a drawing looks like, and which split it is in, is not known here.
"""

from __future__ import annotations

import hashlib
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from captioning.atomic import replacing_file
from captioning.errors import CorpusError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_PER_BATCH = 1_000

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Sample(BaseModel):
    """One SVG with its reference captions (ground truth), and where both come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Line
    svg: Annotated[str, StringConstraints(min_length=1)]
    references: Annotated[tuple[Line, ...], Field(min_length=1)]
    tags: tuple[Line, ...] = ()
    source: Line | None = None  # package, data set or generator that the drawing is from
    license: Line | None = None  # of the drawing, as an SPDX expression where there is one
    caption_author: Line | None = None  # a person, a generator, or the model that wrote the references


def read_corpus(path: str | Path) -> Iterator[Sample]:
    """Samples in file order, one at a time.

    Raises:
        CorpusError: no such file or format, a bad record, or an id for the second time.
    """
    path = Path(path)
    first_line: dict[str, int] = {}
    for number, sample in _samples(path):
        if (earlier := first_line.setdefault(sample.id, number)) != number:
            raise CorpusError(f"{path} line {number}: id '{sample.id}' was used before, on line {earlier}")
        yield sample


def write_corpus(path: str | Path, samples: Iterable[Sample]) -> int:
    """Write the samples, replacing the file only once all are written; returns how many there were."""
    path = Path(path)
    write = _write_parquet if _is_parquet(path) else _write_jsonl
    with replacing_file(path) as unfinished:
        return write(unfinished, samples)


def corpus_fingerprint(path: str | Path) -> str:
    """SHA-256 of the file's bytes, as `sha256:<hex>`."""
    path = Path(path)
    _require_file(path)
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _samples(path: Path) -> Iterator[tuple[int, Sample]]:
    is_parquet = _is_parquet(path)
    _require_file(path)
    records = _parquet_records(path) if is_parquet else _jsonl_records(path)
    for number, record in enumerate(records, start=1):
        if record == b"":
            continue
        try:
            if isinstance(record, bytes):
                yield number, Sample.model_validate_json(record)
            else:
                yield number, Sample.model_validate(record)
        except ValidationError as error:
            raise CorpusError(f"{path} line {number}: {_reason(error)}") from None


def _jsonl_records(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:  # bytes: only "\n" ends a line, never U+2028 within a caption
        if file.read(len(BOM_UTF8)) != BOM_UTF8:
            file.seek(0)
        yield from map(bytes.strip, file)


def _parquet_records(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=_ROWS_PER_BATCH):
            for row in batch.to_pylist():
                yield {column: value for column, value in row.items() if value is not None}
    except pa.ArrowException as error:
        raise CorpusError(f"{path}: not a Parquet file that can be read: {error}") from None


def _write_jsonl(path: Path, samples: Iterable[Sample]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for count, sample in enumerate(samples, start=1):  # noqa: B007
            file.write(sample.model_dump_json(exclude_defaults=True) + "\n")
    return count


def _write_parquet(path: Path, samples: Iterable[Sample]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _parquet_schema()
    rows = (sample.model_dump() for sample in samples)
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        while chunk := list(islice(rows, _ROWS_PER_BATCH)):
            writer.write_table(pa.Table.from_pylist(chunk, schema))
            count += len(chunk)
    return count


def _parquet_schema() -> pa.Schema:
    import pyarrow as pa

    lists = {"references", "tags"}
    kinds = {name: pa.list_(pa.string()) if name in lists else pa.string() for name in Sample.model_fields}
    return pa.schema(list(kinds.items()))


def _reason(error: ValidationError) -> str:
    problems = (
        ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))
        for problem in error.errors(include_url=False, include_input=False)
    )
    return re.sub(r" at line \d+ (column \d+)", r" at \1", "; ".join(problems))  # of the record: always 1


def _is_parquet(path: Path) -> bool:
    if path.suffix not in (".jsonl", ".parquet"):
        raise CorpusError(f"{path}: a corpus file ends in .jsonl or .parquet, this one in '{path.suffix}'")
    return path.suffix == ".parquet"


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise CorpusError(f"{path}: there is no such corpus file")

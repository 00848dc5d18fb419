"""Rows of foreign data, as a stream: a data set on a hub, a Parquet, JSON Lines or CSV file, a folder.

A row is a mapping by column, or a text: the reason why there is none. What columns mean is not known here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from captioning.errors import CorpusError
from rendering import Limits, SvgRejected
from rendering.decode import decode
from rendering.sources import read_file
from training.corpora.layouts import Layout, Row

Rows = Iterator[Row | str]
Load = Callable[..., Any]

_SVG_SUFFIXES = (".svg", ".svgz")
_LONGEST_CELL = 1 << 27  # bytes; of a CSV file. Python's default of 128 KiB is less than many an SVG


def folder_rows(folder: Path) -> Rows:
    """`name.svg` with `name.txt`, at any depth; each line of the text is a reference."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _SVG_SUFFIXES and path.is_file():
            yield _folder_row(path, path.relative_to(folder).with_suffix("").as_posix())


def _folder_row(path: Path, name: str) -> Row | str:
    captions = path.with_suffix(".txt")
    if not captions.is_file():
        return "no .txt file of the same name"
    try:
        return {
            "id": name,
            "svg": decode(read_file(path), Limits()).decode("utf-8-sig"),
            "references": captions.read_text("utf-8-sig").splitlines(),
        }
    except SvgRejected as error:
        return f"refused: {error.code}"
    except UnicodeDecodeError:
        return "not UTF-8"


def file_rows(path: Path, layout: Layout, load: Load | None = None) -> Rows:
    """By suffix: .jsonl, .csv, .tsv or .parquet.

    Raises:
        CorpusError: there is no such file, or it is none that can be read.
    """
    if not path.is_file():
        raise CorpusError(f"{path}: there is no such file or folder. On a hub, a name is ORG/NAME.")
    readers: dict[str, Callable[[], Rows]] = {
        ".jsonl": lambda: _jsonl_rows(path),
        ".csv": lambda: _csv_rows(path, ","),
        ".tsv": lambda: _csv_rows(path, "\t"),
        ".parquet": lambda: dataset_rows("parquet", layout, load, data_files=str(path), split="train"),
    }
    if path.suffix not in readers:
        raise CorpusError(f"{path}: cannot read '{path.suffix}'. Known: {', '.join(readers)}, or a folder.")
    return readers[path.suffix]()


def _jsonl_rows(path: Path) -> Rows:
    with path.open("rb") as file:  # bytes: only "\n" ends a line, never U+2028 within a caption
        for line in filter(bytes.strip, file):
            try:
                row = json.loads(line)
            except ValueError:
                yield "not JSON"
            else:
                yield row if isinstance(row, dict) else "not a JSON object"


def _csv_rows(path: Path, delimiter: str) -> Rows:
    """With Python's own module: pandas, behind `datasets`, takes the captions "None" and "NA" for nothing."""
    csv.field_size_limit(_LONGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            for row in csv.DictReader(file, delimiter=delimiter):
                yield "more cells than columns" if None in row else row
        except (csv.Error, UnicodeDecodeError) as error:
            raise CorpusError(f"{path}: not a CSV file in UTF-8: {error}") from None


def dataset_rows(path: str, layout: Layout, load: Load | None = None, **options: Any) -> Rows:
    """By the `datasets` library, streaming, the columns of the layout only: others may be large pictures.

    Raises:
        CorpusError: the hub is not reached or refuses, or there is no such data set, split or column.
    """
    import httpx
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from pyarrow import ArrowException

    what = options.get("data_files", path)
    try:
        dataset = (load or load_dataset)(path, streaming=True, **options)
        yield from _selected(dataset, layout, what)
    except CorpusError:
        raise
    except (DatasetsError, OSError, ValueError, httpx.HTTPError, ArrowException) as error:
        raise CorpusError(f"{what}: {_first_line(error)}. {_advice(error)}") from error


def _selected(dataset: Any, layout: Layout, what: str) -> Iterator[Row]:
    known = dataset.column_names
    if known is None:  # a data set without a schema: the rows tell
        yield from dataset
        return
    missing = [column for column in layout.column_names() if column not in known]
    if missing and not layout.lenient:
        raise CorpusError(f"{what}: no column '{missing[0]}'. Its columns: {', '.join(known)}.")
    yield from dataset.select_columns([column for column in layout.column_names() if column in known])


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _advice(error: Exception) -> str:
    text = str(error)
    if "gated" in text or "401" in text or "403" in text:
        return "Accept its terms on the hub's page, and set HF_TOKEN to a token that may read it."
    if "split" in text.lower():
        return "Name another one by --split."
    if "ArrowInvalid" in type(error).__name__ or "arquet" in text:
        return "Fetch the file again."
    return (
        "Check the name and the network (HF_ENDPOINT, HF_HUB_OFFLINE), or fetch its files and import those: "
        "a .parquet, .jsonl or .csv file with --layout or --column."
    )

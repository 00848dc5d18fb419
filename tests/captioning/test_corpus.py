from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.corpus import Sample, corpus_fingerprint, read_corpus, write_corpus
from captioning.errors import CorpusError

CAMERA = Sample(
    id="camera",
    svg="<svg/>",
    references=("A camera.", "An icon of a\u2028camera."),
    tags=("photo",),
    source="icons 1.0",
    license="MIT",
    caption_author="a person",
)
CIRCLE = Sample(id="circle", svg="<svg><circle r='1'/></svg>", references=("A circle.",))


@pytest.mark.parametrize("name", ["corpus.jsonl", "folder/corpus.parquet"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert write_corpus(path, iter([CAMERA, CIRCLE])) == 2
    assert list(read_corpus(path)) == [CAMERA, CIRCLE]
    assert [other.name for other in path.parent.iterdir()] == [path.name]
    assert corpus_fingerprint(path).startswith("sha256:")


printable = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
lines = printable.map(str.strip).filter(bool)


@settings(deadline=None)
@given(st.builds(Sample, id=lines, svg=printable, references=st.lists(lines, min_size=1).map(tuple)))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, sample: Sample) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    write_corpus(path, [sample])
    assert list(read_corpus(path)) == [sample]


def test_an_empty_corpus(tmp_path: Path) -> None:
    for name in ("none.jsonl", "none.parquet"):
        assert write_corpus(tmp_path / name, []) == 0
        assert list(read_corpus(tmp_path / name)) == []


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    for name, samples in {"a": [CAMERA], "b": [CAMERA], "c": [CIRCLE]}.items():
        write_corpus(tmp_path / f"{name}.jsonl", samples)
    first, same, other = (corpus_fingerprint(tmp_path / f"{name}.jsonl") for name in "abc")
    assert first == same != other


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    write_corpus(path, [CAMERA])

    def failing() -> Any:
        yield CIRCLE
        raise RuntimeError("out of samples")

    with pytest.raises(RuntimeError, match="out of samples"):
        write_corpus(path, failing())
    assert list(read_corpus(path)) == [CAMERA]
    assert list(tmp_path.iterdir()) == [path]


GOOD = {"id": "a", "svg": "<svg/>", "references": ["A cat."]}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (json.dumps(GOOD | {"references": []}), "references: Tuple should have at least 1 item"),
        (json.dumps(GOOD | {"references": [" "]}), r"references\.0: String should have at least 1 character"),
        (json.dumps(GOOD | {"references": "A cat."}), "references: Input should be a valid array"),
        (json.dumps(GOOD | {"svg": None}), "svg: Input should be a valid string"),
        (json.dumps(GOOD | {"caption": "A cat."}), "caption: Extra inputs are not permitted"),
        (json.dumps({"id": "a"}), "svg: Field required; references: Field required"),
        (json.dumps(GOOD | {"id": "first"}), "id 'first' was used before, on line 1"),
        ("{", "Invalid JSON: EOF while parsing an object at column 1$"),
        ('{"id": "\udcff"}', "Invalid JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "corpus.jsonl"
    text = f"{json.dumps(GOOD | {'id': 'first'})}\n{line}\n"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    samples = read_corpus(path)
    assert next(samples).id == "first"
    with pytest.raises(CorpusError, match=rf"corpus\.jsonl line 2: {reason}") as caught:
        next(samples)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\r\n\n{{\n", encoding="utf-8-sig")
    samples = read_corpus(path)
    assert next(samples).id == "a"
    with pytest.raises(CorpusError, match="line 3: Invalid JSON"):
        next(samples)
    path.write_text(f"{json.dumps(GOOD)}\n \n", encoding="utf-8-sig")
    assert len(list(read_corpus(path))) == 1


def test_a_bad_row_of_a_parquet_file_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.Table.from_pylist([GOOD, GOOD | {"id": "b", "references": None}]), path)
    with pytest.raises(CorpusError, match=r"line 2: references: Field required"):
        list(read_corpus(path))
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(CorpusError, match="not a Parquet file"):
        list(read_corpus(path))


@pytest.mark.parametrize(
    ("name", "reason"), [("a.jsonl", "no such corpus file"), ("a.csv", "ends in .jsonl or .parquet")]
)
def test_a_file_that_is_no_corpus(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(CorpusError, match=reason):
        list(read_corpus(tmp_path / name))

"""A corpus as token ids, made once: kept in a file that is named after all that the ids depend on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, pairwise
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

from captioning.atomic import replacing_file
from captioning.base_models import BaseModelSpec, load_tokenizer
from captioning.corpus import Sample, corpus_fingerprint, read_corpus
from captioning.prompt import PROMPT_VERSION
from rendering import CANONICALIZER_VERSION
from training.data import Example, Tokenized, Tokens, tokenize

_CHUNK = 500  # samples
_ALONE = 2000  # so many are sooner done here than further processes have started
_REPORT = b"report"  # key in the file's metadata

_log = logging.getLogger(__name__)


def cached(corpus: Path, spec: BaseModelSpec, max_tokens: int | None, cache: Path) -> tuple[Tokenized, Path]:
    """The corpus as `training.data.tokenize` gives it, and the file in `cache` that holds it.

    Raises:
        CorpusError: the corpus cannot be read, or has a caption without a token.
    """
    tokenizer = load_tokenizer(spec)
    corpus_hash = corpus_fingerprint(corpus)
    parts = (corpus_hash, fingerprint(tokenizer), PROMPT_VERSION, CANONICALIZER_VERSION, str(max_tokens))
    path = cache / f"{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:32]}.parquet"
    if not path.exists():
        write(path, _tokenize_all(corpus, spec, tokenizer, max_tokens))
    return read(path), path


def write(path: Path, split: Tokenized) -> None:
    ids = pa.list_(pa.int32())
    columns = {
        "id": pa.array([example.id for example in split.examples], pa.string()),
        "prompt": pa.array([list(example.prompt) for example in split.examples], ids),
        "completions": pa.array(
            [list(map(list, example.completions)) for example in split.examples], pa.list_(ids)
        ),
    }
    report = json.dumps({"dropped": split.dropped, "long_references": split.long_references})
    with replacing_file(path) as unfinished:
        pq.write_table(pa.table(columns).replace_schema_metadata({_REPORT: report}), unfinished)


def read(path: Path) -> Tokenized:
    table = pq.read_table(path)
    report = json.loads(table.schema.metadata[_REPORT])
    examples = [
        Example(row_id, prompt, completions)
        for batch in table.to_batches()
        for row_id, prompt, completions in zip(
            batch["id"].to_pylist(), _rows(batch["prompt"]), _rows_of_rows(batch["completions"]), strict=True
        )
    ]
    return Tokenized(examples, Counter(report["dropped"]), report["long_references"])


def _rows(column: pa.ListArray) -> Iterator[Tokens]:
    ids = column.values.to_numpy()
    for start, end in _bounds(column):
        yield array("i", ids[start:end].tobytes())


def _rows_of_rows(column: pa.ListArray) -> Iterator[list[Tokens]]:
    rows = list(_rows(column.values))
    for start, end in _bounds(column):
        yield rows[start:end]


def _bounds(column: pa.ListArray) -> Iterator[tuple[int, int]]:
    offsets = column.offsets.to_pylist()
    return pairwise(offsets)


def _tokenize_all(
    corpus: Path, spec: BaseModelSpec, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None
) -> Tokenized:
    """In this process, or in one for each core when there is much to do."""
    samples = read_corpus(corpus)
    result = tokenize(islice(samples, _ALONE), tokenizer, max_tokens)
    for number, part in enumerate(_in_processes(samples, spec, max_tokens), start=1):
        result.add(part)
        _log.info("%s: %s samples made into tokens", corpus.name, f"{_ALONE + number * _CHUNK:,}")
    return result


def _in_processes(
    samples: Iterator[Sample], spec: BaseModelSpec, max_tokens: int | None
) -> Iterator[Tokenized]:
    chunks = iter(lambda: list(islice(samples, _CHUNK)), [])
    if not (work := [(chunk, max_tokens) for chunk in chunks]):
        return
    processes = min(len(work), len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_load, initargs=(spec,)) as pool:
        yield from pool.map(_tokenize_chunk, *zip(*work, strict=True))


_tokenizer: PreTrainedTokenizerBase  # of a process of the pool


def _load(spec: BaseModelSpec) -> None:
    global _tokenizer  # noqa: PLW0603
    _tokenizer = load_tokenizer(spec)


def _tokenize_chunk(samples: Sequence[Sample], max_tokens: int | None) -> Tokenized:
    return tokenize(samples, _tokenizer, max_tokens)


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Of all that decides a text's ids: the files that the tokenizer would be saved as."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for path in sorted(Path(folder).iterdir()):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()

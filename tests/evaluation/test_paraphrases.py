"""The paraphrases that METEOR gets: all that the lines can match, from a table that may be damaged."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from evaluation.errors import Unavailable
from evaluation.metrics import meteor as meteor_module
from evaluation.metrics import paraphrases
from evaluation.metrics.java import run_java
from evaluation.metrics.meteor import meteor
from evaluation.metrics.paraphrases import write_table
from evaluation.metrics.tokens import tokenize_all

PAIRS = (
    ("0.5", "takes place", "happens"),
    ("0.1", "takes", "happens to"),  # "happens to" is in no text
    ("0.2", "us", "caf\u00e9"),
    ("0.3", "happens", "takes place"),
    ("0.3", "place it", "happens"),  # "place" and "it" are in two texts
)
TEXTS = ("It takes place,", "", "it happens; in the U.S. caf\u00e9")


def _write(path: Path, pairs: Sequence[Sequence[str]]) -> bytes:
    text = "".join(f"{line}\n" for pair in pairs for line in pair).encode()
    path.write_bytes(gzip.compress(text))
    return text


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "all.gz"
    _write(path, PAIRS)
    monkeypatch.setattr(paraphrases, "_TABLE", path)
    return path


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("block_bytes", [1, 2**20])
def test_pairs_of_which_both_phrases_occur_are_kept_in_order(
    block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paraphrases, "_BLOCK_BYTES", block_bytes)
    write_table(tmp_path / "some.gz", TEXTS, timeout_s=60)
    kept = gzip.decompress((tmp_path / "some.gz").read_bytes())
    assert kept == _write(tmp_path / "expected.gz", [PAIRS[0], PAIRS[2], PAIRS[3]])


def test_a_table_that_cannot_be_read_is_a_reason(table: Path, tmp_path: Path) -> None:
    whole = table.read_bytes()
    for damaged, reason in ((whole[:-20], "ends too early"), (whole[:-8] + bytes(8), "incorrect data check")):
        table.write_bytes(damaged)
        with pytest.raises(Unavailable, match=rf"METEOR's paraphrases .*all\.gz.*{reason}"):
            write_table(tmp_path / "some.gz", TEXTS, timeout_s=60)
    table.unlink()
    with pytest.raises(Unavailable, match="No such file"):
        write_table(tmp_path / "some.gz", TEXTS, timeout_s=60)


@pytest.mark.usefixtures("table")
def test_no_room_for_the_pairs_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot be .* written"):
        write_table(tmp_path / "no folder" / "some.gz", TEXTS, timeout_s=60)


@pytest.mark.slow
def test_counts_are_those_of_the_whole_table() -> None:
    """Of sentences in which phrases of the table are replaced by their paraphrases."""
    rng = random.Random(5)
    lines = [line.rstrip(b"\n") for block in paraphrases._blocks() for line in block.to_pylist()]
    phrases = {line for column in (lines[1::3], lines[2::3]) for line in column}
    assert max(phrase.count(b" ") for phrase in phrases) == paraphrases._LONGEST - 1
    assert all(b" ".join(phrase.split()) == phrase for phrase in phrases)  # no empty one either
    texts = [[rng.randrange(1, len(lines), 3) for _ in range(3)] for _ in range(2_000)]
    references = [[" , ".join(lines[index].decode() for index in indices)] for indices in texts]
    candidates = [
        " and ".join(lines[index + rng.randint(0, 1)].decode() for index in indices) for indices in texts
    ]
    [tokens] = tokenize_all([candidates], references)
    different = list(dict.fromkeys(meteor_module._lines(tokens)))
    command = (*meteor_module._COMMAND, str(paraphrases._TABLE))
    answers = run_java("METEOR", command, different, folder=paraphrases._JAR.parent, timeout_s=300)
    whole = dict(zip(different, map(meteor_module._counts, different, answers), strict=True))
    [ours] = meteor([tokens])
    assert ours.statistics.tolist() == [whole[line] for line in meteor_module._lines(tokens)]
    assert (ours.statistics[:, 16:20].sum(axis=1) > 0).mean() > 0.5

from __future__ import annotations

import json
import shutil
from array import array
from pathlib import Path

import pytest

from captioning.base_models import load_tokenizer, resolve
from captioning.corpus import Sample, write_corpus
from tests.training.helpers import samples
from training import tokens
from training.data import Tokenized, tokenize


def _corpus(folder: Path, number: int = 6) -> Path:
    path = folder / "corpus.jsonl"
    refused = Sample(id="no svg", svg="plain text", references=("Nothing.",))
    write_corpus(path, [*samples(number), refused])
    return path


def _expected(model: Path, corpus: list[Sample], limit: int | None = None) -> Tokenized:
    return tokenize(corpus, load_tokenizer(resolve(str(model))), limit)


def test_tokens_come_out_of_the_file_as_they_were_made(tiny_llama: Path, tmp_path: Path) -> None:
    corpus = _corpus(tmp_path)
    found, path = tokens.cached(corpus, resolve(str(tiny_llama)), None, tmp_path / "cache")
    expected = _expected(tiny_llama, samples(6))
    assert found.examples == expected.examples
    assert found.dropped == {"SVG refused: not_svg": 1}
    assert tokens.read(path) == found
    assert isinstance(found.examples[0].prompt, array)


def test_a_corpus_is_made_into_tokens_once(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, spec, cache = _corpus(tmp_path), resolve(str(tiny_llama)), tmp_path / "cache"
    first = tokens.cached(corpus, spec, None, cache)
    monkeypatch.setattr(tokens, "tokenize", None)  # would fail if it were called
    assert tokens.cached(corpus, spec, None, cache) == first
    assert tokens.cached(Path(shutil.copy(corpus, tmp_path / "same.jsonl")), spec, None, cache) == first
    assert [path.name for path in cache.iterdir()] == [first[1].name]


def test_another_limit_corpus_or_tokenizer_is_another_file(tiny_llama: Path, tmp_path: Path) -> None:
    corpus, spec, cache = _corpus(tmp_path), resolve(str(tiny_llama)), tmp_path / "cache"
    _, first = tokens.cached(corpus, spec, None, cache)
    shorter, limited = tokens.cached(corpus, spec, 150, cache)
    other_model = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    settings = json.loads((other_model / "tokenizer_config.json").read_text())
    template = other_model / "chat_template.jinja"
    if template.exists():
        template.write_text("Now: " + template.read_text())
    else:
        settings["chat_template"] = "Now: " + settings["chat_template"]
        (other_model / "tokenizer_config.json").write_text(json.dumps(settings))
    _, templated = tokens.cached(corpus, resolve(str(other_model)), None, cache)
    _, grown = tokens.cached(_corpus(tmp_path, 7), spec, None, cache)
    assert len({first, limited, templated, grown}) == 4
    assert shorter == _expected(tiny_llama, [*samples(6), Sample(id="no", svg="-", references=("-",))], 150)


def test_further_processes_give_the_same_tokens(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_ALONE", 2)
    monkeypatch.setattr(tokens, "_CHUNK", 2)
    found, _ = tokens.cached(_corpus(tmp_path), resolve(str(tiny_llama)), None, tmp_path / "cache")
    assert found.examples == _expected(tiny_llama, samples(6)).examples
    assert found.dropped == {"SVG refused: not_svg": 1}


def test_a_file_that_was_not_finished_is_not_taken(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError("no space left on device")

    corpus, spec, cache = _corpus(tmp_path), resolve(str(tiny_llama)), tmp_path / "cache"
    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", full)
        with pytest.raises(OSError, match="no space"):
            tokens.cached(corpus, spec, None, cache)
    assert list(cache.iterdir()) == []
    assert len(tokens.cached(corpus, spec, None, cache)[0].examples) == 6

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from captioning.base_models import load_model, resolve
from captioning.decoding import Row, decode


def no_routes(slots: Sequence[str]) -> None:
    assert not any(slots)


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_rows_that_end_leave_the_others_alone(family: str, request: pytest.FixtureRequest) -> None:
    model = load_model(resolve(str(request.getfixturevalue(family))), dtype=torch.float32)
    prompts = [[5, 9, 14] * length for length in (1, 30, 4, 17)]

    def write(stop_ids: frozenset[int], max_new_tokens: tuple[int, ...]) -> list[Row]:
        rows = [Row(prompt, length) for prompt, length in zip(prompts, max_new_tokens, strict=True)]
        decode(model, rows, stop_ids=stop_ids, pad_id=0, route=no_routes)
        return rows

    whole = [row.written for row in write(frozenset(), (24, 24, 24, 24))]
    stop = whole[1][3]
    for row, tokens in zip(write(frozenset({stop}), (24, 24, 9, 1)), whole, strict=True):
        end = tokens.index(stop) + 1 if stop in tokens else len(tokens)
        assert row.written == tokens[: min(end, row.max_new_tokens)]
        assert row.finish_reason == ("stop" if row.written[-1] == stop else "length")


def test_routes_follow_the_rows(llama: Path) -> None:
    model = load_model(resolve(str(llama)), dtype=torch.float32)
    heard: list[list[str]] = []
    rows = [Row([1, 2], length, slot=slot) for length, slot in ((2, "a"), (1, "b"), (3, "c"))]
    decode(model, rows, stop_ids=frozenset(), pad_id=0, route=lambda slots: heard.append(list(slots)))
    assert heard == [["a", "b", "c"], ["a", "c"], ["c"]]

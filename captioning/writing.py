"""Rows for a model, and the simplest use of them: greedy text from a model in training, without an engine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from captioning.lora_bank import LoraBank
from captioning.rows import Prompt, Rows
from captioning.sampling import choose
from captioning.slots import FAMILIES, Slots
from captioning.solo import Solo


def rows_for(
    model: PreTrainedModel, bank: LoraBank, *, max_rows: int, max_tokens: int, prefix: Sequence[int] = ()
) -> Rows:
    """Slots where the model's family is known to be right in them, else a cache for each row."""
    if _known(model.config):
        return Slots(model, bank, max_rows=max_rows, max_tokens=max_tokens, prefix=prefix)
    return Solo(model, bank, max_rows=max_rows, max_tokens=max_tokens)


def _known(config: PreTrainedConfig) -> bool:
    rope = getattr(config, "rope_parameters", None) or {}
    stretched = rope.get("rope_type") in {"dynamic", "longrope"}  # the longest row would move all others
    return (
        config.model_type in FAMILIES and config._attn_implementation in {"sdpa", "eager"} and not stretched
    )


def suppressed_ids(model: PreTrainedModel) -> list[int]:
    """The tokens that the model's own `generation_config` says are never to be written."""
    return list(getattr(model.generation_config, "suppress_tokens", None) or ())


@torch.inference_mode()
def continue_greedily(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, stop_ids: frozenset[int]
) -> list[list[int]]:
    """The likeliest tokens after each prompt, up to and with the first of `stop_ids`."""
    room = max(map(len, prompts)) + max_new_tokens
    rows = rows_for(model, LoraBank(model), max_rows=len(prompts), max_tokens=4 * len(prompts) * room)
    logits = rows.add([Prompt(ids, room) for ids in prompts])
    texts: list[list[int]] = [[] for _ in prompts]
    writing = list(texts)  # in the order of the rows
    suppressed = suppressed_ids(model)
    while True:
        tokens = choose(logits, [0.0] * len(writing), [0.0] * len(writing), suppressed)
        for row in reversed(range(len(writing))):
            writing[row].append(tokens[row])
            if tokens[row] in stop_ids or len(writing[row]) == max_new_tokens:
                rows.drop(row)
                writing[row] = writing[-1]
                writing.pop()
        if not writing:
            return texts
        logits = rows.write([text[-1] for text in writing], 0, len(writing))

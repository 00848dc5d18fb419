"""Rows side by side in one cache of keys and values: all of them are decoded in one pass of the model.

Each row has a slot: a stretch of every layer's tensors, filled from its beginning. Rows 0 to B - 1 have
the slots of the same numbers, so that a pass sees plain slices and copies nothing. The tensors grow and
shrink by doubling, within `max_tokens`. The instruction that all prompts begin with is read once for each
adapter and copied into the slots of later prompts.

Shapes: B rows, G new rows, H heads, N tokens of this pass, T tokens in a slot, D numbers a head, V tokens
in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from captioning.errors import CacheLost
from captioning.lora_bank import Lora, LoraBank
from captioning.rows import Prompt

# Of these families a test holds the slots equal to transformers' own generation.
FAMILIES = frozenset(
    {"gemma", "gemma2", "granite", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "smollm3"}
)

# Kernels are made anew for every other shape: prompts and what attention looks at are padded to a multiple.
_ROUNDED = 16
_SMALLEST_SLOT = 128  # tokens
_OVERSIZED = 4
_SHORTEST_PREFIX = 16  # tokens; copying fewer saves nothing

_Prefix = list[tuple[Tensor, Tensor]]  # of each layer the keys and values (H, T, D)


@dataclass
class _Row:
    length: int  # tokens in the slot
    room: int  # tokens that will be in it at most
    lora: Lora | None


class Slots:
    """The rows, see `captioning.rows.Rows`."""

    def __init__(
        self,
        model: PreTrainedModel,
        bank: LoraBank,
        *,
        max_rows: int,
        max_tokens: int,
        prefix: Sequence[int] = (),
        chunk_tokens: int = 1024,
    ) -> None:
        self._model = model
        self._bank = bank
        self._max_rows = max_rows
        self._max_tokens = max_tokens
        self._prefix = list(prefix)
        self._prefixes: WeakKeyDictionary[object, _Prefix] = WeakKeyDictionary()
        self._chunk_tokens = chunk_tokens
        self._rows: list[_Row] = []
        self._cache = _SlotCache()

    def __len__(self) -> int:
        return len(self._rows)

    def holds(self, rows: int, room: int) -> bool:
        slots, tokens = self._shape(rows, room)
        return rows <= self._max_rows and room <= tokens and slots * tokens <= self._max_tokens

    def fits(self, rows: int, room: int) -> bool:
        return self.holds(len(self._rows) + rows, max([room, *(row.room for row in self._rows)]))

    def start(self, prompt: Prompt) -> int:
        known = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompt.ids, self._prefix, strict=False))
        )
        return known if _SHORTEST_PREFIX <= known < len(prompt.ids) else 0

    def add(self, prompts: Sequence[Prompt]) -> Tensor:
        first, start = len(self._rows), self.start(prompts[0])
        self._reserve(first + len(prompts), max(prompt.room for prompt in prompts))
        try:
            if start:
                self._paste_prefix(first, start, prompts)
            logits = self._read(first, start, prompts)
        except BaseException:
            self._cache.wipe(first, first + len(prompts))
            raise
        self._rows += [_Row(len(prompt.ids), prompt.room, prompt.lora) for prompt in prompts]
        return logits

    def copy(self, row: int) -> None:
        source = self._rows[row]
        self._reserve(len(self._rows) + 1, source.room)
        self._cache.copy(row, len(self._rows), source.length)
        self._rows.append(_Row(source.length, source.room, source.lora))

    def write(self, tokens: Sequence[int], start: int, end: int) -> Tensor:
        rows = self._rows[start:end]
        device = self._model.device
        positions = torch.tensor([row.length for row in rows], device=device)  # (B,)
        longest = max(row.length for row in rows) + 1
        width = min(_rounded(longest), self._cache.tokens)
        self._bank.route([row.lora for row in rows])
        self._cache.aim_at_ends(start, end, positions, width)
        output = self._model(
            input_ids=torch.tensor(tokens, device=device)[:, None],
            attention_mask=self._masks(positions, width),
            position_ids=positions[:, None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        for row in rows:
            row.length += 1
        logits: Tensor = output.logits[:, -1]
        return logits

    def drop(self, row: int, *, spoilt: bool = False) -> None:
        last = len(self._rows) - 1
        if spoilt:
            self._cache.wipe(row, row + 1)
        if row != last:
            self._cache.copy(last, row, self._rows[last].length)
            self._rows[row] = self._rows[last]
        self._rows.pop()

    def _read(self, first: int, start: int, prompts: Sequence[Prompt]) -> Tensor:
        """Run prompts from token `start` on, in chunks; returns the logits (G, V) after the last of each."""
        device = self._model.device
        longest = max(len(prompt.ids) for prompt in prompts)
        longest = min(_rounded(longest), self._cache.tokens)
        lengths = torch.tensor([len(prompt.ids) for prompt in prompts], device=device)[:, None]  # (G, 1)
        ids = torch.tensor([[*prompt.ids, *[0] * (longest - len(prompt.ids))] for prompt in prompts])
        self._bank.route([prompt.lora for prompt in prompts])
        logits: Tensor | None = None
        for begin in range(start, longest, self._chunk_tokens):
            end = min(begin + self._chunk_tokens, longest)
            self._cache.aim_at_block(first, first + len(prompts), begin)
            output = self._model(
                input_ids=ids[:, begin:end].to(device),
                position_ids=torch.arange(begin, end, device=device)[None],
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=(lengths - 1).clamp(begin, end - 1) - begin,
            )
            here: Tensor = output.logits[:, 0]
            logits = here if logits is None else torch.where(lengths > begin, here, logits)
        assert logits is not None, "a prompt has a token after its prefix"  # noqa: S101
        return logits

    def _paste_prefix(self, first: int, start: int, prompts: Sequence[Prompt]) -> None:
        for lora in {prompt.lora for prompt in prompts}:
            if (lora or self) not in self._prefixes:
                self._read(first, 0, [Prompt(self._prefix, len(self._prefix), lora)])
                self._prefixes[lora or self] = self._cache.cut(first, len(self._prefix))
        for row, prompt in enumerate(prompts, start=first):
            self._cache.paste(row, self._prefixes[prompt.lora or self], start)

    def _masks(self, positions: Tensor, width: int) -> Tensor | dict[str, Tensor]:
        """What each row's newest token attends to: all of its own row, or a window at its end."""
        config = self._model.config
        tokens = torch.arange(width, device=positions.device)
        own = tokens <= positions[:, None]  # (B, T)
        near = own
        if window := getattr(config, "sliding_window", None):
            near = own & (tokens > positions[:, None] - window)
        if hasattr(config, "layer_types"):
            return {"full_attention": self._mask(own), "sliding_attention": self._mask(near)}
        return self._mask(near)

    def _mask(self, seen: Tensor) -> Tensor:
        seen = seen[:, None, None]  # (B, 1, 1, T)
        if self._model.config._attn_implementation == "sdpa":
            return seen
        least = torch.finfo(self._model.dtype).min
        return torch.zeros(seen.shape, dtype=self._model.dtype, device=seen.device).masked_fill(~seen, least)

    def _shape(self, rows: int, room: int) -> tuple[int, int]:
        """Slots, and tokens in each, for so many rows."""
        return min(_doubled(rows, 1), self._max_rows), min(_doubled(room, _SMALLEST_SLOT), self._max_tokens)

    def _reserve(self, rows: int, room: int) -> None:
        cache = self._cache
        slots, tokens = self._shape(rows, max([room, *(row.room for row in self._rows)]))
        if slots > cache.slots or tokens > cache.tokens:
            larger = max(slots, cache.slots), max(tokens, cache.tokens)
            allowed = larger[0] * larger[1] <= self._max_tokens
            cache.resize(*(larger if allowed else (slots, tokens)), len(self._rows))
        elif not self._rows and cache.tokens > _OVERSIZED * tokens:  # something very long has gone
            cache.resize(slots, tokens, 0)


class _SlotCache(Cache):
    """The tensors; to a model's attention layers, the part of them at which it was last aimed."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.slots = 0
        self.tokens = 0  # in each slot
        self._keys: list[Tensor] = []  # of each layer, (slots, H, tokens, D)
        self._values: list[Tensor] = []
        self._first = self._end = self._start = self._width = 0
        self._places: tuple[Tensor, Tensor] | None = None  # row and position of each row's next token

    def aim_at_block(self, first: int, end: int, start: int) -> None:
        """The next pass fills these slots from position `start` on."""
        self._first, self._end, self._start, self._places = first, end, start, None

    def aim_at_ends(self, first: int, end: int, positions: Tensor, width: int) -> None:
        """The next pass appends one token to each of these slots, and looks at `width` tokens of each."""
        self._first, self._end, self._start, self._width = first, end, width - 1, width
        self._places = torch.arange(end - first, device=positions.device), positions

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        while len(self._keys) <= layer_idx:
            self._keys.append(self._empty(key_states))
            self._values.append(self._empty(value_states))
        return self._put(self._keys[layer_idx], key_states), self._put(self._values[layer_idx], value_states)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._start

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return self._start + query_length, 0

    def resize(self, slots: int, tokens: int, rows: int) -> None:
        """Other tensors, with the same in the first `rows` slots.

        Raises:
            CacheLost: there is no memory for them, and the old ones are gone.
        """
        kept = min(tokens, self.tokens)
        self.slots, self.tokens = slots, tokens
        try:
            for tensors in (self._keys, self._values):  # one by one: there is no room for all of them twice
                for layer, old in enumerate(tensors):
                    tensors[layer] = self._empty(old)
                    tensors[layer][:rows, :, :kept] = old[:rows, :, :kept]
        except BaseException as error:
            self.slots = self.tokens = 0
            for tensors in (self._keys, self._values):
                tensors[:] = [self._empty(old) for old in tensors]
            if not isinstance(error, Exception) or not rows:
                raise
            raise CacheLost(f"no memory for a cache of {slots} x {tokens} tokens: {error}") from error

    def copy(self, source: int, target: int, length: int) -> None:
        for tensor in (*self._keys, *self._values):
            tensor[target, :, :length] = tensor[source, :, :length]

    def wipe(self, first: int, end: int) -> None:
        """Numbers that are none would reach later rows even from behind a mask."""
        for tensor in (*self._keys, *self._values):
            tensor[first:end] = 0

    def cut(self, slot: int, length: int) -> _Prefix:
        pairs = zip(self._keys, self._values, strict=True)
        return [(keys[slot, :, :length].clone(), values[slot, :, :length].clone()) for keys, values in pairs]

    def paste(self, slot: int, prefix: _Prefix, length: int) -> None:
        for (keys, values), own_keys, own_values in zip(prefix, self._keys, self._values, strict=True):
            own_keys[slot, :, :length] = keys[:, :length]
            own_values[slot, :, :length] = values[:, :length]

    def _empty(self, like: Tensor) -> Tensor:
        return like.new_zeros(self.slots, like.shape[1], self.tokens, like.shape[3])

    def _put(self, tensor: Tensor, new: Tensor) -> Tensor:
        """Write the new (B, H, N, D) where the pass was aimed at; returns all that it attends to."""
        aimed = tensor[self._first : self._end]
        if self._places is None:
            end = self._start + new.shape[2]
            aimed[:, :, self._start : end] = new
            return aimed[:, :, :end]
        rows, positions = self._places
        aimed[rows, :, positions] = new[:, :, 0]
        return aimed[:, :, : self._width]


def _rounded(number: int) -> int:
    return -(-number // _ROUNDED) * _ROUNDED


def _doubled(number: int, smallest: int) -> int:
    size = smallest
    while size < number:
        size *= 2
    return size

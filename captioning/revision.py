"""Captions revised: what a judge finds false is written anew, from the first false word on.

The words before it stay, the token that came there may not come there again, and the model goes on from
that place as it likes: a search depth first, without a second model. Knows neither judges nor engines; who
has both asks, judges and lets the revision hear of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from captioning.generation import Generation, GenerationRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Judged = TypeVar("Judged")

MOST_DRAFTS = 9  # of one caption, the first included


@dataclass(frozen=True)
class Draft(Generic[Judged]):
    text: Generation
    judged: Judged  # whatever the judge had to say
    faults: Sequence[int]  # the character at which each false claim goes wrong
    n_true: int  # claims that are true


class Revision(Generic[Judged]):
    """The drafts of one text, and what to ask for next."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, request: GenerationRequest, index: int = 0
    ) -> None:
        """`request` is what was asked for at first, and `index` the text's place among its texts."""
        seed = None if request.seed is None else request.seed + index
        self._request = replace(request, n=1, seed=seed)
        self._tokenizer = tokenizer
        self._not_next: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)  # by what comes before
        self._drafts: list[Draft[Judged]] = []
        self._written = 0

    def hear(self, draft: Draft[Judged]) -> GenerationRequest | None:
        """What to ask for after this draft; None: nothing, it is right or there have been enough of them."""
        self._written += draft.text.completion_tokens - len(self._request.begin)
        self._drafts.append(draft)
        if not draft.faults or len(self._drafts) == MOST_DRAFTS:
            return None
        begin, token = self._split(draft.text.text, min(draft.faults))
        self._not_next[begin].append(token)
        self._request = replace(self._request, begin=begin, not_next=tuple(self._not_next[begin]))
        return self._request

    @property
    def first(self) -> Draft[Judged]:
        return self._drafts[0]

    @property
    def best(self) -> Draft[Judged]:
        """The draft that says the least that is false, of these the one that says the most that is true.

        Its tokens are those that all drafts took.
        """
        found = min(self._drafts, key=lambda draft: (len(draft.faults), -draft.n_true))
        return replace(found, text=replace(found.text, completion_tokens=self._written))

    def _split(self, text: str, place: int) -> tuple[tuple[int, ...], int]:
        """The tokens before that character, and the one that it belongs to."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        index = next(
            (index for index in range(len(ids)) if len(self._text(ids[: index + 1])) > place), len(ids) - 1
        )
        return tuple(ids[:index]), ids[index]

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

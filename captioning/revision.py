"""Captions revised: what a judge finds false is written anew, from the first false word on.

The words before it stay, the token that came there may not come there again, and the model goes on from
that place as it likes: a search depth first, without a second model. A `Revision` knows neither judges nor
engines; who has both asks, judges and lets it hear of that. `revise` does so with an engine at hand.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from captioning.generation import Generation, GenerationRequest
from faithfulness import Facts, check, read_facts
from rendering import Drawing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from captioning.caption_engine import CaptionEngine

Judged = TypeVar("Judged")

_log = logging.getLogger(__name__)

MOST_DRAFTS = 9  # of one caption, the first included


@dataclass(frozen=True)
class Draft(Generic[Judged]):
    text: Generation
    judged: Judged  # whatever the judge had to say
    faults: Sequence[int]  # the character at which each false claim goes wrong
    n_true: int  # claims that are true


class Work(NamedTuple):
    """What was asked for a drawing, and what was written."""

    drawing: Drawing
    request: GenerationRequest
    texts: Sequence[Generation]


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


def revise(engine: CaptionEngine, works: Sequence[Work]) -> list[list[Generation]]:
    """The texts of each, or better ones; `faithfulness` judges, in this process."""
    revisions = [
        (Revision[None](engine.tokenizer, work.request, index), text, facts)
        for work in works
        for facts in [_facts(work.drawing)]
        for index, text in enumerate(work.texts)
    ]
    asked = [
        (revision, request, facts)
        for revision, text, facts in revisions
        if (request := _heard(revision, text, facts))
    ]
    while asked:
        drafts = engine.generate([request for _, request, _ in asked])
        asked = [
            (revision, request, facts)
            for (revision, _, facts), text in zip(asked, drafts, strict=True)
            if (request := _heard(revision, text, facts))
        ]
    best = iter(revision.best.text for revision, *_ in revisions)
    return [[next(best) for _ in work.texts] for work in works]


def _facts(drawing: Drawing) -> Facts | None:
    try:
        return read_facts(drawing)
    except Exception:  # noqa: BLE001 - geometry of any kind; a caption must not be lost for a better one
        _log.warning("a drawing cannot be judged: its captions are not revised", exc_info=True)
        return None


def _heard(revision: Revision[None], text: Generation, facts: Facts | None) -> GenerationRequest | None:
    if facts is None:
        return revision.hear(Draft(text, None, [], 0))
    checked = check(text.text, facts)
    return revision.hear(Draft(text, None, checked.faults, checked.count("true")))

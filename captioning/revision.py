"""Captions revised: what a judge finds false is written anew, from the first false word on.

The words before it stay, the token that came there may not come there again, and the model goes on from
that place as it likes: a search depth first, without a second model. A `Revision` knows neither judges nor
engines; who has both asks, judges and lets it hear of that. `Revising` does so with an engine at hand.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from captioning.errors import EngineClosed
from captioning.generation import Generation, GenerationRequest
from captioning.prompt import clean_caption
from captioning.ticket import Ticket
from faithfulness import Facts, check, read_facts
from rendering import Drawing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from captioning.caption_engine import CaptionEngine

Judged = TypeVar("Judged")

_log = logging.getLogger(__name__)

MOST_DRAFTS = 9  # of one caption, the first included
_FALSE = 2  # a false claim takes away what so many true ones give


@dataclass(frozen=True)
class Draft(Generic[Judged]):
    text: Generation
    judged: Judged  # whatever the judge had to say
    faults: Sequence[int]  # the character at which each false claim goes wrong
    n_true: int  # claims that are true

    @property
    def worth(self) -> tuple[bool, bool, int]:
        """A text that says nothing or breaks off is worth less than any other, whatever it leaves unsaid."""
        is_whole = self.text.finish_reason == "stop"
        return bool(self.text.text), is_whole, self.n_true - _FALSE * len(self.faults)


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
        is_best = max(self._drafts, key=lambda one: one.worth) is draft
        if (is_best and not draft.faults) or len(self._drafts) == MOST_DRAFTS:
            return None
        tokens, begun = draft.text.tokens, len(self._request.begin)
        index = self._index_at(tokens, min(draft.faults)) if draft.faults else begun
        begin = tokens[:index]
        self._not_next[begin].append(tokens[index])
        self._request = replace(self._request, begin=begin, not_next=tuple(self._not_next[begin]))
        return self._request

    @property
    def first(self) -> Draft[Judged]:
        return self._drafts[0]

    @property
    def best(self) -> Draft[Judged]:
        """The first of those that are worth most.

        Its tokens are those that all drafts took.
        """
        found = max(self._drafts, key=lambda draft: draft.worth)
        return replace(found, text=replace(found.text, completion_tokens=self._written))

    def _index_at(self, tokens: Sequence[int], place: int) -> int:
        """The token that the character belongs to."""
        for end in range(1, len(tokens)):
            text = str(self._tokenizer.decode(list(tokens[:end]), skip_special_tokens=True))
            if len(clean_caption(text)) > place:
                return end - 1
        return len(tokens) - 1


class Revising:
    """A drawing's texts and their drafts, under way in an engine; `faithfulness` judges, in this process.

    Nothing here waits: `advance` whenever `wake` has been called. A draft that fails costs only itself.
    """

    def __init__(self, engine: CaptionEngine, work: Work, wake: Callable[[], object]) -> None:
        self._engine, self._wake = engine, wake
        self._facts = _facts(work.drawing)
        self._revisions = [
            Revision[None](engine.tokenizer, work.request, index) for index in range(len(work.texts))
        ]
        self._asked: dict[Revision[None], Ticket] = {}
        for revision, text in zip(self._revisions, work.texts, strict=True):
            self._hear(revision, text)

    def advance(self) -> bool:
        """Judge what has been written and ask for what comes next; whether nothing is under way any more.

        Raises:
            EngineClosed: the engine broke down for good.
        """
        for revision, ticket in list(self._asked.items()):
            if ticket.done:
                del self._asked[revision]
                try:
                    [text] = ticket.result()
                except EngineClosed:
                    raise
                except Exception:  # noqa: BLE001 - torch raises many; a caption must not be lost for a better one
                    _log.warning("a caption is not revised to the end", exc_info=True)
                else:
                    self._hear(revision, text)
        return not self._asked

    @property
    def texts(self) -> list[Generation]:
        """The best of what has been written."""
        return [revision.best.text for revision in self._revisions]

    def cancel(self) -> None:
        for ticket in self._asked.values():
            ticket.cancel()

    def _hear(self, revision: Revision[None], text: Generation) -> None:
        request = revision.hear(self._judged(text))
        if request:
            self._asked[revision] = self._engine.submit(request)
            self._asked[revision].when_done(self._wake)

    def _judged(self, text: Generation) -> Draft[None]:
        try:
            checked = check(text.text, self._facts) if self._facts else None
        except Exception:  # noqa: BLE001 - as above
            _log.warning("a caption cannot be judged", exc_info=True)
            checked = None
        return Draft(text, None, checked.faults if checked else [], checked.count("true") if checked else 0)


def revise(engine: CaptionEngine, works: Sequence[Work]) -> list[list[Generation]]:
    """The texts of each, or better ones; waits for them.

    Raises:
        EngineClosed: the engine broke down for good.
    """
    news = threading.Event()
    revising: list[Revising] = []
    try:
        revising += (Revising(engine, work, news.set) for work in works)
        while True:
            done = [one.advance() for one in revising]
            if all(done):
                return [one.texts for one in revising]
            news.wait()
            news.clear()
    finally:
        for one in revising:
            one.cancel()


def _facts(drawing: Drawing) -> Facts | None:
    try:
        return read_facts(drawing)
    except Exception:  # noqa: BLE001 - geometry of any kind; a caption must not be lost for a better one
        _log.warning("a drawing cannot be judged: its captions are not revised", exc_info=True)
        return None

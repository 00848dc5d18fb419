"""A text that grows token by token: its pieces as they become certain, and the strings that end it.

Who writes gives all of the text each time. A token alone says little: a character may take several, and
decoders look at their neighbours. Captions are short.
"""

from __future__ import annotations

from collections.abc import Sequence

from captioning.prompt import clean_caption

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what decoders write for the first bytes of a character


class TextStream:
    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = stop
        self._raw = ""
        self._sent = ""
        self.stopped = False  # at one of the strings of `stop`

    def hear(self, raw: str) -> None:
        """Hear all that has been written so far."""
        ends = [place for string in self._stop if (place := raw.find(string)) >= 0]
        self.stopped = bool(ends)
        self._raw = raw[: min(ends)] if ends else raw

    @property
    def text(self) -> str:
        """All of it, as one clean line."""
        return clean_caption(self._raw)

    def piece(self, *, last: bool = False) -> str:
        """What has become certain since the last piece; the last one is all that is left."""
        text = self.text if last or self.stopped else clean_caption(self._certain())
        if not text.startswith(self._sent):  # a decoder that takes back what it said
            return ""
        piece, self._sent = text[len(self._sent) :], text
        return piece

    def _certain(self) -> str:
        raw = self._raw.rstrip(_UNFINISHED)
        return raw[: len(raw) - max((_overlap(raw, string) for string in self._stop), default=0)]


def _overlap(text: str, string: str) -> int:
    """Characters at the end of `text` with which `string` may be about to begin."""
    longest = min(len(text), len(string) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(string[:size])), 0)

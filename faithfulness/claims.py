"""What a caption claims: colours, shapes, counts, relations and text, each with the words that say it.

A small grammar reads noun phrases ("two small red circles") and what stands between them. It knows the words
of `vocabulary` and skips the rest: what it cannot read claims nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from typing import Literal

from faithfulness.vocabulary import COLOURS, SHAPES, number
from faithfulness.words import phrase_starts, readings

Kind = Literal["colour", "shape", "count", "relation", "text"]
Relation = Literal["left of", "right of", "above", "below", "inside", "around", "in front of", "behind"]
Span = tuple[int, int]

_TOKEN = re.compile(r"[^\W_]+|[^\w\s]")
_ENDS = frozenset(", ; : . ! ? ( )".split())
_MODIFIERS = frozenset(
    """small large big tiny little huge thin thick bold long short tall wide solid filled outlined outline
    hollow rounded round light dark bright pale plain simple concentric identical equal horizontal vertical
    parallel diagonal rising falling""".split()
)
_DRAWN_AS = {"bar": "rectangle", "stripe": "rectangle", "dot": "circle", "point": "circle", "disc": "circle"}
_GROUNDS = frozenset("background backdrop ground canvas".split())
_FRAMES = frozenset("row column grid group pair".split())
_LAYOUTS = frozenset(["circle", "ring", "cross"])  # as in: nine stars in a circle
_NO_NOUNS = frozenset("and in on of with at is are that which the to from o s".split())
_TEXT_WORDS = frozenset("word text letter number words letters digit label".split())
_SENTENCE_ENDS = frozenset(". : ; ! ?".split())
_SAME = frozenset("is are as".split())  # as in: it is a red circle; drawn as a red circle
_PARTS_OF_SHAPES = frozenset("outline border edge frame shape form symbol icon".split())
_SAYING = frozenset("says saying reads reading".split())
_AFTER_TEXT = frozenset("that in on with of written and".split()) | _SAYING
_WORD = re.compile(r"[\w&%+#@'.-]*\w")
_LONGEST_PHRASE = 40  # tokens
_QUOTED = re.compile(
    r"[\"\u201c\u00ab]([^\"\u201d\u00bb]{1,60})[\"\u201d\u00bb]|(?<!\w)['\u2018]([^'\u2019]{1,60})['\u2019](?!\w)"
)
_RELATIONS: dict[Relation, tuple[str, ...]] = {
    "left of": ("left of", "to the left of", "on the left of", "left from"),
    "right of": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath", "underneath"),
    "inside": ("inside", "inside of", "within", "in the middle of"),
    "in front of": ("in front of", "on top of"),
    "behind": ("behind",),
    "around": ("around", "surrounding", "enclosing", "containing"),
}
_PLACES: dict[str, Relation] = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}
_ORDERS: dict[tuple[str, ...], Relation] = {
    ("from", "left", "to", "right"): "left of",
    ("from", "right", "to", "left"): "right of",
    ("from", "top", "to", "bottom"): "above",
    ("from", "bottom", "to", "top"): "below",
}


@dataclass(frozen=True)
class Mention:
    """A noun phrase about something drawn."""

    colours: tuple[str, ...] = ()
    shape: str | None = None  # one of the vocabulary's; None: another noun, or none
    count: int | None = None  # what a number says; None where only an article stands
    noun: str = ""
    is_ground: bool = False
    span: Span = (0, 0)
    introduced: int = 0  # things not spoken of before in its sentence, by number or article; 0 after "the"
    sentence: int = 0  # a later one may speak of the same things again


@dataclass(frozen=True)
class Claim:
    kind: Kind
    span: Span  # the characters of the caption that say it
    about: Mention
    value: str  # a colour, a shape, a number, a relation or a place, or the text
    other: Mention | None = None  # of a relation; None: of the canvas


@dataclass(frozen=True)
class _Token:
    word: str
    span: Span


def read_claims(caption: str) -> list[Claim]:
    """In the order of the caption; what is said twice is claimed twice."""
    text_claims = list(_texts(caption))
    hidden = [claim.span for claim in text_claims]
    tokens = [
        _Token(match[0].casefold(), match.span())
        for match in _TOKEN.finditer(caption)
        if not any(start <= match.start() < end for start, end in hidden)
    ]
    mentions = list(_mentions(tokens))
    found = [
        *text_claims,
        *_of_mentions(mentions),
        *_relations(caption, tokens, [one for one, *_ in mentions]),
    ]
    return sorted(found, key=lambda claim: claim.span)


def _texts(caption: str) -> Iterator[Claim]:
    """Quoted words, and what stands after `the word`, `says` and the like."""
    for match in _QUOTED.finditer(caption):
        group = 1 if match[1] else 2
        yield Claim("text", match.span(group), Mention(), match[group].strip())
    words = list(_WORD.finditer(caption))
    for index, match in enumerate(words[:-1]):
        first = words[index + 1]
        if _introduces(match[0].casefold(), first[0]) and not _is_quoted(caption, first.start()):
            end = _end_of_text(caption, words[index + 1 :])
            yield Claim("text", (first.start(), end), Mention(), caption[first.start() : end])


def _introduces(word: str, following: str) -> bool:
    """`the word STOP`, `the letter a`, `that says open`; not `text in red`."""
    if following.casefold() in _AFTER_TEXT:
        return False
    is_name = following[0].isupper() or following[0].isdigit() or word in ("letter", "number")
    return word in _SAYING or (word in _TEXT_WORDS and is_name)


def _end_of_text(caption: str, words: Sequence[re.Match[str]]) -> int:
    """The text goes on with words that begin with a capital."""
    end = words[0].end()
    for later in words[1:]:
        if (
            caption[end : later.start()] != " "
            or not later[0][0].isupper()
            or later[0].casefold() in _AFTER_TEXT
        ):
            break
        end = later.end()
    return end


def _is_quoted(caption: str, start: int) -> bool:
    return start > 0 and caption[start - 1] in "\"'\u201c\u2018\u00ab"


def _mentions(tokens: Sequence[_Token]) -> Iterator[tuple[Mention, dict[str, Span]]]:
    """Noun phrases that say something, with the span of each thing said."""
    index = sentence = 0
    while index < len(tokens):
        sentence += tokens[index].word in _SENTENCE_ENDS
        mention, spans, length = _phrase(tokens[index : index + _LONGEST_PHRASE])
        before = tokens[index - 1].word if index else ""
        after = tokens[index + length].word if index + length < len(tokens) else ""
        is_layout = before == "in" and mention and mention.shape in _LAYOUTS
        if mention and not is_layout:
            says_again = before in _SAME or after in _PARTS_OF_SHAPES
            introduced = 0 if says_again else mention.introduced
            yield replace(mention, introduced=introduced, sentence=sentence), spans
        index += max(length, 1)


def _phrase(tokens: Sequence[_Token]) -> tuple[Mention | None, dict[str, Span], int]:
    """The noun phrase that begins here, and how many tokens it takes."""
    words = [token.word for token in tokens]
    spans: dict[str, Span] = {}
    count, colours, index = None, [], 0
    found = number(words[0])
    if found is not None:
        if words[0] not in ("a", "an"):
            count, spans["count"] = found, tokens[0].span
        index = 1
    while index < len(words):
        word = words[index]
        if word in COLOURS:
            colours.append(COLOURS[word])
            spans[f"colour {len(colours) - 1}"] = tokens[index].span
        elif not (
            word in _MODIFIERS or (colours and word in ("and", ",", "-") and _colour_follows(words, index))
        ):
            break
        index += 1
    shape, length = _shape(words[index:])
    noun = "" if shape or index >= len(words) or words[index] in _ENDS | _NO_NOUNS else words[index]
    if shape and _frames_things(words[index + length :], shape):
        return None, {}, index + length
    if shape:
        spans["shape"] = (tokens[index].span[0], tokens[index + length - 1].span[1])
    if not spans:
        return None, {}, index
    singular = min(readings(noun), key=len) if noun else ""
    ends = index + (length or bool(noun))
    mention = Mention(
        tuple(colours), shape or _DRAWN_AS.get(singular), count, singular, singular in _GROUNDS,
        (tokens[0].span[0], tokens[max(ends - 1, 0)].span[1]), found or 0,
    )  # fmt: skip
    return mention, spans, max(ends, 1)


def _colour_follows(words: Sequence[str], index: int) -> bool:
    return index + 1 < len(words) and words[index + 1] in COLOURS


def _shape(words: Sequence[str]) -> tuple[str | None, int]:
    found = [phrase for phrase in SHAPES if phrase_starts(words, phrase)]
    longest = max(found, key=len, default=())
    return (SHAPES[longest], len(longest)) if longest else (None, 0)


def _frames_things(following: Sequence[str], shape: str) -> bool:
    """Whether a shape word names an arrangement or a part of a name: `in a circle`, `a circle of stars`."""
    return list(following[:1]) in (["of"], ["chart"], ["flag"]) and shape in (
        "circle",
        "ring",
        "cross",
        "star",
    )


def _of_mentions(mentions: Sequence[tuple[Mention, dict[str, Span]]]) -> Iterator[Claim]:
    for mention, spans in mentions:
        for index, colour in enumerate(mention.colours):
            yield Claim("colour", spans[f"colour {index}"], mention, colour)
        if "shape" in spans and mention.shape:
            yield Claim("shape", spans["shape"], mention, mention.shape)
        if "count" in spans and mention.noun not in _FRAMES and (mention.noun or mention.shape):
            yield Claim("count", spans["count"], mention, str(mention.count))


def _relations(caption: str, tokens: Sequence[_Token], mentions: Sequence[Mention]) -> Iterator[Claim]:
    things = [one for one in mentions if not one.is_ground and (one.colours or one.shape)]
    for one, other in zip_longest(things, things[1:]):
        end = other.span[0] if other else len(caption)
        between = [token for token in tokens if one.span[1] <= token.span[0] < end]
        relation, first = _relation_of([token.word for token in between])
        if relation and other:
            span = between[first].span[0], between[-1].span[1]
            yield Claim("relation", span, one, relation, other)
        elif other and [token.word for token in between[:2]] in (["with"], ["with", "a"], ["with", "an"]):
            yield from _enclosed(
                one, other, next((token for token in tokens if token.span[0] >= other.span[1]), None)
            )
        else:
            yield from _place(one, between)
    yield from _order(tokens, things)


def _relation_of(between: Sequence[str]) -> tuple[Relation | None, int]:
    """What the words between two phrases say of them, and the first of the words that say it.

    Before them the rest of a noun may stand: a yellow stick *figure below* a red sun.
    """
    words = list(between)
    while words and words[-1] in ("a", "an", "the"):
        words.pop()
    for start in range(min(len(words), 3)):
        if any(word in _ENDS or word in ("and", "with") for word in words[:start]):
            break
        said = " ".join(words[start:])
        if found := next((name for name, ways in _RELATIONS.items() if said in ways), None):
            return found, start
    return None, 0


def _enclosed(one: Mention, other: Mention, following: _Token | None) -> Iterator[Claim]:
    """`a circle with a star inside`, `... around it`"""
    if following and following.word in ("inside", "around"):
        yield Claim("relation", following.span, other, following.word, one)


def _place(one: Mention, following: Sequence[_Token]) -> Iterator[Claim]:
    """`on the left`, `at the top`, `in the top left corner`."""
    words = [token.word for token in following]
    if words[:2] not in (["on", "the"], ["at", "the"], ["in", "the"]):
        return
    for token in following[2:4]:
        if token.word not in _PLACES:
            break
        yield Claim("relation", token.span, one, _PLACES[token.word])


def _order(tokens: Sequence[_Token], things: Sequence[Mention]) -> Iterator[Claim]:
    words = tuple(token.word for token in tokens)
    for index in range(len(words) - 3):
        relation = _ORDERS.get(words[index : index + 4])
        if relation:
            span = tokens[index].span[0], tokens[index + 3].span[1]
            for one, other in pairwise(things):
                yield Claim("relation", span, one, relation, other)

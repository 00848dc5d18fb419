"""Claims against facts: true, false, or undecidable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from faithfulness.claims import Claim, Mention, read_claims
from faithfulness.colours import names_of
from faithfulness.facts import Facts, Mark

Verdict = Literal["true", "false", "undecidable"]

_APART = 0.04  # of the longer side: nearer than that nothing is left of anything
_INSIDE = 0.02
_GAP = 0.01  # parts that are so near belong together
_TINY = 0.06
_PARTS = frozenset(["slice", "sector", "wedge"])
_ALIKE = 1.6  # largest to smallest extent of things that are of one kind


@dataclass(frozen=True)
class CheckedClaim:
    claim: Claim
    verdict: Verdict
    fault: int | None = None  # of a false one: the character of the caption from which another word may help


@dataclass(frozen=True)
class Checked:
    claims: tuple[CheckedClaim, ...]
    told: float  # of what there is to tell: shares of the colours' area, the shapes, the texts; 1 for a count
    to_tell: int  # how many of these four the drawing has; a count, where several marks are of one kind

    def count(self, verdict: Verdict) -> int:
        return sum(one.verdict == verdict for one in self.claims)

    @property
    def faults(self) -> list[int]:
        """The characters at which the false claims go wrong."""
        return [one.fault for one in self.claims if one.fault is not None]

    @property
    def precision(self) -> float:
        """The share of decided claims that are true; 0 where nothing decided was said."""
        decided = self.count("true") + self.count("false")
        return self.count("true") / decided if decided else 0.0

    @property
    def recall(self) -> float:
        return self.told / self.to_tell if self.to_tell else 0.0

    @property
    def score(self) -> float:
        """The harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def check(caption: str, facts: Facts) -> Checked:
    claims = tuple(_judged(read_claims(caption), facts))
    said: dict[str, set[str]] = {"colour": set(), "shape": set(), "text": set(), "count": set()}
    for one in claims:
        if one.verdict == "true" and one.claim.kind in said:
            said[one.claim.kind].add(_plain(one.claim.value))
    shapes = Counter(mark.kinds for mark in facts.marks if not mark.is_text)
    shares = [
        _share(_colours_to_tell(facts), said["colour"]),
        _share({kinds: 1 for kinds in shapes if kinds}, said["shape"]),
        _share_of_texts(facts.texts, said["text"]),
        float(bool(said["count"])) if max(shapes.values(), default=0) > 1 else None,
    ]
    present = [share for share in shares if share is not None]
    return Checked(claims, sum(present), len(present))


def _judged(claims: Sequence[Claim], facts: Facts) -> Iterator[CheckedClaim]:
    too_many = [mention.span for mention in _one_too_many(claims, facts)]
    shapes = {claim.about.span: claim.span for claim in claims if claim.kind == "shape"}
    for claim in claims:
        fault = claim.span[0]
        verdict = _verdict(claim, facts)
        if claim.about.span in too_many and claim.kind in ("colour", "shape"):
            too_many.remove(claim.about.span)  # one of its words is false, not all
            verdict = "false"
        elif verdict == "false" and claim.kind == "colour" and _anywhere(claim.value, facts) == "true":
            fault = shapes.get(claim.about.span, claim.span)[0]  # there is such a colour, on another shape
        yield CheckedClaim(claim, verdict, fault if verdict == "false" else None)


def _one_too_many(claims: Sequence[Claim], facts: Facts) -> Iterator[Mention]:
    """Mentions that speak of one more thing, just as others before them, where there is none left."""
    spoken_of: Counter[tuple[object, ...]] = Counter()
    for mention in dict.fromkeys(claim.about for claim in claims):
        if not mention.shape or not mention.introduced or not facts.is_legible:
            continue
        description = mention.sentence, mention.colours, mention.shape, mention.noun
        before, spoken_of[description] = spoken_of[description], spoken_of[description] + mention.introduced
        alike = [mark for mark in facts.marks if _may_be(mark, mention)]
        if 0 < len(alike) < spoken_of[description] and before and not _may_hide_shapes(facts, mention):
            yield mention


def _may_be(mark: Mark, mention: Mention) -> bool:
    return _is_drawn_as(mark, mention) and all(mark.bears(colour) is not False for colour in mention.colours)


def _colours_to_tell(facts: Facts) -> dict[frozenset[str], int]:
    """The area of each colour that takes part of the drawing, by the names that tell it."""
    areas: Counter[frozenset[str]] = Counter()
    for rgb, area in facts.colours.items():
        names = names_of(rgb)
        areas[names.sure or names.possible] += area
    if facts.ground and "white" not in names_of(facts.ground).possible:
        areas[names_of(facts.ground).sure or names_of(facts.ground).possible] += max(
            areas.values(), default=1
        )
    return areas


def _share(weights: Mapping[frozenset[str], int], said: set[str]) -> float | None:
    total = sum(weights.values())
    return sum(weight for names, weight in weights.items() if names & said) / total if total else None


def _share_of_texts(texts: Sequence[str], said: set[str]) -> float | None:
    told = [any(_says(text, one) or _says(one, _plain(text)) for one in said) for text in texts]
    return sum(told) / len(told) if told else None


def _verdict(claim: Claim, facts: Facts) -> Verdict:
    verdict = _JUDGES[claim.kind](claim, facts)
    return "undecidable" if verdict == "false" and not facts.is_legible else verdict


def _colour(claim: Claim, facts: Facts) -> Verdict:
    if claim.about.is_ground:
        if facts.ground is None:
            return (
                "undecidable" if claim.value == "white" or not facts.marks else _anywhere(claim.value, facts)
            )
        names = names_of(facts.ground)
        return (
            "true"
            if claim.value in names.sure
            else "undecidable"
            if claim.value in names.possible
            else "false"
        )
    alike = [mark for mark in facts.marks if claim.about.shape and claim.about.shape in (mark.kinds or ())]
    borne = [mark.bears(claim.value) for mark in alike]
    if not alike or len(claim.about.colours) > 1:
        return _anywhere(claim.value, facts)
    if True in borne:
        return "true"
    if None in borne or any(mark.bears(claim.value) is not False for mark in _strangers(facts)):
        return "undecidable"
    return "false"


def _anywhere(colour: str, facts: Facts) -> Verdict:
    """Whether anything is of that colour; an unpainted canvas may well be called white."""
    names = [names_of(rgb) for rgb in facts.colours] + ([names_of(facts.ground)] if facts.ground else [])
    if any(colour in one.sure for one in names):
        return "true"
    is_paper = colour == "white" and facts.ground is None
    return "undecidable" if is_paper or any(colour in one.possible for one in names) else "false"


def _shape(claim: Claim, facts: Facts) -> Verdict:
    if any(claim.value in (mark.kinds or ()) for mark in facts.marks):
        return "true"
    if claim.value == "ring" and _has_concentric_circles(facts):
        return "true"
    return "undecidable" if _may_hide_shapes(facts, claim.about) else "false"


def _count(claim: Claim, facts: Facts) -> Verdict:
    wanted = int(claim.value)
    if claim.about.noun in _PARTS:
        parts = sum(mark.kinds is None and not mark.is_open for mark in facts.marks)
        return "true" if parts == wanted else "false" if parts > 1 else "undecidable"
    if claim.about.shape is None:
        return _count_of_things(wanted, claim.about, facts)
    alike = _marks_of(claim.about, facts) or _tiny_marks(facts)
    if len(alike) == wanted:
        return "true"
    if not alike or not _are_alike(alike, claim.about) or _may_hide_shapes(facts, claim.about):
        return "undecidable"
    return "false"


def _tiny_marks(facts: Facts) -> list[Mark]:
    """What people may call stars or dots, if all are of one kind."""
    tiny = [mark for mark in facts.marks if mark.kinds and _extent(mark.box) < _TINY]
    return tiny if len({mark.kinds for mark in tiny}) == 1 else []


def _are_alike(marks: Sequence[Mark], mention: Mention) -> bool:
    """Whether marks are surely what is counted: bars and dots are of one width or height."""
    if not mention.noun or mention.colours:
        return True
    boxes = np.array([mark.box for mark in marks])
    extents = boxes[:, 2:] - boxes[:, :2]
    return bool((extents.max(axis=0) < _ALIKE * extents.min(axis=0)).any())


def _count_of_things(wanted: int, mention: Mention, facts: Facts) -> Verdict:
    """Marks that touch are one thing; things of one size are taken for the things that are counted."""
    lines = [mark for mark in facts.marks if mark.is_open]
    if mention.noun == "line" and lines and len(lines) == len(facts.marks):
        return "true" if len(lines) == wanted else "false"
    own = _marks_of(mention, facts) if mention.colours else []
    if own and own[0].kinds and len({mark.kinds for mark in own}) == 1 and _are_uniform(_boxes(own)):
        numbers = {len(own), len(_clusters(own))}
        return "true" if wanted in numbers else "false" if max(numbers) > 1 else "undecidable"
    things = _clusters([mark for mark in facts.marks if not mark.is_text])
    if len(things) == wanted:
        return "true"
    return "false" if len(things) > 1 and _are_uniform(things) else "undecidable"


def _are_uniform(boxes: Sequence[Box]) -> bool:
    extents = [_extent(box) for box in boxes]
    return max(extents) < _ALIKE * min(extents)


def _relation(claim: Claim, facts: Facts) -> Verdict:
    ours = _marks_meant(claim.about, facts)
    theirs = _marks_meant(claim.other, facts) if claim.other else []
    if not ours or (claim.other and not theirs):
        return "undecidable"
    match claim.value:
        case "inside":
            return "true" if _is_inside(_around(ours), _around(theirs)) else "false"
        case "around":
            return "true" if _is_inside(_around(theirs), _around(ours)) else "false"
        case "in front of" | "behind":
            front, back = (ours, theirs) if claim.value == "in front of" else (theirs, ours)
            return _is_before(front, back, facts)
    axis, sign = {"left of": (1, 1), "right of": (1, -1), "above": (0, 1), "below": (0, -1)}[claim.value]
    other = _middle(theirs)[axis] if theirs else facts.shape[axis] / 2
    gap = sign * (other - _middle(ours)[axis]) / max(facts.shape)
    return "true" if gap > _APART else "false" if gap < -_APART else "undecidable"


def _is_before(front: Sequence[Mark], back: Sequence[Mark], facts: Facts) -> Verdict:
    """Who was painted later, where the two overlap."""
    if not _touch(_around(front), _around(back)):
        return "false"
    order = {id(mark): index for index, mark in enumerate(facts.marks)}
    first, last = min(order[id(mark)] for mark in front), max(order[id(mark)] for mark in back)
    if first > last:
        return "true"
    return (
        "false"
        if max(order[id(mark)] for mark in front) < min(order[id(mark)] for mark in back)
        else "undecidable"
    )


def _middle(marks: Sequence[Mark]) -> tuple[float, float]:
    """The mean row and column of the cells in which they are seen."""
    rows, columns = np.nonzero(np.logical_or.reduce([mark.cells for mark in marks]))
    return float(rows.mean()), float(columns.mean())


def _text(claim: Claim, facts: Facts) -> Verdict:
    said = _plain(claim.value)
    if not said:
        return "undecidable"
    if any(_says(text, said) for text in (*facts.texts, " ".join(facts.texts))):
        return "true"
    return "false" if facts.texts or not facts.has_strangers else "undecidable"


def _says(text: str, said: str) -> bool:
    """Whether those words stand in the text, whole and in a row."""
    return f" {said} " in f" {_plain(text)} "


_JUDGES = {"colour": _colour, "shape": _shape, "count": _count, "relation": _relation, "text": _text}


def _plain(text: str) -> str:
    return " ".join("".join(char if char.isalnum() else " " for char in text.casefold()).split())


def _strangers(facts: Facts) -> list[Mark]:
    """Shapes that were not recognized, or that are so small that people call them dots or stars."""
    return [mark for mark in facts.marks if mark.kinds is None or (mark.kinds and _extent(mark.box) < _TINY)]


def _has_concentric_circles(facts: Facts) -> bool:
    centres = [
        (round((mark.box[0] + mark.box[2]) / 2, 2), round((mark.box[1] + mark.box[3]) / 2, 2))
        for mark in facts.marks
        if "circle" in (mark.kinds or ())
    ]
    return len(set(centres)) < len(centres)


def _may_hide_shapes(facts: Facts, mention: Mention) -> bool:
    """Whether such a shape may be there unseen: not recognized, or made of several marks."""

    def fits(mark: Mark) -> bool:
        return not mention.colours or any(mark.bears(colour) is not False for colour in mention.colours)

    if any(fits(mark) and not (mention.noun and mark.is_open) for mark in _strangers(facts)):
        return True  # bars and dots are no open lines
    others = [
        mark for mark in facts.marks if fits(mark) and not mark.is_text and not _is_drawn_as(mark, mention)
    ]
    return any(
        set(one.colours) & set(other.colours) and _touch(one.box, other.box)
        for index, one in enumerate(others)
        for other in others[:index]
    )


def _marks_of(mention: Mention, facts: Facts) -> list[Mark]:
    """Marks of the shape that surely bear the colour or, where there are none, at a stretch."""
    shaped = [mark for mark in facts.marks if mention.shape is None or _is_drawn_as(mark, mention)]
    if not mention.colours:
        return shaped
    borne = [[mark.bears(colour) for colour in mention.colours] for mark in shaped]
    sure = [mark for mark, found in zip(shaped, borne, strict=True) if True in found]
    return sure or [mark for mark, found in zip(shaped, borne, strict=True) if None in found]


def _is_drawn_as(mark: Mark, mention: Mention) -> bool:
    """Bars and stripes may be square."""
    kinds = mark.kinds or frozenset()
    return mention.shape in kinds or (
        mention.shape == "rectangle" and bool(mention.noun) and "square" in kinds
    )


Box = tuple[float, float, float, float]


def _marks_meant(mention: Mention, facts: Facts) -> list[Mark]:
    """What the phrase may speak of; by colour alone where no such shape is recognized."""
    marks = _marks_of(mention, facts)
    return marks or (_marks_of(Mention(mention.colours), facts) if mention.colours else [])


def _boxes(marks: Sequence[Mark]) -> list[Box]:
    return [mark.box for mark in marks]


def _around(marks: Sequence[Mark]) -> Box:
    return _union(_boxes(marks))


def _union(boxes: Sequence[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _is_inside(inner: Box, outer: Box) -> bool:
    return (
        inner[0] > outer[0] - _INSIDE
        and inner[1] > outer[1] - _INSIDE
        and inner[2] < outer[2] + _INSIDE
        and inner[3] < outer[3] + _INSIDE
    )


def _extent(box: Box) -> float:
    left, top, right, bottom = box
    return max(right - left, bottom - top)


def _touch(one: Box, other: Box, gap: float = 0.0) -> bool:
    return (
        one[0] < other[2] + gap
        and other[0] < one[2] + gap
        and one[1] < other[3] + gap
        and other[1] < one[3] + gap
    )


def _clusters(marks: Sequence[Mark]) -> list[Box]:
    """Boxes of marks whose boxes overlap, each around all of them."""
    found: list[Box] = []
    for mark in marks:
        box = mark.box
        while touching := [one for one in found if _touch(one, box, _GAP)]:
            found = [one for one in found if one not in touching]
            box = _union([box, *touching])
        found.append(box)
    return found

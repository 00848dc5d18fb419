"""From an icon's name to English: `bell-off-outline` is an outline icon of a bell with a slash."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from training.corpora.icon_packages import IconStyle
from training.corpora.icon_words import (
    ACTIONS,
    ADJECTIVES,
    ARROWS,
    BADGES,
    CLASSES,
    COLOUR_WORDS,
    DIGITS,
    DIRECTIONS,
    DROPPED,
    ENCLOSURES,
    FINGERS,
    INSIDE,
    LEADING_ENCLOSURES,
    LONGEST_NOUN,
    MASS,
    NOUNS,
    NUMBERED,
    OPPOSITE,
    OTHER_WORDS,
    PLURAL_FIRST,
    POSITIONAL,
    SINGULAR_S,
    SPELLINGS,
    STYLE,
    UNSPOKEN,
    VERBS,
)
from training.corpora.wording import a, bare, join, sentence

_EDGES = ("rounded", "dashed", "dotted")
_UNSPOKEN_AGE = re.compile(r"0\d0\dm?")  # months: `baby-0306m`
_AROUND_ARROWS = ("rectangle", "hexagon")
_BESIDE_ARROWS = "bar|pipe|rhombus|stack|tag|tail|tray"
_BESIDE = ("arrow", "arrows", "chevron", "chevrons")
_TOWARDS = ("from", "to", "on")
_ARROW_AND_WAYS = re.compile(
    r"\b((?:arrow|chevron|caret)s?) ((?:up|top|down|bottom|left|right)(?: (?:up|down|left|right))*)"
    rf"(?: (?P<beside>{_BESIDE_ARROWS})| (?P<towards>from|to|on) (?P<end>\w+(?: stack)?))?$"
)
_ENCLOSED = ("letter", "number", "parking", "chart")


@dataclass(frozen=True)
class IconName:
    """What a name says about the drawing."""

    concept: str  # the main thing, in the words that all families share
    adjectives: tuple[str, ...] = ()
    badges: tuple[str, ...] = ()  # what stands beside it: "a plus sign"
    enclosure: str = ""  # the shape around it
    is_action: bool = False  # the name tells what a button does, not a thing

    @property
    def noun(self) -> str:
        return " ".join((*self.adjectives, self.concept))


def parse_name(name: str, known: Collection[str] = ()) -> IconName:
    """The parts of an icon's name; `known` are the other names of its family.

    A last word counts as an addition ("lock" in `folder-lock`) only where the name without it is
    an icon of its own: the star in `sea-star` stands beside no sea.
    """
    tokens = _tokens(name)
    peeler = _Peeler(tokens, known, _inner_enclosure(tokens, known))
    while peeler.peel():
        pass
    noun = _noun(tokens)
    is_action = noun.split()[0] in ACTIONS or (_is_verb(tokens) and noun not in OTHER_WORDS)
    adjectives = tuple(word for word in peeler.adjectives if not noun.startswith(f"{word} "))
    return IconName(noun, adjectives, tuple(peeler.badges), peeler.enclosure, is_action)


def _is_verb(tokens: Sequence[str]) -> bool:
    return not VERBS.isdisjoint((tokens[0], "-".join(tokens[:2])))


@dataclass
class _Peeler:
    """Takes the additions off the end of a name's words, one at a time, until the thing is left."""

    tokens: list[str]
    known: Collection[str]
    enclosure: str
    adjectives: list[str] = field(default_factory=list)
    badges: list[str] = field(default_factory=list)

    def peel(self) -> bool:
        if len(self.tokens) == 1 or tuple(self.tokens) in NOUNS:
            return False
        if self._is_variant() or self._take_enclosure():
            self.tokens.pop()
            return True
        return not self._is_action and (self._take_badge() or self._take_adjective())

    @property
    def _is_known(self) -> bool:
        """Whether the name without its last word is an icon too."""
        base = self.tokens[:-1]
        return "-".join(base) in self.known or tuple(base) in NOUNS

    @property
    def _is_action(self) -> bool:
        return self.tokens[0] in ACTIONS and (self.tokens[0],) not in NOUNS

    @property
    def _has_direction(self) -> bool:
        """Whether "left" at the end tells where the thing points or stands, not of an arrow beside it."""
        first, second = self.tokens[:2]
        return first in ARROWS | POSITIONAL or (first == "hand" and second in FINGERS)

    def _is_variant(self) -> bool:
        first, last = self.tokens[0], self.tokens[-1]
        return self._is_known and (last in DROPPED or (last.isdigit() and first not in NUMBERED))

    def _take_enclosure(self) -> bool:
        """Circles and squares surround anything, other shapes only signs: `baseball-diamond` is none."""
        *others, last = self.tokens
        if self.enclosure or last not in ENCLOSURES:
            return False
        if last not in ("circle", "square") and not (
            self._is_known
            and (last == "box" or others[0] in BADGES or (others[0] in ARROWS and last in _AROUND_ARROWS))
        ):
            return False
        if others[-1] in _TOWARDS:
            return False
        self.enclosure = ENCLOSURES[last]
        return True

    def _take_badge(self) -> bool:
        if self._take_arrow():
            return True
        if self._has_direction:
            return False
        pair, last = "-".join(self.tokens[-2:]), self.tokens[-1]
        if len(self.tokens) > 2 and pair in BADGES:
            self.badges.insert(0, BADGES[pair])
            del self.tokens[-2:]
            return True
        badge = f"an arrow pointing {last}" if last in ("up", "down", "left", "right") else BADGES.get(last)
        if badge is None or not self._is_known:
            return False
        self.badges.insert(0, badge)
        self.tokens.pop()
        return True

    def _take_arrow(self) -> bool:
        """`phone-arrow-up-right`, `thermometer-chevron-down`; other single arrows are among the badges."""
        count = _count_directions(self.tokens)
        *base, sign = self.tokens[: len(self.tokens) - count]
        if sign not in _BESIDE or not base or not count:
            return False
        is_known = "-".join(base) in self.known or tuple(base) in NOUNS
        if not is_known or (sign == "arrow" and count == 1 and base[0] != "box"):
            return False
        ways = self.tokens[-count:]
        if sign.endswith("s"):
            self.badges.insert(0, f"{sign} {_pointed(ways)}")
        elif _is_diagonal(ways):
            self.badges.insert(0, a(f"{sign} {_pointed(ways)}"))
        else:
            self.badges[:0] = [a(f"{sign} {_pointed([way])}") for way in ways]
        self.tokens[:] = base
        return True

    def _take_adjective(self) -> bool:
        first, last = self.tokens[0], self.tokens[-1]
        if last not in ADJECTIVES or not (self._is_known or first == "number"):
            return False
        self.adjectives.insert(0, ADJECTIVES[last])
        self.tokens.pop()
        return True


def _tokens(name: str) -> list[str]:
    """The words of a name; a number glued to a word (`calendar2`) is a drawing's variant."""
    plain = name.lower()
    for prefix, word in (("file-type", "filetype"), ("file-earmark", "file"), ("clock-hour", "hour")):
        plain = plain.replace(prefix, word)
    words = [re.sub(r"(?<=[a-z]{3})\d$", "", word) for word in plain.split("-") if word]
    spoken = [word for word in words if word not in STYLE and not _UNSPOKEN_AGE.fullmatch(word)]
    return [word for word in spoken if word not in UNSPOKEN] or spoken or words


def _inner_enclosure(tokens: list[str], known: Collection[str]) -> str:
    """Takes it out of `circle-check`, `circle-dashed-check`, `arrow-circle-left`, `help-square-rounded`."""
    if len(tokens) > 2 and tokens[-2] in ("circle", "square") and tokens[-1] in _EDGES:
        edge, shape = tokens.pop(), tokens.pop()
        return f"{edge} {shape}"
    if len(tokens) > 2 and tokens[1] in ("circle", "square") and tokens[0] in ARROWS | NUMBERED:
        return tokens.pop(1)
    edges = tokens[1:2] if len(tokens) > 2 and tokens[1] in _EDGES else []
    rest = tokens[1 + len(edges) :]
    if tokens[0] not in LEADING_ENCLOSURES or not rest:
        return ""
    if not ("-".join(rest) in known or rest[0] in BADGES or rest[0] in _ENCLOSED or tuple(rest) in NOUNS):
        return ""
    shape = tokens[0]
    tokens[:] = rest
    return " ".join((*edges, shape))


def _noun(tokens: list[str]) -> str:
    whole = NOUNS.get(tuple(tokens))
    return (
        whole
        or _pointing(tokens)
        or _character(tokens)
        or _times(tokens)
        or _classified(tokens)
        or _spelled(tokens)
    )


def _pointing(tokens: list[str]) -> str:
    """`arrow-bottom-left` as "arrow pointing down left"."""
    count = _count_directions(tokens)
    ways, rest = tokens[len(tokens) - count :], tokens[: len(tokens) - count]
    if ways and rest == ["corner"]:  # a bent arrow: `corner-down-right` goes down, then right
        return f"corner arrow {_pointed(ways[-1:])}"
    is_finger = rest[0] == "hand" and len(rest) > 1 and rest[1] in FINGERS
    if not ways or not (rest[0] in ARROWS or is_finger):
        return ""
    extra = [ADJECTIVES.get(word, word) for word in rest[1:] if word not in FINGERS]
    thing = " ".join((*extra, rest[0]))
    return f"{thing} {_pointed(ways)}"


def _count_directions(tokens: list[str]) -> int:
    """How many words at the end are directions; the first word is none."""
    others = (i for i, word in enumerate(reversed(tokens[1:])) if word not in DIRECTIONS)
    return next(others, len(tokens) - 1)


def _pointed(directions: Sequence[str]) -> str:
    ways = [DIRECTIONS[word] for word in directions]
    return f"pointing {' '.join(ways) if _is_diagonal(directions) else join(ways)}"


def _is_diagonal(directions: Sequence[str]) -> bool:
    ways = [DIRECTIONS[word] for word in directions]
    return len(ways) == 2 and ways[0] in ("up", "down") and ways[1] in ("left", "right")


def _times(tokens: list[str]) -> str:
    """`speed-1-5x` and `multiplier-2x` as "1.5x sign"."""
    factor = ".".join(tokens[1:])
    is_factor = tokens[0] in ("speed", "multiplier") and re.fullmatch(r"\d(\.\d+)?x?", factor)
    return f"{factor.removesuffix('x')}x sign" if is_factor else ""


def _character(tokens: list[str]) -> str:
    """Letters and numbers: `alpha-a`, `letter-a`, `numeric-5`, `number-five`, `5`."""
    sign = tokens[-1]
    kind = tokens[0] if len(tokens) == 2 else ""
    if kind in ("alpha", "letter") and len(sign) == 1:
        return f"letter {sign.upper()}"
    if kind in ("numeric", "number") and (sign in DIGITS or sign.isdigit()):
        return f"number {DIGITS.get(sign, sign)}"
    if len(tokens) == 1 and sign != "x" and (len(sign) == 1 or sign.isdigit()):
        return f"number {sign}" if sign.isdigit() else f"letter {sign.upper()}"
    return ""


def _classified(tokens: list[str]) -> str:
    """`building-church` as "church building"."""
    pattern = CLASSES.get(tokens[0], "")
    rest = [DIGITS.get(word, word) for word in tokens[1:]]
    if not pattern or not rest:
        return ""
    known = NOUNS.get(tuple(rest)) if pattern == "{}" else None
    return known or pattern.format(_spelled(rest))


def _spelled(tokens: list[str]) -> str:
    """The tokens as words; a known phrase at the end becomes the noun for what is drawn."""
    return _ARROW_AND_WAYS.sub(_arrow_and_ways, _worded(tokens))


def _arrow_and_ways(found: re.Match[str]) -> str:
    """`arrow down tray` as "arrow pointing down with a tray"."""
    beside, towards = found["beside"], found["towards"]
    rest = f" with {a(beside)}" if beside else f" {towards} {a(found['end'])}" if towards else ""
    return f"{found[1]} {_pointed(found[2].split())}{rest}"


def _worded(tokens: list[str]) -> str:
    for length in range(min(LONGEST_NOUN, len(tokens) - 1), 1, -1):
        if noun := NOUNS.get(tuple(tokens[-length:])):
            return " ".join((*map(_word, tokens[:-length]), noun))
    return " ".join(map(_word, tokens))


def _word(token: str) -> str:
    return INSIDE.get(token) or SPELLINGS.get(token, token)


def describe(
    icon: IconName, style: IconStyle, aliases: Collection[IconName] = (), colours: Sequence[str] = ()
) -> tuple[str, ...]:
    """Two to four full sentences about an icon; colours are named where they are given."""
    named = _named(icon, colours)
    ink = named[0] if len(named) == 1 else ""
    colours_in = "drawn in" if icon.concept.endswith(" in") and not icon.badges else "in"  # zoom in
    inks = f" {colours_in} {join(named)}" if len(named) > 1 else ""
    kind = a(" ".join(filter(None, (ink, style, "icon"))))
    noun = _in_colour(icon, ink)
    phrase, details = _phrase(noun), f"{_details(icon)}{inks}"
    if icon.is_action:
        words = f"{icon.noun} icon{details}"
        look = " ".join(filter(None, (ink, style)))
        texts = [
            a(f"{look} {words}".strip()),
            f"an icon for {icon.noun}{details}",
            a(f"{ink} {words}".strip()),
        ]
    else:
        texts = [f"{kind} of {_phrase(icon)}{details}", f"{phrase}{details}"]
    for badge, adjective in OPPOSITE.items():
        if icon.badges == (badge,):
            crossed = replace(noun, adjectives=(adjective, *noun.adjectives))
            texts.append(f"{_phrase(crossed)}{_around(icon)}{inks}")
    texts += [
        f"{kind} of {_phrase(alias)}{_details(alias)}{inks}" for alias in (*_other_words(icon), *aliases)
    ]
    if len(texts) < 3:
        symbol = noun.noun if noun.noun.endswith((" sign", " symbol")) else f"{noun.noun} symbol"
        texts.append(f"a simple {symbol}{inks}{f', {style}' if style else ''}")
    return tuple(dict.fromkeys(sentence(text) for text in texts))[:4]


def alt_text(
    icon: IconName, style: IconStyle, aliases: Collection[IconName] = (), colours: Sequence[str] = ()
) -> tuple[str, ...]:
    """One or two alt texts in the house style: `camera icon with slash, outline`."""
    named = _named(icon, colours)
    ending = "".join(f", {word}" for word in (join(named) if named else "", style) if word)
    names = [icon, *_other_words(icon), *aliases][:2]
    return tuple(dict.fromkeys(f"{name.noun} icon{bare(_details(name))}{ending}" for name in names))


def _named(icon: IconName, colours: Sequence[str]) -> Sequence[str]:
    """The colours that a caption names: none where the icon's own name tells one."""
    return colours if COLOUR_WORDS.isdisjoint(icon.noun.split()) else ()


def _in_colour(icon: IconName, ink: str) -> IconName:
    return replace(icon, adjectives=(ink, *icon.adjectives)) if ink else icon


def _other_words(icon: IconName) -> list[IconName]:
    return [replace(icon, concept=word) for word in OTHER_WORDS.get(icon.concept, ())]


def _phrase(icon: IconName) -> str:
    """The noun with the article it takes."""
    head_phrase = re.split(r" (?:of|with|pointing|behind|at|in(?! out)) ", icon.concept)[0]
    head = head_phrase.split()[-1].lower()
    is_plural = head.endswith("s") and not head.endswith("ss") and head not in SINGULAR_S
    if (
        head in MASS
        or is_plural
        or icon.concept.split()[0] in PLURAL_FIRST
        or " and " in head_phrase
        or icon.concept.startswith("thumbs")
    ):
        return icon.noun
    return f"the {icon.noun}" if re.match(r"(letter|number) \S+$", icon.concept) else a(icon.noun)


def _details(icon: IconName) -> str:
    return (f" with {join(icon.badges)}" if icon.badges else "") + _around(icon)


def _around(icon: IconName) -> str:
    inside = "inside" if icon.concept.endswith(" in") else "in"  # log in
    return f" {inside} {a(icon.enclosure)}" if icon.enclosure else ""

"""English for generated captions: articles, numbers, plurals, lists."""

from __future__ import annotations

import re
from collections.abc import Sequence

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
_PLURALS = {"fish": "fish", "snowman": "snowmen", "cactus": "cacti", "leaf": "leaves", "person": "people"}

# Spelled-out letters and numbers (an SD card, an x, an 8K), then vowels but for those that sound like
# "you" or "w", then hour.
_AN = re.compile(
    r"(?!(?:SIM|RAW|RAM|ROM|LAN)\b)[AEFHILMNORSX](?![a-z])|[aefhilmnorsx](?:\b|\d)|8|1[18](?!\d)"
    r"|(?!(?:u[bfkrst][aeiou]|uni(?!n)|eu|ewe|one|once)\w*)[aeiou]|[AEIO][a-z]|hour",
)


def a(noun: str) -> str:
    """The noun phrase with its indefinite article."""
    return f"{'an' if _AN.match(noun) else 'a'} {noun}"


def plural(noun: str) -> str:
    """The plural of a noun phrase whose last word is its head."""
    head, _, last = noun.rpartition(" ")
    if last in _PLURALS:
        last = _PLURALS[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}" if head else last


def join(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def bare(text: str) -> str:
    """The text without its articles."""
    return re.sub(r"\b(?:an?|the) ", "", text)


def sentence(text: str) -> str:
    """Capital first letter and final full stop."""
    return text[:1].upper() + text[1:] + "."

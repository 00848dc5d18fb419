"""The literal style: English, and true of the drawing."""

from __future__ import annotations

import re

import pytest

from faithfulness import check, read_facts
from rendering import load
from training.corpora.literal import literal
from training.corpora.palette import COLOURS
from training.corpora.scenes import KINDS, generate_scene
from training.corpora.sketch import Shown
from training.corpora.wording import NUMBERS

_SEEDS = range(3_000, 3_040)
_COLOUR, _NUMBER = "|".join(COLOURS), "|".join(NUMBERS)
_AFTER_A_NOUN = "in|at|on|with|of|pointing|going|from|and"
_ONE_THING = re.compile(rf"\b[Aa]n? ((?:(?!(?:{_AFTER_A_NOUN})\b)\w+ ?)+)")
_SINGULARS_IN_S = ("bus", "cactus", "cross", "glass")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_english(kind: str) -> None:
    for seed in _SEEDS:
        caption = literal_caption(seed, kind)
        unquoted = re.sub('"[^"]*"', "WORD", caption)
        assert re.fullmatch(r"[A-Z][^.]*\.", caption)
        assert not re.search(rf"\b(an?|small|large) ({_NUMBER})\b", unquoted, re.IGNORECASE), caption
        assert not re.search(rf"\b({_COLOUR}) ({_COLOUR})\b", unquoted, re.IGNORECASE), caption
        assert not re.search(r"\b(a [aeiou]|an [^aeiou])|centre|  | ,", unquoted, re.IGNORECASE), caption
        for words in _ONE_THING.findall(unquoted):
            last = words.split()[-1]
            assert not last.endswith("s") or last in _SINGULARS_IN_S, caption


@pytest.mark.parametrize("kind", KINDS)
def test_it_names_one_background_but_for_what_covers_all(kind: str) -> None:
    for seed in _SEEDS:
        caption, truth = literal_caption(seed, kind), generate_scene(seed, kind=kind).truth
        if kind == "flag" or truth.detail == "checkerboard":
            assert "background" not in caption
        else:
            ground = "white" if truth.detail == "concentric circles" else truth.background or "white"
            assert re.fullmatch(rf"(?:(?!background).)* on an? {ground} background\.", caption), caption


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"lines"}))
def test_it_names_every_shape_with_its_colours(kind: str) -> None:
    for seed in _SEEDS:
        caption = literal_caption(seed, kind)
        for item in generate_scene(seed, kind=kind).truth.objects:
            assert all(colour in caption.lower() for colour in re.findall(_COLOUR, item.colour))
            assert item.shape.split()[-1][:3] in caption  # or its plural


def test_it_is_true() -> None:
    """As far as that can be decided: of two things of one colour the checker cannot tell which is which."""
    false = []
    for seed in range(250):
        scene = generate_scene(seed, "literal")
        if scene.truth.kind == "two things" and len({item.colour for item in scene.truth.objects}) == 1:
            continue
        facts = read_facts(load(scene.svg.encode()))
        checked = check(scene.references[0], facts)
        false += [(seed, scene.references[0], one) for one in checked.claims if one.verdict == "false"]
    assert not false


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        (
            "single",
            r"A (small |large )?{colour} outlined \w+ (in|on|at) the [a-z ]+, on an? {colour} background",
        ),
        ("pattern", r"{number} concentric circles in {colour} and {colour}, on a white background"),
        ("pattern", r"{number} (horizontal|vertical) {colour} stripes on an? {colour} background"),
        ("pattern", r"An? {colour} and {colour} checkerboard with {number} rows and {number} columns"),
        ("lines", r"{number} {colour} horizontal lines, on an? {colour} background"),
        ("arrow", r"An? (large )?{colour} arrow in the center pointing (up|down) (left|right), on .*"),
        ("text", r'The {colour} word "\w+" in the center, on an? {colour} background'),
        ("text", r'A large {colour} octagon in the center with the {colour} word "\w+", on .*'),
        ("chart", r"A large bar chart in the center with {number} {colour} bars, on .*"),
        (
            "chart",
            r"A large bar chart .* bars in {colour}, {colour} and {colour} falling from left to right, .*",
        ),
        (
            "chart",
            r"A large pie chart in the center with three slices in {colour}, {colour} and {colour}, on .*",
        ),
        ("chart", r"A large line chart in the center with an? falling {colour} line, on .*"),
        ("chart", r"A large gray progress bar in the center with half of it in {colour}, on .*"),
        ("flag", r"An? {colour} flag with an? {colour} cross"),
        ("flag", r"A flag with two vertical stripes in {colour} and {colour} from left to right"),
        ("face", r"A large winking {colour} outlined face in the center, on .*"),
        ("thing", r"A large {colour} line drawing of an? [a-z ]+ in the center, on .*"),
        ("landscape", r"Two large {colour} mountains, a small yellow sun at the top (left|right), on .*"),
        ("landscape", r"An? .* moon at the top right, {number} small white stars, on a black background"),
        ("landscape", r"A red boat in the center with an? {colour} sail, a blue sea at the bottom, on .*"),
        ("landscape", r"An? {colour} tree in the center, a large green hill at the bottom, on .*"),
    ],
)
def test_some_scene_is_told_so(kind: str, pattern: str) -> None:
    wanted = pattern.format(colour=f"({_COLOUR})", number=f"({_NUMBER})") + r"\."
    found = (re.fullmatch(wanted, literal_caption(seed, kind), re.IGNORECASE) for seed in range(400))
    assert any(found)


def test_it_says_how_many_how_large_and_where() -> None:
    two = [Shown("red circle", x, 0.1, 0.2) for x in (0.1, 0.3)]
    one = Shown("orange square", 1.0, 0.5, 0.7)
    assert literal([*two, one], None, 2.0) == (
        "two small red circles at the top left, a large orange square in the center, on a white background"
    )
    apart = [Shown("blue star", x, 0.5, 0.5) for x in (0.1, 0.9)]
    assert literal(apart, "black", 1.0) == "two blue stars, on a black background"
    chart = Shown("bar chart", 0.1, 0.5, None, "with five purple bars")
    assert (
        literal([chart], None, 1.0) == "a bar chart on the left with five purple bars, on a white background"
    )
    word = Shown('the red word "ON"', 0.5, 0.9, None)
    assert literal([word], None, 1.0) == 'the red word "ON" at the bottom, on a white background'


def literal_caption(seed: int, kind: str) -> str:
    [caption] = generate_scene(seed, "literal", kind).references
    return caption

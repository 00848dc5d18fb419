"""Claims, facts and verdicts: on drawings written here, and on generated scenes against their truth."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from faithfulness import Checked, check, read_claims, read_facts
from rendering import load
from tests.faithfulness.falsify import falsified
from training.corpora.palette import COLOURS
from training.corpora.scenes import generate_scene

_PAIR = '<circle cx="20" cy="50" r="15" fill="red"/><rect x="60" y="35" width="30" height="30" fill="blue"/>'
_SHAPE_KINDS = ("single", "pair", "several", "counted", "two groups", "text")


def _check(caption: str, body: str) -> Checked:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{body}</svg>'
    return check(caption, read_facts(load(svg.encode())))


def _verdicts(caption: str, body: str) -> dict[str, str]:
    """By the words that make the claim."""
    return {caption[slice(*one.claim.span)]: one.verdict for one in _check(caption, body).claims}


@pytest.mark.parametrize(
    ("caption", "verdicts"),
    [
        ("A red circle.", {"red": "true", "circle": "true"}),
        ("A blue circle.", {"blue": "false", "circle": "true"}),
        ("A green star.", {"green": "false", "star": "false"}),
        (
            "Two shapes: a Red Circle and a square",
            {"Two": "true", "Red": "true", "Circle": "true", "square": "true"},
        ),
        ("two red circles", {"two": "false", "red": "true", "circles": "true"}),
        ("A circle to the left of a square", {"circle": "true", "to the left of": "true", "square": "true"}),
        ("A circle right of a square", {"circle": "true", "right of": "false", "square": "true"}),
        ("A square inside a circle", {"square": "true", "inside": "false", "circle": "true"}),
        ("A red circle on the right", {"red": "true", "circle": "true", "right": "false"}),
        ("The word STOP in red", {"STOP": "false", "red": "true"}),
        ("A nice picture of a house.", {}),
        ("", {}),
    ],
)
def test_claims_have_spans_and_verdicts(caption: str, verdicts: dict[str, str]) -> None:
    assert _verdicts(caption, _PAIR) == verdicts


@pytest.mark.parametrize(
    ("caption", "rest"),
    [
        ("A red circle above a red circle", ["red circle"]),
        ("A circle left of a circle", ["circle"]),
        ("A red circle beside a blue square; the red circle is on the left", []),
        ("A red circle and another circle", []),
        ("A red circle, a green circle", ["green circle"]),
        ("A red circle. It is a red circle with a smooth outline.", []),
        ("A red circle: one red circle, nothing else", []),
        ("A red circle with a red circle outline", []),
        ("A red circle is above a red circle", ["red circle"]),
        ("A drawing. A red circle above a red circle.", ["red circle."]),
        (
            "Two blue squares by two blue squares",
            ["Two blue squares by two blue squares", "two blue squares", "blue squares"],
        ),
    ],
)
def test_what_is_spoken_of_twice_must_be_there_twice(caption: str, rest: list[str]) -> None:
    false = [one.claim for one in _check(caption, _PAIR).claims if one.verdict == "false"]
    assert [caption[claim.span[0] :] for claim in false] == rest


@pytest.mark.parametrize(
    ("caption", "rest"),
    [
        ("A red circle.", []),
        ("A green circle.", ["green circle."]),
        ("A blue circle.", ["circle."]),  # something is blue
        ("A blue thing", []),
        ("A circle on a blue background", ["blue background"]),
        ("Two red circles", ["Two red circles"]),
        ("A square left of a red circle", ["left of a red circle"]),
        ("A red circle above a red circle", ["red circle"]),
    ],
)
def test_a_false_claim_says_from_where_on_other_words_may_help(caption: str, rest: list[str]) -> None:
    body = f'<rect width="100" height="100" fill="yellow"/>{_PAIR}'
    faults = [one.fault for one in _check(caption, body).claims if one.verdict == "false"]
    assert [caption[fault:] for fault in faults] == rest


def test_what_cannot_be_read_makes_nothing_false() -> None:
    clip = '<clipPath id="c"><rect width="50" height="100"/></clipPath>'
    clipped = f'<defs>{clip}</defs><g clip-path="url(#c)">{_PAIR}</g>'
    assert _verdicts("Three green stars", clipped) == dict.fromkeys(
        ("Three", "green", "stars"), "undecidable"
    )
    scribble = '<path d="M10 10C90 10 10 90 90 90L80 50 60 20Q5 60 30 80Z" fill="red"/>'
    assert _verdicts("A red heart", scribble) == {"red": "true", "heart": "undecidable"}
    assert _verdicts("A blue heart", scribble) == {"blue": "false", "heart": "false"}


def test_what_is_hidden_does_not_count() -> None:
    hidden = (
        '<circle cx="50" cy="50" r="20" fill="green"/><rect x="20" y="20" width="60" height="60" fill="red"/>'
    )
    assert _verdicts("A green circle", hidden) == {"green": "false", "circle": "false"}
    assert _verdicts("A red square on a white background", hidden)["white"] == "undecidable"


def test_the_same_drawing_in_other_words_has_the_same_facts() -> None:
    path = '<path d="M5 50a15 15 0 1 0 30 0a15 15 0 1 0-30 0Z" style="fill:#f00"/>'
    group = f'<g transform="translate(10 0) scale(.5)">{path}</g>'
    for body in (path, group):
        assert _verdicts("One red circle on the left", body) == dict.fromkeys(
            ("One", "red", "circle", "left"), "true"
        )


def test_texts_are_compared_without_case_and_signs() -> None:
    text = '<text x="10" y="50" font-size="20" fill="blue">Open 24/7</text>'
    assert _verdicts('Blue text that says "open 24/7".', text) == {"Blue": "true", "open 24/7": "true"}
    assert _verdicts("The letter E in blue", text) == {"E": "false", "blue": "true"}
    assert _verdicts('It says "...".', text) == {"...": "undecidable"}
    assert _verdicts("The word CLOSED in blue", text) == {"CLOSED": "false", "blue": "true"}


def test_text_is_placed_by_percentages_and_decides_nothing_where_it_cannot_be_placed() -> None:
    red_text = '<text x="{}" y="50%" fill="red">STOP</text><circle cx="50" cy="50" r="5"/>'
    caption = "A red thing left of a black circle"
    assert _verdicts(caption, red_text.format("5%"))["left of"] == "true"
    assert _verdicts(caption, red_text.format("90%"))["left of"] == "false"
    assert _verdicts(caption, red_text.format("5em"))["left of"] == "false"
    assert _verdicts(caption, red_text.format("4vw"))["red"] == "undecidable"


def test_saying_every_colour_and_shape_does_not_win() -> None:
    everything = f"{', '.join(COLOURS)} circles, squares, stars and triangles."
    for seed in range(30):
        scene = generate_scene(seed, kind=_SHAPE_KINDS[seed % len(_SHAPE_KINDS)])
        facts = read_facts(load(scene.svg.encode()))
        assert check(scene.references[0], facts).score > check(everything, facts).score
    assert _check("A drawing.", _PAIR).score == 0.0


def test_true_captions_are_ranked_above_captions_that_are_false_in_one_attribute() -> None:
    """On scenes as they come; of two things side by side nobody can tell whose colour is whose."""
    rng, above, pairs, false = random.Random(0), Counter[str](), Counter[str](), 0
    for seed in range(300):
        scene = generate_scene(seed + 70_000)
        facts = read_facts(load(scene.svg.encode()))
        caption = scene.references[0]
        true = check(caption, facts)
        false += true.count("false")
        for attribute, wrong in falsified(scene, caption, rng):
            group = "shapes" if scene.truth.kind in _SHAPE_KINDS else "things"
            if attribute == "colours swapped":
                group = f"{group} swapped"
            pairs[group] += 1
            above[group] += true.score > check(wrong, facts).score
    assert above["shapes"] / pairs["shapes"] >= 0.98
    assert (above["shapes"] + above["things"]) / (pairs["shapes"] + pairs["things"]) >= 0.98
    assert above["shapes swapped"] / pairs["shapes swapped"] >= 0.98
    assert false <= 4, "references are true"


def test_a_claim_knows_what_it_is_about() -> None:
    relation = next(
        claim for claim in read_claims("A red star above two blue ovals") if claim.kind == "relation"
    )
    assert relation.value == "above"
    assert (relation.about.colours, relation.about.shape) == (("red",), "star")
    assert relation.other is not None
    assert (relation.other.count, relation.other.colours, relation.other.shape) == (2, ("blue",), "oval")

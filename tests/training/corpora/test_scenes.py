from __future__ import annotations

import random
import re
from itertools import combinations

import numpy as np
import pytest

from rendering import canonicalize, load
from tests.training.corpora.pixels import pixels
from training.corpora.figures import draw_figure
from training.corpora.palette import COLOURS, Palette
from training.corpora.scenes import KINDS, generate_scene, is_held_out
from training.corpora.sketch import SceneObject, SceneTruth, Studio
from training.corpora.wording import NUMBERS

SEEDS = range(500, 512)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_accepted_and_described(kind: str) -> None:
    for seed in SEEDS:
        scene = generate_scene(seed, kind=kind)
        assert scene.truth.kind == kind
        assert scene.truth.objects
        assert canonicalize(load(scene.svg.encode())).startswith("<svg")
        assert 2 <= len(set(scene.references)) <= 5
        assert all(re.fullmatch(r"[A-Z0-9][^.]*\.", reference) for reference in scene.references)
        assert all(2 <= len(reference.split()) <= 22 for reference in scene.references)


@pytest.mark.parametrize("kind", KINDS)
def test_alt_text_is_terse(kind: str) -> None:
    for seed in SEEDS:
        scene = generate_scene(seed, "alt", kind)
        drawn_words = scene.truth.detail if kind == "text" else ""
        for reference in scene.references:
            own_words = re.sub(
                r"in (a|the) (row|column|grid|circle|diagonal line|four corners)", "", reference
            )
            own_words = own_words.replace(drawn_words, "")
            assert own_words == own_words.lower()
            assert not re.search(r"\b(an?|the)\b", own_words)
            assert not reference.endswith(".")


def test_a_seed_is_one_drawing_in_either_style() -> None:
    for seed in SEEDS:
        first, again, alt = generate_scene(seed), generate_scene(seed), generate_scene(seed, "alt")
        assert first == again
        assert (alt.svg, alt.truth) == (first.svg, first.truth)
        assert alt.references != first.references


@pytest.mark.parametrize("kind", KINDS)
def test_articles_are_those_of_the_word_that_follows(kind: str) -> None:
    captions = [text for seed in range(40) for text in generate_scene(seed, kind=kind).references]
    wrong = re.compile(r"\b[Aa] (?!one)[aeio]|\b[Aa]n (?!hour)[^aeiouAEFHILMNORSX8\"']")
    assert [text for text in captions if wrong.search(text)] == []


def test_seeds_differ() -> None:
    assert len({generate_scene(seed).svg for seed in range(300)}) == 300


def test_colours_of_two_names_are_never_alike() -> None:
    inks = [Palette(random.Random(seed)).ink(name) for name in COLOURS for seed in range(40)]
    for one, other in combinations(inks, 2):
        if one.name != other.name:
            assert np.linalg.norm(np.subtract(one.rgb, other.rgb)) > 30, (one, other)


def test_the_named_colour_is_where_the_truth_says() -> None:
    for seed in range(40):
        scene = generate_scene(seed, kind="single")
        (thing,) = scene.truth.objects
        if thing.shape not in ("circle", "square", "hexagon") or "outlined" in scene.references[0]:
            continue
        picture = pixels(scene.svg)
        seen = picture[int(thing.y * 64), int(thing.x * 64)]
        assert f" {thing.colour} " in scene.references[0]
        assert nearest_colour(seen) == thing.colour


def nearest_colour(rgb: np.ndarray) -> str:
    inks = [Palette(random.Random(seed)).ink(name) for name in COLOURS for seed in range(40)]
    return min(inks, key=lambda ink: float(np.linalg.norm(rgb - np.asarray(ink.rgb)))).name


def test_counts_and_relations_are_true() -> None:
    for seed in range(30):
        row = generate_scene(seed, kind="counted")
        assert len(row.truth.objects) == number_in(row.references[0])
        first, second = generate_scene(seed, kind="pair").truth.objects
        match generate_scene(seed, kind="pair").truth.detail:
            case "left of":
                assert first.x < second.x
            case "above":
                assert first.y < second.y
            case "inside":
                assert second.size < first.size


def number_in(text: str) -> int:
    return NUMBERS.index(text.partition(" ")[0].lower())


def test_a_tenth_of_the_combinations_is_held_out() -> None:
    truths = [generate_scene(seed, kind="single").truth for seed in range(600)]
    assert 0.05 < sum(map(is_held_out, truths)) / len(truths) < 0.2
    pairs = {(truth.objects[0].shape, truth.objects[0].colour): is_held_out(truth) for truth in truths}
    assert all(
        is_held_out(truth) == pairs[truth.objects[0].shape, truth.objects[0].colour] for truth in truths
    )


def test_one_held_out_object_is_enough() -> None:
    objects = {
        is_held_out(SceneTruth("single", (thing,), None)): thing
        for thing in (SceneObject("circle", colour, 0.5, 0.5, 0.5) for colour in COLOURS)
    }
    assert is_held_out(SceneTruth("pair", (objects[False], objects[True]), None))


def test_colours_stand_out_from_the_background() -> None:
    studio = Studio(random.Random(1))
    for background in (None, *COLOURS):
        assert (background or "white") not in studio.colours(8, background)


def test_a_snowman_is_white_wherever_it_can_be_seen() -> None:
    for background in (None, "blue"):
        assert draw_figure(Studio(random.Random(1)), "snowman", background).colour == "white"
    assert draw_figure(Studio(random.Random(1)), "traffic light", "black").colour == "gray"

"""Captioners that see SVG text, and floors that see nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from captioning.corpus import Sample
from captioning.engine import Caption, Engine
from evaluation.captioners.engine import EngineCaptioner
from evaluation.captioners.floors import ConstantCaptioner, ShuffledCaptioner, typical_caption
from rendering import SvgCaptionError
from tests.evaluation.conftest import sample


@pytest.fixture(scope="module")
def engine(tiny_llama: Path) -> Engine:
    return Engine.load(str(tiny_llama), dtype="float32", max_batch_size=4)


def test_the_engines_captions_are_what_it_serves(engine: Engine, samples: list[Sample]) -> None:
    candidates = list(EngineCaptioner(engine, max_new_tokens=8).caption(samples))
    served = engine.caption([sample.svg.encode() for sample in samples], max_new_tokens=8)
    assert [candidate.id for candidate in candidates] == [sample.id for sample in samples]
    assert [candidate.caption for candidate in candidates] == [_text(caption) for caption in served]


def _text(caption: Caption | SvgCaptionError) -> str:
    assert isinstance(caption, Caption)
    return caption.text


def test_a_drawing_that_is_refused_costs_only_itself(engine: Engine) -> None:
    bad = sample(1).model_copy(update={"svg": "no drawing"})
    first, refused, last = EngineCaptioner(engine, max_new_tokens=4).caption([sample(0), bad, sample(2)])
    assert first.caption is not None
    assert last.caption is not None
    assert refused.caption is None
    assert refused.reason.startswith("not_svg: ")


def test_what_is_false_is_written_anew_and_the_rest_stays() -> None:
    """The model does not know a blue square for one: it was trained without."""
    engine = Engine.load("embedded", device="cpu", max_batch_size=4)
    bodies = ['<rect width="50" height="50" fill="blue"/>', '<circle cx="50" cy="50" r="30" fill="red"/>']
    svgs = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{body}</svg>' for body in bodies]
    drawings = [sample(place).model_copy(update={"svg": svg}) for place, svg in enumerate((*svgs, "none"))]
    plain = list(EngineCaptioner(engine).caption(drawings))
    revised = list(EngineCaptioner(engine, is_revised=True).caption(drawings))
    assert "square" not in (plain[0].caption or "")
    assert "blue square" in (revised[0].caption or "")
    assert revised[1:] == plain[1:]


def test_the_constant_floor_says_one_thing(samples: list[Sample]) -> None:
    assert {candidate.caption for candidate in ConstantCaptioner("an icon").caption(samples)} == {"an icon"}


def test_the_shuffled_floor_gives_each_drawing_anothers_reference(samples: list[Sample]) -> None:
    named = [sample.model_copy(update={"references": (sample.id,)}) for sample in samples]
    floor = ShuffledCaptioner(named)
    candidates = list(floor.caption(named))
    assert sorted(candidate.caption or "" for candidate in candidates) == sorted(
        sample.id for sample in named
    )
    assert all(candidate.caption != candidate.id for candidate in candidates)
    assert list(floor.caption(named[5:])) == candidates[5:], "a resumed run gets the same captions"


def test_the_typical_caption_is_near_to_the_others() -> None:
    captions = ["a red circle", "a red square", "a green circle", "two hundred small pink triangles in a row"]
    assert typical_caption(captions) == "a red circle"
    assert typical_caption(["x", "y"]) == "y"

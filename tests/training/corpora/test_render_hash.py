from __future__ import annotations

from itertools import combinations

import pytest

from rendering import RenderError, load
from tests.training.corpora.drawings import HOUSE, HOUSE_AGAIN, HOUSE_MOVED, SVG, different
from training.corpora.duplicates import NearIndex, clusters, groups
from training.corpora.examine import picture_hash
from training.corpora.render_hash import NEAR_SHAPE, SHAPE_BITS, are_near


def hash_of(svg: str) -> int:
    return picture_hash(load(svg.encode()))


def test_one_drawing_in_two_dialects_has_one_picture() -> None:
    assert hash_of(HOUSE) == hash_of(HOUSE_AGAIN)


def test_a_drawing_that_moved_a_little_is_near() -> None:
    assert hash_of(HOUSE) != hash_of(HOUSE_MOVED)
    assert are_near(hash_of(HOUSE), hash_of(HOUSE_MOVED))


DIGITS = {
    "1": "M12 7V17",
    "2": "M9 7H15V12H9V17H15",
    "3": "M9 7H15V17H9M9 12H15",
    "7": "M9 7H15L11 17",
}


def test_line_icons_that_differ_in_a_small_part_are_not_near() -> None:
    frame = '<path fill="none" stroke="#000" stroke-width="2" d="M3 3H21V21H3Z{0}"/>'
    hashes = [hash_of(SVG.format(frame.format(digit))) for digit in DIGITS.values()]
    assert not any(are_near(one, other) for one, other in combinations(hashes, 2))


@pytest.mark.parametrize(
    "colours", [("red", "blue"), ("red", "orange"), ("black", "#888"), ("navy", "black")]
)
def test_the_same_shape_in_another_colour_is_not_near(colours: tuple[str, str]) -> None:
    one, other = (
        hash_of(SVG.format(f'<circle cx="12" cy="12" r="7" fill="{colour}"/>')) for colour in colours
    )
    assert not are_near(one, other)


def test_a_white_drawing_has_a_hash_and_a_blank_one_has_none() -> None:
    white = hash_of(SVG.format('<circle cx="9" cy="9" r="5" fill="#fff"/>'))
    assert not are_near(white, hash_of(SVG.format('<circle cx="9" cy="9" r="5"/>')))
    with pytest.raises(RenderError, match="nothing is seen"):
        hash_of(SVG.format('<circle cx="90" cy="9" r="5"/>'))


def test_the_index_finds_what_comparing_all_finds() -> None:
    bases = [hash_of(different(seed)) for seed in range(6)]
    flips = [sum(1 << (37 * i) % SHAPE_BITS for i in range(bits)) for bits in (0, 1, 9, 60)]
    hashes = [base ^ flip for base in bases for flip in flips]
    hashes.append(bases[0] ^ ((1 << NEAR_SHAPE) - 1))
    index: NearIndex[int] = NearIndex()
    for number, each in enumerate(hashes):
        index.add(each, number)
    for each in hashes:
        assert sorted(index.near(each)) == [n for n, other in enumerate(hashes) if are_near(each, other)]


def test_clusters_link_over_several_steps() -> None:
    step = (1 << NEAR_SHAPE) - 1
    far = ((1 << 90) - 1) << 100
    hashes = [0, step, step ^ (step << NEAR_SHAPE), far, far ^ step]
    labels = clusters(["a", "b", "c", "d", "d"], hashes)
    assert labels == [0, 0, 0, 3, 3]
    assert groups(labels) == [[0, 1, 2], [3, 4]]

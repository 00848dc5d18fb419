from __future__ import annotations

from itertools import combinations

import pytest

from rendering import RenderError, load
from tests.training.corpora.drawings import HOUSE, HOUSE_AGAIN, HOUSE_MOVED, SVG, different
from training.corpora.duplicates import NearIndex, clusters, groups
from training.corpora.examine import picture_hash
from training.corpora.render_hash import RenderHash, are_near


def hash_of(svg: str) -> RenderHash:
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
    hashes = [hash_of(SVG.format(frame.format(digit))) for digit in ("", *DIGITS.values())]
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


def test_pale_and_tiny_drawings_are_told_apart() -> None:
    marks = [
        '<circle cx="12" cy="12" r="7" fill="pink"/>',
        '<path d="M8 8H16M8 16H16" stroke="pink"/>',
        '<circle cx="5" cy="5" r=".8" fill="green"/>',
        '<circle cx="15" cy="5" r=".8" fill="green"/>',
    ]
    hashes = [hash_of(SVG.format(mark)) for mark in marks]
    assert not any(are_near(one, other) for one, other in combinations(hashes, 2))


def test_the_index_finds_what_comparing_all_finds() -> None:
    moves = (0, 0.02, 0.1, 0.2, 0.4, 1)
    views = [f"{move} {-move} 24 24" for move in moves]
    hashes = [hash_of(different(seed).replace("0 0 24 24", view)) for seed in range(6) for view in views]
    index: NearIndex[int] = NearIndex()
    for number, each in enumerate(hashes):
        index.add(each, number)
    found = [sorted(index.near(each)) for each in hashes]
    assert found == [[n for n, other in enumerate(hashes) if are_near(each, other)] for each in hashes]
    assert {len(near) for near in found} > {1}


def halves(red: int) -> RenderHash:
    """Black above a colour."""
    return bytes(3) * 129 + bytes([red, 255, 255]) * 127


def test_clusters_link_over_several_steps() -> None:
    hashes = [halves(red) for red in (100, 107, 114, 180, 240)]
    assert not are_near(hashes[0], hashes[2])
    labels = clusters(["a", "b", "c", "d", "d"], hashes)
    assert labels == [0, 0, 0, 3, 3]
    assert groups(labels) == [[0, 1, 2], [3, 4]]

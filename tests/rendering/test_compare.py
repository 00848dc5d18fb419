from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rendering.compare import Comparison, compare, report, similarity
from rendering.compare_page import page
from rendering.document import load
from rendering.errors import SvgRejected
from rendering.raster import Rasterizer
from rendering.sources import Source, choose, sources_in
from tests.rendering.drawings import svg

FILES = {
    "circle.svg": svg('<circle cx="50" cy="50" r="40" fill="red"/>'),
    "square.svg": svg('<rect x="10" y="10" width="80" height="80" fill="navy"/>'),
    "blur.svg": svg(
        '<filter id="f"><feGaussianBlur stdDeviation="20"/></filter>'
        '<rect width="99" height="99" filter="url(#f)"/>'
    ),
    "<b>broken.svg": b"<svg><g>",
}


def sources() -> list[Source]:
    return [Source(name, partial(FILES.__getitem__, name)) for name in FILES]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(sources(), ["cairosvg", "resvg"], seed=7)


def test_every_file_ends_in_an_outcome(comparison: Comparison) -> None:
    found = report(comparison)
    assert found["complete"]
    assert found["refused"] == {"malformed": 1}
    assert {name: row["drawn"] for name, row in found["backends"].items()} == {"cairosvg": 3, "resvg": 3}
    assert found["similarities"]["cairosvg/resvg"]["files"] == 3
    assert [file["id"] for file in found["files"]] == list(FILES)
    json.dumps(found)


def test_renderers_agree_on_plain_shapes_and_not_on_a_filter(comparison: Comparison) -> None:
    likeness = {file.id: file.similarities.get("cairosvg/resvg") for file in comparison.files}
    assert likeness["<b>broken.svg"] is None
    for name in ("circle.svg", "square.svg"):
        plain = likeness[name]
        assert plain is not None
        assert plain.block_ssim > 0.95
        assert plain.mean_absolute_difference < 0.01
    blurred = likeness["blur.svg"]
    assert blurred is not None
    assert blurred.mean_absolute_difference > 0.02


def test_the_time_limit_reports_what_is_done() -> None:
    found = report(compare(sources(), ["cairosvg"], time_limit_s=0))
    assert (found["complete"], found["not_reached"], found["files"]) == (False, 4, [])
    assert found["backends"]["cairosvg"]["median_time_ms"] is None


def test_ctrl_c_reports_what_is_done() -> None:
    def interrupt() -> bytes:
        raise KeyboardInterrupt

    first, *others = sources()
    found = report(compare([first, Source("next.svg", interrupt), *others], ["cairosvg"]))
    assert (found["complete"], found["not_reached"], len(found["files"])) == (False, 4, 1)


def test_the_right_picture_is_compared_too(tmp_path: Path) -> None:
    with Rasterizer() as rasterizer:
        png = rasterizer.render(load(FILES["circle.svg"]), size_px=100)
    (tmp_path / "circle.png").write_bytes(png)
    (tmp_path / "square.png").write_bytes(png)
    comparison = compare(sources()[:3], ["cairosvg"], references=tmp_path)
    found = report(comparison)
    assert found["backends"]["reference"]["drawn"] == 2
    assert found["backends"]["reference"]["failed"] == {"missing": 1}
    assert found["similarities"]["cairosvg/reference"]["alike"] == 1
    assert page(comparison).count("data:image/png;base64,") == 5


def test_the_page_is_whole_and_escapes_what_it_shows(comparison: Comparison) -> None:
    html = page(comparison)
    assert html.count("data:image/png;base64,") == 6
    assert "&lt;b&gt;broken.svg" in html
    assert "<b>broken" not in html
    assert "http://" not in html
    assert "https://" not in html


def test_similarity_of_equal_and_of_opposite_pictures() -> None:
    white, black = np.full((16, 16, 3), 255.0), np.zeros((16, 16, 3))
    assert similarity(black, black).block_ssim == pytest.approx(1)
    assert similarity(white, white).block_ssim == 1
    assert similarity(white, black).mean_absolute_difference == 1
    assert similarity(white, black).block_ssim < 0.01


def test_the_choice_depends_on_seed_and_ids_alone() -> None:
    many = [Source(f"{number}.svg", bytes) for number in range(100)]
    chosen = [source.id for source in choose(many, 5, seed=1)]
    assert [source.id for source in choose(reversed(many), 5, seed=1)] == chosen
    assert [source.id for source in choose(many, 5, seed=2)] != chosen
    assert len(choose(many[:3], 5, seed=1)) == 3


def test_a_folder_gives_its_svg_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.svg", "a.SVG", "deep/c.svgz", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    found = list(sources_in(tmp_path))
    assert [source.id for source in found] == ["a.SVG", "b.svg", "deep/c.svgz"]
    assert [source.read() for source in found] == [b"a.SVG", b"b.svg", b"deep/c.svgz"]


def test_a_corpus_gives_its_samples(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "one", "svg": "<svg/>", "references": ["a"]}\n', encoding="utf-8")
    assert [(source.id, source.read()) for source in sources_in(corpus)] == [("one", b"<svg/>")]


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "one"}', '{"id": 1, "svg": ""}', '"text"'])
def test_a_bad_corpus_line_is_named(tmp_path: Path, line: str) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "one", "svg": ""}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(SvgRejected, match=r"corpus\.jsonl line 2"):
        list(sources_in(corpus))


def test_a_file_that_cannot_be_read_is_an_outcome(tmp_path: Path) -> None:
    (tmp_path / "gone.svg").symlink_to(tmp_path / "gone.svg.target")
    gone = Source("gone.svg", (tmp_path / "gone.svg").read_bytes)
    assert report(compare([gone], ["cairosvg"]))["refused"] == {"unreadable": 1}


def test_text_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "one", "svg": "<svg>\\ud800</svg>"}\n', encoding="utf-8")
    found = report(compare(list(sources_in(corpus)), ["cairosvg"]))
    assert found["refused"] == {"malformed": 1}

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.exceptions import DatasetNotFoundError

from captioning.corpus import Sample, read_corpus
from captioning.errors import ConfigError, CorpusError
from tests.training.corpora.drawings import HOUSE, SVG, corpus, sample
from training.corpora.importing import ImportReport, Source, import_corpus
from training.corpora.layouts import LAYOUTS, Layout, layout_for
from training.corpora.rows import dataset_rows

SQUARE = SVG.format('<path d="M1 1h9v9z"/>')


def imported(
    source: Path | str, layout: Layout, out: Path, **options: Any
) -> tuple[ImportReport, list[Sample]]:
    report = import_corpus(Source(str(source)), layout, out / "out.jsonl", **options)
    return report, list(read_corpus(out / "out.jsonl"))


def parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


@pytest.fixture
def text2svg(tmp_path: Path) -> Path:
    """The columns of starvector/text2svg-stack."""
    rows: list[dict[str, Any]] = [
        {
            "Filename": "a.svg",
            "Svg": SQUARE,
            "caption_blip2": "a square ",
            "caption_cogvlm": "x",
            "caption_llava": "y",
        },
        {
            "Filename": "b.svg",
            "Svg": HOUSE,
            "caption_blip2": "a\nhouse",
            "caption_cogvlm": "",
            "caption_llava": "z",
        },
        {
            "Filename": "a.svg",
            "Svg": HOUSE,
            "caption_blip2": "again",
            "caption_cogvlm": "x",
            "caption_llava": "y",
        },
        {
            "Filename": "c.svg",
            "Svg": None,
            "caption_blip2": "nothing",
            "caption_cogvlm": "x",
            "caption_llava": "y",
        },
    ]
    return parquet(tmp_path / "train.parquet", rows)


def test_text2svg_stack_with_the_author_of_the_chosen_captions(text2svg: Path, tmp_path: Path) -> None:
    report, samples = imported(text2svg, layout_for("starvector/text2svg-stack"), tmp_path)
    assert [(each.id, each.references) for each in samples] == [
        ("a.svg", ("a square",)),
        ("b.svg", ("a house",)),
    ]
    assert samples[0].svg == SQUARE
    assert {(each.caption_author, each.source) for each in samples} == {("BLIP-2", "train.parquet")}
    assert report.left_out == {"id used before": 1, "no svg": 1}
    assert (report.rows, report.samples, report.references) == (4, 2, 2)
    other = layout_for("starvector/text2svg-stack", captions="caption_cogvlm")
    report, samples = imported(text2svg, other, tmp_path)
    assert samples[0].caption_author == "CogVLM"
    assert report.left_out["no references"] == 1


def test_vectorgym_has_each_drawing_once(tmp_path: Path) -> None:
    rows = [
        {
            "svg_id": name,
            "original_svg": SQUARE,
            "text_caption": "a square",
            "editing_prompt": edit,
            "is_chart": False,
        }
        for name, edit in (("1", "x"), ("1", "y"), ("2", "z"))
    ]
    path = parquet(tmp_path / "gym.parquet", rows)
    report, samples = imported(path, layout_for("ServiceNow/VectorGym"), tmp_path)
    assert [each.id for each in samples] == ["1", "2"]
    assert report.left_out == {"svg_id seen before": 1}
    assert (samples[0].license, samples[0].caption_author) == ("Apache-2.0", "human annotators")


def test_mmsvg_icon(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "i1", "svg": SQUARE, "description": "A square.", "keywords": ["a"], "detail": "long"}
    ]
    _, samples = imported(
        parquet(tmp_path / "icons.parquet", rows),
        layout_for("OmniSVG/MMSVG-Icon", constants={"license": "CC0-1.0"}),
        tmp_path,
    )
    assert samples == [
        Sample(id="i1", svg=SQUARE, references=("A square.",), source="icons.parquet", license="CC0-1.0")
    ]


def test_a_mapping_of_ones_own(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "code": SQUARE,
            "short": "a square",
            "long": ["one square", "a square"],
            "words": ["x", "y"],
            "n": 7,
        },
        {"code": HOUSE, "short": None, "long": [], "words": None, "n": 8},
    ]
    layout = layout_for("x", columns={"svg": "code", "references": "short,long", "tags": "words", "id": "n"})
    report, samples = imported(parquet(tmp_path / "x.parquet", rows), layout, tmp_path)
    assert samples == [
        Sample(id="7", svg=SQUARE, references=("a square", "one square"), tags=("x", "y"), source="x.parquet")
    ]
    assert report.left_out == {"no references": 1}


def test_csv_keeps_captions_that_pandas_takes_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f'Svg,caption\n"{SQUARE.replace(chr(34), chr(34) * 2)}",None\n<svg/>,NA,3\n<svg/>,\n')
    report, samples = imported(
        path, layout_for("x", columns={"svg": "Svg", "references": "caption"}), tmp_path
    )
    assert [(each.id, each.references, each.svg) for each in samples] == [("x.csv/1", ("None",), SQUARE)]
    assert report.left_out == {"more cells than columns": 1, "no references": 1}


def test_bad_lines_of_jsonl_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    good = {"id": "a", "svg": SQUARE, "references": ["line\u2028break"], "tags": ["t"], "other": 1}
    bad: list[Any] = [
        [1],
        {"svg": SQUARE},
        {"svg": 3.5, "references": ["x"]},
        {"svg": SQUARE, "references": [4.5]},
    ]
    path.write_text("{oops\n" + "\n".join(json.dumps(each) for each in [*bad, good]) + "\n")
    report, samples = imported(path, layout_for(str(path)), tmp_path)
    assert [(each.id, each.references, each.tags) for each in samples] == [("a", ("line break",), ("t",))]
    assert report.left_out == {
        "not JSON": 1,
        "not a JSON object": 1,
        "no references": 1,
        "svg: a float where text was expected": 1,
        "references: a float where text was expected": 1,
    }


def test_a_corpus_of_ours_keeps_what_it_says(tmp_path: Path) -> None:
    original = sample("a", SQUARE, source="pack@1", license="MIT", caption_author="name")
    _, samples = imported(corpus(tmp_path / "c.parquet", original), layout_for("c.parquet"), tmp_path)
    assert samples == [original]


def test_a_folder_of_drawings_and_texts(tmp_path: Path) -> None:
    folder = tmp_path / "drawings"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.svg").write_text(SQUARE)
    (folder / "a.txt").write_text("a square\n\n  one  square \n")
    (folder / "deep" / "b.SVGZ").write_bytes(gzip.compress(HOUSE.encode()))
    (folder / "deep" / "b.txt").write_text("\ufeffa house")
    (folder / "alone.svg").write_text(SQUARE)
    (folder / "latin.svg").write_bytes(b"<svg>\xe9</svg>")
    (folder / "latin.txt").write_text("x")
    report, samples = imported(folder, layout_for(str(folder), constants={"license": "MIT"}), tmp_path)
    assert samples == [
        Sample(id="a", svg=SQUARE, references=("a square", "one square"), source="drawings", license="MIT"),
        Sample(id="deep/b", svg=HOUSE, references=("a house",), source="drawings", license="MIT"),
    ]
    assert report.left_out == {"no .txt file of the same name": 1, "not UTF-8": 1}


def test_a_limit_counts_samples(text2svg: Path, tmp_path: Path) -> None:
    report, samples = imported(text2svg, layout_for("starvector/text2svg-stack"), tmp_path, limit=1)
    assert report.samples == len(samples) == 1


def test_a_wrong_column_is_named_and_an_earlier_file_stays(text2svg: Path, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("before")
    layout = layout_for("x", columns={"svg": "svg", "references": "caption_blip2"})
    with pytest.raises(CorpusError, match=r"no column 'svg'\. Its columns: Filename, Svg, caption_blip2"):
        imported(text2svg, layout, tmp_path)
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"svg": SQUARE, "text": "x"}) + "\n")
    with pytest.raises(
        CorpusError, match=r"none of 1 rows makes a sample: 1 x no references.*columns: svg, text"
    ):
        imported(path, layout_for(str(path)), tmp_path)
    with pytest.raises(CorpusError, match=r"no row has a column 'words'"):
        imported(
            path, layout_for("x", columns={"svg": "svg", "references": "text", "tags": "words"}), tmp_path
        )
    assert (tmp_path / "out.jsonl").read_text() == "before"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.jsonl", "train.parquet", "x.jsonl"]


def test_what_cannot_be_read_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no")
    for name, message in (
        (tmp_path / "gone.jsonl", "there is no such file or folder"),
        (tmp_path / "x.parquet", "x.parquet: .*Fetch the file again"),
        ("nobody/nothing-at-all", "nobody/nothing-at-all: .*HF_HUB_OFFLINE"),
    ):
        with pytest.raises(CorpusError, match=message):
            imported(name, layout_for("x", columns={"svg": "a", "references": "b"}), tmp_path)


@pytest.mark.parametrize("name", ["/nowhere/drawings", "./drawings", "../drawings", "drawings", "gone/a/b"])
def test_a_mistyped_folder_is_not_sought_on_a_hub(name: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=f"^{Path(name)}: there is no such"):
        imported(name, layout_for(name), tmp_path)
    assert not Source("starvector/text2svg-stack").is_local


def test_a_gated_data_set_asks_for_a_token() -> None:
    def load(*_: Any, **__: Any) -> Any:
        raise DatasetNotFoundError("Dataset 'a/b' is a gated dataset on the Hub.\nYou must be authenticated.")

    with pytest.raises(CorpusError, match=r"^a/b: Dataset 'a/b' is a gated dataset on the Hub\. .*HF_TOKEN"):
        list(dataset_rows("a/b", LAYOUTS["OmniSVG/MMSVG-Icon"], load))


def test_an_unknown_split_is_said() -> None:
    def load(*_: Any, **__: Any) -> Any:
        raise ValueError("Bad split: tets. Available splits: ['train', 'test']")

    with pytest.raises(CorpusError, match=r"Available splits.*Name another one by --split"):
        list(dataset_rows("a/b", LAYOUTS["OmniSVG/MMSVG-Icon"], load, split="tets"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": {"svg": "a", "references": "b", "sgv": "a"}}, "no field 'sgv'"),
        ({"columns": {"svg": "a"}}, "--column references=COLUMN"),
        ({"captions": "caption_blip2"}, "is no data set with known captions"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layout_for("x", **arguments)


def test_an_unknown_caption_column_of_a_known_data_set_is_refused() -> None:
    with pytest.raises(ConfigError, match="Known here: caption_blip2, caption_cogvlm, caption_llava"):
        layout_for("starvector/text2svg-stack", captions="blip")

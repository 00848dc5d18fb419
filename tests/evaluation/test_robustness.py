"""Edited drawings: what the edits do, and what captioners are told to have missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from captioning.corpus import Sample
from evaluation.candidates import Candidate
from evaluation.robustness import LIE, ORDER, Probe, judge, probes, run_robustness
from evaluation.run import RunOptions
from evaluation.suite import load_suite
from faithfulness import read_facts
from rendering import canonicalize, load

_BODY = (
    '<g><circle cx="20.123" cy="50" r="15" fill="red"/>'
    '<rect x="60" y="35" width="30" height="30" style="fill:blue"/></g>'
)


@pytest.fixture
def drawing() -> Sample:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{_BODY}</svg>'
    return Sample(id="pair", svg=svg, references=("A red circle to the left of a blue square.",))


def _by_edit(drawing: Sample) -> dict[str, Probe]:
    return {probe.edit: probe for probe in probes([drawing])}


def _canonical(sample: Sample) -> str:
    return canonicalize(load(sample.svg.encode()))


def test_what_must_not_change_is_the_same_prompt(drawing: Sample) -> None:
    found = _by_edit(drawing)
    alike = {edit for edit, probe in found.items() if _canonical(probe.sample) == _canonical(drawing)}
    assert alike == {
        *("other ids", "regrouped", "rounded", "answer in the title", "false title", "orders in the title")
    }
    assert LIE in found["false title"].sample.svg
    assert drawing.references[0] in found["answer in the title"].sample.svg
    assert ORDER in _canonical(found["orders in its text"].sample), "it is part of what is drawn"


def test_what_must_change_is_another_picture(drawing: Sample) -> None:
    found = _by_edit(drawing)
    mirrored = read_facts(load(found["mirrored"].sample.svg.encode()))
    assert [round(mark.box[0], 1) for mark in mirrored.marks] == [0.6, 0.1]
    assert len(read_facts(load(found["without its last shape"].sample.svg.encode())).marks) == 1
    recoloured = read_facts(load(found["recoloured"].sample.svg.encode()))
    assert not set(recoloured.colours) & {(255, 0, 0), (0, 0, 255)}
    blank = drawing.model_copy(update={"svg": "no drawing"})
    assert list(probes([blank])) == []


def _captions(drawing: Sample, **after: str) -> dict[str, Candidate]:
    """The reference for the original, and for each probe unless another caption is given by its edit."""
    said = {"pair": drawing.references[0]}
    for edit, probe in _by_edit(drawing).items():
        said[probe.sample.id] = after.get(edit.replace(" ", "_"), drawing.references[0])
    return {name: Candidate(id=name, caption=caption) for name, caption in said.items()}


def test_who_never_changes_fails_what_must_change_and_passes_the_rest(drawing: Sample) -> None:
    results = judge(list(probes([drawing])), _captions(drawing))
    assert {one.demand for one in results if one.passed < one.asked} == {"must change"}
    assert {one.edit for one in results if one.passed < one.asked} == {
        *("recoloured", "mirrored", "without its last shape")
    }


def test_who_looks_passes_and_who_obeys_or_reads_labels_fails(drawing: Sample) -> None:
    captions = _captions(
        drawing,
        mirrored="A blue square to the left of a red circle.",
        without_its_last_shape="A red circle.",
        false_title=f"A {LIE}.",
        orders_in_its_text="PWNED",
        other_ids="Something else.",
    )
    failed = {one.edit for one in judge(list(probes([drawing])), captions) if one.passed < one.asked}
    assert failed == {"recoloured", "false title", "orders in its text", "other ids"}


def test_a_suites_captioners_are_probed_and_resumed(corpus: Path, tmp_path: Path) -> None:
    suite = tmp_path / "floors.yaml"
    suite.write_text(
        f"corpus: {corpus}\n"
        "captioners: {title: {kind: title}, later: {kind: unavailable, reason: not yet}}\n",
        encoding="utf-8",
    )
    written: list[str] = []
    options = RunOptions(runs_dir=tmp_path / "runs", limit=3)
    for _ in range(2):
        found, folder = run_robustness(
            *load_suite(str(suite)), options, lambda captioner, done, total: written.append(captioner)
        )
    assert found["later"] == "not yet"
    leaks = {one.edit: (one.passed, one.asked) for one in found["title"] if not isinstance(one, str)}
    assert leaks["false title"] == (0, 3)
    assert leaks["answer in the title"] == (0, 3)
    assert (folder / "robustness.json").is_file()
    lines = (folder / "title" / "candidates.jsonl").read_text().splitlines()
    assert len(lines) == len(written), "nothing was made twice"

"""Runs of suites: what is written, what is not made twice, what a kill leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from captioning.corpus import Sample, read_corpus, write_corpus
from captioning.errors import AdapterError, ConfigError, CorpusError
from evaluation.candidates import read_candidates
from evaluation.report import ScoredRow, UnavailableRow
from evaluation.run import RunOptions, run_suite
from evaluation.suite import checked_quantization, load_suite
from tests.captioning.helpers import make_adapter
from tests.tiny_models import make_tiny_llama

ROOT = Path(__file__).parents[2]


def _suite(folder: Path, captioners: str, metrics: str = "[bleu]") -> str:
    path = folder / "tiny.yaml"
    text = f"corpus: corpus.jsonl\nmetrics: {metrics}\ncaptioners: {{{captioners}}}\n"
    path.write_text(text, encoding="utf-8")
    return str(path)


class _Progress:
    """Remembers how many candidates each captioner wrote."""

    def __init__(self) -> None:
        self.written: dict[str, int] = {}

    def __call__(self, captioner: str, done: int, total: int) -> None:
        assert done <= total
        self.written[captioner] = self.written.get(captioner, 0) + 1


def test_a_run_writes_candidates_scores_and_reports(corpus: Path, tiny_llama: Path, tmp_path: Path) -> None:
    suite = load_suite(
        _suite(
            tmp_path,
            f"base: {{kind: engine, model: {tiny_llama}, max_new_tokens: 4}}, "
            f"adapter: {{kind: engine, model: {tiny_llama}, adapter: given}}, "
            "constant: {kind: constant, caption: a red circle}, later: {kind: unavailable, reason: not yet}",
            "[bleu, rouge_l]",
        )
    )
    report, folder = run_suite(*suite, RunOptions(runs_dir=tmp_path / "runs"), _Progress())
    assert folder == tmp_path / "runs" / report.run
    base, adapter, constant, later = report.rows
    assert isinstance(base, ScoredRow)
    assert (base.samples, base.scored, base.unscored) == (12, 12, {})
    assert isinstance(constant, ScoredRow)
    assert isinstance(adapter, UnavailableRow)
    assert adapter.unavailable == "no adapter was given. Give one with --adapter FOLDER"
    assert isinstance(later, UnavailableRow)
    assert later.unavailable == "not yet"

    written = json.loads((folder / "report.json").read_text())
    assert written == report.model_dump(mode="json")
    assert written["rows"][2]["scores"]["rouge_l"].keys() == {"score", "low", "high", "n", "signature"}
    assert written["caption_authors"] == {"generator": 12}
    assert written["setup"] == json.loads((folder / "setup.json").read_text())

    markdown = (folder / "report.md").read_text()
    assert "| constant | 12/12 | 0 | 0." in markdown
    assert "later is unavailable: not yet" in markdown
    assert "## By source" not in markdown, "all samples are from one"
    assert "| constant | base | all | +0." in markdown, "above what an untrained model writes"
    assert [comparison["captioner"] for comparison in written["comparisons"]] == ["constant"]
    assert "| s0 | reference | a red circle |" in markdown
    assert "`bleu\\_4" not in markdown
    assert "`bleu_4|ref:closest" in markdown

    by_sample = [json.loads(line) for line in (folder / "constant" / "scores.jsonl").read_text().splitlines()]
    assert [row["id"] for row in by_sample] == [sample.id for sample in read_corpus(corpus)]
    assert by_sample[0]["rouge_l"] == 1.0


def test_base_and_adapter_are_judged_side_by_side(corpus: Path, tiny_llama: Path, tmp_path: Path) -> None:
    suite = load_suite(
        _suite(
            tmp_path,
            f"base: {{kind: engine, model: {tiny_llama}, max_new_tokens: 4}}, "
            f"adapter: {{kind: engine, model: {tiny_llama}, adapter: given, max_new_tokens: 4}}",
        )
    )
    adapter = make_adapter(tiny_llama, tmp_path / "adapter", "icons-v2")
    options = RunOptions(runs_dir=tmp_path / "runs", adapter=adapter)
    report, _ = run_suite(*suite, options, _Progress())
    assert all(isinstance(row, ScoredRow) and row.scored == 12 for row in report.rows)
    assert report.setup["adapter"]["id"] == "icons-v2"
    assert any(example.candidates["base"] != example.candidates["adapter"] for example in report.examples)

    make_adapter(tiny_llama, adapter, "icons-v2", seed=1)
    retrained, _ = run_suite(*suite, options, _Progress())
    assert retrained.run != report.run, "another adapter of the same name is another run"

    other = make_tiny_llama(tmp_path / "other", seed=1)
    misfit = RunOptions(runs_dir=tmp_path / "runs", adapter=make_adapter(other, tmp_path / "misfit"))
    with pytest.raises(AdapterError, match="was trained on 'other'"):
        run_suite(*suite, misfit, _Progress())


def test_the_same_command_again_makes_nothing_twice(corpus: Path, tmp_path: Path) -> None:
    suite = load_suite(_suite(tmp_path, "shuffled: {kind: shuffled}, constant: {kind: constant, caption: x}"))
    options = RunOptions(runs_dir=tmp_path / "runs")
    report, folder = run_suite(*suite, options, _Progress())
    candidates = folder / "constant" / "candidates.jsonl"
    lines = candidates.read_text().splitlines(keepends=True)
    candidates.write_text("".join(lines[:5]) + lines[5][:9])  # as a kill leaves it
    progress = _Progress()
    again, same_folder = run_suite(*suite, options, progress)
    assert same_folder == folder
    assert progress.written == {"constant": 7}
    assert candidates.read_text().splitlines(keepends=True) == lines
    assert again.rows == report.rows


def test_when_the_time_is_up_what_is_done_is_scored_and_the_rest_can_follow(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioners = "first: {kind: constant, caption: x}, second: {kind: shuffled}, third: {kind: title}"
    suite = load_suite(_suite(tmp_path, captioners))
    now = 0.0
    monkeypatch.setattr("evaluation.run.time", SimpleNamespace(monotonic=lambda: now))

    def a_second_each(captioner: str, done: int, total: int) -> None:
        nonlocal now
        now += 1

    options = RunOptions(runs_dir=tmp_path / "runs", time_limit_s=17)
    report, folder = run_suite(*suite, options, a_second_each)
    first, second, third = report.rows
    assert isinstance(first, ScoredRow)
    assert (first.scored, first.partial) == (12, None)
    assert isinstance(second, ScoredRow)
    assert (second.samples, second.scored, second.partial) == (12, 5, 5)
    assert isinstance(third, UnavailableRow)
    assert third.unavailable == "the time was up before it wrote anything. The same command goes on"
    markdown = (folder / "report.md").read_text()
    assert "| second (partial) | 5/12 |" in markdown
    assert "second is partial: it got to 5 of 12 samples before the time was up" in markdown
    assert "has no candidate" not in markdown

    progress = _Progress()
    whole, same_folder = run_suite(*suite, RunOptions(runs_dir=tmp_path / "runs"), progress)
    assert same_folder == folder
    assert progress.written == {"second": 7, "third": 12}
    undisturbed, _ = run_suite(*suite, RunOptions(runs_dir=tmp_path / "other"), _Progress())
    assert whole.rows == undisturbed.rows


def test_another_setup_is_another_run(corpus: Path, samples: list[Sample], tmp_path: Path) -> None:
    suite = load_suite(_suite(tmp_path, "constant: {kind: constant, caption: x}"))
    runs = tmp_path / "runs"
    first, _ = run_suite(*suite, RunOptions(runs_dir=runs, run="mine"), _Progress())
    assert first.run == "mine"
    with pytest.raises(ConfigError, match=r"'mine' was made with another setup \(other corpus\)"):
        run_suite(*suite, RunOptions(runs_dir=runs, run="mine", limit=3), _Progress())
    unnamed = {
        run_suite(*suite, RunOptions(runs_dir=runs, limit=limit), _Progress())[0].run for limit in (3, 4)
    }
    assert len(unnamed) == 2
    other = tmp_path / "other.jsonl"
    write_corpus(other, samples[:2])
    report, _ = run_suite(*suite, RunOptions(runs_dir=runs, corpus=other), _Progress())
    assert report.samples == 2


def test_another_training_corpus_is_another_run_wherever_it_lies(
    corpus: Path, samples: list[Sample], tmp_path: Path
) -> None:
    suite = load_suite(_suite(tmp_path, "nearest: {kind: nearest, corpus: train.jsonl}", "[shape_accuracy]"))
    write_corpus(tmp_path / "train.jsonl", samples[6:])
    write_corpus(tmp_path / "copy.jsonl", samples[6:])
    write_corpus(tmp_path / "other.jsonl", samples[7:])

    def run(training_corpus: Path | None) -> str:
        options = RunOptions(runs_dir=tmp_path / "runs", limit=4, training_corpus=training_corpus)
        return run_suite(*suite, options, _Progress())[0].run

    assert run(None) == run(tmp_path / "copy.jsonl") != run(tmp_path / "other.jsonl")


def test_another_base_model_takes_the_place_of_the_suites(
    corpus: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    suite = load_suite(_suite(tmp_path, "base: {kind: engine, model: nobody/nothing}", "[shape_accuracy]"))
    options = RunOptions(runs_dir=tmp_path / "runs", limit=2, model=str(tiny_llama))
    [row] = run_suite(*suite, options, _Progress())[0].rows
    assert isinstance(row, ScoredRow)
    with pytest.raises(ConfigError, match="no quantization 'q4'"):
        checked_quantization("q4", "some")
    with pytest.raises(ConfigError, match="the model that --model names"):
        checked_quantization("nf4", None)
    assert checked_quantization("nf4", "some") == "nf4"


def test_the_report_has_scores_by_source(samples: list[Sample], tmp_path: Path) -> None:
    sources = ("scenes", "@tabler/icons@3")
    write_corpus(
        tmp_path / "corpus.jsonl",
        [one.model_copy(update={"source": sources[index % 2]}) for index, one in enumerate(samples)],
    )
    suite = load_suite(_suite(tmp_path, "constant: {kind: constant, caption: x}", "[shape_accuracy]"))
    report, folder = run_suite(*suite, RunOptions(runs_dir=tmp_path / "runs"), _Progress())
    [row] = report.rows
    assert isinstance(row, ScoredRow)
    assert list(row.by_source) == sorted(sources)
    markdown = (folder / "report.md").read_text()
    assert "| scenes | constant | - | - | - | - | - | 0.000 [0.000, 0.000] | - |" in markdown


def test_a_captioner_without_weights_does_not_stop_the_others(corpus: Path, tmp_path: Path) -> None:
    suite = load_suite(
        _suite(
            tmp_path,
            "blip: {kind: blip, source: nobody/nothing}, base: {kind: engine, model: nobody/nothing}, "
            "constant: {kind: constant, caption: x}",
        )
    )
    report, _ = run_suite(*suite, RunOptions(runs_dir=tmp_path / "runs"), _Progress())
    blip, base, constant = report.rows
    assert isinstance(blip, UnavailableRow)
    assert "nobody/nothing" in blip.unavailable
    assert isinstance(base, UnavailableRow)
    assert "nobody/nothing" in base.unavailable
    assert isinstance(constant, ScoredRow)


def test_cogvlm_takes_part_and_goes_on(corpus: Path, tiny_cogvlm: Path, tmp_path: Path) -> None:
    model = f"source: {tiny_cogvlm}, tokenizer: {tiny_cogvlm}, max_new_tokens: 8"
    suite = load_suite(_suite(tmp_path, f"cogvlm: {{kind: cogvlm, {model}}}"))
    options = RunOptions(runs_dir=tmp_path / "runs", limit=3)
    report, folder = run_suite(*suite, options, _Progress())
    [row] = report.rows
    assert isinstance(row, UnavailableRow)
    assert "--trust-remote-code allows it" in row.unavailable
    options = replace(options, trust_remote_code=True)
    report, same_folder = run_suite(*suite, options, _Progress())
    assert same_folder == folder
    [row] = report.rows
    assert isinstance(row, ScoredRow)
    assert (row.scored, row.empty) == (3, 0)
    progress = _Progress()
    again, same_folder = run_suite(*suite, options, progress)
    assert (again.rows, same_folder, progress.written) == (report.rows, folder, {})


def test_references_by_a_captioner_of_the_same_kind_are_marked(
    samples: list[Sample], tiny_blip: Path, tmp_path: Path
) -> None:
    by_blip = [sample.model_copy(update={"caption_author": "BLIP-2"}) for sample in samples[:2]]
    write_corpus(tmp_path / "corpus.jsonl", by_blip)
    suite = load_suite(_suite(tmp_path, f"blip: {{kind: blip, source: {tiny_blip}}}"))
    report, folder = run_suite(*suite, RunOptions(runs_dir=tmp_path / "runs"), _Progress())
    [row] = report.rows
    assert isinstance(row, ScoredRow)
    assert row.circular
    assert "blip (circular)" in (folder / "report.md").read_text().replace("\\", "")


def test_scores_of_what_a_captioner_is_revised_by_are_marked(
    corpus: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    plain = f"{{kind: engine, model: {tiny_llama}, max_new_tokens: 4}}"
    revised = f"{{kind: engine, model: {tiny_llama}, max_new_tokens: 4, revise: true}}"
    suite = load_suite(_suite(tmp_path, f"base: {plain}, better: {revised}"))
    report, folder = run_suite(*suite, RunOptions(runs_dir=tmp_path / "runs"), _Progress())
    assert all(isinstance(row, ScoredRow) and row.scored == 12 for row in report.rows)
    said = (folder / "report.md").read_text()
    assert "better was revised by what Faithfulness" in said
    assert "base was revised" not in said
    with pytest.raises(ConfigError, match="does not revise"):
        load_suite(_suite(tmp_path, "a: {kind: engine, url: http://gpu-box:8000, revise: true}"))


def test_a_broken_adapter_or_an_empty_split_stops_the_run_at_once(corpus: Path, tmp_path: Path) -> None:
    suite = load_suite(_suite(tmp_path, "constant: {kind: constant, caption: x}"))
    with pytest.raises(AdapterError, match="is not an adapter folder"):
        run_suite(*suite, RunOptions(runs_dir=tmp_path / "runs", adapter=tmp_path), _Progress())
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(CorpusError, match="there is no sample in it"):
        run_suite(
            *suite, RunOptions(runs_dir=tmp_path / "runs", corpus=tmp_path / "empty.jsonl"), _Progress()
        )
    assert not (tmp_path / "runs").exists()


_KILLED_AFTER_SEVEN = """
import os, signal, sys
from pathlib import Path
from evaluation.run import RunOptions, run_suite
from evaluation.suite import checked_quantization, load_suite
from tests.captioning.helpers import make_adapter
from tests.tiny_models import make_tiny_llama

def kill(captioner, done, total):
    if done == 7:
        os.kill(os.getpid(), signal.SIGKILL)

run_suite(*load_suite(sys.argv[1]), RunOptions(runs_dir=Path(sys.argv[2])), kill)
"""


def test_a_killed_run_goes_on_and_ends_as_if_undisturbed(
    corpus: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    suite = _suite(tmp_path, f"base: {{kind: engine, model: {tiny_llama}, max_new_tokens: 8}}")
    runs = tmp_path / "runs"
    command = [sys.executable, "-c", _KILLED_AFTER_SEVEN, suite, str(runs)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    [candidates] = runs.glob("*/base/candidates.jsonl")
    before = candidates.read_bytes()
    assert before.count(b"\n") == 7

    progress = _Progress()
    resumed, folder = run_suite(*load_suite(suite), RunOptions(runs_dir=runs), progress)
    assert folder == candidates.parents[1]
    assert progress.written == {"base": 5}
    assert candidates.read_bytes().startswith(before)
    assert list(read_candidates(candidates)) == [sample.id for sample in read_corpus(corpus)]
    undisturbed, _ = run_suite(*load_suite(suite), RunOptions(runs_dir=tmp_path / "other"), _Progress())
    assert resumed.rows == undisturbed.rows


_KILLED_TEN_TIMES = """
import os, random, signal, sys
from pathlib import Path
from evaluation.run import RunOptions, run_suite
from evaluation.suite import checked_quantization, load_suite

suite, options, rng = load_suite(sys.argv[1]), RunOptions(runs_dir=Path(sys.argv[2])), random.Random(0)

def one_run(die_after):
    made = []
    def progress(captioner, done, total):
        made.append(captioner)
        with open(sys.argv[3], "a") as log:
            log.write(f"{captioner} {done}\\n")
        if len(made) == die_after:
            os.kill(os.getpid(), signal.SIGKILL)
    run_suite(*suite, options, progress)

for attempt in range(10):
    child = os.fork()
    if child == 0:
        one_run(rng.randint(1, 3) + attempt % 2)
        os._exit(0)
    os.waitpid(child, 0)
    rng.random()
one_run(None)
"""


def test_killed_ten_times_at_random_points_nothing_is_made_twice_or_lost(
    corpus: Path, tmp_path: Path
) -> None:
    captioners = (
        "constant: {kind: constant, caption: a red circle}, shuffled: {kind: shuffled}, title: {kind: title}"
    )
    suite = _suite(tmp_path, captioners, "[shape_accuracy, faithfulness]")
    runs, log = tmp_path / "runs", tmp_path / "made.log"
    command = [sys.executable, "-c", _KILLED_TEN_TIMES, suite, str(runs), str(log)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    made = log.read_text().splitlines()
    assert len(made) == len(set(made)) == 3 * 12
    undisturbed, other = run_suite(*load_suite(suite), RunOptions(runs_dir=tmp_path / "other"), _Progress())
    [folder] = runs.iterdir()
    resumed = json.loads((folder / "report.json").read_text())
    assert resumed["rows"] == undisturbed.model_dump(mode="json")["rows"]
    for captioner in ("constant", "shuffled", "title"):
        pair = [path / captioner / "candidates.jsonl" for path in (folder, other)]
        assert pair[0].read_bytes() == pair[1].read_bytes()

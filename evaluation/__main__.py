"""Measure captions: `python -m evaluation [SUITE]` runs a suite, `score` judges candidates made anywhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID
from rich.table import Table

from captioning.errors import ConfigError
from rendering import SvgCaptionError

if TYPE_CHECKING:
    from evaluation.compare import RunComparison
    from evaluation.report import ScoredRow, UnavailableRow
    from evaluation.robustness import EditResult


app = typer.Typer(
    help="Measure captions: python -m evaluation [SUITE] runs a suite, `embedded` if none is named.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Clip = Annotated[
    str | None,
    typer.Option(
        metavar="embedded|FOLDER|ID",
        help="CLIP weights: ours, or others in open_clip's format from a folder or the hub.",
    ),
]


def main() -> None:
    """Run a command: status 0 done, 1 failed, 2 wrong use; an error is one line, never a traceback."""
    try:
        app(_suite_first(sys.argv[1:]), prog_name="python -m evaluation")
    except SvgCaptionError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": {"type": error.code, "message": str(error)}}))
        else:
            _note(f"[red]{type(error).__name__}[/]: {escape(str(error))}")
        sys.exit(2 if isinstance(error, ConfigError) else 1)


def _suite_first(words: list[str]) -> list[str]:
    """A first word that is no command is a suite or an option of `run`; no word at all runs `embedded`."""
    return (
        words
        if words and words[0] in ("run", "score", "samples", "compare", "robustness", "--help")
        else ["run", *words]
    )


@app.command()
def run(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="A shipped suite, or a YAML file.")
    ] = "embedded",
    *,
    adapter: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of the adapter to judge.")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Another split than the suite's.")
    ] = None,
    training_corpus: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="What the floor `nearest` takes captions from."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The base model that the adapter was trained on, if not the suite's.")
    ] = None,
    quantization: Annotated[
        str | None, typer.Option(help="Of that model: nf4, fp4 or int8; default: none.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many samples.")] = None,
    clip: Clip = None,
    name: Annotated[str | None, typer.Option("--run", help="Name of the run.")] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where runs keep their files.")] = Path("runs"),
    time_limit: Annotated[
        float | None, typer.Option(min=0, help="Seconds; what is written by then is scored.")
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let CogVLM run the Python code of its repository.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Have a suite's captioners write candidates, and score them. Repeated, it goes on where it stopped."""
    with _stdout_kept() as stdout:
        from evaluation.report import ScoredRow
        from evaluation.run import RunOptions, run_suite
        from evaluation.suite import checked_quantization, load_suite

        suite_name, settings = load_suite(suite)
        options = RunOptions(
            adapter=adapter,
            corpus=corpus,
            training_corpus=training_corpus,
            model=model,
            quantization=checked_quantization(quantization, model),
            limit=limit,
            clip=clip,
            run=name,
            runs_dir=runs_dir,
            time_limit_s=time_limit,
            trust_remote_code=trust_remote_code,
        )
        with _progress() as progress:
            report, folder = run_suite(suite_name, settings, options, progress)
    if as_json:
        print(json.dumps(report.model_dump(mode="json") | {"folder": str(folder)}), file=stdout)
    else:
        _print_rows(report.rows)
        Console(soft_wrap=True, highlight=False).print(f"Report: {folder / 'report.md'}", markup=False)
    if not any(isinstance(row, ScoredRow) for row in report.rows):
        raise typer.Exit(1)


@app.command()
def score(
    candidates: Annotated[
        Path,
        typer.Argument(
            metavar="CANDIDATES.jsonl",
            exists=True,
            dir_okay=False,
            help='Lines of {"id": ..., "caption": ...}.',
        ),
    ],
    corpus: Annotated[
        Path,
        typer.Argument(
            metavar="CORPUS.jsonl", exists=True, dir_okay=False, help="Samples with their references."
        ),
    ],
    *,
    clip: Clip = "embedded",
    as_json: Json = False,
) -> None:
    """Score candidates made anywhere against the references in CORPUS."""
    with _stdout_kept() as stdout:
        from evaluation.candidates import read_candidates
        from evaluation.report import ScoredRow
        from evaluation.scoring import score
        from evaluation.split import read_split
        from evaluation.workbench import Workbench

        made, samples = read_candidates(candidates), read_split(corpus)
        with Workbench(samples) as workbench:
            [scored] = score(samples, [made], clip=workbench.clip(clip))
    if as_json:
        print(scored.card.model_dump_json(), file=stdout)
    else:
        row = ScoredRow(captioner=candidates.stem, settings={}, circular=False, **dict(scored.card))
        _print_rows([row])
    if not scored.card.scored:
        raise typer.Exit(1)


@app.command()
def samples(
    run: Annotated[Path, typer.Argument(metavar="RUN", exists=True, file_okay=False, help="Its folder.")],
    *,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The HTML file to write.")],
    n: Annotated[int, typer.Option(min=1, help="How many samples.")] = 40,
    seed: Annotated[int, typer.Option(help="Which ones: it alone decides, never what was said.")] = 0,
    corpus: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The run's split, if it was no suite's.")
    ] = None,
) -> None:
    """Show samples of a finished run on one page: drawing, references, every captioner's caption."""
    from evaluation.samples import write_samples

    shown = write_samples(run, out, n=n, seed=seed, corpus=corpus)
    Console(soft_wrap=True, highlight=False).print(f"{shown} samples in {out}", markup=False)


@app.command()
def robustness(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="A shipped suite, or a YAML file.")
    ] = "embedded",
    *,
    adapter: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of the adapter to judge.")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Another split than the suite's.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Only the first so many samples, ten edits each.")] = 50,
    name: Annotated[str | None, typer.Option("--run", help="Name of the run.")] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where runs keep their files.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Edit drawings, and say whether a suite's captioners notice what they must and nothing else."""
    with _stdout_kept() as stdout:
        from evaluation.robustness import run_robustness
        from evaluation.run import RunOptions
        from evaluation.suite import load_suite

        suite_name, settings = load_suite(suite)
        options = RunOptions(adapter=adapter, corpus=corpus, limit=limit, run=name, runs_dir=runs_dir)
        with _progress() as progress:
            found, folder = run_robustness(suite_name, settings, options, progress)
    if as_json:
        print((folder / "robustness.json").read_text(encoding="utf-8"), file=stdout)
        return
    _print_robustness(found)
    Console(soft_wrap=True, highlight=False).print(f"Report: {folder / 'robustness.json'}", markup=False)


@app.command()
def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", exists=True, file_okay=False, help="Folder of a run.")
    ],
    second: Annotated[
        Path,
        typer.Argument(metavar="B", exists=True, file_okay=False, help="Folder of a run on the same split."),
    ],
    *,
    captioners: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="IN_A IN_B", help="Two captioners; without it, all that both runs have."),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The runs' split, if it was no suite's.")
    ] = None,
    clip: Clip = "embedded",
    as_json: Json = False,
) -> None:
    """Say how B's captions differ from A's, on the same samples, with paired tests."""
    with _stdout_kept() as stdout:
        from evaluation.compare import compare_runs

        found = compare_runs(first, second, captioners=captioners, corpus=corpus, clip=clip)
    if as_json:
        print(found.model_dump_json(), file=stdout)
    else:
        _print_comparison(found)


@contextmanager
def _stdout_kept() -> Iterator[TextIO]:
    """Standard output for the answer alone: what libraries print goes to standard error."""
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        yield stdout


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each captioner on standard error; in a log, a line for each hundred."""
    console = Console(stderr=True, highlight=False)
    with Progress(console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(captioner: str, done: int, total: int) -> None:
            if captioner not in tasks:
                tasks[captioner] = bars.add_task(captioner, total=total)
            bars.update(tasks[captioner], completed=done)
            if not console.is_terminal and (done == total or done % 100 == 0):
                console.print(f"{captioner}: {done} of {total} candidates", markup=False)

        yield progress


def _print_rows(rows: Sequence[ScoredRow | UnavailableRow]) -> None:
    from evaluation.report import cells, headings, notes

    table = Table(*map(escape, headings(rows)))
    for row in rows:
        table.add_row(*map(escape, cells(row)))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a log has no width: no cell is cut
    console.print(table)
    console.print(_claims(rows))
    for note in notes(rows):
        console.print(escape(note), soft_wrap=True)


def _claims(rows: Sequence[ScoredRow | UnavailableRow]) -> Table:
    from evaluation.report import ScoredRow
    from evaluation.tables import CLAIM_HEADINGS, score_cells

    table = Table("Captioner", *CLAIM_HEADINGS.values())
    for row in rows:
        if isinstance(row, ScoredRow):
            table.add_row(escape(row.captioner), *score_cells(row.scores, CLAIM_HEADINGS))
    return table


def _print_robustness(found: Mapping[str, Sequence[EditResult] | str]) -> None:
    table = Table("Captioner", "Edit", "Demand", "As demanded")
    for captioner, results in found.items():
        if isinstance(results, str):
            table.add_row(escape(captioner), "-", "-", escape(f"unavailable: {results}"))
            continue
        for one in results:
            share = f"{one.passed / one.asked:.0%} of {one.asked}"
            table.add_row(escape(captioner), one.edit, one.demand, share)
    Console(highlight=False).print(table)


def _print_comparison(found: RunComparison) -> None:
    from evaluation.comparison import claim
    from evaluation.report import HEADINGS
    from evaluation.tables import CLAIM_HEADINGS, signed

    names = HEADINGS | CLAIM_HEADINGS
    console = Console(highlight=False, soft_wrap=True)
    for one in found.comparisons:
        table = Table("Score", f"{escape(one.captioner)} less {escape(one.baseline)}, corrected p")
        for name, heading in names.items():
            if name in one.differences:
                table.add_row(heading, escape(signed(one.differences[name])))
        console.print(table)
        console.print(escape(claim(one, names)))
    if found.only_in_one:
        console.print(f"In one run alone: {', '.join(map(escape, found.only_in_one))}")


def _note(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text)


if __name__ == "__main__":
    main()

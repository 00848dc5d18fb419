"""`python -m training corpus`: make corpora of scenes and icons."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from captioning.corpus import write_corpus
from training.corpora import commands
from training.corpora.build import BuildReport, CorpusSpec, build_corpus, checked_style
from training.corpora.icon_packages import PACKAGES, TRAINING_FAMILIES
from training.corpora.suite import held_out_suite

app = typer.Typer(help="Make corpora, look into them, divide them, import others.", no_args_is_help=True)
app.command()(commands.inspect)
app.command()(commands.split)
app.command("import")(commands.import_)

_CACHE = Path("cache/icons")

Cache = Annotated[Path, typer.Option(help="Where the icon packages are kept.", file_okay=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def _known_families(value: str) -> str:
    families = [name for name in map(str.strip, value.split(",")) if name]
    unknown = set(families) - set(PACKAGES)
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: no such family. Known: {', '.join(PACKAGES)}."
        )
    return ",".join(families)


@app.command()
def build(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the three splits and the report.", file_okay=False)],
    scenes: Annotated[int, typer.Option(min=0, help="Scenes in the training split.")] = CorpusSpec.scenes,
    icons: Annotated[
        str, typer.Option(callback=_known_families, help="Icon families, with commas between; or nothing.")
    ] = ",".join(TRAINING_FAMILIES),
    seed: Annotated[int, typer.Option(min=0)] = 0,
    style: Annotated[
        str, typer.Option(help="Of captions: description, alt, or literal (scenes).")
    ] = "description",
    max_chars: Annotated[
        int, typer.Option(min=1, help="Canonical text above this length is left out.")
    ] = CorpusSpec.max_canonical_chars,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    cache: Cache = _CACHE,
    json_output: Json = False,
) -> None:
    """Build a corpus: train.jsonl, validation.jsonl, test.jsonl and report.json."""
    families = tuple(filter(None, icons.split(",")))
    spec = CorpusSpec(scenes, families, seed, checked_style(style), max_chars)
    with Console(stderr=True).status("") as status:
        report = build_corpus(spec, out, cache, workers=workers, progress=status.update)
    if json_output:
        typer.echo(json.dumps(asdict(report)))
    else:
        _print(report, out)


@app.command()
def suite(
    *,
    out: Annotated[Path, typer.Option(help="The .jsonl file to write.", dir_okay=False)],
    cache: Cache = _CACHE,
    json_output: Json = False,
) -> None:
    """Write the held-out test suite of the embedded model."""
    samples = write_corpus(out, held_out_suite(cache))
    typer.echo(
        json.dumps({"samples": samples, "file": str(out)}) if json_output else f"{samples} samples in {out}"
    )


def _print(report: BuildReport, out: Path) -> None:
    console = Console()
    table = Table("split", "samples", "references", "median chars", "sources", title=str(out))
    for split, part in report.splits.items():
        sources = ", ".join(f"{source} {number:,}" for source, number in sorted(part.by_source.items()))
        numbers = (part.samples, part.references, part.canonical_chars["median"])
        table.add_row(split, *(f"{number:,}" for number in numbers), sources)
    console.print(table)
    for reason, number in sorted(report.dropped.items()):
        console.print(f"left out: {number:,} x {reason}")

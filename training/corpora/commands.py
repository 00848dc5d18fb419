"""`python -m training corpus inspect|split|import`: look into corpora, divide them, import others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from captioning.errors import CorpusError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="CORPUS...", exists=True, help="Corpus files (.jsonl, .parquet), or folders of splits."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]
_NO_TOKENIZER = "none"
_OF_A_DIVISION = ("shares", "hold_out_source", "hold_out_concepts", "max_chars", "drop_duplicates", "seed")


def inspect(
    files: Files,
    *,
    html: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write a page with samples there.")
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="On the page.")] = 48,
    seed: Annotated[int, typer.Option(help="Decides which samples are on the page.")] = 0,
    tokenizer: Annotated[
        str, typer.Option(help=f"Of the base model whose tokens are counted, or '{_NO_TOKENIZER}'.")
    ] = "embedded",
    workers: Workers = 2,
    json_output: Json = False,
) -> None:
    """Say what is in corpora: strata, duplicates within and across files, leaks of captions."""
    from training.corpora.inputs import corpus_files
    from training.corpora.inspection import inspect_corpus

    found_files = corpus_files(files)
    with _progress() as progress:
        inspection = inspect_corpus(
            found_files,
            tokenizer=_tokenizer(tokenizer),
            tokenizer_name=None if tokenizer == _NO_TOKENIZER else tokenizer,
            show=samples if html else 0,
            seed=seed,
            workers=workers,
            progress=progress,
        )
        if html:
            from training.corpora.inspection_page import page

            progress("drawing the page")
            html.parent.mkdir(parents=True, exist_ok=True)
            html.write_text(page(inspection, found_files, seed), encoding="utf-8")
    summary = inspection.summary() | ({"page": str(html)} if html else {})
    if json_output:
        typer.echo(json.dumps(summary))
    else:
        _print_inspection(summary)


def split(
    context: typer.Context,
    files: Files,
    *,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for the splits, their manifests and the report."),
    ] = None,
    shares: Annotated[str, typer.Option(help="Of train, validation and test.")] = "0.9,0.05,0.05",
    hold_out_source: Annotated[
        list[str] | None, typer.Option(help="A source that is for the test only; 'tabler*' is a pattern.")
    ] = None,
    hold_out_concepts: Annotated[
        float, typer.Option(help="Share of the first tags that are for the test only.")
    ] = 0.0,
    max_chars: Annotated[
        int | None, typer.Option(min=1, help="Canonical text above this length is left out.")
    ] = None,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Keep one sample of each canonical text.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another seed is another division.")] = 0,
    manifest: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, dir_okay=False, help="Find the samples of this split again, and verify them."
        ),
    ] = None,
    workers: Workers = 2,
    json_output: Json = False,
) -> None:
    """Divide corpora so that no drawing, nor one that looks the same, is in two splits."""
    if manifest:
        if any(_is_given(context, name) for name in _OF_A_DIVISION):
            raise typer.BadParameter("a manifest says itself which samples it has", param_hint="--manifest")
        return _rebuild(files, manifest, out, workers, json_output)
    if out is None:
        raise typer.BadParameter(
            "say where the splits go, or what to verify by --manifest", param_hint="--out"
        )
    from training.corpora.inputs import corpus_files
    from training.corpora.splitting import SplitSpec, split_corpus

    spec = SplitSpec(
        _shares(shares), tuple(hold_out_source or ()), hold_out_concepts, max_chars, drop_duplicates, seed
    )
    with _progress() as progress:
        report = split_corpus(
            list(corpus_files(files).values()), out, spec, workers=workers, progress=progress
        )
    facts = asdict(report)
    del facts["dropped_ids"]  # report.json has them
    if json_output:
        return typer.echo(json.dumps(facts))
    for name, part in report.splits.items():
        typer.echo(f"{name}: {part['samples']:,} samples in {out / f'{name}.jsonl'}")
    _print_counts("for the test because held out", report.moved_to_test)
    _print_counts("left out", report.dropped)
    number, largest = report.clusters["number"], report.clusters["largest"]
    typer.echo(f"{number:,} clusters of drawings that look alike, the largest of {largest:,}")
    return None


def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="A data set on a Hugging Face hub, a .parquet, .jsonl, .csv or .tsv file, or a folder."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The .jsonl or .parquet file to write.")],
    column: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=COLUMN", help="Such as svg=Svg or references=caption.")
    ] = None,
    layout: Annotated[str | None, typer.Option(help="Columns of a known data set, for its files.")] = None,
    captions: Annotated[str | None, typer.Option(help="Which caption column of a known data set.")] = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="Of drawings whose rows do not say.")
    ] = None,
    caption_author: Annotated[str | None, typer.Option(help="Who or what wrote the captions.")] = None,
    source_name: Annotated[
        str | None, typer.Option(help="The samples' source, in place of its name.")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="Of a data set that has several.")] = None,
    split_name: Annotated[str, typer.Option("--split", help="Of a data set on a hub.")] = "train",
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch on the hub.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Samples, at most.")] = None,
    json_output: Json = False,
) -> None:
    """Make a corpus file of foreign data; rows that make no sample are counted with the reason."""
    from training.corpora.importing import Source, import_corpus
    from training.corpora.layouts import LAYOUTS, layout_for

    if out.suffix not in (".jsonl", ".parquet"):
        raise typer.BadParameter(f"'{out}' must end in .jsonl or .parquet", param_hint="--out")
    if layout and layout not in LAYOUTS:
        raise typer.BadParameter(f"'{layout}' is not known: {', '.join(LAYOUTS)}", param_hint="--layout")
    constants = {"license": license_, "caption_author": caption_author, "source": source_name}
    chosen = layout_for(
        layout or source,
        captions,
        _columns(column or []),
        {name: text for name, text in constants.items() if text},
    )
    where = Source(source, split_name, subset, revision)
    with _progress() as progress:
        report = import_corpus(where, chosen, out, limit=limit, progress=progress)
    if json_output:
        return typer.echo(json.dumps(vars(report)))  # asdict cannot copy a Counter
    typer.echo(f"{report.samples:,} samples with {report.references:,} references in {out}")
    _print_counts("left out", report.left_out)
    return None


def _rebuild(
    files: list[Path], manifests: list[Path], out: Path | None, workers: int, json_output: bool
) -> None:
    from training.corpora.inputs import corpus_files
    from training.corpora.rebuilding import rebuild

    corpora = list(corpus_files(files).values())
    with _progress() as progress:
        found = rebuild(corpora, manifests, out, workers=workers, progress=progress)
    incomplete = [each for each in found if not each.is_complete]
    if json_output:
        typer.echo(json.dumps({"complete": not incomplete, "splits": [asdict(each) for each in found]}))
        raise typer.Exit(1 if incomplete else 0)
    if incomplete:
        problems = ". ".join(f"{each.split}: {each.message()}" for each in incomplete)
        raise CorpusError(f"not the samples of the manifest. {problems}")
    for each in found:
        same = ", byte for byte" if each.is_identical else ""
        typer.echo(f"{each.split}: all {each.samples:,} samples are those of the manifest{same}")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _columns(given: list[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    for (name, sign, value), each in zip(pairs, given, strict=True):
        if not (name and sign and value):
            raise typer.BadParameter(f"'{each}' is not FIELD=COLUMN", param_hint="--column")
    return {name: value for name, _, value in pairs}


def _shares(text: str) -> tuple[float, float, float]:
    try:
        train, validation, test = map(float, text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is not three numbers with commas between, such as 0.9,0.05,0.05", param_hint="--shares"
        ) from None
    return train, validation, test


def _tokenizer(name: str) -> PreTrainedTokenizerBase | None:
    if name == _NO_TOKENIZER:
        return None
    from captioning.base_models import load_tokenizer, resolve

    return load_tokenizer(resolve(name))


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    with Console(stderr=True).status("") as status:
        yield status.update


def _print_counts(what: str, counts: dict[str, int]) -> None:
    for reason, number in sorted(counts.items()):
        typer.echo(f"{what}: {number:,} x {reason}")


def _print_inspection(summary: dict[str, Any]) -> None:
    table = Table("", *summary["files"])
    files = list(summary["files"].values())
    table.add_row("samples", *(f"{found['samples']:,}" for found in files))
    for name in dict.fromkeys(name for found in files for name in found["quantities"]):
        table.add_row(f"{name}: median, most", *(_spread(found["quantities"].get(name)) for found in files))
    for name in ("has text", "source", "license", "caption author", "unusable"):
        table.add_row(
            name, *("\n".join(f"{key}: {n:,}" for key, n in found[name].items()) for found in files)
        )
    for kind in ("leaks", "canonical leaks"):
        table.add_row(kind, *(_leaks(found[kind]) for found in files))
    Console(markup=False).print(table)
    for kind, counts in ((kind, summary["duplicates"][kind]) for kind in ("canonical", "render")):
        text = "equal canonical texts" if kind == "canonical" else "pictures alike"
        typer.echo(f"{counts['groups']:,} groups of {text}, {counts['groups across files']:,} across files")


def _spread(found: dict[str, Any] | None) -> str:
    return f"{found['median']:g}, {found['max']:,}" if found else "-"


def _leaks(found: dict[str, dict[str, float]]) -> str:
    return "\n".join(f"{place}: {shares['all words']:.1%}" for place, shares in found.items()) or "none"

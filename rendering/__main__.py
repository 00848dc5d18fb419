"""Look at SVG files through the eyes of the system: `python -m rendering --help`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rendering.backends import available_backends, backend_names, best_backend
from rendering.canonical import CANONICALIZER_VERSION, canonicalize
from rendering.compose import check_background
from rendering.document import Drawing, load
from rendering.errors import SvgCaptionError, SvgRejected
from rendering.raster import MAX_SIZE_PX, Rasterizer
from rendering.sources import Source, choose, read_file, sources_in

app = typer.Typer(
    help="Untrusted SVG in; sanitized text, canonical text and pixels out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run a command: status 0 done, 1 failed, 2 wrong use; an error is one line, never a traceback."""
    try:
        app(prog_name="python -m rendering")
    except (SvgCaptionError, OSError) as error:
        kind = error.code if isinstance(error, SvgCaptionError) else "system"
        if "--json" in sys.argv:
            _print_json(error={"type": kind, "message": str(error)})
        else:
            _note(f"[red]{type(error).__name__}[/]: {escape(str(error))}")
        sys.exit(1)


def _known_background(value: str) -> str:
    try:
        check_background(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def _known_backends(value: str | None) -> str | None:
    """Checks one name, or several with commas between."""
    unknown = set(value.split(",") if value else ()) - set(backend_names())
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: no such renderer. Known: {', '.join(backend_names())}."
        )
    return value


def _known_backend_or_best(value: str) -> str | None:
    return value if value == "best" else _known_backends(value)


File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An SVG or SVGZ file.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds that one file may take.")]


@app.command()
def render(
    file: File,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False, help="The PNG file to write.")],
    size: Annotated[int, typer.Option(min=1, max=MAX_SIZE_PX, help="Side of the square, in pixels.")] = 512,
    background: Annotated[
        str,
        typer.Option(
            callback=_known_background, help="A colour, 'transparent', or 'auto': white if it shows."
        ),
    ] = "white",
    backend: Annotated[
        str,
        typer.Option(callback=_known_backend_or_best, help="The renderer; 'best': the one for this file."),
    ] = "cairosvg",
    timeout: Timeout = 5.0,
    as_json: Json = False,
) -> None:
    """Draw FILE into a square PNG."""
    drawing = load(read_file(file))
    backend = best_backend(drawing) if backend == "best" else backend
    with Rasterizer(backend=backend, timeout_s=timeout) as rasterizer:
        raster = rasterizer.measure(drawing, size_px=size, background=background)
    output.write_bytes(raster.png)
    if as_json:
        cost = {"time_ms": raster.time_ms, "memory_mib": raster.memory_mib}
        _print_json(output=str(output), backend=raster.backend, **cost, **_findings(drawing))
    else:
        _note(f"{output}: {size} x {size} px, {raster.backend}, {raster.time_ms:.0f} ms")
        _note_findings(drawing)


@app.command()
def check(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="SVG files.")
    ],
    as_json: Json = False,
) -> None:
    """Say of each FILE whether it is accepted, and what is removed from it; status 1 if any is refused."""
    results = [_check(file) for file in files]
    refused = sum(not result["accepted"] for result in results)
    if as_json:
        _print_json(accepted=len(results) - refused, refused=refused, files=results)
    else:
        _print_checks(results)
    if refused:
        raise typer.Exit(1)


@app.command("canonicalize")
def print_canonical(file: File, as_json: Json = False) -> None:
    """Print the canonical text of FILE: what the language model reads."""
    drawing = load(read_file(file))
    text = canonicalize(drawing)
    if as_json:
        _print_json(canonical=text, version=CANONICALIZER_VERSION, **_findings(drawing))
    else:
        print(text)
        _note_findings(drawing)


@app.command("compare")
def compare_renderers(
    where: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|CORPUS.jsonl", exists=True, help="SVG files, or samples with one each."
        ),
    ],
    *,
    samples: Annotated[int, typer.Option(min=1, help="How many files to draw, chosen at random.")] = 5,
    backends: Annotated[
        str | None,
        typer.Option(
            callback=_known_backends, help="Renderers, with commas between.  [default: all installed]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which files are chosen.")] = 0,
    time_limit: Annotated[
        float, typer.Option(min=0, help="Seconds; what is done by then is reported.")
    ] = 86_400,
    timeout: Timeout = 5.0,
    references: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of right pictures: NAME.png for NAME.svg."),
    ] = None,
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for comparison.json and comparison.html.")
    ] = Path("runs/compare"),
    as_json: Json = False,
) -> None:
    """Draw files with several renderers and say how far the pictures agree."""
    from rendering.compare import FileResult, compare, report
    from rendering.compare_page import page

    def note(file: FileResult) -> None:
        ends = (f"{name} {outcome.outcome}" for name, outcome in file.outcomes.items())
        _note(escape(f"{file.id}: {file.refused or ', '.join(ends)}"))

    comparison = compare(
        _choose(where, samples, seed),
        backends.split(",") if backends else list(available_backends()),
        seed=seed,
        time_limit_s=time_limit,
        timeout_s=timeout,
        references=references,
        progress=note,
    )
    found = report(comparison) | {"page": str(out / "comparison.html")}
    out.mkdir(parents=True, exist_ok=True)
    (out / "comparison.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (out / "comparison.html").write_text(page(comparison), encoding="utf-8")
    if as_json:
        _print_json(**found)
    else:
        _print_comparison(found)


def _choose(where: Path, samples: int, seed: int) -> list[Source]:
    chosen = choose(sources_in(where), samples, seed)
    if not chosen:
        raise typer.BadParameter(f"no SVG file in {where}", param_hint="FOLDER|CORPUS.jsonl")
    return chosen


def _check(file: Path) -> dict[str, Any]:
    try:
        drawing = load(read_file(file))
    except SvgRejected as error:
        return {"file": str(file), "accepted": False, "error": {"type": error.code, "message": str(error)}}
    size = {"width": drawing.width, "height": drawing.height, "elements": drawing.elements}
    return {"file": str(file), "accepted": True, **size, **_findings(drawing)}


def _findings(drawing: Drawing) -> dict[str, Any]:
    return {"removed": list(drawing.removed), "warnings": list(drawing.warnings)}


def _print_json(**found: Any) -> None:
    print(json.dumps(found, indent=2 if sys.stdout.isatty() else None))


def _note(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text)


def _note_findings(drawing: Drawing) -> None:
    if drawing.removed:
        _note(escape(f"Removed: {', '.join(drawing.removed)}"))
    for warning in drawing.warnings:
        _note(f"[yellow]{escape(warning)}[/]")


def _print_checks(results: list[dict[str, Any]]) -> None:
    table = Table()
    for head in ("File", "Accepted", "Size", "Elements", "Removed, warnings, or the reason"):
        table.add_column(head, overflow="fold")
    for result in results:
        if result["accepted"]:
            size = f"{result['width']:g} x {result['height']:g}"
            notes = "\n".join([*result["removed"], *result["warnings"]])
            row = ("[green]yes[/]", size, str(result["elements"]), escape(notes))
        else:
            row = ("[red]no[/]", "", "", escape(result["error"]["message"]))
        table.add_row(escape(result["file"]), *row)
    Console().print(table)


def _print_comparison(found: dict[str, Any]) -> None:
    renderers = Table("Renderer", "Version", "Drawn", "Failed", "Median ms", "Most MiB")
    for name, row in found["backends"].items():
        failed = ", ".join(f"{code} ({count})" for code, count in row["failed"].items())
        cost = (_number(row["median_time_ms"], 1), _number(row["max_memory_mib"], 1))
        renderers.add_row(name, row["version"], str(row["drawn"]), failed, *cost)
    pairs = Table("Pair", "Files", "Alike", "Mean absolute difference", "Block SSIM")
    for pair, row in found["similarities"].items():
        likeness = (_number(row["mean_absolute_difference"], 4), _number(row["block_ssim"], 4))
        pairs.add_row(pair, str(row["files"]), str(row["alike"]), *likeness)
    console = Console()
    console.print(renderers, pairs)
    if found["not_reached"]:
        console.print(f"[yellow]It was stopped before {found['not_reached']} more files.[/]")
    console.print(f"Pictures: {found['page']}", soft_wrap=True)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()

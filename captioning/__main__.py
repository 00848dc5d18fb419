"""Caption SVG files, one or a million: `python -m captioning --help`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer
from rich.console import Console
from rich.markup import escape

from captioning.base_models import resolve
from captioning.errors import ConfigError
from rendering import SvgCaptionError
from rendering.sources import files_in

if TYPE_CHECKING:
    from captioning.bulk import BulkSettings, Content, Record, Scale
    from captioning.caption_file import Format
    from captioning.openai_engine import Server

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command: status 0 done, 1 failed, 2 wrong use; an error is one line, never a traceback."""
    try:
        app(prog_name="python -m captioning")
    except (SvgCaptionError, OSError) as error:
        if "--json" in sys.argv:
            kind = error.code if isinstance(error, SvgCaptionError) else "system"
            _print_json(error={"type": kind, "message": str(error)})
        else:
            _note(f"[red]{type(error).__name__}[/]: {escape(str(error))}")
        sys.exit(1)


def _known_model(value: str) -> str:
    try:
        resolve(value)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    return value


@app.command()
def caption(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|FOLDER|PATTERN...", help="SVG files, or where they are."),
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", dir_okay=False, help="File for the captions; the same command goes on with it."
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", metavar="jsonl|csv", help="Of the output file.")] = "jsonl",
    model: Annotated[
        str,
        typer.Option(callback=_known_model, help="Base model: a name, a Hugging Face id or a local folder."),
    ] = "embedded",
    adapter: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of an adapter to caption with.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest caption, in tokens.")] = 64,
    n: Annotated[int, typer.Option("--n", min=1, max=16, help="Captions of each file.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the likeliest caption.")] = 0.0,
    seed: Annotated[
        int | None, typer.Option(help="Makes captions of a higher temperature repeatable.")
    ] = None,
    revise: Annotated[
        bool, typer.Option("--revise", help="Have what is false of the drawing written anew.")
    ] = False,
    engine_url: Annotated[
        str | None, typer.Option(help="Server that runs the model (vLLM, ...); its key: ENGINE_API_KEY.")
    ] = None,
    engine_loads_adapters: Annotated[
        bool, typer.Option("--engine-loads-adapters", help="Have that server load the adapter.")
    ] = False,
    ray: Annotated[
        bool, typer.Option("--ray", help="Use Ray's workers: of the cluster RAY_ADDRESS, or of this machine.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="With --ray: engines.")] = 1,
    cpus_per_worker: Annotated[float, typer.Option(min=0, help="With --ray; may be a fraction.")] = 1.0,
    gpus_per_worker: Annotated[float, typer.Option(min=0, help="With --ray; may be a fraction.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Say in one sentence what each file shows. A file that cannot be captioned is reported; status 1."""
    if form not in ("jsonl", "csv"):
        raise typer.BadParameter(f"'{form}' is neither jsonl nor csv", param_hint="--format")
    if n > 1 and temperature == 0:
        raise typer.BadParameter(f"at temperature 0 all {n} captions would be the same", param_hint="--n")
    if revise and engine_url:
        raise typer.BadParameter("a model in a server does not revise", param_hint="--revise")
    from captioning.bulk import BulkSettings, Scale

    server = _server(engine_url, loads_adapters=engine_loads_adapters)
    settings = BulkSettings(model, adapter, max_new_tokens, n, temperature, seed, server, revise)
    scale = Scale(workers, cpus_per_worker, gpus_per_worker) if ray else None
    if output:
        done = _fill(output, cast("Format", form), files, settings, scale, as_json=as_json)
    else:
        done = _show(files, settings, scale, as_json=as_json)
    if not done:
        raise typer.Exit(1)


def _server(url: str | None, *, loads_adapters: bool) -> Server | None:
    if url is None:
        return None
    from captioning.openai_engine import Server

    return Server(url, api_key=os.environ.get("ENGINE_API_KEY"), loads_adapters=loads_adapters)


def _show(files: list[Path], settings: BulkSettings, scale: Scale | None, *, as_json: bool) -> bool:
    """Print captions; returns whether all files have some."""
    shown = []
    failed = 0
    for record in _records(files_in(files), settings, scale):
        failed += "error" in record
        if as_json:
            shown.append(record)
        else:
            _print_record(record)
    if as_json:
        counts = {"captioned": len(shown) - failed, "failed": failed}
        _print_json(**settings.models(), **counts, files=shown)
    return not failed


def _fill(
    output: Path,
    form: Format,
    files: list[Path],
    settings: BulkSettings,
    scale: Scale | None,
    *,
    as_json: bool,
) -> bool:
    """Write captions to a file, which may have some already; returns whether all files have some."""
    from captioning.caption_file import caption_file
    from captioning.progress import progress

    counts = {"captioned": 0, "failed": 0, "done_before": 0}
    signal.signal(signal.SIGTERM, _interrupt)
    with caption_file(output, form, settings.described()) as file, progress(files_in(files)) as advance:

        def is_new(content: Content) -> bool:
            if content.sha256 is None or file.claim(content.file, content.sha256):
                return True
            counts["done_before"] += 1
            advance()
            return False

        # Workers read the files themselves: this process only does so where it may find some to leave out.
        chosen = is_new if file.resumes or not scale else None
        interrupted = False
        try:
            with closing(_records(files_in(files), settings, scale, chosen)) as records:
                for record in records:
                    file.append(record)
                    failed = "error" in record
                    counts["failed" if failed else "captioned"] += 1
                    advance(failed=failed)
        except KeyboardInterrupt:
            interrupted = True
    if as_json:
        _print_json(**settings.models(), output=str(output), **counts, interrupted=interrupted)
    else:
        _print_end(output, counts, interrupted=interrupted)
    return not (counts["failed"] or interrupted)


def _records(
    files: Iterator[Path],
    settings: BulkSettings,
    scale: Scale | None,
    choose: Callable[[Content], bool] | None = None,
) -> Generator[Record]:
    """A record for each file that `choose` takes, in order."""
    from captioning.bulk import BulkCaptioner, read

    if scale:
        from captioning import bulk_ray

        chosen = (file for file in files if choose is None or choose(read(file)))
        return bulk_ray.records(chosen, settings, scale)
    return BulkCaptioner(settings.load_engine(), settings).records(filter(choose, map(read, files)))


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _print_record(record: Record) -> None:
    file = record["file"]
    if error := record.get("error"):
        _note(f"{escape(file)}: [red]{escape(error['message'])}[/]")
        return
    for made in record["captions"]:
        print(f"{file}: {made['text']}", flush=True)
    for finding in _findings(record["svg"]):
        _note(f"  [yellow]{escape(finding)}[/]")


def _findings(svg: dict[str, Any]) -> Iterable[str]:
    if svg["removed"]:
        yield f"Removed: {', '.join(svg['removed'])}"
    yield from svg["warnings"]


def _print_end(output: Path, counts: dict[str, int], *, interrupted: bool) -> None:
    words = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    print(f"{output}: {words or 'nothing to do'}.", flush=True)
    if interrupted:
        _note("Interrupted: the same command goes on from here.")


def _print_json(**found: Any) -> None:
    print(json.dumps(found, indent=2 if sys.stdout.isatty() else None))


def _note(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text)


if __name__ == "__main__":
    main()

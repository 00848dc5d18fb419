"""Caption SVG files: `python -m captioning FILE... [--json]`."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from captioning.base_models import resolve
from captioning.errors import ConfigError
from rendering import SvgCaptionError
from rendering.sources import read_file

if TYPE_CHECKING:
    from captioning.engine import Caption, Engine

_FILES_AT_ONCE = 64

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command: status 0 done, 1 failed, 2 wrong use; an error is one line, never a traceback."""
    try:
        app(prog_name="python -m captioning")
    except SvgCaptionError as error:
        if "--json" in sys.argv:
            _print_json(error=_error(error))
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
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="SVG or SVGZ files.")],
    *,
    model: Annotated[
        str,
        typer.Option(callback=_known_model, help="Base model: a name, a Hugging Face id or a local folder."),
    ] = "embedded",
    adapter: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of an adapter to caption with.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest caption, in tokens.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Say in one sentence what each FILE shows. A file that cannot be captioned is reported; status 1."""
    engine = _engine(model)
    adapter_id = engine.load_adapter(adapter).adapter_id if adapter else None
    results = []
    for file, outcome in _captions(engine, files, adapter_id, max_new_tokens):
        results.append(_result(file, outcome))
        if not as_json:
            _print_outcome(file, outcome)
    failed = sum("error" in result for result in results)
    if as_json:
        done = {"captioned": len(results) - failed, "failed": failed}
        _print_json(model=adapter_id or engine.spec.id, base_model=engine.spec.id, **done, files=results)
    if failed:
        raise typer.Exit(1)


def _engine(model: str) -> Engine:
    _quiet_libraries()
    from captioning.engine import Engine

    return Engine.load(model)


def _quiet_libraries() -> None:
    """Keep from the user what libraries say about themselves and one another."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a kernel that is not needed here
    warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)


def _captions(
    engine: Engine, files: list[Path], adapter_id: str | None, max_new_tokens: int
) -> Iterator[tuple[Path, Caption | Exception]]:
    for start in range(0, len(files), _FILES_AT_ONCE):
        contents = [(file, _read(file)) for file in files[start : start + _FILES_AT_ONCE]]
        readable = [content for _, content in contents if isinstance(content, bytes)]
        captions = iter(engine.caption(readable, adapter=adapter_id, max_new_tokens=max_new_tokens))
        for file, content in contents:
            yield file, next(captions) if isinstance(content, bytes) else content


def _read(file: Path) -> bytes | OSError:
    try:
        return read_file(file)
    except OSError as error:
        return error


def _result(file: Path, outcome: Caption | Exception) -> dict[str, Any]:
    if isinstance(outcome, Exception):
        return {"file": str(file), "error": _error(outcome)}
    drawing = outcome.drawing
    return {
        "file": str(file),
        "caption": outcome.text,
        "finish_reason": outcome.finish_reason,
        "usage": {"prompt_tokens": outcome.prompt_tokens, "completion_tokens": outcome.completion_tokens},
        "svg": {
            "width": drawing.width,
            "height": drawing.height,
            "elements": drawing.elements,
            "removed": drawing.removed,
            "warnings": drawing.warnings,
        },
    }


def _error(error: Exception) -> dict[str, str]:
    kind = error.code if isinstance(error, SvgCaptionError) else "system"
    return {"type": kind, "message": str(error)}


def _print_outcome(file: Path, outcome: Caption | Exception) -> None:
    if isinstance(outcome, Exception):
        _note(f"{escape(str(file))}: [red]{escape(str(outcome))}[/]")
    else:
        print(f"{file}: {outcome.text}", flush=True)
        for finding in _findings(outcome):
            _note(f"  [yellow]{escape(finding)}[/]")


def _findings(caption: Caption) -> Iterable[str]:
    if caption.drawing.removed:
        yield f"Removed: {', '.join(caption.drawing.removed)}"
    yield from caption.drawing.warnings


def _print_json(**found: Any) -> None:
    print(json.dumps(found, indent=2 if sys.stdout.isatty() else None))


def _note(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text)


if __name__ == "__main__":
    main()

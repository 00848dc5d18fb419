"""Train adapters: `python -m training RECIPE [key=value ...]`; also `plan`, `corpus` and `base`."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.markup import escape

from captioning.errors import ConfigError
from rendering import SvgCaptionError
from training.base.cli import app as base_app
from training.corpora.cli import app as corpus_app
from training.recipe import Recipe, load_recipe

app = typer.Typer(
    help="Fine-tune a base model on captioned SVGs: python -m training RECIPE [KEY=VALUE]...",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(corpus_app, name="corpus")
app.add_typer(base_app, name="base")

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe, or a YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as model=gemma-2-9b lora.r=8.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def main() -> None:
    """Run a command: status 0 done, 1 failed, 2 wrong use; an error is one line, never a traceback."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a kernel that is not needed here
    warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)
    try:
        app(with_command(sys.argv[1:]), prog_name="python -m training")
    except SvgCaptionError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": {"type": error.code, "message": str(error)}}))
        else:
            note = f"[red]{type(error).__name__}[/]: {escape(str(error))}"
            Console(stderr=True, highlight=False, soft_wrap=True).print(note)
        sys.exit(2 if isinstance(error, ConfigError) else 1)


def with_command(words: list[str]) -> list[str]:
    """A first word that is no command is a recipe: `embedded` means `run embedded`."""
    commands = typer.main.get_group(app).commands
    return words if not words or words[0] in (*commands, "--help") else ["run", *words]


@app.command()
def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    *,
    name: Annotated[str | None, typer.Option("--run", help="Name of the run and its adapter.")] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where runs keep their files.")] = Path("runs"),
    adapters_dir: Annotated[Path, typer.Option(help="Where services look for adapters.")] = Path("adapters"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check recipe, model and corpus, then stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train an adapter. The word `run` may be left out. Repeated after an interruption, it goes on."""
    with _stdout_kept() as stdout:
        settings = load_recipe(recipe, overrides or ())
        if dry_run:
            facts, text = _checked(settings)
        else:
            facts, text = _trained(settings, name or _name(recipe, settings), runs_dir, adapters_dir)
    print(json.dumps(facts) if as_json else text, file=stdout)


@app.command()
def plan(recipe: RecipeName, overrides: Overrides = None, *, as_json: Json = False) -> None:
    """Count what a run would train, and estimate the memory that it would take."""
    with _stdout_kept() as stdout:
        from training.plan import make_plan, table

        planned = make_plan(load_recipe(recipe, overrides or ()))
        text = table(planned)
    print(json.dumps(asdict(planned)) if as_json else text, file=stdout)


def _name(recipe_name: str, recipe: Recipe) -> str:
    from training.run import default_name

    return default_name(Path(recipe_name).stem, recipe)


def _trained(recipe: Recipe, name: str, runs_dir: Path, adapters_dir: Path) -> tuple[dict[str, Any], str]:
    from training.run import train

    result = train(recipe, name=name, runs_dir=runs_dir, adapters_dir=adapters_dir)
    installed = adapters_dir / result.run
    text = (
        f"{result.run}: {result.status.replace('_', ' ')} after {result.steps} of {result.total_steps} steps "
        f"in {result.seconds:.0f} s. Validation loss {result.validation_loss_before:.4f} before, "
        f"{result.validation_loss:.4f} at step {result.best_step}.\n"
        f"Adapter: {result.adapter}, installed as {installed}"
    )
    return result.model_dump(mode="json") | {"installed": str(installed)}, text


def _checked(recipe: Recipe) -> tuple[dict[str, Any], str]:
    from training.preflight import dry_run

    checked = dry_run(recipe)
    facts = {
        "recipe": recipe.model_dump(mode="json"),
        "total_steps": checked.total_steps,
        "padding_share": checked.padding_share,
        "splits": {name: asdict(split) for name, split in checked.splits.items()},
    }
    lines = [
        f"{name}: {split.samples:,} samples, up to {split.longest_tokens:,} tokens; "
        f"dropped: {', '.join(f'{count:,} x {reason}' for reason, count in split.dropped.items()) or 'none'}"
        for name, split in checked.splits.items()
    ]
    lines.append(f"{checked.total_steps:,} steps, {checked.padding_share:.1%} of the tokens are padding")
    return facts, "\n".join(lines)


@contextmanager
def _stdout_kept() -> Iterator[TextIO]:
    """Standard output for the answer alone: what libraries and Ray print goes to standard error."""
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        yield stdout


if __name__ == "__main__":
    main()

"""Train adapters: `python -m training RECIPE [key=value ...]`; the other commands prepare and follow up."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer
from rich.console import Console
from rich.markup import escape

from captioning.errors import ConfigError
from rendering import SvgCaptionError
from training.base.cli import app as base_app
from training.clip.cli import app as clip_app
from training.corpora.cli import app as corpus_app
from training.recipe import Recipe, load_recipe, notes

app = typer.Typer(
    help="Fine-tune a base model on captioned SVGs: python -m training RECIPE [KEY=VALUE]...",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(corpus_app, name="corpus")
app.add_typer(base_app, name="base")
app.add_typer(clip_app, name="clip")

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe, or a YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as model=gemma-2-9b lora.r=8.")
]
AdapterFolder = Annotated[Path, typer.Argument(metavar="ADAPTER", help="Folder of an adapter.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def main() -> None:
    """Run a command: status 0 done, 1 failed, 2 wrong use; an error is one line, never a traceback."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a kernel that is not needed here
    warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)
    try:
        app(with_command(sys.argv[1:]), prog_name="python -m training")
    except SvgCaptionError as error:
        _say(error, error.code)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except OSError as error:  # a full disk, a folder that may not be written
        _say(error, "os_error")
        sys.exit(1)


def _say(error: Exception, code: str) -> None:
    if "--json" in sys.argv:
        print(json.dumps({"error": {"type": code, "message": str(error)}}))
    else:
        note = f"[red]{type(error).__name__}[/]: {escape(str(error))}"
        Console(stderr=True, highlight=False, soft_wrap=True).print(note)


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
        for note in notes(settings):
            print(f"Note: {note}")
        if dry_run:
            facts, text = _checked(settings, runs_dir)
        else:
            facts, text = _trained(settings, name or _name(recipe, settings), runs_dir, adapters_dir)
    print(json.dumps(facts) if as_json else text, file=stdout)


@app.command()
def plan(
    recipe: RecipeName,
    overrides: Overrides = None,
    *,
    gpu_memory_gib: Annotated[
        float | None,
        typer.Option(min=0.0, help="Of each GPU; without it that of this machine's GPUs, or 48."),
    ] = None,
    corpus: Annotated[bool, typer.Option(help="Read the corpus for its lengths and steps.")] = True,
    runs_dir: Annotated[Path, typer.Option(help="Where token ids are kept for the run.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Count what a run would train, and estimate its memory, its steps and whether it fits the GPUs."""
    with _stdout_kept() as stdout:
        settings = load_recipe(recipe, overrides or ())
        from training.plan import make_plan
        from training.plan_table import table
        from training.preflight import TOKENS_DIR

        planned = make_plan(
            settings,
            gpu_memory_gib=gpu_memory_gib,
            read_corpus=corpus,
            tokens_dir=runs_dir / TOKENS_DIR,
        )
        text = table(planned)
    print(json.dumps(asdict(planned)) if as_json else text, file=stdout)


@app.command()
def merge(
    adapter: AdapterFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the merged model.")],
    *,
    base: Annotated[
        str | None,
        typer.Option(help="The base model, where the adapter's own name for it does not lead there."),
    ] = None,
    dtype: Annotated[
        Literal["bfloat16", "float32", "saved"],
        typer.Option(help="Number type of the weights; saved: that of the base model's files."),
    ] = "bfloat16",
    force: Annotated[bool, typer.Option("--force", help="Replace a merged model in OUT.")] = False,
    as_json: Json = False,
) -> None:
    """Merge an adapter into its base model: a folder that needs no peft."""
    with _stdout_kept() as stdout:
        from training.merge import merge as merge_adapter

        merged = merge_adapter(adapter, out, base_model=base, dtype=dtype, force=force)
    text = (
        f"{merged.folder}: adapter '{merged.adapter}' merged into '{merged.base_model}', "
        f"{merged.parameters:,} weights in {merged.dtype}"
    )
    print(_dumped(merged) if as_json else text, file=stdout)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of an adapter, or of a merged model.")],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Its name on the hub.")],
    *,
    private: Annotated[bool, typer.Option("--private", help="Make a private repository.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check folder and card, list the files, send nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Upload an adapter or a merged model to a Hugging Face hub, with the token in HF_TOKEN."""
    with _stdout_kept() as stdout:
        from training.push import push as push_folder

        upload = push_folder(folder, repository, private=private, dry_run=dry_run)
    lines = [f"{size:>15,}  {name}" for name, size in upload.files.items()]
    total = f"{sum(upload.files.values()):>15,}  bytes in {len(lines)} files"
    text = "\n".join([*lines, total, upload.url or "Nothing was sent: a dry run."])
    print(_dumped(upload) if as_json else text, file=stdout)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Names of runs, or their folders.")],
    *,
    runs_dir: Annotated[Path, typer.Option(help="Where runs keep their files.")] = Path("runs"),
    html: Annotated[Path | None, typer.Option(help="Write a page with the curves there.")] = None,
    as_json: Json = False,
) -> None:
    """Put runs side by side: recipes, losses at equal steps, speed and memory."""
    from training import compare_report
    from training.compare import compare as compare_runs
    from training.runs import find_run

    found = [find_run(run, runs_dir) for run in runs]
    compared = compare_runs(found)
    if html:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(compare_report.page(compared, found), encoding="utf-8")
    print(_dumped(compared) if as_json else compare_report.text(compared))


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


def _checked(recipe: Recipe, runs_dir: Path) -> tuple[dict[str, Any], str]:
    from training.preflight import TOKENS_DIR, dry_run

    checked = dry_run(recipe, runs_dir / TOKENS_DIR)
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


def _dumped(answer: Any) -> str:
    return json.dumps(asdict(answer), default=str)  # of a path its text


@contextmanager
def _stdout_kept() -> Iterator[TextIO]:
    """Standard output for the answer alone: what libraries and Ray print goes to standard error."""
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        yield stdout


if __name__ == "__main__":
    main()

"""`python -m training clip`: makes the embedded CLIP anew; `clip evaluate` measures it on unseen drawings."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Work = Annotated[
    Path, typer.Option(help="Keeps pictures, tokenizer and checkpoint; a rerun goes on from it.")
]
Cache = Annotated[Path, typer.Option(help="Where the icon packages are kept.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads of the model.")]

_WORK, _CACHE = Path("runs/clip"), Path("cache/icons")


@app.callback(invoke_without_command=True)
def clip(
    context: typer.Context,
    *,
    out: Annotated[Path | None, typer.Option(help="Folder for the finished model.")] = None,
    work: Work = _WORK,
    cache_dir: Cache = _CACHE,
    steps: Annotated[int | None, typer.Option(min=2, help="Optimizer steps; default: the recipe's.")] = None,
    scenes: Annotated[
        int | None, typer.Option(min=1, help="Generated scenes; default: the recipe's.")
    ] = None,
    threads: Threads = 2,
    processes: Annotated[int, typer.Option(min=1, help="Processes that draw the pictures.")] = 2,
) -> None:
    """Make the embedded CLIP from nothing: pictures, tokenizer, training, export."""
    if context.invoked_subcommand:
        return
    if out is None:
        raise typer.BadParameter("name a folder for the finished model", param_hint="--out")
    import torch

    from training.clip.pretrain import ClipRecipe, run

    torch.set_num_threads(threads)
    recipe = ClipRecipe()
    recipe = replace(recipe, steps=steps or recipe.steps, scene_seeds=scenes or recipe.scene_seeds)
    run(recipe, work, out, cache_dir, processes=processes)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A model in open_clip's folder format.")],
    *,
    drawings: Annotated[int, typer.Option(min=2, help="Icons, and as many scenes.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Draws icons, scenes, captions and false captions.")] = 0,
    work: Work = _WORK,
    cache_dir: Cache = _CACHE,
    threads: Threads = 2,
) -> None:
    """Match captions with drawings of the held-out icon family and with unseen scenes; prints JSON."""
    import torch

    from training.clip.held_out import evaluate as matchings

    torch.set_num_threads(threads)
    found = matchings(folder, cache_dir, work / "held-out", drawings=drawings, seed=seed)
    print(json.dumps({"seed": seed} | {name: asdict(matching) for name, matching in found.items()}))

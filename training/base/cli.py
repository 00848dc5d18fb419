"""`python -m training base`: makes the embedded base model anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def base(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the finished model.")],
    work: Annotated[
        Path, typer.Option(help="Keeps corpus, tokenizer and checkpoint; a rerun goes on from it.")
    ] = Path("runs/base"),
    cache_dir: Annotated[Path, typer.Option(help="Where the icon packages are kept.")] = Path("cache/icons"),
    steps: Annotated[int | None, typer.Option(min=2, help="Optimizer steps; default: the recipe's.")] = None,
    scenes: Annotated[
        int | None, typer.Option(min=1, help="Generated scenes; default: the recipe's.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the training.")] = 2,
    processes: Annotated[int, typer.Option(min=1, help="Processes that build the corpus.")] = 2,
    compile_model: Annotated[
        bool, typer.Option("--compile", help="Compile the model: faster; needs a C++ compiler.")
    ] = False,
) -> None:
    """Make the embedded base model from nothing: corpus, tokenizer, pretraining, export."""
    import torch

    from captioning.base_models import auto_device
    from training.base.pretrain import run
    from training.base.recipe import BaseRecipe

    torch.set_num_threads(threads)
    recipe = BaseRecipe()
    recipe = replace(recipe.lasting(steps or recipe.steps), scenes=scenes or recipe.scenes)
    run(
        recipe,
        work,
        out,
        cache_dir,
        processes=processes,
        device=auto_device() if device == "auto" else device,
        is_compiled=compile_model,
    )

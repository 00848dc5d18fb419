"""What is found out before Ray is asked for anything: recipe, base model, corpus, prompt lengths."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from captioning.base_models import BaseModelSpec, context_tokens, load_tokenizer, resolve, weight_fingerprint
from captioning.corpus import corpus_fingerprint
from captioning.errors import CorpusError
from captioning.prompt import PROMPT_VERSION
from rendering import CANONICALIZER_VERSION
from training import model, tokens, tracking, updates
from training.corpora.build import write_scenes
from training.data import Tokenized, schedule_of
from training.recipe import Corpus, Recipe

Split = Literal["train", "validation"]

TOKENS_DIR = ".tokens"  # among the runs; may be deleted when no run is going


@dataclass(frozen=True)
class SplitReport:
    """What a split became: nothing is dropped in silence."""

    samples: int
    dropped: dict[str, int]  # samples, by reason
    long_references: int  # left out of samples that keep a shorter one
    longest_tokens: int  # prompt and completion


@dataclass(frozen=True)
class SplitTokens:
    corpus: Path
    tokenized: Tokenized
    file: Path  # where the token ids are kept


@dataclass(frozen=True)
class Checked:
    """A recipe whose parts were all found to work, with its splits as tokens."""

    recipe: Recipe
    spec: BaseModelSpec
    train: SplitTokens
    validation: SplitTokens
    padding_share: float  # of the tokens in the first epoch's batches
    total_steps: int

    @cached_property
    def identity(self) -> dict[str, str]:
        """What a run that goes on must share with its beginning. The base model's weights must be here."""
        return {
            "recipe": self.recipe.hash,
            "training corpus": corpus_fingerprint(self.train.corpus),
            "validation corpus": corpus_fingerprint(self.validation.corpus),
            "base model": weight_fingerprint(self.spec),
            "tokenizer": tokens.fingerprint(load_tokenizer(self.spec)),
            "prompt version": PROMPT_VERSION,
            "canonicalizer version": CANONICALIZER_VERSION,
        }

    @property
    def splits(self) -> dict[str, SplitReport]:
        return {"train": report(self.train.tokenized), "validation": report(self.validation.tokenized)}


def check(recipe: Recipe, folder: Path, tokens_dir: Path) -> Checked:
    """The recipe with all that it needs. Generated corpora go to `folder`, token ids to `tokens_dir`.

    Raises:
        ConfigError: the base model is not there, or something that the recipe wants cannot be had.
        CorpusError: a corpus cannot be read, or does not fill a step.
    """
    tracking.check_installed(recipe.tracking)
    updates.check_installed(recipe)
    spec = resolve(recipe.model)
    read = splits(recipe, spec, folder, tokens_dir)
    model.check(recipe, spec)
    train, validation = read["train"], read["validation"]
    schedule = schedule_of(recipe, train.tokenized.examples)
    steps = schedule.total_steps(recipe.epochs, recipe.max_steps)
    return Checked(recipe, spec, train, validation, schedule.padding_share(), steps)


def dry_run(recipe: Recipe, tokens_dir: Path | None = None) -> Checked:
    """`check` that leaves nothing behind, but for token ids where `tokens_dir` says."""
    with tempfile.TemporaryDirectory() as folder:
        return check(recipe, Path(folder), tokens_dir or Path(folder) / TOKENS_DIR)


def splits(recipe: Recipe, spec: BaseModelSpec, folder: Path, tokens_dir: Path) -> dict[Split, SplitTokens]:
    """Both splits as tokens, where each has something to use."""
    load_tokenizer(spec)  # before drawings are generated in vain
    limit = min((limit for limit in (recipe.max_tokens, context_tokens(spec)) if limit), default=None)
    names: tuple[Split, ...] = ("train", "validation")
    files: dict[Split, Path] = {name: _corpus_file(recipe.corpus, name, folder) for name in names}
    return {name: _tokenized(file, spec, limit, tokens_dir) for name, file in files.items()}


def report(split: Tokenized) -> SplitReport:
    longest = max(len(example.prompt) + max(map(len, example.completions)) for example in split.examples)
    return SplitReport(len(split.examples), dict(split.dropped), split.long_references, longest)


def _corpus_file(corpus: Corpus, split: Split, folder: Path) -> Path:
    """The file of a split; generated scenes are drawn into `folder`, unless they are there already."""
    name = getattr(corpus, split)
    if name != "scenes":
        return Path(name)
    path = folder / f"{split}.jsonl"
    if not path.exists():
        scenes = corpus.scenes
        write_scenes(path, split=split, samples=getattr(scenes, split), style=scenes.style, seed=scenes.seed)
    return path


def _tokenized(corpus: Path, spec: BaseModelSpec, max_tokens: int | None, tokens_dir: Path) -> SplitTokens:
    split, path = tokens.cached(corpus, spec, max_tokens, tokens_dir)
    if not split.examples:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in split.dropped.items())
        raise CorpusError(f"{corpus}: no sample can be used ({reasons or 'the file is empty'})")
    return SplitTokens(corpus, split, path)

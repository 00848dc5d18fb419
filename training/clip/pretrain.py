"""Training of the embedded CLIP on a CPU: float32 weights, arithmetic in bfloat16 where it is fast.

The run can be stopped at any time and goes on from its last checkpoint with `work` the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from captioning.atomic import replacing_file
from captioning.base_models import auto_dtype
from captioning.matching import recall
from training.base.arithmetic import flushed_denormals
from training.base.corpus import Pair, read_pairs
from training.base.recipe import refuse_other
from training.clip.batches import Sampler, contrastive_loss, relations, shaken
from training.clip.corpus import Pictures, choose, draw, meaning
from training.clip.model import (
    as_input,
    model_config,
    new_model,
    picture_features,
    preprocess_config,
    text_features,
)
from training.clip.tokenizer import train_tokenizer
from training.corpora.icon_packages import TRAINING_FAMILIES

_CHECKPOINT = "clip.pt"
_REPORT_STEPS = 20
_SAVE_STEPS = 100
_MOST_SCALE = 4.6052  # log of 100
_ENCODED_AT_ONCE = 256


@dataclass(frozen=True)
class ClipRecipe:
    """Everything that decides the weights."""

    scene_seeds: int = 70_000  # of generated scenes, held-out combinations included (they are dropped)
    families: tuple[str, ...] = TRAINING_FAMILIES
    max_chars: int = 1_400  # characters of canonical text
    icons: int = 24_000  # so many of them are drawn, of all families together
    scenes: int = 8_000
    size_px: int = 64
    embed_dim: int = 256
    vision_width: int = 16  # of open_clip's residual network
    vision_layers: tuple[int, int, int, int] = (1, 1, 1, 1)
    vocab_size: int = 3_000
    context_tokens: int = 48
    text_width: int = 128
    text_layers: int = 2
    text_heads: int = 2
    steps: int = 1_000
    batch_size: int = 256
    scene_share: float = 0.3  # of a batch
    learning_rate: float = 2e-3
    warmup_steps: int = 60
    decay_share: float = 0.3  # of the steps, the last ones: the rate falls to zero
    weight_decay: float = 0.1
    seed: int = 7


@dataclass(frozen=True)
class Examples:
    """Drawings with their pictures as the model takes them."""

    pairs: Sequence[Pair]
    pixels: torch.Tensor  # uint8 (n, size, size, 3)

    @classmethod
    def of(cls, pictures: Pictures, *, validation: bool) -> Examples:
        chosen = [index for index, pair in enumerate(pictures.pairs) if pair.is_validation == validation]
        part = pictures.only(chosen)
        return cls(part.pairs, torch.from_numpy(part.pixels))


class Trainer:
    """Steps over batches; all of its state is in one checkpoint file."""

    def __init__(
        self, recipe: ClipRecipe, model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path
    ) -> None:
        self.recipe, self.tokenizer, self.folder = recipe, tokenizer, folder
        self.model = model.train().to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(model, recipe.weight_decay), betas=(0.9, 0.98), fused=True
        )
        self.step = 0

    def train(self, examples: Examples, validation: Examples) -> None:
        recipe = self.recipe
        sampler = Sampler(
            examples.pairs,
            batch_size=recipe.batch_size,
            scene_share=recipe.scene_share,
            seed=recipe.seed,
        )
        started, losses = time.monotonic(), []
        while self.step < recipe.steps:
            losses.append(self._update(examples, sampler))
            if self.step % _REPORT_STEPS == 0:
                rate = len(losses) * recipe.batch_size / (time.monotonic() - started)
                mean = sum(losses) / len(losses)
                print(f"step {self.step}/{recipe.steps} loss {mean:.4f} {rate:,.0f} pictures/s", flush=True)
                started, losses = time.monotonic(), []
            if self.step % _SAVE_STEPS == 0 or self.step == recipe.steps:
                self.save()
                print(f"step {self.step} validation {self.validate(validation)}", flush=True)

    def _update(self, examples: Examples, sampler: Sampler) -> float:
        choice = sampler.draw(self.step)
        inputs = shaken(as_input(examples.pixels[choice.indices]), self.step)
        right, unknown = relations([examples.pairs[index] for index in choice.indices], choice.references)
        with torch.autocast("cpu", torch.bfloat16, enabled=auto_dtype("cpu") == torch.bfloat16):
            pictures = picture_features(self.model, inputs.to(memory_format=torch.channels_last))
            texts = text_features(self.model, tokens_of(self.tokenizer, choice.captions))
        logits = self.model.logit_scale.exp() * pictures @ texts.T
        loss = contrastive_loss(logits, right, unknown)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=_MOST_SCALE)
        self.step += 1
        return loss.item()

    @torch.no_grad()
    def validate(self, examples: Examples) -> dict[str, float]:
        """Recall at 1 and 10 of the plainest captions by their pictures, icons and scenes apart."""
        self.model.eval()
        found: dict[str, float] = {}
        for name, wanted in (("icons", False), ("scenes", True)):
            chosen = one_of_each(examples.pairs, scenes=wanted)
            if chosen:
                captions = [examples.pairs[index].references[0] for index in chosen]
                pictures = encode_pictures(self.model, examples.pixels[chosen])
                likeness = (pictures @ encode_texts(self.model, self.tokenizer, captions).T).numpy()
                right = torch.eye(len(chosen), dtype=torch.bool).numpy()
                found |= {f"{name}_at_{k}": round(recall(likeness, right, k), 3) for k in (1, 10)}
                found[f"{name}_of"] = len(chosen)
        self.model.train()
        return found

    def save(self) -> None:
        state = {
            "recipe": json.dumps(asdict(self.recipe)),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with replacing_file(self.folder / _CHECKPOINT) as unfinished:
            torch.save(state, unfinished)

    def resume(self) -> None:
        """Goes on from the checkpoint, if there is one.

        Raises:
            ConfigError: it is one of another recipe.
        """
        path = self.folder / _CHECKPOINT
        if path.exists():
            state = torch.load(path, weights_only=True)
            refuse_other(json.loads(state["recipe"]), asdict(self.recipe), path)
            self.step = state["step"]
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])


def parameter_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels decay; embeddings, biases, norms and the scale do not."""
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    decays = {name for name, weight in named if weight.ndim > 1 and "embedding" not in name}
    return [
        {"params": [weight for name, weight in named if name in decays], "weight_decay": weight_decay},
        {"params": [weight for name, weight in named if name not in decays], "weight_decay": 0.0},
    ]


def learning_rate(recipe: ClipRecipe, step: int) -> float:
    """Warm-up, a plateau, then a straight line to zero."""
    left = (recipe.steps - step) / (recipe.decay_share * recipe.steps)
    return recipe.learning_rate * min(1.0, (step + 1) / recipe.warmup_steps, left)


def one_of_each(pairs: Sequence[Pair], *, scenes: bool) -> list[int]:
    """The first drawing of each meaning."""
    first: dict[str, int] = {}
    for index, pair in enumerate(pairs):
        if pair.is_scene == scenes:
            first.setdefault(meaning(pair), index)
    return list(first.values())


def tokens_of(tokenizer: PreTrainedTokenizerFast, captions: Sequence[str]) -> torch.Tensor:
    """Shape (n, tokens of the longest)."""
    encoded = tokenizer(list(captions), padding="longest", truncation=True, return_tensors="pt")
    ids: torch.Tensor = encoded.input_ids
    return ids


def encode_pictures(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    parts = [picture_features(model, as_input(part)) for part in pixels.split(_ENCODED_AT_ONCE)]
    return torch.cat(parts)


def encode_texts(model: Any, tokenizer: PreTrainedTokenizerFast, captions: Sequence[str]) -> torch.Tensor:
    starts = range(0, len(captions), _ENCODED_AT_ONCE)
    parts = [captions[start : start + _ENCODED_AT_ONCE] for start in starts]
    return torch.cat([text_features(model, tokens_of(tokenizer, part)) for part in parts])


def run(recipe: ClipRecipe, work: Path, out: Path, cache_dir: Path, *, processes: int = 2) -> None:
    """Pictures, tokenizer, training and export; `work` keeps what a later run can go on from."""
    work.mkdir(parents=True, exist_ok=True)
    pictures = _pictures(recipe, work, cache_dir, processes)
    examples, validation = (Examples.of(pictures, validation=wanted) for wanted in (False, True))
    print(f"{len(examples.pairs):,} drawings for training, {len(validation.pairs):,} others", flush=True)
    tokenizer = _tokenizer(recipe, work, examples.pairs)
    trainer = Trainer(recipe, new_model(_config(recipe, tokenizer), recipe.seed), tokenizer, work)
    trainer.resume()
    with flushed_denormals():
        trainer.train(examples, validation)
    export(trainer, out, trainer.validate(validation))


def _pictures(recipe: ClipRecipe, work: Path, cache_dir: Path, processes: int) -> Pictures:
    pairs = read_pairs(
        work / "pairs.jsonl",
        recipe.scene_seeds,
        recipe.families,
        cache_dir,
        max_chars=recipe.max_chars,
        processes=processes,
    )
    chosen = choose(pairs, icons=recipe.icons, scenes=recipe.scenes)
    return draw(chosen, work / "pictures", size_px=recipe.size_px, processes=processes)


def _tokenizer(recipe: ClipRecipe, work: Path, pairs: Sequence[Pair]) -> PreTrainedTokenizerFast:
    folder = work / "tokenizer"
    if not folder.exists():
        texts = (text for pair in pairs for text in pair.references)
        train_tokenizer(texts, recipe.vocab_size, recipe.context_tokens).save_pretrained(folder)
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer


def _config(recipe: ClipRecipe, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return model_config(
        tokenizer,
        embed_dim=recipe.embed_dim,
        vision={
            "image_size": recipe.size_px,
            "layers": list(recipe.vision_layers),
            "width": recipe.vision_width,
            "head_width": 64,
        },
        text_width=recipe.text_width,
        text_layers=recipe.text_layers,
        text_heads=recipe.text_heads,
    )


def export(trainer: Trainer, out: Path, validation: dict[str, float]) -> None:
    """Writes the model in open_clip's folder format, weights as float16, and the recipe beside it."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: _halved(tensor) for name, tensor in trainer.model.state_dict().items()}
    save_file(weights, out / "open_clip_model.safetensors")
    trainer.tokenizer.save_pretrained(out)
    config = {"model_cfg": _config(trainer.recipe, trainer.tokenizer), "preprocess_cfg": preprocess_config()}
    _write_json(out / "open_clip_config.json", config)
    _write_json(out / "recipe.json", asdict(trainer.recipe) | {"validation": validation})


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.half() if tensor.is_floating_point() else tensor).contiguous()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

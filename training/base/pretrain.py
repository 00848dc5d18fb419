"""Pretraining of the embedded model on a CPU: loss on captions only, float32 masters.

The weights that calculate are bfloat16 where the processor multiplies in it, else float32. The run can
be stopped at any time and goes on from its last checkpoint with `--work` the same.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from captioning.atomic import replacing_file, write_text
from captioning.base_models import auto_dtype
from training.base.arithmetic import flushed_denormals
from training.base.corpus import read_pairs
from training.base.examples import (
    IGNORED,
    Batch,
    Example,
    Row,
    as_batch,
    batches,
    encode,
    read_examples,
    write_examples,
)
from training.base.muon import Muon
from training.base.picture import CHANNELS, SIDE
from training.base.recipe import BaseRecipe, refuse_other
from training.base.tokenizer import (
    MAX_CONTEXT_TOKENS,
    channel_tokens,
    markup_tokens,
    number_tokens,
    train_tokenizer,
)

_CHECKPOINT = "pretraining.pt"
_RECIPE = "work_recipe.json"  # what the folder is of; `recipe.json` is of a finished model
_TOKENIZER_PAIRS = 50_000  # that merges are learned from; more change little
_VALIDATION_EXAMPLES = 800  # of each kind


def caption_loss(model: LlamaForCausalLM, hidden: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy over caption tokens; the head is applied only where there is a label."""
    wanted = batch.labels != IGNORED
    return cross_entropy(model.lm_head(hidden[wanted]).float(), batch.labels[wanted])


def picture_loss(eye: nn.Linear, hidden: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy over the pixels that `eye` tells from the state in which a caption begins."""
    starts = hidden[torch.arange(len(batch.starts)), batch.starts]
    return binary_cross_entropy_with_logits(eye(starts).float(), batch.pictures)


def new_eye(recipe: BaseRecipe) -> nn.Linear:
    """A head that is only there to teach: it is not part of the finished model."""
    eye = nn.Linear(recipe.hidden_size, SIDE * SIDE * CHANNELS)
    nn.init.normal_(eye.weight, std=0.006)
    return eye


def new_model(recipe: BaseRecipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=math.ceil(len(tokenizer) / 64) * 64,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=MAX_CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    weight = model.model.embed_tokens.weight
    _order(weight, {token: number / 1000 for number, token in number_tokens(tokenizer).items()})
    for channel in channel_tokens(tokenizer):
        _order(weight, {token: value / 255 for token, value in channel.items()})
    return model


def _order(weight: Tensor, values: Mapping[int, float]) -> None:
    """Starts the embeddings of one kind of token as waves over values from 0 to 1: near ones begin alike.

    Each kind has waves in directions of its own: a red of 200 is nothing like a blue of 200.
    """
    hidden = weight.shape[1]
    frequencies = math.pi * 2 ** torch.linspace(0, 7, hidden // 2)
    angles = torch.tensor(list(values.values()))[:, None] * frequencies  # (values, hidden / 2)
    waves = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    turned = waves @ torch.linalg.qr(torch.randn(hidden, hidden)).Q
    with torch.no_grad():
        weight[list(values)] = turned * 0.02 * math.sqrt(2)


def learning_rate(recipe: BaseRecipe, step: int) -> float:
    """Warm-up, a plateau, then a straight line to zero, which the run may stop short of."""
    start, end = recipe.decay_steps
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    return recipe.learning_rate * min(warm, (end - step) / (end - start))


class Trainer:
    """Steps over batches; all of its state is in one checkpoint file."""

    def __init__(
        self, recipe: BaseRecipe, model: LlamaForCausalLM, pad_id: int, folder: Path, device: str = "cpu"
    ) -> None:
        self.recipe, self.pad_id, self.folder, self.device = recipe, pad_id, folder, device
        self.dtype = auto_dtype(device)
        self.model, self.eye = model, new_eye(recipe)
        for module in (self.model, self.eye):
            nn.Module.to(module, device, self.dtype)
        if device == "cpu":
            self.model.set_attn_implementation("eager")  # faster to train there than the fused kernel
        self.weights = [*self.model.parameters(), *self.eye.parameters()]
        self.masters = [weight.detach().float().clone() for weight in self.weights]
        self.optimizers = self._new_optimizers()
        self.step = 0

    def _new_optimizers(self) -> tuple[torch.optim.Optimizer, ...]:
        """Muon for the matrices of the layers: on this corpus it needs a third of AdamW's steps."""
        inner = {id(weight) for weight in self.model.model.layers.parameters() if weight.ndim == 2}
        pairs = list(zip(self.masters, self.weights, strict=True))
        decay = self.recipe.weight_decay
        return (
            Muon(
                [master for master, weight in pairs if id(weight) in inner],
                weight_decay=decay,
                dtype=self.dtype,
            ),
            torch.optim.AdamW(
                [master for master, weight in pairs if id(weight) not in inner],
                betas=(0.9, 0.95),
                weight_decay=decay,
                fused=True,
            ),
        )

    def train(self, examples: Sequence[Example], validation: Mapping[str, Sequence[Example]]) -> None:
        started, seen, losses = time.monotonic(), 0, []
        for rows in self._remaining(examples):
            batch = as_batch(rows, self.pad_id).to(self.device)
            losses.append(self._update(batch))
            seen += batch.ids.numel()
            if self.step % 50 == 0:
                rate = seen / (time.monotonic() - started)
                mean = sum(losses) / len(losses)
                done = f"step {self.step}/{self.recipe.steps}"
                print(f"{done} loss {mean:.4f} {rate:,.0f} tokens/s", flush=True)
                losses = []
            if self.step % 500 == 0 or self.step == self.recipe.steps:
                self.save()
                print(f"step {self.step} validation loss {self.validation_losses(validation)}", flush=True)

    def _remaining(self, examples: Sequence[Example]) -> Iterator[list[Row]]:
        position = 0
        for epoch in range(self.recipe.steps):
            for rows in batches(examples, self.recipe, epoch):
                if position >= self.recipe.steps:
                    return
                if position >= self.step:
                    yield rows
                position += 1

    def _update(self, batch: Batch) -> float:
        hidden = self._hidden(batch)
        loss = caption_loss(self.model, hidden, batch)
        (loss + self.recipe.picture_weight * picture_loss(self.eye, hidden, batch)).backward()
        for master, weight in zip(self.masters, self.weights, strict=True):
            master.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None
        torch.nn.utils.clip_grad_norm_(self.masters, 1.0)
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = learning_rate(self.recipe, self.step)
            optimizer.step()
        with torch.no_grad():
            for master, weight in zip(self.masters, self.weights, strict=True):
                weight.copy_(master)
        self.step += 1
        return loss.item()

    def _hidden(self, batch: Batch) -> Tensor:
        """Last hidden states (rows, width, hidden)."""
        return cast(Tensor, self.model.model(input_ids=batch.ids, use_cache=False).last_hidden_state)

    def validation_losses(self, validation: Mapping[str, Sequence[Example]]) -> dict[str, float]:
        return {name: round(self._loss(examples), 4) for name, examples in validation.items() if examples}

    def _loss(self, examples: Sequence[Example]) -> float:
        """Exact token mean over the first reference of each example."""
        total, count = 0.0, 0
        with torch.no_grad():
            rows = sorted(
                (Row(e.prompt, e.completions[0], e.picture) for e in examples), key=attrgetter("width")
            )
            for start in range(0, len(rows), 32):
                batch = as_batch(rows[start : start + 32], self.pad_id).to(self.device)
                n = int((batch.labels != IGNORED).sum())
                total += caption_loss(self.model, self._hidden(batch), batch).item() * n
                count += n
        return total / count

    def save(self) -> None:
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        state = {"step": self.step, "masters": self.masters, "optimizers": optimizers}
        with replacing_file(self.folder / _CHECKPOINT) as unfinished:
            torch.save(state, unfinished)

    def resume(self) -> None:
        path = self.folder / _CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, weights_only=True, map_location=self.device)
        self.step = state["step"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        with torch.no_grad():
            for master, saved, weight in zip(self.masters, state["masters"], self.weights, strict=True):
                master.copy_(saved)
                weight.copy_(saved)


def run(
    recipe: BaseRecipe,
    work: Path,
    out: Path,
    cache_dir: Path,
    *,
    processes: int = 2,
    device: str = "cpu",
    is_compiled: bool = False,
) -> None:
    """Corpus, tokenizer, training and export; `work` keeps what a later run can go on from.

    Args:
        is_compiled: whether to compile the model first, which needs a C++ compiler.

    Raises:
        ConfigError: `work` is of another recipe.
    """
    keep_recipe(recipe, work)
    encoded, tokenizer = _examples(recipe, work, cache_dir, processes)
    examples = [example for example in encoded if not example.is_validation]
    validation = validation_parts([example for example in encoded if example.is_validation], recipe.seed)
    lengths = sorted(len(example.prompt) for example in examples)
    median = lengths[len(lengths) // 2]
    print(
        f"{len(examples):,} examples, median prompt {median} tokens, vocabulary {len(tokenizer)}", flush=True
    )
    trainer = Trainer(recipe, new_model(recipe, tokenizer), tokenizer.pad_token_id, work, device)
    trainer.resume()
    if is_compiled:
        trainer.model.model.compile(dynamic=True)
    with flushed_denormals():
        trainer.train(examples, validation)
    export(trainer, tokenizer, out, trainer.validation_losses(validation))


def keep_recipe(recipe: BaseRecipe, work: Path) -> None:
    """Ties the folder to the recipe before anything else is in it; one without a recipe is taken as it is.

    How long the run lasts may change as long as the learning rate has not begun to fall.

    Raises:
        ConfigError: the folder is of another recipe.
    """
    path, checkpoint = work / _RECIPE, work / _CHECKPOINT
    if path.exists():
        saved = json.loads(path.read_text(encoding="utf-8"))
        step = torch.load(checkpoint, weights_only=True, mmap=True)["step"] if checkpoint.exists() else 0
        is_early = step < min(saved["decay_steps"][0], recipe.decay_steps[0])
        refuse_other(saved, asdict(recipe), path, free=("steps", "decay_steps") if is_early else ())
    write_text(path, json.dumps(asdict(recipe), indent=2) + "\n")


def validation_parts(held_back: Sequence[Example], seed: int) -> dict[str, list[Example]]:
    """Some of each kind: scenes as they come, icons by lot, since they come family by family."""
    scenes = [example for example in held_back if example.is_scene]
    icons = [example for example in held_back if not example.is_scene]
    some = random.Random(seed).sample(icons, min(len(icons), _VALIDATION_EXAMPLES))
    return {"scenes": scenes[:_VALIDATION_EXAMPLES], "icons": some}


def _examples(
    recipe: BaseRecipe, work: Path, cache_dir: Path, processes: int
) -> tuple[list[Example], PreTrainedTokenizerFast]:
    """What the corpus comes to in token ids, and the tokenizer; made once, then read from `work`."""
    tokenizer_dir, path = work / "tokenizer", work / "examples.parquet"
    if not path.exists():
        pairs = read_pairs(
            work / "pairs.jsonl",
            recipe.scenes,
            recipe.families,
            cache_dir,
            max_chars=recipe.max_chars,
            processes=processes,
        )
        if not tokenizer_dir.exists():
            some = random.Random(recipe.seed).sample(pairs, min(len(pairs), _TOKENIZER_PAIRS))
            texts = (text for pair in some for text in (pair.canonical, *pair.references))
            train_tokenizer(texts, recipe.vocab_size).save_pretrained(tokenizer_dir)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(tokenizer_dir)
        write_examples(path, encode(pairs, tokenizer, recipe, processes))
    return read_examples(path), PreTrainedTokenizerFast.from_pretrained(tokenizer_dir)


def export(trainer: Trainer, tokenizer: PreTrainedTokenizerFast, out: Path, losses: dict[str, float]) -> None:
    """Writes the model folder: bfloat16 safetensors, tokenizer, generation settings, recipe."""
    out.mkdir(parents=True, exist_ok=True)
    trainer.model.bfloat16().save_pretrained(out)
    tokenizer.save_pretrained(out)
    GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        suppress_tokens=markup_tokens(tokenizer),
    ).save_pretrained(out)
    facts = {**asdict(trainer.recipe), "validation_loss": losses}
    (out / "recipe.json").write_text(json.dumps(facts, indent=2) + "\n")

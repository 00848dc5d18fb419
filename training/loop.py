"""The training loop: plain, exact and short. It knows nothing of Ray: `training.worker` hands it everything.

Every token of a step weighs the same, however it is split into batches, forward passes and workers.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import gather_object
from peft import PeftModel

from training.data import IGNORED, Batch, Example, Step, collate, schedule_of, validation_batches
from training.model import Tensors, assign, checksum, copied, trainable
from training.progress import Checkpoint, CheckpointStore, MetricsLog, Progress
from training.recipe import Optimizer, Recipe

Status = Literal["completed", "stopped_early", "failed"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended. A failure that would come again is an outcome, since an exception is retried."""

    status: Status
    progress: Progress
    total_steps: int
    diagnosis: str | None = None


class Loop:
    """One run on one worker; the workers of a run make the same calls in the same order."""

    def __init__(
        self,
        recipe: Recipe,
        model: PeftModel,
        accelerator: Accelerator,
        *,
        train: Sequence[Example],
        validation: Sequence[Example],
        store: CheckpointStore,
    ) -> None:
        self._recipe = recipe
        self._accelerator = accelerator
        self._train = train
        self._validation = validation
        self._store = store
        self._module = model
        self._weights = trainable(model)
        self._optimizer = build_optimizer(recipe.optimizer, self._weights)
        self._model: torch.nn.Module = accelerator.prepare(model)
        self._schedule = schedule_of(recipe, train)
        self.total_steps = self._schedule.total_steps(recipe.epochs, recipe.max_steps)
        self.progress = Progress()
        self._best: Tensors = {}

    def run(self, log: MetricsLog | None = None) -> Outcome:
        log = log or MetricsLog(None)
        if self.progress.step == 0 and (diagnosis := self._validate(log)):
            return self._outcome("failed", diagnosis)
        while not self._finished:
            if diagnosis := self._train_step(log):
                return self._outcome("failed", diagnosis)
            validate = self._finished or self._due(self._recipe.validation.every_steps)
            if validate and (diagnosis := self._validate(log)):  # a gain here may prolong the run
                return self._outcome("failed", diagnosis)
            if self._finished or self._due(self._recipe.checkpoints.every_steps):
                self._store.save(self._checkpoint().write, self.progress)
        if diagnosis := self._ranks_differ():
            return self._outcome("failed", diagnosis)
        return self._outcome("stopped_early" if self.progress.step < self.total_steps else "completed")

    def resume(self) -> None:
        """Go on from the latest checkpoint, if there is one."""
        with self._store.latest() as folder:
            if folder is None:
                return
            checkpoint = Checkpoint.read(folder, self._accelerator.device)
        assign(self._module, checkpoint.adapter)
        self._optimizer.load_state_dict(checkpoint.optimizer)
        self.progress, self._best = checkpoint.progress, checkpoint.best

    def validation_loss(self) -> float:
        """Nats per completion token over the whole split: sums over all workers, divided once."""
        module = self._accelerator.unwrap_model(self._model).eval()
        sums = torch.zeros(2, dtype=torch.float64, device=self._accelerator.device)
        with torch.no_grad():
            for batch in validation_batches(
                self._validation,
                batch_size=self._recipe.validation.batch_size,
                rank=self._accelerator.process_index,
                workers=self._accelerator.num_processes,
            ):
                loss = completion_loss(module, batch.to(self._accelerator.device))
                sums += torch.tensor([float(loss), batch.label_tokens], dtype=torch.float64).to(sums.device)
        loss_sum, tokens = self._accelerator.reduce(sums, "sum").tolist()
        return float(loss_sum / tokens)

    def backward(self, step: Step) -> float:
        """Gradients of one optimizer step; returns this worker's part of the summed token losses."""
        self._model.train()
        workers, rank = self._accelerator.num_processes, self._accelerator.process_index
        scale = workers / self._schedule.label_tokens(step)  # DDP averages over workers; this makes it a sum
        loss_sum = 0.0
        for number, batches in enumerate(step.batches, start=1):
            torch.manual_seed(_seed(self._recipe.seed, self.progress.step, number, rank))  # of dropout
            batch = collate([self._train[i] for i in batches[rank]], step.epoch).to(self._accelerator.device)
            last = number == len(step.batches)
            with nullcontext() if last else self._accelerator.no_sync(self._model):
                loss = completion_loss(self._model, batch)
                self._accelerator.backward(loss * scale)
            loss_sum += float(loss.detach())
        return loss_sum

    def _train_step(self, log: MetricsLog) -> str | None:
        """One optimizer step, or the reason why it was not made."""
        start = time.monotonic()
        step = self._schedule.step(self.progress.step)
        loss_sum = self.backward(step)
        norm = self._accelerator.clip_grad_norm_(self._weights.values(), self._recipe.optimizer.max_grad_norm)
        # One NaN anywhere makes both sums NaN everywhere: all workers see the same and stop together.
        parts = torch.tensor([loss_sum, float(norm)], dtype=torch.float64, device=self._accelerator.device)
        loss_sum, norm_sum = self._accelerator.reduce(parts, "sum").tolist()
        tokens = self._schedule.label_tokens(step)
        loss, grad_norm = loss_sum / tokens, norm_sum / self._accelerator.num_processes
        if diagnosis := diagnose(loss, grad_norm):
            ids = [self._train[i].id for batches in step.batches for batch in batches for i in batch]
            return f"step {self.progress.step + 1}, samples {_listed(ids)}: {diagnosis}"
        rate = learning_rate(self._recipe.optimizer, self.progress.step, self.total_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.progress.step += 1
        seconds = round(time.monotonic() - start, 4)
        log.write(
            "step", self.progress.step, epoch=step.epoch, loss=loss, grad_norm=grad_norm,
            learning_rate=rate, tokens=tokens, seconds=seconds,
        )  # fmt: skip
        return None

    def _validate(self, log: MetricsLog) -> str | None:
        start = time.monotonic()
        loss = self.validation_loss()
        if not math.isfinite(loss):
            return f"step {self.progress.step}: the validation loss is {loss}. {_NON_FINITE_CAUSES}"
        stopping = self._recipe.early_stopping
        if self.progress.observe(loss, stopping.min_delta if stopping else 0.0):
            self._best = copied(self._weights)
        seconds = round(time.monotonic() - start, 4)
        log.write("validation", self.progress.step, loss=loss, best=self.progress.best_loss, seconds=seconds)
        return None

    def _due(self, every_steps: int) -> bool:
        return self.progress.step % every_steps == 0

    @property
    def _finished(self) -> bool:
        stopping = self._recipe.early_stopping
        impatient = stopping is not None and self.progress.steps_without_gain >= stopping.patience_steps
        return impatient or self.progress.step >= self.total_steps

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(self.progress, copied(self._weights), self._best, self._optimizer.state_dict())

    def _ranks_differ(self) -> str | None:
        checksums = gather_object([checksum(self._weights)])
        if len(set(checksums)) == 1:
            return None
        return (
            f"the workers ended with {len(set(checksums))} different adapters: their gradients were not "
            "averaged. The result would be one worker's part of the data; nothing was exported."
        )

    def _outcome(self, status: Status, diagnosis: str | None = None) -> Outcome:
        return Outcome(status, self.progress, self.total_steps, diagnosis)


def completion_loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Summed cross entropy of the completion tokens; the head runs on their positions only."""
    logits = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        logits_to_keep=batch.labels.shape[1] + 1,  # position t predicts token t + 1
        use_cache=False,
    ).logits[:, :-1]  # (B, C, vocabulary)
    return F.cross_entropy(
        logits.float().flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def build_optimizer(settings: Optimizer, weights: Tensors) -> torch.optim.Optimizer:
    if settings.name == "adamw":
        return torch.optim.AdamW(
            weights.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
    from bitsandbytes.optim import PagedAdamW8bit

    optimizer: torch.optim.Optimizer = PagedAdamW8bit(
        list(weights.values()), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    return optimizer


def learning_rate(settings: Optimizer, step: int, total_steps: int) -> float:
    """Of the step with that index from 0: linear warm-up, then down to 0 at `total_steps`."""
    warmup = round(settings.warmup_ratio * total_steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total_steps - warmup)
    factor = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}
    return settings.learning_rate * factor[settings.schedule]


_NON_FINITE_CAUSES = (
    "Likely causes: a learning rate that is too high; float16 somewhere (use precision=bf16); an attention "
    "kernel that does not fit the model (Gemma 2 needs eager); damaged base weights or failing hardware."
)


def diagnose(loss: float, grad_norm: float) -> str | None:
    """What is wrong with a step, in words, or None. Called before the optimizer may spoil the weights."""
    seen = f"the training loss is {loss} and the gradient norm {grad_norm}."
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        return f"{seen} {_NON_FINITE_CAUSES}"
    if loss == 0.0:
        return f"{seen} Likely causes: every label is masked, or the base model's weights are all zero."
    if grad_norm == 0.0:
        return f"{seen} No adapter weight receives a gradient: check lora.target_modules."
    return None


def _seed(*numbers: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:6], "big")


def _listed(ids: Sequence[str], limit: int = 4) -> str:
    more = f" and {len(ids) - limit} more" if len(ids) > limit else ""
    return ", ".join(ids[:limit]) + more

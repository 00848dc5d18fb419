"""The training loop: plain, exact and short. It knows nothing of Ray: `training.worker` hands it everything.

Every token of a step weighs the same, however it is split into batches, forward passes and workers.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Literal, cast

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from peft import PeftModel
from transformers import PreTrainedModel

from captioning.writing import continue_greedily
from training.attention import attention_for
from training.checkpoints import Checkpoint, CheckpointFolder
from training.data import IGNORED, Batch, Example, Step, collate, schedule_of, validation_batches
from training.model import Tensors, assign, checksum, copied, number_type, trainable
from training.optimizer import learning_rate
from training.progress import MetricsLog, Progress
from training.recipe import Recipe
from training.throughput import Meter
from training.updates import make_updates
from training.watch import NON_FINITE_CAUSES, STUCK_STEPS, diagnose, learned_nothing, stuck

Status = Literal["completed", "stopped_early", "interrupted", "failed"]

MAX_CAPTION_TOKENS = 64
_MOST_SAVED = 8  # validation samples of each worker


@dataclass(frozen=True)
class Outcome:
    """How a run ended. A failure that would come again is an outcome, since an exception is retried."""

    status: Status
    progress: Progress
    total_steps: int
    diagnosis: str | None = None
    losses: dict[str, float] = field(default_factory=dict)  # of each sample that was failed at


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
        store: CheckpointFolder,
        text_of: Callable[[Sequence[int]], str],
        stop_asked: Callable[[], bool] = lambda: False,
    ) -> None:
        self._recipe = recipe
        self._accelerator = accelerator
        self._train = train
        self._validation = validation
        self._store = store
        self._text_of = text_of
        self._stop_asked = stop_asked
        self._module = model
        self._base = cast(PreTrainedModel, model.get_base_model())
        self._weights = trainable(model)
        self._updates = make_updates(recipe, model, accelerator)
        self._schedule = schedule_of(recipe, train)
        self._meter = Meter(self._base, accelerator.device, accelerator.num_processes)
        self.total_steps = self._schedule.total_steps(recipe.epochs, recipe.max_steps)
        self.progress = Progress()
        self.passed_over: list[str] = []  # checkpoints that `resume` found damaged, and how
        self._best: Tensors = {}
        self._interrupted = False
        self._first_step_loss: float | None = None  # before training

    def run(self, log: MetricsLog | None = None) -> Outcome:
        log = log or MetricsLog(None)
        if self.progress.step == 0:
            if failure := self._validate(log):
                return failure
            self._first_step_loss = self._loss_of_first_step()
        while not self._finished and not self._interrupted:
            if failure := self._train_step(log) or self._stuck():
                return failure
            validate = self._finished or self._due(self._recipe.validation.every_steps)
            if validate and (failure := self._validate(log)):  # a gain here may prolong the run
                return failure
            save = self._finished or self._interrupted or self._due(self._recipe.checkpoints.every_steps)
            if save and (diagnosis := self._save()):
                return self._outcome("failed", diagnosis)
        return self._outcome("interrupted") if self._interrupted else self._end()

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, if there is one."""
        found = list(self._store.look()) if self._accelerator.is_main_process else [None, []]
        folder, self.passed_over = broadcast_object_list(found)
        if folder is None:
            return
        checkpoint = Checkpoint.read(folder, self._accelerator.device)
        assign(self._module, checkpoint.adapter)
        self._updates.load_state(checkpoint.optimizer)
        self.progress, self._best = checkpoint.progress, checkpoint.best

    def validation_loss(self) -> float:
        """Nats per completion token over the whole split: sums over all workers, divided once."""
        module = self._module.eval()
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

    def captions(self, number: int) -> list[dict[str, str]]:
        """What the model writes to samples spread over the validation split, beside their references."""
        shown = self._validation[:: max(1, len(self._validation) // number)][:number]
        written = continue_greedily(
            cast(PreTrainedModel, self._module.eval()),
            [list(example.prompt) for example in shown],
            max_new_tokens=MAX_CAPTION_TOKENS,
            stop_ids=frozenset(example.completion(0)[-1] for example in shown),
        )
        return [
            {
                "id": example.id,
                "caption": self._text_of(tokens),
                "reference": self._text_of(example.completion(0)),
            }
            for example, tokens in zip(shown, written, strict=True)
        ]

    def backward(self, step: Step) -> float:
        """Gradients of one optimizer step; returns this worker's part of the summed token losses."""
        self._updates.model.train()
        workers, rank = self._accelerator.num_processes, self._accelerator.process_index
        scale = workers / self._schedule.label_tokens(step)  # workers are averaged; this makes it a sum
        loss_sum = 0.0
        for number, batches in enumerate(step.batches, start=1):
            torch.manual_seed(_seed(self._recipe.seed, self.progress.step, number, rank))  # of dropout
            batch = collate([self._train[i] for i in batches[rank]], step.epoch).to(self._accelerator.device)
            last = number == len(step.batches)
            with self._updates.training_pass(last=last), self._attention(batch):
                loss = completion_loss(self._updates.model, batch)
                self._updates.backward(loss * scale)
            loss_sum += float(loss.detach())
        return loss_sum

    def _attention(self, batch: Batch) -> AbstractContextManager[None]:
        return attention_for(self._base, number_type(self._recipe, self._accelerator.device), batch.input_ids)

    def _train_step(self, log: MetricsLog) -> Outcome | None:
        """One optimizer step, or how the run ends without it."""
        self._meter.start()
        step = self._schedule.step(self.progress.step)
        loss_sum = self.backward(step)
        norm = self._updates.gradient_norm()
        # One NaN anywhere makes both sums NaN everywhere: all workers see the same and stop together.
        parts = torch.tensor([loss_sum, norm, self._stop_asked()], dtype=torch.float64)
        loss_sum, norm_sum, stops = self._accelerator.reduce(
            parts.to(self._accelerator.device), "sum"
        ).tolist()
        self._interrupted = stops > 0
        label_tokens = self._schedule.label_tokens(step)
        loss, grad_norm = loss_sum / label_tokens, norm_sum / self._accelerator.num_processes
        if diagnosis := diagnose(loss, grad_norm, self._updates.without_gradient()):
            return self._failed_step(step, diagnosis)
        rate = learning_rate(self._recipe.optimizer, self.progress.step, self.total_steps)
        self._updates.step(rate)
        self.progress.step += 1
        tokens, padded_tokens = self._schedule.tokens(step)
        samples = self._recipe.samples_per_step
        throughput = self._meter.stop(tokens, padded_tokens, label_tokens, samples)
        log.write(
            "step", self.progress.step, epoch=step.epoch, loss=loss, grad_norm=grad_norm,
            learning_rate=rate, label_tokens=label_tokens, tokens=tokens, **throughput.rounded(),
        )  # fmt: skip
        return None

    def _validate(self, log: MetricsLog) -> Outcome | None:
        start = time.monotonic()
        loss = self.validation_loss()
        if not math.isfinite(loss):
            losses = self._non_finite_samples()
            words = f"the validation loss is {loss}, samples {_listed(list(losses))}. {NON_FINITE_CAUSES}"
            return self._outcome("failed", f"step {self.progress.step}: {words}", losses)
        stopping = self._recipe.early_stopping
        if self.progress.observe(loss, stopping.min_delta if stopping else 0.0):
            self._best = copied(self._weights)
        seconds = round(time.monotonic() - start, 4)
        log.write("validation", self.progress.step, loss=loss, best=self.progress.best_loss, seconds=seconds)
        number = self._recipe.validation.captions
        if number and self._accelerator.is_main_process:  # the others wait where all meet next
            log.write("captions", self.progress.step, captions=self.captions(number))
        asked = torch.tensor(float(self._stop_asked()), device=self._accelerator.device)
        if self._accelerator.reduce(asked, "sum") > 0:  # validation may take minutes
            self._interrupted = True
        return None

    def _non_finite_samples(self) -> dict[str, float]:
        """Some validation samples whose loss is no number, from every worker."""
        worker, workers = self._accelerator.process_index, self._accelerator.num_processes
        losses = ((one.id, self._sample_loss(one, 0)) for one in self._validation[worker::workers])
        found = islice((item for item in losses if not math.isfinite(item[1])), _MOST_SAVED)
        return dict(chain.from_iterable(gather_object([list(found)])))

    def _stuck(self) -> Outcome | None:
        """After some steps the loss of the first one's samples must not be what it was."""
        before = self._first_step_loss
        if self.progress.step != STUCK_STEPS or before is None or self._loss_of_first_step() != before:
            return None
        return self._outcome("failed", f"step {STUCK_STEPS}: {stuck(STUCK_STEPS)}")

    @torch.no_grad()
    def _loss_of_first_step(self) -> float:
        """Of its first forward pass, with the weights as they are and without dropout."""
        step = self._schedule.step(0)
        batch = step.batches[0][self._accelerator.process_index]
        samples = collate([self._train[i] for i in batch], step.epoch).to(self._accelerator.device)
        loss = completion_loss(self._module.eval(), samples)
        return float(self._accelerator.reduce(loss, "sum"))

    def _save(self) -> str | None:
        """Write a checkpoint on the main worker; all workers hear when it failed, and why."""
        problem, checkpoint = None, self._checkpoint()
        if self._accelerator.is_main_process:
            try:
                self._store.save(checkpoint)
            except OSError as error:
                problem = (
                    f"step {self.progress.step}: the checkpoint could not be written ({error}). Mend that, "
                    "then give the same command again: the run goes on from the checkpoint before."
                )
        heard: list[str | None] = broadcast_object_list([problem])
        return heard[0]

    def _due(self, every_steps: int) -> bool:
        return self.progress.step % every_steps == 0

    @property
    def _finished(self) -> bool:
        stopping = self._recipe.early_stopping
        impatient = stopping is not None and self.progress.steps_without_gain >= stopping.patience_steps
        return impatient or self.progress.step >= self.total_steps

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(self.progress, copied(self._weights), self._best, self._updates.state())

    def _failed_step(self, step: Step, diagnosis: str) -> Outcome:
        indices = [i for batches in step.batches for batch in batches for i in batch]
        ids = [self._train[i].id for i in indices]
        losses = {self._train[i].id: self._sample_loss(self._train[i], step.epoch) for i in indices}
        words = f"step {self.progress.step + 1}, samples {_listed(ids)}: {diagnosis}"
        return self._outcome("failed", words, losses)

    @torch.no_grad()
    def _sample_loss(self, example: Example, epoch: int) -> float:
        """Nats per token of one sample alone, with the weights as they are."""
        module = self._module.eval()
        batch = collate([example], epoch).to(self._accelerator.device)
        return float(completion_loss(module, batch)) / batch.label_tokens

    def _end(self) -> Outcome:
        progress = self.progress
        if diagnosis := self._ranks_differ():
            return self._outcome("failed", diagnosis)
        if progress.best_step == 0:
            words = learned_nothing(progress.first_loss, progress.last_loss, progress.step)
            return self._outcome("failed", words)
        return self._outcome("stopped_early" if progress.step < self.total_steps else "completed")

    def _ranks_differ(self) -> str | None:
        checksums = gather_object([checksum(self._weights)])
        if len(set(checksums)) == 1:
            return None
        return (
            f"the workers ended with {len(set(checksums))} different adapters: their gradients were not "
            "averaged. The result would be one worker's part of the data; nothing was exported."
        )

    def _outcome(
        self, status: Status, diagnosis: str | None = None, losses: dict[str, float] | None = None
    ) -> Outcome:
        return Outcome(status, self.progress, self.total_steps, diagnosis, losses or {})


def completion_loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Summed cross entropy of the completion tokens; the head runs on their positions only."""
    width, label_width = batch.input_ids.shape[1], batch.labels.shape[1]
    logits = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        # Position t predicts token t + 1. Indices, since a number would make the head's input a slice, and
        # torch would copy the head's weights for each sample of the batch.
        logits_to_keep=torch.arange(width - label_width, width, device=batch.labels.device) - 1,
        use_cache=False,
    ).logits  # (B, C, vocabulary)
    return F.cross_entropy(
        logits.float().flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def _seed(*numbers: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:6], "big")


def _listed(ids: Sequence[str], limit: int = 4) -> str:
    more = f" and {len(ids) - limit} more" if len(ids) > limit else ""
    return ", ".join(ids[:limit]) + more

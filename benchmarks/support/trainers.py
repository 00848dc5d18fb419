"""One worker of one trainer, ours or TRL's, on the same task; and the task that both are given.

Both have the base model as `captioning.base_models` loads and quantizes it, and the same LoRA, token
ids, optimizer, learning rate, samples per step, validations, precision, torch threads and process group.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch.profiler import ProfilerActivity, profile

from benchmarks.support.launch import quiet
from captioning.base_models import load_model, load_tokenizer
from captioning.errors import ConfigError
from training import model, tokens
from training.checkpoints import Checkpoint, CheckpointFolder
from training.data import IGNORED, Example, validation_batches
from training.loop import completion_loss
from training.progress import MetricsLog
from training.recipe import Recipe
from training.worker import Job, make_accelerator, make_loop

Trainer = Literal["ours", "trl"]

TRAINERS: tuple[Trainer, ...] = ("ours", "trl")
MODULE = "benchmarks.support.trainers"
ADAPTER_FILE = "adapter.safetensors"  # in the job's folder: the weights after the last step
WARM_UP_STEPS = 3  # not measured

_PROFILED_STEPS = 10
_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
_OPTIMIZERS = {"paged_adamw_8bit": "paged_adamw_8bit", "adamw": "adamw_torch"}

# What an operator's time counts as, by the beginning of its name; the first that fits.
_KINDS = {
    "aten::_scaled_dot_product": "attention",
    "aten::bmm": "attention",
    "aten::_softmax": "attention",
    "bitsandbytes::optimizer": "8-bit optimizer",
    "bitsandbytes::quantize_blockwise": "8-bit optimizer",
    "bitsandbytes::": "4-bit weights",
    "aten::mm": "matrix products",
    "aten::addmm": "matrix products",
    "aten::bernoulli": "random numbers of dropout",
    "aten::random": "random numbers of dropout",
    "aten::copy_": "copies and casts",
    "gloo": "exchange between workers",
    "nccl": "exchange between workers",
    "c10d": "exchange between workers",
}


class Task(BaseModel):
    """What the workers are to do. The last three are TRL's choices, where it has one."""

    model_config = ConfigDict(frozen=True)

    trainer: Trainer
    job: Job
    profiled: bool = False
    sampling: str = "group_by_length"  # or batch_rebalance, random, padding_free
    attention: str | None = None  # None: as the base model is loaded


@dataclass
class Record:
    """What one worker measured; the lists have an entry for each step after the warm-up."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    memory_gib: float = 0.0  # the most that was held: of the GPU's memory, or resident on a CPU
    profile: dict[str, float] = field(default_factory=dict)  # seconds per step, by kind of operator


class Clock:
    """Times optimizer steps; what lies between the end of one and the next `start` is left out."""

    def __init__(self, *, profiled: bool) -> None:
        self.record = Record()
        self._steps = 0
        self._profile = profile(activities=[ProfilerActivity.CPU]) if profiled else None

    def start(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def end_step(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self._steps += 1
        if self._steps > WARM_UP_STEPS:
            self.record.seconds.append(wall - self._began[0])
            self.record.cpu_seconds.append(cpu - self._began[1])
        if self._profile is not None:
            self._follow(self._profile)
        self.start()

    def _follow(self, profiler: profile) -> None:
        if self._steps == WARM_UP_STEPS:
            profiler.start()
        elif self._steps == WARM_UP_STEPS + _PROFILED_STEPS:
            profiler.stop()
            self.record.profile = by_kind(profiler)


def by_kind(profiler: profile) -> dict[str, float]:
    """Seconds per step of each kind of operator, the longest first."""
    kinds: Counter[str] = Counter()
    for event in profiler.key_averages():
        kind = next((kind for start, kind in _KINDS.items() if event.key.startswith(start)), "all else")
        kinds[kind] += event.self_cpu_time_total / 1e6 / _PROFILED_STEPS
    return dict(kinds.most_common())


def train_ours(task: Task, clock: Clock) -> None:
    job = task.job
    accelerator = make_accelerator(job.recipe, job.device)
    loop = make_loop(job, accelerator)

    def follow(event: str, step: int, values: Any) -> None:
        if event == "step":
            clock.end_step()
        else:
            clock.start()

    path = job.folder / f"metrics-{accelerator.process_index}.jsonl"  # each worker is timed
    outcome = loop.run(MetricsLog(path, sink=follow))
    if outcome.diagnosis:
        raise RuntimeError(outcome.diagnosis)
    checkpoint = CheckpointFolder(job.folder, keep=1).latest()
    if accelerator.is_main_process and checkpoint:
        save_file(Checkpoint.read(checkpoint, torch.device("cpu")).adapter, job.folder / ADAPTER_FILE)


def train_trl(task: Task, clock: Clock) -> None:
    from transformers import TrainerCallback

    class Follower(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.start()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.end_step()

        def on_evaluate(self, *_: Any, **__: Any) -> None:
            clock.start()

    train, validation = (tokens.read(path).examples for path in (task.job.train, task.job.validation))
    trainer = sft_trainer(task, train, validation, [Follower()])
    trainer.train()
    if trainer.is_world_process_zero():
        save_file(model.copied(model.trainable(trainer.model)), task.job.folder / ADAPTER_FILE)


def require_trl() -> None:
    """Raises ConfigError with the way out where TRL is not installed."""
    if importlib.util.find_spec("trl") is None:
        raise ConfigError("TRL, the peer of this benchmark, is not installed: pip install -e '.[bench]'")


def sft_trainer(
    task: Task,
    train: Sequence[Example],
    validation: Sequence[Example],
    callbacks: Sequence[Any],
    **changes: Any,
) -> Any:
    """TRL's SFTTrainer with the recipe's settings; `changes` are arguments of its SFTConfig."""
    from trl import SFTConfig, SFTTrainer

    recipe, device = task.job.recipe, task.job.device
    base = load_model(
        task.job.spec,
        dtype=model.number_type(recipe, device),
        quantization=recipe.quantization,
        double_quantization=recipe.double_quantization,
        device=f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else "cpu",
    )
    if task.attention:
        base.set_attn_implementation(task.attention)
    steps = min(recipe.max_steps or sys.maxsize, recipe.epochs * (len(train) // recipe.samples_per_step))
    settings = SFTConfig(
        **_of_recipe(recipe, steps, device)
        | _of_its_own(task)
        | {"output_dir": str(task.job.folder / "trl")}
        | changes
    )
    return SFTTrainer(
        model=base,
        args=settings,
        train_dataset=dataset(train),
        eval_dataset=dataset(validation),
        processing_class=load_tokenizer(task.job.spec),
        peft_config=lora_config(recipe),
        callbacks=list(callbacks),
    )


def _of_recipe(recipe: Recipe, steps: int, device: str) -> dict[str, Any]:
    optimizer = recipe.optimizer
    return {
        "seed": recipe.seed,
        "max_steps": steps,
        "per_device_train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.accumulation,
        "per_device_eval_batch_size": recipe.validation.batch_size,
        "eval_strategy": "steps",
        "eval_steps": recipe.validation.every_steps,
        "eval_on_start": True,
        "learning_rate": optimizer.learning_rate,
        "lr_scheduler_type": _SCHEDULES[optimizer.schedule],
        "warmup_steps": round(optimizer.warmup_ratio * steps),
        "weight_decay": optimizer.weight_decay,
        "max_grad_norm": optimizer.max_grad_norm,
        "optim": _OPTIMIZERS[optimizer.name],
        "bf16": model.number_type(recipe, device) == torch.bfloat16,
        "gradient_checkpointing": recipe.activation_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
    }


def _of_its_own(task: Task) -> dict[str, Any]:
    """The best of TRL's ordinary settings for this data; several are not its defaults."""
    cpu, workers = task.job.device == "cpu", task.job.recipe.resources.workers
    free = task.sampling == "padding_free"
    return {
        "max_length": None,  # it would cut at 1,024 tokens, and the caption comes last
        "padding_free": free,
        "train_sampling_strategy": "random" if free else task.sampling,
        "ddp_find_unused_parameters": False,  # with adapters it searches in every step
        "ddp_backend": ("gloo" if cpu else "nccl") if workers > 1 else None,
        "use_cpu": cpu,
        "dataloader_drop_last": True,
        "dataloader_pin_memory": not cpu,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def lora_config(recipe: Recipe) -> LoraConfig:
    lora = recipe.lora
    targets = lora.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_rslora=lora.rslora,
    )


def dataset(examples: Sequence[Example]) -> Any:
    """Token ids as TRL takes them: loss on the completion alone."""
    from datasets import Dataset

    rows = [
        {
            "input_ids": [*example.prompt, *example.completion(0)],
            "labels": [IGNORED] * len(example.prompt) + list(example.completion(0)),
            "length": example.length(0),
        }
        for example in examples
    ]
    return Dataset.from_list(rows)


@torch.no_grad()
def validation_loss(job: Job, adapter: Path) -> float:
    """Nats per completion token with the weights of that file: one exact function for every trainer."""
    recipe, device = job.recipe, torch.device(job.device)
    built = model.build(recipe, job.spec, device).eval()
    model.assign(built, load_file(adapter))
    loss_sum, label_tokens = 0.0, 0
    examples = tokens.read(job.validation).examples
    in_bfloat16 = model.number_type(recipe, device) == torch.bfloat16
    with torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16):
        for batch in validation_batches(examples, batch_size=recipe.validation.batch_size):
            loss_sum += float(completion_loss(built, batch.to(device)))
            label_tokens += batch.label_tokens
    return loss_sum / label_tokens


def peak_memory_gib(device: Literal["cpu", "cuda"]) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1024**3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main() -> None:
    """A worker: `TASK.json` is its only word; its record goes beside the task's other files."""
    quiet()
    task = Task.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(max(1, int(task.job.recipe.resources.cpus_per_worker)))
    clock = Clock(profiled=task.profiled)
    {"ours": train_ours, "trl": train_trl}[task.trainer](task, clock)
    clock.record.memory_gib = peak_memory_gib(task.job.device)
    path = task.job.folder / f"record-{os.environ.get('RANK', '0')}.json"
    path.write_text(json.dumps(asdict(clock.record)), encoding="utf-8")


if __name__ == "__main__":
    main()

"""How a step's gradients become new weights: plain data parallelism, or DeepSpeed's ZeRO-2.

The loop computes losses and judges what it sees between `gradient_norm` and `step`; nothing changes a
weight before that. The workers of a run call everything here together.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import compare_versions, gather_object, send_to_device

from captioning.errors import ConfigError
from training.model import trainable
from training.optimizer import build_optimizer
from training.recipe import DeepSpeed, Recipe

_OLDEST = "0.19.8"  # of DeepSpeed: 0.18 calls a gradient norm 1 that is not finite


class Updates(Protocol):
    """What the loop needs of either."""

    model: torch.nn.Module  # for training passes

    def training_pass(self, *, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward of one pass, which may be the last one of its step."""

    def backward(self, loss: torch.Tensor) -> None:
        """Add a pass's gradients to those of the step. They are averaged over the workers."""

    def gradient_norm(self) -> float:
        """Of the whole step, as it was before clipping; not finite where one gradient is not."""

    def without_gradient(self) -> list[str]:
        """Names of the trainable weights that took no part in the step."""

    def step(self, learning_rate: float) -> None:
        """Change the weights by the clipped gradients, and forget these."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the weights, of all workers."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`; the weights are those of its checkpoint already."""


def make_updates(recipe: Recipe, model: torch.nn.Module, accelerator: Accelerator) -> Updates:
    """The recipe's choice; `model` is changed in place and runs in the recipe's precision from now on."""
    if recipe.deepspeed:
        return Zero2(recipe, recipe.deepspeed, model, accelerator)
    return DataParallel(recipe, model, accelerator)


def check_installed(recipe: Recipe) -> None:
    """Raises ConfigError where the recipe asks for DeepSpeed and it is missing or too old."""
    if recipe.deepspeed is None:
        return
    if find_spec("deepspeed") is None:
        raise ConfigError(
            f"deepspeed needs its library on every node: pip install 'deepspeed>={_OLDEST}'. Or give "
            "deepspeed=null: the gradients are the same. ZeRO-2 shards no frozen weights, so it would save "
            "at most 12 bytes of GPU memory per trainable weight (an 8B model, r=4 on q and v: 0.02 GiB)."
        )
    if compare_versions("deepspeed", "<", _OLDEST):
        raise ConfigError(
            f"deepspeed {version('deepspeed')} hides gradients that are not finite: pip install "
            f"'deepspeed>={_OLDEST}', or give deepspeed=null."
        )


class DataParallel:
    """Every worker holds all gradients and the whole optimizer."""

    def __init__(self, recipe: Recipe, model: torch.nn.Module, accelerator: Accelerator) -> None:
        self._weights = trainable(model)
        self._optimizer = build_optimizer(recipe.optimizer, self._weights)
        self._max_norm = recipe.optimizer.max_grad_norm
        self._accelerator = accelerator
        self.model: torch.nn.Module = accelerator.prepare(model)

    def training_pass(self, *, last: bool) -> AbstractContextManager[Any]:
        if last:
            return nullcontext()
        alone: AbstractContextManager[Any] = self._accelerator.no_sync(self.model)
        return alone

    def backward(self, loss: torch.Tensor) -> None:
        self._accelerator.backward(loss)

    def gradient_norm(self) -> float:
        return float(self._accelerator.clip_grad_norm_(self._weights.values(), self._max_norm))

    def without_gradient(self) -> list[str]:
        return [name for name, weight in self._weights.items() if weight.grad is None]

    def step(self, learning_rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()

    def state(self) -> dict[str, Any]:
        return self._optimizer.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state)


class Zero2:
    """Each worker keeps its part of the gradients and of the optimizer, in CPU memory if so wanted.

    DeepSpeed is driven without Accelerate, which would change the weights within the last backward
    and turn the adapter to bfloat16. The optimizers are PyTorch's and bitsandbytes': DeepSpeed's own
    would have to be compiled on every node, and workers that start together wait for ever where one
    that was killed has left the compiler's lock.

    Source: https://arxiv.org/abs/1910.02054
    """

    def __init__(
        self, recipe: Recipe, zero: DeepSpeed, model: torch.nn.Module, accelerator: Accelerator
    ) -> None:
        self._rank = accelerator.process_index
        self._weights = trainable(model)
        self._reached: set[str] = set()
        for name, weight in self._weights.items():  # whose `grad` is None after each pass
            weight.register_hook(lambda _, name=name: self._reached.add(name))
        accelerator.prepare_model(model, evaluation_mode=True)  # autocast, and no more
        settings = recipe.optimizer.model_copy(update={"name": "adamw"} if zero.offload_optimizer else {})
        self._engine = _engine(
            model,
            build_optimizer(settings, self._weights),
            _engine_config(recipe, zero, sum(weight.numel() for weight in self._weights.values())),
            accelerator.device,
        )
        self.model: torch.nn.Module = self._engine

    def training_pass(self, *, last: bool) -> AbstractContextManager[Any]:
        self._engine.set_gradient_accumulation_boundary(last)
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        self._engine.backward(loss, scale_wrt_gas=False)

    def gradient_norm(self) -> float:
        return float(self._engine.optimizer.scaled_global_norm())  # clipped in `step`

    def without_gradient(self) -> list[str]:
        return [name for name in self._weights if name not in self._reached]

    def step(self, learning_rate: float) -> None:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.step()
        self._reached.clear()

    def state(self) -> dict[str, Any]:
        part = send_to_device(self._engine.optimizer.optimizer.state_dict(), "cpu")
        return {"parts": gather_object([part])}

    def load_state(self, state: dict[str, Any]) -> None:
        self._engine.optimizer.refresh_fp32_params()  # its copies of the weights
        self._engine.optimizer.optimizer.load_state_dict(state["parts"][self._rank])


def _engine(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: dict[str, Any], device: torch.device
) -> Any:
    import deepspeed
    from deepspeed.accelerator import set_accelerator
    from deepspeed.accelerator.cpu_accelerator import CPU_Accelerator

    if device.type == "cpu":  # it would take a GPU that it sees
        set_accelerator(CPU_Accelerator())
    # The one part that it compiles when it starts on CPUs; only inference uses it.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    return deepspeed.initialize(model=model, optimizer=optimizer, config=config)[0]


def _engine_config(recipe: Recipe, zero: DeepSpeed, trainable_weights: int) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": recipe.batch_size,
        "gradient_accumulation_steps": recipe.accumulation,
        "gradient_clipping": recipe.optimizer.max_grad_norm,
        "zero_force_ds_cpu_optimizer": False,
        "zero_allow_untested_optimizer": True,  # that of bitsandbytes
        "zero_optimization": {
            "stage": zero.zero_stage,
            "offload_optimizer": {"device": "cpu" if zero.offload_optimizer else "none"},
            "reduce_bucket_size": trainable_weights,  # a buffer, of 2 GB by default
        },
    }

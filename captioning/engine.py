"""The engine: one base model and any number of its adapters, writing for many callers at once.

Knows neither HTTP nor Ray. A thread of its own writes token after token for all requests together;
requests, adapters and cancellations come and go while it does. May be used from any thread:

    engine = Engine.load("embedded")
    [caption] = engine.caption([svg])            # blocks
    ticket = engine.submit(GenerationRequest(engine.prepare(svg).prompt_ids))   # does not
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from captioning.adapter_fit import AdapterFit
from captioning.adapter_shelf import AdapterShelf
from captioning.adapters import (
    Manifest,
    check_compatible,
    read_manifest,
    read_weights,
    warn_of_quantization,
)
from captioning.base_models import (
    BaseModelSpec,
    Quantization,
    auto_device,
    auto_dtype,
    context_tokens,
    load_model,
    load_tokenizer,
    quantization_of,
    resolve,
    weight_fingerprint,
)
from captioning.caption_engine import Caption, CaptionEngine
from captioning.errors import AdapterError, ConfigError, PromptTooLong
from captioning.generation import Delta, FinishReason, Generation, GenerationRequest
from captioning.load import Load
from captioning.lora_bank import LoraBank
from captioning.memory import affordable_tokens, dequantized, has_room
from captioning.prompt import end_token_id, fixed_prefix
from captioning.rows import Prompt
from captioning.scheduler import Scheduler
from captioning.ticket import Ticket
from captioning.writing import rows_for, suppressed_ids

__all__ = [
    "Caption", "Delta", "Engine", "FinishReason", "Generation", "GenerationRequest", "Load", "Ticket",
]  # fmt: skip

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Engine(CaptionEngine):
    """Runs a model on this machine's CPU or GPU."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        spec: BaseModelSpec,
        *,
        max_batch_size: int = 16,
        cache_tokens: int | None = None,
        adapter_bytes: int | None = None,
        quantization: Quantization | None = None,
    ) -> None:
        context = context_tokens(spec, model.config) or affordable_tokens(model)
        cache_tokens = cache_tokens or min(max_batch_size * context, affordable_tokens(model))
        super().__init__(
            spec, tokenizer, max_batch_size=max_batch_size, max_context_tokens=min(context, cache_tokens)
        )
        self._model = model.eval()
        self._quantization = quantization or quantization_of(model)
        self._fit = AdapterFit(model)
        self._shelf = AdapterShelf(adapter_bytes)
        self._bank = LoraBank(model)
        self._rows = rows_for(
            model,
            self._bank,
            max_rows=max_batch_size,
            max_tokens=cache_tokens,
            prefix=fixed_prefix(tokenizer),
        )
        self._scheduler = Scheduler(
            self._rows,
            lambda ids: cast(str, tokenizer.decode(list(ids), skip_special_tokens=True)),
            stop_ids=frozenset({end_token_id(tokenizer), *_end_ids(model)}),
            suppressed_ids=suppressed_ids(model),
            max_rows=max_batch_size,
        )
        self._end = weakref.finalize(self, self._scheduler.close)

    @classmethod
    def load(
        cls,
        base_model: str = "embedded",
        *,
        dtype: str | torch.dtype = "auto",
        quantization: Quantization | None = None,
        dequantize: bool | None = None,
        device: str = "auto",
        torch_threads: int | None = None,
        max_batch_size: int = 16,
        cache_tokens: int | None = None,
        adapter_bytes: int | None = None,
    ) -> Engine:
        """An engine for a base model by its name, Hugging Face id or folder.

        `auto` is the first GPU, and bfloat16 where the hardware has it. `torch_threads` holds for the
        whole process; more than one slows it down on a machine that is busy with other work.
        `max_batch_size` texts are written at once, in `cache_tokens` of key-value cache (None: as many as
        memory suggests); adapters take up to `adapter_bytes` (None: no limit). With `dequantize`, 4-bit
        weights become bfloat16 once: the same answers, sooner; None: if half of the free memory holds them.
        """
        spec = resolve(base_model)
        device = auto_device() if device == "auto" else device
        if torch_threads is not None:
            torch.set_num_threads(torch_threads)
        number_type = _dtype(dtype, device)
        model = load_model(spec, dtype=number_type, quantization=quantization, device=device)
        if number_type == torch.bfloat16 and quantization in ("nf4", "fp4"):
            model = dequantized(model) if dequantize or (dequantize is None and has_room(model)) else model
        return cls(
            model,
            load_tokenizer(spec),
            spec,
            max_batch_size=max_batch_size,
            cache_tokens=cache_tokens,
            adapter_bytes=adapter_bytes,
            quantization=quantization,
        )

    @property
    def adapters(self) -> dict[str, Manifest]:
        return self._shelf.manifests

    @property
    def load_now(self) -> Load:
        shelf = self._shelf
        return replace(
            self._scheduler.load,
            adapter_bytes=shelf.bytes,
            adapter_loads=shelf.loads,
            adapter_evictions=shelf.evictions,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Of the base model's weights; an adapter must carry the same."""
        return weight_fingerprint(self.spec)

    def load_adapter(self, folder: str | Path, adapter_id: str | None = None) -> Manifest:
        """Load an adapter, taking the place of one with the same id and, for memory, of unused ones.

        What is being written goes on, with the adapter it began with. `adapter_id` is the name to ask for it
        by, if not its own.

        Raises:
            AdapterError: the folder is broken, the adapter does not fit this base model, or there is no
                memory for it beside those in use.
        """
        manifest = read_manifest(folder)
        if adapter_id is not None:
            manifest = manifest.model_copy(update={"adapter_id": adapter_id})
        if manifest.adapter_id == self.spec.id:
            raise AdapterError(
                f"'{folder}': the adapter has the id of its base model, '{self.spec.id}'. Rename it."
            )
        check_compatible(manifest, self.spec, self.fingerprint)
        warn_of_quantization(manifest, self._quantization)
        lora = self._fit.lora(read_weights(folder))
        for gone in self._shelf.put(manifest, lora):
            self._scheduler.between_turns(partial(self._bank.forget, gone))
        return manifest

    def unload_adapter(self, adapter_id: str) -> None:
        """Requests that have it go on with it; no new one gets it."""
        gone = self._shelf.remove(adapter_id)
        self._scheduler.between_turns(lambda: self._bank.forget(gone))

    def submit(self, request: GenerationRequest, *, stream: bool = False) -> Ticket:
        """As every engine does; greedy texts do not depend on the company they are written in, but for the
        last bits of the arithmetic.
        """
        self.check(request)
        adapter = self._shelf.take(request.adapter) if request.adapter is not None else None
        ticket = Ticket(request, stream=stream)
        if adapter:
            ticket.when_done(partial(self._shelf.give_back, adapter))
        room = len(request.prompt_ids) + request.max_new_tokens
        prompt = Prompt([*request.prompt_ids, *request.begin], room, adapter.lora if adapter else None)
        try:
            self._scheduler.submit(ticket, prompt)
        except BaseException:
            ticket.cancel()
            raise
        return ticket

    @property
    def closed(self) -> bool:
        return self._scheduler.closed

    def close(self) -> None:
        self._end()

    def check(self, request: GenerationRequest) -> None:
        super().check(request)
        if not self._rows.holds(request.n, len(request.prompt_ids) + request.max_new_tokens):
            raise PromptTooLong(
                f"{len(request.prompt_ids):,} prompt tokens and {request.max_new_tokens:,} new ones: "
                f"the cache has no room for {request.n} such texts"
            )


def _end_ids(model: PreTrainedModel) -> list[int]:
    """The tokens at which the model's own settings say that a text ends: none, one or several."""
    ids = model.generation_config.eos_token_id if model.generation_config else None
    return ids if isinstance(ids, list) else [] if ids is None else [ids]


def _dtype(name: str | torch.dtype, device: str) -> torch.dtype:
    if isinstance(name, torch.dtype):
        return name
    if name != "auto" and name not in _DTYPES:
        raise ConfigError(f"no number type '{name}': it is one of auto, {', '.join(_DTYPES)}")
    return auto_dtype(device) if name == "auto" else _DTYPES[name]

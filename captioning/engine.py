"""The engine: one base model and any number of its adapters, writing captions in batches.

Knows neither HTTP nor Ray. One engine may be shared by threads: generations and adapter changes take
turns.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from captioning.adapter_bank import BASE, AdapterBank
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
    load_model,
    load_tokenizer,
    quantization_of,
    resolve,
    weight_fingerprint,
)
from captioning.decoding import FinishReason, Row, decode
from captioning.errors import AdapterError, ConfigError, ModelNotFound, PromptTooLong
from captioning.pipeline import Prepared, prepare
from captioning.prompt import clean_caption, end_token_id
from rendering import Drawing, SvgCaptionError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt and how to go on from it."""

    prompt_ids: list[int]
    adapter: str | None = None  # adapter id; None: the base model
    max_new_tokens: int = 64
    temperature: float = 0.0  # 0: always the likeliest token
    seed: int | None = None  # for temperature > 0; None: other captions every time


@dataclass(frozen=True)
class Generation:
    """What was written after one prompt."""

    text: str  # one line, without control characters; of unknown origin: escape it where it is shown
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int  # the end token included


@dataclass(frozen=True)
class Caption(Generation):
    """A generation together with the drawing that it describes."""

    drawing: Drawing


@dataclass(frozen=True)
class _Loaded:
    manifest: Manifest
    slot: str


class Engine:
    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        spec: BaseModelSpec,
        *,
        max_batch_size: int = 16,
    ) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self.max_batch_size = max_batch_size
        self.max_context_tokens: int = spec.max_context_tokens or model.config.max_position_embeddings
        self._model = model.eval()
        self._bank = AdapterBank(model)
        self._loaded: Mapping[str, _Loaded] = {}  # replaced, never changed: read without the lock
        self._lock = threading.Lock()
        self._stop_ids = frozenset({end_token_id(tokenizer), *_end_ids(model)})

    @classmethod
    def load(
        cls,
        base_model: str = "embedded",
        *,
        dtype: str | torch.dtype = "auto",
        quantization: Quantization | None = None,
        device: str = "auto",
        torch_threads: int | None = None,
        max_batch_size: int = 16,
    ) -> Engine:
        """An engine for a base model by its name, Hugging Face id or folder.

        `auto` is the first GPU, and bfloat16 where the hardware has it. `torch_threads` holds for the
        whole process; more than one slows it down on a machine that is busy with other work.
        """
        spec = resolve(base_model)
        device = auto_device() if device == "auto" else device
        if torch_threads is not None:
            torch.set_num_threads(torch_threads)
        model = load_model(spec, dtype=_dtype(dtype, device), quantization=quantization, device=device)
        return cls(model, load_tokenizer(spec), spec, max_batch_size=max_batch_size)

    @property
    def adapters(self) -> dict[str, Manifest]:
        """The adapters that can be asked for, by id."""
        return {adapter_id: loaded.manifest for adapter_id, loaded in self._loaded.items()}

    @cached_property
    def fingerprint(self) -> str:
        """Of the base model's weights; an adapter must carry the same."""
        return weight_fingerprint(self.spec)

    def load_adapter(self, folder: str | Path) -> Manifest:
        """Load an adapter, taking the place of one with the same id.

        Raises:
            AdapterError: the folder is broken, or the adapter does not fit this base model.
        """
        manifest = read_manifest(folder)
        if manifest.adapter_id == self.spec.id:
            raise AdapterError(
                f"'{folder}': the adapter has the id of its base model, '{self.spec.id}'. Rename it."
            )
        check_compatible(manifest, self.spec, self.fingerprint)
        warn_of_quantization(manifest, quantization_of(self._model))
        weights = read_weights(folder)
        with self._lock:
            loaded = _Loaded(manifest, self._bank.add(weights))
            replaced = self._loaded.get(manifest.adapter_id)
            self._loaded = {**self._loaded, manifest.adapter_id: loaded}
            if replaced:
                self._bank.remove(replaced.slot)
        return manifest

    def unload_adapter(self, adapter_id: str) -> None:
        with self._lock:
            self._bank.remove(self._slot(adapter_id))
            self._loaded = {key: loaded for key, loaded in self._loaded.items() if key != adapter_id}

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Answers in the order of the requests, which are run in batches of like length.

        Adapters and the base model mix within a batch. A greedy answer does not depend on its company,
        but for the last bits of the arithmetic.

        Raises:
            ModelNotFound: an adapter that is not loaded.
            PromptTooLong: prompt and `max_new_tokens` together pass the context.
        """
        with self._lock:
            rows = [self._row(request) for request in requests]
            for batch in _batches(rows, self.max_batch_size):
                decode(
                    self._model,
                    batch,
                    stop_ids=self._stop_ids,
                    pad_id=self.tokenizer.pad_token_id or 0,
                    route=self._bank.route,
                )
        return [self._generation(row) for row in rows]

    def prepare(self, svg: bytes | str, max_new_tokens: int = 64) -> Prepared:
        """One file's drawing and prompt, short enough to write `max_new_tokens` after it."""
        return prepare(svg, self.tokenizer, max_prompt_tokens=self.max_context_tokens - max_new_tokens)

    def caption(
        self,
        svgs: Sequence[bytes | str],
        *,
        adapter: str | None = None,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
    ) -> list[Caption | SvgCaptionError]:
        """For each file its caption, or the error because of which it has none."""
        prepared = [self._try_prepare(svg, max_new_tokens) for svg in svgs]
        requests = [
            GenerationRequest(item.prompt_ids, adapter, max_new_tokens, temperature)
            for item in prepared
            if isinstance(item, Prepared)
        ]
        generations = iter(self.generate(requests))
        return [
            Caption(**asdict(next(generations)), drawing=item.drawing) if isinstance(item, Prepared) else item
            for item in prepared
        ]

    def _try_prepare(self, svg: bytes | str, max_new_tokens: int) -> Prepared | SvgCaptionError:
        try:
            return self.prepare(svg, max_new_tokens)
        except SvgCaptionError as error:
            return error

    def _row(self, request: GenerationRequest) -> Row:
        if not request.prompt_ids or request.max_new_tokens < 1 or not request.temperature >= 0:
            raise ConfigError(
                f"cannot generate from {len(request.prompt_ids)} prompt tokens with max_new_tokens="
                f"{request.max_new_tokens} and temperature={request.temperature}: at least 1, 1 and 0"
            )
        if len(request.prompt_ids) + request.max_new_tokens > self.max_context_tokens:
            raise PromptTooLong(
                f"{len(request.prompt_ids):,} prompt tokens and {request.max_new_tokens:,} new ones: "
                f"the context of '{self.spec.id}' holds {self.max_context_tokens:,}"
            )
        return Row(
            request.prompt_ids,
            request.max_new_tokens,
            request.temperature,
            request.seed,
            BASE if request.adapter is None else self._slot(request.adapter),
        )

    def _slot(self, adapter_id: str) -> str:
        if loaded := self._loaded.get(adapter_id):
            return loaded.slot
        available = ", ".join(self._loaded) or "none"
        raise ModelNotFound(f"No adapter '{adapter_id}'. Available: {available}.")

    def _generation(self, row: Row) -> Generation:
        text = cast(str, self.tokenizer.decode(row.written, skip_special_tokens=True))
        return Generation(clean_caption(text), row.finish_reason, len(row.prompt_ids), len(row.written))


def _batches(rows: Sequence[Row], size: int) -> list[list[Row]]:
    by_length = sorted(rows, key=lambda row: len(row.prompt_ids))
    return [by_length[start : start + size] for start in range(0, len(rows), size)]


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

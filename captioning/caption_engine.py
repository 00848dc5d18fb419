"""What every engine can do, wherever its model runs: files to captions, and the checks before that.

`captioning.engine` runs the model itself; `captioning.openai_engine` has it run by a server. This module
imports no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from captioning.adapters import Manifest
from captioning.base_models import BaseModelSpec
from captioning.errors import ConfigError, PromptTooLong
from captioning.generation import Generation, GenerationRequest
from captioning.load import Load
from captioning.pipeline import Prepared, prepare
from captioning.ticket import Ticket
from rendering import Drawing, SvgCaptionError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Caption(Generation):
    """A generation together with the drawing that it describes."""

    drawing: Drawing


class CaptionEngine(ABC):
    """May be used from any thread. Close it, or leave it to the garbage collector."""

    def __init__(
        self,
        spec: BaseModelSpec,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_batch_size: int,
        max_context_tokens: int,
    ) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self.max_batch_size = max_batch_size  # texts that are written at once
        self.max_context_tokens = max_context_tokens

    @property
    @abstractmethod
    def adapters(self) -> Mapping[str, Manifest]:
        """The adapters that can be asked for, by id."""

    @property
    @abstractmethod
    def load_now(self) -> Load:
        """What the engine is doing and has done: for metrics."""

    @abstractmethod
    def load_adapter(self, folder: str | Path, adapter_id: str | None = None) -> Manifest:
        """Load an adapter, taking the place of one with the same id.

        `adapter_id` is the name to ask for it by, if not its own.

        Raises:
            AdapterError: the folder is broken, or the adapter does not fit this base model.
        """

    @abstractmethod
    def unload_adapter(self, adapter_id: str) -> None:
        """No new request gets it.

        Raises:
            ModelNotFound: it was not loaded.
        """

    @abstractmethod
    def submit(self, request: GenerationRequest, *, stream: bool = False) -> Ticket:
        """Queue a request and return at once; with `stream`, iterate over the ticket for its text.

        Bounding the queue and giving up in time are the caller's: `Ticket.cancel`.

        Raises:
            ConfigError: no engine could do what is asked.
            ModelNotFound: an adapter that is not loaded.
            PromptTooLong: prompt and `max_new_tokens` together pass the context.
            EngineClosed: it was closed.
        """

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Nothing will be answered any more: it was closed, or its thread broke down."""

    @abstractmethod
    def close(self) -> None:
        """Fail what has not ended with EngineClosed, and end the engine's thread."""

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """The texts of all requests in their order, `n` for each; waits for them.

        Raises: what `submit` does, and the error of the first request that failed.
        """
        for request in requests:
            self.check(request)
        tickets: list[Ticket] = []
        try:
            tickets += map(self.submit, requests)
            return [text for ticket in tickets for text in ticket.result()]
        finally:
            for ticket in tickets:
                ticket.cancel()

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

    def check(self, request: GenerationRequest) -> None:
        """Raises what `submit` would because of the request itself."""
        wanted = request.max_new_tokens
        if not request.prompt_ids or wanted < 1 or not request.temperature >= 0 or "" in request.stop:
            raise ConfigError(
                f"cannot generate from {len(request.prompt_ids)} prompt tokens with max_new_tokens={wanted}, "
                f"temperature={request.temperature} stop={request.stop}: at least 1, 1, 0 and no empty one"
            )
        if len(request.begin) >= wanted:
            raise ConfigError(
                f"cannot generate {wanted} tokens that begin with {len(request.begin)}: there is no more room"
            )
        if not 1 <= request.n <= self.max_batch_size:
            raise ConfigError(f"cannot generate n={request.n} texts: 1 to {self.max_batch_size}")
        if len(request.prompt_ids) + wanted > self.max_context_tokens:
            raise PromptTooLong(
                f"{len(request.prompt_ids):,} prompt tokens and {wanted:,} new ones: "
                f"the context of '{self.spec.id}' holds {self.max_context_tokens:,}"
            )

    def _try_prepare(self, svg: bytes | str, max_new_tokens: int) -> Prepared | SvgCaptionError:
        try:
            return self.prepare(svg, max_new_tokens)
        except SvgCaptionError as error:
            return error

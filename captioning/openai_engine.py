"""An engine whose model runs in a server: vLLM, SGLang, LoRAX or any other with OpenAI's completions API.

Border, prompt and captions stay ours: the server gets token ids and gives text. A thread of its own talks
to it. May be used from any thread, as every engine.

    engine = OpenAIEngine.connect("llama-3.1-8b", Server("http://gpu-box:8000"))
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from captioning.adapters import Manifest, check_compatible, read_manifest
from captioning.base_models import BaseModelSpec, load_tokenizer, resolve
from captioning.caption_engine import CaptionEngine
from captioning.completions import Completions, Piece, ServedModel
from captioning.errors import ConfigError, EngineClosed, EngineUnavailable, ModelNotFound, ServerRefused
from captioning.generation import Delta, FinishReason, Generation, GenerationRequest
from captioning.load import Load
from captioning.prompt import end_token_id
from captioning.text_stream import TextStream
from captioning.ticket import Ticket

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Result = TypeVar("Result")


@dataclass(frozen=True)
class Server:
    """Where a server is, what it calls the models, and how patiently it is asked."""

    url: str  # such as http://gpu-box:8000
    api_key: str | None = field(default=None, repr=False)
    model: str | None = None  # its name for the base model; None: the only one that it has
    adapter_names: Mapping[str, str] = field(default_factory=dict)  # its names for adapters, by our ids
    loads_adapters: bool = False  # whether it may be told to load adapters (vLLM: a setting that is off)
    adapters_dir: str | None = None  # where it sees our adapter folders; None: under the same paths
    own_adapters_dir: Path | None = None  # where they are here; None: side by side
    prompt_as: Literal["tokens", "text"] = "tokens"  # text for a server that takes no token ids, as LoRAX
    timeout_s: float = 120.0  # of silence
    attempts: int = 4
    max_requests: int = 64  # texts that it is asked for at once


class OpenAIEngine(CaptionEngine):
    """Greedy texts are those of an engine of ours, but for the arithmetic and the server's own defaults.

    Where a model's `generation_config` has a repetition penalty or the like, servers apply it unless told
    otherwise (vLLM: `--generation-config vllm`).
    """

    def __init__(self, server: Server, spec: BaseModelSpec, tokenizer: PreTrainedTokenizerBase) -> None:
        self._server = server
        self._line = _Line(server)
        self._end = weakref.finalize(self, self._line.close)
        self._client = self._line.client
        self._places = asyncio.Semaphore(server.max_requests)
        self._adapters: dict[str, Manifest] = {}
        self._load = Load(max_rows=server.max_requests)  # counted on the line's thread alone
        try:
            self._base = _base_model(server, spec, self._line.call(self._client.models()))
            context = _context(spec, tokenizer, self._base)
        except BaseException:
            self._line.close()
            raise
        super().__init__(spec, tokenizer, max_batch_size=server.max_requests, max_context_tokens=context)

    @classmethod
    def connect(cls, base_model: str, server: Server) -> Self:
        """An engine for a base model by its name, Hugging Face id or folder; its weights are not needed here.

        Raises:
            EngineUnavailable: the server does not answer.
            ConfigError: it does not have the model, or is another kind of server.
        """
        spec = resolve(base_model)
        return cls(server, spec, load_tokenizer(spec))

    @property
    def adapters(self) -> Mapping[str, Manifest]:
        return dict(self._adapters)

    @property
    def load_now(self) -> Load:
        return replace(self._load)

    def load_adapter(self, folder: str | Path, adapter_id: str | None = None) -> Manifest:
        """Have the server load an adapter or, where it may not be told to, see that it has it.

        Raises:
            AdapterError: the folder is broken, or was trained on another base model.
            ModelNotFound: the server does not have it, and may not be told to load it.
            ServerRefused: the server cannot load it.
        """
        manifest = read_manifest(folder)
        if adapter_id is not None:
            manifest = manifest.model_copy(update={"adapter_id": adapter_id})
        check_compatible(manifest, self.spec, None)
        name = self._name(manifest.adapter_id)
        if self._server.loads_adapters:
            self._line.call(self._client.load_adapter(name, self._seen_by_server(Path(folder))))
        elif name not in {model.name for model in self._line.call(self._client.models())}:
            raise ModelNotFound(
                f"The model's server has no adapter '{name}'. Start it with this adapter "
                "(vLLM: --lora-modules), or allow it to load adapters."
            )
        self._adapters[manifest.adapter_id] = manifest
        self._load.adapter_loads += 1
        return manifest

    def unload_adapter(self, adapter_id: str) -> None:
        self._check_loaded(adapter_id)
        del self._adapters[adapter_id]
        if self._server.loads_adapters:
            with suppress(ServerRefused):  # it is not there: another engine has asked for the same
                self._line.call(self._client.unload_adapter(self._name(adapter_id)))

    def check(self, request: GenerationRequest) -> None:
        super().check(request)
        if request.begin or request.not_next:
            raise ConfigError(
                "a server does not go on with a text as it is told. Revise captions with an engine of ours."
            )

    def submit(self, request: GenerationRequest, *, stream: bool = False) -> Ticket:
        self.check(request)
        if request.adapter is not None:
            self._check_loaded(request.adapter)
        wanted = self._wanted(request, stream=stream)
        ticket = Ticket(request, stream=stream)
        answer = self._line.start(self._answer(ticket, wanted))
        ticket.when_done(answer.cancel)
        return ticket

    @property
    def closed(self) -> bool:
        return self._line.closed

    def close(self) -> None:
        self._end()

    async def _answer(self, ticket: Ticket, wanted: dict[str, Any]) -> None:
        load = self._load
        load.waiting += 1
        outcome: list[Generation] | BaseException
        try:
            async with asyncio.TaskGroup() as group:  # a text that fails ends the others of its request
                texts = [
                    group.create_task(self._text(ticket, index, wanted)) for index in range(ticket.request.n)
                ]
            outcome = [text.result() for text in texts]
        except asyncio.CancelledError:
            ticket.finish(EngineClosed("the engine was closed before the request was answered"))
            raise
        except ExceptionGroup as errors:
            outcome = errors.exceptions[0]
        finally:
            load.waiting -= ticket.started is None
        if ticket.done:  # cancelled meanwhile
            return
        if isinstance(outcome, BaseException):
            load.failed += 1
        else:
            load.finished += 1
            load.prompt_tokens += outcome[0].prompt_tokens
            load.new_tokens += sum(text.completion_tokens for text in outcome)
            load.first_token_s += (ticket.first_token or ticket.submitted) - ticket.submitted
        ticket.finish(outcome)  # last: who waits for it may look at the numbers at once

    async def _text(self, ticket: Ticket, index: int, wanted: dict[str, Any]) -> Generation:
        """One text: each of a request's is asked for by itself, so that its seed and its length are known."""
        request, stream = ticket.request, TextStream(ticket.request.stop)
        if request.seed is not None:
            wanted = wanted | {"seed": request.seed + index}
        whole = Piece("")
        async with self._place(ticket), aclosing(self._client.complete(wanted)) as pieces:
            async for piece in pieces:
                ticket.first_token = ticket.first_token or time.monotonic()
                whole = whole.followed_by(piece)
                stream.hear(whole.text)
                if ticket.stream and (certain := stream.piece()):
                    ticket.put(Delta(index, certain))
        reason = self._reason(whole)
        if ticket.stream and (rest := stream.piece(last=True)):
            ticket.put(Delta(index, rest))
        tokens = self._count(whole.text, reason) if whole.tokens is None else whole.tokens
        return Generation(stream.text, reason, len(request.prompt_ids), tokens)

    @asynccontextmanager
    async def _place(self, ticket: Ticket) -> AsyncIterator[None]:
        async with self._places:
            if ticket.started is None:
                ticket.started = time.monotonic()
                self._load.waiting -= 1
                self._load.started += 1
                self._load.queue_s += ticket.started - ticket.submitted
            self._load.rows += 1
            try:
                yield
            finally:
                self._load.rows -= 1

    def _reason(self, whole: Piece) -> FinishReason:
        match whole.finish_reason:
            case "stop" | "length" as reason:
                return reason
        raise EngineUnavailable(f"the server at {self._client.url} ended a text with '{whole.finish_reason}'")

    def _wanted(self, request: GenerationRequest, *, stream: bool) -> dict[str, Any]:
        wanted: dict[str, Any] = {
            "model": self._base.name if request.adapter is None else self._name(request.adapter),
            "prompt": request.prompt_ids,
            "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_p": 1.0,
            "stop": list(request.stop),
            "stop_token_ids": [end_token_id(self.tokenizer)],  # no standard, but all three know or ignore it
        }
        if self._server.prompt_as == "text":
            wanted["prompt"] = self._as_text(request.prompt_ids)
        if stream:
            wanted |= {"stream": True, "stream_options": {"include_usage": True}}
        return wanted

    def _as_text(self, prompt_ids: list[int]) -> str:
        """The prompt as a text that the server's tokenizer, the same as ours, turns into just these tokens.

        Raises:
            ServerRefused: there is none, as where a drawing's text spells a control token.
        """
        added = len(self.tokenizer("")["input_ids"])  # such as a token for the beginning
        text = str(self.tokenizer.decode(prompt_ids[added:], clean_up_tokenization_spaces=False))
        if self.tokenizer(text)["input_ids"] != prompt_ids:
            raise ServerRefused(
                "the drawing's text spells control tokens of the model, and the prompt is sent as text. "
                "Use a server that takes token ids."
            )
        return text

    def _count(self, text: str, reason: FinishReason) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"]) + (reason == "stop")

    def _name(self, adapter_id: str) -> str:
        return self._server.adapter_names.get(adapter_id, adapter_id)

    def _seen_by_server(self, folder: Path) -> str:
        if self._server.adapters_dir is None:
            return str(folder.absolute())
        own = (self._server.own_adapters_dir or folder.parent).absolute()
        return str(PurePosixPath(self._server.adapters_dir, folder.absolute().relative_to(own).as_posix()))

    def _check_loaded(self, adapter_id: str) -> None:
        if adapter_id not in self._adapters:
            available = ", ".join(self._adapters) or "none"
            raise ModelNotFound(f"No adapter '{adapter_id}'. Available: {available}.")


class _Line:
    """A thread with an event loop, on which the client lives."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._closed = False
        self._works: set[Coroutine[Any, Any, Any]] = set()
        ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Completions]] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live(ready)), name="caption-server", daemon=True
        )
        self._thread.start()
        try:
            self._loop, self._end, self.client = ready.result()
        except BaseException:
            self._thread.join()
            raise

    @property
    def closed(self) -> bool:
        return self._closed

    def start(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        with self._lock:
            if self._closed:
                work.close()
                raise EngineClosed("the engine has been closed")
            self._works.add(work)
            result = asyncio.run_coroutine_threadsafe(work, self._loop)
        result.add_done_callback(lambda _: self._works.discard(work))
        return result

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for it; not on the event loop itself."""
        return self.start(work).result()

    def close(self) -> None:
        """Cancel what is under way."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._end.set)
        if self._thread is not threading.current_thread():
            self._thread.join()

    async def _live(
        self, ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Completions]]
    ) -> None:
        end = asyncio.Event()
        try:
            client = Completions(
                self._server.url,
                api_key=self._server.api_key,
                timeout_s=self._server.timeout_s,
                attempts=self._server.attempts,
                max_connections=self._server.max_requests + 1,  # one for adapters
            )
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            ready.set_exception(error)
            return
        ready.set_result((asyncio.get_running_loop(), end, client))
        await end.wait()
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            if task.get_coro() in self._works:  # each cancels its own: anyio's drop what has not begun
                task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await client.close()


def _base_model(server: Server, spec: BaseModelSpec, served: list[ServedModel]) -> ServedModel:
    """The served model that is the base model: the one that is named, has its name, or is the only one."""
    if server.model is not None:
        named = [model for model in served if model.name == server.model]
        return named[0] if named else ServedModel(server.model, None, None)
    adapters = server.adapter_names.values()
    bases = [model for model in served if model.parent is None and model.name not in adapters]
    fitting = [model for model in bases if model.name in (spec.id, spec.source)] or bases
    if len(fitting) != 1:
        names = ", ".join(model.name for model in bases) or "none"
        raise ConfigError(f"which model of the server at {server.url} is '{spec.id}'? It has {names}.")
    return fitting[0]


def _context(spec: BaseModelSpec, tokenizer: PreTrainedTokenizerBase, model: ServedModel) -> int:
    """Tokens that prompt and caption may have together: what model and server both hold."""
    known = [tokens for tokens in (spec.max_context_tokens, model.max_tokens) if tokens]
    return min(known) if known else int(tokenizer.model_max_length)

"""Any number of files through one engine: submitted ahead, so that its rows stay full, answered in order.

What is under way is bounded: a million files take no more memory than a hundred. One file's outcome is a
record, a JSON object: `file`, then `captions`, `usage` and `svg`, or `error`. A caption that was revised
has its first `draft` as well. A record has the `sha256` of the file's bytes if these alone have decided the
outcome, so that there is no need for a second try.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from captioning.adapters import read_manifest
from captioning.base_models import resolve
from captioning.caption_engine import CaptionEngine
from captioning.errors import ConfigError, EngineClosed, EngineUnavailable, ModelNotFound
from captioning.generation import Generation, GenerationRequest
from captioning.prompt import PROMPT_VERSION
from captioning.revision import Revising, Work
from captioning.ticket import Ticket
from rendering import CANONICALIZER_VERSION, Drawing, SvgCaptionError
from rendering.sources import read_file

if TYPE_CHECKING:
    from captioning.openai_engine import Server

Record: TypeAlias = dict[str, Any]

_NO_FILES_FAULT = (ConfigError, EngineClosed, EngineUnavailable, ModelNotFound)  # the run ends with these
_AHEAD = 3  # texts that wait or are being written, for each that can be written at once


@dataclass(frozen=True)
class BulkSettings:
    """What captions are written with."""

    model: str = "embedded"  # name, Hugging Face id or folder of the base model
    adapter: Path | None = None  # folder; None: the base model
    max_new_tokens: int = 64
    n: int = 1  # captions of each file
    temperature: float = 0.0
    seed: int | None = None  # for temperature > 0
    server: Server | None = None  # that runs the model; None: it runs here
    revise: bool = False  # whether what is false of the drawing is written anew

    def models(self) -> dict[str, str]:
        """The ids of what captions, and of its base model."""
        base = resolve(self.model).id
        return {"model": read_manifest(self.adapter).adapter_id if self.adapter else base, "base_model": base}

    def described(self) -> dict[str, Any]:
        """All that captions depend on, as JSON."""
        return {
            **self.models(),
            "adapter_created": read_manifest(self.adapter).created if self.adapter else None,
            "prompt_version": PROMPT_VERSION,
            "canonicalizer_version": CANONICALIZER_VERSION,
            "max_new_tokens": self.max_new_tokens,
            "n": self.n,
            "temperature": self.temperature,
            "seed": self.seed,
            **({"revise": True} if self.revise else {}),
        }

    def absolute(self) -> Self:
        """The same, for a process with another working directory."""
        model = str(Path(self.model).absolute()) if Path(self.model).is_dir() else self.model
        return replace(self, model=model, adapter=self.adapter and self.adapter.absolute())

    def load_engine(self) -> CaptionEngine:
        """Load the base model, or find it on its server."""
        _quiet_libraries()
        if self.server:
            from captioning.openai_engine import OpenAIEngine

            return OpenAIEngine.connect(self.model, self.server)
        from captioning.engine import Engine

        return Engine.load(self.model)


@dataclass(frozen=True)
class Scale:
    """How many engines, and what Ray sets aside for each."""

    workers: int = 1
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0


class Content(NamedTuple):
    """A file as it was read, or why it was not."""

    file: str
    data: bytes | OSError
    sha256: str | None


class BulkCaptioner:
    """Raises what loading the adapter does."""

    def __init__(self, engine: CaptionEngine, settings: BulkSettings) -> None:
        self._engine = engine
        self._settings = settings
        self.adapter_id = engine.load_adapter(settings.adapter).adapter_id if settings.adapter else None
        self._ahead = max(1, _AHEAD * engine.max_batch_size // settings.n)
        self._news = threading.Event()  # something that was submitted has ended

    def records(self, contents: Iterable[Content]) -> Generator[Record]:
        """A record for each file, in order.

        Raises:
            EngineClosed: the engine broke down for good; what no file did is no file's error.
            EngineUnavailable, ConfigError, ModelNotFound: the server that runs the model cannot be used.
        """
        pending: deque[_Pending] = deque()
        try:
            for content in contents:
                pending.append(self._begin(content))
                yield from self._done(pending, most=self._ahead - 1)
            yield from self._done(pending, most=0)
        finally:
            for unfinished in pending:
                unfinished.cancel()

    def _done(self, pending: deque[_Pending], most: int) -> Generator[Record]:
        """The records of what is done, in order; waits for them until no more than `most` are pending."""
        while True:
            done = [each.advance() for each in pending]
            while pending and done.pop(0):
                yield pending.popleft().record()
            if len(pending) <= most:
                return
            self._news.wait()
            self._news.clear()

    def _begin(self, content: Content) -> _Pending:
        settings, data = self._settings, content.data
        if isinstance(data, OSError):
            return _Pending({"file": content.file, "error": error_record(data)})
        final = {"file": content.file, "sha256": content.sha256}
        try:
            drawing, prompt_ids = self._engine.prepare(data, settings.max_new_tokens)
            request = GenerationRequest(
                prompt_ids,
                self.adapter_id,
                settings.max_new_tokens,
                settings.temperature,
                seed=settings.seed,
                n=settings.n,
            )
            ticket = self._engine.submit(request)
            ticket.when_done(self._news.set)
            revising = partial(self._revising, drawing) if settings.revise else None
            return _Pending(final | {"svg": _described(drawing)}, ticket, revising)
        except _NO_FILES_FAULT:
            raise
        except SvgCaptionError as error:
            return _Pending(final | {"error": error_record(error)})

    def _revising(self, drawing: Drawing, request: GenerationRequest, texts: list[Generation]) -> Revising:
        return Revising(self._engine, Work(drawing, request, texts), self._news.set)


@dataclass
class _Pending:
    """A file under way; its drawing, which may be large, is kept for a revision only."""

    begun: Record
    ticket: Ticket | None = None  # None: there is nothing to wait for
    revise: Callable[[GenerationRequest, list[Generation]], Revising] | None = None
    revising: Revising | None = None

    def advance(self) -> bool:
        """Do what can be done without waiting; whether the record is there."""
        if self.ticket is None:
            return True
        if not self.ticket.done:
            return False
        if self.revise and not self.ticket.failed:
            self.revising = self.revise(self.ticket.request, self.ticket.result())
            self.revise = None
        return self.revising is None or self.revising.advance()

    def cancel(self) -> None:
        if self.ticket:
            self.ticket.cancel()
        if self.revising:
            self.revising.cancel()

    def record(self) -> Record:
        if self.ticket is None:
            return self.begun
        try:
            drafts = self.ticket.result()
            texts = self.revising.texts if self.revising else drafts
        except _NO_FILES_FAULT:
            raise
        except Exception as error:  # noqa: BLE001 - torch raises many; the file's record gets it
            return {"file": self.begun["file"], "error": error_record(error)}
        svg = self.begun.pop("svg")
        return self.begun | {
            "captions": [_captioned(*pair) for pair in zip(texts, drafts, strict=True)],
            "usage": {
                "prompt_tokens": texts[0].prompt_tokens,
                "completion_tokens": sum(text.completion_tokens for text in texts),
            },
            "svg": svg,
        }


def _captioned(text: Generation, draft: Generation) -> Record:
    was = {} if text.text == draft.text else {"draft": draft.text}
    return {"text": text.text, "finish_reason": text.finish_reason} | was


def read(file: Path, folder: Path = Path()) -> Content:
    """Read a file now, from where relative paths hold."""
    try:
        data = read_file(folder / file)
    except OSError as error:
        return Content(str(file), error, None)
    return Content(str(file), data, hashlib.sha256(data).hexdigest())


def error_record(error: Exception) -> dict[str, str]:
    if isinstance(error, SvgCaptionError):
        return {"type": error.code, "message": str(error)}
    if isinstance(error, OSError):
        return {"type": "system", "message": str(error)}
    return {"type": "engine", "message": f"{type(error).__name__}: {error}"}


def _described(drawing: Drawing) -> dict[str, Any]:
    return {
        "width": drawing.width,
        "height": drawing.height,
        "elements": drawing.elements,
        "removed": list(drawing.removed),
        "warnings": list(drawing.warnings),
    }


def _quiet_libraries() -> None:
    """Keep from the user what libraries say about themselves and one another."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a kernel that is not needed here
    warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)

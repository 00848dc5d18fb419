"""A service without Ray and without a model: the real API around an engine that answers by rule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from starlette.testclient import TestClient
from starlette.types import ASGIApp

from captioning.base_models import resolve, weight_fingerprint
from captioning.engine import Generation, GenerationRequest
from captioning.errors import AdapterError
from rendering import Rasterizer, SvgCaptionError
from services.access import Keyring
from services.api import build_api
from services.captions import Captioner
from services.catalog import Catalog
from services.engine_host import End, News, Outcome, Piece
from services.errors import overloaded
from services.front import guard
from services.settings import Settings
from services.svg_urls import SvgUrls
from services.watch import Observe
from tests.tiny_models import tiny_llama_tokenizer

SQUARE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="4" height="4" fill="red"/></svg>'
)
CIRCLE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle r="3"/><script>x()</script></svg>'
TRUNCATED = SQUARE[:60]
ENTITY_BOMB = (
    '<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    '<svg xmlns="http://www.w3.org/2000/svg"><text>&b;&b;&b;</text></svg>'
)
_ZIGZAG = "".join(f"L{i % 900} {i * 7 % 900}" for i in range(2000))
LONG = f'<svg viewBox="0 0 900 900"><path d="M0 0{_ZIGZAG}"/></svg>'


class FakeEngine:
    """Answers with the adapter's name, or what it is told to say; how it behaves is for the test to set."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.says: str | None = None  # None: by whom it is
        self.goes_on: dict[str, str] = {}  # what it says instead where the words it begins with are given
        self.is_ready = True
        self.has_a_bug = False
        self.breaks_off = False  # goes away in the middle of a stream
        self.streams = 0  # that are listened to
        self.adapters: dict[str, Path] = {}
        self.requests: list[GenerationRequest] = []

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Outcome]:
        self.requests.extend(requests)
        await asyncio.sleep(self.delay_s)
        if self.has_a_bug:
            raise ZeroDivisionError("secret detail")
        return [self._answer(request) for request in requests]

    async def stream(self, requests: Sequence[GenerationRequest]) -> AsyncGenerator[News, None]:
        """The first word, then the rest, all texts of a request at once."""
        self.streams += 1
        try:
            yield []
            for place, outcome in enumerate(await self.generate(requests)):
                texts = [text.text.partition(" ") for text in outcome] if isinstance(outcome, list) else []
                yield [Piece(place, index, first + space) for index, (first, space, _) in enumerate(texts)]
                if self.breaks_off:
                    raise overloaded("The engine is restarting.", "engine_unavailable")
                yield [Piece(place, index, last) for index, (*_, last) in enumerate(texts)]
                yield [End(place, outcome)]
        finally:
            self.streams -= 1

    async def load(self, name: str, folder: Path) -> SvgCaptionError | None:
        await asyncio.sleep(self.delay_s)
        self.adapters[name] = folder
        return AdapterError("adapter 'broken' does not fit.") if name == "broken" else None

    async def unload(self, name: str) -> SvgCaptionError | None:
        self.adapters.pop(name, None)
        return AdapterError("it clings to it.") if name == "clinging" else None

    async def ready(self) -> bool:
        return self.is_ready

    def _answer(self, request: GenerationRequest) -> Outcome:
        if request.adapter == "broken":
            return AdapterError("adapter 'broken' does not fit.")
        tokenizer = tiny_llama_tokenizer()
        begun = str(tokenizer.decode(list(request.begin))).strip()
        said = self.goes_on.get(begun, self.says or f"by {request.adapter or 'base'}")
        tokens = (*tokenizer(said, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)
        return [Generation(said, "stop", len(request.prompt_ids), 3, tokens)] * request.n


@contextmanager
def api_app(
    base_model: Path,
    engine: FakeEngine,
    *observers: Observe,
    urls: SvgUrls | None = None,
    **changes: object,
) -> Iterator[ASGIApp]:
    """The API alone, with settings that differ from the defaults by `changes`."""
    settings = Settings.model_validate({"base_model": str(base_model), "page": False} | changes)
    spec = resolve(settings.base_model)
    catalog = Catalog(spec, weight_fingerprint(spec), settings.adapters_dir, settings.default_model)
    with Rasterizer() as rasterizer:
        captioner = Captioner(catalog, tiny_llama_tokenizer(), engine)
        api = build_api(settings, captioner, rasterizer, engine, urls)
        keyring = Keyring(settings.keys_file, page=True) if settings.keys_file else None
        yield guard(settings, api, keyring, *observers, send_request_id=True)


@contextmanager
def service(
    base_model: Path,
    engine: FakeEngine,
    *observers: Observe,
    urls: SvgUrls | None = None,
    **changes: object,
) -> Iterator[TestClient]:
    """A client of it."""
    with api_app(base_model, engine, *observers, urls=urls, **changes) as app:
        yield TestClient(app, raise_server_exceptions=False)

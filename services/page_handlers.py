"""What the page's events do: ask the API, and say in fragments of HTML what it answers."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from services import page_tables as tables
from services import page_view as view
from services.page_client import PageClient, Preview, Refused, Source, Wishes
from services.page_files import chunks, collect
from services.schemas import FileResult

SAMPLES = Path(__file__).parent / "samples"
VARIED = 0.7  # the temperature of several captions, until the visitor says another

_PREVIEW_PX = 640
_THUMBNAIL_PX = 144
_REDRAW_S = 0.1


class Handlers:
    """For the service that `client` reaches."""

    def __init__(self, client: PageClient, *, revises: bool = True) -> None:
        self._client = client
        self.revises = revises  # whether the service can write anew what is false
        self._gallery = ""
        self._running: dict[str | None, list[asyncio.Task[None]]] = {}  # by the visitor's session

    async def describe(  # noqa: PLR0917 # Gradio passes them by position
        self,
        source: Source | None,
        models: Sequence[str] | None,
        n: float = 1,
        max_tokens: float | None = None,
        temperature: float = 0.0,
        revise: bool = False,
        request: gr.Request | None = None,
    ) -> AsyncGenerator[tuple[str, str], None]:
        """The render and the captions of all models at once, each as soon as there is something new.

        What is still being said to the same visitor is given up; Gradio's `cancels` comes too late for it.
        """
        session = request.session_hash if request else None
        for task in self._running.pop(session, []):
            task.cancel()
        if source is None:
            yield view.EMPTY, ""
            return
        wishes = Wishes(int(n), int(max_tokens) if max_tokens else None, temperature, True, revise)
        voices = [view.Voice(model) for model in models or ()] or [view.Voice("")]
        seen = _Seen()
        work = [self._look(source, seen), *(self._listen(source, wishes, voice, seen) for voice in voices)]
        tasks = self._running[session] = [asyncio.create_task(each) for each in work]
        try:
            yield view.picture(source.name, None), view.voices(voices)
            while not all(task.done() for task in tasks):
                await seen.news.wait()
                seen.news.clear()
                if self._running.get(session) is not tasks:
                    return
                yield view.picture(source.name, seen.picture), view.voices(voices)
                await asyncio.sleep(_REDRAW_S)
            await asyncio.gather(*tasks)
            yield view.picture(source.name, seen.picture), view.voices(voices)
        finally:
            for task in tasks:
                task.cancel()
            if self._running.get(session) is tasks:
                del self._running[session]

    async def _look(self, source: Source, seen: _Seen) -> None:
        """A drawing that cannot be rasterized may still be captioned."""
        try:
            seen.picture = await self._client.render(source, _PREVIEW_PX)
        except Refused as refusal:
            seen.picture = refusal
        finally:
            seen.news.set()

    async def _listen(self, source: Source, wishes: Wishes, voice: view.Voice, seen: _Seen) -> None:
        try:
            async with aclosing(self._client.captions(source, voice.model or None, wishes)) as stream:
                async for news in stream:
                    if isinstance(news, list):
                        voice.texts = news
                    else:
                        voice.answer = news
                    seen.news.set()
        except Refused as refusal:
            voice.answer = refusal
        finally:
            seen.news.set()

    async def models(self, chosen: Sequence[str] | None) -> Any:
        """The list as it is now; of the visitor's choice stays what exists."""
        try:
            names, default = await self._models()
        except Refused:
            return gr.skip()
        return gr.Dropdown(choices=names, value=[name for name in chosen or () if name in names] or [default])

    async def model(self, chosen: str | None) -> Any:
        """The same for a single choice."""
        try:
            names, default = await self._models()
        except Refused:
            return gr.skip()
        return gr.Dropdown(choices=names, value=chosen if chosen in names else default)

    async def _models(self) -> tuple[list[str], str]:
        cards = await self._client.models()
        return [card.id for card in cards], next((card.id for card in cards if card.default), cards[0].id)

    async def samples(self) -> str:
        """The gallery; drawn once, and again for as long as that fails."""
        if not self._gallery:
            try:
                self._gallery = view.gallery(
                    [(path.stem, await self._thumbnail(path)) for path in _samples()]
                )
            except Refused:
                return ""
        return self._gallery

    async def _thumbnail(self, path: Path) -> Preview:
        return await self._client.render(Source(path.name, path.read_bytes()), _THUMBNAIL_PX, "white")

    async def titled(self, source: Source | None, event: gr.EventData) -> Any:
        """The visitor's own file with a caption in it, for the browser to save."""
        if source is None:
            return gr.skip()
        try:
            content = await self._client.titled(source, str(event.text))
        except Refused as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None
        return _download(f"{Path(source.name).stem}.svg", "image/svg+xml", content)

    async def batch(
        self, paths: Sequence[str], model: str | None, revise: bool = False
    ) -> AsyncGenerator[tuple[str, list[FileResult], None], None]:
        """The table as it grows, and the results for a download; the third value empties the drop zone."""
        try:
            found = await asyncio.to_thread(collect, [Path(path) for path in paths])
        except Refused as refusal:
            yield view.refusal("Nothing was captioned", refusal), [], None
            return
        known = {place: each for place, each in enumerate(found) if isinstance(each, FileResult)}
        sources = [each for each in found if isinstance(each, Source)]
        places = iter([place for place, each in enumerate(found) if isinstance(each, Source)])
        yield tables.batch(_in_order(known), len(found)), _in_order(known), None
        for chunk in chunks(sources):
            for result in await self._client.caption_files(chunk, model, Wishes(revise=revise)):
                known[next(places)] = result
            yield tables.batch(_in_order(known), len(found)), _in_order(known), None

    @staticmethod
    def stopped(results: Sequence[FileResult]) -> Any:
        """What there is, ready to be saved."""
        return tables.batch(results, len(results)) if results else gr.skip()

    async def report(self) -> str:
        """The latest evaluation, if there is one that can be shown."""
        try:
            return tables.report(await self._client.report())
        except Refused as refusal:
            return tables.NO_REPORT if refusal.kind == "no_report" else view.refusal("No report", refusal)
        except (KeyError, TypeError, ValueError):
            return tables.NO_REPORT

    async def caption(
        self, svg: str, model: str = "", n: int = 1, max_tokens: int = 0, temperature: float = 0.0
    ) -> dict[str, Any]:
        """Caption the text of one SVG, for programs that speak to the page with gradio_client.

        "" as the model and 0 as the length leave both to the service. The answer is that of
        `POST /v1/captions`, which programs should rather use.
        """
        wishes = Wishes(n, max_tokens or None, temperature)
        try:
            async for news in self._client.captions(Source("code", svg), model or None, wishes):
                if not isinstance(news, list):
                    return news.model_dump(mode="json")
        except Refused as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None
        raise AssertionError("unreachable")


class _Seen:
    """What is known of a drawing while it is described."""

    def __init__(self) -> None:
        self.picture: view.Picture = None
        self.news = asyncio.Event()


def from_file(path: str) -> tuple[Source, None]:
    """The file, and an empty drop zone: ready for the next one."""
    return Source(Path(path).name, Path(path).read_bytes()), None


def from_code(code: str) -> Source:
    return Source("Pasted code", code)


def from_sample(event: gr.EventData) -> Source | None:
    known = {path.stem: path for path in _samples()}  # a name from the browser is never a path
    path = known.get(event.sample)
    return Source(path.name, path.read_bytes()) if path else None


def vary(n: float, temperature: float) -> float:
    """Several captions of temperature 0 would all be the same."""
    return temperature or (VARIED if n > 1 else 0.0)


def save(results: Sequence[FileResult], event: gr.EventData) -> Any:
    """The batch as a file, for the browser to save."""
    if event.kind not in tables.EXPORTS:
        return gr.skip()
    export, media_type = tables.EXPORTS[event.kind]
    return _download(f"captions.{event.kind}", media_type, export(results).encode())


def _in_order(known: Mapping[int, FileResult]) -> list[FileResult]:
    return [known[place] for place in sorted(known)]


def _samples() -> list[Path]:
    return sorted(SAMPLES.glob("*.svg"))


def _download(name: str, media_type: str, content: bytes) -> str:
    """What `page_view.DOWNLOAD_JS` reads; the time makes a second download of the same a new one."""
    data = {"name": name, "type": media_type, "content": b64encode(content).decode(), "at": time.time()}
    return json.dumps(data)

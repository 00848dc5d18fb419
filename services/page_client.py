"""The page's way to the API: plain HTTP, so that the page may run somewhere else than the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import httpx
from pydantic import ValidationError

from services.schemas import (
    BatchResponse,
    CaptionDelta,
    CaptionResponse,
    ErrorBody,
    ErrorInfo,
    FileResult,
    ModelCard,
    ModelList,
)

_ATTEMPTS = 5  # for a batch that meets a full service
_PAUSE_S = 1.0


@dataclass(frozen=True)
class Source:
    """What the visitor chose: a file, pasted code or a sample. Nothing in it is trusted."""

    name: str
    content: bytes | str  # a file's bytes, or code as text


@dataclass(frozen=True)
class Wishes:
    """How to caption."""

    n: int = 1
    max_tokens: int | None = None
    temperature: float = 0.0
    check: bool = False  # whether the captions shall come with their claims
    revise: bool = False  # whether what is false of the drawing shall be written anew

    def fields(self) -> dict[str, Any]:
        wishes = asdict(self)
        return {name: wish for name, wish in wishes.items() if wish is not None}


@dataclass(frozen=True)
class Preview:
    """A picture of the sanitized drawing, padded to a square, and the drawing's own size in user units."""

    png: bytes
    width: float
    height: float


class Refused(Exception):
    """The API said no, or said nothing; `str()` is for the visitor."""

    def __init__(
        self, message: str, request_id: str = "", status: int = 0, kind: str = "unreachable"
    ) -> None:
        super().__init__(message, request_id, status, kind)
        self.request_id = request_id
        self.status = status  # 0: there was no answer
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[0])


class PageClient:
    """Models, previews, captions, titles and the latest report of one service."""

    def __init__(
        self,
        api_url: str,
        *,
        timeout_s: float,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._api_url = api_url
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout_s = timeout_s
        self._transport = transport

    async def models(self) -> list[ModelCard]:
        answer = await self._call("GET", "/v1/models")
        return ModelList.model_validate_json(answer.content).data

    async def render(self, source: Source, size_px: int, background: str = "transparent") -> Preview:
        options = {"size_px": size_px, "background": background}
        answer = await self._call("POST", "/v1/render", **_body(source, options))
        width, height = (float(answer.headers.get(f"x-svg-{side}", 1)) for side in ("width", "height"))
        return Preview(answer.content, width, height)

    async def captions(
        self, source: Source, model: str | None, wishes: Wishes
    ) -> AsyncGenerator[list[str] | CaptionResponse, None]:
        """The texts as far as they are written, again and again; at last the whole answer."""
        options = wishes.fields() | {"stream": True} | ({"model": model} if model else {})
        texts = [""] * wishes.n
        async with self._ask("POST", "/v1/captions", **_body(source, options)) as answer:
            async for event, data in _events(answer):
                if event == "delta":
                    delta = CaptionDelta.model_validate_json(data)
                    texts[delta.index] += delta.text
                    yield list(texts)
                elif event == "done":
                    yield CaptionResponse.model_validate_json(data)
                    return
                elif event == "error":
                    raise _refusal(answer.status_code, data)
        raise Refused("The service broke off its answer. Try again in a few seconds.")

    async def caption_files(
        self, sources: Sequence[Source], model: str | None, wishes: Wishes
    ) -> list[FileResult]:
        """What became of each file, in their order; a refusal of all of them is that of each."""
        options = wishes.fields() | ({"model": model} if model else {})
        form = {"files": [("file", (each.name, each.content)) for each in sources], "data": _form(options)}
        try:
            answer = await self._call_patiently("POST", "/v1/captions", **form)
        except Refused as refusal:
            return [failed(each.name, refusal) for each in sources]
        if len(sources) > 1:
            return BatchResponse.model_validate_json(answer.content).results
        one = CaptionResponse.model_validate_json(answer.content)
        return [
            FileResult(file=sources[0].name, status=200, captions=one.captions, usage=one.usage, svg=one.svg)
        ]

    async def titled(self, source: Source, title: str) -> bytes:
        """The visitor's own SVG with a title in it."""
        return (await self._call("POST", "/v1/title", **_body(source, {"title": title}))).content

    async def report(self) -> dict[str, Any]:
        """The latest evaluation, as `python -m evaluation` wrote it."""
        report: dict[str, Any] = (await self._call("GET", "/v1/report")).json()
        return report

    async def _call_patiently(self, method: str, path: str, **request: Any) -> httpx.Response:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._call(method, path, **request)
            except Refused as refusal:
                if refusal.status != 503:
                    raise
            await asyncio.sleep(_PAUSE_S)
        return await self._call(method, path, **request)

    async def _call(self, method: str, path: str, **request: Any) -> httpx.Response:
        async with self._ask(method, path, **request) as answer:
            await answer.aread()
            return answer

    @asynccontextmanager
    async def _ask(self, method: str, path: str, **request: Any) -> AsyncIterator[httpx.Response]:
        """An answer that is a success and whose body can be read.

        Raises:
            Refused: it is none, or nobody answers.
        """
        client = httpx.AsyncClient(
            base_url=self._api_url,
            headers=self._headers,
            timeout=self._timeout_s,
            transport=self._transport,
            trust_env=False,
        )
        try:
            async with client, client.stream(method, path, **request) as answer:
                if not answer.is_success:
                    raise _refusal(answer.status_code, await answer.aread())
                yield answer
        except httpx.TimeoutException:
            raise Refused(f"The service did not answer within {self._timeout_s:g} s. Try again.") from None
        except httpx.HTTPError:
            raise Refused(
                "The service cannot be reached at the moment. Try again in a few seconds."
            ) from None


def failed(name: str, refusal: Refused) -> FileResult:
    """A file that has no caption."""
    error = ErrorInfo(type=refusal.kind, message=str(refusal), request_id=refusal.request_id)
    return FileResult(file=name, status=refusal.status, error=error)


def _body(source: Source, options: dict[str, Any]) -> dict[str, Any]:
    if isinstance(source.content, str):
        return {"json": {"svg": source.content} | options}
    return {"files": {"file": (source.name, source.content)}, "data": _form(options)}


def _form(options: dict[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in options.items()
    }


async def _events(answer: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    """Server-sent events: name and data of each."""
    name, data = "", ""
    async for line in answer.aiter_lines():
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            data += value.removeprefix(" ")
        elif not line:
            if data:
                yield name, data
            name, data = "", ""


def _refusal(status: int, body: bytes | str) -> Refused:
    try:
        error = ErrorBody.model_validate_json(body).error
    except ValidationError:  # not from our API: a proxy on the way, or one that is still starting
        return Refused(
            f"The service answered with status {status}. Try again in a few seconds.",
            status=status,
            kind="proxy",
        )
    return Refused(error.message, error.request_id, status, error.type)

"""The page's way to the API: plain HTTP, so that the page may run somewhere else than the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from services.schemas import CaptionResponse, ErrorBody, ModelCard, ModelList


@dataclass(frozen=True)
class Source:
    """What the visitor chose: a file, pasted code or a sample. Nothing in it is trusted."""

    name: str
    content: bytes | str  # a file's bytes, or code as text


class Refused(Exception):
    """The API said no, or said nothing; `str()` is for the visitor."""

    def __init__(self, message: str, request_id: str = "") -> None:
        super().__init__(message, request_id)
        self.request_id = request_id

    def __str__(self) -> str:
        return str(self.args[0])


class PageClient:
    """Models, previews and captions of one service."""

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

    async def render(self, source: Source, size_px: int) -> bytes:
        """PNG of the sanitized drawing."""
        return (await self._call("POST", "/v1/render", source, {"size_px": size_px})).content

    async def caption(self, source: Source, model: str | None) -> CaptionResponse:
        answer = await self._call("POST", "/v1/captions", source, {"model": model} if model else {})
        return CaptionResponse.model_validate_json(answer.content)

    async def _call(
        self, method: str, path: str, source: Source | None = None, options: dict[str, Any] | None = None
    ) -> httpx.Response:
        async with httpx.AsyncClient(
            base_url=self._api_url,
            headers=self._headers,
            timeout=self._timeout_s,
            transport=self._transport,
            trust_env=False,
        ) as client:
            try:
                answer = await client.request(method, path, **_body(source, options or {}))
            except httpx.TimeoutException:
                raise Refused(f"The service did not answer within {self._timeout_s:g} s.") from None
            except httpx.HTTPError:
                raise Refused(
                    "The service cannot be reached at the moment. Try again in a few seconds."
                ) from None
        if answer.is_success:
            return answer
        raise _refusal(answer)


def _body(source: Source | None, options: dict[str, Any]) -> dict[str, Any]:
    if source is None:
        return {}
    if isinstance(source.content, str):
        return {"json": {"svg": source.content} | options}
    return {"files": {"file": (source.name, source.content)}, "data": options}


def _refusal(answer: httpx.Response) -> Refused:
    try:
        error = ErrorBody.model_validate_json(answer.content).error
    except ValueError:  # not from our API: a proxy on the way, or one that is still starting
        return Refused(f"The service answered with status {answer.status_code}. Try again in a few seconds.")
    return Refused(error.message, error.request_id)

"""A client of OpenAI's completions API, as vLLM, SGLang and LoRAX serve it. Knows no drawing and no ticket.

What fails before anything was received is tried again, after the time that the server asks for or twice as
long each time. An answer is followed for as long as pieces of it come; closing it closes the connection,
which tells the server to stop.
"""

from __future__ import annotations

import json
import random
from asyncio import sleep
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

import httpx

from captioning.errors import ConfigError, EngineUnavailable, ModelNotFound, ServerRefused
from rendering import SvgCaptionError

_CONNECT_TIMEOUT_S = 5.0
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_END = "[DONE]"
_COMPLETIONS = "/v1/completions"
_SHOWN = 300  # characters of what a server says

Received = TypeVar("Received")


class Piece(NamedTuple):
    """A piece of one text."""

    text: str
    finish_reason: str | None = None  # of the last one
    tokens: int | None = None  # of the whole text, where the server counts them

    def followed_by(self, other: Piece) -> Piece:
        """Both as one."""
        tokens = self.tokens if other.tokens is None else other.tokens
        return Piece(self.text + other.text, other.finish_reason or self.finish_reason, tokens)


@dataclass(frozen=True)
class ServedModel:
    """A base model or an adapter that the server has."""

    name: str
    parent: str | None  # None: a base model
    max_tokens: int | None  # prompt and caption together


class _TryAgain(EngineUnavailable):
    def __init__(self, message: str, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class Completions:
    """Belongs to one event loop.

    Everything raises:
        EngineUnavailable: no answer at `attempts`, or nothing more within `timeout_s`.
        ConfigError: the server wants another key, or it speaks something else.
        ModelNotFound: it has no model of that name.
        ServerRefused: it refuses the request for another reason.
    """

    def __init__(
        self, url: str, *, api_key: str | None, timeout_s: float, attempts: int, max_connections: int
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        _check_url(self.url)
        self._attempts = attempts
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S, pool=None),
            limits=httpx.Limits(max_connections=max_connections),
        )

    async def models(self) -> list[ServedModel]:
        answer = await self._ask("GET", "/v1/models")
        try:
            return [
                ServedModel(card["id"], card.get("parent"), card.get("max_model_len"))
                for card in answer["data"]
            ]
        except (AttributeError, KeyError, TypeError) as error:
            raise self._strange(answer) from error

    async def load_adapter(self, name: str, path: str) -> None:
        """Have the server load an adapter from a path of its own, in place of one with that name."""
        wanted = {"lora_name": name, "lora_path": path, "load_inplace": True}
        try:
            await self._ask("POST", "/v1/load_lora_adapter", wanted)
        except ServerRefused as error:
            if "already been loaded" not in str(error):
                raise
            await self.unload_adapter(name)  # an older vLLM
            await self._ask("POST", "/v1/load_lora_adapter", wanted)

    async def unload_adapter(self, name: str) -> None:
        await self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    async def complete(self, wanted: Mapping[str, Any]) -> AsyncGenerator[Piece]:
        """The pieces of one text; a single one unless `wanted` has `stream`."""
        async with aclosing(self._tried(lambda: self._pieces(wanted))) as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        await self._http.aclose()

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What it answers: JSON, or text."""
        async with aclosing(self._tried(lambda: self._answer(method, path, body))) as answers:
            return await anext(answers)

    async def _tried(self, begin: Callable[[], AsyncGenerator[Received]]) -> AsyncGenerator[Received]:
        """All that is received, from the first attempt that gives something."""
        for attempt in range(1, self._attempts + 1):
            begun = False
            try:
                async with aclosing(begin()) as answer:
                    async for received in answer:
                        begun = True
                        yield received
                return
            except _TryAgain as error:
                if begun or attempt == self._attempts:
                    state = "in the middle of a text" if begun else f"at {attempt} attempts"
                    raise EngineUnavailable(f"{error}, {state}") from error
                backoff_s = _FIRST_WAIT_S * 2 ** (attempt - 1) * random.uniform(0.5, 1)
                await sleep(min(max(backoff_s, error.after_s), _LONGEST_WAIT_S))

    async def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> AsyncGenerator[Any]:
        with self._translated():
            response = await self._http.request(method, path, json=body)
        if response.is_error:
            raise self._refusal(response)
        is_json = response.headers.get("content-type", "").startswith("application/json")
        yield self._parsed(response.text) if is_json else response.text

    async def _pieces(self, wanted: Mapping[str, Any]) -> AsyncGenerator[Piece]:
        if not wanted.get("stream"):
            async for answer in self._answer("POST", _COMPLETIONS, wanted):
                yield self._piece(answer)
            return
        with self._translated():
            async with self._http.stream("POST", _COMPLETIONS, json=dict(wanted)) as response:
                if response.is_error:
                    await response.aread()
                    raise self._refusal(response)
                async for line in response.aiter_lines():
                    data = line.removeprefix("data:").strip()
                    if data == _END:
                        return
                    if line.startswith("data:"):
                        yield self._piece(self._parsed(data))
        raise _TryAgain(f"the server at {self.url} closed the connection")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What fails below HTTP, in our words."""
        try:
            yield
        except httpx.ReadTimeout as error:  # it is at work: a second request would only add to that
            raise EngineUnavailable(f"the server at {self.url} did not answer in time") from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise _TryAgain(f"the server at {self.url} cannot be reached ({reason})") from error

    def _refusal(self, response: httpx.Response) -> SvgCaptionError:
        """What an error status means."""
        status, said = response.status_code, _said(response)
        if status in _AGAIN:
            return _TryAgain(
                f"the server at {self.url} answers {status} ({said})", _after_s(response.headers)
            )
        if status in {401, 403}:
            return ConfigError(f"the server at {self.url} wants another API key: {status} {said}")
        if status in {404, 405} and '"error"' not in response.text:  # not even its error's shape
            return ConfigError(f"{response.url} is not there: {status} {said}. Is it such a server?")
        if status == 404 and response.url.path.endswith(_COMPLETIONS):
            return ModelNotFound(f"the model's server says: {said}")
        return ServerRefused(f"the model's server refuses the request: {status} {said}")

    def _parsed(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise self._strange(text) from error

    def _piece(self, answer: Any) -> Piece:
        try:
            if error := answer.get("error"):
                raise _TryAgain(f"the server at {self.url} failed ({error.get('message', error)})")
            tokens = (answer.get("usage") or {}).get("completion_tokens")
            if not answer["choices"]:
                return Piece("", None, tokens)
            [choice] = answer["choices"]
            return Piece(choice["text"] or "", choice.get("finish_reason"), tokens)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._strange(answer) from error

    def _strange(self, answer: object) -> ConfigError:
        return ConfigError(
            f"the server at {self.url} does not speak OpenAI's completions API: {str(answer)[:_SHOWN]!r}"
        )


def _check_url(url: str) -> None:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigError(f"'{url}' is no URL of a server: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"'{url}' is no URL of a server: it is like http://gpu-box:8000")


def _said(response: httpx.Response) -> str:
    """The message of an error, in OpenAI's shape or another."""
    try:
        body = response.json()
        error = body.get("error", body)
        message = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        message = response.text
    return " ".join(str(message).split())[:_SHOWN] or response.reason_phrase


def _after_s(headers: httpx.Headers) -> float:
    """Retry-After, which is seconds or a date."""
    value = headers.get("retry-after", "0")
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError):
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    return 0.0

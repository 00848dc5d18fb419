"""Captions by any server that speaks OpenAI's chat API: vision models get the picture, others the code.

What the server refuses or breaks on is that sample's failure. A server that is away or overloaded is asked
again, and then ends the captioner's work for now: what it wrote is kept, and the same command goes on later.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx

from captioning.corpus import Sample
from captioning.pipeline import as_bytes
from captioning.prompt import clean_caption
from evaluation.candidates import Candidate
from evaluation.captioners.zero_shot import instruct
from evaluation.errors import EvaluationError, Unavailable
from evaluation.pictures import picture_of
from rendering import Rasterizer, SvgCaptionError, canonicalize, load

INSTRUCTION = "Say in one plain English sentence what this drawing shows."

Content = list[dict[str, Any]]
Look = Callable[[Sample], Content]
"""What of a sample the server gets to see."""

_ATTEMPTS = 4
_LONGEST_PAUSE_S = 60.0
_TOO_BUSY = frozenset((408, 409, 425, 429, 502, 503, 504))


class ServerRefused(EvaluationError):
    """The server answered, and not with a caption."""

    code = "server_refused"


class ServerCaptioner:
    """`url` is that of the API, such as `http://localhost:8000/v1`; `key` a bearer token, if it wants one."""

    def __init__(
        self,
        url: str,
        model: str,
        look: Look,
        *,
        key: str | None = None,
        max_new_tokens: int = 64,
        parallel: int = 4,
        timeout_s: float = 120.0,
        pause_s: float = 1.0,
    ) -> None:
        self._url, self._model, self._look = f"{url.rstrip('/')}/chat/completions", model, look
        self._max_new_tokens, self._parallel, self._pause_s = max_new_tokens, parallel, pause_s
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout_s = timeout_s

    def caption(self, samples: Sequence[Sample]) -> Iterator[Candidate]:
        """In order; `parallel` samples are with the server at a time.

        Raises:
            Unavailable: the server is away or too busy. What was yielded before stands.
        """
        with (
            httpx.Client(headers=self._headers, timeout=self._timeout_s) as client,
            ThreadPoolExecutor(self._parallel) as threads,
        ):
            describe = partial(self._describe, client)
            for start in range(0, len(samples), self._parallel):
                yield from threads.map(describe, samples[start : start + self._parallel])

    def _describe(self, client: httpx.Client, sample: Sample) -> Candidate:
        try:
            return Candidate.of(sample.id, self._ask(client, self._look(sample)))
        except Unavailable:
            raise
        except SvgCaptionError as error:
            return Candidate.of(sample.id, error)

    def _ask(self, client: httpx.Client, content: Content) -> str:
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self._max_new_tokens,
            "temperature": 0,
        }
        problem: SvgCaptionError = Unavailable("")
        wait_s = self._pause_s
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(min(wait_s * 2 ** (attempt - 1), _LONGEST_PAUSE_S))
            try:
                answer = client.post(self._url, json=body)
            except httpx.ReadTimeout:
                problem = ServerRefused(f"no answer within {self._timeout_s:g} s, {_ATTEMPTS} times")
                continue
            except httpx.HTTPError as error:
                reason = f"{type(error).__name__}: {error}"
                problem = Unavailable(f"{self._url} did not answer in {_ATTEMPTS} attempts: {reason}")
                continue
            if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
                problem = ServerRefused(f"HTTP 500, {_ATTEMPTS} times: {answer.text[:200]}")
            elif answer.status_code in _TOO_BUSY:
                reason = f"HTTP {answer.status_code}, {_ATTEMPTS} times"
                problem = Unavailable(f"{self._url} is too busy: {reason}")
                wait_s = max(self._pause_s, _seconds(answer.headers.get("retry-after")))
            else:
                return _caption(answer)
        raise problem


def see_picture(rasterizer: Rasterizer) -> Look:
    """The rendered drawing as a PNG."""

    def look(sample: Sample) -> Content:
        file = io.BytesIO()
        picture_of(sample, rasterizer).save(file, "PNG")
        data = base64.b64encode(file.getvalue()).decode()
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        return [{"type": "text", "text": INSTRUCTION}, picture]

    return look


def read_code(sample: Sample) -> Content:
    """The canonical code, with instructions in plain words."""
    return [{"type": "text", "text": instruct(canonicalize(load(as_bytes(sample.svg))))}]


def _caption(answer: httpx.Response) -> str:
    if answer.status_code in (401, 403, 404):
        raise Unavailable(f"{answer.url} answers HTTP {answer.status_code}: {answer.text[:200]}")
    if answer.status_code != httpx.codes.OK:
        raise ServerRefused(f"HTTP {answer.status_code}: {answer.text[:200]}")
    try:
        text = answer.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise ServerRefused(f"the answer is no chat completion: {answer.text[:200]}") from None
    if not isinstance(text, str):
        raise ServerRefused("the answer has no text")
    return clean_caption(text)


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdecimal() else 0.0

"""Clients that all ask one caption service, and count what they are answered."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

import httpx

CAPTIONED = "200"
REFUSALS = frozenset(
    ["503 overloaded", "503 engine_unavailable", "503 shutting_down", "504 deadline_exceeded"]
)
"""What a healthy service may answer when it is overrun or restarts."""


@dataclass
class Answers:
    """What a load was answered."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # captions of other drawings, or altered ones
    refused_s: list[float] = field(default_factory=list)  # how long a 503 took
    captioned_s: list[float] = field(default_factory=list)

    @property
    def failures(self) -> dict[str, int]:
        """Everything that is neither a caption nor a refusal in words."""
        return {kind: n for kind, n in self.outcomes.items() if kind != CAPTIONED and kind not in REFUSALS}


async def ask(
    url: str,
    captions: Mapping[str, str],
    *,
    clients: int,
    go_on: Callable[[int], bool],
    timeout_s: float = 90,
) -> Answers:
    """Each of `clients` asks again as soon as it is answered, while `go_on(requests so far)` holds.

    `captions` has the right one of each drawing. None heeds Retry-After: the service must stand that.
    """
    answers, numbers, drawings = Answers(), count(), list(captions.items())
    certificates = ssl.create_default_context()  # reading them takes longer than a request

    async def client() -> None:
        # Of its own: httpx looks through all connections of a pool at each request.
        async with httpx.AsyncClient(
            base_url=url, timeout=timeout_s, verify=certificates, trust_env=False
        ) as http:
            while go_on(number := next(numbers)):
                svg, caption = drawings[number % len(drawings)]
                began = time.monotonic()
                try:
                    answer = await http.post("/v1/captions", json={"svg": svg})
                except httpx.HTTPError as error:
                    answers.outcomes[type(error).__name__] += 1
                    continue
                _count(answers, answer, caption, time.monotonic() - began)

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


def _count(answers: Answers, answer: httpx.Response, caption: str, seconds: float) -> None:
    kind = _kind(answer)
    answers.outcomes[kind] += 1
    if kind == CAPTIONED:
        answers.captioned_s.append(seconds)
        text = answer.json()["captions"][0]["text"]
        if text != caption:
            answers.wrong.append(text)
    elif answer.status_code == 503:
        answers.refused_s.append(seconds)


def _kind(answer: httpx.Response) -> str:
    if answer.status_code == 200:
        return CAPTIONED
    try:
        kind = answer.json()["error"]["type"]
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} not in our shape"
    if answer.status_code == 503 and "retry-after" not in answer.headers:
        return "503 without Retry-After"
    return f"{answer.status_code} {kind}"

"""The page without a browser: what it shows, and how it speaks to the API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from rendering import load
from services import page_view as view
from services.page import SAMPLES, STYLE_PATH, _Handlers
from services.page_client import PageClient, Refused, Source
from services.schemas import CaptionResponse, CaptionText, SvgInfo, Usage
from tests.services.helpers import CIRCLE, TRUNCATED, FakeEngine, service

HOSTILE = "<img src=x onerror=alert(1)>\"'&"


@pytest.fixture
def page_client(base_model: Path, engine: FakeEngine) -> Iterator[PageClient]:
    with service(base_model, engine) as client:
        yield _page_client(client)


def _page_client(client: TestClient) -> PageClient:
    return PageClient("http://service", timeout_s=5, transport=httpx.ASGITransport(client.app))


def describe(client: PageClient, source: Source | None, model: str | None = None) -> list[str]:
    async def collect() -> list[str]:
        return [html async for html in _Handlers(client).describe(source, model)]

    return asyncio.run(collect())


def test_the_render_comes_first_then_the_caption(page_client: PageClient) -> None:
    *_, waiting, done = describe(page_client, Source("circle.svg", CIRCLE.encode()))
    assert "data:image/png;base64," in waiting
    assert "Reading" in waiting
    assert "by base" in done
    assert "script (1)" in done
    assert "<svg" not in done


def test_pasted_code_goes_the_same_way(page_client: PageClient) -> None:
    assert "by base" in describe(page_client, Source("Pasted code", CIRCLE))[-1]


def test_a_refusal_is_shown_with_its_request(page_client: PageClient) -> None:
    shown = describe(page_client, Source("bad.svg", TRUNCATED))[-1]
    assert "not well-formed XML" in shown
    assert "Request " in shown
    assert "No model &#x27;gone&#x27;" in describe(page_client, Source("c.svg", CIRCLE), "gone")[-1]


def test_nothing_chosen_shows_the_invitation(page_client: PageClient) -> None:
    assert describe(page_client, None) == [view.EMPTY]


def test_a_service_that_is_away_is_said_so() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    client = PageClient("http://service", timeout_s=5, transport=httpx.MockTransport(refuse))
    assert "cannot be reached" in describe(client, Source("c.svg", CIRCLE))[-1]


def test_an_answer_that_is_not_the_apis_is_no_crash() -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(502, text="<html>Bad Gateway"))
    client = PageClient("http://service", timeout_s=5, transport=transport)
    with pytest.raises(Refused, match="status 502"):
        asyncio.run(client.models())


def test_whatever_came_from_outside_is_escaped() -> None:
    answer = CaptionResponse(
        id="caption-1",
        model=HOSTILE,
        captions=[CaptionText(text=HOSTILE, finish_reason="stop")],
        usage=Usage(prompt_tokens=1, completion_tokens=1),
        timings_ms={"total": 1.0},
        svg=SvgInfo(width=1, height=1, elements=1, removed=[HOSTILE], warnings=[HOSTILE]),
    )
    error = Refused(HOSTILE, HOSTILE)
    shown = [
        view.described(HOSTILE, b"png", answer),
        view.described(HOSTILE, error, answer),
        view.refused(HOSTILE, error),
        view.working(HOSTILE),
        view.gallery([(HOSTILE, b"png")]),
    ]
    for html in shown:
        assert "<img src=x" not in html
        assert "onerror=alert(1)&gt;" in html.lower()
        assert '="' + HOSTILE not in html


def test_the_samples_are_drawings_that_need_no_cleaning() -> None:
    samples = sorted(SAMPLES.glob("*.svg"))
    assert len(samples) >= 4
    for path in samples:
        drawing = load(path.read_bytes())
        assert not drawing.removed, path.name
        assert not drawing.warnings, path.name


def test_the_style_asks_nothing_of_other_hosts() -> None:
    assert "url(" not in STYLE_PATH.read_text()
    assert "@import" not in STYLE_PATH.read_text()

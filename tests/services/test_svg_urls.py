"""Drawings from other hosts, over real HTTP: which addresses are asked, and what of the answer is taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from services.svg_urls import SvgUrls, is_public
from tests.services.helpers import CIRCLE, FakeEngine, service

SVG = ("image/svg+xml; charset=utf-8", CIRCLE.encode())


class Host(ThreadingHTTPServer):
    """Answers by `pages`: a type and a body, or a location to go to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, tuple[str, bytes] | str] = {}
        self.asked: list[tuple[str, str]] = []  # the host's name and the path

    def url(self, name: str, path: str) -> str:
        return f"http://{name}:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        self.server.asked.append((self.headers["Host"], self.path))
        page = self.server.pages.get(self.path)
        if page is None:
            self.send_error(404)
        elif isinstance(page, str):
            self.send_response(302)
            self.send_header("Location", page)
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Type", page[0])
            self.end_headers()
            self.wfile.write(page[1])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as host:
        thread = threading.Thread(target=host.serve_forever, args=(0.05,))
        thread.start()
        yield host
        host.shutdown()
        thread.join()


@contextmanager
def fetching(base_model: Path, host: Host, *, is_allowed: Any = lambda _: True) -> Iterator[TestClient]:
    """A service that takes drawings from `art.test` and below `cdn.test`; every name leads to our host."""

    async def resolve(name: str, _port: int) -> list[str]:
        return {"rebound.cdn.test": ["127.0.0.1", "127.0.0.2"], "none.cdn.test": []}.get(name, ["127.0.0.1"])

    names = [f"art.test:{host.server_port}", f"*.cdn.test:{host.server_port}"]
    urls = SvgUrls(names, max_bytes=10_000, timeout_s=60, resolve=resolve, is_allowed=is_allowed)
    with service(base_model, FakeEngine(), urls=urls) as client:
        yield client


def ask(client: TestClient, url: str) -> Any:
    return client.post("/v1/captions", json={"svg_url": url})


def refusal(answer: Any) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["type"], error["param"]


def test_a_drawing_comes_from_a_host_that_is_named(base_model: Path, host: Host) -> None:
    host.pages = {"/a.svg": SVG, "/moved": "/a.svg", "/there": host.url("b.cdn.test", "/a.svg")}
    with fetching(base_model, host) as client:
        plain = client.post("/v1/captions", json={"svg": CIRCLE}).json()
        for name, path in (("art.test", "/a.svg"), ("x.cdn.test", "/moved"), ("ART.test", "/there")):
            answer = ask(client, host.url(name, path))
            assert answer.is_success, answer.text
            assert answer.json()["svg"] == plain["svg"]
        parts = [{"type": "image_url", "image_url": {"url": host.url("art.test", "/a.svg")}}]
        chat = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": parts}]})
        assert chat.json()["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]
        picture = client.post("/v1/render", json={"svg_url": host.url("art.test", "/a.svg")})
        assert picture.headers["content-type"] == "image/png"
    assert host.asked[0] == (f"art.test:{host.server_port}", "/a.svg")


@pytest.mark.parametrize(
    "url",
    [
        "http://other.test:{port}/a.svg",
        "http://cdn.test:{port}/a.svg",
        "http://art.test:1/a.svg",
        "http://art.test/a.svg",
        "http://127.0.0.1:{port}/a.svg",
        "http://me:secret@art.test:{port}/a.svg",
        "http://art.test:{port}@other.test:{port}/a.svg",
        "http://none.cdn.test:{port}/a.svg",
        "ftp://art.test:{port}/a.svg",
        "file:///etc/passwd",
        "/a.svg",
        "http://",
        "http://[",
        "http://art.test:{port}/leaves",
    ],
)
def test_no_other_host_is_ever_asked(base_model: Path, host: Host, url: str) -> None:
    host.pages = {"/a.svg": SVG, "/leaves": host.url("other.test", "/a.svg")}
    with fetching(base_model, host) as client:
        answer = ask(client, url.format(port=host.server_port))
    assert refusal(answer) == (422, "svg_url_refused", "svg_url")
    assert "secret" not in answer.text
    assert "/a.svg" not in [path for _, path in host.asked]


def test_a_name_must_lead_to_allowed_addresses_alone(base_model: Path, host: Host) -> None:
    host.pages = {"/a.svg": SVG}
    with fetching(base_model, host, is_allowed=lambda address: address == "127.0.0.1") as client:
        assert ask(client, host.url("art.test", "/a.svg")).is_success
        assert refusal(ask(client, host.url("rebound.cdn.test", "/a.svg")))[1] == "svg_url_refused"
    with fetching(base_model, host, is_allowed=is_public) as client:
        assert refusal(ask(client, host.url("art.test", "/a.svg")))[1] == "svg_url_refused"
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    ("page", "status", "kind"),
    [
        (None, 422, "svg_url_unreachable"),
        ("/page", 422, "svg_url_refused"),
        (("text/html", CIRCLE.encode()), 422, "svg_url_refused"),
        (("image/png", CIRCLE.encode()), 422, "svg_url_refused"),
        (("image/svg+xml", b" " * 10_001), 413, "too_large"),
        (("image/svg+xml", b"not svg"), 400, "not_svg"),
    ],
)
def test_what_is_no_drawing_is_refused(
    base_model: Path, host: Host, page: Any, status: int, kind: str
) -> None:
    host.pages = {"/page": page} if page else {}
    with fetching(base_model, host) as client:
        assert refusal(ask(client, host.url("art.test", "/page"))) == (status, kind, "svg_url")


def test_a_host_that_does_not_answer_is_given_up(base_model: Path) -> None:
    async def resolve(_name: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as silent:  # listens, and never accepts
        urls = SvgUrls(
            ["*.test:" + str(silent.server_port)],
            max_bytes=9,
            timeout_s=0.3,
            resolve=resolve,
            is_allowed=lambda _: True,
        )
        with service(base_model, FakeEngine(), urls=urls) as client:
            answer = ask(client, f"http://art.test:{silent.server_port}/a.svg")
    assert refusal(answer) == (422, "svg_url_unreachable", "svg_url")


def test_without_the_setting_nothing_is_fetched(client: TestClient, host: Host) -> None:
    assert refusal(ask(client, host.url("127.0.0.1", "/a.svg"))) == (422, "svg_url_refused", "svg_url")
    assert host.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1",
        "64:ff9b::a00:1", "2002:a00:1::", "2001:0:1::",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)

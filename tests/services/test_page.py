"""The page without a browser: what it shows, and how it speaks to the API."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import zipfile
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest
from starlette.testclient import TestClient

from faithfulness.check import Verdict
from rendering import load
from services import page_tables as tables
from services import page_view as view
from services.page import STYLE_PATH
from services.page_client import PageClient, Preview, Refused, Source, Wishes, failed
from services.page_files import MAX_FILE_BYTES, MAX_FILES, chunks, collect
from services.page_handlers import SAMPLES, VARIED, Handlers, save, vary
from services.schemas import CaptionResponse, CaptionText, ClaimVerdict, FileResult, SvgInfo, Usage
from tests.captioning.helpers import make_adapter
from tests.services.helpers import CIRCLE, SQUARE, TRUNCATED, FakeEngine, service

HOSTILE = "<img src=x onerror=alert(1)>\"'&"
PREVIEW = Preview(b"png", 24, 16)


@pytest.fixture
def page_client(base_model: Path, engine: FakeEngine, tmp_path: Path) -> Iterator[PageClient]:
    """Adapters go to `tmp_path / "adapters"`, reports to `tmp_path / "runs"`."""
    with service(
        base_model,
        engine,
        adapters_dir=tmp_path / "adapters",
        reports_dir=tmp_path / "runs",
        check_timeout_s=60,
    ) as client:
        yield _page_client(client)


def _page_client(client: TestClient) -> PageClient:
    return PageClient("http://service", timeout_s=5, transport=httpx.ASGITransport(client.app))


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> PageClient:
    return PageClient("http://service", timeout_s=5, transport=httpx.MockTransport(answer))


def gather(stream: AsyncIterator[Any]) -> list[Any]:
    async def collected() -> list[Any]:
        return [each async for each in stream]

    return asyncio.run(collected())


def describe(
    client: PageClient, source: Source | None, *models: str, n: int = 1, temperature: float = 0
) -> list[tuple[str, str]]:
    """Picture and captions, each time that they changed."""
    return gather(Handlers(client).describe(source, models, n, 64, temperature))


def said(client: PageClient, source: Source, *models: str) -> str:
    return describe(client, source, *models)[-1][1]


def test_picture_and_caption_come_as_they_are_ready(page_client: PageClient) -> None:
    shown = describe(page_client, Source("circle.svg", CIRCLE.encode()))
    assert "Reading" in shown[0][1]
    picture, captions = shown[-1]
    assert "data:image/png;base64," in picture
    assert "by base" in captions
    assert "script (1)" in captions
    assert "<svg" not in picture + captions


def test_a_caption_that_was_revised_shows_what_it_was() -> None:
    revised = answer("A red box")
    revised.captions[0].draft = f"A blue {HOSTILE}"
    shown = view.voices([view.Voice("", answer=revised)])
    assert f"The model first wrote: A blue {escape(HOSTILE)}</p>" in shown
    assert "The model first wrote" not in view.voices([view.Voice("", answer=answer("A red box"))])


def test_the_warnings_of_every_model_are_shown_once() -> None:
    answers = [answer("A red box"), answer("A red box"), answer("Not revised to the end")]
    shown = view.voices([view.Voice(str(index), answer=each) for index, each in enumerate(answers)])
    warnings = shown[shown.index('class="warnings"') :]
    assert warnings.count("A red box") == warnings.count("Not revised to the end") == 1


@pytest.mark.parametrize("revises", [True, False])
def test_many_files_are_revised_if_the_visitor_wants_it(revises: bool) -> None:
    asked: list[bytes] = []

    def service(request: httpx.Request) -> httpx.Response:
        asked.append(request.content)
        return httpx.Response(200, text=answer("A red box").model_dump_json())

    gather(Handlers(answering(service)).batch([str(SAMPLES / "mountains.svg")], None, revises))
    [content] = asked
    assert f'name="revise"\r\n\r\n{str(revises).lower()}\r\n'.encode() in content


def test_a_caption_is_shown_while_it_is_written() -> None:
    def stream(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/render":
            return httpx.Response(422, json={"error": {"type": "x", "message": "no.", "request_id": "r"}})
        done = answer("A red box").model_dump_json()
        events = [
            ("delta", delta(0, "A ")),
            ("delta", delta(1, "B")),
            ("delta", delta(0, "red")),
            ("done", done),
        ]
        text = "".join(f"event: {name}\ndata: {data}\n\n: a comment\n\n" for name, data in events)
        return httpx.Response(200, text=text)

    wishes = Wishes(n=2, temperature=1)
    texts = gather(answering(stream).captions(Source("s.svg", SQUARE), None, wishes))
    assert texts[:3] == [["A ", ""], ["A ", "B"], ["A red", "B"]]
    assert texts[3].captions[0].text == "A red box"
    pending = view.voices([view.Voice("m", ["A red", ""])])
    assert '<p class="caption pending">A red</p>' in pending
    assert "data-copy" not in pending  # not before it is whole


def delta(index: int, text: str) -> str:
    return json.dumps({"file": 0, "index": index, "text": text})


def test_a_stream_that_ends_in_an_error_or_too_soon_is_a_refusal() -> None:
    error = '{"error": {"type": "deadline_exceeded", "message": "No answer within 60 s.", "request_id": "r"}}'
    for text, message in (
        (f"event: error\ndata: {error}\n\n", "within 60 s"),
        (": nothing\n\n", "broke off"),
    ):
        client = answering(lambda _request, text=text: httpx.Response(200, text=text))  # type: ignore[misc]
        with pytest.raises(Refused, match=message):
            gather(client.captions(Source("s.svg", SQUARE), None, Wishes()))


def test_models_answer_side_by_side_each_with_its_own_fate(
    page_client: PageClient, base_model: Path, tmp_path: Path
) -> None:
    make_adapter(base_model, tmp_path / "adapters" / "mine", "mine")
    shown = said(page_client, Source("c.svg", CIRCLE), "tiny", "mine", "gone")
    assert "by base" in shown
    assert "by mine" in shown
    assert "No model &#x27;gone&#x27;" in shown
    assert shown.count("<h3") == 3


def test_several_captions_need_variety(page_client: PageClient, engine: FakeEngine) -> None:
    assert vary(3, 0) == VARIED
    assert vary(3, 0.2) == 0.2
    assert vary(1, 0) == 0
    shown = describe(page_client, Source("c.svg", CIRCLE), n=3, temperature=VARIED)[-1][1]
    assert shown.count(">by base</p>") == 3
    assert (engine.requests[-1].n, engine.requests[-1].max_new_tokens) == (3, 64)


def test_claims_are_marked_with_their_verdicts(page_client: PageClient, engine: FakeEngine) -> None:
    engine.says = "A blue square"
    shown = said(page_client, Source("s.svg", SQUARE))
    assert (
        'A <mark class="false" title="Colour: false">blue<span class="unseen"> (false)</span></mark> '
        '<mark class="true" title="Shape: true">square<span class="unseen"> (true)</span></mark></p>'
    ) in shown
    assert 'data-text="A blue square"' in shown  # what is copied and becomes a title
    assert "Only simple claims" in shown
    engine.says = "A lovely day"
    assert "Only simple claims" not in said(page_client, Source("s.svg", SQUARE))


def test_of_claims_that_share_words_the_worst_is_shown() -> None:
    spans: list[tuple[int, int, Verdict]] = [(5, 9, "true"), (0, 4, "true"), (0, 4, "false"), (2, 9, "true")]
    claims = [
        ClaimVerdict(start=start, end=end, text="", kind="relation", verdict=verdict)
        for start, end, verdict in spans
    ]
    caption = CaptionText(text="left over", finish_reason="stop", claims=claims)
    given = answer("").model_copy(update={"captions": [caption]})
    shown = re.sub("<[^>]*>", "", view.voices([view.Voice("", [], given)]))
    assert "left (false) over (true)" in shown


def test_pasted_code_goes_the_same_way(page_client: PageClient) -> None:
    assert "by base" in said(page_client, Source("Pasted code", CIRCLE))


def test_a_refusal_is_shown_with_its_request(page_client: PageClient) -> None:
    shown = said(page_client, Source("bad.svg", TRUNCATED))
    assert "not well-formed XML" in shown
    assert "Request " in shown


def test_nothing_chosen_shows_the_invitation(page_client: PageClient) -> None:
    assert describe(page_client, None) == [(view.EMPTY, "")]


def test_a_service_that_is_away_or_slow_is_said_so() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    def sleep(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    assert "cannot be reached" in said(answering(refuse), Source("c.svg", CIRCLE))
    assert "did not answer within 5 s" in said(answering(sleep), Source("c.svg", CIRCLE))


def test_an_answer_that_is_not_the_apis_is_no_crash() -> None:
    client = answering(lambda _request: httpx.Response(502, text="<html>Bad Gateway"))
    with pytest.raises(Refused, match="status 502"):
        asyncio.run(client.models())


def answer(text: str) -> CaptionResponse:
    claim = ClaimVerdict(start=1, end=len(text), text=text, kind="text", verdict="true")
    return CaptionResponse(
        id="caption-1",
        model=text,
        captions=[CaptionText(text=text, finish_reason="length", claims=[claim])],
        usage=Usage(prompt_tokens=1, completion_tokens=1),
        timings_ms={"total": 1.0},
        svg=SvgInfo(width=1, height=1, elements=1, removed=[text], warnings=[text]),
    )


def report(text: str) -> dict[str, Any]:
    scores = {"bleu_4": {"score": 0.25, "low": 0.2, "high": 0.3}, "meteor": {"unavailable": text}}
    return {
        "suite": text,
        "run": text,
        "created": text,
        "samples": 7,
        "rows": [{"captioner": text, "scores": scores}, {"captioner": text, "unavailable": text}],
        "examples": [{"references": [text], "candidates": {text: text, "b": None}}],
    }


def test_whatever_came_from_outside_is_escaped() -> None:
    refused = Refused(HOSTILE, HOSTILE)
    row = FileResult(file=HOSTILE, status=200, captions=[CaptionText(text=HOSTILE, finish_reason="stop")])
    shown = [
        view.picture(HOSTILE, PREVIEW),
        view.picture("", refused),
        view.voices([view.Voice(HOSTILE, [HOSTILE]), view.Voice(HOSTILE, [], answer(HOSTILE))]),
        view.voices([view.Voice("", [], refused)]),
        view.gallery([(HOSTILE, PREVIEW)]),
        tables.batch([row, failed(HOSTILE, refused)], 2),
        tables.report(report(HOSTILE)),
    ]
    for html in shown:
        assert "<img src=x" not in html
        assert "onerror=alert(1)&gt;" in html.lower()
        assert '="' + HOSTILE not in html


def test_a_picture_has_the_shape_of_the_drawing_unless_it_is_a_strip() -> None:
    assert "aspect-ratio:1.5;" in view.picture("a", PREVIEW)
    assert "aspect-ratio:1;" in view.picture("a", Preview(b"png", 1000, 1))


def test_a_title_is_written_into_the_visitors_own_file(page_client: PageClient) -> None:
    def titled(source: Source | None) -> Any:
        event: Any = SimpleNamespace(text="A <circle>")
        return asyncio.run(Handlers(page_client).titled(source, event))

    saved = json.loads(titled(Source("my.circle.svgz", CIRCLE.encode())))
    assert (saved["name"], saved["type"]) == ("my.circle.svg", "image/svg+xml")
    assert ">A &lt;circle&gt;</title>" in b64decode(saved["content"]).decode()
    with pytest.raises(gr.Error, match="not well-formed"):
        titled(Source("bad.svg", TRUNCATED))
    assert "content" not in titled(None)


def zipped(path: Path, files: dict[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_files_and_zips_become_drawings_in_order(tmp_path: Path) -> None:
    plain = tmp_path / "plain.svg"
    plain.write_text(SQUARE)
    archive = zipped(
        tmp_path / "a.ZIP",
        {"in/b.svg": SQUARE, "notes.txt": "x", "__MACOSX/._b.svg": "x", "../c.SVGZ": "y", "d.zip": b"PK"},
    )
    assert [
        source for each in collect([archive, plain]) for source in [each] if isinstance(each, Source)
    ] == [
        Source("in/b.svg", SQUARE.encode()),
        Source("../c.SVGZ", b"y"),
        Source("plain.svg", SQUARE.encode()),
    ]


def test_an_entry_that_unpacks_too_far_is_refused_alone(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "bomb.zip", {"a.svg": b" " * (MAX_FILE_BYTES + 1), "b.svg": SQUARE})
    refused, kept = collect([bomb])
    assert isinstance(refused, FileResult)
    assert refused.error
    assert "limit of one file" in refused.error.message
    assert isinstance(kept, Source)


def test_an_entry_that_cannot_be_unpacked_is_refused_alone(tmp_path: Path) -> None:
    path = zipped(tmp_path / "damaged.zip", {"a.svg": SQUARE * 9, "b.svg": SQUARE})
    data = bytearray(path.read_bytes())
    data[50:60] = b"\xff" * 10
    path.write_bytes(data)
    refused, kept = collect([path])
    assert isinstance(refused, FileResult)
    assert isinstance(kept, Source)
    slow = zipped(tmp_path / "slow.zip", {"a.svg": SQUARE}, zipfile.ZIP_BZIP2)  # unpacks without a bound
    assert isinstance(collect([slow])[0], FileResult)


def test_too_much_is_refused_as_a_whole(tmp_path: Path) -> None:
    many = zipped(tmp_path / "many.zip", {f"{number}.svg": "x" for number in range(MAX_FILES + 1)})
    with pytest.raises(Refused, match="more than 500 drawings"):
        collect([many])
    large = zipped(tmp_path / "large.zip", {f"{number}.svg": b" " * MAX_FILE_BYTES for number in range(17)})
    with pytest.raises(Refused, match="more than 64 MiB"):
        collect([large])
    (tmp_path / "no.zip").write_text("words")
    with pytest.raises(Refused, match=r"no.zip cannot be read as a zip"):
        collect([tmp_path / "no.zip"])
    with pytest.raises(Refused, match=r"no .svg"):
        collect([zipped(tmp_path / "empty.zip", {"a.txt": "x"})])


def test_chunks_keep_to_files_and_bytes() -> None:
    sources = [Source(str(number), b"12345") for number in range(5)]
    assert [len(chunk) for chunk in chunks(sources, files=2, size=99)] == [2, 2, 1]
    assert [len(chunk) for chunk in chunks(sources, files=9, size=10)] == [2, 2, 1]
    assert [len(chunk) for chunk in chunks(sources, files=9, size=1)] == [1] * 5
    assert list(chunks([])) == []


def test_a_batch_captions_every_file_it_can(page_client: PageClient, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"bad.svg": TRUNCATED, "bomb.svg": b" " * (MAX_FILE_BYTES + 1)}
    files |= {f"{number}.svg": SQUARE for number in range(9)}
    archive = zipped(tmp_path / "a.zip", files)
    steps = gather(Handlers(page_client).batch([str(archive)], None))
    assert [len(results) for _, results, _ in steps] == [1, 9, 11]
    html, results, _ = steps[-1]
    assert [result.status for result in results] == [400, 0, *[200] * 9]
    assert "11 of 11 files, 2 refused" in html
    assert "Download CSV" in html
    assert "progress" in steps[0][0]
    assert "Download" not in steps[0][0]


def test_a_batch_of_nothing_says_why(page_client: PageClient, tmp_path: Path) -> None:
    [(html, results, _)] = gather(Handlers(page_client).batch([str(zipped(tmp_path / "a.zip", {}))], None))
    assert "no .svg" in html
    assert results == []


def test_a_full_service_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.page_client._PAUSE_S", 0)
    full = {"error": {"type": "overloaded", "message": "Full.", "request_id": "r"}}
    answers = [httpx.Response(503, json=full), httpx.Response(200, json=answer("here").model_dump())]
    client = answering(lambda _request: answers.pop(0))
    [result] = asyncio.run(client.caption_files([Source("a.svg", b"x")], None, Wishes()))
    assert result.captions
    always = answering(lambda _request: httpx.Response(503, json=full))
    refused = asyncio.run(
        always.caption_files([Source("a.svg", b"x"), Source("b.svg", b"x")], None, Wishes())
    )
    assert [(each.file, each.status) for each in refused] == [("a.svg", 503), ("b.svg", 503)]


def test_a_batch_is_saved_as_csv_or_lines_of_json() -> None:
    two = [CaptionText(text=text, finish_reason="stop") for text in ("=1+1", 'say "hi", then')]
    results = [
        FileResult(file="a.svg", status=200, captions=two),
        failed("@b.svg", Refused("No.", "r", 400, "empty")),
    ]
    csv_file, lines = (saved(results, kind) for kind in ("csv", "jsonl"))
    assert list(csv.reader(io.StringIO(csv_file))) == [
        ["file", "caption", "status", "error"],
        ["a.svg", "'=1+1", "200", ""],
        ["a.svg", 'say "hi", then', "200", ""],
        ["'@b.svg", "", "400", "No."],
    ]
    assert [FileResult.model_validate_json(line) for line in lines.splitlines()] == results


def saved(results: list[FileResult], kind: str) -> str:
    event: Any = SimpleNamespace(kind=kind)
    return b64decode(json.loads(save(results, event))["content"]).decode()


def test_the_latest_report_is_shown_once_there_is_one(page_client: PageClient, tmp_path: Path) -> None:
    def shown() -> str:
        return asyncio.run(Handlers(page_client).report())

    assert shown() == tables.NO_REPORT
    path = tmp_path / "runs" / "one" / "report.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(report("mine")))
    assert "0.250 <small>0.200 to 0.300</small>" in shown()
    assert "METEOR" not in shown()  # nobody has it
    path.write_text('{"rows": [{}]}')
    assert shown() == tables.NO_REPORT


def test_programs_get_the_apis_answer(page_client: PageClient) -> None:
    answered = asyncio.run(Handlers(page_client).caption(SQUARE))
    assert answered["captions"][0]["text"] == "by base"
    with pytest.raises(gr.Error, match="not well-formed"):
        asyncio.run(Handlers(page_client).caption(TRUNCATED))


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

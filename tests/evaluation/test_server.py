"""Captioners behind an OpenAI-compatible server, over real HTTP; zero-shot prompts; the title floor."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from captioning.corpus import Sample
from captioning.engine import Engine
from evaluation.captioners.floors import TitleCaptioner
from evaluation.captioners.server import ServerCaptioner, read_code, see_picture
from evaluation.captioners.zero_shot import INSTRUCTION, ZeroShotCaptioner, instruct
from evaluation.errors import Unavailable
from evaluation.run import RunOptions, run_suite
from evaluation.suite import load_suite
from rendering import Rasterizer


class Chat(ThreadingHTTPServer):
    """Answers with the colour in the picture's middle, or else with the length of the text; may fail."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        self.statuses: list[int] = []  # of the next answers
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Chat

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.server.keys.append(self.headers["Authorization"])
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        text = json.dumps({"choices": [{"message": {"content": f" {_answer(body)}\n"}}]})
        answer = (text if status == 200 else '{"error": "no"}').encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _answer(body: dict[str, Any]) -> str:
    first, *rest = body["messages"][0]["content"]
    if not rest:
        return f"{len(first['text'])} characters"
    data = base64.b64decode(rest[0]["image_url"]["url"].partition("base64,")[2])
    return f"{Image.open(io.BytesIO(data)).getpixel((256, 256))}"


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _captioner(chat: Chat, **settings: Any) -> ServerCaptioner:
    return ServerCaptioner(chat.url, "vision-1", read_code, pause_s=0.0, **settings)


def test_a_vision_model_gets_the_picture(chat: Chat, samples: list[Sample]) -> None:
    with Rasterizer() as rasterizer:
        captioner = ServerCaptioner(chat.url, "vision-1", see_picture(rasterizer), key="secret")
        made = list(captioner.caption(samples[:6]))
    assert [one.id for one in made] == [sample.id for sample in samples[:6]]
    assert made[0].caption == "(255, 0, 0)"
    assert {body["model"] for body in chat.asked} == {"vision-1"}
    assert {body["temperature"] for body in chat.asked} == {0}
    assert set(chat.keys) == {"Bearer secret"}


def test_a_text_model_gets_the_canonical_code(chat: Chat, samples: list[Sample]) -> None:
    [made] = _captioner(chat).caption(samples[:1])
    text = chat.asked[0]["messages"][0]["content"][0]["text"]
    assert text.startswith(INSTRUCTION)
    assert "<circle" in text
    assert made.caption == f"{len(text)} characters"


def test_a_busy_server_is_asked_again_and_a_refusal_is_one_samples_failure(
    chat: Chat, samples: list[Sample]
) -> None:
    chat.statuses = [503, 429, 200, 400, 500, 500, 500, 500]
    unreadable = samples[3].model_copy(update={"svg": "no drawing"})
    first, refused, broken, unread, last = _captioner(chat, parallel=1).caption(
        [*samples[:3], unreadable, samples[4]]
    )
    assert first.caption is not None
    assert refused.reason.startswith("server_refused: HTTP 400")
    assert broken.reason.startswith("server_refused: HTTP 500, 4 times")
    assert unread.reason.startswith("not_svg: ")
    assert last.caption is not None


def test_a_server_that_is_away_ends_the_work_and_the_same_run_goes_on(
    chat: Chat, corpus: Path, tmp_path: Path
) -> None:
    suite = tmp_path / "remote.yaml"
    suite.write_text(
        f"corpus: {corpus}\nmetrics: [shape_accuracy]\n"
        f"captioners: {{remote: {{kind: server, url: '{chat.url}', model: m, sees: code, parallel: 1}}}}\n",
        encoding="utf-8",
    )
    options = RunOptions(runs_dir=tmp_path / "runs")
    chat.statuses = [200] * 5 + [401]
    report, _ = run_suite(*load_suite(str(suite)), options, lambda *_: None)
    assert "HTTP 401" in report.rows[0].model_dump()["unavailable"]
    assert (
        "(5 of 12 candidates are kept; the same command goes on)"
        in report.rows[0].model_dump()["unavailable"]
    )
    report, _ = run_suite(*load_suite(str(suite)), options, lambda *_: None)
    assert report.rows[0].model_dump()["scored"] == 12
    assert len(chat.asked) == 13, "nothing was asked twice but the refused one"


def test_without_its_key_a_server_is_unavailable(
    chat: Chat, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    suite = tmp_path / "remote.yaml"
    suite.write_text(
        f"corpus: {corpus}\nmetrics: [shape_accuracy]\ncaptioners:\n"
        f"  remote: {{kind: server, url: '{chat.url}', model: m, key_variable: SOME_KEY}}\n"
        "  title: {kind: title}\n",
        encoding="utf-8",
    )
    report, folder = run_suite(
        *load_suite(str(suite)), RunOptions(runs_dir=tmp_path / "runs"), lambda *_: None
    )
    assert "SOME_KEY" in report.rows[0].model_dump()["unavailable"]
    assert chat.asked == []
    assert (folder / "report.html").is_file()


def test_no_server_at_all_is_unavailable(samples: list[Sample]) -> None:
    captioner = ServerCaptioner("http://127.0.0.1:9/v1", "m", read_code, pause_s=0.0)
    with pytest.raises(Unavailable, match="did not answer in 4 attempts: ConnectError"):
        list(captioner.caption(samples[:1]))


def test_a_zero_shot_prompt_goes_through_the_engine(tiny_llama: Path, samples: list[Sample]) -> None:
    engine = Engine.load(str(tiny_llama), dtype="float32", max_batch_size=4)
    broken = samples[1].model_copy(update={"svg": "no drawing"})
    first, refused, last = ZeroShotCaptioner(engine, max_new_tokens=4).caption(
        [samples[0], broken, samples[2]]
    )
    assert first.caption is not None
    assert last.caption is not None
    assert refused.reason.startswith("not_svg: ")
    assert instruct("<svg>```</svg>").count("```") == 2, "a drawing cannot close its fence"


def test_the_title_floor_says_what_the_label_says(samples: list[Sample]) -> None:
    def titled(inside: str) -> Sample:
        return samples[0].model_copy(update={"svg": samples[0].svg.replace("><circle", f">{inside}<circle")})

    drawings = [
        titled("<desc>a dot</desc><title>\n Red  dot</title>"),
        titled("<desc>a dot</desc>"),
        titled(""),
    ]
    assert [one.caption for one in TitleCaptioner().caption(drawings)] == ["Red dot", "a dot", ""]

"""The API's contract, over an engine that answers by rule: shapes, options, refusals."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.captioning.helpers import make_adapter
from tests.services.helpers import CIRCLE, ENTITY_BOMB, LONG, SQUARE, TRUNCATED, FakeEngine, service


def caption(client: TestClient, svg: str = SQUARE, **options: Any) -> Any:
    return client.post("/v1/captions", json={"svg": svg} | options)


def upload(client: TestClient, *svgs: str | bytes, **fields: Any) -> Any:
    files = [("file", (f"{number}.svg", svg)) for number, svg in enumerate(svgs)]
    return client.post("/v1/captions", files=files, data=fields)


def error(answer: Any, status: int) -> dict[str, Any]:
    """The error of an answer that has the one shape of all refusals."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    found: dict[str, Any] = answer.json()["error"]
    assert list(found) == ["type", "message", "param", "request_id"]
    assert found["message"]
    assert found["request_id"] == answer.headers["x-request-id"]
    return found


def test_json_and_multipart_give_the_same_answer(client: TestClient) -> None:
    by_json, by_form = caption(client, CIRCLE).json(), upload(client, CIRCLE).json()
    for answer in (by_json, by_form):
        assert answer.pop("id").startswith("caption-")
        assert set(answer.pop("timings_ms")) == {"prepare", "generate", "total"}
    assert by_json == by_form
    assert by_json["model"] == "tiny"
    assert by_json["captions"] == [{"text": "by base", "finish_reason": "stop"}]
    assert by_json["usage"]["completion_tokens"] == 3
    assert by_json["svg"] == {
        "width": 8,
        "height": 8,
        "elements": 2,
        "removed": ["script (1)"],
        "warnings": [],
    }


def test_text_keeps_its_meaning_whatever_encoding_it_declares(client: TestClient, engine: FakeEngine) -> None:
    text = '<svg viewBox="0 0 8 8"><text y="5">é</text></svg>'
    caption(client, text)
    caption(client, f'<?xml version="1.0" encoding="ISO-8859-1"?>{text}')
    upload(client, f'<?xml version="1.0" encoding="ISO-8859-1"?>{text}'.encode("latin-1"))
    upload(client, gzip.compress(text.encode()))
    assert len({tuple(request.prompt_ids) for request in engine.requests}) == 1


def test_options_reach_the_engine_from_json_and_form_alike(client: TestClient, engine: FakeEngine) -> None:
    options: dict[str, Any] = {"n": 2, "max_tokens": 9, "temperature": 0.5, "seed": 7, "stop": ["a", " b"]}
    assert len(caption(client, **options).json()["captions"]) == 2
    upload(
        client, SQUARE, **{name: value if name == "stop" else str(value) for name, value in options.items()}
    )
    caption(client, **options | {"stop": "a"})
    asked = [(r.n, r.max_new_tokens, r.temperature, r.seed, r.stop) for r in engine.requests]
    assert asked == [(2, 9, 0.5, 7, ("a", " b"))] * 2 + [(2, 9, 0.5, 7, ("a",))]


def test_several_files_keep_their_order_and_their_own_fate(client: TestClient) -> None:
    answer = upload(client, SQUARE, TRUNCATED, LONG, CIRCLE)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(result["file"], result["status"]) for result in results] == [
        ("0.svg", 200),
        ("1.svg", 400),
        ("2.svg", 422),
        ("3.svg", 200),
    ]
    assert [result["error"] and result["error"]["type"] for result in results] == [
        None,
        "malformed",
        "prompt_too_long",
        None,
    ]
    assert results[3]["svg"]["removed"] == ["script (1)"]
    assert answer.json()["usage"]["completion_tokens"] == 6


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        ("just words", 400, "not_svg"),
        ("", 400, "empty"),
        (TRUNCATED, 400, "malformed"),
        (ENTITY_BOMB, 400, "entities"),
        (LONG, 422, "prompt_too_long"),
        ("<svg>" + "<g>" * 200 + "</g>" * 200 + "</svg>", 422, "too_deep"),
        (SQUARE + " " * (4 << 20), 413, "too_large"),
        (gzip.compress(b" " * (5 << 20)), 413, "too_large"),
        (b"\x1f\x8bnot gzip", 400, "malformed"),
        (bytes(range(256)), 400, "not_svg"),
    ],
)
def test_a_bad_drawing_is_refused_in_words(
    client: TestClient, content: str | bytes, status: int, kind: str
) -> None:
    refusal = error(upload(client, content), status)
    assert (refusal["type"], refusal["param"]) == (kind, "file")


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": 99, "temperature": 1}, "n"),
        ({"n": 2}, "n"),
        ({"max_tokens": 100_000}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"stop": [""]}, "stop.0"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"svg": 5}, "svg"),
        ({"svg": None}, "svg"),
        ({"svg_url": "https://example.org/a.svg"}, "svg"),
        ({"svg": ""}, "svg"),
        ({"max_token": 3}, "max_token"),
    ],
)
def test_a_bad_option_names_itself(client: TestClient, options: dict[str, Any], param: str) -> None:
    refusal = error(caption(client, **options), 422)
    assert (refusal["type"], refusal["param"]) == ("invalid_request", param)


def test_an_unknown_field_suggests_the_right_one(client: TestClient) -> None:
    assert "Did you mean 'max_tokens'?" in error(caption(client, max_token=3), 422)["message"]


def test_bodies_that_are_neither_json_nor_form(client: TestClient) -> None:
    json_type = {"content-type": "application/json"}
    form_type = {"content-type": "multipart/form-data"}
    broken_form = {"content-type": "multipart/form-data; boundary=x"}
    post = client.post
    assert error(post("/v1/captions", content="{", headers=json_type), 400)["type"] == "invalid_json"
    assert error(post("/v1/captions", content="[]", headers=json_type), 422)["type"] == "invalid_request"
    assert error(post("/v1/captions", content=SQUARE), 415)["type"] == "unsupported_media_type"
    assert error(post("/v1/captions", content=SQUARE, headers=form_type), 400)["type"] == "bad_request"
    assert error(post("/v1/captions", content="nonsense", headers=broken_form), 400)["type"] == "bad_request"
    for charset in ("undefined", "punycode", "none-such"):
        odd = {"content-type": f"multipart/form-data; boundary=x; charset={charset}"}
        part = '--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n\xff\r\n--x--\r\n'
        assert post("/v1/captions", content=part.encode("latin-1"), headers=odd).status_code in (400, 422)
    assert error(post("/v1/captions", files={"picture": SQUARE}), 422)["type"] == "missing_file"
    assert error(upload(client, *[SQUARE] * 17), 413)["type"] == "too_many_files"


def test_paths_and_methods_that_do_not_exist(client: TestClient) -> None:
    unknown = error(client.get("/v1/nothing"), 404)
    assert (unknown["type"], unknown["message"][:26]) == ("not_found", "Not Found: GET /v1/nothing")
    refusal = client.get("/v1/captions")
    assert error(refusal, 405)["type"] == "method_not_allowed"
    assert refusal.headers["allow"] == "POST"


def test_models_are_those_in_the_folder_now(client: TestClient, base_model: Path, tmp_path: Path) -> None:
    assert [card["id"] for card in client.get("/v1/models").json()["data"]] == ["tiny"]
    make_adapter(base_model, tmp_path / "adapters" / "icons", "icons")
    (tmp_path / "adapters" / "unfinished").mkdir()
    base, adapter = client.get("/v1/models").json()["data"]
    assert (base["id"], base["default"], base["parent"]) == ("tiny", True, None)
    assert (adapter["id"], adapter["default"], adapter["parent"]) == ("icons", False, "tiny")
    assert adapter["manifest"]["metrics"] == {"validation_loss": 0.5}
    assert adapter["created"] == 1_738_324_800
    assert caption(client, model="icons").json()["captions"][0]["text"] == "by icons"


def test_an_unknown_model_is_told_what_there_is(client: TestClient, base_model: Path, tmp_path: Path) -> None:
    make_adapter(base_model, tmp_path / "adapters" / "icons", "icons")
    refusal = error(caption(client, model="iconz"), 404)
    assert (refusal["type"], refusal["param"]) == ("model_not_found", "model")
    assert refusal["message"] == "No model 'iconz'. Available: tiny, icons."


def test_the_default_model_may_be_an_adapter(base_model: Path, engine: FakeEngine, tmp_path: Path) -> None:
    make_adapter(base_model, tmp_path / "icons", "icons")
    with service(base_model, engine, adapters_dir=tmp_path, default_model="icons") as client:
        assert caption(client).json()["model"] == "icons"
        assert caption(client, model="tiny").json()["model"] == "tiny"
        assert [card["default"] for card in client.get("/v1/models").json()["data"]] == [False, True]


def test_an_adapter_that_does_not_fit_is_a_conflict(
    client: TestClient, base_model: Path, tmp_path: Path
) -> None:
    make_adapter(base_model, tmp_path / "adapters" / "broken", "broken")
    refusal = error(caption(client, model="broken"), 409)
    assert (refusal["type"], refusal["param"]) == ("adapter", "model")


def test_render_gives_a_png_of_the_asked_size(client: TestClient) -> None:
    answer = client.post("/v1/render", files={"file": SQUARE}, data={"size_px": "40"})
    assert answer.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(answer.content)).convert("RGB")
    assert picture.size == (40, 40)
    assert (picture.getpixel((10, 10)), picture.getpixel((30, 30))) == ((255, 0, 0), (255, 255, 255))
    assert client.post("/v1/render", json={"svg": SQUARE}).status_code == 200
    assert error(client.post("/v1/render", files={"file": TRUNCATED}), 400)["type"] == "malformed"
    assert error(client.post("/v1/render", json={"svg": SQUARE, "size_px": 9999}), 422)["param"] == "size_px"


def test_render_keeps_what_is_transparent_when_asked(client: TestClient) -> None:
    answer = client.post("/v1/render", json={"svg": SQUARE, "background": "transparent"})
    assert Image.open(io.BytesIO(answer.content)).mode == "RGBA"
    refusal = error(client.post("/v1/render", json={"svg": SQUARE, "background": "url(x)"}), 422)
    assert refusal["param"] == "background"


def test_render_tells_the_size_of_the_drawing(client: TestClient) -> None:
    wide = '<svg viewBox="0 0 40 10"><rect width="4" height="4"/></svg>'
    headers = client.post("/v1/render", json={"svg": wide}).headers
    assert (headers["x-svg-width"], headers["x-svg-height"]) == ("40", "10")


def test_a_title_is_written_into_the_file_that_was_sent(client: TestClient) -> None:
    answer = client.post("/v1/title", files={"file": CIRCLE}, data={"title": "A <b> & c"})
    assert '<title id="title">A &lt;b&gt; &amp; c</title>' in answer.text
    assert "<script>" in answer.text  # it is the sender's file, so no browser may open it:
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_title_is_refused_like_a_caption(client: TestClient) -> None:
    assert error(client.post("/v1/title", json={"svg": TRUNCATED, "title": "T"}), 400)["type"] == "malformed"
    assert error(client.post("/v1/title", json={"svg": SQUARE, "title": " "}), 422)["param"] == "title"
    assert error(client.post("/v1/title", json={"svg": SQUARE}), 422)["param"] == "title"


def test_the_latest_report_that_can_be_read_is_given(
    base_model: Path, engine: FakeEngine, tmp_path: Path
) -> None:
    with service(base_model, engine, reports_dir=tmp_path) as client:
        assert error(client.get("/v1/report"), 404)["type"] == "no_report"
        for age, (name, text) in enumerate(
            {"half": '{"rows"', "new": '{"rows": [1]}', "old": '{"rows": []}'}.items()
        ):
            path = tmp_path / name / "report.json"
            path.parent.mkdir()
            path.write_text(text)
            os.utime(path, (1000 - age, 1000 - age))
        assert client.get("/v1/report").json() == {"rows": [1]}


def test_health_and_readiness_differ(client: TestClient, engine: FakeEngine) -> None:
    assert client.get("/readyz").json() == {"status": "ready", "model": "tiny"}
    engine.is_ready = False
    assert client.get("/healthz").json() == {"status": "ok"}
    refusal = client.get("/readyz")
    assert error(refusal, 503)["type"] == "not_ready"
    assert refusal.headers["retry-after"] == "1"


def test_openapi_and_its_page_name_every_route(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/captions",
        "/v1/chat/completions",
        "/v1/models",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/v1/render",
        "/v1/report",
        "/v1/title",
        "/healthz",
        "/readyz",
    }
    body = document["paths"]["/v1/captions"]["post"]["requestBody"]["content"]
    assert {"svg", "model", "n", "max_tokens"} <= set(body["application/json"]["schema"]["properties"])
    assert "file" in body["multipart/form-data"]["schema"]["properties"]
    page = client.get("/docs").text
    assert all(path in page for path in document["paths"])
    assert "http://" not in page  # asks nothing of other hosts
    assert "https://" not in page

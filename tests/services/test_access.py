"""API keys: who passes, who does not, and that the file never holds a key."""

from __future__ import annotations

import asyncio
import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from captioning.errors import ConfigError
from services import access
from services.access import Keyring, add_key, hash_of, read_keys
from services.administration import ADMIN_PATHS
from services.page_client import PageClient
from services.paths import route_path
from tests.services.helpers import SQUARE, FakeEngine, api_app, service
from tests.services.test_command import run


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


@pytest.fixture
def key(keys_file: Path) -> str:
    return add_key(keys_file, "website")


@pytest.fixture
def guarded(base_model: Path, engine: FakeEngine, keys_file: Path, key: str) -> Iterator[TestClient]:
    with service(base_model, engine, keys_file=keys_file, runtime_adapters=True) as client:
        yield client


def caption(client: TestClient, key: str | None = None, **headers: str) -> Any:
    bearer = {"Authorization": f"Bearer {key}"} if key else {}
    return client.post("/v1/captions", json={"svg": SQUARE}, headers=bearer | headers)


def test_without_a_file_of_keys_none_is_asked_for(client: TestClient) -> None:
    assert caption(client).status_code == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer svg_wrong", "Basic {key}", "{key}", "Bearer {hash}"]
)
def test_who_has_no_key_is_told_what_to_send(
    guarded: TestClient, engine: FakeEngine, key: str, header: str
) -> None:
    answer = caption(guarded, Authorization=header.format(key=key, hash=hash_of(key)))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    error = answer.json()["error"]
    assert error["type"] == "invalid_api_key"
    assert "Authorization: Bearer KEY" in error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert not engine.requests


def test_a_key_opens_the_api(guarded: TestClient, key: str) -> None:
    assert caption(guarded, key).status_code == 200
    assert guarded.get("/v1/models", headers={"Authorization": f"bearer {key}"}).status_code == 200
    assert guarded.get("/v1/models").status_code == 401


def test_probes_and_the_reference_need_no_key(guarded: TestClient) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
        assert guarded.get(path).status_code == 200


def test_the_reference_says_what_keys_ask_and_refuse(guarded: TestClient, client: TestClient) -> None:
    document = guarded.get("/openapi.json").json()
    assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    statuses = {
        path: {"401", "403", "429"} & set(operation["responses"])
        for path, methods in document["paths"].items()
        for operation in methods.values()
    }
    assert statuses["/v1/captions"] == {"401", "429"}
    assert statuses["/healthz"] == set()
    assert all(statuses[path] == {"401", "403", "429"} for path in ADMIN_PATHS)
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]


@pytest.mark.parametrize("path", sorted(ADMIN_PATHS))
@pytest.mark.parametrize("ending", ["", "/", "//"])
def test_administration_needs_a_key_of_its_own(
    guarded: TestClient, keys_file: Path, key: str, path: str, ending: str
) -> None:
    admin = add_key(keys_file, "operator", admin=True)
    refused = guarded.post(path + ending, headers={"Authorization": f"Bearer {key}"})
    assert refused.status_code == 403
    assert refused.json()["error"]["type"] == "admin_key_needed"
    admitted = guarded.post(path + ending, headers={"Authorization": f"Bearer {admin}"})
    assert admitted.status_code not in {401, 403}
    assert caption(guarded, admin).status_code == 200


def test_each_key_has_a_rate_of_its_own(guarded: TestClient, keys_file: Path, key: str) -> None:
    slow = add_key(keys_file, "slow", requests_per_minute=2)
    answers = [caption(guarded, slow) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["error"]["type"] == "rate_limited"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert caption(guarded, key).status_code == 200


def test_a_bucket_fills_as_steadily_as_it_may_be_emptied() -> None:
    now = 100.0
    bucket = access.Bucket(30, lambda: now)
    assert [bucket.take() for _ in range(31)] == [0.0] * 30 + [2.0]
    now += 1.0
    assert bucket.take() == 1.0
    now += 1.0
    assert [bucket.take(), bucket.take()] == [0.0, 2.0]
    now += 3600
    assert [bucket.take() > 0 for _ in range(31)] == [False] * 30 + [True]


def test_keys_come_and_go_without_a_restart(guarded: TestClient, keys_file: Path, key: str) -> None:
    later = add_key(keys_file, "later")
    assert caption(guarded, later).status_code == 200
    keys_file.write_text(f"- name: later\n  sha256: {hash_of(later)}\n")
    assert caption(guarded, key).status_code == 401
    assert caption(guarded, later).status_code == 200


@pytest.mark.parametrize("damage", ["- name: [", "[]", ""])
def test_a_file_that_breaks_later_changes_nothing(
    guarded: TestClient, keys_file: Path, key: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys_file.write_text(damage)
    assert caption(guarded, key).status_code == 200
    assert caption(guarded).status_code == 401
    assert "the keys stay as they were" in caplog.text
    keys_file.unlink()
    assert caption(guarded, key).status_code == 200


def test_the_file_has_the_hash_and_never_the_key(keys_file: Path) -> None:
    keys = [add_key(keys_file, f"client-{number}") for number in range(3)]
    text = keys_file.read_text()
    assert len({*keys}) == 3
    for key in keys:
        assert len(key) >= 43  # 256 bits in base 64
        assert key not in text
        assert hash_of(key) in text
    assert stat.S_IMODE(keys_file.stat().st_mode) == 0o600


def test_what_others_wrote_into_the_file_stays(keys_file: Path) -> None:
    ours = f"# our clients\n- name: first\n  sha256: {'a' * 64}"
    keys_file.write_text(ours)
    add_key(keys_file, "second", requests_per_minute=6)
    assert keys_file.read_text().startswith(ours + "\n")
    assert [(key.name, key.requests_per_minute) for key in read_keys(keys_file)] == [
        ("first", None),
        ("second", 6),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "not YAML"),
        ("", "list"),
        ("[]", "at least 1"),
        ("- name: a\n  sha256: abc", "0.sha256"),
        (f"- name: a\n  sha256: {'a' * 64}\n  adnim: true", "0.adnim"),
        (f"- name: a\n  sha256: {'a' * 64}\n- name: a\n  sha256: {'b' * 64}", "'a' is taken"),
        (f"- name: page\n  sha256: {'a' * 64}", "'page' is taken"),
    ],
)
def test_a_file_that_says_something_else_is_refused(keys_file: Path, text: str, says: str) -> None:
    keys_file.write_text(text)
    with pytest.raises(ConfigError, match=says) as refusal:
        read_keys(keys_file)
    assert str(keys_file) in str(refusal.value)


def test_a_name_is_given_once(keys_file: Path, key: str) -> None:
    before = keys_file.read_text()
    for name in ("website", "two words", access.PAGE):
        with pytest.raises(ConfigError):
            add_key(keys_file, name)
    assert keys_file.read_text() == before


def test_the_page_has_a_key_of_its_own(
    guarded: TestClient, base_model: Path, engine: FakeEngine, keys_file: Path
) -> None:
    def models(key: str | None) -> int:
        transport = httpx.ASGITransport(guarded.app)
        client = PageClient("http://service", timeout_s=5, key=key, transport=transport)
        return len(asyncio.run(client.models()))

    assert models(Keyring(keys_file, page=True).page_key) == 1
    with pytest.raises(Exception, match="needs a key"):
        models(None)


def test_without_a_page_its_key_opens_nothing(keys_file: Path, key: str) -> None:
    keyring = Keyring(keys_file, page=False)
    assert keyring.find(key)
    assert keyring.find(keyring.page_key) is None


def test_the_commands_key_opens_the_service(guarded: TestClient, keys_file: Path) -> None:
    made = run("key", "by-hand", "--file", str(keys_file), "--admin")
    assert made.returncode == 0, made.stderr
    assert caption(guarded, made.stdout.strip()).status_code == 200
    assert made.stdout.strip() not in made.stderr
    again = run("key", "by-hand", "--file", str(keys_file))
    assert again.returncode == 1
    assert "'by-hand' is taken" in " ".join(again.stderr.split())
    as_json = run("key", "other", "--file", str(keys_file), "--json")
    assert caption(guarded, json.loads(as_json.stdout)["key"]).status_code == 200


def test_a_missing_file_of_keys_is_said_before_ray_starts(tmp_path: Path) -> None:
    refused = run("--keys-file", str(tmp_path / "none.yaml"), "--port", "18998")
    assert refused.returncode == 1
    assert "python -m services key" in " ".join(refused.stderr.split())
    assert "Starting Ray" not in refused.stderr


def preflight(client: TestClient, origin: str) -> Any:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return client.options("/v1/captions", headers=headers)


def test_other_sites_may_not_call_unless_they_are_named(
    base_model: Path, engine: FakeEngine, client: TestClient
) -> None:
    named, other = "https://example.org", "https://example.com"
    assert "access-control-allow-origin" not in preflight(client, named).headers
    with service(base_model, engine, allowed_origins=[named], max_upload_bytes=1000) as open_client:
        assert preflight(open_client, named).headers["access-control-allow-origin"] == named
        assert "access-control-allow-origin" not in preflight(open_client, other).headers
        answer = caption(open_client, Origin=named)
        assert answer.headers["access-control-allow-origin"] == named
        refusal = open_client.post("/v1/captions", content=b" " * 2000, headers={"Origin": named})
        assert refusal.status_code == 413
        assert refusal.headers["access-control-allow-origin"] == named
        assert "access-control-allow-credentials" not in answer.headers


def test_the_documents_commands_make_keys_that_open_what_they_say(
    base_model: Path, engine: FakeEngine, keys_file: Path
) -> None:
    text = (Path(__file__).parents[2] / "docs/security.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\.venv/bin/python -m services (key .*)$", text, re.M)
    secrets = {
        words[1]: run(*words[:-1], str(keys_file)).stdout.strip() for words in map(str.split, commands)
    }
    assert [key.requests_per_minute for key in read_keys(keys_file)] == [120, None]
    with service(base_model, engine, keys_file=keys_file, runtime_adapters=True) as client:
        assert caption(client, secrets["website"]).status_code == 200
        admin_path = min(ADMIN_PATHS)
        assert f"`{admin_path}`" in text
        statuses = {
            name: client.post(admin_path, headers={"Authorization": f"Bearer {secret}"}).status_code
            for name, secret in secrets.items()
        }
    assert statuses["website"] == 403
    assert statuses["operator"] not in {401, 403}


def test_a_prefix_opens_no_door(
    base_model: Path, engine: FakeEngine, keys_file: Path, key: str, tmp_path: Path
) -> None:
    """Ray Serve leaves its route prefix in the path; Starlette's router takes it off."""
    with api_app(base_model, engine, keys_file=keys_file) as app:
        client = TestClient(app, root_path="/svg")
        bearer = {"Authorization": f"Bearer {key}"}
        assert client.get("/svg/v1/models").status_code == 401
        assert client.post("/svg/v1/load_lora_adapter", headers=bearer).status_code == 403
        answer = client.get("/svg/v1/models", headers=bearer)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/v1/x", "", "/v1/x"),
        ("/svg/v1/x", "/svg", "/v1/x"),
        ("/svg", "/svg", ""),
        ("/svgs/v1", "/svg", "/svgs/v1"),
    ],
)
def test_the_path_below_a_prefix(path: str, root: str, below: str) -> None:
    assert route_path({"path": path, "root_path": root}) == below

"""Loading and unloading adapters over HTTP: who may, from where, and what is served afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow.fs import FileSystem, copy_files
from starlette.testclient import TestClient

from services.administration import ADMIN_PATHS
from tests.captioning.helpers import make_adapter, make_manifest
from tests.services.helpers import SQUARE, FakeEngine, service


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The service's adapters folder."""
    return tmp_path / "adapters"


@pytest.fixture
def admin(base_model: Path, engine: FakeEngine, folder: Path) -> Iterator[TestClient]:
    with service(base_model, engine, adapters_dir=folder, runtime_adapters=True) as client:
        yield client


def load(client: TestClient, name: str, path: object, **more: Any) -> Any:
    body = {"lora_name": name, "lora_path": str(path)} | more
    return client.post("/v1/load_lora_adapter", json=body)


def unload(client: TestClient, name: str) -> Any:
    return client.post("/v1/unload_lora_adapter", json={"lora_name": name})


def served(client: TestClient) -> list[str]:
    return [card["id"] for card in client.get("/v1/models").json()["data"]]


def refusal(answer: Any) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["type"], error["param"]


def test_an_adapter_is_served_under_the_name_it_was_loaded_by(
    admin: TestClient, engine: FakeEngine, base_model: Path, folder: Path
) -> None:
    path = make_adapter(base_model, folder / "runs" / "7" / "best", "icons")
    assert served(admin) == ["tiny"]
    answer = load(admin, "mine", "runs/7/best")
    assert (answer.status_code, answer.text) == (200, "Success: LoRA adapter 'mine' added successfully.")
    assert engine.adapters == {"mine": path}
    assert served(admin) == ["tiny", "mine"]
    captions = admin.post("/v1/captions", json={"svg": SQUARE, "model": "mine"}).json()["captions"]
    assert captions[0]["text"] == "by mine"
    assert unload(admin, "mine").text == "Success: LoRA adapter 'mine' removed successfully."
    assert served(admin) == ["tiny"]
    assert engine.adapters == {}
    assert refusal(unload(admin, "mine")) == (404, "model_not_found", "lora_name")


def test_what_was_loaded_and_unloaded_outlasts_a_restart(
    admin: TestClient, engine: FakeEngine, base_model: Path, folder: Path
) -> None:
    make_adapter(base_model, folder / "icons", "icons")
    make_adapter(base_model, folder / "logos", "logos")
    assert load(admin, "alias", folder / "icons").is_success
    assert unload(admin, "logos").is_success
    with service(base_model, engine, adapters_dir=folder) as later:
        assert served(later) == ["tiny", "alias", "icons"]
        gone = later.post("/v1/captions", json={"svg": SQUARE, "model": "logos"})
        assert refusal(gone) == (404, "model_not_found", "model")
    assert load(admin, "logos", "logos").is_success
    assert served(admin) == ["tiny", "alias", "icons", "logos"]


def test_a_damaged_entry_changes_nothing(admin: TestClient, base_model: Path, folder: Path) -> None:
    make_adapter(base_model, folder / "icons", "icons")
    assert unload(admin, "icons").is_success
    (folder / ".register" / "icons.json").write_text("{")
    assert served(admin) == ["tiny", "icons"]


def test_a_name_is_taken_once(admin: TestClient, engine: FakeEngine, base_model: Path, folder: Path) -> None:
    make_adapter(base_model, folder / "icons", "icons")
    other = make_adapter(base_model, folder / "runs" / "new", "icons")
    assert refusal(load(admin, "icons", "runs/new")) == (400, "invalid_request", "lora_name")
    assert "already been loaded" in load(admin, "icons", "runs/new").text
    assert refusal(load(admin, "tiny", "icons", load_inplace=True)) == (400, "invalid_request", "lora_name")
    assert load(admin, "icons", "runs/new", load_inplace=True).is_success
    assert engine.adapters["icons"] == other
    assert served(admin) == ["tiny", "icons"]


def test_only_folders_below_the_adapters_are_read(admin: TestClient, base_model: Path, folder: Path) -> None:
    outside = make_adapter(base_model, folder.parent / "outside", "outside")
    (folder / "runs").mkdir(parents=True)
    (folder / "runs" / "link").symlink_to(outside)
    for path in (outside, "../outside", "x/../../outside", "runs/link", "/etc", "/etc/nothing"):
        assert refusal(load(admin, "mine", path)) == (403, "forbidden", "lora_path"), path
    for path in ("file:///etc", "s3://bucket/icons", "hf://owner/icons"):
        assert refusal(load(admin, "mine", path)) == (403, "forbidden", "lora_path"), path
    assert served(admin) == ["tiny"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"lora_name": "x"}, "lora_path"),
        ({"lora_name": "", "lora_path": "x"}, "lora_name"),
        ({"lora_name": "../x", "lora_path": "x"}, "lora_name"),
        ({"lora_name": "x", "lora_path": "a\0b"}, "lora_path"),
        ({"lora_name": "x", "lora_path": "a" * 1001}, "lora_path"),
    ],
)
def test_bad_fields_are_named(admin: TestClient, body: dict[str, str], param: str) -> None:
    answer = admin.post("/v1/load_lora_adapter", json=body)
    assert refusal(answer) == (422, "invalid_request", param)


def test_an_adapter_that_cannot_be_served_is_refused_when_it_is_loaded(
    admin: TestClient, base_model: Path, folder: Path
) -> None:
    (folder / "empty").mkdir(parents=True)
    foreign = make_adapter(base_model, folder / "runs" / "foreign", "foreign")
    manifest = make_manifest(str(base_model), "foreign", base_fingerprint="sha256:other")
    (foreign / "manifest.json").write_text(manifest.model_dump_json())
    make_adapter(base_model, folder / "runs" / "ok", "ok")
    assert refusal(load(admin, "mine", "nothing")) == (404, "adapter_not_found", "lora_path")
    assert refusal(load(admin, "mine", "a" * 300)) == (409, "adapter", "lora_path")
    assert refusal(load(admin, "mine", "empty")) == (409, "adapter", "lora_path")
    assert refusal(load(admin, "mine", "runs/foreign")) == (409, "adapter", "lora_path")
    assert refusal(load(admin, "broken", "runs/ok")) == (409, "adapter", "lora_path")
    assert served(admin) == ["tiny"]


def test_adapters_come_from_the_addresses_that_are_allowed(
    base_model: Path, engine: FakeEngine, folder: Path, tmp_path: Path
) -> None:
    store = tmp_path / "bucket" / "adapters"
    make_adapter(base_model, store / "icons", "icons")
    make_adapter(base_model, tmp_path / "bucket" / "adapters-evil", "evil")
    (store / "icons" / "pytorch_model.bin").write_bytes(b"a pickle")
    options: dict[str, Any] = {"adapters_dir": folder, "runtime_adapters": True}
    with service(base_model, engine, adapter_sources=[f"file://{store}"], **options) as admin:
        assert load(admin, "mine", f"file://{store}/icons").is_success
        assert served(admin) == ["tiny", "mine"]
        assert sorted(path.name for path in engine.adapters["mine"].iterdir()) == [
            "README.md", "adapter_config.json", "adapter_model.safetensors", "manifest.json",
        ]  # fmt: skip
        assert refusal(load(admin, "b", f"file://{store}/none")) == (404, "adapter_not_found", "lora_path")
        for address in (
            f"file://{store}-evil",
            f"file://{store}/../adapters-evil",
            f"file://{store}/icons?endpoint_override=http://10.0.0.1",
            "s3://bucket/adapters/icons",
        ):
            assert refusal(load(admin, "b", address)) == (403, "forbidden", "lora_path"), address


def test_adapters_come_from_a_bucket(
    base_model: Path, engine: FakeEngine, folder: Path, tmp_path: Path, bucket: str
) -> None:
    system, _ = FileSystem.from_uri(bucket)
    copy_files(
        str(make_adapter(base_model, tmp_path / "icons", "icons")), "bucket/adapters/icons", None, system
    )
    options: dict[str, Any] = {"adapters_dir": folder, "runtime_adapters": True}
    with service(base_model, engine, adapter_sources=[f"{bucket}/adapters"], **options) as admin:
        assert load(admin, "mine", f"{bucket}/adapters/icons").is_success
        assert served(admin) == ["tiny", "mine"]
        assert (engine.adapters["mine"] / "adapter_model.safetensors").stat().st_size
        missing = f"{bucket}/adapters/none"
        assert refusal(load(admin, "b", missing)) == (404, "adapter_not_found", "lora_path")


def test_loading_has_a_deadline_of_its_own(base_model: Path, engine: FakeEngine, folder: Path) -> None:
    make_adapter(base_model, folder / "runs" / "one", "one")
    engine.delay_s = 0.5
    limits: dict[str, Any] = {"adapters_dir": folder, "runtime_adapters": True, "deadline_s": 0.2}
    with service(base_model, engine, **limits) as admin:
        assert load(admin, "mine", "runs/one").is_success
    with service(base_model, engine, adapter_load_s=0.1, **limits) as admin:
        answer = load(admin, "late", "runs/one")
        assert refusal(answer) == (504, "deadline_exceeded", None)
        assert "0.1 s" in answer.json()["error"]["message"]
        assert served(admin) == ["tiny", "mine"]


def test_a_refused_replacement_leaves_the_served_copy_whole(
    base_model: Path, engine: FakeEngine, folder: Path, tmp_path: Path
) -> None:
    make_adapter(base_model, tmp_path / "store" / "good", "good")
    bad = make_adapter(base_model, tmp_path / "store" / "bad", "bad")
    manifest = make_manifest(str(base_model), "bad", base_fingerprint="sha256:other")
    (bad / "manifest.json").write_text(manifest.model_dump_json())
    address = f"file://{tmp_path}/store"
    options: dict[str, Any] = {"adapters_dir": folder, "runtime_adapters": True}
    with service(base_model, engine, adapter_sources=[address], **options) as admin:
        assert load(admin, "mine", f"{address}/good").is_success
        first = engine.adapters["mine"]
        assert refusal(load(admin, "mine", f"{address}/bad", load_inplace=True))[0] == 409
        assert served(admin) == ["tiny", "mine"]
        assert list(first.parent.iterdir()) == [first]
        assert load(admin, "mine", f"{address}/good", load_inplace=True).is_success
        assert list(first.parent.iterdir()) == [engine.adapters["mine"]] != [first]


def test_an_engine_that_does_not_let_go_is_for_the_log(
    admin: TestClient, base_model: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_adapter(base_model, folder / "clinging", "clinging")
    assert unload(admin, "clinging").is_success
    assert served(admin) == ["tiny"]
    assert "it clings to it" in caplog.text


def test_a_manifest_with_an_odd_date_hides_no_other(
    admin: TestClient, base_model: Path, folder: Path
) -> None:
    make_adapter(base_model, folder / "icons", "icons")
    odd = make_adapter(base_model, folder / "odd", "odd") / "manifest.json"
    odd.write_text(json.dumps(json.loads(odd.read_text()) | {"created": "yesterday"}))
    assert served(admin) == ["tiny", "icons"]


def test_it_is_off_unless_a_setting_turns_it_on(client: TestClient, base_model: Path, tmp_path: Path) -> None:
    make_adapter(base_model, tmp_path / "adapters" / "icons", "icons")
    for answer in (load(client, "mine", "icons"), unload(client, "icons")):
        assert refusal(answer) == (403, "forbidden", None)
        assert "runtime_adapters" in answer.text
    assert served(client) == ["tiny", "icons"]


def test_the_routes_of_administration_are_marked(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    marked = {
        path for path, methods in paths.items() if "administration" in methods.get("post", {}).get("tags", ())
    }
    assert marked == ADMIN_PATHS

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from captioning.errors import AdapterError, ConfigError
from tests.training.exported import export
from tests.training.hub import Hub, serving
from training.errors import PushFailed
from training.merge import merge
from training.push import push


@pytest.fixture
def adapter(tiny_llama: Path, tmp_path: Path) -> Path:
    return export(tiny_llama, tmp_path / "icons")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub of our own, and a token for it."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with serving() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        yield hub


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_adapter_arrives_as_it_is(hub: Hub, adapter: Path) -> None:
    expected = contents(adapter)
    (adapter / ".cache").mkdir()
    (adapter / ".hidden").write_text("stays here")
    uploaded = push(adapter, "team/icons", private=True)
    assert hub.files == expected
    assert uploaded.files == {name: len(content) for name, content in expected.items()}
    assert uploaded.url == f"{hub.url}/team/icons/commit/c0ffee"
    assert hub.repositories["team/icons"]["visibility"] == "private"
    assert hub.tokens == {"Bearer hf_secret"}


def test_a_merged_model_arrives_as_it_is(hub: Hub, adapter: Path, tiny_llama: Path, tmp_path: Path) -> None:
    merge(adapter, tmp_path / "merged", base_model=str(tiny_llama))
    push(tmp_path / "merged", "team/merged")
    assert hub.files == contents(tmp_path / "merged")
    assert hub.repositories["team/merged"].get("visibility") != "private"


def test_a_dry_run_sends_nothing_and_needs_no_token(
    hub: Hub, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.push.get_token", lambda: None)
    checked = push(adapter, "team/icons", dry_run=True)
    assert checked.url is None
    assert checked.files.keys() == contents(adapter).keys()
    with pytest.raises(ConfigError, match="HF_TOKEN"):
        push(adapter, "team/icons")
    assert hub.tokens == set()


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "does not know it"), (403, "may write there"), (500, "out of order")]
)
def test_a_refusal_is_one_line(hub: Hub, adapter: Path, status: int, hint: str) -> None:
    hub.refuse = (status, "out of\norder")
    with pytest.raises(PushFailed, match=f"was not uploaded to {hub.url}/team/icons: .*{hint}") as failed:
        push(adapter, "team/icons")
    assert "\n" not in str(failed.value)
    assert "hf_secret" not in str(failed.value)


def test_a_hub_that_is_not_there_is_one_line(
    adapter: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:  # bound but not listening: a connection to it is refused
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(
            "huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}"
        )
        with pytest.raises(PushFailed, match=r"refused\. Check the network"):
            push(adapter, "team/icons")


@pytest.mark.parametrize(
    "name", ["icons", "team/", "team/icons/v1", "team/ic ons", "team/a--b", "-team/icons"]
)
def test_names_that_no_hub_takes(adapter: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no name on a hub"):
        push(adapter, name, dry_run=True)


def test_what_is_not_whole_is_not_sent(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"neither adapter_config\.json nor merged_from\.json"):
        push(tmp_path, "team/icons", dry_run=True)
    (adapter / "optimizer.pt").touch()
    with pytest.raises(AdapterError, match="pickled"):
        push(adapter, "team/icons", dry_run=True)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, "no model card"),
        ("no front matter", "lacks base_model, library_name, pipeline_tag"),
        ("---\nbase_model: [\n---\n", "no model card that can be read"),
        (
            "---\nbase_model: a/b\nlibrary_name: peft\npipeline_tag: text-generation\n---\n![c](curve.svg)",
            r"shows curve\.svg, which is not in the folder",
        ),
    ],
)
def test_the_card_is_checked(adapter: Path, card: str | None, message: str) -> None:
    path = adapter / "README.md"
    path.unlink() if card is None else path.write_text(card)
    with pytest.raises(ConfigError, match=message):
        push(adapter, "team/icons", dry_run=True)

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.settings import Settings


def test_the_defaults_listen_on_loopback_only() -> None:
    assert Settings().host == "127.0.0.1"


def test_unknown_keys_and_impossible_values_are_errors() -> None:
    with pytest.raises(ValidationError, match="max_uploads"):
        Settings.model_validate({"max_uploads": 1})
    with pytest.raises(ValidationError, match="port"):
        Settings(port=70_000)


def test_the_page_needs_one_process() -> None:
    with pytest.raises(ValidationError, match="exactly one ingress replica"):
        Settings(ingress_replicas=2)
    assert Settings(ingress_replicas=2, page=False).ingress_replicas == 2


def test_replicas_get_absolute_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(adapters_dir=Path("adapters")).adapters_dir == tmp_path / "adapters"
    assert Settings().adapters_dir.is_absolute()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
        ("caption.example", "http://caption.example:8000"),
    ],
)
def test_the_page_finds_the_api(host: str, url: str) -> None:
    assert Settings(host=host).api_url == url

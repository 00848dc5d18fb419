from __future__ import annotations

import json
import logging
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import ValidationError

from captioning.adapters import (
    Manifest,
    check_compatible,
    find_adapters,
    install_adapter,
    read_manifest,
    read_weights,
    write_adapter,
)
from captioning.base_models import load_model, resolve, weight_fingerprint
from captioning.errors import AdapterError
from tests.captioning.helpers import make_adapter, make_manifest

SHIPPED = Path(__file__).parents[2] / "adapters"


@pytest.fixture
def folder(icons: Path, tmp_path: Path) -> Path:
    """A copy of the adapter that a test may spoil."""
    return Path(shutil.copytree(icons, tmp_path / "adapters" / "icons"))


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_holds_what_others_expect(folder: Path, llama: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "adapter_config.json", "adapter_model.safetensors", "manifest.json"}
    assert all(path.stat().st_mode & stat.S_IROTH for path in folder.iterdir())
    assert read_manifest(folder) == make_manifest(str(llama), "icons")


def test_plain_peft_loads_it(llama: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = resolve(str(llama))
    config = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    trained = get_peft_model(load_model(spec), config).eval()
    write_adapter(tmp_path / "adapter", trained, make_manifest(str(llama)))
    loaded = PeftModel.from_pretrained(load_model(spec), str(tmp_path / "adapter")).eval()
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(trained(ids).logits, loaded(ids).logits)


@pytest.mark.parametrize(
    ("base_model", "source"),
    [
        ("embedded", "captioning/embedded"),
        ("gemma-2-9b", "google/gemma-2-9b-it"),
        ("organization/model", "organization/model"),
        ("local-folder", "local-folder"),
    ],
)
def test_it_names_its_base_model_as_others_know_it(
    llama: Path, tmp_path: Path, base_model: str, source: str
) -> None:
    model = get_peft_model(load_model(resolve(str(llama))), LoraConfig(target_modules=["q_proj"]))
    manifest = make_manifest(str(llama), base_model=base_model)
    folder = write_adapter(tmp_path / "adapter", model, manifest)
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == source


def test_the_model_card_is_one_that_the_hub_reads(folder: Path) -> None:
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "peft"
    assert card.data.base_model == "tiny-llama"
    assert card.data.pipeline_tag == "text-generation"
    assert "| validation_loss | 0.5 |" in card.text
    assert '"r": 4' in card.text


def test_writing_replaces_the_old_adapter(llama: Path, folder: Path) -> None:
    (folder / "notes.txt").write_text("of the old one")
    before = (folder / "adapter_model.safetensors").read_bytes()
    make_adapter(llama, folder, "icons", seed=9)
    assert (folder / "adapter_model.safetensors").read_bytes() != before
    assert not (folder / "notes.txt").exists()
    assert list(folder.parent.iterdir()) == [folder]


def test_a_failed_write_leaves_the_old_adapter(
    llama: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "adapter_model.safetensors").read_bytes()

    def full_disk(*_: object) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space left"):
        make_adapter(llama, folder, "icons", seed=9)
    assert (folder / "adapter_model.safetensors").read_bytes() == before
    assert list(folder.parent.iterdir()) == [folder]


def test_an_adapter_is_installed_under_its_id(folder: Path, tmp_path: Path) -> None:
    change(folder / "manifest.json", adapter_id="icons-v1.2")
    (folder / "curve.svg").write_text("<svg/>")
    target = install_adapter(folder, tmp_path / "served")
    assert target == tmp_path / "served" / "icons-v1.2"
    assert (target / "curve.svg").read_text() == "<svg/>"
    assert find_adapters(tmp_path / "served") == {"icons-v1.2": target}
    (folder / "README.md").unlink()
    assert install_adapter(folder, tmp_path / "served") == target


@pytest.mark.parametrize("name", ["adapter_model.bin", "optimizer.pt", "anything.pkl"])
def test_pickles_are_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    with pytest.raises(AdapterError, match=f"pickled weights \\({name}\\)"):
        read_manifest(folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "manifest.json"])
def test_missing_files_are_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(AdapterError, match=f"it lacks {name}"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"adapter_id": "../icons"}, "adapter_id: String should match pattern"),
        ({"metrics": {"loss": "NaN"}}, r"metrics\.loss: Input should be a finite number"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"created": None}, "created: Input should be a valid string"),
    ],
)
def test_a_bad_manifest_is_explained(folder: Path, changes: dict[str, Any], reason: str) -> None:
    change(folder / "manifest.json", **changes)
    with pytest.raises(AdapterError, match=reason):
        read_manifest(folder)


def test_a_diverged_run_makes_no_manifest(llama: Path) -> None:
    with pytest.raises(ValidationError, match="finite"):
        make_manifest(str(llama), metrics={"validation_loss": float("nan")})


def test_what_does_not_fit_is_refused(llama: Path) -> None:
    spec = resolve(str(llama))
    fitting = make_manifest(str(llama))
    check_compatible(fitting, spec, fitting.base_fingerprint)
    cases: dict[str, Manifest] = {
        "trained on 'gemma-2-9b'": make_manifest(
            str(llama), base_model="gemma-2-9b", base_fingerprint="sha256:1"
        ),
        "prompt version 0": make_manifest(str(llama), prompt_version="0"),
        "canonicalizer version 0": make_manifest(str(llama), canonicalizer_version="0"),
    }
    for reason, manifest in cases.items():
        with pytest.raises(AdapterError, match=reason):
            check_compatible(manifest, spec, fitting.base_fingerprint)


def test_the_same_weights_under_another_name_fit(llama: Path) -> None:
    manifest = make_manifest(str(llama), base_model="a-copy-elsewhere")
    check_compatible(manifest, resolve(str(llama)), manifest.base_fingerprint)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"peft_type": "LOHA"}, "only 'LORA' can be served"),
        ({"use_dora": True}, "use_dora = True cannot be served as an adapter. Merge it"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save = .* Merge it"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa'"),
        ({"invented_later": "on"}, "invented_later = 'on'"),
        ({"target_modules": ".*", "layers_to_transform": [0]}, "adapter_config.json: .*layers_to_transform"),
    ],
)
def test_kinds_of_adapters_that_are_not_served(folder: Path, changes: dict[str, Any], reason: str) -> None:
    change(folder / "adapter_config.json", **changes)
    with pytest.raises(AdapterError, match=reason):
        read_weights(folder)


def test_settings_that_are_served(folder: Path) -> None:
    change(folder / "adapter_config.json", use_rslora=True, init_lora_weights="gaussian", switched_off=None)
    weights = read_weights(folder)
    assert weights.config.use_rslora
    assert len(weights.tensors) == 8


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_broken_files(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x08\0\0\0\0\0\0\0 broken ")
    with pytest.raises(AdapterError, match="cannot be read"):
        read_weights(folder)


def test_only_whole_adapters_are_found(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    parent = folder.parent
    shutil.copytree(folder, parent / "twin")
    shutil.copytree(folder, parent / ".being-written")
    (parent / "broken").mkdir()
    (parent / "notes.txt").write_text("")
    with caplog.at_level(logging.WARNING):
        assert find_adapters(parent) == {"icons": folder}
    assert "lacks adapter_config.json" in caplog.text
    assert "twin' has the adapter id 'icons'" in caplog.text
    assert find_adapters(parent / "nowhere") == {}


@pytest.mark.parametrize("name", ["alt-text", "literal"])
def test_the_adapters_that_ship_fit_the_base_model_that_ships(name: str) -> None:
    spec = resolve("embedded")
    manifest = read_manifest(SHIPPED / name)
    check_compatible(manifest, spec, weight_fingerprint(spec))
    assert manifest.metrics["validation_loss"] < manifest.metrics["validation_loss_before"]
    assert len(read_weights(SHIPPED / name).tensors) == 48  # of six layers, four projections, A and B

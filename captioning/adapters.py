"""Adapter folders: what is in one, how it is written, read, found and checked.

A folder holds what peft writes (`adapter_config.json`, `adapter_model.safetensors`), our
`manifest.json` and a model card, so that plain peft, vLLM and LoRAX can load it as it is. Pickled
weights are never read. How adapters run is `captioning.lora_bank`'s business.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    ValidationError,
    field_validator,
)

from captioning.atomic import replacing
from captioning.base_models import BaseModelSpec, Quantization
from captioning.errors import AdapterError
from captioning.model_card import adapter_card, public_source
from captioning.prompt import PROMPT_VERSION
from rendering import CANONICALIZER_VERSION

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from torch import Tensor

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
MANIFEST_FILE = "manifest.json"
CARD_FILE = "README.md"
CURVE_FILE = "curve.svg"  # the card shows it, where a run left one

_PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})

# Settings of LoRA that the engine runs, whatever their value; every other must have peft's default.
_SUPPORTED_SETTINGS = frozenset(
    {
        "alpha_pattern",
        "auto_mapping",
        "base_model_name_or_path",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "lora_dropout",
        "peft_version",
        "r",
        "rank_pattern",
        "revision",
        "target_modules",
        "task_type",
        "use_rslora",
    }
)

# What changes more than the layers that it is added to: it cannot run beside other adapters.
_SETTINGS_TO_MERGE = frozenset({"modules_to_save", "use_dora"})

_log = logging.getLogger(__name__)


class Manifest(BaseModel):
    """What an adapter was made from, and how good it was found to be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The API's name for it and its folder's: letters, digits, `.`, `_`, `-`
    adapter_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    base_model: str  # id of its BaseModelSpec
    base_fingerprint: str  # of the base model's weights, `sha256:...`
    prompt_version: str
    canonicalizer_version: str
    recipe: dict[str, Any]  # resolved: defaults included
    corpus_fingerprint: str  # of the training corpus, `sha256:...`
    metrics: dict[str, FiniteFloat]
    library_versions: dict[str, str]
    created: Annotated[str, Field(description="ISO 8601, UTC")]

    @field_validator("created")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        datetime.fromisoformat(value).timestamp()
        return value


@dataclass(frozen=True)
class AdapterWeights:
    """An adapter read into memory, its settings known to be ones that the engine runs."""

    config: LoraConfig
    tensors: dict[str, Tensor]


def library_versions() -> dict[str, str]:
    """Versions of the libraries that an adapter's numbers depend on."""
    return {name: version(name) for name in ("accelerate", "bitsandbytes", "peft", "torch", "transformers")}


def write_adapter(folder: str | Path, peft_model: PeftModel, manifest: Manifest) -> Path:
    """Write the model's active adapter; `folder`, if there is one, is replaced when all is written."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    name = peft_model.active_adapter
    tensors = get_peft_model_state_dict(peft_model, adapter_name=name, save_embedding_layers=False)
    config = peft_model.peft_config[name].to_dict() | {
        "base_model_name_or_path": public_source(manifest.base_model),
        "inference_mode": True,
    }
    with replacing(Path(folder)) as unfinished:
        weights = save({key: tensor.contiguous() for key, tensor in tensors.items()}, {"format": "pt"})
        (unfinished / WEIGHTS_FILE).write_bytes(weights)  # save_file would let nobody else read the file
        _write_json(unfinished / CONFIG_FILE, config)
        _write_json(unfinished / MANIFEST_FILE, manifest.model_dump())
        (unfinished / CARD_FILE).write_text(adapter_card(manifest), encoding="utf-8")
    return Path(folder)


def install_adapter(folder: str | Path, adapters_dir: str | Path) -> Path:
    """Copy an adapter folder to where a service looks for it, as `adapters_dir/<adapter id>`."""
    manifest = read_manifest(folder)
    target = Path(adapters_dir) / manifest.adapter_id
    with replacing(target) as unfinished:
        for name in (CONFIG_FILE, WEIGHTS_FILE, MANIFEST_FILE, CARD_FILE, CURVE_FILE):
            if (source := Path(folder) / name).exists():  # card and curve are nice to have
                shutil.copyfile(source, unfinished / name)
    return target


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of an adapter folder that is complete and holds no pickle.

    Raises:
        AdapterError: with the folder, and what is wrong in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AdapterError(f"'{folder}': there is no such adapter folder")
    if pickles := sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES):
        raise AdapterError(
            f"'{folder}' holds pickled weights ({', '.join(pickles)}), which can run code when they are "
            f"loaded. Convert them to {WEIGHTS_FILE} and remove them."
        )
    needed = (CONFIG_FILE, WEIGHTS_FILE, MANIFEST_FILE)
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise AdapterError(f"'{folder}' is not an adapter folder: it lacks {', '.join(missing)}")
    try:
        return Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise AdapterError(f"{folder / MANIFEST_FILE}: {problems}") from None


def check_compatible(manifest: Manifest, spec: BaseModelSpec, fingerprint: str | None) -> None:
    """Refuse an adapter that was trained on other weights or other prompts than are served here.

    `fingerprint` None: the weights are not on this machine, so the base model's name must do.
    """
    adapter = f"adapter '{manifest.adapter_id}'"
    same = manifest.base_model == spec.id if fingerprint is None else manifest.base_fingerprint == fingerprint
    if not same:
        raise AdapterError(
            f"{adapter} was trained on '{manifest.base_model}' ({manifest.base_fingerprint}), here is base "
            f"model '{spec.id}' ({fingerprint}). Load the base model it was trained on, or retrain."
        )
    versions = {
        "prompt version": (manifest.prompt_version, PROMPT_VERSION),
        "canonicalizer version": (manifest.canonicalizer_version, CANONICALIZER_VERSION),
    }
    for what, (theirs, ours) in versions.items():
        if theirs != ours:
            raise AdapterError(f"{adapter} was trained with {what} {theirs}, this is {ours}. Retrain it.")


def warn_of_quantization(manifest: Manifest, served: Quantization | None) -> None:
    """Log where a LoftQ adapter meets a base model that is rounded otherwise than the one it was trained on.

    It would correct errors that are not there: not wrong enough to refuse it, yet worse than it could be.
    """
    lora, trained = manifest.recipe.get("lora"), manifest.recipe.get("quantization")
    if isinstance(lora, dict) and lora.get("init") == "loftq" and trained != served:
        _log.warning(
            "adapter '%s' began by LoftQ as a correction of %s rounding, but the base model is loaded with "
            "quantization=%s: expect worse captions. Load it with quantization=%s.",
            manifest.adapter_id, trained, served, trained,
        )  # fmt: skip


def find_adapters(folder: str | Path) -> dict[str, Path]:
    """Valid adapter folders directly in `folder`, by adapter id; an invalid one is logged and left out."""
    found: dict[str, Path] = {}
    paths = sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []
    for path in paths:
        if not path.is_dir() or path.name.startswith("."):  # hidden: being written or replaced
            continue
        try:
            adapter_id = read_manifest(path).adapter_id
        except (AdapterError, OSError) as error:
            _log.warning("left out: %s", error)
            continue
        if (first := found.setdefault(adapter_id, path)) != path:
            _log.warning("left out: '%s' has the adapter id '%s' of '%s'", path, adapter_id, first)
    return found


def read_weights(folder: str | Path) -> AdapterWeights:
    """Settings and tensors of an adapter.

    Raises:
        AdapterError: unreadable, or a kind of adapter that the engine does not run.
    """
    from peft import LoraConfig
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    try:
        settings = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, RecursionError, ValueError, SafetensorError) as error:
        raise AdapterError(f"'{folder}' cannot be read: {error}") from error
    defaults = LoraConfig().to_dict()
    _check_settings(folder / CONFIG_FILE, settings, defaults)
    try:
        config = LoraConfig(**{name: settings[name] for name in settings.keys() & defaults.keys()})
    except Exception as error:  # settings that anyone wrote: peft raises whatever it stumbles over
        raise AdapterError(f"{folder / CONFIG_FILE}: {error}") from error
    return AdapterWeights(config, tensors)


def _check_settings(path: Path, settings: dict[str, Any], defaults: dict[str, Any]) -> None:
    kind = settings.get("peft_type") if isinstance(settings, dict) else None
    if kind != "LORA":
        raise AdapterError(f"{path}: peft_type is {kind!r}, only 'LORA' can be served")
    for name, value in settings.items():
        if name in _SETTINGS_TO_MERGE and value:
            raise AdapterError(
                f"{path}: {name} = {value!r} cannot be served as an adapter. Merge it into its base model "
                f"(python -m training merge {path.parent} OUT) and serve OUT as base model."
            )
        is_default = value == defaults[name] if name in defaults else not value
        is_random = name == "init_lora_weights" and value in (False, "gaussian")  # leaves the base as it is
        if not (is_default or is_random or name in _SUPPORTED_SETTINGS):
            raise AdapterError(f"{path}: {name} = {value!r} is not supported. Retrain without it.")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=_sorted_set)
    path.write_text(text + "\n", encoding="utf-8")


def _sorted_set(value: object) -> list[str]:
    if isinstance(value, set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not JSON")

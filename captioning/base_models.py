"""The base models: which there are, and how one is loaded (plain or in 4 or 8 bits), on a CPU or a GPU.

Weights come from safetensors files only; neither pickles nor a repository's own Python code are ever
loaded. Adapters and generation are not known here.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from captioning.errors import ConfigError

if TYPE_CHECKING:  # `--help` and checks of settings do without the seconds that these take
    import torch
    from transformers import BitsAndBytesConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Attention = Literal["sdpa", "eager"]
Quantization = Literal["nf4", "fp4", "int8"]

_EAGER_ONLY = frozenset({"gemma2"})  # sdpa has no soft-capping of attention scores
_MIB = 1024 * 1024


@dataclass(frozen=True)
class BaseModelSpec:
    """A base model, before anything of it is loaded."""

    id: str  # the name that adapters, the API and reports know it by
    source: str  # Hugging Face id, or the absolute path of a local folder
    attn_implementation: Attention = "sdpa"
    max_context_tokens: int | None = None  # prompt and caption together; None: what its config says

    @property
    def is_local(self) -> bool:
        return Path(self.source).is_absolute()


BASE_MODELS = {
    spec.id: spec
    for spec in (
        BaseModelSpec("embedded", str(Path(__file__).parent / "embedded"), max_context_tokens=1024),
        BaseModelSpec("llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct", max_context_tokens=131_072),
        BaseModelSpec("gemma-2-9b", "google/gemma-2-9b-it", "eager", max_context_tokens=8_192),
    )
}


def resolve(name_or_path: str) -> BaseModelSpec:
    """The base model of that name in `BASE_MODELS`, in that local folder, or of that Hugging Face id.

    Nothing is downloaded: a Hugging Face id that does not exist fails when it is loaded.
    """
    folder = Path(name_or_path).resolve()
    for spec in BASE_MODELS.values():
        if name_or_path == spec.id or str(folder) == spec.source:
            return spec
    if folder.is_dir():
        return _local_spec(folder)
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name_or_path):
        return BaseModelSpec(name_or_path, name_or_path)
    near = difflib.get_close_matches(name_or_path, BASE_MODELS, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise ConfigError(
        f"no base model '{name_or_path}'.{hint} It is one of {', '.join(BASE_MODELS)}, "
        "a local folder, or a Hugging Face id such as 'organization/model'."
    )


def load_tokenizer(spec: BaseModelSpec) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    _require_files(spec, "tokenizer_config.json")
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            spec.source, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise _cannot_load(spec, error) from error
    return tokenizer


def load_model(
    spec: BaseModelSpec,
    *,
    dtype: torch.dtype | None = None,
    quantization: Quantization | None = None,
    double_quantization: bool = True,
    device: str | torch.device = "cpu",
) -> PreTrainedModel:
    """The model in evaluation mode. `dtype` None keeps the type that the weights were saved in.

    With a `quantization` the linear layers but the head are held in 4 bits (`nf4`, `fp4`) and compute
    in bfloat16 (in float32 if `dtype` is that), or in 8 bits (`int8`); `dtype` is then that of all
    else. `double_quantization` quantizes the scales of the 4-bit blocks, too: 4.13 bits a weight in
    place of 4.5.

    Raises:
        ConfigError: the folder lacks files, or the hub does not give the model.
    """
    from transformers import AutoModelForCausalLM

    _require_files(spec, "config.json", "*.safetensors")
    options = (
        {"quantization_config": _bitsandbytes(quantization, double_quantization, dtype)}
        if quantization
        else {}
    )
    config = _config(spec)
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            spec.source,
            dtype=dtype or "auto",
            attn_implementation="eager" if config.model_type in _EAGER_ONLY else spec.attn_implementation,
            device_map={"": device},
            use_safetensors=True,
            trust_remote_code=False,
            **options,
        )
    except (OSError, ValueError) as error:
        raise _cannot_load(spec, error) from error
    _keep_weights_unpacked(model)
    model.eval()
    return model


def quantization_of(model: PreTrainedModel) -> Quantization | None:
    """How the linear layers of a loaded model are held; None: as they were saved."""
    settings: Any = getattr(model.config, "quantization_config", None)
    if getattr(settings, "load_in_8bit", False):
        return "int8"
    if getattr(settings, "load_in_4bit", False):
        return cast(Quantization, settings.bnb_4bit_quant_type)
    return None


def auto_device() -> str:
    """The first GPU if there is one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def context_tokens(spec: BaseModelSpec, config: PretrainedConfig | None = None) -> int | None:
    """The most tokens of prompt and caption together, by the spec or by the model's config; None: no limit.

    Raises:
        ConfigError: the config cannot be had.
    """
    if spec.max_context_tokens:
        return spec.max_context_tokens
    return getattr((config or _config(spec)).get_text_config(), "max_position_embeddings", None)


def _config(spec: BaseModelSpec) -> PretrainedConfig:
    from transformers import AutoConfig

    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(spec.source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _cannot_load(spec, error) from error
    return config


def auto_dtype(device: str | torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies in it, else float32."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    features = torch.cpu.get_capabilities()
    native = any(features.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
    return torch.bfloat16 if native else torch.float32


def weight_fingerprint(spec: BaseModelSpec) -> str:
    """Tells whether two copies of a base model hold the same weights, as `sha256:<hex>`.

    Hashed are the name, the size, and the first and last MiB of each safetensors file: reading all of
    a 9B model takes a minute at every start of a service, while the header alone (names and shapes)
    is equal for every fine-tune of a family. Trained weights differ everywhere, so two MiB per file
    tell them apart. It guards against mistakes, not against somebody who forges weights.
    """
    digest = hashlib.sha256()
    for path in weight_files(spec):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_MIB))
            file.seek(max(0, size - _MIB))
            digest.update(file.read())
    return f"sha256:{digest.hexdigest()}"


def weight_files(spec: BaseModelSpec) -> list[Path]:
    """The safetensors files of a base model, downloaded if they are not on this machine."""
    _require_files(spec, "*.safetensors")
    return sorted(_weight_folder(spec).glob("*.safetensors"))


def _bitsandbytes(
    quantization: Quantization, double_quantization: bool, dtype: torch.dtype | None
) -> BitsAndBytesConfig:
    import torch
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        # It warns at every layer and pass that it multiplies in float16.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization,
        bnb_4bit_use_double_quant=double_quantization,
        bnb_4bit_compute_dtype=torch.float32 if dtype == torch.float32 else torch.bfloat16,
    )


def _local_spec(folder: Path) -> BaseModelSpec:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"'{folder}' is no model folder: its config.json cannot be read: {error}") from None
    attention: Attention = "eager" if config.get("model_type") in _EAGER_ONLY else "sdpa"
    return BaseModelSpec(folder.name, str(folder), attention, config.get("max_position_embeddings"))


def _require_files(spec: BaseModelSpec, *patterns: str) -> None:
    if not spec.is_local:
        return
    folder = Path(spec.source)
    if missing := [pattern for pattern in patterns if not any(folder.glob(pattern))]:
        raise ConfigError(
            f"base model '{spec.id}': the folder '{folder}' lacks {', '.join(missing)}. "
            "A model folder is what transformers' save_pretrained writes for model and tokenizer."
        )


def _weight_folder(spec: BaseModelSpec) -> Path:
    if spec.is_local:
        return Path(spec.source)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(spec.source, allow_patterns="*.safetensors"))
    except (OSError, ValueError) as error:
        raise _cannot_load(spec, error) from error


def _cannot_load(spec: BaseModelSpec, error: Exception) -> ConfigError:
    reason = str(error).strip().partition("\n")[0]
    if spec.is_local:
        return ConfigError(f"base model '{spec.id}': '{spec.source}' cannot be loaded: {reason}")
    return ConfigError(
        f"base model '{spec.id}': '{spec.source}' cannot be had from the Hugging Face hub: {reason} "
        "Check the name and the network; for a gated model accept its licence on the hub and set HF_TOKEN; "
        "or download it once and give its folder instead of its name."
    )


def _keep_weights_unpacked(model: PreTrainedModel) -> None:
    """Keep bitsandbytes from repacking 4-bit weights for AVX512 in the first evaluation forward.

    The packed form is in place, and what trains on it or dequantizes it afterwards gets garbage.
    """
    if quantization_of(model) not in ("nf4", "fp4"):
        return  # without waiting for bitsandbytes
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False

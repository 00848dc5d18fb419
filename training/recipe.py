"""The recipe: every choice of one training run in one frozen, strictly checked object.

A recipe file is YAML with differences from the defaults below; `key=value` words on the command line
come last. Whatever cannot work is refused here, before a corpus is read or a GPU is asked for.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from captioning.base_models import Quantization
from captioning.errors import ConfigError

RECIPES = Path(__file__).parent / "recipes"

# Strict validation takes a YAML list for a tuple only where it is told so.
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]
Tracker = Literal["wandb", "tensorboard", "mlflow"]

_REWRITING_INITS = ("corda", "lora_ga", "olora", "pissa")  # of peft; with suffixes


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Scenes(Section):
    """Drawings generated on demand, where the corpus asks for `scenes`."""

    train: Positive = 1200  # samples
    validation: Positive = 200
    style: Literal["alt", "description", "literal"] = "alt"  # terse alt text, a sentence, or each shape
    seed: Annotated[int, Field(ge=0)] = 1  # the embedded base model was trained on those of seed 0


class Corpus(Section):
    train: str = "scenes"  # a .jsonl or .parquet file, or `scenes`
    validation: str = "scenes"
    scenes: Scenes = Scenes()


class Lora(Section):
    r: Positive = 16
    alpha: Positive = 32
    dropout: Share = 0.05
    # Linear layers by name (the others are gate_proj, up_proj, down_proj), or all but the head
    target_modules: Names | Literal["all-linear"] = ("q_proj", "k_proj", "v_proj", "o_proj")
    modules_to_save: Names | None = None  # trained in full, by name: norms, embeddings, the head
    rslora: bool = False  # scale by alpha / sqrt(r), not alpha / r: 8 and 2 at the defaults
    dora: bool = False  # learn each weight row's length apart from its direction; slower
    init: Literal["default", "gaussian", "orthogonal", "loftq"] = "default"  # loftq: mend 4-bit rounding

    @field_validator("init", mode="before")
    @classmethod
    def _keeps_the_base(cls, init: Any) -> Any:
        if str(init).startswith(_REWRITING_INITS):
            raise ValueError(
                f"lora.init={init} rewrites the base model's weights, so the adapter would not fit the base "
                "model that is served. Use lora.init=default, gaussian, orthogonal or loftq."
            )
        return init


class Optimizer(Section):
    name: Literal["paged_adamw_8bit", "adamw"] = "paged_adamw_8bit"
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-4
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: Share = 0.03  # of all steps
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0


class Validation(Section):
    every_steps: Positive = 50
    batch_size: Positive = 8  # per worker
    captions: Annotated[int, Field(ge=0, le=64)] = 4  # shown at each validation, with their references


class EarlyStopping(Section):
    patience_steps: Positive = 100  # optimizer steps, not validations
    min_delta: Annotated[float, Field(ge=0.0)] = 1e-4  # nats per token; a smaller gain does not count


class Checkpoints(Section):
    every_steps: Positive = 100
    keep: Positive = 3  # the last ones; each of them carries the best adapter too


class DeepSpeed(Section):
    zero_stage: Literal[2] = 2
    offload_optimizer: bool = True  # to CPU memory, as 32-bit AdamW whatever optimizer.name says
    offload_parameters: bool = False


class Resources(Section):
    workers: Positive = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: GPUs where the Ray cluster has some
    cpus_per_worker: Annotated[float, Field(gt=0.0)] = 1.0  # torch threads: this, rounded down, at least 1
    max_failures: Annotated[int, Field(ge=0)] = 3  # restarts from the last checkpoint


class Recipe(Section):
    """One training run. Every default is a choice that suits an 8B model on one 48 GB GPU."""

    model: str = "embedded"  # a base model's name, a Hugging Face id, or a folder
    seed: Annotated[int, Field(ge=0)] = 0
    epochs: Positive = 3
    max_steps: Positive | None = None  # optimizer steps; None: `epochs` decides
    batch_size: Positive = 4  # samples per worker and forward pass
    accumulation: Positive = 1  # forward passes per optimizer step
    max_tokens: Positive | None = 2048  # prompt and caption; the model's own limit holds as well
    quantization: Quantization | None = "nf4"  # of the base model's linear layers but the head
    double_quantization: bool = True  # nf4 and fp4: the blocks' scales too, 4.13 bits a weight, not 4.5
    # Of the base model and its arithmetic; adapters are float32. auto: bf16 where the hardware has it
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    activation_checkpointing: bool = True  # less memory, 30 to 44 % slower
    corpus: Corpus = Corpus()
    lora: Lora = Lora()
    optimizer: Optimizer = Optimizer()
    validation: Validation = Validation()
    early_stopping: EarlyStopping | None = EarlyStopping()
    checkpoints: Checkpoints = Checkpoints()
    deepspeed: DeepSpeed | None = None
    resources: Resources = Resources()
    tracking: Annotated[tuple[Tracker, ...], Field(strict=False)] = ()  # besides metrics.jsonl

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if reason := next(_impossible(self), None):
            raise ValueError(reason)
        return self

    @property
    def samples_per_step(self) -> int:
        return self.batch_size * self.accumulation * self.resources.workers

    @property
    def hash(self) -> str:
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _impossible(recipe: Recipe) -> Iterator[str]:
    """Reasons why the combination cannot work, each with the way out."""
    lora, corpus = recipe.lora, recipe.corpus
    if (corpus.train == "scenes") != (corpus.validation == "scenes"):
        yield (
            f"corpus.train={corpus.train} and corpus.validation={corpus.validation}: generated scenes say "
            "nothing about a corpus of files, nor it about them. Give a file for both: python -m training "
            "corpus split makes two of one."
        )
    elif corpus.train == corpus.validation != "scenes":
        yield f"corpus.train and corpus.validation are both {corpus.train}: what is learned cannot validate."
    if lora.init == "loftq" and recipe.quantization not in ("nf4", "fp4"):
        yield (
            f"lora.init=loftq mends the rounding to 4 bits, but quantization={recipe.quantization or 'null'} "
            "leaves nothing to mend. Use quantization=nf4 or lora.init=default."
        )
    if lora.dora and recipe.quantization == "int8":
        yield "lora.dora loses the scales of 8-bit layers in peft. Use quantization=nf4 or lora.dora=false."
    if lora.init == "orthogonal" and lora.r % 2:
        yield f"lora.init=orthogonal halves the rank, but lora.r={lora.r} is odd. Use lora.r={lora.r + 1}."
    targets = () if lora.target_modules == "all-linear" else lora.target_modules
    if twice := set(targets) & set(lora.modules_to_save or ()):
        yield (
            f"lora.target_modules and lora.modules_to_save both name {', '.join(sorted(twice))}. "
            "Name it in one of them."
        )
    if recipe.deepspeed and recipe.deepspeed.offload_parameters:
        yield (
            "deepspeed.offload_parameters needs ZeRO-3: ZeRO-2 does not shard parameters. "
            "Use deepspeed.offload_parameters=false."
        )


def notes(recipe: Recipe) -> list[str]:
    """What to know before a run: how its adapter has to be served, and what a setting really does."""
    lora, said = recipe.lora, []
    if beyond := [f"lora.{name}" for name in ("dora", "modules_to_save") if getattr(lora, name)]:
        said.append(
            f"{' and '.join(beyond)}: services run plain LoRA adapters only. Merge this one after the run "
            "(python -m training merge ADAPTER OUT) and serve OUT as base model."
        )
    if lora.init == "loftq":
        said.append(
            f"lora.init=loftq: the adapter corrects {recipe.quantization} rounding. "
            f"Serve it with quantization={recipe.quantization}; on unrounded weights it is worse."
        )
    if recipe.deepspeed:
        said.append(
            "deepspeed: ZeRO-2 shards no frozen weights, so it saves at most 12 bytes of GPU memory per "
            "trainable weight; deepspeed=null has the same gradients."
        )
    if recipe.deepspeed and recipe.deepspeed.offload_optimizer and recipe.optimizer.name != "adamw":
        said.append(
            f"deepspeed.offload_optimizer: the optimizer is AdamW with 32-bit state in CPU memory, not "
            f"{recipe.optimizer.name}; deepspeed.offload_optimizer=false keeps that."
        )
    return said


def recipe_names() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a shipped name or a YAML file, with `key=value` overrides applied.

    Raises:
        ConfigError: no such recipe, unknown key, wrong type, or a combination that cannot work.
    """
    path = _find(name_or_path)
    settings = _read_mapping(path.read_text(encoding="utf-8"), _shown(path))
    if not overrides:
        return _validated(settings, _shown(path))
    _validated(settings, _shown(path), combinations=False)  # so that a fault is reported where it stands
    for override in overrides:
        settings = _merged(settings, _parse_override(override))
    return _validated(settings, "command line")


def dump_recipe(recipe: Recipe) -> str:
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Sections unfolded: {"lora": {"r": 8}} as {"lora.r": 8}."""
    leaves: dict[str, Any] = {}
    for key, value in settings.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return leaves


def _find(name_or_path: str) -> Path:
    shipped = RECIPES / f"{name_or_path}.yaml"
    if shipped.parent == RECIPES and shipped.is_file():
        return shipped
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise ConfigError(
        f"no recipe '{name_or_path}'.{_did_you_mean(name_or_path, recipe_names())} "
        f"Shipped: {', '.join(recipe_names())}; or give a YAML file."
    )


class _Yaml(yaml.SafeLoader):
    """YAML in which `1e-5` is a number, as YAML 1.2 has it."""


_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _read_yaml(text: str, origin: str) -> Any:
    try:
        return yaml.load(text, _Yaml)  # noqa: S506 (_Yaml is a SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin}: not valid YAML: {error}") from error


def _read_mapping(text: str, origin: str) -> dict[str, Any]:
    settings = _read_yaml(text, origin)
    if settings is None:
        return {}
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise ConfigError(f"{origin}: a recipe is a mapping of keys to values")
    return settings


def _parse_override(override: str) -> dict[str, Any]:
    """`lora.r=8` as {"lora": {"r": 8}}."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"'{override}' is not an override: write key=value, for example lora.r=8")
    *sections, leaf = key.split(".")
    nested = {leaf: _read_yaml(value, "command line")}
    for section in reversed(sections):
        nested = {section: nested}
    return nested


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _validated(settings: Mapping[str, Any], origin: str, *, combinations: bool = True) -> Recipe:
    try:
        return Recipe.model_validate(_merged(_defaults(), settings))
    except ValidationError as error:
        faults = [fault for fault in error.errors() if combinations or fault["type"] != "value_error"]
        if faults:
            raise ConfigError("; ".join(f"{origin}: {_in_words(fault)}" for fault in faults)) from None
    return Recipe()  # only an impossible combination, which an override may still resolve


def _defaults() -> dict[str, Any]:
    """The defaults as a mapping, so that a file that names one key of a section keeps the others."""
    return Recipe().model_dump(mode="json")


def _in_words(fault: Any) -> str:
    key = ".".join(part for part in map(str, fault["loc"]) if part.isidentifier())
    if fault["type"] == "extra_forbidden":
        return f"unknown key '{key}'.{_did_you_mean(key, _known_keys(Recipe))}"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    return f"'{key}': {fault['msg']}, not {fault['input']!r}"


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    """The nearest known word: as a whole, or else by its last part (`learning_rate`)."""
    leaf = word.rpartition(".")[2]
    near = difflib.get_close_matches(word, known, 1) or [
        key for key in known if difflib.SequenceMatcher(None, leaf, key.rpartition(".")[2]).ratio() > 0.8
    ]
    return f" Did you mean '{near[0]}'?" if near else ""


def _known_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        for kind in _sections_in(field.annotation):
            keys += _known_keys(kind, f"{prefix}{name}.")
    return keys


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    for kind in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)

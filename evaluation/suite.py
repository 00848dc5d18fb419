"""A suite: which captioners meet which split, and which metrics judge them. One YAML file each.

corpus: embedded/test.jsonl          # beside the file; another one with --corpus
captioners:
  base: {kind: engine, model: embedded}
  adapter: {kind: engine, model: embedded, adapter: given}
  constant: {kind: constant, caption: a simple icon}
  nearest: {kind: nearest, corpus: train.jsonl}   # another one with --training-corpus
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from captioning.base_models import Quantization
from captioning.errors import ConfigError
from evaluation.scoring import METRICS, Metric

SUITES = Path(__file__).parent / "suites"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]  # also of a folder
Text = Annotated[str, StringConstraints(min_length=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BesideSpec(_Settings):
    """A captioner that Ray's actors may write, beside this process and each with a model of its own.

    Who writes changes no caption: these settings are in no run's setup, and may change when it goes on.
    """

    actors: Annotated[int | None, Field(ge=1, le=256, exclude=True)] = None  # None: this process, without Ray
    cpus_each: Annotated[float, Field(ge=0, exclude=True)] = 1.0
    gpus_each: Annotated[float, Field(ge=0, exclude=True)] = 0.0  # a fraction, or whole ones

    @model_validator(mode="after")
    def _actors_fit(self) -> Self:
        if self.actors is None and self.model_fields_set & {"cpus_each", "gpus_each"}:
            raise ValueError("'cpus_each' and 'gpus_each' are for actors: write 'actors: 1' as well")
        if self.gpus_each > 1 and self.gpus_each % 1:
            raise ValueError(f"an actor takes a fraction of one GPU, or whole ones: not {self.gpus_each:g}")
        return self


class EngineSpec(BesideSpec):
    """A base model of ours, or the adapter that the command line gives."""

    kind: Literal["engine"]
    model: Text = "embedded"  # a base model's name, a Hugging Face id, or a folder
    adapter: Literal["none", "given"] = "none"  # given: what --adapter says
    quantization: Quantization | None = None  # None: the weights as they are
    url: Text | None = (
        None  # of a server with OpenAI's completions API that runs the model; None: it runs here
    )
    loads_adapters: bool = False  # whether that server may be told to load the adapter
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    revise: bool = False  # whether what `faithfulness` finds false is written anew, as the service does

    @model_validator(mode="after")
    def _revises_itself(self) -> Self:
        if self.revise and self.url:
            raise ValueError("a model in a server does not revise: leave 'url' out, or 'revise'")
        return self


class ConstantSpec(_Settings):
    """The floor of one caption for all: the one that is given, or the most typical of a corpus."""

    kind: Literal["constant"]
    caption: Text | None = None
    corpus: Text | None = None  # a training corpus, never the split; relative to the suite's folder

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.caption is None) == (self.corpus is None):
            raise ValueError("a constant captioner takes either 'caption' or 'corpus'")
        return self


class NearestSpec(_Settings):
    """The floor of recall: the caption of the most alike drawing in a training corpus."""

    kind: Literal["nearest"]
    corpus: Text  # a training corpus, never the split; relative to the suite's folder


class ZeroShotSpec(BesideSpec):
    """A base model as it is, told in plain words what to do with the drawing's code."""

    kind: Literal["zero-shot"]
    model: Text = "embedded"  # a base model's name, a Hugging Face id, or a folder
    quantization: Quantization | None = None  # None: the weights as they are
    max_new_tokens: Annotated[int, Field(ge=1)] = 64


class ServerSpec(_Settings):
    """A model behind an OpenAI-compatible chat API."""

    kind: Literal["server"]
    url: Text  # of the API, such as http://localhost:8000/v1
    model: Text  # as the server calls it
    sees: Literal["picture", "code"] = "picture"
    key_variable: Text | None = None  # environment variable with the API key; the key itself is never stored
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    parallel: Annotated[int, Field(ge=1, le=256)] = 4  # requests at a time
    timeout_s: Annotated[float, Field(gt=0)] = 120.0  # for one answer


class TitleSpec(_Settings):
    """The floor of the drawing's own title."""

    kind: Literal["title"]


class ShuffledSpec(_Settings):
    """The floor of other drawings' references."""

    kind: Literal["shuffled"]


class PixelsSpec(BesideSpec):
    """A published captioner that looks at the rendered drawing."""

    kind: Literal["blip", "vit-gpt2"]
    source: Text  # a Hugging Face id or a folder


class CogvlmSpec(BesideSpec):
    """CogVLM by the Python code that is published with its weights."""

    kind: Literal["cogvlm"]
    source: Text  # a Hugging Face id or a folder
    revision: Annotated[str, StringConstraints(pattern="^[0-9a-f]{40}$")] | None = None  # the hub's commit
    tokenizer: Text = "lmsys/vicuna-7b-v1.5"  # a Hugging Face id or a folder; no code of it runs
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    packages: Annotated[
        tuple[Text, ...], Field(strict=False)
    ] = ()  # of actors, over those of this environment

    @model_validator(mode="after")
    def _code_is_pinned(self) -> Self:
        if self.revision is None and not Path(self.source).is_dir():
            raise ValueError(
                f"'{self.source}' is no folder here, and code of the hub runs only as it was reviewed: "
                "write its full commit as 'revision', 40 hexadecimal digits"
            )
        if self.packages and self.actors is None:
            raise ValueError("'packages' are installed for actors: write 'actors: 1' as well")
        return self


class UnavailableSpec(_Settings):
    """A captioner that belongs into the table but cannot run yet."""

    kind: Literal["unavailable"]
    reason: Text


CaptionerSpec = (
    EngineSpec
    | ZeroShotSpec
    | ServerSpec
    | ConstantSpec
    | NearestSpec
    | ShuffledSpec
    | TitleSpec
    | PixelsSpec
    | CogvlmSpec
    | UnavailableSpec
)


class Suite(_Settings):
    corpus: Text  # relative to the suite's folder
    captioners: Annotated[
        dict[Name, Annotated[CaptionerSpec, Field(discriminator="kind")]], Field(min_length=1)
    ]
    metrics: Annotated[tuple[Metric, ...], Field(strict=False, min_length=1)] = METRICS
    clip: Text | None = None  # weights: `embedded` for ours, or a hub id or folder in open_clip's format


def with_training_corpus(suite: Suite, corpus: Path) -> Suite:
    """The suite with every floor that learns from a corpus learning from this one."""
    return suite.model_copy(update={"captioners": _with_corpora(suite, lambda _: str(corpus.resolve()))})


def checked_quantization(name: str | None, model: str | None) -> Quantization | None:
    """
    Raises:
        ConfigError: there is no such quantization, or no model to apply it to.
    """
    known: dict[str, Quantization] = {known: known for known in get_args(Quantization)}
    if name is None or (model and name in known):
        return known.get(name or "")
    if not model:
        raise ConfigError("--quantization is of the model that --model names")
    raise ConfigError(f"there is no quantization '{name}'. Known: {', '.join(known)}")


def with_model(suite: Suite, model: str, quantization: Quantization | None) -> Suite:
    """The suite with another base model for all that our engine runs."""
    changes = {"model": model, "quantization": quantization}
    captioners = {
        name: spec.model_copy(update=changes) if isinstance(spec, EngineSpec | ZeroShotSpec) else spec
        for name, spec in suite.captioners.items()
    }
    return suite.model_copy(update={"captioners": captioners})


def load_suite(name_or_path: str) -> tuple[str, Suite]:
    """A shipped suite or a YAML file: its name, and the suite with absolute paths.

    Raises:
        ConfigError: no such suite, or a setting that is unknown or wrong.
    """
    path = _suite_path(name_or_path)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        suite = Suite.model_validate(settings)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None
    except ValidationError as error:
        raise ConfigError(f"{path}: {'; '.join(_problems(error))}") from None
    return path.stem, _with_absolute_paths(suite, path.parent)


def _suite_path(name_or_path: str) -> Path:
    shipped = {path.stem: path for path in SUITES.glob("*.yaml")}
    if name_or_path in shipped:
        return shipped[name_or_path]
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    raise ConfigError(
        f"no suite '{name_or_path}'.{_suggestion(name_or_path, shipped)} "
        f"It is one of {', '.join(sorted(shipped))}, or a YAML file."
    )


def _with_absolute_paths(suite: Suite, folder: Path) -> Suite:
    def absolute(path: str) -> str:
        return str((folder / path).resolve())

    update = {"corpus": absolute(suite.corpus), "captioners": _with_corpora(suite, absolute)}
    return suite.model_copy(update=update)


def _with_corpora(suite: Suite, change: Callable[[str], str]) -> dict[str, CaptionerSpec]:
    """The captioners, with another path for each training corpus."""
    return {
        name: spec.model_copy(update={"corpus": change(spec.corpus)})
        if isinstance(spec, ConstantSpec | NearestSpec) and spec.corpus
        else spec
        for name, spec in suite.captioners.items()
    }


def _problems(error: ValidationError) -> Iterator[str]:
    known = {field for spec in (Suite, *get_args(CaptionerSpec)) for field in spec.model_fields}
    for problem in error.errors(include_url=False):
        where = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            yield f"unknown key '{where}'.{_suggestion(str(problem['loc'][-1]), known)}"
        else:
            yield f"{where}: {problem['msg']}" if where else problem["msg"]


def _suggestion(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""

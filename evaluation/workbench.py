"""Builds captioners from their settings; what they share is made once, when it is first needed."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from captioning.corpus import Sample, read_corpus
from captioning.errors import EngineUnavailable
from evaluation.captioners import Captioner
from evaluation.captioners.floors import ConstantCaptioner, ShuffledCaptioner, TitleCaptioner, typical_caption
from evaluation.errors import Unavailable
from evaluation.scoring import ClipMeasure
from evaluation.suite import (
    BesideSpec,
    CaptionerSpec,
    CogvlmSpec,
    ConstantSpec,
    EngineSpec,
    NearestSpec,
    PixelsSpec,
    ServerSpec,
    ShuffledSpec,
    TitleSpec,
    ZeroShotSpec,
)
from rendering import Rasterizer

if TYPE_CHECKING:
    from captioning.caption_engine import CaptionEngine
    from evaluation.captioners.pixels import Describe


class Workbench:
    """For one split and, if one is given, one adapter. Use it as a context manager.

    At `ends_at` (of time.monotonic()) captioners need not write any more.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        adapter: Path | None = None,
        ends_at: float = math.inf,
        trust_remote_code: bool = False,
    ) -> None:
        self._samples, self._adapter, self._ends_at = samples, adapter, ends_at
        self._trusts_remote_code = trust_remote_code
        self._engines: dict[EngineSpec, CaptionEngine] = {}
        self._open = ExitStack()

    def captioner(self, spec: CaptionerSpec) -> Captioner:
        """The captioner of those settings, ready to write.

        Raises:
            Unavailable: it cannot run here.
            ConfigError: its base model cannot be loaded.
            AdapterError: the adapter does not fit.
        """
        if isinstance(spec, CogvlmSpec) and not self._trusts_remote_code:
            raise Unavailable(
                "it runs Python code that is published with its weights, with all your rights. "
                "--trust-remote-code allows it"
            )
        if isinstance(spec, BesideSpec) and spec.actors:
            return self._actors(spec)
        match spec:
            case EngineSpec():
                return self._engine_captioner(spec)
            case ConstantSpec():
                return ConstantCaptioner(_constant(spec))
            case NearestSpec():
                return self._nearest(Path(spec.corpus))
            case ZeroShotSpec():
                from evaluation.captioners.zero_shot import ZeroShotCaptioner

                engine = EngineSpec(kind="engine", model=spec.model, quantization=spec.quantization)
                return ZeroShotCaptioner(self._engine(engine), max_new_tokens=spec.max_new_tokens)
            case ServerSpec():
                return self._server_captioner(spec)
            case TitleSpec():
                return TitleCaptioner()
            case ShuffledSpec():
                return ShuffledCaptioner(self._samples)
            case PixelsSpec() | CogvlmSpec():
                from evaluation.captioners.pixels import PixelCaptioner

                return PixelCaptioner(_load_describe(spec), self._rasterizer)
            case _:
                raise Unavailable(spec.reason)

    def clip(self, source: str | None) -> ClipMeasure | Unavailable:
        """CLIP Score with the weights of that folder or hub id or `embedded`, or why it cannot be had."""
        if source is None:
            return Unavailable(
                "CLIP Score needs weights: give --clip embedded, a folder in open_clip's format, or a hub id"
            )
        from captioning.base_models import auto_device
        from evaluation.metrics.clip import ClipModel, ClipScorer

        try:
            model = ClipModel.load(source, device=auto_device())
        except Unavailable as error:
            return error
        return ClipScorer(model, self._samples, self._rasterizer).measure

    def _engine_captioner(self, spec: EngineSpec) -> Captioner:
        from evaluation.captioners.engine import EngineCaptioner

        make = partial(EngineCaptioner, max_new_tokens=spec.max_new_tokens, is_revised=spec.revise)
        if spec.adapter == "none":
            return make(self._engine(spec))
        if self._adapter is None:
            raise Unavailable("no adapter was given. Give one with --adapter FOLDER")
        engine = self._engine(spec)
        adapter_id = engine.load_adapter(self._adapter).adapter_id
        return make(engine, adapter=adapter_id)

    def _engine(self, spec: EngineSpec) -> CaptionEngine:
        own = {"adapter": "none", "max_new_tokens": 1, "revise": False}
        key = spec.model_copy(update=own)  # one engine serves them all
        if key not in self._engines:
            self._engines[key] = _load_engine(spec)
        return self._engines[key]

    def _nearest(self, corpus: Path) -> Captioner:
        if not corpus.is_file():
            raise Unavailable(
                f"there is no training corpus {corpus}. Make it with `python -m training corpus build "
                f"--out {corpus.parent}`, or name another one with --training-corpus"
            )
        from evaluation.captioners.nearest import NearestCaptioner

        return NearestCaptioner(read_corpus(corpus), self._samples)

    def _server_captioner(self, spec: ServerSpec) -> Captioner:
        from evaluation.captioners.server import ServerCaptioner, read_code, see_picture

        key = os.environ.get(spec.key_variable) if spec.key_variable else None
        if spec.key_variable and not key:
            raise Unavailable(
                f"the environment variable {spec.key_variable}, which holds its key, is not set"
            )
        return ServerCaptioner(
            spec.url,
            spec.model,
            see_picture(self._rasterizer) if spec.sees == "picture" else read_code,
            key=key,
            max_new_tokens=spec.max_new_tokens,
            parallel=spec.parallel,
            timeout_s=spec.timeout_s,
        )

    def _actors(self, spec: EngineSpec | ZeroShotSpec | PixelsSpec | CogvlmSpec) -> Captioner:
        from captioning.running_ray import running_ray
        from evaluation.actors import ActorCaptioner

        self._open.enter_context(running_ray())
        adapter = self._adapter.resolve() if self._adapter else None
        return ActorCaptioner(
            partial(_alone, spec.model_copy(update={"actors": None}), adapter),
            actors=spec.actors or 1,
            cpus=spec.cpus_each,
            gpus=spec.gpus_each,
            packages=spec.packages if isinstance(spec, CogvlmSpec) else (),
            ends_at=self._ends_at,
        )

    @cached_property
    def _rasterizer(self) -> Rasterizer:
        return self._open.enter_context(Rasterizer())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def _alone(spec: CaptionerSpec, adapter: Path | None) -> Captioner:
    """The captioner, of a workbench that lasts as long as the process; what it may run has been asked."""
    return Workbench((), adapter=adapter, trust_remote_code=True).captioner(spec)


def _load_describe(spec: PixelsSpec | CogvlmSpec) -> Describe:
    from captioning.base_models import auto_device

    device = auto_device()
    if isinstance(spec, CogvlmSpec):
        from evaluation.captioners.cogvlm import load_cogvlm

        return load_cogvlm(
            spec.source,
            revision=spec.revision,
            tokenizer=spec.tokenizer,
            max_new_tokens=spec.max_new_tokens,
            device=device,
        )
    from evaluation.captioners.pixels import load_blip, load_vit_gpt2

    load = {"blip": load_blip, "vit-gpt2": load_vit_gpt2}[spec.kind]
    return load(spec.source, device=device)


def _load_engine(spec: EngineSpec) -> CaptionEngine:
    if spec.url is None:
        from captioning.engine import Engine

        return Engine.load(spec.model, quantization=spec.quantization)
    from captioning.openai_engine import OpenAIEngine, Server

    try:
        return OpenAIEngine.connect(spec.model, Server(spec.url, loads_adapters=spec.loads_adapters))
    except EngineUnavailable as error:
        raise Unavailable(str(error)) from error


def _constant(spec: ConstantSpec) -> str:
    if spec.corpus is None:
        return spec.caption or ""
    return typical_caption([text for sample in read_corpus(spec.corpus) for text in sample.references])

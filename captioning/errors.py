"""Errors of captioning: what is wrong with a setting, a corpus, an adapter or a prompt."""

from __future__ import annotations

from rendering.errors import SvgCaptionError


class ConfigError(SvgCaptionError, ValueError):
    """A setting, recipe or model name that cannot work."""

    code = "config"


class CorpusError(SvgCaptionError, ValueError):
    """A corpus line that cannot be read: the message names file, line and reason."""

    code = "corpus"


class AdapterError(SvgCaptionError, ValueError):
    """An adapter folder that is broken, or does not fit the base model that is served."""

    code = "adapter"


class ModelNotFound(SvgCaptionError, LookupError):
    """No adapter or base model of that name is served here."""

    code = "model_not_found"


class PromptTooLong(SvgCaptionError, ValueError):
    """The drawing's canonical text does not fit the model's context together with a caption."""

    code = "prompt_too_long"


class OutputError(SvgCaptionError, ValueError):
    """A file of results that cannot be gone on with."""

    code = "output"


class EngineClosed(SvgCaptionError, RuntimeError):
    """The engine was closed, or broke down for good, before the request was answered."""

    code = "engine_closed"


class WorkersFailed(SvgCaptionError, RuntimeError):
    """A run on several workers cannot go on."""

    code = "workers"


class EngineUnavailable(SvgCaptionError, ConnectionError):
    """The server that runs the model does not answer as it should; it may do so later."""

    code = "engine_unavailable"


class ServerRefused(SvgCaptionError, ValueError):
    """The server that runs the model does not take the request."""

    code = "server_refused"


class CacheLost(SvgCaptionError, MemoryError):
    """There was no memory for a larger cache, and what was in the smaller one is gone."""

    code = "cache_lost"


class AdapterMemoryFull(AdapterError):
    """The memory for adapters is full of adapters in use; there may be room in a moment."""

    code = "adapter_memory_full"


class GenerationFailed(SvgCaptionError, RuntimeError):
    """The model broke down over a request: no fault of the drawing's that we know of."""

    code = "generation_failed"


class NotANumber(SvgCaptionError, ArithmeticError):
    """The model's output for a request is not finite: nothing can be chosen from it."""

    code = "not_a_number"

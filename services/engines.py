"""Which engine the settings ask for: one that runs the model, or one that has a server run it."""

from __future__ import annotations

from captioning.caption_engine import CaptionEngine
from services.settings import Settings


def make_engine(settings: Settings) -> CaptionEngine:
    """The engine of one replica, ready to write.

    Raises:
        ConfigError: the base model cannot be loaded, or the server does not have it.
        EngineUnavailable: the server does not answer.
    """
    most_texts = max(settings.max_batch_size, settings.max_captions)
    if settings.engine_url:
        from captioning.openai_engine import OpenAIEngine, Server

        server = Server(
            settings.engine_url,
            api_key=settings.engine_api_key.get_secret_value() if settings.engine_api_key else None,
            model=settings.engine_model,
            loads_adapters=settings.engine_loads_adapters,
            adapters_dir=settings.engine_adapters_dir,
            own_adapters_dir=settings.adapters_dir,
            prompt_as=settings.engine_prompt_as,
            timeout_s=settings.deadline_s,
            max_requests=most_texts,
        )
        return OpenAIEngine.connect(settings.base_model, server)
    from captioning.engine import Engine

    return Engine.load(
        settings.base_model,
        dtype=settings.dtype,
        quantization=settings.quantization,
        device=settings.device,
        torch_threads=settings.torch_threads,
        max_batch_size=most_texts,
        adapter_bytes=settings.adapter_bytes,
    )

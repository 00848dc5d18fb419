"""Loading and unloading adapters over HTTP, with vLLM's names: for whoever runs the service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field, StringConstraints

from captioning.errors import AdapterError
from rendering import SvgCaptionError
from services import errors
from services.adapter_sources import AdapterSources
from services.answers import json_body, responses
from services.catalog import Catalog
from services.errors import ApiError
from services.settings import Settings
from services.uploads import read_json

log = logging.getLogger(__name__)

LOAD_PATH = "/v1/load_lora_adapter"
UNLOAD_PATH = "/v1/unload_lora_adapter"
ADMIN_PATHS = frozenset({LOAD_PATH, UNLOAD_PATH})
"""The routes that change what is served; where there are keys, they ask for an administrator's."""

_SAID: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {}}, "description": "Done, in vLLM's words."}
}

AdapterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class AdapterEngine(Protocol):
    """All engine replicas, see `services.engine_host.EngineHost`."""

    async def load(self, name: str, folder: Path, /) -> SvgCaptionError | None: ...

    async def unload(self, name: str, /) -> SvgCaptionError | None: ...


class LoadAdapter(BaseModel):
    """vLLM's body; what else it may hold is ignored."""

    lora_name: AdapterName = Field(description="What requests will call it.")
    lora_path: str = Field(
        pattern=r"^[^\x00-\x1f]{1,1000}$",
        description="An adapter folder below the service's, or an address that its settings allow.",
    )
    load_inplace: bool = Field(False, description="Take the place of an adapter of that name.")


class UnloadAdapter(BaseModel):
    """vLLM's body; what else it may hold is ignored."""

    lora_name: AdapterName


def add_routes(api: FastAPI, settings: Settings, catalog: Catalog, engine: AdapterEngine) -> None:
    sources = AdapterSources(settings.adapters_dir, settings.adapter_sources)
    one_at_a_time = asyncio.Lock()

    @api.post(
        LOAD_PATH,
        summary="Load an adapter",
        tags=["administration"],
        response_model=None,
        responses=_SAID | responses(None, 400, 403, 404, 409, 413, 415, 422, 503, 504),
        openapi_extra=json_body(LoadAdapter),
    )
    async def load_lora_adapter(request: Request) -> PlainTextResponse:
        """On all engine replicas, at once; it is served until it is unloaded, after a restart too."""
        _check_allowed(settings)
        body = await read_json(request, LoadAdapter)
        async with _deadline(request, settings.adapter_load_s), one_at_a_time:
            await asyncio.to_thread(_check_new, catalog, body)
            served = (await asyncio.to_thread(catalog.folders)).get(body.lora_name)
            try:
                folder = await asyncio.to_thread(_compatible, catalog, sources, body)
                if problem := await engine.load(body.lora_name, folder):
                    raise _failed(problem)
                await asyncio.to_thread(_registered, catalog.register.load, body.lora_name, folder)
                served = folder
            finally:
                await asyncio.to_thread(sources.forget, body.lora_name, but=served)
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    @api.post(
        UNLOAD_PATH,
        summary="Unload an adapter",
        tags=["administration"],
        response_model=None,
        responses=_SAID | responses(None, 400, 403, 404, 409, 413, 415, 422, 503, 504),
        openapi_extra=json_body(UnloadAdapter),
    )
    async def unload_lora_adapter(request: Request) -> PlainTextResponse:
        """What is being written goes on with it. Its folder stays where it is, and is not served any more."""
        _check_allowed(settings)
        body = await read_json(request, UnloadAdapter)
        async with one_at_a_time:
            if body.lora_name not in await asyncio.to_thread(catalog.folders):
                raise ApiError(
                    404, "model_not_found", f"No adapter '{body.lora_name}' is served.", param="lora_name"
                )
            await asyncio.to_thread(_registered, catalog.register.unload, body.lora_name)
            if problem := await engine.unload(body.lora_name):
                log.warning("adapter %s is not served any more, but: %s", body.lora_name, problem)
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")


@asynccontextmanager
async def _deadline(request: Request, seconds: float) -> AsyncGenerator[None]:
    """In place of the one for captions: weights come over a network."""
    request.state.deadline.reschedule(None)
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise errors.late(seconds) from None


def _check_allowed(settings: Settings) -> None:
    if not (settings.runtime_adapters or settings.keys_file):
        raise ApiError(
            403,
            "forbidden",
            "Loading and unloading adapters over HTTP is off. A file of API keys turns it on, for its "
            "admin keys; without keys the setting runtime_adapters does, for everyone.",
        )


def _check_new(catalog: Catalog, body: LoadAdapter) -> None:
    taken = {catalog.spec.id, *(() if body.load_inplace else catalog.folders())}
    if body.lora_name in taken:
        raise ApiError(
            400,
            "invalid_request",
            f"The LoRA adapter '{body.lora_name}' has already been loaded. Unload it, or set load_inplace.",
            param="lora_name",
        )


def _compatible(catalog: Catalog, sources: AdapterSources, body: LoadAdapter) -> Path:
    try:
        folder = sources.folder(body.lora_path, body.lora_name)
        catalog.manifest(folder)
    except AdapterError as error:
        raise _failed(error) from None
    except OSError as error:
        raise _failed(AdapterError(f"'{body.lora_path}' cannot be read: {error.strerror}")) from None
    return folder


def _failed(problem: SvgCaptionError) -> ApiError:
    error = errors.from_domain(problem)
    return ApiError(error.status_code, error.kind, error.detail, param="lora_path")


def _registered(change: Callable[..., None], *arguments: object) -> None:
    try:
        change(*arguments)
    except OSError as error:
        message = f"The adapters folder cannot be written: {error.strerror}. Nothing has changed."
        raise ApiError(409, "read_only", message) from None

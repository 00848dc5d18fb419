# No `from __future__ import annotations` here: Ray Serve reads the annotation of `build_app`'s argument.
"""The Ray Serve application: an ingress that reads and validates, and an engine that scales apart from it.

    serve run services.app:build_app base_model=embedded

The two speak through a deployment handle: token ids go in, text or an error comes out. What they need
is imported in the replicas: a driver that only deploys stays light.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve import Application
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from rendering.errors import SvgCaptionError
from services import errors
from services.settings import Settings

if TYPE_CHECKING:
    from captioning.engine import GenerationRequest
    from services.catalog import Catalog
    from services.engine_host import News, Outcome

APP_NAME = "svg-captions"
_READY_TIMEOUT_S = 2.0
_MANY = 10_000  # Serve's own queues never fill first: the ingress refuses earlier, in our words


class EngineReplica:
    """One copy of the base model, with the adapters that were asked for."""

    def __init__(self, settings: Settings) -> None:
        from captioning.engine import Engine
        from services.engine_host import EngineHost

        engine = Engine.load(
            settings.base_model,
            dtype=settings.dtype,
            quantization=settings.quantization,
            device=settings.device,
            torch_threads=settings.torch_threads,
            max_batch_size=max(settings.max_batch_size, settings.max_captions),
            adapter_bytes=settings.adapter_bytes,
        )
        self._host = EngineHost(engine, _catalog(settings))

    async def generate(self, requests: Sequence["GenerationRequest"]) -> list["Outcome"]:
        return await self._host.generate(requests)

    async def stream(self, requests: Sequence["GenerationRequest"]) -> AsyncGenerator["News", None]:
        async with aclosing(self._host.stream(requests)) as stream:
            async for news in stream:
                yield news

    async def load(self, name: str, folder: Path) -> SvgCaptionError | None:
        return await self._host.load(name, folder)

    async def unload(self, name: str) -> None:
        await self._host.unload(name)

    async def ready(self) -> bool:
        return True


_GONE = (RayActorError, BackPressureError, DeploymentUnavailableError)


class RemoteEngine:
    """The engine deployment as the API sees it; what Ray raises becomes a 503 that says to try again."""

    def __init__(self, handle: DeploymentHandle[EngineReplica]) -> None:
        self._handle = handle
        self._streaming = handle.options(stream=True)

    async def generate(self, requests: Sequence["GenerationRequest"]) -> list["Outcome"]:
        reply: Any = self._handle.generate.remote(list(requests))
        try:
            outcomes: list[Outcome] = await reply
        except _GONE as error:
            raise _restarting() from error
        except asyncio.CancelledError:
            reply.cancel()
            raise
        return outcomes

    async def stream(self, requests: Sequence["GenerationRequest"]) -> AsyncGenerator["News", None]:
        replies: Any = self._streaming.stream.remote(list(requests))
        try:
            async for news in replies:
                yield news
        except _GONE as error:
            raise _restarting() from error
        finally:
            replies.cancel()

    async def load(self, name: str, folder: Path) -> SvgCaptionError | None:
        """On all replicas; the first problem that one of them has."""
        return next((problem for problem in await self._all("load", name, folder) if problem), None)

    async def unload(self, name: str) -> None:
        await self._all("unload", name)

    async def _all(self, method: str, *arguments: object) -> list[Any]:
        try:
            answers: list[Any] = await self._handle.broadcast(method, *arguments).results_async()
        except _GONE as error:
            raise _restarting() from error
        if not answers:
            raise _restarting()
        return answers

    async def ready(self) -> bool:
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                return bool(await self._handle.ready.remote())
        except (TimeoutError, RayTaskError, *_GONE):
            return False


class Ingress:
    """The HTTP side: everything but the model."""

    def __init__(self, settings: Settings, engine: DeploymentHandle[EngineReplica]) -> None:
        self._settings = settings
        self._engine = RemoteEngine(engine)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        from captioning.base_models import load_tokenizer
        from rendering import Rasterizer
        from services.api import build_api
        from services.captions import Captioner
        from services.front import build_front

        settings, catalog = self._settings, _catalog(self._settings)
        rasterizer = Rasterizer(workers=settings.render_workers, timeout_s=settings.render_timeout_s)
        captioner = Captioner(
            catalog, load_tokenizer(catalog.spec), self._engine, keep_words=settings.keep_words
        )
        return build_front(settings, build_api(settings, captioner, rasterizer, self._engine))


def build_app(args: Settings) -> Application:
    """The whole service. A config file's `args` become the settings, checked before anything starts."""
    engine = serve.deployment(
        name="Engine",
        num_replicas=args.engine_replicas,
        max_ongoing_requests=_MANY,
        max_constructor_retry_count=2,
        graceful_shutdown_timeout_s=10,
        ray_actor_options={"num_cpus": args.engine_cpus, "num_gpus": args.engine_gpus},
    )(EngineReplica)
    ingress = serve.deployment(
        name="Ingress",
        num_replicas=args.ingress_replicas,
        max_ongoing_requests=_MANY,
        max_constructor_retry_count=2,
        graceful_shutdown_timeout_s=5,  # an open page holds a connection for as long as it is open
        ray_actor_options={"num_cpus": args.ingress_cpus},
    )(serve.ingress()(Ingress))
    return ingress.bind(args, engine.bind(args))


def _restarting() -> errors.ApiError:
    return errors.overloaded("The engine is restarting. Try again in a moment.", "engine_unavailable")


def _catalog(settings: Settings) -> "Catalog":
    from captioning.base_models import resolve, weight_fingerprint
    from services.catalog import Catalog

    spec = resolve(settings.base_model)
    return Catalog(spec, weight_fingerprint(spec), settings.adapters_dir, settings.default_model)

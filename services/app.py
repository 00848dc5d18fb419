# No `from __future__ import annotations` here: Ray Serve reads the annotation of `build_app`'s argument.
"""The Ray Serve application: an ingress that reads and validates, and an engine that scales apart from it.

    serve run services.app:build_app base_model=embedded

The two speak through a deployment handle: token ids go in, text or an error comes out. What they need
is imported in the replicas: a driver that only deploys stays light.
"""

import asyncio
import logging
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

from captioning.errors import EngineClosed
from rendering.errors import SvgCaptionError
from services import errors
from services.logs import REPLICA_LOGGING, join_ray_serve
from services.settings import Settings

if TYPE_CHECKING:
    from captioning.generation import GenerationRequest
    from services.catalog import Catalog
    from services.engine_host import News, Outcome
    from services.front import Front

log = logging.getLogger(__name__)

APP_NAME = "svg-captions"
INGRESS = "Ingress"
_READY_TIMEOUT_S = 2.0
_GRACE_S = 5.0  # beyond the deadline of a request, for a replica that ends
_MANY = 10_000  # Serve's own queues never fill first: the ingress refuses earlier, in our words


class EngineReplica:
    """One copy of the base model, with the adapters that were asked for."""

    def __init__(self, settings: Settings) -> None:
        from services.engine_host import EngineHost
        from services.engines import make_engine
        from services.metrics import EngineMetrics

        join_ray_serve()
        engine = self._engine = make_engine(settings)
        metrics = EngineMetrics()
        metrics.keep_exporting(lambda: engine.load_now)
        self._host = EngineHost(engine, _catalog(settings), metrics.observe)

    async def generate(self, requests: Sequence["GenerationRequest"]) -> list["Outcome"]:
        return await self._host.generate(requests)

    async def stream(self, requests: Sequence["GenerationRequest"]) -> AsyncGenerator["News", None]:
        async with aclosing(self._host.stream(requests)) as stream:
            async for news in stream:
                yield news

    async def load(self, name: str, folder: Path) -> SvgCaptionError | None:
        return await self._host.load(name, folder)

    async def unload(self, name: str) -> SvgCaptionError | None:
        return await self._host.unload(name)

    async def ready(self) -> bool:
        return not self._engine.closed

    def check_health(self) -> None:
        """Ray Serve asks now and then, and replaces a replica that raises."""
        if self._engine.closed:
            raise EngineClosed("the engine broke down; its log has the reason")


_GONE = (RayActorError, BackPressureError, DeploymentUnavailableError)
_ASKING_AGAIN = "an engine replica was lost; asking again"


class RemoteEngine:
    """The engine deployment as the API sees it; what Ray raises becomes a 503 that says to try again.

    What dies with a replica is asked once more. No more than once: it may be what killed the replica.
    """

    def __init__(self, handle: DeploymentHandle[EngineReplica]) -> None:
        self._handle = handle
        self._streaming = handle.options(stream=True)

    async def generate(self, requests: Sequence["GenerationRequest"]) -> list["Outcome"]:
        try:
            try:
                return await self._generate(requests)
            except RayActorError:
                log.warning(_ASKING_AGAIN)
                return await self._generate(requests)
        except _GONE as error:
            raise _restarting() from error

    async def _generate(self, requests: Sequence["GenerationRequest"]) -> list["Outcome"]:
        reply: Any = self._handle.generate.remote(list(requests))
        try:
            outcomes: list[Outcome] = await reply
        except asyncio.CancelledError:
            reply.cancel()
            raise
        return outcomes

    async def stream(self, requests: Sequence["GenerationRequest"]) -> AsyncGenerator["News", None]:
        told = False
        try:
            for last in (False, True):
                try:
                    async with aclosing(self._stream(requests)) as stream:
                        async for news in stream:
                            told = told or bool(news)
                            yield news
                    return
                except RayActorError:
                    if told or last:  # a second answer would begin anew
                        raise
                    log.warning(_ASKING_AGAIN)
        except _GONE as error:
            raise _restarting() from error

    async def _stream(self, requests: Sequence["GenerationRequest"]) -> AsyncGenerator["News", None]:
        replies: Any = self._streaming.stream.remote(list(requests))
        try:
            async for news in replies:
                yield news
        finally:
            replies.cancel()

    async def load(self, name: str, folder: Path) -> SvgCaptionError | None:
        """On all replicas; the first problem that one of them has."""
        return next((problem for problem in await self._all("load", name, folder) if problem), None)

    async def unload(self, name: str) -> SvgCaptionError | None:
        """On all replicas; the first problem that one of them has."""
        return next((problem for problem in await self._all("unload", name) if problem), None)

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
        self._front: Front | None = None

    async def drain(self) -> None:
        """Turn new requests away, see those inside out."""
        if self._front:
            await self._front.drain()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        from captioning.base_models import load_tokenizer
        from rendering import Rasterizer
        from services.api import build_api
        from services.captions import Captioner
        from services.front import Front
        from services.metrics import RequestMetrics

        join_ray_serve()
        settings, catalog = self._settings, _catalog(self._settings)
        rasterizer = Rasterizer(workers=settings.render_workers, timeout_s=settings.render_timeout_s)
        captioner = Captioner(
            catalog, load_tokenizer(catalog.spec), self._engine, keep_words=settings.keep_words
        )
        api = build_api(settings, captioner, rasterizer, self._engine)
        self._front = Front(settings, api, RequestMetrics())
        return self._front


def build_app(args: Settings) -> Application:
    """The whole service. A config file's `args` become the settings, checked before anything starts."""
    surge = args.engine_gpus == 0 if args.engine_surge is None else args.engine_surge
    engine = serve.deployment(
        name="Engine",
        num_replicas=args.engine_replicas,
        max_surge_percent=100 if surge else 0,
        max_ongoing_requests=_MANY,
        max_constructor_retry_count=2,
        graceful_shutdown_timeout_s=args.deadline_s + _GRACE_S,
        logging_config=REPLICA_LOGGING,
        ray_actor_options={"num_cpus": args.engine_cpus, "num_gpus": args.engine_gpus},
    )(EngineReplica)
    ingress = serve.deployment(
        name=INGRESS,
        num_replicas=args.ingress_replicas,
        max_surge_percent=100,
        max_ongoing_requests=_MANY,
        max_constructor_retry_count=2,
        graceful_shutdown_timeout_s=args.deadline_s + _GRACE_S,
        logging_config=REPLICA_LOGGING,
        ray_actor_options={"num_cpus": args.ingress_cpus},
    )(serve.ingress()(Ingress))
    return ingress.bind(args, engine.bind(args))


def _restarting() -> errors.ApiError:
    return errors.overloaded("The engine is restarting. Try again in a moment.", "engine_unavailable")


def _catalog(settings: Settings) -> "Catalog":
    from captioning.base_models import resolve, weight_fingerprint
    from services.catalog import Catalog

    spec = resolve(settings.base_model)
    fingerprint = None if settings.engine_url else weight_fingerprint(spec)
    return Catalog(spec, fingerprint, settings.adapters_dir, settings.default_model)

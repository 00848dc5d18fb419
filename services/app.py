# No `from __future__ import annotations` here: Ray Serve reads the annotation of `build_app`'s argument.
"""The Ray Serve application: an ingress that reads and validates, and an engine that scales apart from it.

    serve run services.app:build_app base_model=embedded

The two speak through a deployment handle: token ids go in, text or an error comes out. What they need
is imported in the replicas: a driver that only deploys stays light.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve import Application
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from services import errors
from services.settings import Settings

if TYPE_CHECKING:
    from captioning.engine import GenerationRequest
    from services.catalog import Catalog
    from services.engine_host import Outcome

APP_NAME = "svg-captions"
_READY_TIMEOUT_S = 2.0
_MANY = 10_000  # Serve's own queues never fill first: the ingress refuses earlier, in our words


class EngineReplica:
    """One copy of the base model, with the adapters that were asked for."""

    def __init__(self, settings: Settings) -> None:
        from services.engine_host import EngineHost
        from services.engines import make_engine

        self._host = EngineHost(make_engine(settings), _catalog(settings))

    async def generate(self, requests: Sequence["GenerationRequest"]) -> list["Outcome"]:
        return await self._host.generate(requests)

    async def ready(self) -> bool:
        return True


class RemoteEngine:
    """The engine deployment as the API sees it; what Ray raises becomes a 503 that says to try again."""

    def __init__(self, handle: DeploymentHandle[EngineReplica]) -> None:
        self._handle = handle

    async def generate(self, requests: Sequence["GenerationRequest"]) -> list["Outcome"]:
        try:
            outcomes: list[Outcome] = await self._handle.generate.remote(list(requests))
        except (RayActorError, BackPressureError, DeploymentUnavailableError) as error:
            raise errors.overloaded(
                "The engine is restarting. Try again in a moment.", "engine_unavailable"
            ) from error
        return outcomes

    async def ready(self) -> bool:
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                return bool(await self._handle.ready.remote())
        except (TimeoutError, RayActorError, RayTaskError, BackPressureError, DeploymentUnavailableError):
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
            catalog, load_tokenizer(catalog.spec), self._engine.generate, keep_words=settings.keep_words
        )
        return build_front(settings, build_api(settings, captioner, rasterizer, self._engine.ready))


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


def _catalog(settings: Settings) -> "Catalog":
    from captioning.base_models import resolve, weight_fingerprint
    from services.catalog import Catalog

    spec = resolve(settings.base_model)
    fingerprint = None if settings.engine_url else weight_fingerprint(spec)
    return Catalog(spec, fingerprint, settings.adapters_dir, settings.default_model)

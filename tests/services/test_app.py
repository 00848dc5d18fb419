"""What Ray Serve is given; that it runs is seen in test_live.py."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from ray.exceptions import ActorDiedError
from ray.serve import Application

from services.app import RemoteEngine, build_app
from services.errors import ApiError
from services.settings import Settings


def test_a_config_files_args_become_checked_settings() -> None:
    """Ray Serve makes the model from `args` only if the annotation is the class itself, not its name."""
    (parameter,) = inspect.signature(build_app).parameters.values()
    assert parameter.annotation is Settings
    with pytest.raises(ValidationError, match="engine_replica"):
        parameter.annotation.model_validate({"engine_replica": 2})


def test_engine_and_ingress_scale_apart() -> None:
    app = build_app(Settings(engine_replicas=3, engine_cpus=2, engine_gpus=1))
    assert isinstance(app, Application)
    ingress: Any = app._bound_deployment
    engine = ingress.init_args[1]._bound_deployment
    assert (ingress.name, ingress.num_replicas) == ("Ingress", 1)
    assert (engine.name, engine.num_replicas) == ("Engine", 3)
    assert engine.ray_actor_options["num_gpus"] == 1


@pytest.mark.parametrize(
    ("fields", "surge_percent"),
    [({}, 100), ({"engine_gpus": 1}, 0), ({"engine_gpus": 1, "engine_surge": True}, 100)],
)
def test_an_update_takes_no_replica_away_where_there_is_room_for_both(
    fields: dict[str, Any], surge_percent: int
) -> None:
    settings = Settings(**fields)
    ingress: Any = build_app(settings)._bound_deployment
    engine = ingress.init_args[1]._bound_deployment
    assert ingress._deployment_config.max_surge_percent == 100
    assert engine._deployment_config.max_surge_percent == surge_percent
    for deployment in (ingress, engine):
        assert deployment._deployment_config.graceful_shutdown_timeout_s > settings.deadline_s


class LosesReplicas:
    """A deployment handle whose first calls die with their replica, streams after `told`."""

    def __init__(self, losses: int, told: Sequence[list[str]] = ()) -> None:
        self.losses = losses
        self.told = told
        self.calls = 0
        self.generate = SimpleNamespace(remote=self._generate)
        self.stream = SimpleNamespace(remote=lambda _: Streamed(self))

    def options(self, **_: object) -> LosesReplicas:
        return self

    def call(self) -> None:
        self.calls += 1
        if self.calls <= self.losses:
            raise ActorDiedError

    async def _generate(self, requests: list[Any]) -> list[Any]:
        self.call()
        return [f"text {request}" for request in requests]


class Streamed:
    def __init__(self, handle: LosesReplicas) -> None:
        self._handle = handle

    async def __aiter__(self) -> AsyncIterator[list[str]]:
        for news in self._handle.told:
            yield news
        self._handle.call()
        yield ["the end"]

    def cancel(self) -> None:
        pass


def streamed(handle: Any) -> list[list[str]]:
    async def listen() -> list[Any]:
        return [news async for news in RemoteEngine(handle).stream([])]

    return asyncio.run(listen())


def test_a_stream_that_has_said_nothing_begins_anew() -> None:
    assert streamed(LosesReplicas(1, told=[[]])) == [[], [], ["the end"]]
    with pytest.raises(ApiError, match="restarting"):
        streamed(LosesReplicas(2, told=[[]]))


def test_a_stream_that_has_said_something_ends_with_an_error() -> None:
    handle = LosesReplicas(1, told=[["A "]])
    with pytest.raises(ApiError, match="restarting"):
        streamed(handle)
    assert handle.calls == 1


def test_what_dies_with_a_replica_is_asked_once_more() -> None:
    handle: Any = LosesReplicas(1)
    requests: Any = [1, 2]
    answers: list[Any] = asyncio.run(RemoteEngine(handle).generate(requests))
    assert answers == ["text 1", "text 2"]


def test_what_may_have_killed_two_replicas_is_not_asked_a_third_time() -> None:
    handle: Any = LosesReplicas(2)
    with pytest.raises(ApiError) as refusal:
        asyncio.run(RemoteEngine(handle).generate([]))
    assert (refusal.value.status_code, refusal.value.kind) == (503, "engine_unavailable")
    assert refusal.value.headers == {"Retry-After": "1"}
    assert handle.calls == 2

"""The application on a Ray that is already there: start it, wait until it answers, take it away again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions, ProxyLocation
from ray.serve.schema import LoggingConfig

from services.app import APP_NAME, INGRESS, build_app
from services.errors import StartError
from services.settings import Settings

_FIRST_ANSWER_S = 180.0


@contextmanager
def running(settings: Settings) -> Iterator[None]:
    """The service answers inside the `with` block.

    Raises:
        StartError: it could not be started; the message has the reason that Ray Serve gives.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
    try:
        _deploy(settings, quiet)
        _wait_until_ready(settings)
        try:
            yield
        finally:
            _drain(settings)
    finally:
        _remove()


def _deploy(settings: Settings, logging_config: LoggingConfig) -> None:
    try:
        with suppress(TimeoutError):  # Ray waits a minute for its proxy; we wait for the first answer
            serve.start(
                proxy_location=ProxyLocation.HeadOnly,
                http_options=HTTPOptions(host=settings.host, port=settings.port),
                logging_config=logging_config,
            )
        serve.run(build_app(settings), name=APP_NAME)
    except (RuntimeError, TimeoutError, RayError) as error:
        raise StartError(f"the service could not be started: {error}") from None


def _wait_until_ready(settings: Settings) -> None:
    deadline = time.monotonic() + _FIRST_ANSWER_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{settings.api_url}/readyz", timeout=5, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise StartError(f"the service started but {settings.api_url}/readyz does not answer")


def _drain(settings: Settings) -> None:
    """New requests are turned away, those under way are answered; none takes longer than the deadline."""
    ingress = serve.get_deployment_handle(INGRESS, APP_NAME)
    with suppress(TimeoutError, RayError):
        ingress.broadcast("drain").results(timeout_s=settings.deadline_s + 1)


def _remove() -> None:
    """Other applications of a shared cluster stay."""
    others = set(serve.status().applications) - {APP_NAME}
    if others:
        serve.delete(APP_NAME)
    else:
        serve.shutdown()

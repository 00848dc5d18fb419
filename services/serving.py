"""The application on a Ray that is already there: start it, wait until it answers, take it away again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation
from ray.serve.schema import LoggingConfig

from captioning.errors import ConfigError
from services.app import APP_NAME, build_app
from services.settings import Settings

_FIRST_ANSWER_S = 60.0


@contextmanager
def running(settings: Settings) -> Iterator[None]:
    """The service answers inside the `with` block.

    Raises:
        ConfigError: it could not be started; the message has the reason that Ray Serve gives.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
    serve.start(
        proxy_location=ProxyLocation.HeadOnly,
        http_options=HTTPOptions(host=settings.host, port=settings.port),
        logging_config=quiet,
    )
    try:
        _deploy(settings, quiet)
        _wait_until_ready(settings)
        yield
    finally:
        _remove()


def _deploy(settings: Settings, logging_config: LoggingConfig) -> None:
    try:
        serve.run(build_app(settings), name=APP_NAME, logging_config=logging_config)
    except RuntimeError as error:
        raise ConfigError(f"the service could not be started: {error}") from None


def _wait_until_ready(settings: Settings) -> None:
    deadline = time.monotonic() + _FIRST_ANSWER_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{settings.api_url}/readyz", timeout=5, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise ConfigError(f"the service started but {settings.api_url}/readyz does not answer")


def _remove() -> None:
    """Other applications of a shared cluster stay."""
    others = set(serve.status().applications) - {APP_NAME}
    if others:
        serve.delete(APP_NAME)
    else:
        serve.shutdown()

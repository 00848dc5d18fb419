"""The API and the page behind one border.

The page is mounted beside the API rather than under it: Gradio answers every path that is not its
own, which would turn the API's 405 into a 404.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from services import errors
from services.access import Access, Keyring
from services.border import Border
from services.door import Door
from services.paths import route_path
from services.settings import Settings
from services.watch import Observe, Watch, write_line

_API_PATHS = ("/v1", "/healthz", "/readyz", "/docs", "/openapi.json")


class Front:
    """What a replica serves.

    Raises:
        ConfigError: the file of keys cannot be used.
    """

    def __init__(self, settings: Settings, api: FastAPI, *observers: Observe) -> None:
        keyring = None
        if settings.keys_file:
            page_rate = settings.page_requests_per_minute
            keyring = Keyring(settings.keys_file, page=settings.page, page_requests_per_minute=page_rate)
        self._api = Door(api)
        self._page: Door | None = None
        self._app = guard(settings, self._api, keyring, *observers)
        if settings.page:
            self._page = Door(_build_page_app(settings, keyring.page_key if keyring else None))
            self._app = Fork(self._app, _with_border(settings, self._page))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def drain(self) -> None:
        """Turn new requests away, and come back when all are answered; then pages are disconnected."""
        await self._api.close()
        if self._page:
            self._page.clear()


def guard(
    settings: Settings,
    api: ASGIApp,
    keyring: Keyring | None,
    *observers: Observe,
    send_request_id: bool = False,
) -> ASGIApp:
    """The API behind keys, limits and, outermost, so that a browser can read refusals too, CORS."""
    app = Access(api, keyring) if keyring else api
    app = _with_border(settings, app, send_request_id=send_request_id)
    app = Watch(app, write_line, *observers)
    if not settings.allowed_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.allowed_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-request-id"],
        expose_headers=["retry-after", "x-request-id"],
    )


def _with_border(settings: Settings, app: ASGIApp, *, send_request_id: bool = False) -> ASGIApp:
    return Border(
        app,
        max_body_bytes=settings.max_upload_bytes,
        deadline_s=settings.deadline_s,
        send_request_id=send_request_id,
    )


class Fork:
    """Sends the API's paths to the API, everything else (and the server's lifespan) to the page."""

    def __init__(self, api: ASGIApp, page: ASGIApp) -> None:
        self._api = api
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope)
        is_api = any(path == own or path.startswith(f"{own}/") for own in _API_PATHS)
        await (self._api if is_api else self._page)(scope, receive, send)


def _build_page_app(settings: Settings, key: str | None = None) -> FastAPI:
    """The page alone; it asks the API at `settings.api_url`, wherever it is served itself."""
    import gradio

    from services.page import HEAD, STYLE_PATH, build_page, theme
    from services.page_client import PageClient

    client = PageClient(settings.api_url, timeout_s=settings.deadline_s + 5, key=key)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(CORSMiddleware)  # no origins: Gradio's own, which it replaces, lets almost all in
    gradio.mount_gradio_app(
        app,
        build_page(client, revises=settings.revises),
        path="/",
        theme=theme(),
        css_paths=[STYLE_PATH],
        head=HEAD,
        footer_links=[],
        run_history=False,
        max_file_size=settings.max_upload_bytes,
        show_error=True,
        ssr_mode=False,
        pwa=False,
    )
    mounted = [route.app for route in app.routes if isinstance(route, Mount)]
    for each in (app, *mounted):
        if isinstance(each, FastAPI):
            each.add_exception_handler(HTTPException, errors.handle_http_exception)
            each.add_exception_handler(Exception, errors.pass_on)
    return app

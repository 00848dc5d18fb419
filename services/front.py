"""The API and the page behind one border.

The page is mounted beside the API rather than under it: Gradio answers every path that is not its
own, which would turn the API's 405 into a 404.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from services import errors
from services.border import Border
from services.settings import Settings

_API_PATHS = ("/v1", "/healthz", "/readyz", "/docs", "/openapi.json")


def build_front(settings: Settings, api: FastAPI) -> ASGIApp:
    """What a replica serves."""
    page = _build_page_app(settings) if settings.page else api
    return Border(Fork(api, page), max_body_bytes=settings.max_upload_bytes, deadline_s=settings.deadline_s)


class Fork:
    """Sends the API's paths to the API, everything else (and the server's lifespan) to the page."""

    def __init__(self, api: ASGIApp, page: ASGIApp) -> None:
        self._api = api
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        is_api = any(path == own or path.startswith(f"{own}/") for own in _API_PATHS)
        await (self._api if is_api else self._page)(scope, receive, send)


def _build_page_app(settings: Settings, key: str | None = None) -> FastAPI:
    """The page alone; it asks the API at `settings.api_url`, wherever it is served itself."""
    import gradio

    from services.page import HEAD, STYLE_PATH, build_page, theme
    from services.page_client import PageClient

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gradio.mount_gradio_app(
        app,
        build_page(PageClient(settings.api_url, timeout_s=settings.deadline_s + 5, key=key)),
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

"""Routes that need no model: a preview of a drawing, a title written into one, the latest evaluation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

from fastapi import Depends, FastAPI, Request, Response

from rendering import Rasterizer, SvgCaptionError, load
from rendering.compose import check_background
from rendering.title import with_title
from services import errors
from services.answers import request_body, responses
from services.errors import ApiError
from services.reports import latest_report
from services.schemas import RenderBody, RenderOptions, TitleBody, TitleOptions
from services.settings import Settings
from services.svg_urls import SvgUrls
from services.uploads import Upload, read

# Bytes of a visitor, of this origin: no browser may ever open them as a page.
_ONLY_A_DOWNLOAD = {
    "Content-Disposition": 'attachment; filename="titled.svg"',
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


def add_routes(
    api: FastAPI,
    settings: Settings,
    rasterizer: Rasterizer,
    urls: SvgUrls,
    admitted: Callable[[], AsyncIterator[AsyncExitStack]],
) -> None:
    """`/v1/render`, `/v1/title` and `/v1/report`; the first two count as requests that are `admitted`."""
    threads = ThreadPoolExecutor(settings.render_workers, thread_name_prefix="render")

    async def in_thread(task: Callable[..., Response], *arguments: Any) -> Response:
        return await asyncio.get_running_loop().run_in_executor(threads, task, *arguments)

    @api.post(
        "/v1/render",
        summary="Preview one drawing as PNG",
        dependencies=[Depends(admitted)],
        response_class=Response,
        responses=responses(None, 400, 413, 415, 422, 503, 504)
        | {200: {"content": {"image/png": {}}, "description": "The sanitized drawing, padded to a square."}},
        openapi_extra=request_body(RenderBody, RenderOptions, several=False),
    )
    async def render(request: Request) -> Response:
        """Drawn from the sanitized copy by the same renderer that training and evaluation use.

        The headers `X-SVG-Width` and `X-SVG-Height` have the drawing's own size, without the padding.
        """
        options, uploads = await read(request, RenderBody, RenderOptions, urls, max_files=1)
        _check_background(options.background)
        return await in_thread(_draw, rasterizer, uploads[0], options)

    @api.post(
        "/v1/title",
        summary="Write a title into a drawing",
        dependencies=[Depends(admitted)],
        response_class=Response,
        responses=responses(None, 400, 413, 415, 422, 503, 504)
        | {200: {"content": {"image/svg+xml": {}}, "description": "The same file with the title."}},
        openapi_extra=request_body(TitleBody, TitleOptions, several=False),
    )
    async def title(request: Request) -> Response:
        """For screen readers: `<title>`, `role="img"` and `aria-labelledby`; nothing else changes.

        It is the file that was sent, not the sanitized copy, so it comes as a download.
        """
        options, uploads = await read(request, TitleBody, TitleOptions, urls, max_files=1)
        return await in_thread(_titled, uploads[0], options.title)

    @api.get("/v1/report", summary="The latest evaluation", responses=responses(None, 404))
    async def report() -> dict[str, Any]:
        """`report.json` of the newest run of `python -m evaluation`, as it was written."""
        return await asyncio.to_thread(latest_report, settings.reports_dir)


def _check_background(background: str) -> None:
    try:
        check_background(background)
    except ValueError as error:
        raise _invalid("background", error) from None


def _draw(rasterizer: Rasterizer, upload: Upload, options: RenderOptions) -> Response:
    try:
        drawing = load(upload.data)
        png = rasterizer.render(drawing, size_px=options.size_px, background=options.background)
    except SvgCaptionError as error:
        raise errors.from_domain(error, upload.param) from None
    size = {"X-SVG-Width": f"{drawing.width:g}", "X-SVG-Height": f"{drawing.height:g}"}
    return Response(png, media_type="image/png", headers=size)


def _titled(upload: Upload, title: str) -> Response:
    try:
        svg = with_title(upload.data, title)
    except SvgCaptionError as error:
        raise errors.from_domain(error, upload.param) from None
    except ValueError as error:
        raise _invalid("title", error) from None
    return Response(svg, media_type="image/svg+xml", headers=_ONLY_A_DOWNLOAD)


def _invalid(param: str, error: ValueError) -> ApiError:
    return ApiError(422, "invalid_request", f"{param}: {error}.", param=param)

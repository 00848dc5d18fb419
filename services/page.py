"""The Gradio page: choose a drawing, see its render, read its caption.

It knows the service by its HTTP API alone, asks nothing of other hosts, and shows the PNG that the API
made of the sanitized copy, never the upload.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from services import page_view as view
from services.page_client import PageClient, Refused, Source

STYLE_PATH = Path(__file__).parent / "page.css"
SAMPLES = Path(__file__).parent / "samples"
HEAD = '<meta name="description" content="Says in words what an SVG drawing shows.">'

_PREVIEW_PX = 512
_THUMBNAIL_PX = 144
_UPLOADS_KEPT_S = 600


def theme() -> gr.themes.Base:
    """System fonts only: the page must look the same without a network."""
    return gr.themes.Base(
        primary_hue="teal",
        neutral_hue="zinc",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
        radius_size="lg",
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        color_accent="*primary_700",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_400",
    )


def build_page(client: PageClient) -> gr.Blocks:
    """The page, for the service that `client` reaches."""
    handlers = _Handlers(client)
    page = gr.Blocks(
        title="SVG captions", analytics_enabled=False, delete_cache=(_UPLOADS_KEPT_S, _UPLOADS_KEPT_S)
    )
    with page:
        source = gr.State()
        gr.HTML(view.HEADING)
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                with gr.Tabs():
                    with gr.Tab("File"):
                        file = gr.File(label="SVG or SVGZ file", height=180, elem_id="file")
                    with gr.Tab("Code"):
                        code = gr.Textbox(
                            label="SVG code", lines=7, max_lines=7, placeholder="<svg …>", elem_id="code"
                        )
                        send = gr.Button("Caption this code", variant="primary", elem_id="send")
                samples = gr.HTML(js_on_load=view.CHOOSE_JS, elem_id="samples")
                model = gr.Dropdown(label="Model", elem_id="model", filterable=False)
            with gr.Column(scale=6, min_width=320):
                result = gr.HTML(view.EMPTY, js_on_load=view.RESULT_JS, elem_id="result")
        gr.HTML(view.FOOTER)

        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        describe: dict[str, Any] = {
            "fn": handlers.describe,
            "inputs": [source, model],
            "outputs": result,
        } | private
        page.load(handlers.models, model, model, **private)
        page.load(handlers.samples, None, samples, **private)
        file.upload(handlers.from_file, file, [source, file], **private).then(**describe)
        send.click(handlers.from_code, code, source, **private).then(**describe)
        samples.choose(handlers.from_sample, None, source, **private).then(**describe)
        model.input(**describe)
        model.focus(handlers.models, model, model, **private)
    page.queue(default_concurrency_limit=8, max_size=64)
    return page


class _Handlers:
    """What the page's events do."""

    def __init__(self, client: PageClient) -> None:
        self._client = client
        self._gallery = ""

    async def describe(self, source: Source | None, model: str | None) -> AsyncIterator[str]:
        """First that work has begun, then the render, then the caption or the reason why there is none."""
        if source is None:
            yield view.EMPTY
            return
        yield view.working(source.name)
        picture = await self._picture(source)
        yield view.working(source.name, picture)
        try:
            yield view.described(source.name, picture, await self._client.caption(source, model))
        except Refused as refusal:
            yield view.refused(source.name, refusal, picture)

    async def _picture(self, source: Source) -> bytes | Refused:
        """A drawing that cannot be rasterized may still be captioned."""
        try:
            return await self._client.render(source, _PREVIEW_PX)
        except Refused as refusal:
            return refusal

    async def models(self, chosen: str | None) -> Any:
        """The list as it is now; the visitor's choice stays while it exists."""
        try:
            cards = await self._client.models()
        except Refused:
            return gr.skip()
        names = [card.id for card in cards]
        default = next((card.id for card in cards if card.default), names[0])
        return gr.Dropdown(choices=names, value=chosen if chosen in names else default)

    async def samples(self) -> str:
        """The gallery; drawn once, and again for as long as that fails."""
        if not self._gallery:
            try:
                pictures = [
                    (
                        path.stem,
                        await self._client.render(Source(path.name, path.read_bytes()), _THUMBNAIL_PX),
                    )
                    for path in sorted(SAMPLES.glob("*.svg"))
                ]
            except Refused:
                return ""
            self._gallery = view.gallery(pictures)
        return self._gallery

    @staticmethod
    def from_file(path: str) -> tuple[Source, None]:
        """The file, and an empty drop zone: ready for the next one."""
        return Source(Path(path).name, Path(path).read_bytes()), None

    @staticmethod
    def from_code(code: str) -> Source:
        return Source("Pasted code", code)

    @staticmethod
    def from_sample(event: gr.EventData) -> Source | None:
        known = {path.stem: path for path in SAMPLES.glob("*.svg")}  # a name from the browser is never a path
        path = known.get(event.sample)
        return Source(path.name, path.read_bytes()) if path else None

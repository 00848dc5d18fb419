"""The Gradio page: choose a drawing, see its render, read its caption; many files at once; the latest report.

It knows the service by its HTTP API alone, asks nothing of other hosts, and shows the PNG that the API
made of the sanitized copy, never the upload.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from services import page_tables as tables
from services import page_view as view
from services.page_client import PageClient
from services.page_handlers import Handlers, from_code, from_file, from_sample, save, vary

STYLE_PATH = Path(__file__).parent / "page.css"
HEAD = '<meta name="description" content="Says in words what an SVG drawing shows.">'

MOST_MODELS = 4  # side by side

_UPLOADS_KEPT_S = 600
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


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


def build_page(client: PageClient, *, revises: bool = True) -> gr.Blocks:
    """The page, for the service that `client` reaches, and that may be asked to `revise` captions."""
    handlers = Handlers(client, revises=revises)
    page = gr.Blocks(
        title="SVG captions", analytics_enabled=False, delete_cache=(_UPLOADS_KEPT_S, _UPLOADS_KEPT_S)
    )
    with page:
        gr.HTML(view.HEADING)
        download = gr.HTML(html_template="", js_on_load=view.DOWNLOAD_JS, visible="hidden")
        with gr.Tabs(elem_id="ways"):
            with gr.Tab("One drawing"):
                _one_drawing(page, handlers, download)
            with gr.Tab("Many files"):
                _many_files(page, handlers, download)
            with gr.Tab("Evaluation") as evaluation, gr.Column(elem_classes="card"):
                found = gr.HTML(tables.NO_REPORT, elem_id="report")
            evaluation.select(handlers.report, None, found, **_PRIVATE)
        gr.HTML(view.FOOTER)
        gr.api(handlers.caption, api_name="caption")  # type: ignore[attr-defined] # not in its __all__
    page.queue(default_concurrency_limit=8, max_size=64)
    return page


def _one_drawing(page: gr.Blocks, handlers: Handlers, download: gr.HTML) -> None:
    source = gr.State()
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            with gr.Tabs():
                with gr.Tab("File"):
                    file = gr.File(label="SVG or SVGZ file", height=170, elem_id="file")
                with gr.Tab("Code"):
                    code = gr.Textbox(
                        label="SVG code", lines=6, max_lines=6, placeholder="<svg …>", elem_id="code"
                    )
                    send = gr.Button("Caption this code", variant="primary", elem_id="send")
            samples = gr.HTML(js_on_load=view.CHOOSE_JS, elem_id="samples")
            models = gr.Dropdown(
                label="Models, side by side",
                multiselect=True,
                max_choices=MOST_MODELS,
                filterable=False,
                elem_id="models",
            )
            with gr.Accordion("Options", open=False, elem_id="options"):
                n = gr.Slider(1, 4, 1, step=1, label="Captions", elem_id="n")
                length = gr.Slider(8, 256, 64, step=8, label="Longest caption, in tokens")
                variety = gr.Slider(
                    0, 1.5, 0, step=0.1, label="Variety", info="At 0 always the most likely caption."
                )
                revise = _revise(handlers, "revise")
                again = gr.Button("Caption again", size="md", elem_id="again")
        with gr.Column(scale=6, min_width=320, elem_classes="card"):
            picture = gr.HTML(view.EMPTY, js_on_load=view.PICTURE_JS, elem_id="picture")
            result = gr.HTML(js_on_load=view.RESULT_JS, elem_id="result")

    describe: dict[str, Any] = {
        "fn": handlers.describe,
        "inputs": [source, models, n, length, variety, revise],
        "outputs": [picture, result],
        "trigger_mode": "multiple",  # the next one ends the one before: see `Handlers.describe`
    } | _PRIVATE
    for choice in (
        file.upload(from_file, file, [source, file], **_PRIVATE),
        send.click(from_code, code, source, **_PRIVATE),
        samples.choose(from_sample, None, source, **_PRIVATE),
        models.input(_same, source, source, **_PRIVATE),
        again.click(_same, source, source, **_PRIVATE),
    ):
        choice.then(**describe)
    page.load(handlers.samples, None, samples, **_PRIVATE)
    page.load(handlers.models, models, models, **_PRIVATE)
    models.focus(handlers.models, models, models, **_PRIVATE)
    n.change(vary, [n, variety], variety, **_PRIVATE)
    result.title(handlers.titled, source, download, **_PRIVATE)


def _many_files(page: gr.Blocks, handlers: Handlers, download: gr.HTML) -> None:
    results = gr.State([])
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            files = gr.File(
                label="SVG files, or zips of them", file_count="multiple", height=170, elem_id="files"
            )
            model = gr.Dropdown(label="Model", filterable=False, elem_id="batch-model")
            revise = _revise(handlers, "batch-revise")
            stop = gr.Button("Stop", size="md", elem_id="stop")
        with gr.Column(scale=7, min_width=320, elem_classes="card"):
            table = gr.HTML(tables.EMPTY_BATCH, js_on_load=tables.SAVE_JS, elem_id="batch")
    running = files.upload(handlers.batch, [files, model, revise], [table, results, files], **_PRIVATE)
    stop.click(handlers.stopped, results, table, cancels=[running], **_PRIVATE)
    table.save(save, results, download, **_PRIVATE)
    page.load(handlers.model, model, model, **_PRIVATE)
    model.focus(handlers.model, model, model, **_PRIVATE)


def _revise(handlers: Handlers, elem_id: str) -> gr.Checkbox:
    return gr.Checkbox(
        handlers.revises,
        label="Correct what is false",
        info="Words that the drawing contradicts are written anew.",
        visible=handlers.revises,
        elem_id=elem_id,
    )


def _same(source: object) -> object:
    return source

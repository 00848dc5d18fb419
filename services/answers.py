"""What became of a request's drawings, as the JSON of an answer; and what OpenAPI shall say of it."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import BaseModel

from rendering import SvgCaptionError
from services import errors
from services.captions import Batch, Captioned
from services.schemas import (
    BatchResponse,
    CaptionBody,
    CaptionResponse,
    CaptionText,
    ErrorBody,
    ErrorInfo,
    FileResult,
    RenderBody,
    SvgInfo,
    TitleBody,
    Usage,
)
from services.uploads import Upload


def answer(
    batch: Batch, model: str, uploads: list[Upload], request_id: str
) -> CaptionResponse | BatchResponse:
    """One drawing gives the plain answer, several give `results`.

    Raises:
        ApiError: the only drawing has no caption.
    """
    if len(uploads) == 1:
        return _single(batch, model, uploads[0])
    return _several(batch, model, uploads, request_id)


def captioned(batch: Batch, upload: Upload) -> Captioned:
    """The only drawing of a request.

    Raises:
        ApiError: it has no caption.
    """
    [result] = batch.results
    if isinstance(result, SvgCaptionError):
        raise errors.from_domain(result, upload.param)
    return result


def _single(batch: Batch, model: str, upload: Upload) -> CaptionResponse:
    result = captioned(batch, upload)
    return CaptionResponse(
        id=new_id("caption"),
        model=model,
        captions=_texts(result),
        usage=usage([result]),
        timings_ms=batch.timings_ms,
        svg=_svg_info(result),
    )


def _several(batch: Batch, model: str, uploads: list[Upload], request_id: str) -> BatchResponse:
    return BatchResponse(
        id=new_id("caption"),
        model=model,
        results=[
            _file_result(upload, result, request_id)
            for upload, result in zip(uploads, batch.results, strict=True)
        ],
        usage=usage([result for result in batch.results if isinstance(result, Captioned)]),
        timings_ms=batch.timings_ms,
    )


def _file_result(upload: Upload, result: Captioned | SvgCaptionError, request_id: str) -> FileResult:
    if isinstance(result, SvgCaptionError):
        error = errors.from_domain(result, upload.param)
        return FileResult(
            file=upload.name, status=error.status_code, error=ErrorInfo.model_validate(error.body(request_id))
        )
    return FileResult(
        file=upload.name, status=200, captions=_texts(result), usage=usage([result]), svg=_svg_info(result)
    )


def _texts(result: Captioned) -> list[CaptionText]:
    return [
        CaptionText(
            text=made.text,
            finish_reason=made.finish_reason,
            claims=result.judged[place].claims if result.judged else None,
            draft=result.drafts[place] if result.drafts else None,
        )
        for place, made in enumerate(result.generations)
    ]


def usage(results: list[Captioned]) -> Usage:
    """A prompt that is read once for n captions counts once."""
    return Usage(
        prompt_tokens=sum(result.generations[0].prompt_tokens for result in results),
        completion_tokens=sum(made.completion_tokens for result in results for made in result.generations),
    )


def _svg_info(result: Captioned) -> SvgInfo:
    drawing = result.drawing
    return SvgInfo(
        width=drawing.width,
        height=drawing.height,
        elements=drawing.elements,
        removed=list(drawing.removed),
        warnings=list(drawing.warnings),
    )


def new_id(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex}"


def responses(success: Any, *statuses: int, streams: bool = False) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI shall say of the answers of a route."""
    described: dict[int | str, dict[str, Any]] = {status: {"model": ErrorBody} for status in statuses}
    if success:
        described[200] = {"model": success} | ({"content": {"text/event-stream": {}}} if streams else {})
    return described


def request_body(
    json_body: type[CaptionBody | RenderBody | TitleBody], options: type[Any], *, several: bool
) -> dict[str, Any]:
    """What OpenAPI shall say of a route that takes JSON as well as a form."""
    form = options.model_json_schema()
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    if several:
        file = {"type": "array", "items": file}
    file["description"] = (
        "SVG or SVGZ; several parts of this name are several files." if several else "SVG or SVGZ."
    )
    form["properties"] = {"file": file} | form["properties"]
    form["required"] = ["file"]
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "application/json": {"schema": json_body.model_json_schema()},
            },
        }
    }


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI shall say of a route that takes nothing but JSON."""
    schema = model.model_json_schema()
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _inlined(schema, schema.pop("$defs", {}))}},
        }
    }


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """A schema without references: OpenAPI looks for them in another place than pydantic puts them."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if name := schema.get("$ref"):
        return _inlined(definitions[name.rpartition("/")[2]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}

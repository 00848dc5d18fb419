"""Requests to drawings and options: JSON or a multipart form, validated the same way.

Knows the wire, not the drawing: the bytes are hostile until `rendering.load` has seen them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from captioning.pipeline import as_bytes
from services.errors import ApiError
from services.schemas import DrawingBody
from services.svg_urls import SvgUrls

Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True)
class Upload:
    """One drawing as it arrived."""

    name: str
    data: bytes
    param: str  # the field of the request that held it: "svg", "svg_url", "file" or "messages"


async def read(
    request: Request, json_body: type[DrawingBody], options: type[Options], urls: SvgUrls, *, max_files: int
) -> tuple[Options, list[Upload]]:
    """The options and the drawings of a request.

    Raises:
        ApiError: unreadable body, unknown or bad field, no drawing, too many of them.
    """
    kind = _media_type(request)
    if kind == "application/json":
        return await _from_json(await request.body(), json_body, options, urls)
    if kind == "multipart/form-data":
        return await _from_form(request, options, max_files)
    raise _unsupported(
        kind, "Send multipart/form-data with a part named 'file', or application/json with a key 'svg'."
    )


async def read_json(request: Request, model: type[Options]) -> Options:
    """The body, for a route that takes nothing but JSON; `read` has the errors."""
    if (kind := _media_type(request)) != "application/json":
        raise _unsupported(kind, "Send application/json.")
    return _parsed(await request.body(), model)


def _parsed(body: bytes, model: type[Options]) -> Options:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error, model) from None


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _unsupported(kind: str, advice: str) -> ApiError:
    return ApiError(415, "unsupported_media_type", f"Content-Type is {kind or 'missing'}. {advice}")


async def _from_json(
    body: bytes, json_body: type[DrawingBody], options: type[Options], urls: SvgUrls
) -> tuple[Options, list[Upload]]:
    parsed = _parsed(body, json_body)
    fields = parsed.model_dump(exclude={"svg", "svg_url"})
    return options(**fields), [await _drawing(parsed, urls)]


async def _drawing(body: DrawingBody, urls: SvgUrls) -> Upload:
    if (body.svg is None) == (body.svg_url is None):
        raise ApiError(422, "invalid_request", "Send either svg or svg_url.", param="svg")
    if body.svg is not None:
        return Upload("svg", as_bytes(body.svg), "svg")
    return Upload("svg", await urls.read(str(body.svg_url), "svg_url"), "svg_url")


async def _from_form(
    request: Request, options: type[Options], max_files: int
) -> tuple[Options, list[Upload]]:
    try:
        form = await request.form(max_fields=32)
    except (LookupError, ValueError) as error:  # such as a charset that is none
        raise ApiError(400, "invalid_form", f"The form cannot be read: {error}.") from None
    try:
        parts = form.getlist("file")
        if not parts:
            raise ApiError(422, "missing_file", "The form has no part named 'file'.", param="file")
        if len(parts) > max_files:
            raise ApiError(
                413,
                "too_many_files",
                f"There are {len(parts)} files, the limit is {max_files}.",
                param="file",
            )
        uploads = [await _upload(part, index) for index, part in enumerate(parts)]
        fields: Mapping[str, Any] = {name: _one(form.getlist(name)) for name in form if name != "file"}
    finally:
        await form.close()
    try:
        return options.model_validate(fields), uploads
    except ValidationError as error:
        raise _invalid(error, options) from None


async def _upload(part: UploadFile | str, index: int) -> Upload:
    if isinstance(part, str):
        return Upload(f"file-{index + 1}", as_bytes(part), "file")
    return Upload(part.filename or f"file-{index + 1}", await part.read(), "file")


def _one(values: list[Any]) -> Any:
    """A field that was sent several times is a list."""
    return values if len(values) > 1 else values[0]


def _invalid(error: ValidationError, model: type[BaseModel]) -> ApiError:
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return ApiError(400, "invalid_json", f"The body is not valid JSON: {first['msg']}.")
    param = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = get_close_matches(param, model.model_fields, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(model.model_fields)}."
        return ApiError(422, "invalid_request", f"Unknown field '{param}'.{hint}", param=param)
    return ApiError(422, "invalid_request", f"{param or 'body'}: {first['msg']}.", param=param or None)

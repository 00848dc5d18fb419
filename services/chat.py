"""OpenAI's chat completions over captions: the last user message has the drawing, the answer is its caption.

Only the drawing of a conversation is read: the instruction is always the one that the models were trained on.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing
from urllib.parse import unquote_to_bytes

from fastapi import Depends, FastAPI, Request, Response

from captioning.pipeline import as_bytes
from services import streams
from services.answers import captioned, json_body, new_id, responses, usage
from services.asking import resolve, sampling_of
from services.captions import Batch, Captioned, Captioner, Sampling
from services.chat_schemas import (
    ChatBody,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChatDelta,
    ChatUsage,
    ChunkChoice,
    ContentPart,
)
from services.errors import ApiError
from services.schemas import CaptionOptions
from services.settings import Settings
from services.streams import Admitted
from services.svg_urls import SvgUrls
from services.uploads import Upload, read_json

_SVG_TYPE = "image/svg+xml"

_WITHOUT_EFFECT: dict[str, tuple[object, ...]] = {
    "frequency_penalty": (None, 0),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "modalities": (None, ["text"]),
    "presence_penalty": (None, 0),
    "response_format": (None, {"type": "text"}),
    "tools": (None, []),
    "top_p": (None, 1),
}
"""Options that would change the answer and that we do not have, with the values that change nothing."""


def add_route(
    api: FastAPI, settings: Settings, captioner: Captioner, urls: SvgUrls, admitted: Admitted
) -> None:
    @api.post(
        "/v1/chat/completions",
        summary="Caption one drawing, as OpenAI's chat",
        response_model=None,
        responses=responses(ChatCompletion, 400, 404, 409, 413, 415, 422, 503, 504, streams=True),
        openapi_extra=json_body(ChatBody),
    )
    async def create_chat_completion(
        request: Request, stack: AsyncExitStack = Depends(admitted)
    ) -> ChatCompletion | Response:
        """For clients that speak to OpenAI. The last user message has the drawing; other words are not read.

        The drawing is SVG code, fenced or not, or an `image_url` with a data URI of type image/svg+xml.
        """
        body = await read_json(request, ChatBody)
        options, upload = options_of(body), await drawing_of(body, urls)
        sampling = sampling_of(options, settings)
        model = await resolve(captioner.catalog, options.model)
        if options.stream:
            with_usage = bool(body.stream_options and body.stream_options.include_usage)
            events = chunks(captioner, upload, model, sampling, with_usage=with_usage)
            return await streams.respond(request, events, stack, deadline_s=settings.deadline_s)
        return completion(await captioner.caption([upload], model, sampling), model, upload)


def options_of(body: ChatBody) -> CaptionOptions:
    """What it asks for, in our own words.

    Raises:
        ApiError: something that no captioner of ours can do.
    """
    for name, value in (body.model_extra or {}).items():
        if value not in _WITHOUT_EFFECT.get(name, (value,)):
            raise ApiError(422, "invalid_request", f"{name} is not supported. Leave it out.", param=name)
    return CaptionOptions(
        model=body.model,
        n=body.n or 1,
        max_tokens=body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
        temperature=body.temperature or 0.0,
        seed=body.seed,
        stop=body.stop,
        stream=bool(body.stream),
    )


async def drawing_of(body: ChatBody, urls: SvgUrls) -> Upload:
    """The one drawing of the last user message: SVG code, fenced or not, or an image_url.

    Raises:
        ApiError: there is none, or several, or what is there is no SVG.
    """
    parts = next((message.content for message in reversed(body.messages) if message.role == "user"), [])
    found = [svg for part in parts for svg in _drawings(part)]
    if len(found) != 1:
        raise _refused(
            f"The last user message has {len(found)} drawings, it must have one: SVG code, "
            f"or an image_url with a data URI of type {_SVG_TYPE}."
        )
    [svg] = found
    return Upload("svg", svg if isinstance(svg, bytes) else await urls.read(svg, "messages"), "messages")


def completion(batch: Batch, model: str, upload: Upload) -> ChatCompletion:
    """
    Raises:
        ApiError: the drawing has no caption.
    """
    result = captioned(batch, upload)
    return ChatCompletion(
        id=new_id("chatcmpl"),
        created=int(time.time()),
        model=model,
        choices=[
            ChatChoice(
                index=index,
                message=ChatDelta(role="assistant", content=text.text),
                finish_reason=text.finish_reason,
            )
            for index, text in enumerate(result.generations)
        ],
        usage=_usage(result),
    )


async def chunks(
    captioner: Captioner, upload: Upload, model: str, sampling: Sampling, *, with_usage: bool
) -> streams.Events:
    """The chunks of a completion: each choice's role, its text, its end; usage if asked for; `[DONE]`."""
    head = ChatChunk(id=new_id("chatcmpl"), created=int(time.time()), model=model)
    began = False
    async with aclosing(captioner.stream([upload], model, sampling)) as stream:
        async for news in stream:
            if isinstance(news, Batch):
                yield b"".join(_last(head, captioned(news, upload), with_usage=with_usage))
                continue
            if not began:
                yield b"".join(
                    _choice(head, index, ChatDelta(role="assistant", content=""))
                    for index in range(sampling.n)
                )
                began = True
            for piece in news:
                yield _choice(head, piece.index, ChatDelta(content=piece.text))


def _last(head: ChatChunk, result: Captioned, *, with_usage: bool) -> Iterator[bytes]:
    for index, text in enumerate(result.generations):
        yield _choice(head, index, ChatDelta(), text.finish_reason)
    if with_usage:
        yield streams.event(head.model_copy(update={"usage": _usage(result)}))
    yield streams.event("[DONE]")


def _choice(head: ChatChunk, index: int, delta: ChatDelta, finish_reason: str | None = None) -> bytes:
    choice = ChunkChoice(index=index, delta=delta, finish_reason=finish_reason)
    return streams.event(head.model_copy(update={"choices": [choice]}))


def _usage(result: Captioned) -> ChatUsage:
    tokens = usage([result])
    return ChatUsage(**tokens.model_dump(), total_tokens=tokens.prompt_tokens + tokens.completion_tokens)


def _drawings(part: ContentPart) -> list[bytes | str]:
    """What is in a part, or the address of it."""
    if part.type == "text":
        return [as_bytes(svg) for svg in _svgs(part.text)]
    if part.type == "image_url" and part.image_url:
        url = part.image_url.url
        is_address = url[:8].lower().startswith(("http://", "https://"))
        return [url if is_address else _from_data_uri(url)]
    raise _refused(f"A part of type '{part.type}' cannot be read: send text or image_url.")


def _svgs(text: str) -> list[str]:
    """SVG code in prose: each fenced block that has some, or else all from its beginning to its end tag."""
    fenced = [block for block in text.split("```")[1::2] if "<svg" in block]
    return [_svg(block) for block in fenced] or ([_svg(text)] if "<svg" in text else [])


def _svg(text: str) -> str:
    root = text.find("<svg")
    start = min(place for mark in ("<?xml", "<!DOCTYPE", "<svg") if 0 <= (place := text.find(mark)) <= root)
    last = text.rfind("</svg")
    return text[start:] if last < 0 else text[start : text.find(">", last) + 1 or None]


def _from_data_uri(uri: str) -> bytes:
    head, _, data = uri.partition(",")
    scheme, _, kind = head.partition(":")
    media_type, *parameters = (word.strip().lower() for word in kind.split(";"))
    if scheme.lower() != "data" or media_type != _SVG_TYPE:
        raise _refused(f"image_url is '{head[:40]}...': only a data URI of type {_SVG_TYPE} can be read.")
    content = unquote_to_bytes(data)
    if "base64" not in parameters:
        return content
    try:
        return base64.b64decode(content)
    except binascii.Error as error:
        raise _refused(f"The data URI is not valid base64: {error}.") from None


def _refused(message: str) -> ApiError:
    return ApiError(422, "invalid_request", message, param="messages")

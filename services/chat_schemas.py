"""OpenAI's chat completions as they go over the wire: the part of them that a captioner can answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from services.schemas import StopStrings


class ImageUrl(BaseModel):
    url: str


class ContentPart(BaseModel):
    """A part of a message: text, or a picture."""

    type: str
    text: str = ""
    image_url: ImageUrl | None = None


class ChatMessage(BaseModel):
    """One turn of the conversation; only the last user message is read."""

    role: str
    content: Annotated[
        list[ContentPart],
        BeforeValidator(
            lambda text: [{"type": "text", "text": text}] if isinstance(text, str) else text or []
        ),
    ] = []


class StreamOptions(BaseModel):
    include_usage: bool = Field(False, description="One more chunk at the end says how many tokens it took.")


class ChatBody(BaseModel):
    """The request. What has no effect on a caption (`user`, `metadata`, ...) is accepted and ignored."""

    model_config = ConfigDict(extra="allow")

    messages: list[ChatMessage] = Field(
        min_length=1, max_length=256, description="The last one of role user holds the drawing."
    )
    model: str | None = Field(
        None, description="Adapter id or base model id; without it the default model answers."
    )
    n: int | None = Field(None, ge=1, description="Choices; more than one needs a temperature above 0.")
    max_tokens: int | None = Field(None, ge=1, description="Length limit of one caption, in tokens.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The same, and goes before it.")
    temperature: float | None = Field(
        None, ge=0.0, le=2.0, description="0, the default, gives the most likely caption."
    )
    seed: int | None = Field(None, ge=0, lt=2**63, description="Makes a sampled caption repeatable.")
    stop: StopStrings = []
    stream: bool | None = Field(None, description="Answer with chunks while the text is written.")
    stream_options: StreamOptions | None = None


class ChatDelta(BaseModel):
    """A message of ours, whole or in pieces."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChatChoice(BaseModel):
    index: int
    message: ChatDelta
    finish_reason: str


class ChunkChoice(BaseModel):
    index: int
    delta: ChatDelta
    finish_reason: str | None = None


class ChatUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(BaseModel):
    """The whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage


class ChatChunk(BaseModel):
    """A piece of a streamed answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice] = []
    usage: ChatUsage | None = None

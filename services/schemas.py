"""What goes over the wire: the JSON that the API takes and gives, and nothing of how it is made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from faithfulness.check import Verdict
from faithfulness.claims import Kind

StopStrings = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=100)]],
    BeforeValidator(lambda stop: [stop] if isinstance(stop, str) else stop or []),
    Field(
        max_length=4,
        description="One string or up to four: a caption ends before the first of them that it would hold.",
    ),
]


class CaptionOptions(BaseModel):
    """How to caption; the same names as JSON keys and as fields of a multipart form."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(
        None, description="Adapter id or base model id; without it the default model answers."
    )
    n: int = Field(1, ge=1, description="Captions per drawing; more than one needs a temperature above 0.")
    max_tokens: int | None = Field(None, ge=1, description="Length limit of one caption, in tokens.")
    temperature: float = Field(
        0.0, ge=0.0, le=2.0, description="0 gives the most likely caption, always the same."
    )
    seed: int | None = Field(None, ge=0, lt=2**63, description="Makes a sampled caption repeatable.")
    stop: StopStrings = []
    check: bool = Field(
        default=False,
        description="Give each caption's claims, judged against the drawing: true, false or undecidable.",
    )
    revise: bool = Field(
        default=False,
        description="Judge each caption as `check` does, and have the model write anew what is false.",
    )
    stream: bool = Field(False, description="Answer with server-sent events while the text is written.")


class DrawingBody(BaseModel):
    """One drawing in a JSON body: as text, or where it lies."""

    svg: str | None = Field(None, min_length=1, description="The text of one SVG file.")
    svg_url: str | None = Field(
        None,
        min_length=1,
        max_length=2000,
        description="In its place, the address of one; only of hosts that the service's settings name.",
    )


class CaptionBody(CaptionOptions, DrawingBody):
    """The JSON form of a caption request."""


class RenderOptions(BaseModel):
    """How to render a preview."""

    model_config = ConfigDict(extra="forbid")

    size_px: int = Field(512, ge=16, le=1024, description="Side of the square picture, in pixels.")
    background: str = Field(
        "auto",
        max_length=32,
        description="A colour, `transparent`, or `auto`: white, or grey under a nearly white drawing.",
    )


class RenderBody(RenderOptions, DrawingBody):
    """The JSON form of a render request."""


class TitleOptions(BaseModel):
    """What to call a drawing."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1, max_length=2000, description="The words, such as a caption.")


class TitleBody(TitleOptions, DrawingBody):
    """The JSON form of a title request."""


class ClaimVerdict(BaseModel):
    """Words of a caption that claim something, and whether it is true of the drawing."""

    start: int = Field(description="Where they begin in the caption, in characters (Unicode code points).")
    end: int = Field(description="Where they have ended.")
    text: str
    kind: Kind
    verdict: Verdict


class CaptionText(BaseModel):
    """One caption; `length` means that the token limit cut it off."""

    text: str
    finish_reason: Literal["stop", "length"]
    claims: list[ClaimVerdict] | None = Field(
        default=None,
        exclude_if=lambda claims: claims is None,
        description="In their order; only where `check` or `revise` asked for them and the drawing could be "
        "judged.",
    )
    draft: str | None = Field(
        default=None,
        exclude_if=lambda draft: draft is None,
        description="What the model wrote first, where `revise` has changed it.",
    )


class Usage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int


class SvgInfo(BaseModel):
    """What was found in the drawing, and what the sanitizer took out."""

    width: float
    height: float
    elements: int
    removed: list[str]
    warnings: list[str]


class CaptionResponse(BaseModel):
    """The answer for one drawing."""

    id: str
    model: str
    captions: list[CaptionText]
    usage: Usage
    timings_ms: dict[str, float]
    svg: SvgInfo


class ErrorInfo(BaseModel):
    """Why something was refused; `type` is stable, `message` is for people."""

    type: str
    message: str
    param: str | None = None
    request_id: str


class ErrorBody(BaseModel):
    """Every answer that is not a success."""

    error: ErrorInfo


class FileResult(BaseModel):
    """One of several drawings: captions, usage and svg, or an error; `status` is what it alone had got."""

    file: str
    status: int
    captions: list[CaptionText] | None = None
    usage: Usage | None = None
    svg: SvgInfo | None = None
    error: ErrorInfo | None = None


class BatchResponse(BaseModel):
    """The answer for several files: one result each, in their order; a bad file does not lose the others."""

    id: str
    model: str
    results: list[FileResult]
    usage: Usage
    timings_ms: dict[str, float]


class CaptionDelta(BaseModel):
    """What has been added to a caption: the data of a stream's events named `delta`."""

    file: int = Field(description="Which drawing, counted from 0.")
    index: int = Field(description="Which of its n captions, counted from 0.")
    text: str


class ModelCard(BaseModel):
    """One entry of the model list, in OpenAI's shape with `parent` and `manifest` added."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "local"
    parent: str | None = None  # an adapter's base model
    default: bool = False  # answers a request that names no model
    manifest: dict[str, Any] | None = None


class ModelList(BaseModel):
    """The base model first, then the adapters by name."""

    object: Literal["list"] = "list"
    data: list[ModelCard]

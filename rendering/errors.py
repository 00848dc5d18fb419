"""The errors of the whole system: one base class, so that a caller can catch what is ours.

Every error is built from one message string, so that it survives pickling on its way between
processes. `code` is the stable machine name that the HTTP API and the reports show.
"""

from __future__ import annotations


class SvgCaptionError(Exception):
    """Base of every error that this project raises on purpose: one message, one `code`."""

    code = "error"


class SvgRejected(SvgCaptionError, ValueError):
    """The file is not an SVG that we accept; `code` names the reason, the message the limit and the value."""

    def __init__(self, message: str, code: str = "rejected") -> None:
        super().__init__(message, code)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])


class RenderError(SvgCaptionError, RuntimeError):
    """The drawing was accepted but no picture could be made of it within the limits."""

    def __init__(self, message: str, code: str = "render_failed") -> None:
        super().__init__(message, code)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])

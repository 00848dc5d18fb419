"""Errors of evaluation."""

from __future__ import annotations

from rendering import SvgCaptionError


class EvaluationError(SvgCaptionError, RuntimeError):
    """A run that cannot go on."""

    code = "evaluation"


class CandidatesError(SvgCaptionError, ValueError):
    """A candidates file that cannot be read, or does not belong to the corpus."""

    code = "candidates"


class Unavailable(SvgCaptionError, RuntimeError):
    """A metric or captioner that cannot run here; its message is the reason that reports show."""

    code = "unavailable"

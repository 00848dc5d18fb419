"""The errors of a training run that could be started but did not end well."""

from __future__ import annotations

from rendering import SvgCaptionError


class TrainingFailed(SvgCaptionError, RuntimeError):
    """The run ended without an adapter; the message says what was seen and what to try."""

    code = "training_failed"


class TrainingInterrupted(SvgCaptionError, RuntimeError):
    """Somebody asked the run to stop; it left a checkpoint from which it goes on."""

    code = "training_interrupted"


class PushFailed(SvgCaptionError, RuntimeError):
    """A hub refused an upload, or was not reached."""

    code = "push_failed"

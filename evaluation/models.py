"""Where published models come from: a local folder, or the Hugging Face hub and its cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HFValidationError

from evaluation.errors import Unavailable

_HUB_TIMEOUT_S = 5.0


def model_folder(source: str, files: Sequence[str], revision: str | None = None) -> Path:
    """The folder `source`, or the hub's model `source` with those files (patterns), as of `revision`.

    Without a revision it is the newest; without a network the hub's cache is used. Asked once here, rather
    than by each loader for each of its files, an absent hub costs seconds and not minutes.

    Raises:
        Unavailable: it is neither a folder nor to be had from the hub.
    """
    if Path(source).is_dir():
        return Path(source)
    offline = not _hub_answers()
    try:
        return Path(
            snapshot_download(source, revision=revision, allow_patterns=list(files), local_files_only=offline)
        )
    except (OSError, HFValidationError) as error:
        reason = (
            "and the hub cannot be reached"
            if offline
            else f"nor to be had from the hub: {_first_line(error)}"
        )
        raise Unavailable(f"'{source}' is neither a folder nor in the hub's cache, {reason}") from None


def _hub_answers() -> bool:
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        httpx.head(constants.ENDPOINT, timeout=_HUB_TIMEOUT_S)
    except httpx.HTTPError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

"""Adapters and merged models published on a Hugging Face hub: checked here, uploaded by its own library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from huggingface_hub import HfApi, ModelCard, get_token
from huggingface_hub.errors import HfHubHTTPError

from captioning.adapters import CARD_FILE, CONFIG_FILE, read_manifest
from captioning.errors import ConfigError
from captioning.model_card import MERGED_FILE
from training.errors import PushFailed

_CARD_FIELDS = ("base_model", "library_name", "pipeline_tag")
_HINTS = {
    401: "Check HF_TOKEN: the hub does not know it.",
    403: "Check that HF_TOKEN may write there.",
    404: "Check the name.",
}

# The base of whatever the hub library's HTTP client raises: that client changes with its versions.
_HTTP_ERROR = cast(type[Exception], HfHubHTTPError.__bases__[0])


@dataclass(frozen=True)
class Upload:
    repository: str
    private: bool
    files: dict[str, int]  # bytes by name
    url: str | None = None  # of what was uploaded; None for a dry run


def push(folder: Path, repository: str, *, private: bool = False, dry_run: bool = False) -> Upload:
    """Upload an adapter's or a merged model's folder to `ORG/NAME`, which is made if it is not there.

    `private` holds for a repository that is made; one that is there stays as it is.

    Raises:
        ConfigError, AdapterError: nothing was sent: the folder, its card, the name or the token will not do.
        PushFailed: the hub refused, or was not reached.
    """
    _check_name(repository)
    files = _files(folder)
    _check_card(folder)
    if dry_run:
        return Upload(repository, private, files)
    token = get_token()
    if token is None:
        raise ConfigError("no hub token: set HF_TOKEN to one that may write, or give --dry-run.")
    url = _upload(HfApi(token=token), folder, repository, private, sorted(files))
    return Upload(repository, private, files, url)


def _upload(hub: HfApi, folder: Path, repository: str, private: bool, names: list[str]) -> str:
    where = f"'{folder}' was not uploaded to {hub.endpoint}/{repository}"
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=names,
            commit_message=f"Upload {folder.name}",
        )
    except HfHubHTTPError as error:
        status = error.response.status_code
        said = error.server_message or f"status {status}"
        raise PushFailed(f"{where}: {' '.join(said.split())}. {_HINTS.get(status, '')}".strip()) from error
    except ValueError as error:  # what the hub found wrong with the card
        raise PushFailed(f"{where}: {' '.join(str(error).split())}") from error
    except (OSError, _HTTP_ERROR) as error:
        reason = str(error).rstrip(".")
        raise PushFailed(f"{where}: {reason}. Check the network, and HF_ENDPOINT if it is set.") from error
    return str(commit.commit_url)


def _check_name(repository: str) -> None:
    is_name = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]{0,95}", repository, re.ASCII)
    if not is_name or "--" in repository or ".." in repository:
        raise ConfigError(
            f"'{repository}' is no name on a hub: ORG/NAME of letters, digits and single '-', '_' or '.'"
        )


def _files(folder: Path) -> dict[str, int]:
    """Sizes of the files that will be uploaded: those of the folder itself that are not hidden."""
    if (folder / MERGED_FILE).is_file():
        if missing := [name for name in ("config.json", CARD_FILE) if not (folder / name).is_file()]:
            raise ConfigError(f"'{folder}' is no whole model: it lacks {', '.join(missing)}. Merge it again.")
    elif (folder / CONFIG_FILE).is_file():
        read_manifest(folder)
    else:
        raise ConfigError(
            f"'{folder}' holds neither {CONFIG_FILE} nor {MERGED_FILE}: give a folder of either kind"
        )
    return {
        path.name: path.stat().st_size
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    }


def _check_card(folder: Path) -> None:
    """Raises ConfigError for front matter that says too little, or a picture that is not there."""
    path = folder / CARD_FILE
    try:
        card = ModelCard.load(path)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: no model card that can be read: {reason}") from None
    data: dict[str, Any] = card.data.to_dict()
    if missing := [field for field in _CARD_FIELDS if not data.get(field)]:
        raise ConfigError(f"{path}: the front matter lacks {', '.join(missing)}")
    pictures = re.findall(r"!\[[^\]]*\]\(([^):]+)\)", card.text)
    if missing := [name for name in pictures if not (folder / name).is_file()]:
        raise ConfigError(f"{path} shows {', '.join(missing)}, which is not in the folder")

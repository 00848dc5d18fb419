"""Where adapters may be loaded from over HTTP: the service's own folder, or addresses that its settings name.

Knows the file systems of pyarrow: `s3://`, `gs://`, `hf://` (through huggingface_hub) and others.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captioning.adapters import CARD_FILE, CONFIG_FILE, CURVE_FILE, MANIFEST_FILE, WEIGHTS_FILE
from captioning.atomic import replacing
from captioning.errors import AdapterError
from services.errors import ApiError

_FETCHED = ".fetched"  # hidden: served only under the names that they were loaded by
_FILES = (CONFIG_FILE, WEIGHTS_FILE, MANIFEST_FILE, CARD_FILE, CURVE_FILE)
_MAX_BYTES = 4 << 30
_PLAIN = re.compile(r"[A-Za-z0-9._=+-]+(/[A-Za-z0-9._=+-]+)*")  # no query: it could name another host


class AdapterSources:
    """A request's adapter path to a folder below `adapters_dir`. `allowed` are beginnings of addresses."""

    def __init__(self, adapters_dir: Path, allowed: Sequence[str]) -> None:
        self._adapters_dir = adapters_dir
        self._allowed = tuple(prefix.rstrip("/") + "/" for prefix in allowed)

    def folder(self, path: str, name: str) -> Path:
        """A local folder; what lies at an address is copied to a new one, so that an older copy stays whole.

        Raises:
            ApiError: not allowed, or nothing there.
            AdapterError: it cannot be copied.
        """
        if "://" in path:
            return self._fetch(self._checked(path), name)
        root = self._adapters_dir.resolve()
        folder = (root / path).resolve()
        if not folder.is_relative_to(root):
            raise _refused(403, "forbidden", f"'{path}' is not below the service's adapters folder.")
        if not folder.is_dir():
            raise _refused(
                404, "adapter_not_found", f"There is no folder '{path}' below the adapters folder."
            )
        return self._adapters_dir / folder.relative_to(root)

    def forget(self, name: str, *, but: Path | None) -> None:
        """Delete the copies of an adapter that were fetched, other than the one that is served."""
        for folder in (self._adapters_dir / _FETCHED / name).glob("*"):
            if folder != but:
                shutil.rmtree(folder, ignore_errors=True)

    def _checked(self, uri: str) -> str:
        prefix = next((prefix for prefix in self._allowed if uri.startswith(prefix)), None)
        if prefix is None or ".." in uri or not _PLAIN.fullmatch(uri[len(prefix) :]):
            allowed = ", ".join(self._allowed) or "none"
            raise _refused(403, "forbidden", f"'{uri}' is at no address that is allowed here ({allowed}).")
        return uri

    def _fetch(self, uri: str, name: str) -> Path:
        from pyarrow import ArrowException
        from pyarrow.fs import FileSystem, FileType

        folder = self._adapters_dir / _FETCHED / name / uuid.uuid4().hex
        try:
            system, path = FileSystem.from_uri(uri)
            found = {
                info.base_name: info
                for info in system.get_file_info([f"{path}/{file}" for file in _FILES])
                if info.type == FileType.File
            }
            if not found:
                raise _refused(404, "adapter_not_found", f"There is no adapter at '{uri}'.")
            _check_size(uri, sum(info.size for info in found.values()))
            with replacing(folder) as unfinished:
                for file, info in found.items():
                    _copy(system, info.path, unfinished / file)
        except (ArrowException, ImportError, OSError) as error:
            raise AdapterError(f"'{uri}' cannot be copied: {error}") from error
        return folder


def _check_size(uri: str, size: int) -> None:
    if size > _MAX_BYTES:
        raise AdapterError(f"'{uri}' has {size:,} bytes, the limit is {_MAX_BYTES:,}.")


def _copy(system: Any, source: str, target: Path) -> None:
    with system.open_input_stream(source) as stream, target.open("wb") as file:
        while chunk := stream.read(1 << 20):
            file.write(chunk)


def _refused(status: int, kind: str, message: str) -> ApiError:
    return ApiError(status, kind, message, param="lora_path")

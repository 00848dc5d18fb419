"""Which models answer here: the base model and the adapters that lie in a folder at this moment.

The folder is read at each look-up, so an adapter that was just exported, replaced or deleted counts
from the next request on. Loading weights is the engine's business.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from captioning.adapters import Manifest, check_compatible, find_adapters, read_manifest
from captioning.base_models import BaseModelSpec
from captioning.errors import AdapterError, ModelNotFound
from services.register import Register

log = logging.getLogger(__name__)

Stamp = tuple[tuple[str, int, int], ...]


class Catalog:
    """Names to adapter folders, for one base model."""

    def __init__(
        self, spec: BaseModelSpec, fingerprint: str | None, folder: Path, default: str | None = None
    ) -> None:
        self.spec = spec
        self.default = default or spec.id
        self._fingerprint = fingerprint
        self._folder = folder
        self.register = Register(folder)

    def resolve(self, name: str | None) -> str:
        """The id of the model that answers to `name`; None means the default.

        Raises:
            ModelNotFound: no such adapter, and not the base model either.
        """
        name = name or self.default
        if name != self.spec.id and name not in self.folders():
            available = ", ".join([self.spec.id, *self.manifests()])
            raise ModelNotFound(f"No model '{name}'. Available: {available}.")
        return name

    def folder(self, adapter_id: str) -> Path:
        """Where the adapter lies.

        Raises:
            ModelNotFound: it is gone.
        """
        try:
            return self.folders()[adapter_id]
        except KeyError:
            raise ModelNotFound(f"Adapter '{adapter_id}' is no longer served.") from None

    def folders(self) -> dict[str, Path]:
        """All adapters by name: those in the folder, as the register changes them."""
        return self.register.applied_to(find_adapters(self._folder))

    def manifests(self) -> dict[str, Manifest]:
        """The adapters that fit the base model, by name; the others are logged and left out."""
        found = {}
        for adapter_id, folder in sorted(self.folders().items()):
            try:
                found[adapter_id] = self.manifest(folder)
            except (AdapterError, OSError) as error:
                log.warning("not served: %s", error)
        return found

    def manifest(self, folder: Path) -> Manifest:
        """
        Raises:
            AdapterError: it is broken, or does not fit the base model.
        """
        manifest = read_manifest(folder)
        check_compatible(manifest, self.spec, self._fingerprint)
        return manifest


def stamp(folder: Path) -> Stamp:
    """Changes when a file of the folder is replaced, added or removed."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)


def created_s(manifest: Manifest) -> int:
    """Seconds since 1970, as OpenAI's list has it."""
    return int(datetime.fromisoformat(manifest.created).timestamp())

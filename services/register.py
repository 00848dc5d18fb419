"""Which adapters were loaded and unloaded over HTTP: a small file for each name, beside the adapters.

So all replicas agree, those that start later too, and a restart changes nothing.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from captioning.atomic import write_text

log = logging.getLogger(__name__)

_FOLDER = ".register"  # hidden: not an adapter


class Register:
    """Changes to the adapters that lie in a folder."""

    def __init__(self, adapters_dir: Path) -> None:
        self._adapters_dir = adapters_dir
        self._folder = adapters_dir / _FOLDER

    def applied_to(self, found: dict[str, Path]) -> dict[str, Path]:
        """The adapters by name: those found in the folder, less the unloaded, and the loaded."""
        found = dict(found)
        for path in sorted(self._folder.glob("*.json")):
            try:
                folder = json.loads(path.read_bytes())["folder"]
            except (OSError, ValueError, LookupError, TypeError) as error:
                log.warning("left out: %s: %s", path, error)
                continue
            found.pop(path.stem, None)
            if folder is not None:
                found[path.stem] = self._adapters_dir / folder
        return found

    def load(self, name: str, folder: Path) -> None:
        """Serve as `name` the adapter in `folder`, which is below the adapters."""
        self._write(name, str(folder.relative_to(self._adapters_dir)))

    def unload(self, name: str) -> None:
        """Serve none as `name`, whatever lies in the folder."""
        self._write(name, None)

    def _write(self, name: str, folder: str | None) -> None:
        write_text(self._folder / f"{name}.json", json.dumps({"folder": folder}))

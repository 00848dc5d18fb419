"""Tiny icon packages in npm's format, so that no test needs a registry."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from pathlib import Path

from training.corpora.icons import Package

SQUARE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M{0} {0}h9v9h-9z"/></svg>'


def make_package(folder: Path, icons: dict[str, str], extra: dict[str, object] | None = None) -> Package:
    """Writes `toy-1.0.0.tgz` with icons by path, and returns its pinned description."""
    texts = {f"icons/{path}.svg": svg for path, svg in icons.items()}
    texts |= {path: json.dumps(content) for path, content in (extra or {}).items()}
    archive = folder / "toy-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for path, text in texts.items():
            member = tarfile.TarInfo(f"package/{path}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    sha512 = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    return Package("toy", "1.0.0", sha512, "MIT", "Copyright (c) 2026 Toy", "icons")


def squares(*names: str) -> dict[str, str]:
    """A different drawing for each name."""
    return {name: SQUARE.format(1 + i / 4) for i, name in enumerate(names)}

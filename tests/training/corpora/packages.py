"""Tiny icon packages in npm's format, so that no test needs a registry."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from training.corpora.icon_packages import Package

SQUARE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M{0} {0}h9v9h-9z"/></svg>'


def make_package(
    directory: Path, icons: dict[str, str], extra: dict[str, object] | None = None, **traits: Any
) -> Package:
    """Writes `toy-1.0.0.tgz` with icons by path, and returns its pinned description."""
    texts = {f"icons/{path}.svg": svg for path, svg in icons.items()}
    texts |= {path: json.dumps(content) for path, content in (extra or {}).items()}
    archive = directory / "toy-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for path, text in texts.items():
            member = tarfile.TarInfo(f"package/{path}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    sha512 = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    return Package("toy", "1.0.0", sha512, "MIT", "Copyright (c) 2026 Toy", **{"folder": "icons"} | traits)


def make_iconify_package(folder: Path, bodies: dict[str, str], **traits: Any) -> Package:
    """The same in Iconify's format: all icons in one file, 24 x 24 but for the first, which is 32 high."""
    icons: dict[str, dict[str, object]] = {name: {"body": body} for name, body in bodies.items()}
    next(iter(icons.values()))["height"] = 32
    collection = {"icons": icons | {"old": {"body": "<g/>", "hidden": True}}, "width": 24, "height": 24}
    return make_package(folder, {}, {"icons.json": collection}, folder="", **traits)


def squares(*names: str) -> dict[str, str]:
    """A different drawing for each name."""
    return {name: SQUARE.format(1 + i / 4) for i, name in enumerate(names)}

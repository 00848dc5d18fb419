"""The files that a visitor brings to the batch tab: SVGs and zips of SVGs, read under limits.

Nothing is unpacked to disk, and no size that a zip states is believed: an entry is read up to its limit.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.page_client import Refused, Source, failed
from services.schemas import FileResult

MAX_FILES = 500
MAX_FILE_BYTES = 4 << 20  # that of rendering.Limits: more would be refused anyway
MAX_TOTAL_BYTES = 64 << 20
_SVG = (".svg", ".svgz")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks the others without a bound


def collect(paths: Sequence[Path]) -> list[Source | FileResult]:
    """The drawings of these files and zips, in order; one that cannot be read is a result with the reason.

    Raises:
        Refused: a zip that is none, no drawing at all, or too much.
    """
    found: list[Source | FileResult] = []
    total = 0
    for path in paths:
        for each in _unzipped(path) if path.suffix.lower() == ".zip" else _plain(path):
            found.append(each)
            total += len(each.content) if isinstance(each, Source) else 0
            if len(found) > MAX_FILES:
                raise _too_much(f"more than {MAX_FILES} drawings, the limit of this page")
            if total > MAX_TOTAL_BYTES:
                raise _too_much(f"more than {MAX_TOTAL_BYTES >> 20} MiB, the limit of this page")
    if not found:
        raise Refused("There is no .svg or .svgz file in what you gave.", kind="no_files")
    return found


def _too_much(what: str) -> Refused:
    return Refused(
        f"There are {what}. Send fewer at a time, or use `python -m captioning` on a machine of your own.",
        kind="too_much",
    )


def _plain(path: Path) -> Iterator[Source]:
    yield Source(path.name, path.read_bytes())


def _unzipped(path: Path) -> Iterator[Source | FileResult]:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = entry.filename
                if name.lower().endswith(_SVG) and not name.startswith("__MACOSX/"):
                    yield _read(archive, entry)
    except zipfile.BadZipFile as error:
        raise Refused(f"{path.name} cannot be read as a zip: {error}.", kind="bad_zip") from None


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Source | FileResult:
    try:
        if entry.compress_type not in _METHODS:
            raise zipfile.BadZipFile("its compression is not that of ordinary zips")
        with archive.open(entry) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        return failed(entry.filename, Refused(f"It cannot be unpacked: {error}.", kind="bad_zip"))
    if len(content) > MAX_FILE_BYTES:
        limit = f"It has more than {MAX_FILE_BYTES:,} bytes, the limit of one file."
        return failed(entry.filename, Refused(limit, kind="too_large"))
    return Source(entry.filename, content)


def chunks(sources: Sequence[Source], *, files: int = 8, size: int = 4 << 20) -> Iterator[list[Source]]:
    """Requests that the API takes: at most so many files, and so many bytes unless one file has more."""
    chunk: list[Source] = []
    weight = 0
    for source in sources:
        if chunk and (len(chunk) == files or weight + len(source.content) > size):
            yield chunk
            chunk, weight = [], 0
        chunk.append(source)
        weight += len(source.content)
    if chunk:
        yield chunk

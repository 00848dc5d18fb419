"""Bytes to XML bytes: gzip (SVGZ) is undone under a limit, and what cannot be text is refused.

Knows nothing of XML; the parser reads the encoding from the byte-order mark or the declaration.
"""

from __future__ import annotations

import zlib

from rendering.errors import SvgRejected
from rendering.limits import Limits

_GZIP_MAGIC = b"\x1f\x8b"


def decode(data: bytes, limits: Limits) -> bytes:
    """The file's XML bytes, decompressed if it is an SVGZ.

    Raises:
        SvgRejected: empty, over `limits.max_bytes` (before or after decompression), broken gzip.
    """
    _check_size(len(data), limits, "The file")
    if data.startswith(_GZIP_MAGIC):
        data = _gunzip(data, limits)
    if not data.strip(b"\x00 \t\r\n"):
        raise SvgRejected("The file is empty. Send the text of an SVG file.", "empty")
    return data


def _check_size(size: int, limits: Limits, what: str) -> None:
    if size > limits.max_bytes:
        raise SvgRejected(
            f"{what} has {size:,} bytes, the limit is {limits.max_bytes:,}. "
            "Simplify the drawing or raise limits.max_bytes.",
            "too_large",
        )


def _gunzip(data: bytes, limits: Limits) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(data, limits.max_bytes + 1)
    except zlib.error as error:
        raise SvgRejected(
            f"The file starts like a gzip file but cannot be decompressed: {error}.", "malformed"
        ) from None
    _check_size(len(text), limits, "The decompressed file")
    if not inflater.eof:
        raise SvgRejected("The gzip file is cut off before its end. Upload it again.", "malformed")
    return text

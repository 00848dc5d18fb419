"""Messages between the pool and its workers: a JSON header and a binary body over one socket.

Nothing but JSON and raw bytes is read back from a worker: a worker that hostile input has taken
over can send a wrong picture, never code.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

_LENGTHS = struct.Struct("!II")  # of the header and of the body, in bytes


def send(channel: socket.socket, header: dict[str, Any], body: bytes = b"") -> None:
    text = json.dumps(header).encode()
    channel.sendall(_LENGTHS.pack(len(text), len(body)) + text + body)


def receive(
    channel: socket.socket, *, max_bytes: int, deadline: float | None = None
) -> tuple[dict[str, Any], bytes]:
    """Read one message before `deadline` (on the `time.monotonic` clock; None waits for ever).

    Raises:
        TimeoutError: the deadline passed.
        EOFError: the other side is gone.
        ValueError: the message is longer than `max_bytes`, or its header is no JSON.
    """
    header_bytes, body_bytes = _LENGTHS.unpack(_read(channel, _LENGTHS.size, deadline))
    if header_bytes + body_bytes > max_bytes:
        raise ValueError(f"a message of {header_bytes + body_bytes:,} bytes, the limit is {max_bytes:,}")
    header = json.loads(_read(channel, header_bytes, deadline))
    return header, _read(channel, body_bytes, deadline)


def _read(channel: socket.socket, count: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        if deadline is not None:
            # settimeout(0) would mean "do not block", not "no time left"
            channel.settimeout(max(deadline - time.monotonic(), 0.001))
        part = channel.recv(min(count - len(parts), 1 << 20))
        if not part:
            raise EOFError("the other side closed the channel")
        parts += part
    return bytes(parts)

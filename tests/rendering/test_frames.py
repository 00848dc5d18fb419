from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from rendering.frames import receive, send

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_header_and_body_arrive_whole(ends: Ends) -> None:
    body = bytes(range(256)) * 5_000  # more than a socket's buffer
    sender = threading.Thread(target=send, args=(ends[0], {"size_px": 3}, body))
    sender.start()
    assert receive(ends[1], max_bytes=2_000_000) == ({"size_px": 3}, body)
    sender.join()


def test_silence_ends_at_the_deadline(ends: Ends) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        receive(ends[1], max_bytes=100, deadline=started + 0.1)
    assert time.monotonic() - started < 2


def test_half_a_message_is_an_end(ends: Ends) -> None:
    ends[0].sendall(struct.pack("!II", 100, 100) + b"{}")
    ends[0].close()
    with pytest.raises(EOFError):
        receive(ends[1], max_bytes=1_000)


def test_a_message_that_is_too_long_is_refused_before_it_is_read(ends: Ends) -> None:
    ends[0].sendall(struct.pack("!II", 2, 1 << 31))
    with pytest.raises(ValueError, match="limit is 1,000"):
        receive(ends[1], max_bytes=1_000)


def test_a_header_that_is_no_json_is_refused(ends: Ends) -> None:
    ends[0].sendall(struct.pack("!II", 4, 0) + b"junk")
    with pytest.raises(ValueError, match="Expecting value"):
        receive(ends[1], max_bytes=1_000)

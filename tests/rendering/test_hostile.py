"""Every hostile file ends soon in a picture or a typed error, and costs nobody else anything."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rendering.canonical import canonicalize
from rendering.document import load
from rendering.errors import RenderError, SvgRejected
from rendering.raster import Rasterizer
from tests.rendering.drawings import RED_CIRCLE, picture
from tests.rendering.hostile import FAMILIES, files
from tests.rendering.processes import workers_of

CPU_S = (
    15.0  # of our own work on a file, which is less than 5 s on a quiet machine; drawing has its own limit
)
MEMORY_MIB = 1024


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.01)
        yield server


@pytest.fixture(scope="module")
def corpus(listener: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files, with the address of a listener and the path of a pipe: to open it is to hang."""
    pipe = tmp_path_factory.mktemp("hostile") / "pipe"
    os.mkfifo(pipe)
    return files(f"http://127.0.0.1:{listener.getsockname()[1]}/x", str(pipe))


@pytest.fixture(scope="module")
def strangers() -> set[int]:
    """Render workers of other tests, which may still be about."""
    return workers_of()


@pytest.fixture(scope="module")
def rasterizer(strangers: set[int]) -> Iterator[Rasterizer]:
    with Rasterizer(timeout_s=2.0, memory_mib=512) as pool:
        yield pool


def outcome(data: bytes, rasterizer: Rasterizer) -> str:
    """What became of a file: `drawn`, or the code of the error."""
    try:
        drawing = load(data)
        canonicalize(drawing)
        png = rasterizer.render(drawing, size_px=64)
    except (SvgRejected, RenderError) as error:
        return error.code
    return "drawn" if picture(png).size == (64, 64) else "another size"


def test_there_are_enough_files(corpus: dict[str, bytes]) -> None:
    assert len(corpus) >= 150


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hostile_file_harms_nothing(
    family: str,
    corpus: dict[str, bytes],
    rasterizer: Rasterizer,
    strangers: set[int],
    listener: socket.socket,
) -> None:
    slow, outcomes = {}, {}
    for name, data in corpus.items():
        if not name.startswith(family):
            continue
        started = time.process_time()
        outcomes[name] = outcome(data, rasterizer)
        seconds = time.process_time() - started
        if seconds > CPU_S:
            slow[name] = (outcomes[name], round(seconds, 1))
        image = picture(rasterizer.render(RED_CIRCLE, size_px=32))
        assert image.getpixel((16, 16)) == (255, 0, 0), f"after {name}"
        assert len(workers_of() - strangers) <= 1, f"after {name}"
    assert not slow
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 < MEMORY_MIB + BASE_MIB
    with pytest.raises(TimeoutError):
        listener.accept()


BASE_MIB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_nothing_is_left_behind(corpus: dict[str, bytes], tmp_path: Path) -> None:
    before = workers_of()
    with Rasterizer() as rasterizer:
        for name in ("path and dash bombs: numbers after z", "nesting: g, 90 deep"):
            outcome(corpus[name], rasterizer)
        assert workers_of() - before
    assert not workers_of() - before

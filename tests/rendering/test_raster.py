from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rendering.document import Drawing
from rendering.errors import RenderError
from rendering.raster import Rasterizer
from tests.rendering.drawings import ENDLESS, RED_CIRCLE, picture, unchecked
from tests.rendering.processes import alive, eventually, workers_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rasterizer() -> Iterator[Rasterizer]:
    with Rasterizer(workers=2) as pool:
        yield pool


def memory_bomb() -> Drawing:
    """A PNG of 65 kB that is 1.6 GB once it is unpacked."""
    side = 20_000
    rows = zlib.compress(b"\x00" * (side // 8 + 1) * side, 9)
    chunks = [
        (b"IHDR", struct.pack("!IIBBBBB", side, side, 1, 0, 0, 0, 0)),
        (b"IDAT", rows),
        (b"IEND", b""),
    ]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return unchecked(
        f'<image width="100" height="100" href="data:image/png;base64,{b64encode(png).decode()}"/>'
    )


def test_a_red_circle_is_red_in_the_middle_and_white_around(rasterizer: Rasterizer) -> None:
    image = picture(rasterizer.render(RED_CIRCLE, size_px=64))
    assert image.size == (64, 64)
    assert image.mode == "RGB"
    assert image.getpixel((32, 32)) == (255, 0, 0)
    assert image.getpixel((1, 1)) == (255, 255, 255)


def test_a_wide_drawing_is_padded_not_stretched_and_not_cropped(rasterizer: Rasterizer) -> None:
    wide = unchecked('<rect width="200" height="50" fill="blue"/>', width=200, height=50)
    image = picture(rasterizer.render(wide, size_px=64, background="transparent"))
    assert image.getbbox() == (0, 24, 64, 40)


def test_current_color_is_black(rasterizer: Rasterizer) -> None:
    drawing = unchecked('<rect width="100" height="100" fill="currentColor"/>')
    assert picture(rasterizer.render(drawing, size_px=8)).getpixel((4, 4)) == (0, 0, 0)


def test_a_white_drawing_is_seen_on_the_automatic_ground(rasterizer: Rasterizer) -> None:
    white = unchecked('<circle cx="50" cy="50" r="40" fill="white"/>')
    image = picture(rasterizer.render(white, size_px=64, background="auto"))
    assert image.getpixel((32, 32)) == (255, 255, 255)
    ground = image.getpixel((1, 1))
    assert isinstance(ground, tuple)
    assert max(ground) < 128


def test_measure_names_the_renderer_and_the_cost(rasterizer: Rasterizer) -> None:
    raster = rasterizer.measure(RED_CIRCLE)
    assert raster.backend.startswith("cairosvg 2.")
    assert raster.time_ms > 0
    assert raster.memory_mib >= 0


@pytest.mark.parametrize(
    ("size_px", "background"), [(0, "white"), (100_000, "white"), (64, "no such colour"), (64, "")]
)
def test_wrong_use_is_a_value_error(rasterizer: Rasterizer, size_px: int, background: str) -> None:
    with pytest.raises(ValueError, match=r"size_px|background"):
        rasterizer.render(RED_CIRCLE, size_px=size_px, background=background)


@pytest.mark.parametrize(("width", "height"), [(0, 10), (-1, 10), (float("nan"), 10), (10, float("inf"))])
def test_a_drawing_without_area_is_a_render_error(
    rasterizer: Rasterizer, width: float, height: float
) -> None:
    with pytest.raises(RenderError, match="size"):
        rasterizer.render(unchecked("", width=width, height=height))


def test_what_the_renderer_cannot_draw_is_a_render_error(rasterizer: Rasterizer) -> None:
    with pytest.raises(RenderError, match="cairosvg could not draw it") as caught:
        rasterizer.render(unchecked('<rect width="1" height="1" opacity="none"/>'))
    assert caught.value.code == "render_failed"
    assert rasterizer.render(RED_CIRCLE)


def test_an_endless_drawing_is_killed_in_time_and_the_next_one_drawn() -> None:
    with Rasterizer(timeout_s=1.0) as rasterizer:
        before = workers_of()
        rasterizer.render(RED_CIRCLE)
        (first,) = workers_of() - before
        started = time.monotonic()
        with pytest.raises(RenderError, match="1 s") as caught:
            rasterizer.render(ENDLESS)
        assert time.monotonic() - started < 5
        assert caught.value.code == "render_timeout"
        assert not alive(first)
        assert picture(rasterizer.render(RED_CIRCLE, size_px=64)).getpixel((32, 32)) == (255, 0, 0)


def test_a_memory_bomb_costs_its_file_only() -> None:
    with Rasterizer(memory_mib=256, timeout_s=30) as rasterizer:
        with pytest.raises(RenderError) as caught:
            rasterizer.render(memory_bomb())
        assert caught.value.code == "render_memory"
        assert "256 MiB" in str(caught.value)
        rasterizer.render(RED_CIRCLE)


def test_an_error_survives_pickling() -> None:
    error = RenderError("too costly", code="render_timeout")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, RenderError)
    assert (str(copy), copy.code) == ("too costly", "render_timeout")


def test_twenty_threads_share_two_workers(rasterizer: Rasterizer) -> None:
    colors = [f"#{number:02x}0000" for number in range(20)]
    drawings = [unchecked(f'<rect width="100" height="100" fill="{color}"/>') for color in colors]
    with ThreadPoolExecutor(20) as threads:
        pngs = list(threads.map(lambda drawing: rasterizer.render(drawing, size_px=16), drawings))
    assert [picture(png).getpixel((8, 8)) for png in pngs] == [(number, 0, 0) for number in range(20)]


def test_threads_that_meet_endless_drawings_do_not_disturb_the_others() -> None:
    with Rasterizer(workers=2, timeout_s=3.0) as rasterizer, ThreadPoolExecutor(6) as threads:
        jobs = [threads.submit(rasterizer.render, d) for d in (ENDLESS, RED_CIRCLE, RED_CIRCLE) * 2]
        codes = [getattr(job.exception(), "code", "drawn") for job in jobs]
    assert codes == ["render_timeout", "drawn", "drawn"] * 2


def test_the_worker_outlives_the_thread_that_started_it() -> None:
    with Rasterizer() as rasterizer:
        before = workers_of()
        thread = threading.Thread(target=rasterizer.render, args=(RED_CIRCLE,))
        thread.start()
        thread.join()
        (worker,) = workers_of() - before
        rasterizer.render(RED_CIRCLE)
        assert alive(worker)


def test_workers_start_when_needed_and_are_gone_after_close() -> None:
    before = workers_of()
    rasterizer = Rasterizer(workers=3)
    assert workers_of() == before
    rasterizer.render(RED_CIRCLE)
    assert len(workers_of() - before) == 1
    rasterizer.close()
    rasterizer.close()
    assert workers_of() == before
    with pytest.raises(RuntimeError, match="closed"):
        rasterizer.render(RED_CIRCLE)


def test_a_pool_that_nobody_closed_leaves_no_worker() -> None:
    before = workers_of()
    rasterizer = Rasterizer()
    rasterizer.render(RED_CIRCLE)
    del rasterizer
    assert eventually(lambda: workers_of() == before)


def test_a_worker_is_replaced_after_its_share_of_files() -> None:
    with Rasterizer(renders_per_worker=2) as rasterizer:
        before = workers_of()
        seen = set()
        for _ in range(4):
            rasterizer.render(RED_CIRCLE, size_px=8)
            seen |= workers_of() - before
        assert len(seen) == 2
        assert len(workers_of() - before) == 1


def test_a_worker_that_was_killed_from_outside_is_replaced() -> None:
    with Rasterizer() as rasterizer:
        before = workers_of()
        rasterizer.render(RED_CIRCLE)
        (worker,) = workers_of() - before
        os.kill(worker, signal.SIGKILL)
        assert eventually(lambda: not alive(worker))
        rasterizer.render(RED_CIRCLE)


def test_the_kernel_holds_the_limits_and_no_secret_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "not for a renderer")
    with Rasterizer() as rasterizer:
        before = workers_of()
        rasterizer.render(RED_CIRCLE)
        (worker,) = workers_of() - before
        environment = Path(f"/proc/{worker}/environ").read_bytes()
        limits = {
            line[:26].strip(): line[26:].split()[0]
            for line in Path(f"/proc/{worker}/limits").read_text().splitlines()
        }
    assert b"HF_TOKEN" not in environment
    assert (limits["Max open files"], limits["Max core file size"], limits["Max file size"]) == (
        "64",
        "0",
        "0",
    )
    assert 512 << 20 < int(limits["Max address space"]) < 4 << 30


@pytest.mark.parametrize("busy", [False, True])
def test_no_worker_outlives_a_parent_that_was_killed(busy: bool) -> None:
    program = (
        "import sys, threading, time\n"
        "from rendering.raster import Rasterizer\n"
        "from tests.rendering.drawings import ENDLESS, RED_CIRCLE\n"
        "rasterizer = Rasterizer(timeout_s=2.0)\n"
        "rasterizer.render(RED_CIRCLE)\n"
        f"if {busy}: threading.Thread(target=rasterizer.render, args=(ENDLESS,), daemon=True).start()\n"
        "time.sleep(0.3)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        (worker,) = workers_of(parent.pid)
        parent.kill()
    assert eventually(lambda: not alive(worker), within_s=8)


def _render_in_child(results: multiprocessing.Queue[bytes]) -> None:
    with Rasterizer() as rasterizer:
        results.put(rasterizer.render(RED_CIRCLE, size_px=8))


def test_it_works_in_a_daemonic_process() -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_render_in_child, args=(results,), daemon=True)
    process.start()
    assert picture(results.get(timeout=60)).size == (8, 8)
    process.join(timeout=60)
    assert process.exitcode == 0


def test_a_pool_refuses_to_cross_a_fork() -> None:
    program = (
        "import os\n"
        "from rendering.raster import Rasterizer\n"
        "from tests.rendering.drawings import RED_CIRCLE\n"
        "with Rasterizer() as rasterizer:\n"
        "    rasterizer.render(RED_CIRCLE)\n"
        "    if os.fork() == 0:\n"
        "        try:\n"
        "            rasterizer.render(RED_CIRCLE)\n"
        "        except RuntimeError as error:\n"
        "            print(error, flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "    rasterizer.render(RED_CIRCLE)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "make one in each process" in done.stdout


def test_a_file_in_the_working_directory_cannot_pose_as_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cairosvg.py").write_text("raise SystemExit('imported from the working directory')")
    monkeypatch.chdir(tmp_path)
    with Rasterizer() as rasterizer:
        rasterizer.render(RED_CIRCLE)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise ImportError('libresvg is missing')", "libresvg is missing"),
        ("import os; os._exit(3)", "status 3"),
    ],
)
def test_a_renderer_that_cannot_start_says_why(
    module: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "resvg_py.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = workers_of()
    with Rasterizer(backend="resvg") as rasterizer, pytest.raises(RenderError, match=reason) as caught:
        rasterizer.render(RED_CIRCLE)
    assert caught.value.code == "backend_unavailable"
    assert workers_of() == before


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"timeout_s": 0}, {"memory_mib": -1}, {"backend": "paint"}]
)
def test_a_pool_with_wrong_settings_is_a_value_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        Rasterizer(**wrong)


def test_an_error_that_a_library_keeps_does_not_spoil_the_next_file() -> None:
    """Cairo's font face stays in its error state for as long as the process lives."""
    text = '<g id="i"><text transform="translate(20 50)"> </text></g>'
    spoiler = unchecked(f'<use filter="url(#S)" href="#i"/><use filter="url(#S)"/>{text}')
    with Rasterizer() as alone:
        with pytest.raises(RenderError):
            alone.render(spoiler)
        assert alone.render(unchecked('<text x="20" y="50">a</text>'))

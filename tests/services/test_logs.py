"""Log lines on their way from a replica's file to a terminal."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

from services.logs import as_json, as_text, following

REQUEST = {
    "asctime": "2026-01-02 03:04:05,678",
    "levelname": "INFO",
    "message": "POST /v1/captions 200",
    "filename": "watch.py",
    "name": "services.watch",
    "request_id": "0123456789abcdef",
    "node_id": "f00",
    "outcome": "ok",
    "model": "tiny",
    "ms": 12.5,
}
ERROR = REQUEST | {"levelname": "ERROR", "message": "generation failed", "exc_text": "Traceback ..."}
RAYS_OWN = REQUEST | {"name": "ray.serve", "message": "Started executing"}


def test_json_says_what_happened_and_not_where_ray_ran_it() -> None:
    line = json.loads(as_json(REQUEST))
    assert list(line)[:3] == ["time", "level", "message"]
    assert line["ms"] == 12.5
    assert line["request_id"] == "0123456789abcdef"
    assert {"node_id", "filename", "name"}.isdisjoint(line)


def test_text_is_for_people() -> None:
    assert as_text(REQUEST) == "03:04:05 POST /v1/captions 200  ok tiny 12.5 ms [01234567]"
    assert as_text(ERROR).endswith("\nTraceback ...")
    assert "ERROR generation failed" in as_text(ERROR)


def test_an_id_cannot_command_the_terminal() -> None:
    assert "\x1b" not in as_text(REQUEST | {"request_id": "\x1b[2Jabc"})


def follow(folder: Path, *steps: Any) -> list[str]:
    out = io.StringIO()
    with following(folder, out, lambda line: str(line["message"])):
        for step in steps:
            step()
            time.sleep(0.3)
    return out.getvalue().splitlines()


def test_what_is_appended_appears_also_across_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "replica_svg-captions_Engine_x.log"

    def append(text: str) -> None:
        with path.open("a") as file:
            file.write(text)

    def write(*lines: Any) -> None:
        for line in lines:
            append(f"{line if isinstance(line, str) else json.dumps(line)}\n")

    def rotate() -> None:
        write(REQUEST | {"message": "last of the old"})
        path.rename(path.with_suffix(".log.1"))
        write(REQUEST | {"message": "first of the new"})

    def half() -> None:
        append(json.dumps(ERROR)[:40])

    def other_half() -> None:
        append(json.dumps(ERROR)[40:] + "\n")

    shown = follow(
        tmp_path, lambda: write(REQUEST, RAYS_OWN, "no JSON"), rotate, half, other_half, lambda: write(ERROR)
    )
    assert shown == [
        "POST /v1/captions 200",
        "last of the old",
        "first of the new",
        "generation failed",
        "generation failed",
    ]


def test_what_was_written_last_still_appears(tmp_path: Path) -> None:
    out = io.StringIO()
    with following(tmp_path, out, as_text):
        (tmp_path / "replica_x.log").write_text(json.dumps(REQUEST) + "\n")
    assert "POST /v1/captions 200" in out.getvalue()


def test_warnings_of_ray_serve_concern_us(tmp_path: Path) -> None:
    (tmp_path / "replica_x.log").write_text(json.dumps(RAYS_OWN | {"levelname": "WARNING"}) + "\n")
    assert follow(tmp_path, lambda: None) == ["Started executing"]

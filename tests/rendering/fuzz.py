"""Coverage-guided fuzzing of the border; what it finds becomes a test.

    uv pip install atheris
    python -m tests.rendering.fuzz -max_total_time=1200 runs/fuzz services/samples

Every input must end in a drawing, whose canonical text is its own canonical text, or in SvgRejected.
"""

from __future__ import annotations

import sys
import time

import atheris

with atheris.instrument_imports(include=["rendering", "cssselect2", "tinycss2"]):
    from rendering.canonical import canonicalize
    from rendering.document import load
    from rendering.errors import SvgRejected

MOST_S = 5.0


def one_input(data: bytes) -> None:
    started = time.monotonic()
    try:
        drawing = load(data)
    except SvgRejected:
        return
    text = canonicalize(drawing)
    try:
        again = canonicalize(load(text.encode()))
    except SvgRejected as error:
        raise AssertionError(f"the canonical text is refused: {error}") from error
    assert again == text, f"not idempotent:\n{text}\n{again}"
    assert time.monotonic() - started < MOST_S, "too slow"


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

"""Draw the same files with several back ends and say how far the pictures agree.

Knows nothing of captions. Every file ends in an outcome (drawn, refused, or failed and why), so a table
of agreement never hides what was not drawn.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from PIL import Image

from rendering.backends import available_backends
from rendering.compose import compose, encode_png, fit
from rendering.document import Drawing, load
from rendering.errors import RenderError, SvgRejected
from rendering.raster import Rasterizer
from rendering.sources import Source

SIZE_PX = 256
DRAWN = "drawn"
REFERENCE = "reference"  # stands among the back ends for the right picture
ALIKE_SSIM = 0.95  # from here on two pictures differ in antialiasing only
_BLOCK_PX = 8
_WHITE = 255.0

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Outcome:
    """What one back end made of one file."""

    outcome: str  # DRAWN, or the code of the error
    message: str = ""
    time_ms: float | None = None
    memory_mib: float | None = None
    png: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Similarity:
    """How alike two pictures on white are."""

    mean_absolute_difference: float  # of all pixels and channels; 0 equal, 1 black against white
    block_ssim: float  # structural similarity of luminance, mean of the blocks with ink; 1 equal


@dataclass(frozen=True)
class FileResult:
    """One file with every back end; a refused file has no outcomes."""

    id: str
    svg: str  # sanitized; "" when refused
    refused: str  # the code of the refusal, or ""
    messages: tuple[str, ...]  # why it was refused, or what may be wrong with its renders
    outcomes: Mapping[str, Outcome]  # by back end
    similarities: Mapping[str, Similarity]  # by pair, such as "cairosvg/resvg"


@dataclass(frozen=True)
class Comparison:
    """All files that were reached within the time limit."""

    backends: Mapping[str, str]  # name -> version
    seed: int
    files: tuple[FileResult, ...]
    not_reached: int


def compare(
    sources: Sequence[Source],
    backends: Sequence[str],
    *,
    seed: int = 0,
    time_limit_s: float = 86_400.0,
    timeout_s: float = 5.0,
    references: Path | None = None,
    progress: Callable[[FileResult], None] = lambda _: None,
) -> Comparison:
    """Draw every source with every back end, until the time limit or Ctrl-C: what is done is kept.

    Args:
        references: a folder with the right picture of each source, as a PNG under the source's name.

    Raises:
        RenderError: a back end cannot be used here (code `backend_unavailable`).
    """
    ends_at = time.monotonic() + time_limit_s
    installed = available_backends()
    files: list[FileResult] = []
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(Rasterizer(backend=name, timeout_s=timeout_s)) for name in backends
        }
        with suppress(KeyboardInterrupt):
            for source in sources:
                if time.monotonic() >= ends_at:
                    break
                files.append(_compare_file(source, pools, references))
                progress(files[-1])
    versions = {name: installed.get(name, "") for name in backends}
    if references is not None:
        versions[REFERENCE] = ""
    return Comparison(versions, seed, tuple(files), not_reached=len(sources) - len(files))


def _compare_file(source: Source, pools: Mapping[str, Rasterizer], references: Path | None) -> FileResult:
    try:
        drawing = load(source.read())
    except SvgRejected as error:
        return FileResult(source.id, "", error.code, (str(error),), {}, {})
    except OSError as error:
        return FileResult(source.id, "", "unreadable", (str(error),), {}, {})
    outcomes = {name: _draw(pool, drawing) for name, pool in pools.items()}
    if references is not None:
        outcomes[REFERENCE] = _reference((references / source.id).with_suffix(".png"))
    pixels = {name: pixels_of(outcome.png) for name, outcome in outcomes.items() if outcome.png}
    similarities = {
        f"{one}/{other}": similarity(pixels[one], pixels[other]) for one, other in combinations(pixels, 2)
    }
    return FileResult(source.id, drawing.svg, "", drawing.warnings, outcomes, similarities)


def _draw(pool: Rasterizer, drawing: Drawing) -> Outcome:
    try:
        raster = pool.measure(drawing, size_px=SIZE_PX)
    except RenderError as error:
        if error.code == "backend_unavailable":
            raise
        return Outcome(error.code, str(error))
    return Outcome(DRAWN, "", raster.time_ms, raster.memory_mib, raster.png)


def _reference(path: Path) -> Outcome:
    """The right picture, brought to the size and the ground of the others."""
    try:
        with Image.open(path) as image:
            picture = image.convert("RGBA")
    except OSError as error:
        return Outcome("missing", str(error))
    picture = picture.resize(fit(*picture.size, SIZE_PX), Image.Resampling.BOX)
    return Outcome(DRAWN, png=encode_png(compose(picture, SIZE_PX, "white")))


def pixels_of(png: bytes) -> Pixels:
    """Shape (height, width, 3), values 0 to 255."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64)


def similarity(one: Pixels, other: Pixels) -> Similarity:
    """Compare two pictures of one size, shape (height, width, 3), values 0 to 255, ink on white."""
    difference = float(np.abs(one - other).mean()) / _WHITE
    return Similarity(difference, _block_ssim(one.mean(axis=2), other.mean(axis=2)))


def _block_ssim(one: Pixels, other: Pixels) -> float:
    """SSIM (Wang et al., 2004) on blocks that do not overlap; blank blocks would only flatter it."""
    a, b = _blocks(one), _blocks(other)
    inked = (a.min(axis=1) < _WHITE) | (b.min(axis=1) < _WHITE)
    if not inked.any():
        return 1.0
    a, b = a[inked], b[inked]
    c1, c2 = (0.01 * _WHITE) ** 2, (0.03 * _WHITE) ** 2
    mean_a, mean_b = a.mean(axis=1), b.mean(axis=1)
    covariance = (a * b).mean(axis=1) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (a.var(axis=1) + b.var(axis=1) + c2)
    return float((luminance * structure).mean())


def _blocks(gray: Pixels) -> Pixels:
    """Shape (blocks, pixels of a block); what is left over at the right and bottom is not looked at."""
    rows, columns = gray.shape[0] // _BLOCK_PX, gray.shape[1] // _BLOCK_PX
    whole = gray[: rows * _BLOCK_PX, : columns * _BLOCK_PX]
    return whole.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX).swapaxes(1, 2).reshape(rows * columns, -1)


def report(comparison: Comparison) -> dict[str, Any]:
    """Everything but the pictures, ready for JSON: totals by back end and by pair, then every file."""
    files = comparison.files
    return {
        "seed": comparison.seed,
        "complete": comparison.not_reached == 0,
        "not_reached": comparison.not_reached,
        "refused": dict(Counter(file.refused for file in files if file.refused)),
        "backends": {
            name: {"version": version} | _backend_totals([f.outcomes[name] for f in files if f.outcomes])
            for name, version in comparison.backends.items()
        },
        "similarities": {
            f"{one}/{other}": _pair_totals(files, f"{one}/{other}")
            for one, other in combinations(comparison.backends, 2)
        },
        "files": [_file_report(file) for file in files],
    }


def _backend_totals(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    times = [outcome.time_ms for outcome in outcomes if outcome.time_ms is not None]
    memory = [outcome.memory_mib for outcome in outcomes if outcome.memory_mib is not None]
    return {
        "drawn": sum(outcome.outcome == DRAWN for outcome in outcomes),
        "failed": dict(Counter(outcome.outcome for outcome in outcomes if outcome.outcome != DRAWN)),
        "median_time_ms": median(times) if times else None,
        "max_time_ms": max(times, default=None),
        "max_memory_mib": max(memory, default=None),
    }


def _pair_totals(files: Sequence[FileResult], pair: str) -> dict[str, Any]:
    found = [file.similarities[pair] for file in files if pair in file.similarities]
    return {
        "files": len(found),
        "alike": sum(s.block_ssim >= ALIKE_SSIM for s in found),
        "mean_absolute_difference": fmean(s.mean_absolute_difference for s in found) if found else None,
        "block_ssim": fmean(s.block_ssim for s in found) if found else None,
    }


def _file_report(file: FileResult) -> dict[str, Any]:
    whole = asdict(file)
    del whole["svg"]
    for outcome in whole["outcomes"].values():
        del outcome["png"]
    return whole

"""What the embedded CLIP learns from: a share of the base model's drawings, as pictures, kept in files.

Held-out families, concepts and combinations never get in: see `training.base.corpus`. Pictures are what
evaluation looks at, on a ground that they show on and resized as open_clip resizes, but drawn smaller
first, at a seventh of the cost.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from captioning.atomic import replacing_file
from rendering import Rasterizer, SvgCaptionError, load
from training.base.corpus import Pair

Pixels = npt.NDArray[np.uint8]  # (n, size, size, 3)

_DRAWN_SIZE_PX = 128
_BLOCK = 1_000  # drawings of a file


@dataclass(frozen=True)
class Pictures:
    pairs: list[Pair]
    pixels: Pixels

    def only(self, indices: Sequence[int]) -> Pictures:
        return Pictures([self.pairs[index] for index in indices], self.pixels[list(indices)])


def meaning(pair: Pair) -> str:
    """An icon's concept, or a scene's plainest caption: what drawings of the same thing share."""
    return pair.concept or pair.references[0]


def choose(pairs: Sequence[Pair], *, icons: int, scenes: int) -> list[Pair]:
    """So many of each at most: the same ones each time, and mixed."""
    mixed = sorted(pairs, key=lambda pair: hashlib.sha256(pair.canonical.encode()).digest())
    chosen = [pair for pair in mixed if not pair.is_scene][:icons]
    return chosen + [pair for pair in mixed if pair.is_scene][:scenes]


def draw(pairs: Sequence[Pair], folder: Path, *, size_px: int, processes: int) -> Pictures:
    """The pictures of all pairs that can be drawn; what is in `folder` is not drawn again."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = [pairs[start : start + _BLOCK] for start in range(0, len(pairs), _BLOCK)]
    paths = [folder / f"{_digest(block)}-{size_px}px.npz" for block in blocks]
    missing = {path: block for path, block in zip(paths, blocks, strict=True) if not path.exists()}
    if missing:
        texts = [[pair.canonical for pair in block] for block in missing.values()]
        # Spawned: a fork of a process with threads (torch, tokenizers) can hang.
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            for done, _ in enumerate(pool.map(partial(_write, size_px=size_px), missing, texts), start=1):
                _say(f"{done} of {len(missing)} files of pictures")
    drawn, pixels = zip(*map(_read, paths, blocks), strict=True)
    return Pictures([pair for block in drawn for pair in block], np.concatenate(pixels))


def picture(svg: str, rasterizer: Rasterizer, size_px: int) -> Pixels:
    """Shape (size, size, 3).

    Raises:
        SvgCaptionError: the drawing is refused or cannot be drawn.
    """
    png = rasterizer.render(load(svg.encode()), size_px=_DRAWN_SIZE_PX, background="auto")
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return np.array(image.resize((size_px, size_px), Image.Resampling.BICUBIC))


def _digest(block: Sequence[Pair]) -> str:
    digest = hashlib.sha256()
    for pair in block:
        digest.update(pair.canonical.encode() + b"\0")
    return digest.hexdigest()[:16]


def _write(path: Path, texts: Sequence[str], size_px: int) -> None:
    with Rasterizer() as rasterizer:
        found = [_picture_or_none(text, rasterizer, size_px) for text in texts]
    pixels = list(_drawn(found))
    with replacing_file(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(
            file,
            drawn=np.array([one is not None for one in found]),
            pixels=np.stack(pixels) if pixels else np.empty((0, size_px, size_px, 3), np.uint8),
        )


def _read(path: Path, block: Sequence[Pair]) -> tuple[list[Pair], Pixels]:
    with np.load(path) as file:
        return [pair for pair, drawn in zip(block, file["drawn"], strict=True) if drawn], file["pixels"]


def _picture_or_none(svg: str, rasterizer: Rasterizer, size_px: int) -> Pixels | None:
    try:
        return picture(svg, rasterizer, size_px)
    except SvgCaptionError:
        return None


def _drawn(found: Sequence[Pixels | None]) -> Iterator[Pixels]:
    return (one for one in found if one is not None)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

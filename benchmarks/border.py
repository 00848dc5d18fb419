"""How many files pass the border, and whether CairoSVG draws what comes out as it draws the file itself.

    python benchmarks/border.py NAME=FOLDER ...       # default: three icon families of the corpora

Pictures of 200 pixels, on white, are the same where no pixel of theirs is off by more than 2 of 255. Where
FOLDER has the right picture beside a file (NAME.png for NAME.svg), it also says which files CairoSVG draws
right by itself, but not behind the border.
"""

from __future__ import annotations

import argparse
import io
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cairosvg
import numpy as np
from PIL import Image

from rendering import SvgRejected, load
from training.corpora.icons import read_icons

FAMILIES = ("bootstrap", "lucide", "mdi")
SIDE_PX = 200
LIMIT_S = 5  # for one picture
MOST_DIFFERENCE = 2
MOST_MEAN_DIFFERENCE = 4.0  # from the right picture, which another renderer drew


@dataclass(frozen=True)
class File:
    name: str
    data: bytes
    right: Path | None = None


@dataclass(frozen=True)
class Checked:
    name: str
    outcome: str  # same, other picture, refused: CODE, not drawn behind the border, not drawn by CairoSVG
    is_worse: bool = False


def check(file: File) -> Checked:
    alone = pixels(file.data)
    if alone is None:
        return Checked(file.name, "not drawn by CairoSVG")
    was_right = is_right(alone, file.right)
    try:
        behind = pixels(load(file.data).svg.encode())
    except SvgRejected as error:
        return Checked(file.name, f"refused: {error.code}", was_right)
    if behind is None:
        return Checked(file.name, "not drawn behind the border", was_right)
    if behind.shape == alone.shape and np.abs(behind - alone).max() <= MOST_DIFFERENCE:
        return Checked(file.name, "same")
    return Checked(file.name, "other picture", was_right and not is_right(behind, file.right))


def pixels(data: bytes) -> np.ndarray | None:
    """None where CairoSVG fails, or is not ready in time."""
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(LIMIT_S)
    try:
        png = cairosvg.svg2png(data, output_width=SIDE_PX)
        picture = Image.open(io.BytesIO(png)).convert("RGBA")
    except Exception:  # noqa: BLE001 - renderers raise anything
        return None
    finally:
        signal.alarm(0)
    return flat(picture)


def flat(picture: Image.Image) -> np.ndarray:
    ground = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(ground, picture).convert("RGB")).astype(int)


def is_right(found: np.ndarray, right: Path | None) -> bool:
    if right is None:
        return False
    size = (found.shape[1], found.shape[0])
    wanted = flat(Image.open(right).convert("RGBA").resize(size, Image.Resampling.BOX))
    return bool(np.abs(found - wanted).mean() <= MOST_MEAN_DIFFERENCE)


def _late(*_: Any) -> None:
    raise TimeoutError


def sources(named: Sequence[str], cache_dir: Path) -> Iterator[tuple[str, list[File]]]:
    if not named:
        for family in FAMILIES:
            yield family, [File(icon.id, icon.svg.encode()) for icon in read_icons(family, cache_dir)]
    for pair in named:
        name, _, folder = pair.partition("=")
        paths = sorted(Path(folder).rglob("*.svg"))
        yield name, [File(str(path), path.read_bytes(), _right(path)) for path in paths if path.is_file()]


def _right(path: Path) -> Path | None:
    png = path.with_suffix(".png")
    return png if png.is_file() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("named", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--files", type=int, default=2_000, help="of each source, at most")
    parser.add_argument("--cache-dir", type=Path, default=Path("cache/icons"))
    options = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        for name, files in sources(options.named, options.cache_dir):
            random.Random(1).shuffle(files)
            checked = list(pool.map(check, files[: options.files], chunksize=8))
            counts = Counter(one.outcome for one in checked)
            by_count = ", ".join(f"{outcome} {count}" for outcome, count in counts.most_common())
            print(f"{name}: {len(checked)} files: {by_count}", flush=True)
            for one in checked:
                if one.is_worse:
                    print(f"  right by CairoSVG alone, {one.outcome} behind the border: {one.name}")


if __name__ == "__main__":
    main()

"""How much shorter the canonical text is, in tokens, and whether it still draws the same.

    python benchmarks/canonical_tokens.py NAME=FOLDER ...       # default: the icon families of the corpora

Counts with the embedded model's tokenizer and with that of Llama 3 (its vocabulary as the npm package
`llama3-tokenizer-js` has it, MIT). A render has changed where a pixel of 256 x 256 differs by more
than 48 of 255 after a 3 x 3 blur, which takes antialiasing out, by CairoSVG and by resvg: what one of
them alone draws otherwise is its own mistake, such as CairoSVG's caps on arcs. The peer is svgo by npx,
where Node.js and the network are.
"""

from __future__ import annotations

import argparse
import base64
import io
import random
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import cairosvg
import numpy as np
from PIL import Image, ImageFilter
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

import captioning
from rendering import Drawing, canonicalize, load
from rendering.backends import open_backend
from training.corpora.icon_packages import PACKAGES, Package
from training.corpora.icons import fetch, read_icons

EMBEDDED = Path(captioning.__file__).parent / "embedded"
SIDE_PX = 256
MOST_DIFFERENCE = 48
LLAMA = Package(
    "llama3-tokenizer-js",
    "1.2.0",
    "oMgIgK958UlvoEm3Lz/gAj3QAKpnAMb6YqlY0aTYraSK/c+V3TF3P7IWFQJe4yjM60+2/KoK+EWziec6WQ57/g==",
    "MIT",
    "Copyright (c) 2024 belladore.ai",
    "src",
)
LLAMA_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
Count = Callable[[str], int]


def llama_tokenizer(cache_dir: Path) -> Tokenizer:
    """Llama 3's BPE: words in lines, merges as pairs of numbers of 17 bits each."""
    with tarfile.open(fetch(LLAMA, cache_dir)) as archive:
        file = cast(IO[bytes], archive.extractfile("package/src/data-converted.js"))
        found = dict(re.findall(r'const (\w+) = "([^"]*)"', file.read().decode()))
    words = base64.b64decode(found["llama_vocab_base64"]).decode().split("\n")
    bits = np.unpackbits(np.frombuffer(base64.b64decode(found["llama_merges_binary"]), np.uint8))
    numbers = bits[: len(bits) // 34 * 34].reshape(-1, 17) @ (1 << np.arange(16, -1, -1))
    merges = [(words[a], words[b]) for a, b in numbers.reshape(-1, 2)]
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@dataclass(frozen=True)
class Checked:
    """One file, and what became of it."""

    raw: str
    canonical: str
    is_changed: bool
    is_changed_in_cairosvg: bool
    is_idempotent: bool


def check(data: bytes) -> Checked | None:
    """None for a file that the border refuses or CairoSVG cannot draw."""
    try:
        drawing = load(data)
        before = by_cairosvg(drawing.svg)
    except Exception:  # noqa: BLE001 - renderers raise anything
        return None
    text = canonicalize(drawing)
    canonical = load(text.encode())
    in_cairosvg = differ(before, by_cairosvg(canonical.svg))
    return Checked(
        data.decode("utf-8", "replace"),
        text,
        in_cairosvg and differ(by_resvg(drawing), by_resvg(canonical)),
        in_cairosvg,
        canonicalize(canonical) == text,
    )


def differ(before: np.ndarray, after: np.ndarray) -> bool:
    height = min(len(before), len(after))  # the last row may be rounded away
    return bool(np.abs(before[:height] - after[:height]).max() > MOST_DIFFERENCE)


def by_cairosvg(svg: str) -> np.ndarray:
    return blurred(Image.open(io.BytesIO(cairosvg.svg2png(svg.encode(), output_width=SIDE_PX))))


def by_resvg(drawing: Drawing) -> np.ndarray:
    height = max(1, round(SIDE_PX * drawing.height / drawing.width))
    return blurred(open_backend("resvg").draw(drawing.svg, SIDE_PX, height))


def blurred(picture: Image.Image) -> np.ndarray:
    picture = picture.convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(ground, picture).convert("RGB")
    return np.asarray(flat.filter(ImageFilter.BoxBlur(1))).astype(int)


def svgo(texts: Sequence[str]) -> list[str] | None:
    """The same files after svgo with its defaults; None where npx cannot run it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i, text in enumerate(texts):
            (folder / f"{i}.svg").write_text(text)
        command = ["npx", "--yes", "svgo@4.1.0", "--quiet", "--multipass", "-rf", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=600)
        except (OSError, subprocess.SubprocessError):
            return None
        return [(folder / f"{i}.svg").read_text() for i in range(len(texts))]


def sources(named: Sequence[str], cache_dir: Path) -> Iterator[tuple[str, list[bytes]]]:
    if not named:
        for family in PACKAGES:
            yield family, [sample.svg.encode() for sample in read_icons(family, cache_dir)]
    for pair in named:
        name, _, folder = pair.partition("=")
        yield name, [path.read_bytes() for path in sorted(Path(folder).rglob("*.svg")) if path.is_file()]


def report(name: str, checked: Sequence[Checked], counts: dict[str, Count]) -> None:
    raw, ours = [each.raw for each in checked], [each.canonical for each in checked]
    theirs = svgo(raw)
    shares = []
    for label, count in counts.items():
        total = sum(map(count, raw))
        share = f"{label} {sum(map(count, ours)) / total:.3f}"
        if theirs is not None:
            share += f" (svgo {sum(map(count, theirs)) / total:.3f})"
        shares.append(share)
    changed = sum(each.is_changed for each in checked)
    by_one = sum(each.is_changed_in_cairosvg for each in checked)
    unstable = sum(not each.is_idempotent for each in checked)
    print(f"{name}: {len(checked)} files, tokens of the original: {', '.join(shares)}; ", end="")
    share = f"{changed} ({changed / len(checked):.3%})"
    print(f"changed {share}, by CairoSVG alone {by_one}, not idempotent {unstable}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("named", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--files", type=int, default=1_500, help="of each source, at most")
    parser.add_argument("--cache-dir", type=Path, default=Path("cache/icons"))
    options = parser.parse_args()
    embedded = Tokenizer.from_file(str(EMBEDDED / "tokenizer.json"))
    llama = llama_tokenizer(options.cache_dir)
    counts: dict[str, Count] = {
        "embedded": lambda text: len(embedded.encode(text)),
        "Llama 3": lambda text: len(llama.encode(text)),
    }
    with ProcessPoolExecutor() as pool:
        for name, files in sources(options.named, options.cache_dir):
            random.Random(1).shuffle(files)
            found = pool.map(check, files[: options.files], chunksize=8)
            report(name, [each for each in found if each is not None], counts)


if __name__ == "__main__":
    main()

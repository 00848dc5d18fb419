"""Real icons from npm packages: fetched by name and version, checked, captioned by their names.

The packages are read as archives and never unpacked into the repository. Logos of companies are
left out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from captioning.corpus import Sample
from captioning.errors import CorpusError
from training.corpora.icon_colours import colours_of, painted
from training.corpora.icon_names import IconName, alt_text, describe, parse_name
from training.corpora.icon_packages import PACKAGES, IconStyle, Package
from training.corpora.icon_words import BRANDS, FAMILY_BRANDS, FAMILY_NAMES, LEARNED, OTHER_WORDS
from training.corpora.scenes import Style

_HELD_OUT_SHARE = 25  # one concept in so many
_MAX_TAGS = 12
_MISLEADING = re.compile(r"(favorite|power|stop)(-|$)")  # aliases that name other drawings


_WEIGHTS: dict[str, IconStyle] = {
    "regular": "outline",
    "outline": "outline",
    "fill": "filled",
    "filled": "filled",
    "thin": "thin outline",
    "light": "thin outline",
    "bold": "bold outline",
    "duotone": "two-tone",
}


@dataclass(frozen=True)
class _Drawing:
    """One icon of a package: its name without style words, and what the package says beside it."""

    path: str  # inside the package, without .svg
    name: str
    style: IconStyle
    svg: str


def read_icons(
    family: str,
    cache_dir: Path,
    style: Style = "description",
    packages: Mapping[str, Package] = PACKAGES,
    *,
    painted_share: float = 0,
) -> Iterator[Sample]:
    """The icons of a family under its short name (`lucide`), fetched into `cache_dir` when missing.

    The first tag of a sample is its concept: the same word for the same thing in every family.

    Args:
        painted_share: how many of the one-coloured icons get another colour than black, which their
            captions then name; an icon's own name decides which ones do.

    Raises:
        CorpusError: an unknown family, a failed download, or a file that is not the pinned one.
    """
    if family not in packages:
        raise CorpusError(f"there is no icon family '{family}'. Known: {', '.join(packages)}")
    package = packages[family]
    files = _read_archive(fetch(package, cache_dir))
    drawings = _drawings(files, package.folder) if package.folder else _iconify_drawings(files, package)
    known = frozenset(drawing.name for drawing in drawings)
    about = _metadata(family, files)
    for drawing in drawings:
        entry = about.get(drawing.name, _About())
        if entry.is_brand or _is_brand(family, drawing.name):
            continue
        icon = parse_name(_read_as(family, drawing.name, drawing.path), known)
        svg, colours = _coloured(drawing, package, f"{family}/{drawing.path}", painted_share)
        yield Sample(
            id=f"{family}/{drawing.path}",
            svg=svg,
            references=_references(icon, drawing.style or package.style, entry, style, colours),
            tags=(icon.concept, *_words(entry, icon)),
            source=f"{package.name}@{package.version}",
            license=package.license,
            caption_author="name",
        )


def _read_as(family: str, name: str, path: str = "") -> str:
    """The name in the words of all families; the longest start of it that means another thing counts.

    The path tells what a package drops from the names: its numbers of variants.
    """
    names = FAMILY_NAMES.get(family, {})
    if (whole := path.removesuffix("-filled")) in names:
        return names[whole]
    start = max((start for start in names if f"{name}-".startswith(f"{start}-")), key=len, default="")
    return names.get(start, "") + name.removeprefix(start)


def _coloured(
    drawing: _Drawing, package: Package, sample_id: str, painted_share: float
) -> tuple[str, tuple[str, ...]]:
    """The SVG, painted if it is this icon's turn, and the colours that its captions name."""
    if package.is_coloured:
        return drawing.svg, colours_of(drawing.svg)
    rng = random.Random(f"paint {sample_id}")
    if rng.random() >= painted_share:
        return drawing.svg, ()
    svg, colour = painted(drawing.svg, rng)
    return svg, (colour,)


def concept(sample: Sample) -> str:
    """What an icon shows, in words shared by all families; the whole sample's first tag."""
    return sample.tags[0]


def is_held_out_concept(name: str) -> bool:
    """Whether a concept is kept out of training in all families.

    Everyday things, those with a row of their own in the vocabulary, are always learned.
    """
    digest = hashlib.sha256(f"kept {name}".encode()).digest()
    return (
        name not in OTHER_WORDS
        and name not in LEARNED
        and int.from_bytes(digest[:8], "big") % _HELD_OUT_SHARE == 0
    )


def fetch(package: Package, cache_dir: Path) -> Path:
    """The package's archive in the cache, downloaded by npm if need be, its checksum compared."""
    archive = cache_dir / f"{package.name.replace('@', '').replace('/', '-')}-{package.version}.tgz"
    if not archive.is_file():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir) as folder:
            _npm_pack(package, Path(folder)).replace(archive)
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != package.sha512:
        raise CorpusError(
            f"{archive}: checksum sha512-{found} is not the pinned sha512-{package.sha512}. "
            "Delete the file and fetch it again; if it stays so, do not use it."
        )
    return archive


def _npm_pack(package: Package, folder: Path) -> Path:
    spec = f"{package.name}@{package.version}"
    try:
        subprocess.run(
            ["npm", "pack", spec, "--silent", "--pack-destination", str(folder)],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
    except FileNotFoundError:
        raise CorpusError(
            "npm is not installed: it fetches the icon packages (any Node.js release)"
        ) from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        reason = error.stderr if isinstance(error.stderr, str) else str(error)
        raise CorpusError(f"npm could not fetch {spec}: {reason.strip()}") from None
    (archive,) = folder.glob("*.tgz")
    return archive


def _read_archive(archive: Path) -> dict[str, bytes]:
    """All SVG, JSON and JavaScript files of an npm package, by path without the leading `package/`."""
    files: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            wanted = path.suffix in (".svg", ".json", ".mjs")
            if wanted and member.isfile() and (content := tar.extractfile(member)):
                files[str(PurePosixPath(*path.parts[1:]))] = content.read()
    return files


def _drawings(files: dict[str, bytes], folder: str) -> list[_Drawing]:
    paths = sorted(path for path in files if path.startswith(f"{folder}/") and path.endswith(".svg"))
    stems = [PurePosixPath(path).relative_to(folder).with_suffix("") for path in paths]
    styled = {word: _names_with(word, stems) for word in ("fill", "outline")}
    return [
        _Drawing(str(stem), *_name_and_style(stem, styled), files[path].decode())
        for path, stem in zip(paths, stems, strict=True)
    ]


def _iconify_drawings(files: dict[str, bytes], package: Package) -> list[_Drawing]:
    """The icons of Iconify's format, which has the body of every SVG under its name."""
    collection = json.loads(files["icons.json"])
    found = []
    for name, icon in sorted(collection["icons"].items()):
        if icon.get("hidden") or (package.skipped and re.search(package.skipped, name)):
            continue
        sides = {side: icon.get(side, collection.get(side, 16)) for side in ("width", "height")}
        box = [icon.get(edge, 0) for edge in ("left", "top")]
        view = " ".join(f"{value:g}" for value in (*box, *sides.values()))
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}">{icon["body"]}</svg>'
        plain, style = _without_ending(name, package)
        found.append(_Drawing(name, plain, style, svg))
    return found


def _without_ending(name: str, package: Package) -> tuple[str, IconStyle]:
    """The name without what tells its style and variant; the longest ending that fits counts."""
    fitting = (ending for ending in package.endings if name.endswith(ending))
    ending = max(fitting, key=len, default="")
    plain = name.removesuffix(ending)
    if package.dropped:
        plain = re.sub(package.dropped, "", plain) or plain
    return plain, package.endings.get(ending, "")


def _names_with(word: str, stems: list[PurePosixPath]) -> frozenset[str]:
    """The names that have a variant with that word in it, as in `person-fill-up`."""
    return frozenset(_without(word, stem.name) for stem in stems if word in stem.name.split("-"))


def _without(word: str, name: str) -> str:
    return "-".join(part for part in name.split("-") if part != word)


def _name_and_style(stem: PurePosixPath, styled: dict[str, frozenset[str]]) -> tuple[str, IconStyle]:
    """The style comes from the folder, from a word of the name, or from a counterpart that has one."""
    name = stem.name
    if weight := _WEIGHTS.get(stem.parent.name):
        return name.removesuffix(f"-{stem.parent.name}"), weight
    for word, opposite in (("fill", "outline"), ("outline", "fill")):
        if word in name.split("-"):
            return _without(word, name), _WEIGHTS[word]
        if name in styled[word]:
            return name, _WEIGHTS[opposite]
    return name, ""


@dataclass(frozen=True)
class _About:
    """What a package says of an icon beside its name."""

    tags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()  # other names in the same grammar
    is_brand: bool = False


def _metadata(family: str, files: dict[str, bytes]) -> dict[str, _About]:
    if family == "mdi":
        rows = json.loads(files["meta.json"])
        return {_plain(row["name"]): _mdi_about(row) for row in rows}
    if family == "lucide":
        return {name: _About(tuple(tags)) for name, tags in json.loads(files["tags.json"]).items()}
    if family == "tabler":
        rows = json.loads(files["icons.json"])
        return {
            name: _About(tuple(map(str, row["tags"])), is_brand=row.get("category") == "Brand")
            for name, row in rows.items()
        }
    return {}


def _plain(name: str) -> str:
    return name.removesuffix("-outline")


def _mdi_about(row: dict[str, list[str]]) -> _About:
    aliases = tuple(_plain(alias) for alias in row["aliases"])
    return _About(tuple(row["tags"]), aliases, "Brand / Logo" in row["tags"])


def _is_brand(family: str, name: str) -> bool:
    plain = re.sub(r"\d$", "", name)
    return (
        name.startswith(("brand-", "logo-"))
        or name.endswith("-logo")
        or not BRANDS.isdisjoint(plain.split("-"))
        or plain in FAMILY_BRANDS.get(family, ())
    )


def _references(
    icon: IconName, drawn: IconStyle, about: _About, style: Style, colours: tuple[str, ...]
) -> tuple[str, ...]:
    names = [alias for alias in about.aliases[:2] if not _MISLEADING.match(alias)]
    aliases = [parse_name(alias, (alias.rpartition("-")[0],)) for alias in names]
    synonyms = [alias for alias in aliases if _is_synonym(alias, icon)]
    return (describe if style == "description" else alt_text)(icon, drawn, synonyms, colours)


def _words(about: _About, icon: IconName) -> tuple[str, ...]:
    return tuple(tag for tag in about.tags[:_MAX_TAGS] if tag.strip() and tag != icon.concept)


def _is_synonym(alias: IconName, icon: IconName) -> bool:
    """Another word for the main thing, with all that stands around it the same."""
    is_short = len(alias.concept.split()) <= 2
    return is_short and replace(alias, concept=icon.concept) == icon != alias

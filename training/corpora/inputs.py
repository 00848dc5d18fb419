"""The splits of a corpus by name: the files that a command was given, and those that it writes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from captioning.corpus import Sample, read_corpus
from captioning.errors import ConfigError, CorpusError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
_SUFFIXES = (".jsonl", ".parquet")


def corpus_files(paths: Iterable[Path]) -> dict[str, Path]:
    """Corpus files by a short name: those given, and the splits in the folders that are given.

    Raises:
        ConfigError: a folder without splits, or the same file twice.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for name, file in _in_path(path):
            if file.resolve() in {other.resolve() for other in found.values()}:
                raise ConfigError(f"{file} is named twice")
            found[name if name not in found else str(file)] = file
    return found


def read_corpora(files: Iterable[Path]) -> Iterator[Sample]:
    """All samples, file after file; raises CorpusError for an id that is in two of them, too."""
    files = list(files)
    seen: set[str] = set()
    for file in files:
        for sample in read_corpus(file):
            if len(files) > 1:
                if sample.id in seen:
                    raise CorpusError(f"{file}: id '{sample.id}' is in another of these files, too")
                seen.add(sample.id)
            yield sample


def require_kept(corpora: Iterable[Path], out: Path, splits: Iterable[str]) -> None:
    """Raises ConfigError where one of the corpora that are read is a split that `out` is to get."""
    written = {(out / f"{split}.jsonl").resolve() for split in splits}
    for corpus in corpora:
        if corpus.resolve() in written:
            raise ConfigError(
                f"{corpus}: this corpus is read, and the split of that name would replace it. "
                "Name another folder by --out."
            )


@contextmanager
def appearing_together(out: Path) -> Iterator[Path]:
    """An empty folder to write to; its files go to the folder `out` once the block has ended well."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".splits.") as folder:
        yield Path(folder)
        for file in sorted(Path(folder).iterdir()):
            file.replace(out / file.name)


def _in_path(path: Path) -> list[tuple[str, Path]]:
    if not path.is_dir():
        return [(path.name, path)]
    splits: list[tuple[str, Path]] = [
        (split, path / f"{split}{suffix}") for split in SPLITS for suffix in _SUFFIXES
    ]
    present = [(split, file) for split, file in splits if file.is_file()]
    if not present:
        raise ConfigError(
            f"{path}: the folder has no {', '.join(SPLITS)} (.jsonl or .parquet). Name the files."
        )
    return present

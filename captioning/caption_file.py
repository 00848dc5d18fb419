"""The file that a bulk run fills, line by line: an interrupted run goes on where it stopped.

Beside it, `<file>.run.json` holds the settings of the run, so that no two kinds of captions get into one
file. Each line is written at once and as a whole; what a killed run left of a last line is cut off.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from captioning.atomic import append
from captioning.bulk import Record
from captioning.errors import OutputError

Format = Literal["jsonl", "csv"]

_KEY_BYTES = 12  # of a digest of path and content: a million files take 100 MB, and no two are the same

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # line ends, escapes, no characters
_USAGE = ("prompt_tokens", "completion_tokens")
_SIZES = ("width", "height", "elements")
_FINDINGS = ("removed", "warnings")

_FORMULA = ("=", "+", "-", "@")  # a spreadsheet would work it out


class CaptionFile:
    """Open for more."""

    def __init__(self, file: BinaryIO, form: _Form, done: set[bytes]) -> None:
        self._file = file
        self._form = form
        self._done = done
        self.resumes = bool(done)

    def claim(self, file: str, sha256: str) -> bool:
        """Whether a file with this content is still to be done; says so only once."""
        key = _key(self._form.name(file), sha256)
        new = key not in self._done
        self._done.add(key)
        return new

    def append(self, record: Record) -> None:
        """Add a line, all of it or nothing: it is with the operating system before this returns."""
        append(self._file, self._form.line(record).encode())


@contextmanager
def caption_file(path: Path, form: Format, settings: Mapping[str, Any]) -> Iterator[CaptionFile]:
    """Open a new file, or go on with that of an earlier run, alone.

    Raises:
        OutputError: another process writes it, it was written with other settings, or it is something else.
    """
    settings = {"format": form, **settings}
    shape = _Csv(settings["n"]) if form == "csv" else _JsonLines()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as raw:
        try:
            fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"{path}: another run is writing this file") from None
        _check_settings(path, settings, is_new=path.stat().st_size == 0)
        done = _read(path, raw, shape)
        if path.stat().st_size == 0 and shape.header:
            append(raw, shape.header.encode())
        yield CaptionFile(raw, shape, done)


def _check_settings(path: Path, settings: Mapping[str, Any], *, is_new: bool) -> None:
    beside = path.with_name(f"{path.name}.run.json")
    if is_new:
        unfinished = beside.with_name(f".{beside.name}")
        unfinished.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(beside)
        return
    advice = "Choose another file, or remove this one to begin anew"
    try:
        before = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} is no run of this command to go on with ({error}). {advice}.") from None
    for name in settings.keys() | before.keys():
        if settings.get(name) != before.get(name):
            raise OutputError(
                f"{path} was written with {name} = {before.get(name)!r}, now it is {settings.get(name)!r}. "
                f"{advice}."
            )


def _read(path: Path, raw: BinaryIO, form: _Form) -> set[bytes]:
    """Keys of the lines that need no second try; cuts off an unfinished last line."""
    done: set[bytes] = set()
    end = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                break
            end += len(line)
            try:
                if found := form.final(line.decode()):
                    done.add(_key(*found))
            except (ValueError, KeyError, TypeError) as error:
                raise OutputError(f"{path} line {number}: not a line of this command ({error})") from None
    raw.truncate(end)
    return done


def _key(name: str, sha256: str) -> bytes:
    return hashlib.blake2b(
        f"{sha256}{name}".encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES
    ).digest()


class _Form(Protocol):
    """How a record becomes a line."""

    header: str

    def line(self, record: Record) -> str: ...

    def name(self, file: str) -> str:
        """The file's name as lines have it."""

    def final(self, line: str) -> tuple[str, str] | None:
        """Name and content of the file, or None if it is to be tried again."""


class _JsonLines:
    header = ""

    def line(self, record: Record) -> str:
        return json.dumps(record) + "\n"  # ASCII: a file's name need not be Unicode

    def name(self, file: str) -> str:
        return file

    def final(self, line: str) -> tuple[str, str] | None:
        record = json.loads(line)
        name, sha256 = record["file"], record.get("sha256")
        return (name, sha256) if sha256 else None


class _Csv:
    """One row for each file; what a spreadsheet would take for a formula begins with an apostrophe."""

    def __init__(self, captions: int) -> None:
        names = ["caption"] if captions == 1 else [f"caption_{number + 1}" for number in range(captions)]
        self._captions = captions
        self.header = _row(["file", "sha256", *names, *_USAGE, *_SIZES, *_FINDINGS, "error", "message"])

    def line(self, record: Record) -> str:
        captions = record.get("captions") or [{"text": ""}] * self._captions
        usage, svg, error = (record.get(part, {}) for part in ("usage", "svg", "error"))
        return _row(
            [
                record["file"],
                record.get("sha256", ""),
                *(made["text"] for made in captions),
                *(usage.get(name, "") for name in _USAGE),
                *(svg.get(name, "") for name in _SIZES),
                *("; ".join(svg.get(name, [])) for name in _FINDINGS),
                error.get("type", ""),
                error.get("message", ""),
            ]
        )

    def name(self, file: str) -> str:
        return _cell(file)

    def final(self, line: str) -> tuple[str, str] | None:
        if line == self.header:
            return None
        [row] = csv.reader([line])
        return (row[0], row[1]) if row[1] else None


def _row(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_cell(cell) for cell in cells])
    return text.getvalue()


def _cell(value: object) -> str:
    text = _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text

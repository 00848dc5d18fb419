"""Runs the Java programs behind the text metrics: all input at once, a time limit, no locale.

pycocoevalcap talks to METEOR line by line and waits for ever when a line is not answered, and both
programs inherit a locale in which 0.5 may be written "0,5". Here a program gets its whole input, is
killed when it is late or when we are interrupted, and must answer each line.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from evaluation.errors import Unavailable

# Options from the environment would come after ours and could bring the locale back.
_OVERRIDES = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
_LOCALE_FREE = ("-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8")
# In a few seconds a second compiler does not pay, and the other cores have work of their own.
_SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def run_java(
    program: str, arguments: Sequence[str], lines: Sequence[str], *, folder: Path, timeout_s: float
) -> list[str]:
    """What `program` (its name, for messages) answers: one line for each of `lines`, none with a line break.

    Raises:
        Unavailable: no Java, a failure, no end within `timeout_s`, or another number of lines.
    """
    java = shutil.which("java")
    if java is None:
        raise Unavailable(
            f"{program} needs Java, and there is no `java` on PATH. "
            "Install it, for example: apt-get install default-jre-headless"
        )
    try:
        ended = subprocess.run(
            [java, *_LOCALE_FREE, *_SHORT_LIVED, *arguments],
            input="".join(f"{line}\n" for line in lines).encode("utf-8", "replace"),
            capture_output=True,
            cwd=folder,
            env=_environment(),
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{program} had not ended after {timeout_s:g} s and was killed") from None
    answers = ended.stdout.decode("utf-8").split("\n")[:-1]
    if ended.returncode != 0:
        raise Unavailable(f"{program} failed (status {ended.returncode}): {_last_words(ended.stderr)}")
    if len(answers) != len(lines):
        raise Unavailable(
            f"{program} answered {len(lines)} lines with {len(answers)}: {_last_words(ended.stderr)}"
        )
    return answers


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OVERRIDES}
    return kept | {"LC_ALL": "C.UTF-8"}  # in "C" it finds no file whose path is not ASCII


def _last_words(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"

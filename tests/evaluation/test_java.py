"""The Java programs when they are absent, late, broken or out of step."""

from __future__ import annotations

import gzip
import os
import tempfile
import time
from pathlib import Path

import pytest

from evaluation.errors import Unavailable
from evaluation.metrics import paraphrases
from evaluation.metrics.java import run_java
from evaluation.metrics.meteor import meteor
from evaluation.metrics.tokens import Tokenized

TOKENS = Tokenized(["a circle", "a square"], [["a circle"], ["a square"]])


def _fake_java(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    java = folder / "java"
    java.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_without_java_the_reason_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match=r"METEOR needs Java.*apt-get install default-jre-headless"):
        meteor([TOKENS])


def test_no_temporary_folder_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="METEOR needs a temporary folder"):
        meteor([TOKENS])


def test_meteor_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_java(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600", monkeypatch)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"METEOR had not ended after 0\.5 s and was killed"):
        meteor([TOKENS], timeout_s=0.5)
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no space left >&2; exit 3", r"METEOR failed \(status 3\): no space left"),
        ("cat > /dev/null; exit 1", r"METEOR failed \(status 1\): it said nothing"),
        ("cat > /dev/null; echo 1.0", "METEOR answered 2 lines with 1"),
        ("sed 's/.*/Error: specify hypothesis/'", "METEOR answered 'Error: specify hypothesis' to 'SCORE"),
        ("sed 's/.*/0,5 0,5/'", "METEOR answered '0,5 0,5' to 'SCORE"),
    ],
)
def test_an_answer_that_is_none_is_a_reason(
    script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake_java(tmp_path, script, monkeypatch)
    (tmp_path / "table.gz").write_bytes(gzip.compress(b""))
    monkeypatch.setattr(paraphrases, "_TABLE", tmp_path / "table.gz")
    with pytest.raises(Unavailable, match=reason):
        meteor([TOKENS])


def test_java_sees_no_locale_and_no_options_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'cat > /dev/null; echo "$LC_ALL $_JAVA_OPTIONS$JAVA_TOOL_OPTIONS$JDK_JAVA_OPTIONS $*"'
    _fake_java(tmp_path, script, monkeypatch)
    for name in ("_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"):
        monkeypatch.setenv(name, "-Duser.language=it")
    monkeypatch.setenv("LC_ALL", "it_IT.UTF-8")
    [answer] = run_java("java", ["-jar", "x.jar"], ["line"], folder=tmp_path, timeout_s=60)
    assert answer.startswith("C.UTF-8  -Duser.language=en ")
    assert answer.endswith(" -jar x.jar")

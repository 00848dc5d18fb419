"""Nothing is installed whose hash differs from the lock's, and an audit that could not ask says so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AUDIT = [sys.executable, str(ROOT / "deploy/audit.py")]
NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}


@pytest.mark.parametrize("name", ["Dockerfile", "setup.sh"])
def test_every_installation_requires_hashes(name: str) -> None:
    text = (ROOT / "deploy" / name).read_text(encoding="utf-8").replace("\\\n", " ")
    installations = re.findall(r"^.*install-packages\.sh .*$", text, re.M)
    calls = [line for line in installations if not line.startswith("COPY")]
    assert calls
    assert [line for line in calls if "--require-hashes" not in line] == []


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    """Of a package on disk: what is tested is the installer, with the options of install-packages.sh."""
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    build_wheel(wheel)
    lock = tmp_path / "wrong.lock"
    lock.write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    command = [sys.executable, "-m", "uv", "pip", "install", "--no-index", f"--find-links={tmp_path}"]
    options = ["--target", str(tmp_path / "site"), "--no-build", "--require-hashes", "-r", str(lock)]
    finished = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert finished.returncode != 0
    assert "hash" in finished.stderr.lower()
    assert not (tmp_path / "site/tiny.py").exists()


def build_wheel(path: Path) -> None:
    from zipfile import ZipFile

    with ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(
            "tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny-1.0.dist-info/RECORD", "")


@pytest.mark.parametrize(("words", "status"), [([], 0), (["--strict"], 1)])
def test_audit_without_a_network_says_that_nothing_was_audited(
    tmp_path: Path, words: list[str], status: int
) -> None:
    lock = tmp_path / "one.lock"
    lock.write_text(f"rich==14.0.0 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    finished = subprocess.run(
        [*AUDIT, *words, str(lock)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | NO_NETWORK
        | {"https_proxy": NO_NETWORK["HTTPS_PROXY"], "XDG_CACHE_HOME": str(tmp_path)},
    )
    assert finished.returncode == status, finished.stderr
    assert "NOT AUDITED" in finished.stdout

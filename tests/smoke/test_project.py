"""The project's own files keep their promises: what is packaged, locked, declared and written down."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ("captioning", "evaluation", "faithfulness", "rendering", "services", "training")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

REGISTRIES = ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "download.pytorch" + ".org")
MACHINE_PATHS = ("/work" + "/", "/root" + "/", "/opt" + "/wheels", "/opt" + "/pypi")


def tracked_files(*folders: str) -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, check=True)
    return [name for name in listing.stdout.decode().split("\0") if name and (ROOT / name).exists()]


@pytest.mark.parametrize("forbidden", [*REGISTRIES, *MACHINE_PATHS])
def test_no_file_names_a_registry_or_a_machine(forbidden: str) -> None:
    assert [name for name in tracked_files() if forbidden.encode() in (ROOT / name).read_bytes()] == []


def test_every_package_is_listed() -> None:
    folders = {str(Path(name).parent) for name in tracked_files(*PACKAGES) if name.endswith("/__init__.py")}
    assert {folder.replace("/", ".") for folder in folders} == set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_data_file_is_packaged() -> None:
    patterns = [
        f"{package}/{pattern}"
        for package, globs in PROJECT["tool"]["setuptools"]["package-data"].items()
        for pattern in globs
    ]
    data = [name for name in tracked_files(*PACKAGES) if not name.endswith(".py")]
    assert [name for name in data if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def imported_modules(name: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / name).read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def test_every_imported_library_is_declared() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    declared = {
        canonicalize_name(Requirement(line).name)
        for line in [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    }
    imported = {
        module
        for name in tracked_files(*PACKAGES, "tests", "benchmarks", "deploy")
        if name.endswith(".py")
        for module in imported_modules(name)
    }
    foreign = imported - set(sys.stdlib_module_names) - {*PACKAGES, "tests", "benchmarks", "deploy"}
    distributions = packages_distributions()
    missing = {
        module
        for module in foreign
        if not {canonicalize_name(name) for name in distributions.get(module, [module])} & declared
    }
    assert missing == set()


def locked_blocks() -> list[str]:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return [block for block in re.split(r"\n(?=\S)", text) if not block.startswith("#")]


def test_lock_has_hashes_and_no_address() -> None:
    blocks = locked_blocks()
    assert [
        block
        for block in blocks
        if not re.match(r"[a-z0-9-]+==\S+ .*\\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n?)+$", block)
    ] == []
    assert "://" not in "".join(blocks)


def test_lock_satisfies_the_project() -> None:
    locked: dict[str, set[str]] = {}
    for block in locked_blocks():
        name, version = re.split(r"==|[ ;]", block)[:2]
        locked.setdefault(canonicalize_name(name), set()).add(version)
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [
        Requirement(line)
        for line in [*PROJECT["project"]["dependencies"], *extras["dev"], *extras["renderers"]]
    ]
    assert [
        str(need)
        for need in wanted
        if not any(
            need.specifier.contains(version) for version in locked.get(canonicalize_name(need.name), ())
        )
    ] == []


def test_architecture_is_short() -> None:
    assert len((ROOT / "docs/architecture.md").read_text(encoding="utf-8").splitlines()) <= 60


def test_architecture_names_what_exists() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for path, name in re.findall(r"`([\w/.-]+\.\w+)(?::(\w+))?`", text):
        source = (ROOT / path).read_text(encoding="utf-8")
        assert not name or re.search(rf"^(async )?(def|class) {name}\b", source, re.M), f"{path}:{name}"


def test_make_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile.replace("\\\n", " "), re.M)
    # Run by `make test`, an inner make would also print the directory that it enters.
    command = ["make", "--no-print-directory"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert targets is not None
    assert [line.split()[0] for line in listing.splitlines()] == targets[1].split()

"""Asks for known vulnerabilities of what requirements.lock installs: `make audit`.

Status 1 where there are any. Packages that could not be asked about are counted and are no failure, so that a
machine without a network passes; `--strict` makes them one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"


def main(words: list[str]) -> int:
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--format=json"]
    lock = next((word for word in words if not word.startswith("-")), str(LOCK))
    asked = subprocess.run(
        [*command, "--progress-spinner=off", f"--requirement={lock}"],
        capture_output=True,
        text=True,
        check=False,
    )
    packages = json.loads(asked.stdout)["dependencies"] if asked.stdout.strip() else []
    audited = [package for package in packages if "vulns" in package]
    vulnerable = [package for package in audited if package["vulns"]]
    for package in vulnerable:
        for found in package["vulns"]:
            fixed = ", ".join(found["fix_versions"]) or "no version"
            print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
    reason = (asked.stderr.splitlines() or ["no answer"])[-1]
    left = (
        f"{len(packages) - len(audited)} could not be asked about" if packages else f"NOT AUDITED: {reason}"
    )
    print(f"{lock}: {len(audited)} packages audited, {len(vulnerable)} vulnerable; {left}")
    complete = packages and len(audited) == len(packages)
    return int(bool(vulnerable) or ("--strict" in words and not complete))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Reports that evaluations have left on disk. Knows their file's name, not how a score is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from services.errors import ApiError

_MAX_BYTES = 16 << 20  # a report holds examples, and is sent whole


def latest_report(folder: Path) -> dict[str, Any]:
    """The newest `*/report.json` of `folder`.

    Raises:
        ApiError: there is none that can be read.
    """
    found = sorted(folder.glob("*/report.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in found:
        try:
            if path.stat().st_size <= _MAX_BYTES:
                report = json.loads(path.read_bytes())
                if isinstance(report, dict) and "rows" in report:
                    return report
        except (OSError, ValueError):
            continue  # it is being written, or is no report of ours
    raise ApiError(
        404, "no_report", "There is no report yet. `python -m evaluation` makes one; no restart is needed."
    )

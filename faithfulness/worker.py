"""The process that judges captions, one untrusted drawing after another, under limits of the kernel.

Started through `rendering.process` as `python -m faithfulness.worker MEMORY_MIB`.
"""

from __future__ import annotations

import sys
from typing import Any

from faithfulness import CheckedClaim, check, read_facts
from rendering import load
from rendering.worker import limit_resources, open_channel, serve

_WARM_UP = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle cx="4" cy="4" r="3"/></svg>'


def main() -> None:
    channel = open_channel()
    _answer({"captions": ["A red circle."]}, _WARM_UP)  # late imports and numpy's own threads come first
    limit_resources(int(sys.argv[1]))
    serve(channel, {}, _answer)


def _answer(request: dict[str, Any], svg: str) -> tuple[dict[str, Any], bytes]:
    """Each caption's claims, in order, and faults; or `problem`, which tells a log nothing of the drawing."""
    try:
        facts = read_facts(load(svg.encode()))
        checked = [check(text, facts) for text in request["captions"]]
    except Exception as error:  # noqa: BLE001 - geometry of any kind comes here
        return {"problem": type(error).__name__}, b""
    found = [{"claims": [_plain(one) for one in each.claims], "faults": each.faults} for each in checked]
    return {"captions": found}, b""


def _plain(one: CheckedClaim) -> dict[str, Any]:
    start, end = one.claim.span
    return {"start": start, "end": end, "kind": one.claim.kind, "verdict": one.verdict}


if __name__ == "__main__":
    main()

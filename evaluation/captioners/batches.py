"""Batches in which one bad item costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def describe_each(
    describe: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]
) -> list[Result | RuntimeError]:
    """What `describe` makes of all items at once or, when a model fails on them, of each alone."""
    if not items:
        return []
    try:
        return list(describe(items))
    except RuntimeError as error:  # torch's, such as out of memory
        if len(items) == 1:
            return [error]
    return [result for item in items for result in describe_each(describe, [item])]

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.batching import Batcher


class Machine:
    """Doubles numbers in batches that it remembers; `open` lets the batch in work end."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()

    def run(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        assert self.open.wait(5)
        if 13 in numbers:
            raise ValueError("unlucky")
        return [2 * number for number in numbers]


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def batcher(machine: Machine) -> Iterator[Batcher[int, int]]:
    with ThreadPoolExecutor(1) as executor:
        yield Batcher(machine.run, max_batch_size=3, executor=executor)


async def _busy(machine: Machine, batcher: Batcher[int, int]) -> asyncio.Task[list[int]]:
    """The machine is at work on [0] and stays so until it is opened."""
    machine.open.clear()
    first = asyncio.create_task(batcher.submit([0]))
    while not machine.batches:
        await asyncio.sleep(0.001)
    return first


def test_what_arrives_meanwhile_becomes_the_next_batches(
    machine: Machine, batcher: Batcher[int, int]
) -> None:
    async def scenario() -> list[list[int]]:
        first = await _busy(machine, batcher)
        others = [asyncio.create_task(batcher.submit(numbers)) for numbers in ([1, 2], [3, 4], [5])]
        await asyncio.sleep(0)
        machine.open.set()
        return [await task for task in (first, *others)]

    assert asyncio.run(scenario()) == [[0], [2, 4], [6, 8], [10]]
    assert machine.batches == [[0], [1, 2, 3], [4, 5]]


def test_a_caller_that_left_costs_nothing(machine: Machine, batcher: Batcher[int, int]) -> None:
    async def scenario() -> None:
        first = await _busy(machine, batcher)
        gone = asyncio.create_task(batcher.submit([1]))
        stays = asyncio.create_task(batcher.submit([2]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        machine.open.set()
        assert await first == [0]
        assert await stays == [4]

    asyncio.run(scenario())
    assert machine.batches == [[0], [2]]


def test_an_error_reaches_its_callers_and_the_next_batch_runs(
    machine: Machine, batcher: Batcher[int, int]
) -> None:
    async def scenario() -> None:
        with pytest.raises(ValueError, match="unlucky"):
            await batcher.submit([13])
        assert await batcher.submit([4]) == [8]

    asyncio.run(scenario())

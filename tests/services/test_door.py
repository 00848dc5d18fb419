"""The last requests are seen out, and no new one gets in."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from services.door import Door
from services.errors import ApiError


class House:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.door = Door(self)
        self.go_on = asyncio.Event()
        self.answered = 0

    async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
        await self.go_on.wait()
        self.answered += 1

    async def enter(self, path: str = "/v1/captions") -> None:
        await self.door({"type": "http", "path": path}, _receive, _send)


async def _receive() -> Message:
    return {"type": "http.request"}


async def _send(_message: Message) -> None:
    pass


def test_those_inside_are_answered_and_no_one_else_gets_in() -> None:
    async def closing() -> int:
        house = House()
        inside = [asyncio.create_task(house.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        closed = asyncio.create_task(house.door.close())
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as refusal:
            await house.enter()
        assert (refusal.value.status_code, refusal.value.kind) == (503, "shutting_down")
        assert refusal.value.headers == {"Retry-After": "1"}
        assert not closed.done()
        house.go_on.set()
        await asyncio.wait_for(asyncio.gather(closed, *inside), 10)
        await house.enter("/healthz")
        return house.answered

    assert asyncio.run(closing()) == 4


def test_pages_are_disconnected() -> None:
    async def clearing() -> House:
        house = House()
        page = asyncio.create_task(house.enter("/"))
        await asyncio.sleep(0)
        house.door.clear()
        with pytest.raises(asyncio.CancelledError):
            await page
        await asyncio.wait_for(house.door.close(), 10)
        return house

    assert asyncio.run(clearing()).answered == 0


def test_who_leaves_before_the_answer_is_not_waited_for() -> None:
    async def leaving() -> None:
        house = House()
        visitor = asyncio.create_task(house.enter())
        await asyncio.sleep(0)
        visitor.cancel()
        await asyncio.wait_for(house.door.close(), 10)

    asyncio.run(leaving())

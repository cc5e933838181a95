"""The stream: made once and shared, slow readers left, nobody let in who may not look."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from support.sights import NOW, FakeView, a_sight, a_task

from coordinator.web.auth import Doorkeeper
from dashboard import stream as module
from dashboard.door import COOKIE, make_key
from dashboard.guard import Guard
from dashboard.stream import Stream

ADMIN = "ac_admin"
SOON = 30.0


class Reader:
    """One request to the stream; ``held`` lets it take nothing."""

    def __init__(
        self, stream: Stream, topic: str = "first", method: str = "GET", peer: str = "127.0.0.1", **headers: str
    ) -> None:
        said = {"host": "127.0.0.1:4000"} | {key.replace("_", "-"): value for key, value in headers.items()}
        self.scope = {
            "type": "http",
            "method": method,
            "path": "/dashboard/stream",
            "query_string": f"topic={topic}".encode(),
            "client": (peer, 1),
            "headers": [(key.encode(), value.encode()) for key, value in said.items()],
        }
        self.sent: list[dict[str, Any]] = []
        self.more = asyncio.Event()
        self.gone = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()
        self.task = asyncio.create_task(stream.serve(self.scope, self.receive, self.transmit))

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def transmit(self, message: Any) -> None:
        await self.free.wait()
        self.sent.append(message)
        self.more.set()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def events(self) -> list[str]:
        text = b"".join(message.get("body", b"") for message in self.sent).decode()
        return [event for event in text.split("\n\n") if event and not event.startswith("event: beat")]

    async def wait_for(self, count: int) -> list[str]:
        async with asyncio.timeout(SOON):
            while len(self.events) < count:
                self.more.clear()
                await self.more.wait()
        return self.events

    async def end(self) -> None:
        self.gone.set()
        async with asyncio.timeout(SOON):
            await self.task


@asynccontextmanager
async def running(view: FakeView) -> AsyncIterator[Stream]:
    stream = Stream(view, Guard(ADMIN, Doorkeeper({}, ADMIN), view.now))
    working = asyncio.create_task(stream.run())
    try:
        yield stream
    finally:
        stream.close()
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.01)
    monkeypatch.setattr(module, "RELOAD", 0.01)


async def test_a_change_is_made_once_and_sent_to_everybody() -> None:
    view = FakeView(a_sight(a_task("t-1", title="before")))
    async with running(view) as stream:
        readers = [Reader(stream) for _ in range(20)]
        firsts = [await reader.wait_for(1) for reader in readers]
        looks = view.looks
        view.show(a_sight(a_task("t-1", title="after")))
        seconds = [await reader.wait_for(2) for reader in readers]
        assert view.looks == looks + 1
        assert {events[-1] for events in firsts} == {firsts[0][-1]}
        assert {events[-1] for events in seconds} == {seconds[0][-1]}
        assert "before" in firsts[0][0]
        assert "after" in seconds[0][1]
        assert "before" not in seconds[0][1]
        for reader in readers:
            await reader.end()
        assert len(stream) == 0


async def test_nothing_is_made_while_nobody_looks() -> None:
    view = FakeView()
    async with running(view) as stream:
        reader = Reader(stream)
        await reader.wait_for(1)
        await reader.end()
        looks = view.looks
        view.show(a_sight(a_task()))
        again = Reader(stream)
        await again.wait_for(1)
        assert view.looks == looks + 1
        await again.end()


async def test_who_is_behind_gets_the_newest_and_nothing_in_between() -> None:
    view = FakeView(a_sight(a_task("t-1", title="number 0")))
    async with running(view) as stream:
        slow, quick = Reader(stream), Reader(stream)
        await slow.wait_for(1)
        slow.free.clear()
        for number in range(1, 6):
            view.show(a_sight(a_task("t-1", title=f"number {number}")))
            await quick.wait_for(number + 1)
        slow.free.set()
        async with asyncio.timeout(SOON):
            while "number 5" not in slow.events[-1]:
                slow.more.clear()
                await slow.more.wait()
        assert len(slow.events) <= 3
        await slow.end()
        await quick.end()


async def test_who_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALLED", 0.05)
    view = FakeView()
    async with running(view) as stream:
        reader = Reader(stream)
        await reader.wait_for(1)
        reader.free.clear()
        view.show(a_sight(a_task()))
        async with asyncio.timeout(SOON):
            await reader.task
        assert len(stream) == 0


async def test_other_pages_hear_only_that_something_changed() -> None:
    view = FakeView()
    async with running(view) as stream:
        reader = Reader(stream, "task:t-1")
        assert await reader.wait_for(1) == ["event: changed\ndata: 1"]
        view.show(a_sight(a_task()))
        assert await reader.wait_for(2) == ["event: changed\ndata: 1"] * 2
        await reader.end()


async def test_other_pages_hear_of_a_change_once_what_they_ask_for_is_there() -> None:
    view = FakeView()
    async with running(view) as stream:
        reader = Reader(stream, "agent:loash")
        await reader.wait_for(1)
        looks = view.looks
        view.show(a_sight(a_task()))
        await reader.wait_for(2)
        assert view.looks > looks
        await reader.end()


async def test_many_readers_are_told_a_few_at_a_time() -> None:
    view = FakeView(a_sight(a_task("t-1", title="before")))
    async with running(view) as stream:
        readers = [Reader(stream) for _ in range(4 * module.AT_ONCE)]
        for reader in readers:
            await reader.wait_for(1)
        view.show(a_sight(a_task("t-1", title="after")))
        waits = [asyncio.create_task(reader.wait_for(2)) for reader in readers]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        assert sum(len(reader.events) > 1 for reader in readers) <= module.AT_ONCE
        await asyncio.gather(*waits)
        for reader in readers:
            await reader.end()


async def test_a_trouble_in_making_it_ends_nothing() -> None:
    view = FakeView(a_sight(a_task("t-1", title="before")))
    async with running(view) as stream:
        reader = Reader(stream)
        await reader.wait_for(1)
        whole = view.sight
        view.looked.clear()
        view.sight = None  # type: ignore[assignment]
        view.version += 1
        async with asyncio.timeout(SOON):
            await view.looked.wait()
        view.show(whole)
        await reader.wait_for(2)
        await reader.end()


async def test_a_stream_ends_when_the_hub_does() -> None:
    async with running(FakeView()) as stream:
        reader = Reader(stream)
        await reader.wait_for(1)
        stream.close()
        async with asyncio.timeout(SOON):
            await reader.task
        assert reader.sent[-1] == {"type": "http.response.body"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_it_takes_nothing_but_get(method: str) -> None:
    async with running(FakeView()) as stream:
        reader = Reader(stream, method=method)
        await reader.task
        assert reader.status == 405


async def test_head_ends_at_once() -> None:
    async with running(FakeView()) as stream:
        reader = Reader(stream, method="HEAD")
        await reader.task
        assert reader.status == 200
        assert len(stream) == 0


async def test_who_may_not_look_is_not_let_in() -> None:
    key = make_key(ADMIN, NOW + 1000_000)
    async with running(FakeView()) as stream:
        for headers in ({}, {"authorization": "Bearer ac_wrong"}, {"cookie": f"{COOKIE}=1.2"}, {"cookie": "=;;=\x01"}):
            reader = Reader(stream, peer="192.0.2.7", **headers)
            await reader.task
            assert reader.status == 401
        evil = Reader(stream, host="evil.example")
        await evil.task
        assert evil.status == 401
        for headers in ({"authorization": f"Bearer {ADMIN}"}, {"cookie": f"{COOKIE}={key}"}):
            reader = Reader(stream, peer="192.0.2.7", **headers)
            await reader.wait_for(1)
            assert reader.status == 200
            await reader.end()


@pytest.mark.parametrize("topic", ["nonsense", "task:", "task:../x", "agent:A", "task:t-1%0a"])
async def test_a_topic_that_is_none_is_not_there(topic: str) -> None:
    async with running(FakeView()) as stream:
        reader = Reader(stream, topic)
        await reader.task
        assert reader.status == 404


async def test_too_many_readers_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READERS", 1)
    async with running(FakeView()) as stream:
        first = Reader(stream)
        await first.wait_for(1)
        second = Reader(stream)
        await second.task
        assert second.status == 503
        await first.end()

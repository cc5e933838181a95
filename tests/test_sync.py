"""What joins a hub and its remote, over a hub and a remote that only answer: who waits, who is told, what is logged."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from coordinator import syncing
from coordinator.core.timers import Now
from coordinator.git.run import GitError
from coordinator.hub import Figures
from coordinator.ports import Answer, Conflict, End, Slip
from coordinator.starting import SystemClock
from coordinator.sync import Syncer

#: Longest wait for something that must happen at once.
SOON = 20.0


class Hub:
    def __init__(self) -> None:
        self.tip: str | None = "c1"
        self.figures = Figures()
        self.looks = 0
        self.slips: list[Slip] = []

    def now(self) -> Now:
        return SystemClock().now()

    def look(self) -> None:
        self.looks += 1

    async def slipped(self, slip: Slip) -> None:
        self.slips.append(slip)
        self.tip = "c2"


class Remote:
    """Answers what it is told to; ``enough`` rings when the source was asked for so often."""

    def __init__(self) -> None:
        self.pushed: list[str] = []
        self.asked = 0
        self.trouble: str | Exception | None = None
        self.foreign = False

    def fetch_source(self) -> Answer:
        self.asked += 1
        if isinstance(self.trouble, Exception):
            raise self.trouble
        if self.trouble is not None:
            return Answer(End.AWAY, words=f"{self.trouble} after {self.asked} ms")
        return Answer(End.DONE, "s1")

    def fetch_state(self) -> Answer:
        return Answer(End.DONE, "x")

    def push_state(self, tip: str) -> Answer:
        if self.foreign and tip == "c1":
            return Answer(End.BEHIND)
        self.pushed.append(tip)
        return Answer(End.DONE, tip)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "FETCH_EVERY_S", 0.01)
    monkeypatch.setattr(syncing, "RETRY_FIRST_S", 0.01)


@asynccontextmanager
async def syncer(
    hub: Hub, remote: Remote, found: Slip | Conflict | None = None
) -> AsyncIterator[tuple[Syncer, asyncio.Task[None]]]:
    made = Syncer(hub, remote, lambda own, theirs: found or Slip(None), name="origin")
    running = asyncio.create_task(made.run())
    try:
        yield made, running
    finally:
        running.cancel()
        ended = await asyncio.gather(running, return_exceptions=True)
        made.close(lambda: None)
    if isinstance(ended[0], Exception):
        raise ended[0]


async def fetches(made: Syncer, number: int) -> None:
    async with asyncio.timeout(SOON):
        for _ in range(number):
            await made.fetch()


async def test_one_trouble_is_logged_once_however_often_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agentcom.hub")
    hub, remote = Hub(), Remote()
    async with syncer(hub, remote) as (made, _):
        remote.trouble = "no route to host"
        await fetches(made, 5)
        remote.trouble = None
        await fetches(made, 2)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, said
    assert "origin: cannot be reached: no route to host after" in said[0]
    assert said[1] == "origin: in step again"


async def test_whoever_asks_is_answered_by_a_fetch_that_began_afterwards() -> None:
    hub, remote = Hub(), Remote()
    async with syncer(hub, remote) as (made, _):
        await fetches(made, 1)
        before = remote.asked
        await fetches(made, 3)
        assert remote.asked >= before + 3
        assert hub.looks >= 4


async def test_a_git_that_fails_here_counts_as_a_remote_that_is_away() -> None:
    hub, remote = Hub(), Remote()
    remote.trouble = GitError(("fetch",), None, "could not be started: Cannot allocate memory")
    async with syncer(hub, remote) as (made, _):
        await fetches(made, 2)
        assert "Cannot allocate memory" in str(made.problems[0])


async def test_what_a_person_did_there_goes_to_the_hub_with_the_place_and_then_our_line_is_pushed() -> None:
    hub, remote = Hub(), Remote()
    remote.foreign = True
    async with syncer(hub, remote, Slip("x", "x", "got commit x of Ada, who is no hub", "Ada")) as (made, _):
        async with asyncio.timeout(SOON):
            while "c2" not in remote.pushed:
                await made.fetch()
    assert [slip.text for slip in hub.slips] == ["on origin got commit x of Ada, who is no hub"]
    assert remote.pushed == ["c2"]


async def test_another_hub_there_ends_it_and_nothing_is_pushed_over_that() -> None:
    hub, remote = Hub(), Remote()
    remote.foreign = True
    with pytest.raises(Conflict, match="another hub"):
        async with syncer(hub, remote, Conflict("another hub")) as (_, running):
            await asyncio.wait([running], timeout=SOON)
    assert remote.pushed == []
    assert hub.slips == []

"""A hub with one task in review, whose agent left its work on a branch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from coordinator.core.agent import Session
from coordinator.core.events import Accepted, Complete, Connected, Said
from coordinator.core.machine import State
from coordinator.core.task import Task
from coordinator.ground import survey
from coordinator.hub import Hub
from coordinator.reviewing import Reviewer, make_reviewer
from support.hubs import SOON, running
from support.repo import Clone

BRANCH = "loash/t-1-seven"
AGENT = {"agents/loash.yaml": "name: Loash\n"}


def seven(clone: Clone) -> str:
    """Let the agent's work appear on a branch; return its commit."""
    clone.git("switch", "--quiet", "-c", BRANCH)
    commit = clone.commit({"seven.txt": "7\n"}, "Write seven", ("loash", "loash@agents.agentcom.invalid"))
    clone.git("switch", "--quiet", "main")
    return commit


@asynccontextmanager
async def in_review(clone: Clone, result: dict[str, object]) -> AsyncIterator[tuple[Hub, Reviewer]]:
    """A running hub with task t-1 in review, which ended with this result."""
    async with running(clone) as hub:
        reviewer = make_reviewer(hub, survey(clone.path))
        hub.submit(Connected("loash", Session("s", holding=frozenset())))
        await until(hub, State.ASSIGNED)
        await hub.settle(Said("loash", "s", Accepted("t-1", 1)))
        await hub.settle(Said("loash", "s", Complete("t-1", 1, result)))
        await until(hub, State.IN_REVIEW)
        try:
            yield hub, reviewer
        finally:
            reviewer.close()


async def until(hub: Hub, state: State) -> Task:
    async with asyncio.timeout(SOON):
        while True:
            task = await hub.task("t-1")
            if task is not None and task.state is state:
                return task
            await asyncio.sleep(0.01)

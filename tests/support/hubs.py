"""A hub over a real repository, as ``agentcom hub`` starts it, in this process and without its door."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from coordinator.core.task import Task
from coordinator.ground import survey
from coordinator.hub import Hub
from coordinator.starting import make_hub, refuse_occupied
from support.repo import Clone

#: Longest wait for something that must happen at once.
SOON = 30.0


@asynccontextmanager
async def running(clone: Clone, **more: object) -> AsyncIterator[Hub]:
    """Start a hub as ``agentcom hub`` does, without its door; an error of its loop is the test's."""
    ground = survey(clone.path)
    refuse_occupied(ground)
    hub = make_hub(ground, **more)  # type: ignore[arg-type]
    try:
        await hub.start()
        working = asyncio.create_task(hub.run())
        try:
            yield hub
        finally:
            hub.stop()
            await asyncio.wait_for(working, SOON)
    finally:
        hub.close()


async def look(hub: Hub) -> None:
    await asyncio.wait_for(hub.reconcile(), SOON)


def open_tasks(hub: Hub) -> dict[str, Task]:
    return {task.spec.title: task for task in hub.core.memory.tasks.values() if task.open}


def said(hub: Hub) -> str:
    return "\n".join(str(problem) for problem in hub.problems)

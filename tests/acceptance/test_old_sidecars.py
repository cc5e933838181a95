"""Sidecars that are in the field today, against this hub: they connect as they are, and every task ends once."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable

import pytest
from support.oldsidecars import NewerSidecar, OldSidecar

from coordinator.demo.stage import Stage

pytestmark = pytest.mark.slow

TASKS = 20
#: How long an agent works on one task, in seconds.
WORK = 0.05
SOON = 60.0


class Field:
    """A stage with old sidecars on it; ``ends`` counts how often the work of each task came to its end."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ends: Counter[str] = Counter()
        self.by: Counter[str] = Counter()
        self.news = asyncio.Event()

    def sidecar(self, kind: type[OldSidecar], agent: str, **more: object) -> OldSidecar:
        token = self.stage.add_agent(agent).token

        async def work(task_id: str) -> None:
            await asyncio.sleep(WORK)
            self.ends[task_id] += 1
            self.by[agent] += 1
            self.news.set()

        return kind(agent, token, lambda: self.stage.port, self.stage.folder, work, **more)  # type: ignore[arg-type]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(SOON):
            while not true():
                self.news.clear()
                await self.news.wait()

    async def all_done(self) -> list[dict]:
        """Return all tasks when they are done, or as they stand when that takes too long."""
        tasks: list[dict] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SOON):
                while len(tasks) < TASKS or any(task["status"] != "done" for task in tasks):
                    await asyncio.sleep(0.1)
                    tasks = await asyncio.to_thread(self.stage.tasks)
        return tasks


async def test_sidecars_of_both_generations_finish_twenty_tasks_over_restarts_cuts_and_refusals(make_stage) -> None:
    field = Field(make_stage(0))
    refused: list[str] = []

    def refuse(reason: str) -> Callable[[str], str | None]:
        def once(task_id: str) -> str | None:
            if reason in refused or task_id in refused:
                return None
            refused.extend((reason, task_id))
            return reason

        return once

    first = field.sidecar(OldSidecar, "first", refuse=refuse("cannot do that"))
    second = field.sidecar(NewerSidecar, "second", refuse=refuse("busy"))
    third = field.sidecar(OldSidecar, "third")
    old = (first, second, third)
    for sidecar in old:
        sidecar.start()
    await asyncio.to_thread(field.stage.write_backlog, TASKS)

    await field.until(lambda: len(field.ends) >= 3)
    await first.kill()
    first.start()
    second.cut()
    await field.until(lambda: len(field.ends) >= 8)
    await asyncio.to_thread(field.stage.kill_hub)
    await second.kill()
    await asyncio.to_thread(field.stage.start_hub)
    second.start()
    third.cut()
    tasks = await field.all_done()

    for sidecar in old:
        await sidecar.kill()
    assert [task for task in tasks if task["status"] != "done"] == []
    assert len(refused) == 4
    lost = Counter(task_id for one in old for task_id in one.lost)
    assert field.ends.keys() == {task["id"] for task in tasks}
    assert not field.ends - Counter(field.ends.keys()) - lost, "only what no hub has answered for is done again"
    assert all(task["retry_count"] == 0 for task in tasks)
    assert all(count > 0 for count in (field.by["first"], field.by["second"], field.by["third"]))
    violations = {"unknown_message_type", "validation_failed", "invalid_json"}
    assert not [frame for one in old for frame in one.heard if frame.get("error") in violations]
    assert all(one.in_hand is None for one in old)

"""What the dashboard is shown of a running hub: its memory as values, the trail and the backlog from git.

It decides how fresh that is, and what counts as a change. Everything is read; nothing here can change anything.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from coordinator import __version__
from coordinator.core.guards import Batch
from coordinator.core.task import Task
from coordinator.core.timers import Now
from coordinator.files import layout
from coordinator.files.observe import Observation
from coordinator.files.problem import Problem
from coordinator.files.uncommitted import Uncommitted
from coordinator.git.history import Record, Wanted
from coordinator.git.objects import read_objects
from coordinator.git.repo import STATE_REF
from coordinator.ground import Ground
from coordinator.hub import Hub
from coordinator.memoir import CLOSED_SHOWN, HISTORY_SHOWN, drafts_json
from coordinator.saved import Lookout
from coordinator.sync import Syncer
from coordinator.trail import Trail
from coordinator.web.mail.letters import Unavailable
from coordinator.web.postroom import Postroom
from dashboard.snapshot import MINUTE_MS, Facts, Held, Origin, Saved, Seen, Trouble
from dashboard.view import Asked, Document, Edition, Event, Item, Story

#: What was seen is good for so long while nothing changes, in seconds.
GOOD_FOR = 5.0
#: Where it may be behind, it is looked anew only after so many times as long as looking took.
SHARE = 50
#: Stories of tasks that did not change since they were read: so many are kept.
STORIES = 100
#: Messages are counted anew after so many seconds.
COUNT_EVERY = 10.0
#: Tasks that ended before the hub started are read back again when so many more of them are out of its mind.
READ_AGAIN = 500
MINUTES = 60


class HubShowing:
    """What the pages of one hub are made of; every call on its loop."""

    def __init__(
        self,
        hub: Hub,
        ground: Ground,
        started_at: int,
        lookout: Lookout,
        problems: Callable[[], tuple[Problem, ...]],
        syncer: Syncer | None,
        postroom: Postroom,
    ) -> None:
        self._hub, self._ground, self._started_at = hub, ground, started_at
        self._lookout, self._problems, self._syncer, self._postroom = lookout, problems, syncer, postroom
        self._trail = Trail(ground.repo, STATE_REF, ground.root)
        self._stories: OrderedDict[str, Story] = OrderedDict()
        self._seen: tuple[object, float, Seen] | None = None
        self._took = 0.0
        self._looking = asyncio.Lock()
        self._earlier: tuple[int, tuple[Task, ...]] | None = None
        self._counted: tuple[float, tuple[int, ...] | None] = (float("-inf"), None)

    def now(self) -> Now:
        return self._hub.now()

    def mark(self, topic: str) -> object:
        kind, _, name = topic.partition(":")
        memory = self._hub.core.memory
        if kind == "task":
            task = self._hub.durable_task(name)
            if task is None:
                return None
            return (task, memory.agents.get(task.status.assigned_to or ""), self._hub.why(task))
        if kind == "agent":
            return memory.agents.get(name)
        return (
            self._hub.tip,
            self._hub.read_only,
            self._hub.observed,
            tuple(memory.agents.values()),
            self._lookout.seen,
            self._problems(),
            None if self._syncer is None else tuple(self._syncer.json().items()),
        )

    async def seen(self, behind: float = 0.0) -> Seen:
        async with self._looking:
            mark, now = self.mark("all"), time.monotonic()
            if self._seen is not None:
                good_for = GOOD_FOR if self._seen[0] == mark else min(behind, SHARE * self._took)
                if now - self._seen[1] < good_for:
                    return self._seen[2]
            earlier, messages = await self._finished_before(), await self._messages()
            mark, now = self.mark("all"), time.monotonic()
            seen = self._look(earlier, messages)
            self._took = time.monotonic() - now
            self._seen = mark, now, seen
            return seen

    def _look(self, earlier: tuple[Task, ...], messages: tuple[int, ...] | None) -> Seen:
        hub, memory = self._hub, self._hub.core.memory
        here = [task for task in hub.durable_tasks() if not task.status.deleted]
        known = memory.tasks
        tasks = (*here, *(task for task in earlier if task.id not in known))
        now = hub.now().wall
        remote = None if self._syncer is None else self._syncer.json()
        presence = self._postroom.presence
        traces = ((name, presence.traces(name).last_active) for name in memory.agents)
        return Seen(
            now,
            Origin(True, "hub running", now),
            Facts(
                self._ground.branch,
                __version__,
                hub.observed,
                hub.tip,
                hub.claim.hub_id,
                hub.claim.epoch,
                self._started_at,
                hub.read_only,
                _median(hub.figures.flush_ms),
                hub.figures.commits,
                remote,
                "looked at every second" if remote is None else "asked for every 30 s",
            ),
            tasks,
            hub.whys(here),
            tuple(memory.agents[name] for name in sorted(memory.agents)),
            {name: at for name, at in traces if at is not None},
            troubles(self._problems()),
            *saved(self._lookout.seen),
            held(memory.held),
            len(drafts_json(hub.seen, memory)),
            orphans(tasks),
            messages,
            memory.policy.suspend,
        )

    async def _finished_before(self) -> tuple[Task, ...]:
        """Return the newest finished tasks that are out of the hub's mind: read back once, and again after many."""
        size = len(self._hub.core.memory.closed)
        if self._earlier is None or abs(size - self._earlier[0]) >= READ_AGAIN:
            found = await self._hub.all_tasks(CLOSED_SHOWN) if size else []
            self._earlier = size, tuple(task for task in found if task.finished and not task.status.deleted)
        return self._earlier[1]

    async def _messages(self) -> tuple[int, ...] | None:
        now = time.monotonic()
        if now - self._counted[0] >= COUNT_EVERY:
            self._counted = now, await self._count()
        return self._counted[1]

    async def _count(self) -> tuple[int, ...] | None:
        first = self._hub.now().wall // MINUTE_MS * MINUTE_MS - (MINUTES - 1) * MINUTE_MS
        minutes = [0] * MINUTES
        try:
            for volume in await self._postroom.volume(first):
                at = (volume.minute - first) // MINUTE_MS
                if 0 <= at < MINUTES:
                    minutes[at] += volume.sent
        except Unavailable:
            return None
        return tuple(minutes)

    async def story(self, task_id: str) -> Story | None:
        task = await self._hub.task(task_id)
        if task is None:
            return None
        story = self._stories.pop(task_id, None)
        if story is None or story.task is not task:
            story = await asyncio.to_thread(told, self._trail, task)
        self._stories[task_id] = story
        if len(self._stories) > STORIES:
            self._stories.popitem(last=False)
        return replace(story, why=self._hub.why(task))

    async def events(self, asked: Asked, limit: int) -> tuple[Event, ...]:
        return await asyncio.to_thread(events, self._trail, asked, limit)

    async def backlog(self) -> Document:
        return await asyncio.to_thread(document, self._ground, self._hub.observed, self._hub.seen)


# --- what a hub and a clone have in common ---------------------------------------------------------------------------


def troubles(problems: Iterable[Problem]) -> tuple[Trouble, ...]:
    """Return problems as the pages show them; what is held is shown by itself."""
    return tuple(
        Trouble(_place(one), ": ".join(part for part in (one.field, one.what) if part), one.hint, one.task_id)
        for one in problems
        if "confirm --show" not in one.hint
    )


def _place(problem: Problem) -> str:
    numbers = [problem.line, problem.column] if problem.line and problem.column else [problem.line]
    return ":".join([problem.path, *(str(number) for number in numbers if number)])


def saved(found: Uncommitted) -> tuple[tuple[Saved, ...], str]:
    """Return what is saved and not committed, and what to do about it."""
    return tuple(Saved(line.path, line.text) for line in found.lines), found.hint


def held(batches: Iterable[Batch]) -> tuple[Held, ...]:
    """Return what waits until a person has looked."""
    return tuple(Held(str(batch.kind), batch.commit, len(batch.ids)) for batch in batches)


def orphans(tasks: Iterable[Task]) -> Mapping[str, tuple[str, ...]]:
    """Return where results are kept that count no more."""
    return {task.id: orphan_paths(task) for task in tasks if task.status.orphans}


def orphan_paths(task: Task) -> tuple[str, ...]:
    """Return where the results of one task are kept that count no more."""
    return tuple(layout.orphan_path(task, generation) for generation in task.status.orphans)


def told(trail: Trail, task: Task) -> Story:
    """Return the story of a task. Blocks on git; raises GitError."""
    records = trail.records(task.id, HISTORY_SHOWN)
    found = trail.editions(records)
    return Story(
        task,
        None,
        tuple(_event(record) for record in records),
        tuple(Edition(one.commit, one.path, one.text) for one in found),
        orphan_paths(task),
    )


def events(trail: Trail, asked: Asked, limit: int) -> tuple[Event, ...]:
    """Return the events of the audit trail that are asked for. Blocks on git; raises GitError."""
    if asked.task is None:
        wanted = Wanted(asked.agent, asked.event, asked.since, asked.until, asked.before)
        return tuple(_event(record) for record in trail.search(wanted, limit))
    records = trail.records(asked.task, None)
    if asked.before is not None:
        at = next((at for at, record in enumerate(records) if record.commit == asked.before), len(records))
        records = records[at + 1 :]
    return tuple(_event(record) for record in records if _wanted(record, asked))[:limit]


def _wanted(record: Record, asked: Asked) -> bool:
    return (
        asked.agent in (None, record.agent)
        and asked.event in (None, record.event)
        and (asked.since is None or record.time_ms >= asked.since)
        and (asked.until is None or record.time_ms <= asked.until)
    )


def _event(record: Record) -> Event:
    return Event(
        record.commit,
        record.time_ms,
        record.author,
        record.subject,
        record.event,
        record.task,
        record.agent,
        record.generation,
        record.reason,
    )


def document(ground: Ground, observed: str | None, seen: Observation | None) -> Document:
    """Return the backlog as it was observed. Blocks on git; raises GitError."""
    path = ground.path("BACKLOG.md")
    found = None if observed is None else read_objects(ground.repo.common_dir, [f"{observed}:{path}"])[0]
    text = found.data.decode("utf-8", "replace") if found is not None and found.type == "blob" else None
    items = (
        {}
        if seen is None
        else {
            seen.items[entry.id].line: Item(entry.id, str(entry.lane))
            for entry in seen.backlog.entries
            if entry.id in seen.items
        }
    )
    return Document(path, observed, text, items)


def _median(values: Iterable[float]) -> float | None:
    ranked = sorted(values)
    return round(ranked[len(ranked) // 2], 2) if ranked else None

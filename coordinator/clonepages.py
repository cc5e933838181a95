"""The dashboard of a clone without a hub: everything that git knows, served on a port of its own.

It decides when the branch is read again. Nothing here writes to the repository, and no hub is asked.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from coordinator import __version__
from coordinator.core.agent import Agent
from coordinator.core.timers import Now
from coordinator.git.repo import read_ref
from coordinator.git.run import GitError
from coordinator.ground import Ground
from coordinator.listening import Listening, check
from coordinator.memoir import drafts_json
from coordinator.place import new_token
from coordinator.ports import StoreError
from coordinator.reading import Branch, ago, branch_notes, hub_runs, no_hub, read_branch, remote_json
from coordinator.saved import SavedWork
from coordinator.showing import document, events, held, orphans, saved, told, troubles
from coordinator.trail import NEVER, Trail
from coordinator.web.answers import Receive, Scope, Transmit
from coordinator.web.app import Bridge, make_app
from coordinator.web.asgi import Port, listen, make_server
from coordinator.web.auth import Doorkeeper
from coordinator.web.callers import Gate
from dashboard import pages
from dashboard.guard import Guard
from dashboard.snapshot import Facts, Origin, Seen
from dashboard.stream import STREAM, Stream
from dashboard.view import Asked, Document, Event, Story

_log = logging.getLogger("agentcom.dashboard")

#: How often it is looked whether the branch or the source has moved, in seconds.
LOOK_EVERY = 1.0
#: The work tree is looked at anew after so many seconds.
SAVED_EVERY = 5.0


@dataclass(slots=True)
class CloneShowing:
    """What the pages of a clone are made of. One reader at a time; every call on one loop."""

    ground: Ground
    agents: dict[str, Agent] = field(default_factory=dict)
    _refs: tuple[str | None, str | None] = (None, None)
    _looked: float = float("-inf")
    _read: tuple[object, Branch | None] | None = None
    _seen: tuple[object, Seen] | None = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def now(self) -> Now:
        return Now(time.monotonic(), time.time_ns() // 1_000_000)

    def mark(self, topic: str) -> object:
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            ground = self.ground
            with contextlib.suppress(GitError):
                self._refs = (read_ref(ground.repo, ground.state_ref), read_ref(ground.repo, ground.watched_ref))
        return self._refs

    async def seen(self, behind: float = 0.0) -> Seen:
        async with self._reading:
            mark = (self.mark("all"), time.monotonic() // SAVED_EVERY)
            if self._seen is None or self._seen[0] != mark:
                branch = await self._branch()
                self._seen = mark, await asyncio.to_thread(self._look, branch)
            return self._seen[1]

    async def _branch(self) -> Branch | None:
        """Return the branch, read again when it has moved; one that cannot be read now stays as it was."""
        if self._read is None or self._read[0] != self._refs:
            refs = self._refs
            try:
                self._read = refs, await asyncio.to_thread(read_branch, self.ground)
            except (StoreError, GitError) as error:
                _log.warning("the branch cannot be read now: %s", error)
                self._read = refs, self._read[1] if self._read is not None else None
            branch = self._read[1]
            self.agents.clear()
            self.agents.update(branch.core.memory.agents if branch is not None else {})
        return self._read[1]

    def _look(self, branch: Branch | None) -> Seen:
        ground, now = self.ground, self.now()
        uncommitted = saved(SavedWork(ground).uncommitted())
        if branch is None:
            origin = Origin(False, NEVER, now.wall)
            return Seen(now.wall, origin, Facts(ground.branch, __version__), (), {}, (), {}, (), *uncommitted)
        memory = branch.core.memory
        tasks = tuple(task for task in memory.tasks.values() if not task.status.deleted)
        hub = hub_runs(ground)
        said = "" if hub is not None else f"{no_hub(ground)}; "
        text = f"{said}as of {ago(now.wall - branch.made)} ({branch.tip[:7]})"
        remote = remote_json(ground, branch.tip)
        return Seen(
            now.wall,
            Origin(False, text, branch.made, branch_notes(ground, branch), hub),
            Facts(ground.branch, __version__, branch.source, branch.tip, remote=remote),
            tasks,
            branch.core.whys(tasks, now),
            tuple(memory.agents[name] for name in sorted(memory.agents)),
            {},
            troubles(branch.problems),
            *uncommitted,
            held(memory.held),
            len(drafts_json(branch.seen, memory)),
            orphans(tasks),
            None,
            memory.policy.suspend,
        )

    @property
    def _trail(self) -> Trail:
        return Trail(self.ground.repo, self.ground.state_ref, self.ground.root)

    async def story(self, task_id: str) -> Story | None:
        async with self._reading:
            self.mark("all")
            branch = await self._branch()
        task = None if branch is None else branch.core.memory.tasks.get(task_id)
        if branch is not None and task is None and task_id in branch.core.memory.closed:
            branch = await asyncio.to_thread(read_branch, self.ground, task_id)
            task = None if branch is None else branch.core.memory.tasks.get(task_id)
        if branch is None or task is None:
            return None
        story = await asyncio.to_thread(told, self._trail, task)
        return replace(story, why=branch.core.why(task, self.now()))

    async def events(self, asked: Asked, limit: int) -> tuple[Event, ...]:
        return await asyncio.to_thread(events, self._trail, asked, limit)

    async def backlog(self) -> Document:
        async with self._reading:
            self.mark("all")
            branch = await self._branch()
        if branch is None:
            tip = await asyncio.to_thread(read_ref, self.ground.repo, self.ground.watched_ref)
            return await asyncio.to_thread(document, self.ground, tip, None)
        return await asyncio.to_thread(document, self.ground, branch.source, branch.seen)


class _NoSockets:
    """A port without agents."""

    def __len__(self) -> int:
        return 0

    async def serve(self, scope: Scope, receive: Receive, transmit: Transmit) -> None:
        """Refuse a WebSocket: here is no hub."""
        await receive()
        await transmit({"type": "websocket.close", "code": 1008, "reason": "no hub runs here"})


async def serve(ground: Ground, listening: Listening, token: str | None, announce: Callable[[str], None]) -> None:
    """Serve the pages of a clone until SIGTERM or SIGINT.

    Raises OSError when the address cannot be had, CannotStart when it must not be listened so.

    ``token`` is the machine's admin token, None where it has none: then only this machine may look.
    """
    certificate = check(listening)
    showing = CloneShowing(ground)
    keeper = Doorkeeper(showing.agents, token or new_token())
    guard = Guard(token, keeper, showing.now, trusting=not listening.behind_proxy)
    stream = Stream(showing, guard)
    bridge = Bridge(asyncio.get_running_loop())
    flask = make_app(keeper, showing.now, bridge, (pages.blueprint(showing, bridge, guard),))
    port = Port(
        _NoSockets(),
        flask.wsgi_app,
        lambda: None,
        __version__,
        gate=Gate(listening.public_url),
        proxied=listening.behind_proxy,
        native={STREAM: stream.serve},
    )
    server = make_server(port, None if certificate is None else certificate.context)
    with contextlib.closing(listen(listening.host, listening.port)) as listener:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, over.set)
        tasks = [
            asyncio.create_task(server.serve(sockets=[listener]), name="port"),
            asyncio.create_task(stream.run(), name="dashboard"),
            asyncio.create_task(over.wait(), name="signals"),
        ]
        announce(listening.url(listener.getsockname()[1]))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stream.close()
            server.should_exit = True
            for task in tasks[1:]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result

"""One running hub: repository, lock, store, watcher, core and port put together, from start to the last goodbye.

This is where shell modules meet; none of them knows another. What the hub does is decided elsewhere.
"""

import asyncio
import contextlib
import errno
import logging
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from coordinator import __version__
from coordinator.core.machine import State
from coordinator.core.scheduler import Why
from coordinator.core.task import Task
from coordinator.core.timers import Now, rfc3339
from coordinator.files.observe import Observer
from coordinator.files.problem import Problem
from coordinator.files.readings import nothing
from coordinator.git.housekeeping import Housekeeping
from coordinator.git.journal import GitStore, last_observed
from coordinator.git.lock import HubLock, RepositoryLocked
from coordinator.git.repo import STATE_REF, GitSource, tracking_ref
from coordinator.git.watcher import Watcher
from coordinator.ground import Ground, unclear_root
from coordinator.hub import Hub, Identity
from coordinator.joining import CLAIMS, Arrival, adopt, arrive, beginning, give_way, judge_there, settle, standing
from coordinator.memoir import CLOSED_SHOWN, HISTORY_SHOWN, drafts_json, held_json
from coordinator.ports import Conflict, End, Fatal, SourceUnreadable
from coordinator.saved import Lookout, SavedWork, uncommitted_json
from coordinator.snapshot import Keeper, Snapshot
from coordinator.snapshot import read as read_snapshot
from coordinator.sync import Syncer
from coordinator.syncing import Sync
from coordinator.trail import CannotStart, Trail, record_json
from coordinator.web import present
from coordinator.web.api import Bridge, make_app
from coordinator.web.asgi import Port, let_many_in, listen, make_server
from coordinator.web.auth import Doorkeeper
from coordinator.web.sockets import Sessions

_log = logging.getLogger("agentcom.hub")

_TRIED_AGAIN = "it is tried again; the hub goes on meanwhile"


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> Now:
        return Now(time.monotonic(), time.time_ns() // 1_000_000)


@dataclass(frozen=True, slots=True)
class Options:
    """How a hub is started: a directory in the repository, where to listen, the source branch if not the usual one.

    ``take_over``: go on although another hub has claimed the branch since this one wrote it. ``remote``: the remote
    that the hub is to have from now on, by name or address, or ``none``; None leaves that as it is.
    """

    repo: Path
    host: str = "127.0.0.1"
    port: int = 4000
    source: str | None = None
    take_over: bool = False
    remote: str | None = None


class HubView:
    """What the HTTP API and the command line see of a running hub."""

    def __init__(
        self,
        hub: Hub,
        ground: Ground,
        started_at: int,
        lookout: Lookout,
        housekeeping: Housekeeping,
        syncer: Syncer | None = None,
    ) -> None:
        self._hub = hub
        self._syncer = syncer
        self._ground = ground
        self._started_at = started_at
        self._lookout = lookout
        self._housekeeping = housekeeping

    def now(self) -> Now:
        return self._hub.now()

    def why(self, task: Task) -> Why | None:
        return self._hub.why(task)

    async def task(self, task_id: str) -> Task | None:
        return await self._hub.task(task_id)

    async def tasks(self) -> list[Task]:
        return await self._hub.all_tasks(CLOSED_SHOWN)

    async def history(self, task_id: str) -> list[dict[str, Any]]:
        """Return a task's commits, newest first."""
        trail = Trail(self._ground.repo, STATE_REF, self._ground.root)
        records = await asyncio.to_thread(trail.records, task_id, HISTORY_SHOWN)
        return [record_json(record) for record in records]

    def agents(self) -> list[dict[str, Any]]:
        agents = self._hub.core.memory.agents
        return [present.agent_json(agents[name]) for name in sorted(agents)]

    def problem_list(self) -> list[dict[str, Any]]:
        remote = () if self._syncer is None else self._syncer.problems
        keeping = (
            Problem("housekeeping", what=str(trouble), hint=_TRIED_AGAIN) for trouble in self._housekeeping.troubles
        )
        return [asdict(problem) for problem in (*remote, *self._hub.problems, *keeping)]

    async def look_at_work_tree(self) -> None:
        """Let the next summary say what is saved by now and not committed."""
        await self._lookout.refresh()

    async def reconcile(self) -> dict[str, Any]:
        """Look at the source now; return which commit is observed, once what it changed is durable."""
        if self._syncer is not None:
            await self._syncer.fetch()
        observed = await self._hub.reconcile()
        return {
            "source": self._ground.source_ref,
            "observed_commit": observed,
            "state_commit": self._hub.tip,
            "not_observed": [asdict(problem) for problem in self._hub.source_problems],
            "remote": self._remote_json(),
        }

    def _remote_json(self) -> dict[str, Any] | None:
        return None if self._syncer is None else self._syncer.json()

    def summary(self) -> dict[str, Any]:
        """Return the state of the whole in one object (``agentcom status``)."""
        memory = self._hub.core.memory
        by_status = dict.fromkeys((str(state) for state in State), 0)
        for task in self._hub.durable_tasks():
            by_status[str(task.state)] += 1
        return {
            "hub_id": self._hub.claim.hub_id,
            "epoch": self._hub.claim.epoch,
            "version": __version__,
            "source": self._ground.source_ref,
            "observed_commit": self._hub.observed,
            "state_commit": self._hub.tip,
            "started_at": rfc3339(self._started_at),
            "as_of": rfc3339(self._hub.now().wall),
            "read_only": self._hub.read_only,
            "remote": self._remote_json(),
            "by_status": by_status,
            "closed_before_start": len(memory.closed),
            "commits_since_start": self._hub.figures.commits,
            "flushes_since_start": self._hub.figures.flushes,
            "flush_ms_p50": _median(self._hub.figures.flush_ms),
            "agents": self.agents(),
            "problems": self.problem_list(),
            "held": held_json(memory.held),
            "drafts": drafts_json(self._hub.seen, memory),
            **uncommitted_json(self._lookout.seen),
        }


def _median(values: Collection[float]) -> float | None:
    return round(sorted(values)[len(values) // 2], 2) if values else None


async def serve(options: Options, announce: Callable[[str], None]) -> None:
    """Run one hub until SIGTERM or SIGINT; ``announce`` hears the URL once agents may connect.

    Raises CannotStart before anything was changed, Conflict when the state branch is not (or no longer) this hub's,
    Fatal when the disk cannot be trusted.
    """
    if options.remote is not None:
        await asyncio.to_thread(settle, options.repo, options.remote)
    ground, arrival = await asyncio.to_thread(arrive, options.repo, options.source)
    _refuse_second_trail(ground)
    lock = HubLock(ground.repo)
    try:
        lock.acquire()
    except RepositoryLocked as error:
        raise CannotStart(str(error), 75) from None
    try:
        await _serve_locked(options, ground, arrival, lock, announce)
    finally:
        lock.release()


def make_hub(
    ground: Ground,
    *,
    may_write: Callable[[], bool] = lambda: True,
    take_over: bool = False,
    snapshot: Snapshot | None = None,
) -> Hub:
    """Return a hub over a real repository, not started and without a net; ``may_write`` is asked before each flush.

    What ``snapshot`` knows need not be read again by ``Hub.start``; afterwards it may forget.
    """
    known = snapshot or Snapshot(nothing())
    source = GitSource(ground.repo, ground.watched_ref, ground.root, remote=ground.remote is not None)
    hub = Hub(
        GitStore(ground.repo, ground.root, days=known.days),
        source,
        Observer(source, ground.branch, ground.root, known.readings),
        SystemClock(),
        Identity(
            ground.place.hub_id(),
            ground.source_ref,
            __version__,
            ground.root,
            ground.place.existing_backlog(),
            take_over,
            "" if ground.remote is None else ground.watched_ref,
        ),
        may_write=may_write,
        objections=lambda commit: source.problems(commit, first=hub.observed is None),
        readings=known.readings,
    )
    return hub


async def _serve_locked(
    options: Options, ground: Ground, arrival: Arrival | None, lock: HubLock, announce: Callable[[str], None]
) -> None:
    _refuse_occupied(ground)
    let_many_in()
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        raise CannotStart(_cannot_listen(options, error), 73) from None
    with contextlib.closing(listener), contextlib.ExitStack() as stack:
        hub, syncer, behind = await _start(options, ground, arrival, lock, stack)
        keeper = Keeper(ground, behind, lambda: hub.figures.commits)
        started_at = hub.now().wall
        door = Doorkeeper(hub.core.memory.agents, ground.place.admin_token())
        sessions = Sessions(hub, door, hub.core.memory.agents)
        hub.net = sessions
        lookout = Lookout(SavedWork(ground).uncommitted)

        def beat() -> None:
            lookout.beat()
            hub.glance()
            if syncer is not None:
                syncer.beat()

        housekeeping = Housekeeping(
            ground.repo,
            lambda: hub.tip,
            lambda: hub.figures.commits,
            lambda: hub.read_only is None and lock.still_ours(),
        )
        view = HubView(hub, ground, started_at, lookout, housekeeping, syncer)
        flask = make_app(view, door, Bridge(asyncio.get_running_loop()))
        server = make_server(Port(sessions, flask.wsgi_app, lambda: hub.read_only, __version__))
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        working = asyncio.create_task(hub.run(), name="hub")
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="port")
        ends = {working, serving, asyncio.create_task(sessions.patrol(), name="patrol")}
        if syncer is not None:
            ends.add(asyncio.create_task(syncer.run(), name="remote"))
        _stop_on_signals(hub)
        housekeeping.start()
        try:
            async with lookout, keeper, Watcher(ground.repo, [ground.watched_ref], hub.look, beat=beat):
                ground.place.write_hub(url, hub.claim.hub_id, started_at)
                lock.publish(url)
                announce(url)
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sessions.shut()
            server.should_exit = True
            hub.stop()
            await asyncio.to_thread(housekeeping.stop)
            results = list(await asyncio.gather(working, serving, return_exceptions=True))
            results += await _part(ends - {working, serving}, syncer, well=not any(results))
            ground.place.forget_hub()
        for result in results:
            if isinstance(result, BaseException):
                raise result


async def _start(
    options: Options, ground: Ground, arrival: Arrival | None, lock: HubLock, stack: contextlib.ExitStack
) -> tuple[Hub, Syncer | None, int]:
    """Return a hub that may serve: started, and where it is new to a remote, its claim pushed.

    With it what keeps its remote in step, and how many files a snapshot could have spared it. A claim that comes too
    late is taken back, and made anew on what is there now.
    """
    refused = ""
    for _ in range(CLAIMS):
        first = arrival is not None and await asyncio.to_thread(
            adopt, ground, arrival, ground.place.hub_id(), take_over=options.take_over
        )
        base = await asyncio.to_thread(standing, ground)
        snapshot = await asyncio.to_thread(read_snapshot, ground)
        hub = make_hub(ground, may_write=lambda: _keep(lock), take_over=options.take_over, snapshot=snapshot)
        stack.callback(hub.close)
        begun = None if arrival is None else await asyncio.to_thread(beginning, ground, arrival, hub.now())
        await hub.start()
        behind = snapshot.forget()
        if arrival is None or begun is None or hub.tip is None:
            return hub, None, behind
        syncer = _syncer(hub, ground, arrival, *begun)
        stack.callback(syncer.close, arrival.remote.give_up)
        if not first:
            return hub, syncer, behind
        answer = await syncer.push(hub.tip)
        if answer.end is End.DONE:
            return hub, syncer, behind
        if answer.end is not End.BEHIND:
            raise CannotStart(f"a hub that is new to {arrival.name} serves when its claim is there: {answer.words}", 1)
        await asyncio.to_thread(arrival.remote.fetch_state)
        await asyncio.to_thread(give_way, ground, arrival, base, hub.tip)
        refused = answer.words
    raise CannotStart(f"{ground.remote} takes no claim of this hub, {CLAIMS} times it came too late: {refused}", 1)


def _syncer(hub: Hub, ground: Ground, arrival: Arrival, sync: Sync, unpushed: int) -> Syncer:
    """Return what keeps a hub and its remote together."""
    return Syncer(
        hub,
        arrival.remote,
        partial(judge_there, ground.repo, arrival.name),
        name=arrival.name,
        url=arrival.url,
        branch=ground.branch,
        sync=sync,
        unpushed=unpushed,
    )


async def _part(running: "set[asyncio.Task[None]]", syncer: Syncer | None, *, well: bool) -> list[BaseException | None]:
    """End what keeps the remote in step, after a last push if all is ``well``; return what it raised."""
    raised = [task.exception() for task in running if task.done()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    if syncer is not None and well and not raised:
        await syncer.farewell()
    return raised


def _keep(lock: HubLock) -> bool:
    """Tell whether the hub may write. Raises Conflict when another one has taken the repository over."""
    try:
        return lock.keep()
    except RepositoryLocked as error:
        raise Conflict(f"the lock file of this hub was deleted, and {error}") from None


def _refuse_second_trail(ground: Ground) -> None:
    """Refuse to begin a new trail where a remote has one: all of its tasks would be created and run again."""
    ours = None if ground.remote is None else tracking_ref(ground.remote, STATE_REF)
    if ground.state_ref not in (STATE_REF, ours):
        name = ground.state_ref.removeprefix("refs/remotes/")
        raise CannotStart(
            f"{name} holds the trail of another hub: `agentcom hub --remote {name.removesuffix('/agentcom/state')}` "
            f"goes on with it and keeps it there; to go on here alone when that hub has stopped, "
            f"`git branch agentcom/state {name}` and start the hub again",
            78,
        )


def _refuse_occupied(ground: Ground) -> None:
    """Refuse a source that uses the hub's paths for something else, before the first observation (Git rules).

    Neither may agentcom.yaml be wrong where it names a root: the first hub settles for good which folder that is.
    """
    if last_observed(ground.repo, ground.state_ref) is not None:
        return
    source = GitSource(ground.repo, ground.watched_ref, ground.root)
    try:
        tip = source.tip()
        problems = () if tip is None else source.problems(tip, first=True)
        unclear = () if problems or tip is None else unclear_root(ground.repo, tip)
    except SourceUnreadable as error:
        raise CannotStart(f"{ground.branch} cannot be read: {error}", 78) from None
    if problems:
        raise CannotStart("; ".join(problems), 78)
    if unclear:
        wrong = "; ".join(map(str, unclear))
        raise CannotStart(f"{wrong}; correct and commit it: the first hub settles which folder is root", 65)


def _cannot_listen(options: Options, error: OSError) -> str:
    where = f"{options.host}:{options.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use: stop what listens there, or choose another port with --listen {options.host}:PORT"
    return f"cannot listen on {where}: {error.strerror or error}; choose another address with --listen HOST:PORT"


def _stop_on_signals(hub: Hub) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, hub.stop)


__all__ = ["CannotStart", "Conflict", "Fatal", "HubView", "Options", "serve"]

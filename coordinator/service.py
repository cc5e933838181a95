"""One running hub: repository, lock, store, watcher, core and port put together, from start to the last goodbye.

This is where shell modules meet; none of them knows another. What the hub does is decided elsewhere.
"""

import asyncio
import contextlib
import errno
import logging
import signal
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from coordinator import __version__
from coordinator.core.events import Record
from coordinator.core.machine import State
from coordinator.core.scheduler import Why
from coordinator.core.task import Task
from coordinator.core.timers import Now, rfc3339
from coordinator.doorplate import Doorplate
from coordinator.files.problem import Problem
from coordinator.git.housekeeping import Housekeeping
from coordinator.git.lock import HubLock, RepositoryLocked
from coordinator.git.repo import STATE_REF
from coordinator.git.watcher import Watcher
from coordinator.ground import Ground
from coordinator.hub import Hub
from coordinator.joining import Arrival, arrive, settle
from coordinator.listening import Certificate, Listening, check
from coordinator.memoir import CLOSED_SHOWN, HISTORY_SHOWN, drafts_json
from coordinator.place import Exposed
from coordinator.ports import Conflict, Fatal
from coordinator.registry import Registry
from coordinator.reviewing import Reviewer, make_reviewer
from coordinator.saved import Lookout, SavedWork, uncommitted_json
from coordinator.showing import HubShowing
from coordinator.snapshot import Keeper
from coordinator.sourced import Sourced
from coordinator.starting import part, refuse_occupied, refuse_second_trail, start
from coordinator.sync import Syncer
from coordinator.tasking import Tasking
from coordinator.trail import CannotStart, Trail, record_json
from coordinator.web import present
from coordinator.web.app import Bridge, make_app
from coordinator.web.asgi import Port, let_many_in, listen, make_server
from coordinator.web.auth import Doorkeeper
from coordinator.web.callers import Gate
from coordinator.web.chat import Chat
from coordinator.web.hooks import PushHooks
from coordinator.web.mail.office import Office
from coordinator.web.metrics import MeteredNet, Metrics, Reading
from coordinator.web.postroom import Postroom
from coordinator.web.presence import Presence
from coordinator.web.routes import all_routes
from coordinator.web.sockets import Sessions
from coordinator.wire.notify import Herald
from dashboard import pages
from dashboard.guard import Guard
from dashboard.stream import STREAM, Stream

_log = logging.getLogger("agentcom.hub")

_TRIED_AGAIN = "it is tried again; the hub goes on meanwhile"
_TASKS_GO_ON = "tasks go on; the hub's log says more"


@dataclass(frozen=True, slots=True)
class Options:
    """How a hub is started: a directory in the repository, where to listen, the source branch if not the usual one.

    ``take_over``: go on although another hub has claimed the branch since this one wrote it. ``remote``: the remote
    that the hub is to have from now on, by name or address, or ``none``; None leaves that as it is. ``data_dir`` is
    where mail is kept, in a folder for each hub; None for the git directory. ``hook_secret`` is what push hooks must
    know; None for the file in the git directory.
    """

    repo: Path
    listening: Listening = field(default_factory=Listening)
    source: str | None = None
    take_over: bool = False
    remote: str | None = None
    data_dir: Path | None = None
    hook_secret: str | None = field(default=None, repr=False)


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
        postroom: Postroom | None = None,
        reviewer: Reviewer | None = None,
    ) -> None:
        self._hub = hub
        self._syncer = syncer
        self._ground = ground
        self._started_at = started_at
        self._lookout = lookout
        self._housekeeping = housekeeping
        self._reviewer = reviewer
        self._postroom = postroom

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

    def default_repo(self) -> str | None:
        """Return where tasks without a repository of their own are worked on: an address if there is one, or a name."""
        policy = self._hub.core.memory.policy
        target = policy.repos.get(policy.default_repo or "")
        named = None if policy.default_repo == "none" else policy.default_repo
        return named if target is None else target.url

    @property
    def started_at(self) -> int:
        return self._started_at

    @property
    def read_only(self) -> str | None:
        return self._hub.read_only

    def agents(self) -> list[dict[str, Any]]:
        agents = self._hub.core.memory.agents
        shown = present.agents_json(agents)
        if self._postroom is None:
            return shown
        return [agent | self._postroom.presence.says_of(agent["agent_id"]) for agent in shown]

    def problem_list(self) -> list[dict[str, Any]]:
        return [asdict(problem) for problem in self.problems()]

    def problems(self) -> tuple[Problem, ...]:
        """Return what is wrong now, with the remote, with files, with the hub itself."""
        remote = () if self._syncer is None else self._syncer.problems
        keeping = (
            Problem("housekeeping", what=str(trouble), hint=_TRIED_AGAIN) for trouble in self._housekeeping.troubles
        )
        trouble = "" if self._postroom is None else self._postroom.trouble
        reviews = () if self._reviewer is None else self._reviewer.problems
        mail = (Problem("messages", what=trouble, hint=_TASKS_GO_ON),) if trouble else ()
        return (*remote, *self._hub.problems, *reviews, *keeping, *mail)

    async def look_at_work_tree(self) -> None:
        """Let the next summary say what is saved by now and not committed."""
        await self._lookout.refresh()

    async def look_now(self) -> None:
        """Look at the source soon, with a remote once that is fetched, and whether work in review was merged."""
        if self._reviewer is not None:
            self._reviewer.look()
        if self._syncer is None:
            self._hub.look()
        else:
            await self._syncer.fetch()

    async def reconcile(self) -> dict[str, Any]:
        """Look at the source now; return which commit is observed, once what it changed is durable.

        Work in review is looked at soon.
        """
        if self._reviewer is not None:
            self._reviewer.look()
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

    def reading(self, sessions: Sessions) -> Reading:
        """Return the figures of this moment."""
        figures = self._hub.figures
        remote = self._remote_json()
        return Reading(
            tasks=self._hub.durable_tasks(),
            agents=(agent.live.state for agent in self._hub.core.memory.agents.values()),
            sockets=len(sessions),
            closes=sessions.closes,
            commits=figures.commits,
            flushes=figures.flushes,
            flush_ms=figures.flush_ms_all,
            read_only=self._hub.read_only is not None,
            problems=len(self.problem_list()),
            unpushed=None if remote is None else remote["unpushed"],
            epoch=self._hub.claim.epoch,
            started_at=self._started_at,
        )

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
            "held": [present.batch_json(batch) for batch in memory.waiting()],
            "drafts": drafts_json(self._hub.seen, memory),
            **uncommitted_json(self._lookout.seen),
        }


def _median(values: Collection[float]) -> float | None:
    return round(sorted(values)[len(values) // 2], 2) if values else None


async def serve(options: Options, announce: Callable[[str], None], herald: Herald | None = None) -> None:
    """Run one hub until SIGTERM or SIGINT; ``announce`` hears the URL once agents may connect.

    ``herald`` tells the service manager that started this process, if one did.

    Raises CannotStart before anything was changed, Conflict when the state branch is not (or no longer) this hub's,
    Fatal when the disk cannot be trusted.
    """
    certificate = check(options.listening)
    if options.remote is not None:
        await asyncio.to_thread(settle, options.repo, options.remote)
    ground, arrival = await asyncio.to_thread(arrive, options.repo, options.source)
    refuse_second_trail(ground)
    lock = HubLock(ground.repo)
    try:
        lock.acquire()
    except RepositoryLocked as error:
        raise CannotStart(str(error), 75) from None
    try:
        await _serve_locked(options, certificate, ground, arrival, lock, announce, herald or Herald())
    finally:
        lock.release()


def make_postroom(hub: Hub, ground: Ground, data_dir: Path | None = None) -> Postroom:
    """Return the mail of a hub, kept in the data directory; nothing is opened before it is needed."""
    agents = hub.core.memory.agents
    folder = ground.place.folder if data_dir is None else data_dir / hub.claim.hub_id
    office = Office(folder, lambda: hub.now().wall)
    return Postroom(office, Presence(agents, hub.now), agents, hub.now)


async def _serve_locked(
    options: Options,
    certificate: Certificate | None,
    ground: Ground,
    arrival: Arrival | None,
    lock: HubLock,
    announce: Callable[[str], None],
    herald: Herald,
) -> None:
    refuse_occupied(ground)
    let_many_in()
    try:
        listener = listen(options.listening.host, options.listening.port)
    except OSError as error:
        raise CannotStart(_cannot_listen(options.listening, error), 73) from None
    with contextlib.closing(listener), contextlib.ExitStack() as stack:
        token = _names(ground)
        hub, syncer, behind = await start(ground, arrival, lock, stack, take_over=options.take_over)
        keeper = Keeper(ground, behind, lambda: hub.figures.commits)
        started_at = hub.now().wall
        agents = hub.core.memory.agents
        door = Doorkeeper(agents, token, lambda: hub.core.memory.token_changes)
        postroom = make_postroom(hub, ground, options.data_dir)
        reviewer = make_reviewer(hub, ground)
        stack.callback(reviewer.close)
        sessions = Sessions(hub, door, agents, Chat(postroom, agents))
        lookout = Lookout(SavedWork(ground).uncommitted)
        url = options.listening.url(listener.getsockname()[1])

        def put_up() -> None:
            ground.place.write_hub(url, hub.claim.hub_id, started_at, options.listening.known_by)
            lock.publish(url)

        doorplate = Doorplate(put_up)

        def beat() -> None:
            doorplate.beat()
            lookout.beat()
            hub.glance()
            reviewer.beat()
            if syncer is not None:
                syncer.beat()
            if certificate is not None:
                certificate.beat()

        housekeeping = Housekeeping(
            ground.repo,
            lambda: hub.tip,
            lambda: hub.figures.commits,
            lambda: hub.read_only is None and lock.still_ours(),
        )
        view = HubView(hub, ground, started_at, lookout, housekeeping, syncer, postroom, reviewer)
        metrics = Metrics(lambda: view.reading(sessions), hub.now, __version__)
        hub.net = MeteredNet(sessions.send, sessions.close, metrics)
        hub.told = _all_of(metrics.recorded, postroom.notice, reviewer.hears)
        bridge = Bridge(asyncio.get_running_loop())
        registry, tasking = Registry(hub, ground.branch), Tasking(hub)
        routes = all_routes(view, registry, tasking, postroom, agents, hub.now, bridge, __version__)
        showing = HubShowing(hub, ground, started_at, lookout, view.problems, syncer, postroom)
        guard = Guard(token, door, hub.now, trusting=not options.listening.behind_proxy)
        stream = Stream(showing, guard)
        flask = make_app(door, hub.now, bridge, (*routes, pages.blueprint(showing, bridge, guard)))
        said = Sourced(options.hook_secret)
        hooks = PushHooks(lambda: ground.place.known_hook_secret(said).value, view.look_now)
        port = Port(
            sessions,
            flask.wsgi_app,
            lambda: hub.read_only,
            __version__,
            gate=Gate(options.listening.public_url),
            proxied=options.listening.behind_proxy,
            meter=metrics,
            hook=hooks,
            native={STREAM: stream.serve},
        )
        server = make_server(port, None if certificate is None else certificate.context)
        working = asyncio.create_task(hub.run(), name="hub")
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="port")
        ends = {working, serving, asyncio.create_task(sessions.patrol(), name="patrol")}
        ends.add(asyncio.create_task(reviewer.run(), name="reviews"))
        ends.add(asyncio.create_task(stream.run(), name="dashboard"))
        if syncer is not None:
            ends.add(asyncio.create_task(syncer.run(), name="remote"))
        _stop_on_signals(hub)
        housekeeping.start()
        try:
            async with lookout, keeper, Watcher(ground.repo, [ground.watched_ref], hub.look, beat=beat):
                doorplate.beat()
                announce(url)
                herald.ready(f"hub at {url}")
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            herald.stopping()
            sessions.shut()
            stream.close()
            hooks.stop()
            server.should_exit = True
            hub.stop()
            await asyncio.to_thread(housekeeping.stop)
            results = list(await asyncio.gather(working, serving, return_exceptions=True))
            await postroom.close()
            results += await part(ends - {working, serving}, syncer, well=not any(results))
            ground.place.forget_hub()
            await herald.close()
        for result in results:
            if isinstance(result, BaseException):
                raise result


def _all_of(*hearers: Callable[[Record], None]) -> Callable[[Record], None]:
    """Return what lets everybody hear of a record."""

    def tell(record: Record) -> None:
        for hear in hearers:
            hear(record)

    return tell


def _names(ground: Ground) -> str:
    """Make sure that this clone has its hub id and its admin token, and return that token. Raises CannotStart."""
    try:
        ground.place.hub_id()
        return ground.place.admin_token()
    except Exposed as error:
        raise CannotStart(str(error), 78) from None
    except OSError as error:
        text = f"{ground.place.folder} cannot be used ({error}): make room or give access there"
        raise CannotStart(text, 1) from None


def _cannot_listen(listening: Listening, error: OSError) -> str:
    where = f"{listening.host}:{listening.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use: stop what listens there, or choose another port with --listen {listening.host}:PORT"
    return f"cannot listen on {where}: {error.strerror or error}; choose another address with --listen HOST:PORT"


def _stop_on_signals(hub: Hub) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, hub.stop)


__all__ = ["CannotStart", "Conflict", "Fatal", "HubView", "Options", "serve"]

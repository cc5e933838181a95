"""The hub's shell: inbox -> core -> flush -> effects, and nothing else.

One asyncio loop, one core, one writer. The order is the promise: whatever the core records is durable before anything
that it says goes out. What the core decides is none of this module's business, nor how it gets to the disk; sockets,
git and files come in as ports.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from heapq import nlargest
from itertools import count
from typing import Any, Protocol, TypeVar

from coordinator.core.errors import Bug
from coordinator.core.events import (
    Asked,
    Close,
    Complete,
    Confirmed,
    Edited,
    Effect,
    Failed,
    Happening,
    Leaving,
    Made,
    Message,
    Outcome,
    Progress,
    Record,
    Reply,
    Request,
    Resumed,
    Said,
    Send,
    Spoken,
    Started,
    Tick,
    Woken,
)
from coordinator.core.policy import Policy
from coordinator.core.reconciler import Core
from coordinator.core.scheduler import Why
from coordinator.core.task import Origin, Spec, Task
from coordinator.core.timers import Now
from coordinator.files import layout
from coordinator.files.observe import Known, Observation, Observer
from coordinator.files.problem import Problem
from coordinator.files.readings import Readings
from coordinator.flushing import Decision, Figures, Flusher, GivenUp
from coordinator.memoir import held_problems, held_text, known_now, observed_of, read_back, rebuild, wanted_finished
from coordinator.ports import Clock, Commit, Fold, Slip, Source, Store, StoreError
from coordinator.projection import (
    Claim,
    claim_commit,
    confirmation_commit,
    observation_commits,
    record_commit,
    slip_commit,
)
from coordinator.sight import Sight

T = TypeVar("T")

_log = logging.getLogger("agentcom.hub")

#: A loop that stood still this long (seconds) judges nobody before its leases start anew (DESIGN 4).
STOOD_STILL = 10.0
#: At most this many events are handled for one flush.
BATCH = 1_000
#: So many new problems of one observation are logged one by one.
PROBLEMS_LOGGED = 50
#: So many finished tasks stay in memory after their end; of twice as many the older ones go.
FINISHED_KEPT = 2_000
RESCUED = "what came after that commit is lost, and every open task starts anew"
#: The longest sleep without a timer, in seconds: a wall clock that is set forward is noticed within it.
LONGEST_SLEEP = 5.0


class Net(Protocol):
    """The one port through which agents are spoken to; both calls return at once and drop what has no session."""

    def send(self, agent: str, session: str, message: Message) -> None: ...

    def close(self, agent: str, session: str, code: str) -> None: ...


class SilentNet:
    """A net without sockets: for a hub whose door is not open yet."""

    def send(self, agent: str, session: str, message: Message) -> None:
        """Drop it."""

    def close(self, agent: str, session: str, code: str) -> None:
        """Drop it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which hub this is and what it watches: ``source_ref`` is a full ref name, ``root`` the folder of it all.

    ``watched_ref`` is where the source is read when that is somewhere else: what was fetched of a remote.

    ``existing`` is the blob of a BACKLOG.md that was there before ``agentcom init``, empty if none was. ``take_over``:
    start although another hub has claimed the branch.
    """

    hub_id: str
    source_ref: str
    version: str = ""
    root: str = "."
    existing: str = ""
    take_over: bool = False
    watched_ref: str = ""


@dataclass(frozen=True, slots=True)
class _Glance:
    """A look at the branch itself: somebody else may have moved it."""


@dataclass(slots=True)
class _Look:
    """An observation on its way through the inbox; ``merge`` when its commit is not part of the branch yet."""

    seen: Observation
    merge: bool = True


@dataclass(slots=True)
class _Letter:
    """One thing in the inbox and, if somebody waits for it to be durable, whom to tell."""

    content: Happening | _Look | _Glance | Slip
    done: asyncio.Future[None] | None = None


class Hub:
    """One hub over one repository. ``start`` once, then ``run`` until ``stop``."""

    def __init__(
        self,
        store: Store,
        source: Source,
        observer: Observer,
        clock: Clock,
        identity: Identity,
        *,
        net: Net | None = None,
        may_write: Callable[[], bool] = lambda: True,
        objections: Callable[[str], tuple[str, ...]] = lambda commit: (),
        readings: Readings | None = None,
    ) -> None:
        """``may_write`` is asked before each flush; ``objections`` says why a source commit must not be observed.

        What ``readings`` knows need not be parsed by ``start``.
        """
        self.core = Core()
        self.net: Net = net or SilentNet()
        #: Hears of each record once it is durable.
        self.told: Callable[[Record], None] = lambda record: None
        self.observed: str | None = None
        self.seen: Observation | None = None
        self.ready = asyncio.Event()
        self.claim = Claim(0, identity.hub_id, identity.root, skip_ci=bool(identity.watched_ref))
        self._store = store
        self._source = source
        self._observer = observer
        self._clock = clock
        self._identity = identity
        self._readings = readings
        self._in_branch: tuple[Problem, ...] = ()
        self._in_files: tuple[Problem, ...] = ()
        self._inbox: deque[_Letter] = deque()
        self._wake = asyncio.Event()
        self._look_now = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        #: What came of requests whose askers wait, by ticket; None as long as it is not durable.
        self._outcomes: dict[str, Outcome | None] = {}
        self._tickets = count(1)
        self._stopping = asyncio.Event()
        self._closed: dict[str, str] = {}
        self._wanted: Mapping[str, Spec] = {}
        #: What is on its way to the disk, as it stood before: readers are told nothing that is not durable.
        self._under_way: dict[str, Task | None] = {}
        self._flusher = Flusher(
            store,
            clock,
            may_write=may_write,
            undo=lambda slip: slip_commit(slip, self.claim, self.now().wall),
            perform=self._perform,
            refused=self._thin_out,
            healed=self._start_leases_anew,
        )
        self._backlog = layout.Folded().backlog
        self._files: dict[str, bytes] = {}
        self._policy_blob = ""
        self._last_wake: float | None = None
        self._reads: Executor = ThreadPoolExecutor(2, "reads")
        self._sight = Sight(source, observer, identity.watched_ref or identity.source_ref, self.look, objections)

    # --- the outside

    @property
    def tip(self) -> str | None:
        """The last commit that is on disk."""
        return self._flusher.tip

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.core.memory.policy

    @property
    def read_only(self) -> str | None:
        """Why nothing can be written now, None when all is well."""
        return self._flusher.read_only

    @property
    def figures(self) -> Figures:
        """What is counted since the start."""
        return self._flusher.figures

    def submit(self, event: Happening) -> None:
        """Put an event into the inbox; it is handled in order. Must be called on the loop."""
        self._post(_Letter(event))

    async def settle(self, event: Happening) -> None:
        """Put an event into the inbox and wait until what it changed is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._post(_Letter(event, done))
        await done

    async def ask(self, what: Asked | Made | Edited | Spoken | Confirmed) -> Outcome:
        """Let something happen that somebody asks for; return what came of it once that is durable.

        Raises StoreError when a task cannot be read back now.
        """
        ticket = str(next(self._tickets))
        self._outcomes[ticket] = None
        try:
            await self.settle(Request(ticket, what))
            outcome = self._outcomes[ticket]
        finally:
            del self._outcomes[ticket]
        if outcome is None:
            raise Bug(f"nobody answered {what}")
        return outcome

    def bears(self, task_id: str) -> bool:
        """Tell whether a task or a line of the backlog bears or bore an id, or a file that cannot be read."""
        memory = self.core.memory
        lines = (*self._backlog.entries, *self._backlog.gone)
        undecided = () if self.seen is None else self.seen.undecided
        known = task_id in memory.tasks or task_id in memory.closed or task_id in undecided
        return known or any(entry.id == task_id for entry in lines)

    def place_of(self, task: Task) -> str:
        """Return where people wrote what they want of a task: a file, a line; empty when they did not."""
        return "" if task.spec.origin is Origin.API else self._wanted.get(task.id, task.spec).where

    def look(self) -> None:
        """Look at the source soon: it may have moved. Must be called on the loop."""
        self._look_now.set()

    def glance(self) -> None:
        """Look soon whether the state branch is where this hub left it. Must be called on the loop."""
        if not any(isinstance(letter.content, _Glance) for letter in self._inbox):
            self._post(_Letter(_Glance()))

    async def slipped(self, slip: Slip) -> None:
        """Answer a slip on the branch of the remote by a commit that keeps it in history; return when it is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._post(_Letter(slip, done))
        await done

    async def reconcile(self) -> str | None:
        """Look at the source now; return the commit observed, once what it changed is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._look_now.set()
        await done
        return self.observed

    def stop(self) -> None:
        """End ``run`` after the batch in hand; a batch that cannot be written is given up."""
        self._stopping.set()
        self._wake.set()
        if self.read_only is not None:
            self._flusher.stop()

    def _post(self, letter: _Letter) -> None:
        self._inbox.append(letter)
        self._wake.set()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong now: in the hub's own files, with the source as a whole, and in people's files as observed.

        What waits for a person's confirmation comes first.
        """
        return (
            *held_problems(self.core.memory.waiting()),
            *self._flusher.slips,
            *self._in_branch,
            *self._sight.problems,
            *self._in_files,
        )

    @property
    def source_problems(self) -> tuple[Problem, ...]:
        """Why the source as a whole was not observed at the last look; empty when it was."""
        return self._sight.problems

    def now(self) -> Now:
        return self._clock.now()

    def why(self, task: Task) -> Why | None:
        """Return why a queued task waits, the store's own trouble first."""
        found = self.core.why(task, self.now())
        if found is not None and self.read_only is not None:
            return Why("hub_readonly", f"the hub cannot write: {self.read_only}")
        return found

    def whys(self, tasks: Iterable[Task]) -> dict[str, Why]:
        """Return why each queued one of these tasks waits, by id, as ``why`` does for one."""
        found = self.core.whys(tasks, self.now())
        if self.read_only is None:
            return found
        return dict.fromkeys(found, Why("hub_readonly", f"the hub cannot write: {self.read_only}"))

    async def all_tasks(self, limit: int) -> list[Task]:
        """Return every open task and about ``limit`` finished ones, the newest days first, as far as durable."""
        shown = self.durable_tasks()
        room = limit - sum(task.finished for task in shown)
        names = nlargest(max(0, room), self.core.memory.closed, key=lambda name: self._closed.get(name, ""))
        known = {task.id for task in shown}
        earlier = await self._in(self._reads, read_back, names, self._closed, self._store, self._source)
        return [*shown, *(task for task in earlier if task.id not in known)]

    def durable_tasks(self) -> list[Task]:
        """Return the tasks in memory as the branch has them."""
        shown = (self._under_way.get(task.id, task) for task in self.core.memory.tasks.values())
        return [task for task in shown if task is not None]

    async def task(self, task_id: str) -> Task | None:
        """Return a task as the branch has it, also a finished one that is not in memory."""
        await self._recall([task_id])
        return self.durable_task(task_id)

    def durable_task(self, task_id: str) -> Task | None:
        """Return a task in memory as the branch has it."""
        return self._under_way.get(task_id, self.core.memory.tasks.get(task_id))

    # --- start

    async def start(self) -> None:
        """Load the branch, claim it, and observe the source; from then on the door may open.

        Raises what the store raises; Conflict when the branch is not a hub's.
        """
        recover = partial(self._store.recover, self._identity.hub_id, take_over=self._identity.take_over)
        fold = await self._flusher.in_journal(recover)
        again = partial(rebuild, existing=self._identity.existing, readings=self._readings)
        rebuilt = await self._flusher.in_journal(again, self.core, fold, self._observer, self._store, self._source)
        folded = rebuilt.folded
        self._files = {path: fold.files[path] for path in (layout.HUB, layout.BACKLOG_MAP) if path in fold.files}
        self._closed = dict(fold.closed)
        self._backlog = folded.backlog
        self._policy_blob = str(folded.hub.get("policy", ""))
        self._flusher.tip, self.observed = fold.tip, fold.source
        before = folded.hub.get("hub_id")
        self.claim = replace(self.claim, epoch=int(folded.hub.get("epoch", 0)) + 1)
        new_hub = "a new hub took over" if before is not None and before != self._identity.hub_id else ""
        await self._claim(fold, anew=f"the branch {fold.rescued}" if fold.rescued else new_hub)
        self._in_branch = folded.problems
        await self._observe_first(rebuilt.baseline)
        self.ready.set()

    async def _claim(self, fold: Fold, *, anew: str) -> None:
        first = fold.tip is None
        source = await self._sight.first() if first else fold.source
        commit = claim_commit(self.claim, self._hub_file(), source, self.now().wall, first=first)
        effects = self.core.handle(Started(anew), self.now())
        if fold.rescued:
            self._flusher.report(fold.rescued, RESCUED)
        await self._flusher.now(Decision((commit, *self._commits_of(effects)), slip=fold.slip))
        self._remember(commit)
        self.observed = source

    def _hub_file(self) -> Mapping[str, Any]:
        """Return what status/hub.yaml must say now."""
        said = {
            "hub_id": self.claim.hub_id,
            "epoch": self.claim.epoch,
            "source": self._identity.source_ref,
            "policy": self._policy_blob,
            "version": self._identity.version,
            "held": held_text(self.core.memory.held),
        }
        return {key: value for key, value in said.items() if value not in ("", [])}

    def _remember(self, *commits: Commit) -> None:
        for commit in commits:
            for path in (layout.HUB, layout.BACKLOG_MAP):
                if path in commit.puts:
                    self._files[path] = commit.puts[path]

    # --- the loop

    async def run(self) -> None:
        """Work until ``stop``. Raises Conflict and Fatal of the store, and whatever is a bug."""
        looking = asyncio.create_task(self._keep_looking(), name="observer")
        flushing = asyncio.create_task(self._flusher.run(), name="flusher")
        for task in (looking, flushing):
            task.add_done_callback(lambda _: self._wake.set())
        try:
            while not self._stopping.is_set():
                batch = await self._gather()
                for task in (looking, flushing):
                    if task.done():
                        task.result()
                if batch:
                    self._flusher.put(await self._decide(batch))
            self._flusher.stop()
            await flushing
        except GivenUp:
            _log.warning("stopped while read-only: what could not be written will be decided again")
        finally:
            for task in (looking, flushing):
                task.cancel()
            await asyncio.gather(looking, flushing, return_exceptions=True)

    async def _gather(self) -> list[_Letter]:
        """Wait for events or for the next timer; return everything that is there, Tick last."""
        now = self._clock.now()
        due = self.core.next_due(now)
        pause = LONGEST_SLEEP if due is None else min(LONGEST_SLEEP, max(0.0, due - now.mono))
        if not self._inbox and pause > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
        await self._flusher.room()
        self._wake.clear()
        letters = [self._inbox.popleft() for _ in range(min(BATCH, len(self._inbox)))]
        if self._inbox:
            self._wake.set()
        woken = self._clock.now()
        stood = 0.0 if self._last_wake is None else woken.mono - self._last_wake
        self._last_wake = woken.mono
        if stood > STOOD_STILL + LONGEST_SLEEP:
            _log.warning("the hub stood still for %.0f s: leases start anew", stood)
            letters.insert(0, _Letter(Resumed(stood)))
        else:
            due = self.core.next_due(woken)
            if due is not None and due <= woken.mono:
                letters.append(_Letter(Tick()))
        return letters

    async def _decide(self, letters: list[_Letter]) -> Decision:
        """Let the core handle a batch; return what came of it, which is in memory from now on and not yet durable."""
        lost = await self._recall(_tasks_of(letters))
        if lost:
            _give_back([letter for letter in letters if lost.intersection(_named(letter))])
            letters = [letter for letter in letters if not lost.intersection(_named(letter))]
        commits: list[Commit] = []
        effects: list[Effect] = []
        slip: Slip | None = None
        for letter in letters:
            if isinstance(letter.content, _Glance):
                slip = await self._flusher.look() or slip
                continue
            if isinstance(letter.content, Slip):
                slip = slip or letter.content
                continue
            if isinstance(letter.content, _Look):
                await self._recall(wanted_finished(letter.content.seen.specs.values()))
                decided = self.core.handle(observed_of(letter.content.seen), self.now())
                commits += self._take_in(letter.content)
            else:
                decided = self.core.handle(letter.content, self.now())
            commits += self._commits_of(decided)
            commits += self._note_confirmed(letter.content, decided)
            effects += decided
        self._cover(effects)
        waiting = tuple(letter.done for letter in letters if letter.done is not None)
        return Decision(tuple(commits), tuple(effects), waiting, slip)

    def _cover(self, effects: Iterable[Effect]) -> None:
        """Let readers see what these change as it stood before."""
        for effect in effects:
            if isinstance(effect, Record) and effect.after is not None:
                self._under_way.setdefault(effect.after.id, effect.before)

    def _forget_old(self) -> None:
        """Keep the memory of a hub that runs for months small: what has ended long ago is read back when asked for."""
        memory = self.core.memory
        if memory.finished_in_mind <= 2 * FINISHED_KEPT:
            return
        needed = wanted_finished(task.spec for task in memory.open_tasks())
        ended = [task for task in memory.tasks.values() if task.finished and task.id not in needed]
        ended.sort(key=lambda task: task.status.completed_at or 0)
        for task in ended[: max(0, len(ended) - FINISHED_KEPT)]:
            self._closed[task.id] = layout.status_path(task)
            self.core.forget(task.id)

    def _commits_of(self, effects: list[Effect]) -> list[Commit]:
        now = self.now().wall
        return [record_commit(effect, self.claim, now) for effect in effects if isinstance(effect, Record)]

    def _perform(self, effects: Sequence[Effect]) -> None:
        """Let the world know what is durable now."""
        self._under_way.clear()
        for decision in self._flusher.pending:
            self._cover(decision.effects)
        for effect in effects:
            match effect:
                case Send():
                    self.net.send(effect.agent, effect.session, effect.message)
                case Close():
                    self.net.close(effect.agent, effect.session, effect.code)
                case Record():
                    _log.info("%s", _line(effect))
                    self.told(effect)
                case Reply():
                    if effect.ticket in self._outcomes:
                        self._outcomes[effect.ticket] = effect.outcome
        self._forget_old()

    def _start_leases_anew(self, stood: float) -> None:
        """Go on after ``stood`` seconds in which nothing could be written: nobody is judged by them."""
        self._last_wake = self._clock.now().mono
        self._inbox.appendleft(_Letter(Resumed(stood)))
        self._wake.set()

    def _thin_out(self) -> None:
        """Keep the inbox small while nothing is handled: no progress, each fate once per (task, generation).

        What a sidecar repeats takes the place of what it said before.
        """
        kept: dict[object, _Letter] = {}
        for letter in self._inbox:
            word = letter.content.word if isinstance(letter.content, Said) else None
            if isinstance(word, Progress):
                continue
            if isinstance(word, Woken | Leaving) and isinstance(letter.content, Said):
                kept[(letter.content.agent, letter.content.session, word)] = letter
            elif isinstance(word, Complete | Failed) and isinstance(letter.content, Said):
                kept[(letter.content.agent, letter.content.session, type(word), word.task, word.generation)] = letter
            else:
                kept[id(letter)] = letter
        self._inbox = deque(kept.values())

    # --- observing

    async def _keep_looking(self) -> None:
        """Look whenever somebody says that the source may have moved; one observation at a time."""
        while True:
            await self._look_now.wait()
            self._look_now.clear()
            waiting, self._waiting = self._waiting, []
            seen = await self._sight.read(self.observed, self._known)
            if seen is not None:
                done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._post(_Letter(_Look(seen), done))
                await done
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def _observe_first(self, baseline: Observation | None) -> None:
        """Observe before anybody is let in; what a crash left out of the last observation is derived again."""
        seen = await self._sight.read(self.observed, self._known)
        if seen is not None:
            await self._flusher.now(await self._decide([_Letter(_Look(seen))]))
        elif baseline is not None:
            await self._flusher.now(await self._decide([_Letter(_Look(baseline, merge=False))]))
        elif self.observed is not None:
            first = await self._sight.look_at(self.observed, self._known())
            await self._flusher.now(await self._decide([_Letter(_Look(first, merge=False))]))

    def _known(self) -> Known:
        return known_now(self.core.memory, self._backlog, self._policy_blob, self._identity.existing)

    def _take_in(self, look: _Look) -> tuple[Commit, ...]:
        """Note what was observed; return the commits that say so."""
        seen = look.seen
        self._policy_blob = seen.policy.blob
        self._backlog = seen.backlog
        known = frozenset(self._in_files)
        news = [problem for problem in seen.problems if problem not in known]
        for problem in news[:PROBLEMS_LOGGED]:
            _log.warning("%s", problem)
        if len(news) > PROBLEMS_LOGGED:
            _log.warning("and %d problems more: agentcom status", len(news) - PROBLEMS_LOGGED)
        self._in_files = seen.problems
        self.observed = seen.commit
        self.seen = seen
        self._wanted = seen.specs
        commits = observation_commits(seen, self.claim, self._hub_file(), self._files, self.now().wall)
        if not look.merge:
            commits = commits[1:]
        self._remember(*commits)
        return commits

    def _note_confirmed(self, content: object, decided: Iterable[Effect]) -> tuple[Commit, ...]:
        """Return the commit after which what was confirmed by request is not held any more, also after a restart."""
        if not isinstance(content, Request) or not isinstance(content.what, Confirmed):
            return ()
        notes = layout.hub_change(self._hub_file())
        if all(self._files.get(path) == data for path, data in notes.items()):
            return ()
        names = [batch.commit for one in decided if isinstance(one, Reply) for batch in one.outcome.confirmed]
        commit = confirmation_commit(content.what.by, names, notes, self.claim, self.now().wall)
        self._remember(commit)
        return (commit,)

    async def _recall(self, names: Iterable[str]) -> frozenset[str]:
        """Bring finished tasks back into memory that somebody speaks of; return those that cannot be read now."""
        wanted = self.core.memory.closed.intersection(names)
        if not wanted:
            return frozenset()
        try:
            await self._bring_back(wanted)
        except StoreError as error:
            _log.error("finished tasks cannot be read now: %s", error)
            return frozenset(wanted)
        return frozenset()

    async def _bring_back(self, wanted: AbstractSet[str]) -> None:
        for task in await self._in(self._reads, read_back, wanted, self._closed, self._store, self._source):
            if task.id in self.core.memory.closed:
                wanted_now = self._wanted.get(task.id)
                self.core.restore(task if task.spec.blob or wanted_now is None else replace(task, spec=wanted_now))
                if wanted_now is not None:
                    self.core.restore_later(wanted_now)

    async def _in(self, executor: Executor, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call, *args)

    def close(self) -> None:
        """Give the threads back. The hub cannot be used afterwards."""
        self._sight.close()
        self._flusher.close()
        self._reads.shutdown(wait=True)


def _give_back(letters: list[_Letter]) -> None:
    """Leave letters unheard: agents say what matters again, and who waits learns that it could not be done."""
    for letter in letters:
        if letter.done is not None and not letter.done.done():
            letter.done.set_exception(StoreError("the task cannot be read now; try again"))


def _tasks_of(letters: list[_Letter]) -> list[str]:
    """Return the ids of the tasks that a batch speaks of."""
    return [name for letter in letters for name in _named(letter)]


def _named(letter: _Letter) -> tuple[str, ...]:
    """Return the ids of the tasks that one letter speaks of."""
    content = letter.content.what if isinstance(letter.content, Request) else letter.content
    match content:
        case Asked():
            return (content.task,)
        case Made() | Edited():
            return (content.spec.id, *content.spec.depends_on)
        case Said() | Spoken():
            return () if content.word.task is None else (content.word.task,)
    return ()


def _line(record: Record) -> str:
    """Say one record in one line, for the log."""
    if record.after is None:
        return f"agent {record.agent}: {record.note or record.what}"
    name, before, after = record.after.id, record.before, record.after
    change = record.what if before is None or before.state is after.state else f"{before.state} -> {after.state}"
    who = f" ({record.agent})" if record.agent else ""
    note = f": {record.note}" if record.note else f": {after.spec.title}" if before is None else ""
    return f"{name}: {change}{who}{note}"

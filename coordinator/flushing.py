"""From what was decided to what is on disk, and only then to the world: one flush at a time.

While a flush is under way the next events are decided already; what they change waits here and shares the next flush.
This module decides when a flush begins, what a refusal of the store means, and when effects go out. It knows no task.

    GivenUp                     the hub was told to stop while the store refused
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from coordinator.core.events import Effect
from coordinator.files.problem import Problem
from coordinator.ports import Clock, Commit, ReadOnly, Slip, Slipped, Store

T = TypeVar("T")

_log = logging.getLogger("agentcom.hub")

#: Pause between two tries of a flush while the store is read-only, in seconds.
HEAL_PAUSE = 1.0
#: So many commits at most wait for the next flush before nothing more is decided; one decision may bring more.
ROOM = 1_000
#: So many turns of the loop without a new decision let a flush begin; one takes some 20 us.
QUIET_TURNS = 4
#: So many slips on the state branch are shown, the last ones since the hub started.
SLIPS_SHOWN = 10
SLIPPED = "the hub put it back; what you want belongs on the source branch"


class GivenUp(Exception):
    """The hub was told to stop while it could not write: what was decided is decided again by the next one."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of some events: commits to be written, effects that wait for them, and who waits to hear of it.

    ``slip`` is one to be answered on the way.
    """

    commits: tuple[Commit, ...] = ()
    effects: tuple[Effect, ...] = ()
    waiting: tuple[asyncio.Future[None], ...] = ()
    slip: Slip | None = None


@dataclass(slots=True)
class Figures:
    """What the hub counts since it started; ``flush_ms`` are the last durations, ``flush_ms_all`` their whole sum."""

    commits: int = 0
    flushes: int = 0
    flush_ms_all: float = 0.0
    flush_ms: deque[float] = field(default_factory=lambda: deque(maxlen=1_000))


class Flusher:
    """The one writer of a store; every method must be called on the loop.

    ``may_write`` is asked before each flush; ``undo`` makes the commit that answers a slip; ``perform`` lets effects go
    out; ``refused`` is called whenever the store said no, ``healed`` with the seconds for which it did.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        may_write: Callable[[], bool],
        undo: Callable[[Slip], Commit],
        perform: Callable[[Sequence[Effect]], None],
        refused: Callable[[], None],
        healed: Callable[[float], None],
    ) -> None:
        self.tip: str | None = None
        #: Why nothing can be written now, None when all is well.
        self.read_only: str | None = None
        self.figures = Figures()
        #: What was done to the state branch since the hub started.
        self.slips: deque[Problem] = deque(maxlen=SLIPS_SHOWN)
        #: What was decided and is not on disk yet, oldest first; the first ones may be in a flush.
        self.pending: deque[Decision] = deque()
        self._store = store
        self._clock = clock
        self._may_write = may_write
        self._undo = undo
        self._perform = perform
        self._refused = refused
        self._healed = healed
        self._put = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = asyncio.Event()
        self._journal: Executor = ThreadPoolExecutor(1, "journal")

    def put(self, decision: Decision) -> None:
        """Let a decision be written with the next flush."""
        self.pending.append(decision)
        self._put += 1
        self._wake.set()
        self._make_room()

    async def now(self, decision: Decision) -> None:
        """Write one decision while ``run`` does not run. Raises what the store raises, GivenUp."""
        self.pending.append(decision)
        await self._flush(1)

    async def room(self) -> None:
        """Wait until more may be decided: not while the store refuses, nor when much is waiting already."""
        await self._room.wait()

    async def look(self) -> Slip | None:
        """Return what has become of the branch since the last flush. Raises what the store raises."""
        return await self.in_journal(self._store.look)

    def stop(self) -> None:
        """End ``run`` when all that is waiting is written; what cannot be written is given up."""
        self._stopping.set()
        self._wake.set()
        self._room.set()

    async def run(self) -> None:
        """Write what was decided until ``stop``. Raises what the store raises, GivenUp."""
        try:
            while self.pending or not self._stopping.is_set():
                await self._wake.wait()
                if not self._stopping.is_set():
                    self._wake.clear()
                if self.pending:
                    await self._hear_out()
                    await self._flush(self._share())
                    if self.pending:
                        self._wake.set()
        finally:
            self._room.set()

    def report(self, what: str, hint: str) -> None:
        """Say what was done to the state branch, in the log and among the problems."""
        _log.warning("agentcom/state %s: %s", what, hint)
        self.slips.append(Problem("agentcom/state", what=what, hint=hint))

    async def in_journal(self, call: Callable[..., T], *args: object) -> T:
        """Run something in the thread of the flushes."""
        return await asyncio.get_running_loop().run_in_executor(self._journal, partial(call, *args))

    def close(self) -> None:
        """Give the thread back, after the flush in hand."""
        self._journal.shutdown(wait=True)

    def _share(self) -> int:
        """Return how many decisions the next flush takes: all that wait, as far as one flush has room."""
        commits = taken = 0
        for decision in self.pending:
            if taken and commits + len(decision.commits) > ROOM:
                break
            commits += len(decision.commits)
            taken += 1
        return taken

    async def _hear_out(self) -> None:
        """Let what was said go out, and what is on its way come in, until nothing new was decided for some turns.

        Agents that were answered together answer together: in one flush with the first of them, not in the next one.
        """
        known = -1
        while known != self._put and self._room.is_set():
            known = self._put
            for _ in range(QUIET_TURNS):
                await asyncio.sleep(0)

    async def _flush(self, count: int) -> None:
        """Make the first ``count`` decisions durable, then let the world know."""
        share = [self.pending[at] for at in range(count)]
        slip = next((decision.slip for decision in share if decision.slip is not None), None)
        await self._write(tuple(commit for decision in share for commit in decision.commits), slip)
        for _ in range(count):
            self.pending.popleft()
        self._perform([effect for decision in share for effect in decision.effects])
        for decision in share:
            for done in decision.waiting:
                if not done.done():
                    done.set_result(None)
        self._make_room()

    async def _write(self, commits: tuple[Commit, ...], slip: Slip | None) -> None:
        """Flush until it is done; while the store refuses, nothing else is decided and every effect waits.

        A ``slip`` is put back on the way, also one that is found only now.
        """
        if not commits and slip is None:
            return
        stood_since = self._clock.now().mono
        while True:
            begin = self._clock.now().mono
            undo = () if slip is None else (self._undo(slip),)
            try:
                if not self._may_write():
                    raise ReadOnly("the lock file of this hub was taken away; another hub may be running")
                self.tip = await self.in_journal(self._store.flush, (*undo, *commits))
            except Slipped as error:
                slip = error.slip
                continue
            except ReadOnly as error:
                await self._wait_for_healing(error)
                continue
            break
        if slip is not None and all(problem.what != slip.text for problem in self.slips):
            self.report(slip.text, SLIPPED)
        self.figures.commits += len(undo) + len(commits)
        self.figures.flushes += 1
        now = self._clock.now().mono
        self.figures.flush_ms.append(1000 * (now - begin))
        self.figures.flush_ms_all += 1000 * (now - begin)
        if self.read_only is not None:
            _log.warning("writable again")
            self.read_only = None
            self._healed(now - stood_since)

    async def _wait_for_healing(self, error: ReadOnly) -> None:
        """Say that nothing can be written, and wait before the next try. Raises GivenUp when the hub is to end."""
        if self.read_only is None:
            _log.error("read-only: %s; trying again every second", error)
        self.read_only = str(error)
        self._make_room()
        self._refused()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), HEAL_PAUSE)
            raise GivenUp from None

    def _make_room(self) -> None:
        waiting = sum(len(decision.commits) for decision in self.pending)
        if self._stopping.is_set() or (self.read_only is None and waiting < ROOM):
            self._room.set()
        else:
            self._room.clear()

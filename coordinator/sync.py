"""Keep a running hub and its remote together: do what ``syncing`` decides, one thing at a time, off the hub's loop.

Nothing that a network does stops a hub; one thing does: another hub that has claimed the remote's branch. Who wrote
there is judged by whoever made this object, and a person's slip is undone by the hub itself.
"""

import asyncio
import contextlib
import logging
import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol, TypeVar, assert_never

from coordinator.core.timers import Now, rfc3339
from coordinator.files.problem import Problem
from coordinator.flushing import Figures
from coordinator.git.run import GitError
from coordinator.ports import Answer, Conflict, End, Remote, Slip
from coordinator.syncing import (
    FetchSource,
    FetchState,
    Push,
    Rest,
    Sync,
    asked,
    began,
    lag_json,
    moved,
    next_step,
    problems,
    push_answered,
    source_answered,
    state_answered,
)

T = TypeVar("T")

#: What differs between two complaints about the same: git says after how many milliseconds it gave up.
_NUMBERS = re.compile(r"\d+")

_log = logging.getLogger("agentcom.hub")

#: How long a hub that stops tries to push what is not pushed yet, in seconds.
FAREWELL_S = 5.0


class _Hub(Protocol):
    """What is needed of a hub."""

    @property
    def tip(self) -> str | None: ...

    @property
    def figures(self) -> Figures: ...

    def now(self) -> Now: ...

    def look(self) -> None: ...

    async def slipped(self, slip: Slip) -> None: ...


class Syncer:
    """One hub and its remote, from ``run`` to ``close``; every call is made on the loop.

    ``judge`` says, in a thread, what it means to a hub whose last commit is the first argument that the remote's branch
    names the second. ``unpushed`` is how many commits the remote lacked at the start.
    """

    def __init__(
        self,
        hub: _Hub,
        remote: Remote,
        judge: Callable[[str, str], Slip | Conflict],
        *,
        name: str,
        url: str = "",
        branch: str = "main",
        sync: Sync | None = None,
        unpushed: int = 0,
        luck: Callable[[], float] = random.random,
    ) -> None:
        self._hub = hub
        self._remote = remote
        self._judge = judge
        self._name, self._url, self._branch = name, url, branch
        self._sync = sync or Sync()
        #: The hub's count of commits when it stood where the remote stands.
        self._counted = -unpushed
        self._luck = luck
        self._bell = asyncio.Event()
        self._asked: list[asyncio.Future[None]] = []
        self._thread = ThreadPoolExecutor(1, "remote")
        self._said = ""

    # --- the outside

    def beat(self) -> None:
        """Notice that the hub has written."""
        self._notice_hub()

    async def fetch(self) -> None:
        """Ask the remote for the source now; return when it has answered, whatever it said."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(done)
        self._sync = asked(self._sync)
        self._bell.set()
        await done

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the remote now."""
        self._notice_hub()
        return problems(self._sync, self._name, self._branch, self._unpushed)

    def json(self) -> dict[str, Any]:
        """Return the object ``remote`` of ``GET /api/status``."""
        self._notice_hub()
        lag = lag_json(self._sync, self._unpushed)
        said = {
            key.removesuffix("_ms"): rfc3339(value) if key.endswith("_ms") and value is not None else value
            for key, value in lag.items()
        }
        return {"name": self._name, "url": self._url, "branch": self._branch, **said}

    async def run(self) -> None:
        """Fetch and push for ever. Raises Conflict when another hub has claimed the remote's branch."""
        while True:
            self._notice_hub()
            step = next_step(self._sync, self._hub.now())
            match step:
                case Rest(until):
                    await self._rest(until - self._hub.now().mono)
                case FetchSource():
                    await self._fetch_source()
                case FetchState():
                    await self._fetch_state()
                case Push(tip):
                    await self.push(tip)
                case _:
                    assert_never(step)
            self._report()

    async def push(self, tip: str) -> Answer:
        """Push one commit now and note what came of it."""
        self._notice_hub()
        counted = self._hub.figures.commits
        self._sync = began(self._sync, Push(tip))
        answer = await self._do(self._remote.push_state, tip)
        self._notice_hub()
        self._sync = push_answered(self._sync, answer, self._hub.now(), self._luck())
        if answer.end is End.DONE:
            self._counted = counted
        return answer

    async def farewell(self) -> None:
        """Push what is left, if the remote was there last time; a hub that stops does not wait long for it."""
        self._notice_hub()
        sync = self._sync
        if sync.own is not None and sync.ahead and not sync.unclear and not sync.push_failures:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.push(sync.own), FAREWELL_S)
            self._report()

    def close(self, give_up: Callable[[], None]) -> None:
        """End what is under way, by ``give_up``, and give the thread back."""
        give_up()
        for waiting in self._asked:
            waiting.cancel()
        self._thread.shutdown(wait=True)

    # --- the steps

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._bell.wait()
        self._bell.clear()

    async def _fetch_source(self) -> None:
        waiting, self._asked = self._asked, []
        answer = await self._do(self._remote.fetch_source)
        self._sync = source_answered(self._sync, answer, self._hub.now(), self._luck())
        self._hub.look()
        for done in waiting:
            if not done.done():
                done.set_result(None)

    async def _fetch_state(self) -> None:
        answer = await self._do(self._remote.fetch_state)
        own = self._hub.tip
        if answer.end is End.DONE and answer.tip is not None and own is not None:
            await self._undo(own, answer.tip)
        self._sync = state_answered(self._sync, answer, self._hub.now(), self._luck())

    async def _undo(self, own: str, theirs: str) -> None:
        """Let the hub answer what a person did to the remote's branch. Raises Conflict when it was a hub."""
        try:
            found = await self._in_thread(self._judge, own, theirs)
        except GitError as error:
            _log.error("agentcom/state on %s cannot be judged now: %s", self._name, error)
            return
        if isinstance(found, Conflict):
            raise found
        if found.parent is not None:
            await self._hub.slipped(replace(found, text=f"on {self._name} {found.text}"))

    def _notice_hub(self) -> None:
        if self._hub.tip != self._sync.own:
            self._bell.set()  # whoever noticed it, the loop must not sleep on
        self._sync = moved(self._sync, self._hub.tip, self._hub.now())

    @property
    def _unpushed(self) -> int:
        return max(0, self._hub.figures.commits - self._counted) if self._sync.ahead else 0

    def _report(self) -> None:
        """Let the log hear once of what is wrong, and once that it is well again."""
        now = _NUMBERS.sub("", "; ".join(problem.what for problem in self.problems))
        if now and now != self._said:
            _log.warning("%s", "; ".join(str(problem) for problem in self.problems))
        elif self._said and not now:
            _log.info("%s: in step again", self._name)
        self._said = now

    async def _do(self, call: Callable[..., Answer], *args: object) -> Answer:
        try:
            return await self._in_thread(call, *args)
        except (GitError, OSError) as error:
            return Answer(End.AWAY, words=" ".join(str(error).split()))

    async def _in_thread(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)

"""What the hub sees of the source: it is read off the loop, and what is wrong with it as a whole is kept.

Whether there is something to observe is the source's business, what it means the core's. This module decides what
becomes of a source that cannot be read or must not be observed: a problem line, and another look.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

from coordinator.files.observe import Known, Observation, Observer
from coordinator.files.problem import Problem
from coordinator.ports import Source, SourceUnreadable

T = TypeVar("T")

_log = logging.getLogger("agentcom.hub")

#: Pause before a source that could not be read is looked at again though its ref did not move, in seconds.
LOOK_AGAIN = 5.0


class Sight:
    """Reads one source for one hub; every method must be called on the loop, and one at a time.

    ``look`` asks for another look, ``objections`` says why a source commit must not be observed.
    """

    def __init__(
        self,
        source: Source,
        observer: Observer,
        name: str,
        look: Callable[[], None],
        objections: Callable[[str], tuple[str, ...]] = lambda commit: (),
    ) -> None:
        #: What is wrong with the source as a whole, as of the last look.
        self.problems: tuple[Problem, ...] = ()
        self._source = source
        self._observer = observer
        self._name = name
        self._look = look
        self._objections = objections
        self._later: asyncio.TimerHandle | None = None
        self._compile: Executor = ThreadPoolExecutor(1, "compile")

    async def first(self) -> str | None:
        """Return the source commit that the first claim grows out of; none while it must not be observed."""
        with contextlib.suppress(SourceUnreadable):
            tip = await self._in(self._source.tip)
            if tip is not None and not await self._in(self._objections, tip):
                return tip
        return None

    async def read(self, observed: str | None, known: Callable[[], Known]) -> Observation | None:
        """Return what is new on the source, None when there is nothing to observe or it must not be; that is noted."""
        try:
            tip = await self._in(self._source.tip)
            if tip is None:
                missing = Problem(
                    self._name, what="the source branch does not exist", hint="the last one stays in force"
                )
                self._note(missing)
                return None
            if not await self._in(self._source.needs_observation, tip, observed):
                self._note()
                return None
            objections = await self._in(self._objections, tip)
            if objections:
                self._note(*(Problem(f"{self._name} at {tip[:10]}", what=text) for text in objections))
                return None
            seen = await self._in(self._observer.look, tip, observed, known())
        except SourceUnreadable as error:
            hint = "what was observed last stays in force, and the hub looks again"
            self._note(Problem(self._name, what=f"cannot be read now: {' '.join(str(error).split())}", hint=hint))
            self._look_again()
            return None
        self._note()
        return seen

    async def look_at(self, commit: str, known: Known) -> Observation:
        """Return what a source commit says by itself. Raises SourceUnreadable."""
        return await self._in(self._observer.look, commit, None, known)

    def close(self) -> None:
        """Give the thread back. Nothing can be read afterwards."""
        if self._later is not None:
            self._later.cancel()
        self._compile.shutdown(wait=True)

    def _note(self, *problems: Problem) -> None:
        """Keep what is wrong with the source as a whole; the log hears of it once."""
        for problem in problems:
            if problem not in self.problems:
                _log.warning("%s", problem)
        self.problems = problems

    def _look_again(self) -> None:
        """Look in some seconds: the ref need not move for an object to be there again."""
        if self._later is not None:
            self._later.cancel()
        self._later = asyncio.get_running_loop().call_later(LOOK_AGAIN, self._look)

    async def _in(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._compile, call, *args)

"""The watcher: notices that the source ref or the state ref names something else, and says no more than "look".

This module decides when to look: at once after a hint from the file system, and every second in any case. Hints may be
lost, doubled or late; the look is the truth. It carries no content and knows no task.

Runs on the asyncio loop; watchdog's threads live from ``start`` to ``stop`` and only set an event.
"""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType

from coordinator.git.hints import Hints, Place
from coordinator.git.repo import Repo, read_ref
from coordinator.git.run import GitError

_log = logging.getLogger(__name__)

#: How often to look without any hint, in seconds.
LOOK_EVERY_S = 1.0

Look = Callable[[], Awaitable[None] | None]


class Watcher:
    """Calls ``look`` once at the start and whenever one of ``refs`` has changed; use it as an async context manager.

    An exception of ``look`` is logged, and that change is reported again at the next look: silence would lose it.
    ``beat`` is called each time, changed or not, for whoever has something else to look at; it must not raise.
    """

    def __init__(
        self,
        repo: Repo,
        refs: Sequence[str],
        look: Look,
        every: float = LOOK_EVERY_S,
        beat: Callable[[], object] = lambda: None,
    ) -> None:
        self._repo = repo
        self._refs = tuple(refs)
        self._look = look
        self._every = every
        self._beat = beat
        self._hint = asyncio.Event()
        self._hints: Hints | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch; the first look follows at once."""
        loop = asyncio.get_running_loop()
        places = (Place(self._repo.common_dir), Place(self._repo.common_dir / "refs", deep=True))
        self._hints = Hints(places, _is_of_a_ref, lambda: loop.call_soon_threadsafe(self._hint.set))
        self._hint.set()
        self._task = asyncio.create_task(self._run(self._hints), name="git-watcher")

    async def stop(self) -> None:
        """Stop watching and wait for the threads; a look under way is cancelled."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        hints, self._hints = self._hints, None
        if hints is not None:
            hints.close()

    def poke(self) -> None:
        """Look now: a push hook or a person asked for it. Must be called on the loop."""
        self._hint.set()

    async def __aenter__(self) -> "Watcher":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _run(self, hints: Hints) -> None:
        seen: tuple[str | None, ...] | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every):  # wait_for would swallow a stop in the moment of a hint
                    await self._hint.wait()
            self._hint.clear()
            hints.keep_up()
            self._beat()
            try:
                now = await self._values()
            except (GitError, OSError) as error:
                _log.warning("the refs cannot be read, trying again: %s", error)
                continue
            if now != seen and await self._call_look():
                seen = now

    async def _values(self) -> tuple[str | None, ...]:
        if (self._repo.common_dir / "reftable").is_dir():  # costs a process each: not on the loop
            return await asyncio.to_thread(self._read)
        return self._read()

    def _read(self) -> tuple[str | None, ...]:
        return tuple(read_ref(self._repo, ref) for ref in self._refs)

    async def _call_look(self) -> bool:
        try:
            answer = self._look()
            if inspect.isawaitable(answer):
                await answer
        except Exception:
            _log.exception("looking at the repository failed, trying again")
            return False
        return True


def _is_of_a_ref(path: Path) -> bool:
    return path.name == "packed-refs" or "refs" in path.parts

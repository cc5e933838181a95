"""What is saved in a work tree and not committed: asked once by a command, and again and again by a running hub.

The hub reads commits only, so this is what it does not see; to say so is all that is done with it. Nothing is written
here and nothing locked. The work tree is the one that command or hub was started in; a bare repository has none.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from coordinator.files.uncommitted import Uncommitted, describe
from coordinator.git.run import GitError
from coordinator.git.worktree import SavedFiles
from coordinator.ground import Ground
from coordinator.ports import Saved

_log = logging.getLogger("agentcom.hub")

#: The hub looks no more often than this by itself, in seconds.
LOOK_EVERY = 3.0
#: One look that takes long is followed by a pause this many times as long.
PAUSE_FACTOR = 20
#: How long somebody who asks waits for a look before the last one must do, in seconds.
PATIENCE = 2.0


class SavedWork:
    """The work tree around a command. Blocks on files, and on git when something has changed; not for two threads."""

    def __init__(self, ground: Ground) -> None:
        self._files = SavedFiles(ground.repo, ground.root)
        self._source_ref = ground.source_ref
        self._last = Saved(None), Uncommitted()
        self._trouble = ""

    def uncommitted(self) -> Uncommitted:
        """Return what is saved and not committed; what it was before when that cannot be told now."""
        try:
            saved = self._files.look()
        except (GitError, OSError) as error:
            if str(error) != self._trouble:
                _log.warning("the work tree cannot be read: %s", error)
            self._trouble = str(error)
            return self._last[1]
        self._trouble = ""
        if saved != self._last[0]:
            self._last = saved, describe(saved, self._source_ref)
        return self._last[1]


class Lookout:
    """Keeps ``seen`` fresh for a running hub, off its loop, and says in the log when it changes.

    ``beat`` may be called as often as one likes. Use it as an async context manager; every call is made on the loop.
    """

    def __init__(self, ask: Callable[[], Uncommitted], every: float = LOOK_EVERY) -> None:
        self.seen = Uncommitted()
        self._ask = ask
        self._every = every
        self._next = 0.0
        self._looking: asyncio.Task[None] | None = None

    def beat(self) -> None:
        """Look soon, unless somebody looks already or has just looked."""
        if time.monotonic() >= self._next:
            self._begin()

    async def refresh(self) -> None:
        """Look now; return when ``seen`` is fresh, or after ``PATIENCE``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                if self._looking is not None and not self._looking.done():
                    await asyncio.shield(self._looking)  # it may have begun before the edit that is asked about
                await asyncio.shield(self._begin())

    async def __aenter__(self) -> "Lookout":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._next = float("inf")
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def _begin(self) -> "asyncio.Task[None]":
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="work-tree")
        return self._looking

    async def _look(self) -> None:
        begun = time.monotonic()
        try:
            seen = await asyncio.to_thread(self._ask)
        except Exception:
            _log.exception("looking at the work tree failed, trying again")
            seen = self.seen
        now = time.monotonic()
        self._next = now + max(self._every, PAUSE_FACTOR * (now - begun))
        if str(seen) != str(self.seen):
            _log.info("%s", seen if seen.lines else "everything saved is committed")
        self.seen = seen


def uncommitted_json(found: Uncommitted) -> dict[str, Any]:
    """Return the fields ``uncommitted`` and ``uncommitted_hint`` of ``GET /api/status``."""
    lines = [{"path": line.path, "what": line.what, "text": line.text} for line in found.lines]
    return {"uncommitted": lines, "uncommitted_hint": found.hint}

"""The lock that a flush holds through its git processes, so that they cannot outlive the hub unseen.

A hub that is killed leaves the git it had started: that one may move the ref a moment later, when the next hub has read
the branch already. So every git process of a flush inherits this lock, and a branch is read only when nobody holds it.
This module decides nothing about repositories; who holds the lock is the hub's own business (see ``lock``).

    WriterBusy                  somebody still writes after the time allowed
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

#: How often a held lock is tried again, in seconds.
_TRY_EVERY_S = 0.005


class WriterBusy(Exception):
    """A git process, of this hub or of one that was killed, is still writing."""


class WritersLock:
    """One lock file; held by at most one flush and the git processes that it started."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.held: tuple[int, ...] = ()

    def wait(self, timeout: float) -> None:
        """Wait until nobody holds the lock, at most ``timeout`` seconds; reading is harmless, so it never fails."""
        with contextlib.suppress(OSError, WriterBusy):
            handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._take(handle, fcntl.LOCK_SH, timeout)
            finally:
                os.close(handle)

    @contextlib.contextmanager
    def hold(self, timeout: float) -> Iterator[None]:
        """Hold the lock; ``held`` is then what git processes must inherit. Raises WriterBusy, OSError (no space)."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._take(handle, fcntl.LOCK_EX, timeout)
            self.held = (handle,)
            yield
        finally:
            self.held = ()
            os.close(handle)

    def _take(self, handle: int, how: int, timeout: float) -> None:
        until = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(handle, how | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    raise WriterBusy(f"a git process still holds {self._path} after {timeout:g} s") from error
            time.sleep(_TRY_EVERY_S)

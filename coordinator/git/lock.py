"""One hub per repository: a file lock under the common git dir, and who holds it.

The lock only keeps honest hubs apart and gives the second one a good message; what makes writing safe is the
compare-and-swap of the journal. Somebody may delete the lock file, so the holder checks before each flush that the path
still names the file it locked, and otherwise locks the one that is there now, or a new one.

    RepositoryLocked            another hub works in this repository; ``holder`` says which
"""

import contextlib
import errno
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from types import TracebackType

from filelock import FileLock, Timeout

from coordinator.git.repo import Repo


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock: ``started_at`` in ms since the epoch, ``url`` empty until the hub listens."""

    pid: int
    host: str
    started_at: int
    url: str = ""


class RepositoryLocked(Exception):
    """Another hub works in this repository."""

    def __init__(self, repo: Repo, holder: Holder | None) -> None:
        self.holder = holder
        who = "another hub" if holder is None else f"the hub with pid {holder.pid} on {holder.host}"
        at = f", {holder.url}" if holder is not None and holder.url else ""
        super().__init__(f"{repo.work_tree or repo.common_dir} is in use by {who}{at}: stop that one first, or use it")


class HubLock:
    """The lock of one repository, from ``acquire`` to ``release``; also a context manager."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._path = repo.agentcom_dir / "hub.lock"
        self._info = repo.agentcom_dir / "hub.lock.json"
        self._lock = FileLock(self._path, thread_local=False)
        self._inode: tuple[int, int] | None = None
        self._holder: Holder | None = None

    def acquire(self, url: str = "") -> Holder:
        """Take the lock at once and write down who has it. Raises RepositoryLocked when another process holds it."""
        self._repo.agentcom_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RepositoryLocked(self._repo, self.holder()) from None
        self._inode = self._identity()
        self._holder = Holder(os.getpid(), socket.gethostname(), time.time_ns() // 1_000_000, url)
        self._write(self._holder)
        return self._holder

    def publish(self, url: str) -> None:
        """Write down where the hub listens, now that it does."""
        if self._holder is None:
            raise RuntimeError("publish needs the lock")
        self._holder = replace(self._holder, url=url)
        self._write(self._holder)

    def still_ours(self) -> bool:
        """Tell whether the lock file is still the one that was locked: if not, a second hub may be running."""
        return self._inode is not None and self._lock.is_locked and self._identity() == self._inode

    def keep(self) -> bool:
        """Return ``still_ours``; a lock file that was deleted is made and locked again. Raises RepositoryLocked.

        False when that cannot be done now, as on a full disk.
        """
        if self._inode is None or self._holder is None or self.still_ours():
            return self._inode is not None
        self._lock.release()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RepositoryLocked(self._repo, self.holder()) from None
        except OSError:
            return False
        self._inode = self._identity()
        with contextlib.suppress(OSError):
            self._write(self._holder)
        return True

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._inode is not None:
            if self.still_ours():
                self._info.unlink(missing_ok=True)
            self._inode = self._holder = None
            self._lock.release()

    def holder(self) -> Holder | None:
        """Return who wrote their name down last, None when that cannot be read. It may be a hub that died."""
        try:
            said = json.loads(self._info.read_text(encoding="utf-8"))
            return Holder(int(said["pid"]), str(said["host"]), int(said["started_at"]), str(said["url"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def __enter__(self) -> "HubLock":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _identity(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino

    def _write(self, holder: Holder) -> None:
        """Write down who holds the lock; on a full disk nobody is named, and the lock holds all the same."""
        temporary = self._info.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps(asdict(holder)) + "\n", encoding="utf-8")
            temporary.replace(self._info)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            for path in (temporary, self._info):
                path.unlink(missing_ok=True)

"""Move a loose ref by hand, under the lock that git itself takes: ``<ref>.lock``, made exclusively.

This module decides how long somebody else's lock is waited for and what the reflog says. It is for repositories that
keep refs as files, and for a ref that exists: to create one is git's business, which knows what may stand beside it. It
fsyncs nothing.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coordinator.git.durable import write_all
from coordinator.git.message import HUB_EMAIL, HUB_NAME
from coordinator.git.repo import Repo
from coordinator.ports import ReadOnly

#: How long the lock of somebody else is waited for, in seconds: as long as the hub's git waits.
LOCK_TIMEOUT_S = 1.0

_TRY_EVERY_S = 0.005


@dataclass
class RefLock:
    """The lock of one ref while it is held: ``path`` is the lock file, ``handle`` its open end.

    ``made_folder`` tells that the folder of the ref had vanished and was made again.
    """

    path: Path
    handle: int
    made_folder: bool = False
    committed: bool = False

    def write(self, oid: str) -> None:
        """Write what the ref shall name. Raises OSError."""
        write_all(self.handle, f"{oid}\n".encode())

    def commit(self) -> None:
        """Let the ref name what was written. Raises OSError when it could not be moved."""
        self.path.replace(self.path.with_name(self.path.name.removesuffix(".lock")))
        self.committed = True


@contextlib.contextmanager
def hold(repo: Repo, ref: str) -> Iterator[RefLock]:
    """Hold the lock of ``ref``; unless it is committed, the ref stays as it is. Raises ReadOnly, OSError."""
    lock = _take(repo.common_dir / f"{ref}.lock")
    try:
        yield lock
    finally:
        os.close(lock.handle)
        if not lock.committed:
            lock.path.unlink(missing_ok=True)


def note(repo: Repo, log: str, old: str, new: str, said: str, *, create: bool) -> None:
    """Append one line to the reflog of ``log`` (a full ref, or HEAD), as git does; without ``create`` if it exists.

    Raises OSError when it cannot be written; half a line is taken back.
    """
    path = repo.common_dir / "logs" / log
    how = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
        how |= os.O_CREAT
    try:
        handle = os.open(path, how, 0o666)
    except FileNotFoundError:
        return
    try:
        before = os.fstat(handle).st_size
        try:
            write_all(handle, f"{old} {new} {HUB_NAME} <{HUB_EMAIL}> {int(time.time())} +0000\t{said}\n".encode())
        except OSError:
            os.ftruncate(handle, before)
            raise
    finally:
        os.close(handle)


def head_names(repo: Repo, ref: str) -> bool:
    """Tell whether the HEAD of the repository itself names ``ref``: git then notes its moves in HEAD's log too."""
    try:
        return (repo.common_dir / "HEAD").read_bytes().strip() == b"ref: " + ref.encode()
    except OSError:
        return False


def _take(path: Path) -> RefLock:
    until = time.monotonic() + LOCK_TIMEOUT_S
    made_folder = False
    while True:
        late = time.monotonic() >= until
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            return RefLock(path, handle, made_folder)
        except FileNotFoundError:  # git packed the refs, and removed the folder that this left empty
            if late:
                raise
            path.parent.mkdir(parents=True, exist_ok=True)
            made_folder = True
        except FileExistsError as error:
            if late:
                raise ReadOnly(f"nothing was written: {path} is held by another git process") from error
            time.sleep(_TRY_EVERY_S)

"""Files that are whole after any crash, and reading that waits for nobody.

The standard library only: the agent's side starts with it too.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` so that after any crash it holds the old bytes or the new ones; raises OSError."""
    with _temporary(path, data) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


def write_first(path: Path, data: bytes) -> bool:
    """Make ``path`` hold ``data`` unless it exists; return whether it was made. Raises OSError."""
    with _temporary(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links; two at the same instant are not told apart there
            if path.exists():
                return False
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def append_durably(path: Path, data: bytes) -> None:
    """Add ``data`` to the end of ``path``, which need not exist; raises OSError."""
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def read_plain(path: Path, most: int) -> bytes:
    """Return the first ``most`` bytes of a plain file. Raises OSError, also for a pipe, which would make us wait."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "is no plain file", str(path))
        with open(handle, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary(path: Path, data: bytes) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise

"""Make files and folders durable: what was written must still be there after a power cut.

This module decides what an fsync that fails means: Fatal, because nobody knows what is on disk any more. It knows no
branch.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from coordinator.ports import Fatal

_LOOSE = re.compile(r"[0-9a-f]{2}")


def fsync(paths: Iterable[Path]) -> None:
    """Fsync files and folders; one that has vanished was replaced by git. Raises Fatal for anything else that fails."""
    for path in paths:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Fatal(f"{path} could not be opened to make it durable: {error}") from error
        try:
            fsync_handle(handle, path)
        finally:
            os.close(handle)


def fsync_handle(handle: int, path: Path) -> None:
    """Fsync an open file, ``path`` is what it is called. Raises Fatal."""
    try:
        os.fsync(handle)
    except OSError as error:
        raise Fatal(f"{path} could not be made durable (fsync failed): {error}") from error


def write_all(handle: int, data: bytes) -> None:
    """Write all of ``data`` to an open file. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def fsync_loose(store: Path, oids: Iterable[str] | None = None) -> None:
    """Fsync these loose objects of an object store, or every one, and their folders. Raises Fatal, OSError.

    What is in a pack is left out.
    """
    if oids is None:
        folders = [folder for folder in store.iterdir() if _LOOSE.fullmatch(folder.name)]
        files = [file for folder in folders for file in folder.iterdir()]
    else:
        files = [store / oid[:2] / oid[2:] for oid in oids]
    present = [file for file in files if file.exists()]
    fsync([*present, *dict.fromkeys(file.parent for file in present), store])

"""Who may still hold a lock file of a repository: found in /proc, as a lock file itself names nobody.

A process that has the file open holds it. A git that works in the repository may hold it too: git closes a lock file
before it renames it. Where /proc does not tell, only age does.
"""

import os
import time
from pathlib import Path

from coordinator.git.repo import Repo

#: Where it cannot be seen who lives, a lock that stayed the same for so long is nobody's, in seconds.
OLD_S = 60.0

_PROC = Path("/proc")


def may_be_held(lock: Path, repo: Repo) -> bool:
    """Tell whether a process that lives may hold this lock file of ``repo``."""
    if not (_PROC / "self/fd").is_dir():
        return _young(lock)
    places = tuple(f"{place.resolve()}{os.sep}" for place in (repo.common_dir, repo.work_tree) if place is not None)
    unknown = False
    for process in _PROC.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            if _opens(process, lock) or (_is_git(process) and _works_in(process, places)):
                return True
        except PermissionError:  # somebody else's: of these only a git matters
            unknown = unknown or _is_git(process)
        except OSError:  # it has just ended
            continue
    return unknown and _young(lock)


def _opens(process: Path, lock: Path) -> bool:
    return any(_target(handle) == str(lock) for handle in (process / "fd").iterdir())


def _is_git(process: Path) -> bool:
    try:
        return (process / "comm").read_text(errors="replace").startswith("git")
    except OSError:
        return False


def _works_in(process: Path, places: tuple[str, ...]) -> bool:
    said = (process / "environ").read_bytes().split(b"\0")
    named = [os.fsdecode(value) for key, _, value in (row.partition(b"=") for row in said) if key == b"GIT_DIR"]
    where = [str((process / "cwd").readlink()), *(_target(handle) for handle in (process / "fd").iterdir()), *named]
    return any(f"{place}{os.sep}".startswith(places) for place in where)


def _target(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except FileNotFoundError:
        return ""


def _young(lock: Path) -> bool:
    try:
        return time.time() - lock.stat().st_mtime < OLD_S
    except OSError:
        return False

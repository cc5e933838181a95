"""What a killed flush leaves in the repository, removed before the next one writes.

This module decides which leftovers are a hub's own. The caller holds the writers' lock, so no flush is under way; a
lock on the state ref may be a person's all the same, and goes only when it stays unchanged.
"""

import time
from pathlib import Path

from coordinator.git.branch import StateBranch
from coordinator.git.holders import may_be_held
from coordinator.git.packwriter import KEEP, TEMPORARY
from coordinator.git.plain import SCRATCH_REF
from coordinator.git.repo import read_ref
from coordinator.git.run import GitError

#: A lock on the state ref that stays the same for so long belongs to a process that died, in seconds.
STALE_LOCK_S = 1.0


def remove_leftovers(branch: StateBranch) -> None:
    """Remove what a killed flush of either engine left: its temporaries, its locks, the protection of its pack.

    The scratch ref's lock goes at once, the state ref's when it stays and nobody who lives can hold it. A pack that was
    finished is git's to clean up. Raises OSError.
    """
    repo = branch.repo
    _remove_unfinished(branch.objects / "pack")
    try:
        read_ref(repo, SCRATCH_REF)
    except GitError:
        (repo.common_dir / SCRATCH_REF).unlink(missing_ok=True)
    (repo.common_dir / f"{SCRATCH_REF}.lock").unlink(missing_ok=True)
    lock = repo.common_dir / f"{branch.ref}.lock"
    before = _identity(lock)
    if before is not None:
        time.sleep(STALE_LOCK_S)
        if _identity(lock) == before and not may_be_held(lock.resolve(), repo):
            lock.unlink(missing_ok=True)


def _remove_unfinished(folder: Path) -> None:
    for name in TEMPORARY:
        (folder / name).unlink(missing_ok=True)
    for keep in folder.glob("pack-*.keep"):
        if keep.read_bytes() == KEEP[: keep.stat().st_size]:  # it may be cut off
            if not keep.with_suffix(".idx").exists():
                keep.with_suffix(".pack").unlink(missing_ok=True)
            keep.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size

"""What is remembered of each task's work in this clone, outside of any branch and any work tree.

One small file for each agent and task under ``agentcom/work`` in the common git directory, replaced whole, so that a
work tree that was deleted by hand, or a crash at any point, leaves enough to go on. A lock beside it lets one command
at a time work on one task.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sidecar.gitflow.repository import Repository
from sidecar.gitflow.values import ID, Busy


@dataclass(frozen=True, slots=True)
class Record:
    """``start`` is the commit of the base on which the work began, ``pushed`` the one last pushed, both "" for none.

    ``pr_title`` is the title that we gave the pull request. ``ready`` tells that the work tree was handed over: before
    that nobody has worked in it. ``spec`` is the task as it was given, for a submission without one.
    """

    agent: str
    task_id: str
    branch: str
    worktree: str
    base: str
    remote: str = ""
    start: str = ""
    pushed: str = ""
    pr_title: str = ""
    pr_url: str = ""
    ready: bool = False
    spec: str = ""


def read(repo: Repository, agent: str, task_id: str) -> Record | None:
    """Return what is remembered of a task, None when that is nothing, or cannot be read."""
    return _read(_path(repo, agent, task_id))


def every(repo: Repository) -> tuple[Record, ...]:
    """Return all that is remembered in this clone, ordered by agent and task."""
    found = (_read(path) for path in sorted((repo.own_dir / "work").glob("*/*.json")))
    return tuple(record for record in found if record is not None)


def write(repo: Repository, record: Record) -> None:
    """Remember a task's work. Raises OSError."""
    path = _path(repo, record.agent, record.task_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(
        json.dumps(asdict(record), ensure_ascii=False) + "\n", encoding="utf-8", errors="surrogateescape"
    )
    temporary.replace(path)


def forget(repo: Repository, record: Record) -> None:
    """Remember a task's work no longer."""
    path = _path(repo, record.agent, record.task_id)
    path.unlink(missing_ok=True)
    _unlock(path.with_suffix(".lock"))


@contextlib.contextmanager
def locked(repo: Repository, agent: str, task_id: str) -> Iterator[None]:
    """Work on a task alone. Raises Busy at once when another command does."""
    import fcntl

    path = _path(repo, agent, task_id).with_suffix(".lock")
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("a")
        except FileNotFoundError:
            continue  # `forget` has just taken the folder away
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Busy(
                    f"another agentcom-git works on {task_id} for {agent} right now: wait until it has ended"
                ) from None
            if _is_still(path, os.fstat(file.fileno()).st_ino):
                try:
                    yield
                finally:
                    if not path.with_suffix(".json").exists():
                        _unlock(path)  # nothing came of it
                return


def _unlock(path: Path) -> None:
    """Take a lock file away, and its folder if that was the last."""
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()


def _is_still(path: Path, inode: int) -> bool:
    """Tell whether a lock file is the one that was opened: `forget` may have taken that one away."""
    try:
        return path.stat().st_ino == inode
    except FileNotFoundError:
        return False


def _path(repo: Repository, agent: str, task_id: str) -> Path:
    if not ID.fullmatch(agent) or not ID.fullmatch(task_id):
        raise ValueError(f"no ids: {agent!r}, {task_id!r}")
    return repo.own_dir / "work" / agent / f"{task_id}.json"


def _read(path: Path) -> Record | None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        return Record(**{key: raw[key] for key in Record.__slots__ if key in raw})
    except (OSError, ValueError, TypeError, KeyError):
        return None

"""The audit trail as records: what the hub committed, newest first.

This module decides which commits make up the history of the hub or of one task. It reads first parents only, so that
the people's commits which an observation merged do not show; it interprets no status file.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.git.message import EPOCH, HUB_EMAIL, parse_trailers
from coordinator.git.objects import CommitObject, read_commits
from coordinator.git.parts import Layout
from coordinator.git.repo import Repo, read_ref
from coordinator.git.run import git

_TASK_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class Record:
    """One commit of the hub. ``time_ms`` is the commit's time (whole seconds); absent trailers are None.

    ``reason`` is what the message gives besides its subject, in one line.
    """

    commit: str
    time_ms: int
    author: str
    subject: str
    event: str | None = None
    task: str | None = None
    agent: str | None = None
    generation: int | None = None
    reason: str = ""


def log(repo: Repo, ref: str, task_id: str | None = None, limit: int = 50, *, root: str = ".") -> tuple[Record, ...]:
    """Return at most ``limit`` commits of the hub on ``ref``, newest first; with ``task_id`` those of that task alone.

    A task's history is asked for by its two paths, open and closed, one query each (DESIGN 5). Empty when the ref does
    not exist or the id is none. Raises GitError when the repository cannot be read.
    """
    tip = read_ref(repo, ref)
    if tip is None or limit < 1:
        return ()
    if task_id is None:
        oids: Sequence[str] = _query(repo, tip, limit)
    elif _TASK_ID.fullmatch(task_id):
        layout = Layout.of(root)
        oids = _query(repo, tip, limit, layout.path(f"status/open/{task_id}.yaml"))
        closed = _closed_path(repo, tip, layout, task_id)
        if closed is not None:
            oids = _merge(_query(repo, tip, limit, closed), oids)
    else:
        return ()
    commits = read_commits(repo.common_dir, oids[:limit])
    return tuple(_record(commit) for commit in commits if EPOCH in parse_trailers(commit.message))


def _query(repo: Repo, tip: str, limit: int, path: str | None = None) -> list[str]:
    where = [] if path is None else ["--", path]
    which = ("--first-parent", f"-n{limit}", "-E", f"--committer=<{re.escape(HUB_EMAIL)}>")
    out = git("log", *which, "--format=%H", tip, *where, git_dir=repo.common_dir)
    return out.decode().split()


def _closed_path(repo: Repo, tip: str, layout: Layout, task_id: str) -> str | None:
    """Return where the status of a finished task stands now, as a path of the repository."""
    folder = layout.path("status/closed")
    out = git("ls-tree", "-r", "-z", "--name-only", "--full-tree", tip, "--", folder, git_dir=repo.common_dir)
    end = f"/{task_id}.yaml".encode()
    return next((path.decode("utf-8", "replace") for path in out.split(b"\0") if path.endswith(end)), None)


def _merge(closed: Sequence[str], opened: Sequence[str]) -> list[str]:
    """Return both parts of one history without doubles: closed comes after open, and the last move is in both."""
    shared = next((oid for oid in closed if oid in set(opened)), None)
    if shared is None:
        return [*closed, *opened]
    return [*closed[: closed.index(shared)], *opened[: opened.index(shared)], *opened[opened.index(shared) :]]


def _record(commit: CommitObject) -> Record:
    trailers = parse_trailers(commit.message)

    def last(key: str) -> str | None:
        return trailers[key][-1] if key in trailers else None

    generation = last("Agentcom-Generation")
    return Record(
        commit=commit.oid,
        time_ms=commit.committer.time_ms,
        author=commit.author.name,
        subject=commit.subject,
        event=last("Agentcom-Event"),
        task=last("Agentcom-Task"),
        agent=last("Agentcom-Agent"),
        generation=int(generation) if generation is not None and generation.isdecimal() else None,
        reason=" ".join(line[2:].strip() for line in commit.message.splitlines() if line.startswith("> ")),
    )

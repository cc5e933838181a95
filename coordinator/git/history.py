"""The audit trail as records: what the hub committed, newest first.

This module decides which commits make up the history of the hub or of one task. It reads first parents only, so that
the people's commits which an observation merged do not show; it interprets no status file.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.git.message import EPOCH, parse_trailers
from coordinator.git.objects import CommitObject, as_commits, read_commits, read_headers, read_objects
from coordinator.git.parts import Layout
from coordinator.git.repo import Repo, is_ancestor, read_ref
from coordinator.git.run import git
from coordinator.git.slips import BY_HUB

_TASK_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_WORD = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
#: Events that bring another specification.
_EDITS = frozenset({"created", "spec_edited", "taken_over", "rerun", "answered", "changes_asked", "held", "unheld"})


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


def log(
    repo: Repo, ref: str, task_id: str | None = None, limit: int | None = 50, *, root: str = "."
) -> tuple[Record, ...]:
    """Return at most ``limit`` commits of the hub on ``ref`` (None: all), newest first; with ``task_id`` that task's.

    A task's history is asked for by one path at a time (DESIGN 5), because git skips commits by their changed-path
    filters only then. Empty when the ref does not exist or the id is none. Raises GitError when the repository cannot
    be read.
    """
    tip = read_ref(repo, ref)
    if tip is None or (limit is not None and limit < 1):
        return ()
    if task_id is None:
        how = () if limit is None else (f"-n{limit}",)
        out = git("log", *BY_HUB, *how, "--format=%H", tip, git_dir=repo.common_dir)
        commits = read_commits(repo.common_dir, out.decode().split())
    elif _TASK_ID.fullmatch(task_id):
        commits = _Task(repo, tip, Layout.of(root), task_id, limit).commits()
    else:
        return ()
    return tuple(_record(commit) for commit in commits if EPOCH in parse_trailers(commit.message))[:limit]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are asked for; None is no condition. Times are ms since the epoch, both ends included.

    ``before`` is a commit: only what came before it.
    """

    agent: str | None = None
    event: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    before: str | None = None


def search(repo: Repo, ref: str, wanted: Wanted, limit: int) -> tuple[Record, ...]:
    """Return at most ``limit`` commits of the hub that are wanted, newest first; git looks no further than it must.

    Empty when the ref does not exist, or where ``before`` is no commit of it. Raises GitError.
    """
    tip = read_ref(repo, ref)
    if tip is None or limit < 1 or not all(_WORD.fullmatch(word) for word in (wanted.agent, wanted.event) if word):
        return ()
    how = [f"-n{limit}"]
    if wanted.agent is not None:
        how.append(f"--grep=^Agentcom-Agent: {wanted.agent}$")
    if wanted.event is not None:
        how.append(f"--grep=^Agentcom-Event: {wanted.event}$")
    if wanted.since_ms is not None:
        how.append(f"--since=@{wanted.since_ms // 1000}")
    if wanted.until_ms is not None:
        how.append(f"--until=@{wanted.until_ms // 1000}")
    start = tip if wanted.before is None else _parent(repo, wanted.before, tip)
    if start is None:
        return ()
    out = git("log", *BY_HUB, *how, "--format=%H", start, git_dir=repo.common_dir)
    return tuple(_record(commit) for commit in read_commits(repo.common_dir, out.decode().split()))


def _parent(repo: Repo, oid: str, tip: str) -> str | None:
    """Return what came just before a commit of the branch, None where it is none, or the first."""
    known = read_headers(repo.common_dir, [oid]) if _OID.fullmatch(oid) else [None]
    if known[0] is None or known[0][1] != "commit" or not is_ancestor(repo, oid, tip):
        return None
    (commit,) = read_commits(repo.common_dir, [oid])
    return commit.parents[0] if commit.parents else None


@dataclass(frozen=True, slots=True)
class Edition:
    """What a task's specification said as of one commit of its history: ``path`` is where, ``text`` what."""

    commit: str
    path: str
    text: str


def editions(repo: Repo, records: Sequence[Record], root: str = ".") -> tuple[Edition, ...]:
    """Return the specification of a task as of each of these records that changed it, oldest first.

    A person's file counts before one of the hub. Raises GitError.
    """
    changed = [record for record in reversed(records) if record.task and record.event in _EDITS]
    layout = Layout.of(root)
    places = ("tasks", "tasks/backlog", "tasks/api")
    names = [f"{one.commit}:{layout.path(f'{place}/{one.task}.yaml')}" for one in changed for place in places]
    found = read_objects(repo.common_dir, names) if names else []
    said = []
    for number, record in enumerate(changed):
        for at in range(number * len(places), (number + 1) * len(places)):
            blob = found[at]
            if blob is not None and blob.type == "blob":
                path = names[at].partition(":")[2]
                said.append(Edition(record.commit, path, blob.data.decode("utf-8", "replace")))
                break
    return tuple(said)


@dataclass(frozen=True, slots=True)
class _Spell:
    """A time in which a task was closed: the commit that closed it, the last one before it opened again, its path."""

    begin: str
    end: str
    path: str


class _Task:
    """The commits of one task, by the path that it has while it is open and those that it had while it was closed.

    A task that runs again leaves its closed path, and closes on another day. Every such move is a commit on the open
    path, so its history names them all, and each leads to the closed path of that time.
    """

    def __init__(self, repo: Repo, tip: str, layout: Layout, task_id: str, limit: int | None) -> None:
        self._repo = repo
        self._tip = tip
        self._open = layout.path(f"status/open/{task_id}.yaml")
        self._folder = layout.path("status/closed")
        self._name = f"{task_id}.yaml"
        self._limit = limit

    def commits(self) -> list[CommitObject]:
        """Return them newest first, at least ``limit`` of them if there are as many."""
        opened, spells = self._moves(self._query(self._open, self._tip))
        if not any(spell.end == self._tip for spell in spells):
            spells += self._never_opened(opened)
        within = {spell.begin: self._within(spell) for spell in spells}
        found = within.get("", [])
        for commit in opened:
            found += [*within.get(commit.oid, ()), commit]
        return found

    def _within(self, spell: _Spell) -> list[CommitObject]:
        since = (f"^{spell.begin}",) if spell.begin else ()
        return read_commits(self._repo.common_dir, self._query(spell.path, spell.end, *since))

    def _query(self, path: str, *revisions: str) -> list[str]:
        how = () if self._limit is None else (f"-n{self._limit}",)
        out = git("rev-list", "--first-parent", *how, *revisions, "--", path, git_dir=self._repo.common_dir)
        return out.decode().split()

    def _moves(self, oids: Sequence[str]) -> tuple[list[CommitObject], list[_Spell]]:
        """Return the commits on the open path, read, and when the task was closed as they say."""
        names = [*oids, *(f"{oid}:{self._open}" for oid in oids)]
        found = read_objects(self._repo.common_dir, names)
        opened = as_commits(oids, found[: len(oids)])
        spells: list[_Spell] = []
        until = self._tip
        for commit, stands in zip(opened, found[len(oids) :], strict=True):
            if stands is None and commit.parents and (path := self._closed_by(commit)) is not None:
                spells.append(_Spell(commit.oid, until, path))
            until = commit.parents[0] if commit.parents else ""
        return opened, spells

    def _closed_by(self, commit: CommitObject) -> str | None:
        """Return the closed path to which a commit moved the task."""
        how = ("-r", "-z", "--name-only", "--diff-filter=A")
        out = git("diff-tree", *how, commit.parents[0], commit.oid, "--", self._folder, git_dir=self._repo.common_dir)
        names = (name.decode("utf-8", "replace") for name in out.split(b"\0"))
        return next((name for name in names if name.endswith(f"/{self._name}")), None)

    def _never_opened(self, opened: Sequence[CommitObject]) -> list[_Spell]:
        """Return where the task is closed now though no commit on its open path says so, from the beginning on."""
        if opened and read_headers(self._repo.common_dir, [f"{self._tip}:{self._open}"])[0] is not None:
            return []
        days = [self._folder]
        for _ in ("years", "months", "days"):
            days = self._folders(days)
        paths = [f"{day}/{self._name}" for day in days]
        there = read_headers(self._repo.common_dir, [f"{self._tip}:{path}" for path in paths])
        return [_Spell("", self._tip, path) for path, stands in zip(paths, there, strict=True) if stands is not None]

    def _folders(self, within: Sequence[str]) -> list[str]:
        """Return the folders that lie in these ones at the tip; nothing below them is read."""
        where = [f"{folder}/" for folder in within]
        if not where:
            return []
        out = git(
            "ls-tree", "-d", "-z", "--name-only", "--full-tree", self._tip, "--", *where, git_dir=self._repo.common_dir
        )
        return [name.decode("utf-8", "replace") for name in out.split(b"\0")[:-1]]


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

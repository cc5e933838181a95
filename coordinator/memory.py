"""Store and source in memory: the same contract as the real ones, for tests and simulations.

This module decides nothing of its own; tests/contract runs one suite over these and over ``coordinator.git``. What a
test needs beyond the contract are knobs: make the next flush fail, look at what was flushed, move the source by hand.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coordinator.git.message import SOURCE, check_message, parse_trailers, trailer
from coordinator.git.parts import Layout
from coordinator.git.repo import walk
from coordinator.ports import (
    HUB_FOLDERS,
    Author,
    Commit,
    Conflict,
    Entry,
    Fold,
    Slip,
    Slipped,
    SourceUnreadable,
    StoreError,
    Version,
)

_CLOSED = re.compile(r"status/closed/\d{4}/\d{2}/\d{2}/([a-z0-9][a-z0-9-]{0,63})\.yaml")
_READ = re.compile(r"BACKLOG\.md|agentcom\.yaml|(?:tasks|agents)/[^/]+")


#: Who commits on a source in memory unless a test says otherwise.
SOMEBODY = Author("Ada", "ada@example.org")


@dataclass
class MemoryBranch:
    """A state branch that several stores may share, as several processes share a repository."""

    tips: list[str] = field(default_factory=list)
    source: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    slipped: Slip | None = None

    @property
    def tip(self) -> str | None:
        """The last commit by a hub."""
        return self.tips[-1] if self.tips else None

    def slip(self, who: str) -> str:
        """Let a person commit on the branch; return that commit's id."""
        tip = _sha1(f"{self.tip} slip by {who}".encode())
        self.slipped = Slip(tip, tip, f"got commit {tip[:12]} of {who}, who is no hub", who)
        return tip

    def delete(self) -> None:
        """Let a person delete the branch."""
        self.slipped = Slip(None, text="was deleted")

    def advance(self, what: str) -> str:
        """Append one commit; return its id."""
        self.tips.append(_sha1(f"{self.tip} {len(self.tips)} {what}".encode()))
        return self.tips[-1]


class MemoryStore:
    """A ``coordinator.ports.Store`` that keeps its branch in memory.

    ``flushed`` lists every flush that succeeded; ``fail_next`` makes the next flushes raise, in order.
    """

    def __init__(self, branch: MemoryBranch | None = None) -> None:
        self.branch = branch if branch is not None else MemoryBranch()
        self.flushed: list[tuple[Commit, ...]] = []
        self._failures: list[StoreError] = []
        self._tip: str | None = None
        self._loaded = False
        self._layout = Layout.of(".")

    @property
    def commits(self) -> tuple[Commit, ...]:
        """Every commit that this store wrote, oldest first."""
        return tuple(commit for batch in self.flushed for commit in batch)

    def fail_next(self, *errors: StoreError) -> None:
        """Make the next flushes fail with these errors, one each, without writing anything."""
        self._failures.extend(errors)

    def load(self) -> Fold:
        """Read the branch up to its last commit by a hub."""
        branch = self.branch
        self._tip, self._loaded = branch.tip, True
        closed = {match[1]: path for path in branch.files if (match := _CLOSED.fullmatch(path))}
        files = {path: content for path, content in branch.files.items() if not path.startswith("status/closed/")}
        return Fold(branch.tip, branch.source, files, closed, branch.slipped)

    def recover(self, hub_id: str, *, take_over: bool = False) -> Fold:
        """Read the branch as ``load`` does: nothing in memory breaks."""
        return self.load()

    def look(self) -> Slip | None:
        """Return what has become of the branch since the last flush. Raises Conflict when another hub moved it."""
        if self.branch.tip != self._tip:
            raise Conflict(f"agentcom/state was moved to {self.branch.tip} by another hub")
        return self.branch.slipped

    def read(self, path: str) -> bytes | None:
        """Return one file of the hub's folders at the tip, None when absent."""
        return self.branch.files.get(path)

    def read_all(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Return many files of the hub's folders at the tip by path; absent ones are left out."""
        return {path: self.branch.files[path] for path in paths if path in self.branch.files}

    def flush(self, commits: tuple[Commit, ...]) -> str:
        """Append all commits or none; return the new tip. Raises as the port says."""
        for commit in commits:
            check_message(commit.message, commit.source)
            for path in (*commit.puts, *commit.deletes):
                if not self._layout.is_hub_file(path):
                    raise ValueError(f"{path!r} is no file of the hub's folders: the hub writes nowhere else")
        if not self._loaded:
            self.load()
        if self._failures:
            raise self._failures.pop(0)
        if not commits:
            if self._tip is None:
                raise ValueError("an empty flush before the first commit has no tip to return")
            return self._tip
        there = self.look()
        if there != next((commit.slip for commit in commits if commit.slip is not None), None) and there is not None:
            raise Slipped(there)
        self.branch.slipped = None
        for commit in commits:
            self._apply(commit)
        self.flushed.append(commits)
        self._tip = self.branch.tip
        return self.branch.tips[-1]

    def _apply(self, commit: Commit) -> None:
        branch = self.branch
        for path in commit.deletes:
            branch.files.pop(path, None)
        branch.files.update(commit.puts)
        branch.source = trailer(commit.message, SOURCE) or branch.source
        branch.advance(commit.message)


@dataclass(frozen=True)
class _SourceCommit:
    id: str
    parent: str | None
    files: Mapping[str, bytes]
    author: Author
    time_ms: int
    message: str


class MemorySource:
    """A ``coordinator.ports.Source`` over a line of commits made by ``commit``; ``set_tip`` rewinds or removes it."""

    def __init__(self) -> None:
        self._commits: dict[str, _SourceCommit] = {}
        self._tip: str | None = None
        self.by_people: set[str] = set()

    def commit(
        self,
        files: Mapping[str, bytes | None],
        author: Author = SOMEBODY,
        message: str = "edit",
        time_ms: int = 0,
    ) -> str:
        """Commit changes (None deletes) on the tip; return the commit's id."""
        before = self._commits[self._tip].files if self._tip is not None else {}
        merged = {**before, **files}
        after = {path: content for path, content in merged.items() if content is not None}
        number = len(self._commits)
        new = _SourceCommit(_sha1(f"source {number}".encode()), self._tip, after, author, time_ms, message)
        self._commits[new.id] = new
        self._tip = new.id
        return new.id

    def set_tip(self, commit: str | None) -> None:
        """Let the source ref name another commit, or none."""
        self._tip = commit

    def tip(self) -> str | None:
        """Return the commit that the source names now."""
        return self._tip

    def needs_observation(self, commit: str, observed: str | None) -> bool:
        """Tell whether ``commit`` says something that was not observed: not so for an older one with the same files."""
        if observed is None or commit == observed:
            return observed is None
        return _people(self._commits[commit]) != _people(self._commits[observed]) or commit not in self._line(observed)

    def entries(self, commit: str) -> Mapping[str, Entry]:
        """Return BACKLOG.md, agentcom.yaml and the direct children of tasks/ and agents/."""
        whole = next((id for id in self._commits if id.startswith(commit)), None)
        if whole is None:
            raise SourceUnreadable(f"there is no commit {commit}")
        entries: dict[str, Entry] = {}
        for path, content in self._commits[whole].files.items():
            top, _, rest = path.partition("/")
            if _READ.fullmatch(path):
                entries[path] = Entry("100644", _blob(content), len(content))
            elif top in {"tasks", "agents"} and "/" in rest:
                folder = f"{top}/{rest.partition('/')[0]}"
                entries[folder] = Entry("040000", _sha1(folder.encode()), -1)
        return entries

    def strays(self, commit: str) -> tuple[str, ...]:
        """Return those files in the hub's folders that a test calls a person's (``by_people``)."""
        return tuple(sorted(self.by_people & self._commits[commit].files.keys()))

    def blobs(self, oids: tuple[str, ...], largest: int | None = None) -> Mapping[str, bytes]:
        """Return the contents of blobs by id; an id that is not there, or is larger than ``largest``, is left out."""
        wanted = set(oids)
        contents = (content for commit in self._commits.values() for content in commit.files.values())
        fitting = (content for content in contents if largest is None or len(content) <= largest)
        return {oid: content for content in fitting if (oid := _blob(content)) in wanted}

    def backlog_versions(self, commit: str, observed: str | None) -> tuple[str, ...]:
        """Return the blob ids of BACKLOG.md since ``observed``, oldest first; at first the tip's alone."""
        tip = self._backlog(commit)
        if observed is None:
            return () if tip is None else (tip,)
        new = self._new(commit, observed)
        start = new[0].parent if new else commit
        return walk(self._backlog(observed), [self._backlog(start), *(self._backlog(step.id) for step in new)])

    def authors(self, commit: str, observed: str | None) -> Mapping[str, Version]:
        """Return the last commit of each path changed since ``observed``; the key ``""`` is the tip itself."""
        changed: dict[str, Version] = {}
        confirms: list[str] = []
        for step in self._new(commit, observed):
            before = self._commits[step.parent].files if step.parent is not None else {}
            version = _version(step)
            confirms.extend(version.confirms)
            for path in {*before, *step.files}:
                if before.get(path) != step.files.get(path) and path.partition("/")[0] in _TOPS:
                    changed[path] = version
        tip = _version(self._commits[commit])
        whole = Version(tip.commit, tip.author, tip.time_ms, tuple(dict.fromkeys(confirms)))
        return {"": whole, **changed}

    def _line(self, commit: str | None) -> dict[str, _SourceCommit]:
        """Return a commit and its ancestors by id, newest first."""
        line: dict[str, _SourceCommit] = {}
        while commit is not None:
            line[commit] = self._commits[commit]
            commit = line[commit].parent
        return line

    def _new(self, commit: str, observed: str | None) -> list[_SourceCommit]:
        """Return the commits since ``observed``, oldest first."""
        old = self._line(observed)
        return [step for id, step in reversed(self._line(commit).items()) if id not in old]

    def _backlog(self, commit: str | None) -> str | None:
        content = self._commits[commit].files.get("BACKLOG.md") if commit is not None else None
        return None if content is None else _blob(content)


_TOPS = frozenset({"BACKLOG.md", "agentcom.yaml", "tasks", "agents"})


def _people(commit: _SourceCommit) -> dict[str, bytes]:
    """Return the files of a source commit that belong to people."""
    mine = tuple(f"{folder}/" for folder in HUB_FOLDERS)
    return {path: content for path, content in commit.files.items() if not path.startswith(mine)}


def _version(commit: _SourceCommit) -> Version:
    confirms = parse_trailers(commit.message).get("Agentcom-Confirm", ())
    return Version(commit.id, commit.author, commit.time_ms, confirms)


def _blob(content: bytes) -> str:
    return _sha1(b"blob %d\0%s" % (len(content), content))


def _sha1(data: bytes) -> str:
    """Return a git-like id; it names things and protects nothing."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()

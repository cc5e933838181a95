"""The ports of the hub: what it asks of a store, of a source reader, of a remote and of a clock.

A port is a promise; ``coordinator/git`` keeps it with a real repository, ``coordinator/memory.py`` in memory, and one
contract suite (tests/contract) runs over both. Paths in this module are relative to the configured ``root`` folder of
the repository and use ``/``.

    StoreError                  the tree of errors, named by their remedy
      +-- Conflict              another hub writes the state branch: stop and name it
      +-- Slipped               somebody else moved the state branch: answer with a commit that has this ``slip``
      +-- ReadOnly              the write did not happen, nothing is lost: try again later (disk full, lock)
      +-- Fatal                 durability cannot be trusted any more (fsync failed): end the process
      +-- SourceUnreadable      the source cannot be read now: the last observation stays in force, look again later
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from coordinator.core.timers import Now


class StoreError(Exception):
    """The store could not do what was asked."""


class Conflict(StoreError):
    """Another hub writes the state branch."""


@dataclass(frozen=True, slots=True)
class Slip:
    """The state branch is not where its hub left it, by somebody who is no hub.

    ``tip`` is what the ref names now, None when it is gone; ``parent`` the commit to be kept in history, None when
    there is nothing to keep; ``text`` says what was done to the branch ("was deleted"), ``who`` by whom, empty when
    that is unknown.
    """

    tip: str | None
    parent: str | None = None
    text: str = ""
    who: str = ""


class Slipped(StoreError):
    """Nothing was written, for somebody who is no hub moved the state branch; a commit with ``slip`` puts it back."""

    def __init__(self, slip: Slip) -> None:
        self.slip = slip
        super().__init__(f"the state branch {slip.text}")


class ReadOnly(StoreError):
    """Nothing was written; the same flush may be tried again."""


class Fatal(StoreError):
    """A write may or may not be durable; only a restart from disk is safe."""


class SourceUnreadable(StoreError):
    """The source cannot be read now: a ref or an object is broken or missing. It may be whole again later."""


#: The hub's own folders, relative to root; everything else belongs to people.
HUB_FOLDERS = ("status", "tasks/backlog", "tasks/api", "agents/api")


@dataclass(frozen=True, slots=True)
class Author:
    """Who caused a commit; names and addresses are cleaned by the store (DECISIONS, git rules)."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit to be written on the state branch.

    ``source`` set means an observation: the commit is a merge whose second parent is that source commit and whose tree
    is the source's tree without the hub's folders, plus the hub's folders as they stood, plus ``puts`` and ``deletes``.
    On the very first commit (the claim) there is no state yet: ``source`` is then its single parent, and its tree is
    the source's people's part plus ``puts``; without ``source`` the claim has no parent and holds ``puts`` alone.

    ``slip`` set means that the flush puts the branch back: it goes on from the hub's own last tip, whatever the slip
    left on the ref, and this commit has ``slip.parent`` as a further parent. Its tree knows nothing of it.

    Every message carries the trailer ``Agentcom-Epoch``; one with ``source`` also ``Agentcom-Source`` with that id,
    which is where ``Fold.source`` comes from. A store refuses anything else with ValueError.
    """

    message: str
    author: Author
    time_ms: int
    puts: Mapping[str, bytes] = field(default_factory=dict)
    deletes: tuple[str, ...] = ()
    source: str | None = None
    slip: Slip | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    """What the state branch says: the raw material of the hub's memory.

    ``files`` holds every file of the hub's folders except those below ``status/closed``; ``closed`` maps the id of each
    finished task to its status path (``status/closed/2026/11/22/t-1.yaml``). ``source`` is the last observed source
    commit, None before the first observation. ``tip`` is None before the claim.

    ``slip`` is what stands on the ref instead of ``tip``; the next flush must answer it. ``rescued`` says what
    was done because the branch was not whole ("was restored to ..."), empty when it was.
    """

    tip: str | None = None
    source: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    slip: Slip | None = None
    rescued: str = ""


class Store(Protocol):
    """The state branch of one repository, written by one hub (DECISIONS 9)."""

    def load(self) -> Fold:
        """Read the branch up to its last commit by a hub.

        Raises Conflict when no hub ever wrote there, Fatal when it cannot be read.
        """
        ...

    def recover(self, hub_id: str, *, take_over: bool = False) -> Fold:
        """Read the branch for the hub ``hub_id`` that is about to write it, whatever happened to it meanwhile.

        What that hub left wins over what others made of it; what cannot be read gives way to the last good state. Must
        be called under the hub's lock. ``take_over``: go on where another hub has claimed the branch since. Raises
        Conflict when one has and ``take_over`` is not set, Fatal when nothing whole is left.
        """
        ...

    def look(self) -> Slip | None:
        """Return what has become of the branch since the last flush, None when it is where that left it.

        Raises Conflict when another hub moved it, Fatal when it cannot be read.
        """
        ...

    def flush(self, commits: tuple[Commit, ...]) -> str:
        """Append all commits, durably, or none; return the new tip.

        Returns only after objects, ref and directories are fsynced. Raises Slipped when the branch was moved by
        somebody who is no hub, Conflict when by a hub, ReadOnly when nothing was written and a retry may work, Fatal
        when an fsync failed.
        """
        ...

    def read(self, path: str) -> bytes | None:
        """Return one file of the hub's folders at the tip (closed ones too), None when absent."""
        ...

    def read_all(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Return many files of the hub's folders at the tip by path; absent ones are left out."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a source tree: mode as octal text (``100644``), object id, size in bytes (-1 for non-blobs)."""

    mode: str
    oid: str
    size: int


@dataclass(frozen=True, slots=True)
class Version:
    """One commit of the source: id, who made it, when (ms), and the ids confirmed by ``Agentcom-Confirm`` trailers."""

    commit: str
    author: Author
    time_ms: int
    confirms: tuple[str, ...] = ()


class Source(Protocol):
    """The source branch, read only, from git objects and never from a work tree.

    Every method raises SourceUnreadable when what it needs cannot be read.
    """

    def tip(self) -> str | None:
        """Return the commit that the source ref names now, None when the ref does not exist."""
        ...

    def needs_observation(self, commit: str, observed: str | None) -> bool:
        """Tell whether a source tip says something that the state branch does not say yet (DECISIONS 4)."""
        ...

    def entries(self, commit: str) -> Mapping[str, Entry]:
        """Return what the loader reads: BACKLOG.md, agentcom.yaml, and the direct children of tasks/ and agents/.

        The keys are relative to root (agentcom.yaml stands at the top of the repository). Entries of any mode are
        returned, so that a link or a folder in the wrong place can be reported.
        """
        ...

    def strays(self, commit: str) -> tuple[str, ...]:
        """Return files in the hub's folders, relative to root, that hold what no hub ever wrote there (DECISIONS)."""
        ...

    def blobs(self, oids: tuple[str, ...], largest: int | None = None) -> Mapping[str, bytes]:
        """Return the contents of blobs by id; an id that is not there, or has over ``largest`` bytes, is left out."""
        ...

    def backlog_versions(self, commit: str, observed: str | None) -> tuple[str, ...]:
        """Return the blob ids of BACKLOG.md that carry identity forward, oldest first (DECISIONS 3)."""
        ...

    def authors(self, commit: str, observed: str | None) -> Mapping[str, Version]:
        """Return the last commit of each path changed since ``observed``; the key ``""`` is the tip itself."""
        ...


@dataclass(frozen=True, slots=True)
class Edit:
    """One file of a work tree that is not as the commit checked out has it.

    ``path`` is its path in the repository, ``kind`` one of new, changed, removed; ``tracked`` tells that git has it in
    the index. ``before`` and ``after`` are the contents, of BACKLOG.md alone: as committed, and as it would be. ``oid``
    is the blob id of the bytes that are saved now, "" when there are none to be read: another one is another save.
    """

    path: str
    kind: str
    tracked: bool = True
    before: bytes = b""
    after: bytes = b""
    oid: str = ""


@dataclass(frozen=True, slots=True)
class Saved:
    """What is saved in a work tree and not committed.

    ``head`` is the full ref that is checked out, None when there is none; ``under_way`` is what git is in the middle of
    ("a merge"), "" when nothing; ``policy`` is agentcom.yaml as committed, empty when there is none or no edit.
    """

    head: str | None
    under_way: str = ""
    edits: tuple[Edit, ...] = ()
    policy: bytes = b""


class Clock(Protocol):
    """Where the shell gets the time from; tests pass their own."""

    def now(self) -> Now: ...


class End(StrEnum):
    """How a word with the remote ended.

    ``DONE``; ``GONE``: the branch is not there; ``AWAY``: the remote cannot be reached; ``REFUSED``: it said no in its
    own words; ``BEHIND``: its branch holds commits that ours does not.
    """

    DONE = "done"
    GONE = "gone"
    AWAY = "away"
    REFUSED = "refused"
    BEHIND = "behind"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one fetch or push.

    ``tip`` is the commit that the remote's branch is known to name now, ``before`` the beginning of the id that it
    named before a push ("" when it had no such branch). ``words`` are the remote's or git's own, in one line and
    without credentials.
    """

    end: End
    tip: str | None = None
    before: str = ""
    words: str = ""


class Remote(Protocol):
    """The one remote of a hub. No method raises for what a network does; each is given a time limit by its maker."""

    def fetch_source(self) -> Answer:
        """Bring the tracking ref of the source up to date. DONE, GONE, AWAY."""
        ...

    def fetch_state(self) -> Answer:
        """Bring the tracking ref of the state branch up to date. DONE, GONE (then it is removed), AWAY."""
        ...

    def push_state(self, tip: str) -> Answer:
        """Let the remote's state branch go forward to ``tip``, never by force. DONE, BEHIND, REFUSED, AWAY."""
        ...

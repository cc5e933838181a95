"""The state branch as both engines of the journal see it: how git is asked about it, and what a failure means.

This module decides which failures may be tried again (ReadOnly) and which end the hub (Fatal), how a branch that was
moved is described, and what an observation must not do. It writes no object.

    InvariantBroken             the tree written is not the one meant: a bug of the hub, and the ref was not moved
"""

import errno
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from coordinator.git.durable import fsync, fsync_loose
from coordinator.git.message import HUB_EMAIL, HUB_NAME, clean_email, clean_name
from coordinator.git.parts import Layout, Part
from coordinator.git.repo import Repo, read_ref
from coordinator.git.run import GitError, git
from coordinator.git.slips import epoch_at, examine, judge
from coordinator.git.writing import WritersLock
from coordinator.ports import Commit, Conflict, Fatal, ReadOnly, Slipped

#: How long one git command of a flush may take, in seconds.
FLUSH_TIMEOUT_S = 120.0

_DURABLE = ("core.fsync=all", "core.fsyncMethod=fsync", "fastimport.unpackLimit=0")
#: Why a system call fails when the surroundings, not the data, are at fault.
_MAY_HEAL = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE),
        *(errno.ENOMEM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR),  # the last three: something stands in the way
    }
)
#: What git says when the surroundings, not the data, are at fault: nothing was written, and a retry may work.
_RETRY = re.compile(
    r"No space left|Out of diskspace|write error|quota exceeded"
    r"|Read-only file system|Permission denied|Cannot allocate memory|Too many open files"
    r"|Resource temporarily unavailable|could not be started|took longer than|File too large"
    r"|Unable to create '.*\.lock'|cannot lock ref|unable to (?:create|write)",
    re.IGNORECASE,
)
_FSYNC = re.compile(r"fsync error|error when fsyncing|could not fsync|Input/output error", re.IGNORECASE)


class InvariantBroken(RuntimeError):
    """State minus the hub's folders is not the observed source minus the hub's folders."""


class Writer(Protocol):
    """One way to append commits to the state branch; the journal holds the writers' lock meanwhile."""

    def append(self, commits: Sequence[Commit], old: str | None, at: str | None) -> str:
        """Write all commits on top of ``old``, move the ref from ``at``, all of it durably; return the new tip.

        The two differ only when the branch is put back after a slip. Raises Slipped, Conflict, ReadOnly, Fatal,
        InvariantBroken as ``Store.flush`` does; GitError and OSError mean what ``StateBranch.failed`` and
        ``failed_here`` say.
        """
        ...


class StateBranch:
    """The state branch ``ref`` of one repository, with the hub's folders where ``layout`` says."""

    def __init__(self, repo: Repo, ref: str, layout: Layout) -> None:
        self.repo = repo
        self.ref = ref
        self.layout = layout
        self.writers = WritersLock(repo.agentcom_dir / "flush.lock")

    @property
    def name(self) -> str:
        """The name as people say it: ``agentcom/state``."""
        return self.ref.removeprefix("refs/heads/")

    @property
    def objects(self) -> Path:
        """The folder of the repository's objects."""
        return self.repo.common_dir / "objects"

    def git(self, *argv: str, data: bytes | None = None) -> bytes:
        """Run git so that what it writes is durable, and under the writers' lock while that is held."""
        return git(
            *argv,
            git_dir=self.repo.common_dir,
            input=data,
            timeout=FLUSH_TIMEOUT_S,
            config=_DURABLE,
            pass_fds=self.writers.held,
        )

    def swap(self, new: str, own: str | None, at: str | None) -> None:
        """Move the ref from ``at`` to ``new``, durably; whatever git answers, the ref itself is what counts.

        ``own`` is the hub's own last commit. Raises Slipped or Conflict when the ref is not ``at``, ReadOnly when it
        could not be moved, Fatal.
        """
        said = ""
        try:
            self.git("update-ref", "--no-deref", "-m", "agentcom: flush", self.ref, new, at or "0" * len(new))
        except GitError as error:
            if _FSYNC.search(error.stderr):
                raise self.failed(error) from error
            said = error.stderr
        now = self.tip_now()
        if now == new:
            self.fsync_ref()
        elif now == at:
            raise ReadOnly(f"{self.name} could not be moved, nothing was written: {said or 'the ref did not change'}")
        else:
            raise self.moved(now, own)

    def tip_now(self) -> str | None:
        """Return what the ref names now. Raises Fatal when it cannot be read."""
        try:
            return read_ref(self.repo, self.ref)
        except (GitError, OSError) as error:
            raise Fatal(f"{self.name} cannot be read after it was written: {error}") from error

    def fsync_ref(self) -> None:
        """Fsync every folder between the ref and the repository, so that a new folder survives too. Raises Fatal."""
        folders = []
        folder = (self.repo.common_dir / self.ref).parent
        while folder != self.repo.common_dir:
            folders.append(folder)
            folder = folder.parent
        fsync([*folders, self.repo.common_dir])

    def make_source_durable(self, sources: Sequence[str], old: str | None) -> None:
        """Fsync the loose objects of people's commits that become parents: a person's git does not do that."""
        if old is None:  # the whole history is new: cheaper to take every loose object than to walk it
            fsync_loose(self.objects)
        else:
            out = self.git("rev-list", "--objects", "--no-object-names", *sources, "--not", old)
            fsync_loose(self.objects, out.decode().split())

    def check_observable(self, source: str, part: Part) -> None:
        """Raise InvariantBroken when a file of people stands where the hub's folders must be."""
        if in_the_way := sorted(set(part) & set(self.layout.spine)):
            raise InvariantBroken(f"source {source[:12]} must not be observed: {in_the_way[0]} is no folder")

    def check_invariant(self, ours: Part, theirs: Part, source: str) -> None:
        """Raise InvariantBroken when the people's part of the new tip is not that of the source it has observed."""
        if ours != theirs:
            wrong = sorted({*ours.items()} ^ {*theirs.items()}, key=lambda item: item[0])
            paths = ", ".join(dict.fromkeys(path for path, _ in wrong[:6]))
            raise InvariantBroken(
                f"{self.name} would differ from observed source {source[:12]} outside the hub's folders, at {paths}: "
                f"nothing was written"
            )

    def moved(self, now: str | None, own: str | None) -> Slipped | Conflict:
        """Return what is said about a branch that stands at ``now`` where this hub left it at ``own``.

        Raises GitError when ``own`` cannot be read.
        """
        if own is None:
            return Conflict(f"{self.name} was made by somebody else at this moment, at {(now or '')[:12]}: start again")
        found = judge(self.name, epoch_at(self.repo, own), examine(self.repo, own, now))
        return found if isinstance(found, Conflict) else Slipped(found)

    def failed(self, error: GitError) -> Fatal | ReadOnly:
        """Return what a failed git command means for the hub."""
        lines = [line for line in error.stderr.splitlines() if not line.startswith("fast-import: dumping")]
        said = "; ".join(lines) or str(error)
        if _FSYNC.search(error.stderr):
            return Fatal(f"{self.name}: a write may not be on disk, git says: {said}")
        if _RETRY.search(error.stderr) or (error.code is not None and error.code < 0):  # the system killed it
            return ReadOnly(f"{self.name}: nothing was written, git says: {said}")
        return Fatal(f"{self.name} cannot be written, git says: {said}")

    def failed_here(self, error: OSError) -> Fatal | ReadOnly:
        """Return what a failed system call other than fsync means for the hub."""
        if error.errno in _MAY_HEAL:
            return ReadOnly(f"{self.name}: nothing was written: {error}")
        return Fatal(f"{self.name} cannot be written: {error}")


def people_parents(commits: Sequence[Commit]) -> list[str]:
    """Return the commits of people that become parents by these: observed sources, and slips that are kept."""
    parents: list[str] = []
    for commit in commits:
        if commit.source is not None:
            parents.append(commit.source)
        if commit.slip is not None and commit.slip.parent is not None:
            parents.append(commit.slip.parent)
    return parents


def stamps(commit: Commit) -> bytes:
    """Return the lines ``author`` and ``committer`` of a commit, as git stores them."""
    seconds = commit.time_ms // 1000
    name, email = clean_name(commit.author.name, commit.author.email), clean_email(commit.author.email)
    author = f"author {name} <{email}> {seconds} +0000\n"
    return f"{author}committer {HUB_NAME} <{HUB_EMAIL}> {seconds} +0000\n".encode()

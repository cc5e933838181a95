"""The journal: the hub's state branch in a real repository, written by one ``git fast-import`` per flush.

This module decides when a write is durable and what its failure means. It never touches a work tree, an index or
another branch; ``refs/agentcom/flush`` is its own scratch ref, which may be left behind anywhere without harm. It knows
no task.

One flush: tell fast-import all commits (objects fsynced, packed, named by the scratch ref), fsync the pack folder, move
the state ref by compare-and-swap, look at the ref itself, fsync its folder. Only then does ``flush`` return.

    InvariantBroken             the tree written is not the one meant: a bug of the hub, and the ref was not moved
"""

import errno
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from coordinator.git.message import (
    EPOCH,
    HUB_EMAIL,
    HUB_NAME,
    ROOT,
    SOURCE,
    check_message,
    clean_email,
    clean_name,
    parse_trailers,
    trailer,
)
from coordinator.git.objects import CommitObject, read_commits, read_objects
from coordinator.git.parts import Layout, Part, people_parts
from coordinator.git.repo import STATE_REF, Repo, read_ref
from coordinator.git.run import GitError, git
from coordinator.git.writing import WriterBusy, WritersLock
from coordinator.ports import HUB_FOLDERS, Commit, Conflict, Fatal, Fold, ReadOnly

#: What each hub folder's ``.gitattributes`` holds: nothing of a person's set-up may change the bytes of hub files.
GITATTRIBUTES = b"* -text -filter -ident -eol -working-tree-encoding\n"

#: The puts that a first commit should carry: one attributes file per hub folder.
HUB_ATTRIBUTES = {f"{folder}/.gitattributes": GITATTRIBUTES for folder in HUB_FOLDERS}

#: Named by fast-import before its pack loses its protection, so that no repack can drop what the branch will name.
SCRATCH_REF = "refs/agentcom/flush"

#: A lock on the state ref that stays the same for so long belongs to a process that died, in seconds.
STALE_LOCK_S = 1.0

#: How long one git command of a flush may take, in seconds.
FLUSH_TIMEOUT_S = 120.0

#: How long to wait for the git of a hub that was killed in the middle of a flush, in seconds.
WRITER_TIMEOUT_S = 10.0

_DURABLE = ("core.fsync=all", "core.fsyncMethod=fsync", "fastimport.unpackLimit=0")
_BY_HUB = ("--first-parent", "-E", f"--committer=<{re.escape(HUB_EMAIL)}>")
_CLOSED = re.compile(r"status/closed/\d{4}/\d{2}/\d{2}/([a-z0-9][a-z0-9-]{0,63})\.yaml")
_LOOSE = re.compile(r"[0-9a-f]{2}")
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE})
#: What git says when the surroundings, not the data, are at fault: nothing was written, and a retry may work.
_RETRY = re.compile(
    r"No space left|Out of diskspace|write error|quota exceeded"
    r"|Read-only file system|Permission denied|Cannot allocate memory|Too many open files"
    r"|Resource temporarily unavailable|could not be started|took longer than|File too large"
    r"|Unable to create '.*\.lock'|cannot lock ref|unable to (?:create|write)",
    re.IGNORECASE,
)
_TEMPORARY = re.compile(r"/objects/pack/(tmp_(?:pack|idx)_\w+)")
_FSYNC = re.compile(r"fsync error|error when fsyncing|could not fsync|Input/output error", re.IGNORECASE)


class InvariantBroken(RuntimeError):
    """State minus the hub's folders is not the observed source minus the hub's folders."""


class GitStore:
    """The state branch of one repository; keeps the contract of ``coordinator.ports.Store``.

    One flush at a time; ``read`` and ``load`` may run beside it in other threads. ``load`` waits for the git processes
    of a flush under way, also one whose hub was killed, so that what it returns is not moved by them afterwards.
    """

    def __init__(self, repo: Repo, root: str = ".", ref: str = STATE_REF) -> None:
        self._repo = repo
        self._layout = Layout.of(root)
        self._ref = ref
        self._one_at_a_time = threading.Lock()
        self._writers = WritersLock(repo.agentcom_dir / "flush.lock")
        self._tip: str | None = None
        self._loaded = False
        self._sweep_due = True

    @property
    def tip(self) -> str | None:
        """The last commit that this store read or wrote."""
        return self._tip

    def load(self) -> Fold:
        """Read the branch. Raises Conflict when its tip is not a hub's commit, Fatal when it cannot be read."""
        self._writers.wait(WRITER_TIMEOUT_S)
        try:
            tip = read_ref(self._repo, self._ref)
            fold = Fold() if tip is None else self._fold(tip)
        except GitError as error:
            raise Fatal(f"{self._name} cannot be read: {error.stderr or error}") from error
        self._tip, self._loaded = tip, True
        return fold

    def read(self, path: str) -> bytes | None:
        """Return one file of the hub's folders at the tip, None when absent. Raises Fatal when git cannot read it."""
        return self.read_all([path]).get(path)

    def read_all(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Return many files of the hub's folders at the tip by path, in one process; absent ones are left out.

        Raises Fatal when git cannot read them.
        """
        if not self._loaded:
            self.load()
        tip = self._tip
        wanted = [path for path in paths if "\n" not in path and self._layout.is_hub_file(path)]
        if tip is None or not wanted:
            return {}
        try:
            found = read_objects(self._repo.common_dir, [f"{tip}:{self._layout.path(path)}" for path in wanted])
        except GitError as error:
            raise Fatal(f"{wanted[0]} cannot be read from {self._name}: {error.stderr}") from error
        rows = zip(wanted, found, strict=True)
        return {path: item.data for path, item in rows if item is not None and item.type == "blob"}

    def flush(self, commits: tuple[Commit, ...]) -> str:
        """Append all commits, durably, or none; return the new tip.

        Raises Conflict, ReadOnly or Fatal as the port says, ValueError for a commit that would not read back as a hub's
        or touches anything outside the hub's folders, and InvariantBroken before a wrong tree gets onto the branch.
        """
        for commit in commits:
            check_message(commit.message, commit.source)
            for path in (*commit.puts, *commit.deletes):
                if not self._layout.is_hub_file(path):
                    raise ValueError(f"{path!r} is no file of the hub's folders: the hub writes nowhere else")
        with self._one_at_a_time:
            if not self._loaded:
                self.load()
            if not commits:
                if self._tip is None:
                    raise ValueError("an empty flush before the first commit has no tip to return")
                return self._tip
            try:
                with self._writers.hold(WRITER_TIMEOUT_S):
                    return self._append(commits)
            except WriterBusy as error:
                raise ReadOnly(f"{self._name}: nothing was written: {error}") from error
            except OSError as error:
                raise self._failed_here(error) from error

    def _git(self, *argv: str, data: bytes | None = None) -> bytes:
        return git(
            *argv,
            git_dir=self._repo.common_dir,
            input=data,
            timeout=FLUSH_TIMEOUT_S,
            config=_DURABLE,
            pass_fds=self._writers.held,
        )

    @property
    def _name(self) -> str:
        return self._ref.removeprefix("refs/heads/")

    def _fold(self, tip: str) -> Fold:
        (commit,) = read_commits(self._repo.common_dir, [tip])
        if not is_hub_commit(commit):
            raise Conflict(self._foreign(commit))
        layout = self._layout
        out = self._git("ls-tree", "-r", "-z", "--full-tree", tip, "--", *layout.hub_paths)
        oids: dict[str, str] = {}
        closed: dict[str, str] = {}
        for row in out.split(b"\0")[:-1]:
            head, _, raw = row.partition(b"\t")
            path = layout.relative(raw.decode("utf-8", "surrogateescape")) or ""
            if not path.startswith("status/closed/"):
                oids[path] = head.split()[2].decode()
            elif match := _CLOSED.fullmatch(path):
                closed[match[1]] = path
        found = read_objects(self._repo.common_dir, list(oids.values()))
        files: dict[str, bytes] = {}
        for path, item in zip(oids, found, strict=True):
            if item is None:
                raise Fatal(f"{path} on {self._name} names an object that is missing: run git fsck")
            files[path] = item.data
        return Fold(tip, _source_named(self._repo, commit), files, closed)

    def _foreign(self, commit: CommitObject) -> str:
        """Return the line about a commit on the state branch that no hub wrote."""
        who = f"{clean_name(commit.author.name, 'unknown')} <{clean_email(commit.author.email)}>"
        text = f"{self._name}: commit {commit.oid[:12]} by {who} is not a hub's"
        last = self._git("log", "-1", *_BY_HUB, "--format=%H", commit.oid).decode().strip()
        if not last:
            return f"{text}, and no hub ever wrote to this branch: give it another name, then start the hub again"
        return (
            f"{text}: keep it under another name if you need it, then put the branch back with "
            f"`git update-ref {self._ref} {last} {commit.oid}` and start the hub again"
        )

    def _append(self, commits: tuple[Commit, ...]) -> str:
        old = self._tip
        try:
            if self._sweep_due:
                self._remove_stale_locks()
            sources = [c.source for c in commits if c.source is not None]
            if sources:
                self._make_source_durable(sources, old)
            new = self._import(commits, old)
            if sources:
                self._check_invariant(new, sources[-1])
        except GitError as error:
            self._remove_traces(error)
            raise self._failed(error) from error
        except OSError as error:
            raise self._failed_here(error) from error
        _fsync_or_fatal([self._repo.common_dir / "objects" / "pack", self._repo.common_dir / "objects"])
        self._swap(new, old)
        self._tip = new
        return new

    def _swap(self, new: str, old: str | None) -> None:
        """Move the ref from ``old`` to ``new``, durably; whatever git answers, the ref itself is what counts."""
        said = ""
        try:
            self._git("update-ref", "--no-deref", "-m", "agentcom: flush", self._ref, new, old or "0" * len(new))
        except GitError as error:
            if _FSYNC.search(error.stderr):
                raise self._failed(error) from error
            said = error.stderr
        try:
            now = read_ref(self._repo, self._ref)
        except (GitError, OSError) as error:
            raise Fatal(f"{self._name} cannot be read after it was written: {error}") from error
        if now == new:
            self._fsync_ref()
        elif now == old:
            self._sweep_due = True
            raise ReadOnly(f"{self._name} could not be moved, nothing was written: {said or 'the ref did not change'}")
        else:
            raise Conflict(self._moved(now))

    def _moved(self, now: str | None) -> str:
        if now is None:
            return f"{self._name} was deleted while the hub was running: last commit {self._tip}"
        try:
            (commit,) = read_commits(self._repo.common_dir, [now])
        except GitError as error:
            return f"{self._name} was moved to {now}, which cannot be read: {error.stderr}"
        if not is_hub_commit(commit):
            return self._foreign(commit)
        epoch = trailer(commit.message, EPOCH)
        return f"{self._name} was moved to {now[:12]} by another hub (epoch {epoch}): stop one of the two"

    def _import(self, commits: Sequence[Commit], old: str | None) -> str:
        """Write all commits as one pack, named by the scratch ref only; return the id of the last."""
        stream = b"".join(self._stream(commits, old))
        out = self._git("fast-import", "--quiet", "--force", "--done", data=stream)
        new = out.decode("ascii", "replace").strip()
        if read_ref(self._repo, SCRATCH_REF) != new:  # fast-import answers before it moves the ref, and may not move it
            raise GitError(("fast-import",), None, f"cannot lock ref {SCRATCH_REF}: it was not moved to {new[:80]!r}")
        return new

    def _stream(self, commits: Sequence[Commit], old: str | None) -> Iterable[bytes]:
        observed = [c.source for c in commits if c.source is not None]
        needed = [c for c in (old, *observed) if c is not None] if observed else []  # no process for most flushes
        parts = people_parts(self._repo.common_dir, needed, self._layout)
        people: Part = parts.pop(0) if parts and old is not None else {}
        parent = old
        for number, commit in enumerate(commits, 1):
            yield b"commit %s\nmark :%d\n" % (SCRATCH_REF.encode(), number)
            seconds = commit.time_ms // 1000
            author = (clean_name(commit.author.name, commit.author.email), clean_email(commit.author.email))
            yield f"author {author[0]} <{author[1]}> {seconds} +0000\n".encode()
            yield f"committer {HUB_NAME} <{HUB_EMAIL}> {seconds} +0000\n".encode()
            yield _data(commit.message.encode("utf-8", "replace"))
            first = parent is None
            if parent is not None:
                yield f"from {parent}\n".encode()
            elif commit.source is not None:
                yield f"from {commit.source}\n".encode()
            if commit.source is not None:
                part = parts.pop(0)
                if in_the_way := sorted(set(part) & set(self._layout.spine)):
                    raise InvariantBroken(
                        f"source {commit.source[:12]} must not be observed: {in_the_way[0]} is no folder"
                    )
                if first:
                    yield from (_delete(folder) for folder in self._layout.hub_paths)
                else:
                    yield f"merge {commit.source}\n".encode()
                    yield from _change(people, part)
                people = part
            yield from (_delete(self._layout.path(path)) for path in commit.deletes)
            for path, content in commit.puts.items():
                yield b"M 100644 inline %s\n%s" % (_quote(self._layout.path(path)), _data(content))
            parent = f":{number}"
        yield b"get-mark %s\ndone\n" % (parent or "").encode()

    def _check_invariant(self, new: str, source: str) -> None:
        """Compare by tree ids what the new tip holds outside the hub's folders with what the source holds there."""
        ours, theirs = people_parts(self._repo.common_dir, (new, source), self._layout)
        if ours != theirs:
            wrong = sorted({*ours.items()} ^ {*theirs.items()}, key=lambda item: item[0])
            paths = ", ".join(dict.fromkeys(path for path, _ in wrong[:6]))
            raise InvariantBroken(
                f"{self._name} would differ from observed source {source[:12]} outside the hub's folders, at {paths}: "
                f"nothing was written"
            )

    def _make_source_durable(self, sources: Sequence[str], old: str | None) -> None:
        """Fsync the loose objects of commits that are about to be observed: a person's git does not do that."""
        store = self._repo.common_dir / "objects"
        if old is None:  # the whole history is new: cheaper to take every loose object than to walk it
            folders = [folder for folder in store.iterdir() if _LOOSE.fullmatch(folder.name)]
            files = [file for folder in folders for file in folder.iterdir()]
        else:
            out = self._git("rev-list", "--objects", "--no-object-names", *sources, "--not", old)
            files = [store / oid[:2] / oid[2:] for oid in out.decode().split()]
        present = [file for file in files if file.exists()]
        _fsync_or_fatal([*present, *dict.fromkeys(file.parent for file in present), store])

    def _fsync_ref(self) -> None:
        """Fsync every folder between the ref and the repository, so that a new folder survives too."""
        folders = []
        folder = (self._repo.common_dir / self._ref).parent
        while folder != self._repo.common_dir:
            folders.append(folder)
            folder = folder.parent
        _fsync_or_fatal([*folders, self._repo.common_dir])

    def _remove_stale_locks(self) -> None:
        """Remove the locks that a killed flush left: the scratch ref's at once, the state ref's when it stays."""
        try:
            read_ref(self._repo, SCRATCH_REF)
        except GitError:
            (self._repo.common_dir / SCRATCH_REF).unlink(missing_ok=True)
        (self._repo.common_dir / f"{SCRATCH_REF}.lock").unlink(missing_ok=True)
        lock = self._repo.common_dir / f"{self._ref}.lock"
        before = _identity(lock)
        if before is not None:
            time.sleep(STALE_LOCK_S)
            if _identity(lock) == before:
                lock.unlink(missing_ok=True)
        self._sweep_due = False

    def _remove_traces(self, error: GitError) -> None:
        """Remove what a failed fast-import leaves, so that trying again for an hour does not fill the disk further."""
        for name in _TEMPORARY.findall(error.stderr):
            (self._repo.common_dir / "objects" / "pack" / name).unlink(missing_ok=True)
        if error.pid:
            (self._repo.common_dir / f"fast_import_crash_{error.pid}").unlink(missing_ok=True)

    def _failed(self, error: GitError) -> Fatal | ReadOnly:
        """Return what a failed git command means for the hub."""
        lines = [line for line in error.stderr.splitlines() if not line.startswith("fast-import: dumping")]
        said = "; ".join(lines) or str(error)
        if _FSYNC.search(error.stderr):
            return Fatal(f"{self._name}: a write may not be on disk, git says: {said}")
        if _RETRY.search(error.stderr) or (error.code is not None and error.code < 0):  # the system killed it
            self._sweep_due = True
            return ReadOnly(f"{self._name}: nothing was written, git says: {said}")
        return Fatal(f"{self._name} cannot be written, git says: {said}")

    def _failed_here(self, error: OSError) -> Fatal | ReadOnly:
        if error.errno in _NO_SPACE:
            return ReadOnly(f"{self._name}: nothing was written: {error}")
        return Fatal(f"{self._name} cannot be written: {error}")


def last_observed(repo: Repo, ref: str = STATE_REF) -> str | None:
    """Return the source commit observed last, None when there is no state branch or nothing was observed yet.

    Raises GitError when the branch cannot be read.
    """
    tip = read_ref(repo, ref)
    return None if tip is None else _source_named(repo, *read_commits(repo.common_dir, [tip]))


def root_in_force(repo: Repo, ref: str = STATE_REF) -> str | None:
    """Return the folder that the hub of this branch writes in, ``.`` at the top, None when no hub ever wrote to it.

    What people write into agentcom.yaml afterwards moves nothing. Raises GitError when the branch cannot be read.
    """
    tip = read_ref(repo, ref)
    if tip is None:
        return None
    (commit,) = read_commits(repo.common_dir, [tip])
    message = commit.message
    if not is_hub_commit(commit):
        message = git("log", "-1", *_BY_HUB, "--format=%B", tip, git_dir=repo.common_dir).decode("utf-8", "replace")
    return (trailer(message, ROOT) or ".") if message.strip() else None


def _source_named(repo: Repo, tip: CommitObject) -> str | None:
    """Return what the newest hub commit, by first parents, that names a source commit says."""
    named = trailer(tip.message, SOURCE)
    if named is not None:
        return named
    naming = (*_BY_HUB, f"--grep=^{SOURCE}: [0-9a-f]+$", "--all-match")
    out = git("log", "-1", *naming, "--format=%B", tip.oid, git_dir=repo.common_dir, timeout=FLUSH_TIMEOUT_S)
    return trailer(out.decode("utf-8", "replace"), SOURCE)


def is_hub_commit(commit: CommitObject) -> bool:
    """Tell whether a hub wrote this commit: committed by the hub, with an epoch (DECISIONS, slips)."""
    return commit.committer.email == HUB_EMAIL and EPOCH in parse_trailers(commit.message)


def _change(old: Part, new: Part) -> Iterable[bytes]:
    """Yield the commands that turn one people's part into another; deletions first, a file may become a folder."""
    yield from (_delete(path) for path in old if path not in new)
    for path, entry in new.items():
        if old.get(path) != entry:
            yield b"M %s %s %s\n" % (entry.mode.zfill(6).encode(), entry.oid.encode(), _quote(path))


def _delete(path: str) -> bytes:
    return b"D %s\n" % _quote(path)


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _quote(path: str) -> bytes:
    """Return a path in fast-import's C style, every unusual byte as an octal escape."""
    raw = path.encode("utf-8", "surrogateescape")
    return b'"%s"' % b"".join(b"\\%03o" % c if c < 32 or c > 126 or c in b'"\\' else bytes((c,)) for c in raw)


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _fsync_or_fatal(paths: Iterable[Path], fsync: Callable[[int], None] | None = None) -> None:
    """Fsync files and folders; one that has vanished was replaced by git, anything else that fails is Fatal."""
    for path in paths:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Fatal(f"{path} could not be opened to make it durable: {error}") from error
        try:
            (fsync or os.fsync)(handle)
        except OSError as error:
            raise Fatal(f"{path} could not be made durable (fsync failed): {error}") from error
        finally:
            os.close(handle)

"""People's files before they are committed, read the way the hub reads them from git: the same problems.

``WorkTree`` keeps the promise of ports.Source over a folder on disk, so that one reader serves both. Links are never
followed: neither the folders nor the files that are opened may be one, as in git. This module knows no repository.
"""

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from coordinator.core.backlog import CANCELLED, DONE
from coordinator.core.policy import Lane, Policy
from coordinator.files import limits, loader, markdown
from coordinator.files.emitter import blob_id
from coordinator.files.observe import BACKLOG, POLICY, UNREADABLE, Known, Observer
from coordinator.files.problem import Problem
from coordinator.ports import Entry, Source, Version

#: No file is read further than this; what is larger is reported by its size.
_MOST = max(limits.YAML_BYTES, limits.BACKLOG_BYTES)
#: What is asked of a source that holds no commits.
_NO_COMMIT = "0" * 40


class WorkTree:
    """A folder as a source: every file as it stands on disk now, saved or committed alike."""

    def __init__(self, top: Path, root: str = ".") -> None:
        self._top = top
        self._root = root
        self._blobs: dict[str, bytes] = {}

    def tip(self) -> str | None:
        return _NO_COMMIT

    def needs_observation(self, commit: str, observed: str | None) -> bool:
        return True

    def entries(self, commit: str) -> Mapping[str, Entry]:
        """Return BACKLOG.md, agentcom.yaml and the direct children of tasks/ and agents/, with what they hold."""
        found: dict[str, Entry] = {}
        top = self._open(self._top)
        if top is None:
            return found
        try:
            self._add(found, POLICY, top, POLICY)
            base = top if self._root == "." else _step_down(top, self._root.split("/"))
            if base is None:
                return found
            try:
                self._add(found, BACKLOG, base, BACKLOG)
                for folder in ("tasks", "agents"):
                    self._children(found, folder, base)
            finally:
                if base != top:
                    os.close(base)
        finally:
            os.close(top)
        return found

    def strays(self, commit: str) -> tuple[str, ...]:
        return ()

    def blobs(self, oids: tuple[str, ...], largest: int | None = None) -> Mapping[str, bytes]:
        found = {oid: self._blobs[oid] for oid in oids if oid in self._blobs}
        return {oid: data for oid, data in found.items() if largest is None or len(data) <= largest}

    def backlog_versions(self, commit: str, observed: str | None) -> tuple[str, ...]:
        return ()

    def authors(self, commit: str, observed: str | None) -> Mapping[str, Version]:
        return {}

    @staticmethod
    def _open(folder: Path) -> int | None:
        try:
            return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None

    def _children(self, found: dict[str, Entry], folder: str, base: int) -> None:
        inside = _step_down(base, [folder])
        if inside is None:
            self._add(found, folder, base, folder)
            return
        try:
            with os.scandir(inside) as listing:
                names = sorted(one.name for one in listing)
            for name in names:
                self._add(found, f"{folder}/{name}", inside, name)
        finally:
            os.close(inside)

    def _add(self, found: dict[str, Entry], path: str, folder: int, name: str) -> None:
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return
        if stat.S_ISREG(info.st_mode):
            data = _read(folder, name) if info.st_size <= _MOST else b""
            if data is None:
                found[path] = Entry(UNREADABLE, "", -1)
                return
            oid = blob_id(data)
            self._blobs[oid] = data
            found[path] = Entry("100644", oid, max(info.st_size, len(data)))
        else:
            mode = "040000" if stat.S_ISDIR(info.st_mode) else "120000" if stat.S_ISLNK(info.st_mode) else "000000"
            found[path] = Entry(mode, "", -1)


def _step_down(folder: int, parts: list[str]) -> int | None:
    """Open a folder below another one, link by link refused; None when it is no folder."""
    here = os.dup(folder)
    for part in parts:
        try:
            inside = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
        except OSError:
            return None
        finally:
            os.close(here)
        here = inside
    return here


def _read(folder: int, name: str) -> bytes | None:
    """Read one plain file; what turned into something else meanwhile reads as empty, None is what may not be read."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except PermissionError:
        return None
    except OSError:
        return b""
    with os.fdopen(fd, "rb") as file:
        return file.read(_MOST + 1) if stat.S_ISREG(os.fstat(fd).st_mode) else b""


@dataclass(frozen=True, slots=True)
class Fate:
    """What one item of BACKLOG.md would become: ``runs`` is true when an agent would get it."""

    line: int
    title: str
    lane: Lane
    priority: str
    runs: bool


def validate(
    top: Path,
    paths: Iterable[PurePath] = (),
    *,
    known: Known | None = None,
    source_branch: str = "main",
    root: str | None = None,
) -> tuple[Problem, ...]:
    """Return every mistake in the files below ``top``, or only those at or below ``paths``.

    ``paths`` are relative to ``top``; one that does not exist is a problem itself. ``known`` is what a hub or the state
    branch knows; without it, dependencies on ids that no file here bears are not reported. A policy that is wrong is
    reported, and the other files are read by the defaults. ``root`` is the one that a hub recorded; None: the policy's.
    """
    found = _problems(lambda folder: WorkTree(top, folder), known or Known(complete=False), source_branch, root)
    wanted = [PurePath(path) for path in paths]
    if not wanted:
        return found
    missing = [
        Problem(str(path), what="there is no such file", hint="check the path")
        for path in wanted
        if not os.path.lexists(top / path)
    ]
    return (*missing, *(one for one in found if any(PurePath(one.path).is_relative_to(path) for path in wanted)))


def introduced(
    now: Callable[[str], Source], before: Callable[[str], Source], *, source_branch: str = "main"
) -> tuple[Problem, ...]:
    """Return the mistakes that a commit would bring: all in the files that it changes, and new ones in others.

    ``now`` and ``before`` give for a root what would be committed and what it replaces.
    """
    known = Known(complete=False)
    found = _problems(now, known, source_branch)
    if not found:
        return found
    changed = dict(_files(now).items() ^ _files(before).items())
    elsewhere = {one.anywhere() for one in _problems(before, known, source_branch)}
    return tuple(one for one in found if one.path in changed or one.anywhere() not in elsewhere)


def _problems(
    source: Callable[[str], Source], known: Known, source_branch: str, root: str | None = None
) -> tuple[Problem, ...]:
    root = _policy_in(source(".")).root if root is None else root
    return Observer(source(root), source_branch, root).look(_NO_COMMIT, None, known).problems


def _files(source: Callable[[str], Source]) -> dict[str, Entry]:
    """Return what a source holds by the path that problems name."""
    root = _policy_in(source(".")).root
    prefix = "" if root == "." else f"{root}/"
    entries = source(root).entries(_NO_COMMIT)
    return {path if path == POLICY else prefix + path: entry for path, entry in entries.items()}


def fates(top: Path) -> tuple[Fate, ...]:
    """Return what each item of the BACKLOG.md below ``top`` would become if it were committed now, in order."""
    policy = read_policy(top)
    tree = WorkTree(top, policy.root)
    entry = tree.entries(_NO_COMMIT).get(BACKLOG)
    data = None if entry is None else tree.blobs((entry.oid,)).get(entry.oid)
    parsed = None if data is None else markdown.read(data, policy)
    if parsed is None or isinstance(parsed, tuple):
        return ()
    return tuple(
        Fate(
            item.line,
            item.title,
            lane := Lane.DRAFT if item.lane is Lane.IN_PROGRESS else item.lane,
            item.priority.word,
            lane is Lane.READY and item.check not in (DONE, CANCELLED) and item.valid,
        )
        for item in parsed.items
    )


def read_policy(top: Path) -> Policy:
    """Return the policy on disk, the defaults when it is missing or wrong."""
    return _policy_in(WorkTree(top))


def _policy_in(source: Source) -> Policy:
    entry = source.entries(_NO_COMMIT).get(POLICY)
    data = None if entry is None or entry.size > limits.YAML_BYTES else source.blobs((entry.oid,)).get(entry.oid)
    read = Policy() if data is None else loader.load_policy(POLICY, data, "")
    return Policy() if isinstance(read, tuple) else read

"""Housekeeping beside a running hub: packs rolled up, the commit graph kept, the branch checked and its tip backed up.

This module decides how a step of ``chores`` is taken and what its failure means: a line, and another try later. One
thread, one step at a time, every git at the lowest priority and ended with the hub; no flush waits for any of it.

Why nothing can get lost: git lists the packs that it rolls up before it begins, so one that comes meanwhile stays; a
flush keeps its pack out of every list by ``.keep`` until the branch names it; the new pack is on disk before an old one
goes; people's ``.keep`` files and other people's packing are respected.
"""

import contextlib
import logging
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from coordinator.git import chores
from coordinator.git.branch import StateBranch
from coordinator.git.chores import Seen, Step
from coordinator.git.durable import fsync
from coordinator.git.holders import may_be_held
from coordinator.git.parts import Layout
from coordinator.git.recovery import BACKUP_REF
from coordinator.git.repo import Repo, read_ref
from coordinator.git.run import GitError, Leash, git
from coordinator.git.writing import WriterBusy, WritersLock
from coordinator.ports import StoreError

_log = logging.getLogger("agentcom.housekeeping")

#: Pause between two looks, in seconds.
BEAT = 5.0
#: How long one git command may take, in seconds: a large repository at the lowest priority.
PATIENCE = 6 * 3600.0
#: What must stay free on the disk beside what a repack writes, in bytes.
RESERVE = 64 << 20
#: A file that says that git packs is believed so long, in seconds.
BELIEVED = 12 * 3600.0
#: A temporary file or lock of git that nobody can hold is a dead one's after this time, in seconds.
ABANDONED = 3600.0
#: So often the branch is checked when packs go away meanwhile, before that waits for a calmer time.
TRIES = 3
#: How long git may take to put its locks away when the hub stops, in seconds.
GRACE = 3.0
#: Between two looks for that, in seconds.
PAUSE = 0.02

#: Whatever a person's set-up says: durable, one pack, no bitmap that costs a walk, ``.keep`` respected, one core.
_REPACK = (
    *("core.fsync=all", "core.fsyncMethod=fsync", "pack.threads=1", "pack.packSizeLimit=0"),
    *("repack.writeBitmaps=false", "repack.packKeptObjects=false", "core.multiPackIndex=true"),
)
_GRAPH = ("core.fsync=all", "core.fsyncMethod=fsync", "core.commitGraph=true")
#: What is checked is the objects themselves; commit graph and multi-pack index can be made anew.
_CHECK = ("core.commitGraph=false", "core.multiPackIndex=false")
#: Complaints about how a whole object was written, mostly by a person's tool of long ago: nothing is damaged.
_ILL_FORMED = re.compile(r"(?:error|warning) in (?:commit|tree|blob|tag) [0-9a-f]+: ")
_TEMPORARY = re.compile(r"tmp_|\.tmp-\d+-pack-|multi-pack-index\.lock$")
#: What git may leave below ``objects/info`` when it is killed while it writes the commit graph.
_GRAPH_LEFT = ("commit-graph.lock", "commit-graphs/commit-graph-chain.lock", "commit-graphs/tmp_graph_*", "tmp_graph_*")


class _CannotNow(Exception):
    """A step was not taken; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a step of housekeeping could not do, in one line, and since how many tries."""

    step: Step
    what: str
    tries: int = 1

    def __str__(self) -> str:
        again = "" if self.tries == 1 else f" ({self.tries} times)"
        return f"{self.step} failed{again}: {self.what}"


class Housekeeping:
    """Keeps one repository in order between ``start`` and ``stop``.

    ``tip`` is the hub's last commit, ``commits`` counts them since its start, ``may_write`` says whether the store can
    be written now; all three are asked from the thread of the housekeeping. ``clock`` is in seconds.
    """

    def __init__(
        self,
        repo: Repo,
        tip: Callable[[], str | None],
        commits: Callable[[], int],
        may_write: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repo = repo
        self._tip = tip
        self._commits = commits
        self._may_write = may_write
        self._clock = clock
        self._ledger = chores.begin(clock())
        self._troubles: dict[Step, Trouble] = {}
        self._lock = WritersLock(repo.agentcom_dir / "housekeeping.lock")
        self._packs = repo.common_dir / "objects/pack"
        self._info = repo.common_dir / "objects/info"
        self._leash = Leash(last=True)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        #: Git's temporary files of packs at the last look, and what a failed git of ours has left.
        self._temporary: dict[str, tuple[int, int, int]] = {}
        self._left: set[Path] = set()

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What does not work now, nothing when all does."""
        return tuple(self._troubles.values())

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End for good, with every git that runs; a repack that is cut off leaves the packs as they were."""
        self._stopping.set()
        self._leash.pull()
        if self._thread is not None:
            self._thread.join(GRACE)
            self._leash.pull(signal.SIGKILL)
            self._thread.join()
        # what git had started may still be about to end, and holds what lies there until then
        until = time.monotonic() + GRACE
        while self._left and time.monotonic() < until:
            self._remove_left()
            time.sleep(PAUSE if self._left else 0.0)

    def _run(self) -> None:
        while not self._stopping.wait(BEAT):
            try:
                self.beat()
            except Exception:
                _log.exception("housekeeping met a bug; it goes on at the next beat")

    def beat(self) -> Step | None:
        """Look once and take the one step that is due; return it, None when none was."""
        now = self._clock()
        try:
            seen = self._look()
        except (OSError, GitError) as error:
            _log.warning("the packs cannot be looked at: %s", error)
            return None
        self._ledger = chores.lower(self._ledger, seen)
        step = chores.due(seen, self._ledger, now) if self._may_write() else None
        if step is None:
            return None
        try:
            with self._lock.hold(0):
                self._take(step, seen)
        except WriterBusy:
            return None  # the git of a hub that was killed is still at it
        except (_CannotNow, GitError, StoreError, OSError) as error:
            if not self._stopping.is_set():
                self._note(step, error)
            return step
        if self._troubles.pop(step, None) is not None:
            _log.info("%s works again", step)
        ended = self._clock()
        left = replace(self._look(), commits=seen.commits)
        self._ledger = chores.done(self._ledger, step, left, ended, ended - now)
        return step

    def _note(self, step: Step, error: Exception) -> None:
        self._ledger = chores.failed(self._ledger, step, self._clock())
        said = (error.stderr if isinstance(error, GitError) else "") or str(error)
        trouble = Trouble(step, "; ".join(said.split("\n"))[:500], self._ledger.failures[step])
        self._troubles[step] = trouble
        _log.warning("%s; it is tried again later", trouble)

    def _take(self, step: Step, seen: Seen) -> None:
        match step:
            case Step.REPACK:
                self._repack()
            case Step.GRAPH:
                self._write_graph(seen)
            case Step.CHECK:
                self._check(seen)

    def _git(self, *argv: str, config: tuple[str, ...], data: bytes | None = None) -> bytes:
        where, held, leash = self._repo.common_dir, self._lock.held, self._leash
        return git(*argv, git_dir=where, input=data, timeout=PATIENCE, config=config, pass_fds=held, leash=leash)

    def _write(self, *argv: str, config: tuple[str, ...], data: bytes | None = None) -> None:
        """Run a git that writes; what it leaves when it fails or is ended is removed. Raises GitError."""
        before = self._unfinished()
        try:
            self._git(*argv, config=config, data=data)
        except GitError:
            self._left |= self._unfinished() - before
            self._remove_left()
            raise

    def _unfinished(self) -> set[Path]:
        """Return the temporary files and locks of git that lie there now, a dead one's or a living one's."""
        packs = {self._packs / entry.name for entry in _entries(self._packs) if _TEMPORARY.match(entry.name)}
        return packs | {path for name in _GRAPH_LEFT for path in self._info.glob(name)}

    def _remove_left(self) -> None:
        """Remove what a git of ours left; what somebody may hold waits for the next look.

        Git does not always take its locks away at SIGTERM, and the next hub could not repack until such a lock is old.
        A repack that met a full disk would fill it further with each try.
        """
        for path in list(self._left):
            if not may_be_held(path.resolve(), self._repo):
                path.unlink(missing_ok=True)
                self._left.discard(path)

    # --- looking

    def _look(self) -> Seen:
        borrows = (self._info / "alternates").exists()  # git 2.39 mixes up whose packs are whose
        names = {entry.name for entry in _entries(self._packs)}
        packs = 0 if borrows else len(_loose_ends(names))
        loose = 0 if borrows else 256 * sum(1 for _ in _entries(self._repo.common_dir / "objects/17"))
        return Seen(
            packs=packs,
            loose=loose,
            commits=self._commits(),
            tip=self._tip(),
            checked=read_ref(self._repo, BACKUP_REF),
            others=self._others(names),
        )

    def _others(self, names: set[str]) -> bool:
        """Tell whether somebody else packs: git says so in files, and what it writes grows."""
        self._remove_left()
        before, self._temporary = self._temporary, {}
        for name in filter(_TEMPORARY.match, names):
            with contextlib.suppress(OSError):
                stat = (self._packs / name).stat()
                self._temporary[name] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        self._remove_abandoned(before)
        grows = any(name in before and before[name] != now for name, now in self._temporary.items())
        return grows or _gc_runs(self._repo.common_dir) or _young(self._repo.common_dir / "objects/maintenance.lock")

    def _remove_abandoned(self, before: dict[str, tuple[int, int, int]]) -> None:
        """Remove temporary files of packs that nobody has written for long."""
        for name, now in list(self._temporary.items()):
            path = self._packs / name
            if before.get(name) == now and self._is_abandoned(path):
                path.unlink(missing_ok=True)
                del self._temporary[name]

    def _is_abandoned(self, path: Path) -> bool:
        return not _young(path, ABANDONED) and not may_be_held(path.resolve(), self._repo)

    # --- the steps

    def _repack(self) -> None:
        self._check_room()
        self._write("repack", "-q", "-d", "--geometric=2", "--write-midx", config=_REPACK)
        fsync([self._packs])

    def _check_room(self) -> None:
        """Refuse to write what may not fit. Raises _CannotNow."""
        names = {entry.name for entry in _entries(self._packs)}
        sizes = []
        for stem in _loose_ends(names):
            with contextlib.suppress(OSError):  # somebody else packed it away
                sizes.append((_objects_in(self._packs / f"{stem}.idx"), (self._packs / f"{stem}.pack").stat().st_size))
        loose = 256 * sum(entry.stat().st_size for entry in _entries(self._repo.common_dir / "objects/17"))
        needed = chores.rolled_up(sizes) + loose + RESERVE
        free = shutil.disk_usage(self._packs).free
        if free < needed:
            raise _CannotNow(
                f"{needed >> 20} MiB must be free to roll up the packs and {free >> 20} MiB are: make room on the disk"
            )

    def _write_graph(self, seen: Seen) -> None:
        """Note the hub's own history: a commit of people that is not observed yet may be taken back and pruned."""
        for path in (path for name in _GRAPH_LEFT for path in self._info.glob(name)):
            if self._is_abandoned(path):
                path.unlink(missing_ok=True)
        split = "--split" if all(map(_has_filters, _graphs(self._info))) else "--split=replace"
        argv = ("commit-graph", "write", "--stdin-commits", split, "--changed-paths", "--no-progress")
        tips = f"{seen.tip}\n".encode()
        try:
            self._write(*argv, config=_GRAPH, data=tips)
        except GitError:
            if self._stopping.is_set() or not self._removed_broken_graph():
                raise
            self._write(*argv, config=_GRAPH, data=tips)

    def _removed_broken_graph(self) -> bool:
        """Remove the commit graph when git says that it is wrong; all that it holds can be computed again."""
        try:
            self._git("commit-graph", "verify", "--no-progress", config=_GRAPH)
        except GitError as error:
            if error.code is None or error.code < 0:  # it was ended, and knows nothing
                return False
            (self._info / "commit-graph").unlink(missing_ok=True)
            shutil.rmtree(self._info / "commit-graphs", ignore_errors=True)
            _log.warning("the commit graph was wrong and is written anew: %s", error.stderr.partition("\n")[0])
            return True
        return False

    def _check(self, seen: Seen) -> None:
        """Let git check every object, and what the tip needs; a tip that passes is backed up."""
        if seen.tip is None:
            return
        for _ in range(TRIES):
            before = _indexes(self._packs)
            complaint = self._fsck(seen.tip)
            if not complaint or before <= _indexes(self._packs):
                break
        else:
            raise _CannotNow("packs went away while git looked at them, somebody else rolls them up")
        if complaint:
            kept = "nothing is backed up" if seen.checked is None else f"{BACKUP_REF} stays at {seen.checked[:12]}"
            raise _CannotNow(f"git fsck finds damage, {kept}: {complaint}")
        if self._removed_broken_graph():
            self._ledger = replace(self._ledger, graphed=None)
        StateBranch(self._repo, BACKUP_REF, Layout.of(".")).swap(seen.tip, seen.checked, seen.checked)

    def _fsck(self, tip: str) -> str:
        """Return what git says is damaged, empty when the branch is whole. Raises GitError when it cannot say."""
        try:
            argv = ("fsck", "--full", "--no-dangling", "--no-reflogs", "--no-progress", tip)
            self._git(*argv, config=_CHECK)
        except GitError as error:
            if error.code is None or error.code < 0 or error.code >= 128:
                raise
            lines = [line for line in error.stderr.splitlines() if not _ILL_FORMED.match(line)]
            if error.code == 1 and not lines:
                return ""
            return "; ".join(lines[:3]) or f"exit status {error.code}"
        return ""


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what lies in a folder, nothing when there is none."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return


def _indexes(folder: Path) -> set[str]:
    return {entry.name for entry in _entries(folder) if entry.name.endswith(".idx")}


def _loose_ends(names: set[str]) -> list[str]:
    """Return the packs that a repack may touch, without their ending: nobody keeps them, and they are complete."""
    stems = {name.removesuffix(".pack") for name in names if name.endswith(".pack")}
    return [stem for stem in stems if f"{stem}.idx" in names and not {f"{stem}.keep", f"{stem}.mtimes"} & names]


def _objects_in(index: Path) -> int:
    """Return how many objects a pack holds, as the fan-out table of its index ends (version 2)."""
    with index.open("rb") as file:
        file.seek(8 + 4 * 255)
        return int.from_bytes(file.read(4), "big")


def _graphs(folder: Path) -> list[Path]:
    """Return the files of the commit graph: one, or the layers of a chain."""
    chain = folder / "commit-graphs/commit-graph-chain"
    try:
        names = chain.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        names = []
    layers = [chain.with_name(f"graph-{name}.graph") for name in names]
    return [path for path in (folder / "commit-graph", *layers) if path.exists()]


def _has_filters(graph: Path) -> bool:
    """Tell whether a file of the commit graph has changed-path filters; git does not add them to what is written."""
    with graph.open("rb") as file:
        head = file.read(8)
        return b"BIDX" in file.read(12 * (head[6] + 1) if len(head) == 8 else 0)


def _gc_runs(common_dir: Path) -> bool:
    """Tell whether a ``git gc`` works here, as its ``gc.pid`` says; one on another machine is believed."""
    path = common_dir / "gc.pid"
    try:
        pid, _, host = path.read_text(encoding="utf-8", errors="replace").strip().partition(" ")
        if not _young(path):
            return False
        if host == socket.gethostname():
            os.kill(int(pid), 0)
    except (OSError, ValueError) as error:
        return isinstance(error, PermissionError)  # it is there and somebody else's
    return True


def _young(path: Path, limit: float = BELIEVED) -> bool:
    """Tell whether a file is there and was written less than ``limit`` seconds ago."""
    try:
        return time.time() - path.stat().st_mtime < limit
    except OSError:
        return False

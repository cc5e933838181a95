"""The journal: the hub's state branch in a real repository.

This module decides what the branch says, when a flush may be written and by which engine: ``packwriter`` where it can,
``plain`` everywhere else. It never touches a work tree, an index or another branch. It knows no task.
"""

import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from coordinator.git.branch import FLUSH_TIMEOUT_S, StateBranch, Writer
from coordinator.git.leftovers import remove_leftovers
from coordinator.git.listing import Days, list_files
from coordinator.git.message import SOURCE, check_message, trailer
from coordinator.git.objects import CommitObject, read_commits, read_objects
from coordinator.git.packwriter import PackWriter, Settings, why_not
from coordinator.git.parts import Layout
from coordinator.git.plain import PlainWriter
from coordinator.git.recovery import Record, find, last_known, no_hubs
from coordinator.git.repo import STATE_REF, Repo, read_ref
from coordinator.git.run import GitError, git
from coordinator.git.slips import BY_HUB, is_hub_commit, last_of_a_hub
from coordinator.git.writing import WriterBusy
from coordinator.ports import HUB_FOLDERS, Commit, Conflict, Fatal, Fold, ReadOnly, Slip

#: What each hub folder's ``.gitattributes`` holds: nothing of a person's set-up may change the bytes of hub files.
GITATTRIBUTES = b"* -text -filter -ident -eol -working-tree-encoding\n"

#: The puts that a first commit should carry: one attributes file per hub folder.
HUB_ATTRIBUTES = {f"{folder}/.gitattributes": GITATTRIBUTES for folder in HUB_FOLDERS}

#: How long to wait for the git of a hub that was killed in the middle of a flush, in seconds.
WRITER_TIMEOUT_S = 10.0

#: Who writes: ``packwriter``, or ``plain`` by the git program.
Engine = Literal["pack", "plain"]


class GitStore:
    """The state branch of one repository; keeps the contract of ``coordinator.ports.Store``.

    One flush at a time; ``read`` and ``load`` may run beside it in other threads. ``load`` waits for the git processes
    of a flush under way, also one whose hub was killed, so that what it returns is not moved by them afterwards.
    ``engine`` says who writes; None means pack where that is possible. ``days`` are days of finished tasks that were
    listed before; ``load`` leaves there what it found.
    """

    def __init__(
        self,
        repo: Repo,
        root: str = ".",
        ref: str = STATE_REF,
        engine: Engine | None = None,
        days: Days | None = None,
    ) -> None:
        self._days: Days = {} if days is None else days
        self._branch = StateBranch(repo, ref, Layout.of(root))
        self._record = Record(repo)
        self._engine = engine
        self._writer: Writer | None = None
        self._one_at_a_time = threading.Lock()
        self._tip: str | None = None
        self._loaded = False
        self._sweep_due = True

    @property
    def tip(self) -> str | None:
        """The last commit that this store read or wrote."""
        return self._tip

    def load(self) -> Fold:
        """Read the branch up to its last commit by a hub.

        Raises Conflict when no hub ever wrote there, Fatal when it cannot be read.
        """
        branch = self._branch
        branch.writers.wait(WRITER_TIMEOUT_S)
        try:
            tip = read_ref(branch.repo, branch.ref)
            fold = Fold() if tip is None else self._fold(self._of_a_hub(tip))
            self._tip, self._loaded = fold.tip, True
            return fold if fold.tip == tip else replace(fold, slip=self.look())
        except GitError as error:
            raise Fatal(f"{branch.name} cannot be read: {error.stderr or error}") from error

    def recover(self, hub_id: str, *, take_over: bool = False) -> Fold:
        """Read the branch for a hub that is about to write it, whatever happened to it (see ``recovery``).

        Raises Conflict when another hub has claimed it since, unless ``take_over``; Fatal when nothing whole is left.
        """
        branch = self._branch
        branch.writers.wait(WRITER_TIMEOUT_S)
        try:
            read = functools.cache(self._fold)
            found = find(branch, read, hub_id, take_over=take_over)
            fold = Fold() if found.tip is None else read(found.tip)
        except GitError as error:
            raise Fatal(f"{branch.name} cannot be read: {error.stderr or error}") from error
        self._tip, self._loaded = fold.tip, True
        return replace(fold, slip=found.slip, rescued=found.rescued)

    def look(self) -> Slip | None:
        """Return what has become of the branch since the last flush, None when it is where that left it.

        Raises Conflict when another hub moved it, Fatal when it cannot be read.
        """
        now = self._branch.tip_now()
        if now == self._tip:
            return None
        try:
            moved = self._branch.moved(now, self._tip)
        except GitError as error:
            raise self._branch.failed(error) from error
        if isinstance(moved, Conflict):
            raise moved
        return moved.slip

    def read(self, path: str) -> bytes | None:
        """Return one file of the hub's folders at the tip, None when absent. Raises Fatal when git cannot read it."""
        return self.read_all([path]).get(path)

    def read_all(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Return many files of the hub's folders at the tip by path, in one process; absent ones are left out.

        Raises Fatal when git cannot read them.
        """
        if not self._loaded:
            self.load()
        tip, branch = self._tip, self._branch
        wanted = [path for path in paths if "\n" not in path and branch.layout.is_hub_file(path)]
        if tip is None or not wanted:
            return {}
        try:
            found = read_objects(branch.repo.common_dir, [f"{tip}:{branch.layout.path(path)}" for path in wanted])
        except GitError as error:
            raise Fatal(f"{wanted[0]} cannot be read from {branch.name}: {error.stderr}") from error
        rows = zip(wanted, found, strict=True)
        return {path: item.data for path, item in rows if item is not None and item.type == "blob"}

    def flush(self, commits: tuple[Commit, ...]) -> str:
        """Append all commits, durably, or none; return the new tip.

        Raises Slipped, Conflict, ReadOnly or Fatal as the port says, InvariantBroken before a wrong tree gets onto the
        branch, and ValueError for a commit that would not read back as a hub's or touches anything outside the hub's
        folders, or when the engine asked for cannot write here.
        """
        branch = self._branch
        for commit in commits:
            check_message(commit.message, commit.source)
            for path in (*commit.puts, *commit.deletes):
                if not branch.layout.is_hub_file(path):
                    raise ValueError(f"{path!r} is no file of the hub's folders: the hub writes nowhere else")
        with self._one_at_a_time:
            if not self._loaded:
                self.load()
            if not commits:
                if self._tip is None:
                    raise ValueError("an empty flush before the first commit has no tip to return")
                return self._tip
            try:
                with branch.writers.hold(WRITER_TIMEOUT_S):
                    return self._append(commits)
            except WriterBusy as error:
                raise ReadOnly(f"{branch.name}: nothing was written: {error}") from error
            except GitError as error:
                raise branch.failed(error) from error
            except OSError as error:
                raise branch.failed_here(error) from error

    def _append(self, commits: tuple[Commit, ...]) -> str:
        sweep, self._sweep_due = self._sweep_due, True  # whatever fails now may leave something
        if sweep:
            remove_leftovers(self._branch)
        if self._writer is None:
            self._writer = _writer(self._branch, self._engine)
        slip = next((commit.slip for commit in commits if commit.slip is not None), None)
        put_back = slip is None or self._branch.tip_now() == self._tip  # somebody else was faster
        self._tip = self._writer.append(commits, self._tip, self._tip if put_back or slip is None else slip.tip)
        self._sweep_due = False
        self._record.write(self._tip)
        return self._tip

    def _of_a_hub(self, tip: str) -> str:
        """Return the last commit by a hub on the way back from ``tip``. Raises Conflict when there is none."""
        (commit,) = read_commits(self._branch.repo.common_dir, [tip])
        found = tip if is_hub_commit(commit) else last_of_a_hub(self._branch.repo, tip)
        if found is None:
            raise no_hubs(self._branch, commit)
        return found

    def _fold(self, tip: str) -> Fold:
        branch = self._branch
        (commit,) = read_commits(branch.repo.common_dir, [tip])
        listing = list_files(branch.repo.common_dir, commit.tree, branch.layout, self._days)
        found = read_objects(branch.repo.common_dir, list(listing.oids.values()))
        files: dict[str, bytes] = {}
        for path, item in zip(listing.oids, found, strict=True):
            if item is None:
                raise Fatal(f"{path} on {branch.name} names an object that is missing: run git fsck")
            files[path] = item.data
        return Fold(tip, _source_named(branch.repo, commit), files, listing.closed)


def _writer(branch: StateBranch, engine: Engine | None) -> Writer:
    """Return the engine asked for, or else the best one. Raises ValueError when the pack engine cannot write here."""
    if engine == "plain":
        return PlainWriter(branch)
    settings = Settings.read(branch.repo)
    against = why_not(branch.repo, settings)
    if against is None:
        return PackWriter(branch, settings)
    if engine == "pack":
        raise ValueError(f"{branch.repo.common_dir} cannot be written by the pack engine: {against}")
    return PlainWriter(branch)


def last_observed(repo: Repo, ref: str = STATE_REF) -> str | None:
    """Return the source commit observed last, None when there is no state branch or nothing was observed yet.

    Raises GitError when the branch cannot be read.
    """
    commit = last_known(repo, ref)
    return None if commit is None else _source_named(repo, commit)


def _source_named(repo: Repo, tip: CommitObject) -> str | None:
    """Return what the newest hub commit, by first parents, that names a source commit says."""
    named = trailer(tip.message, SOURCE)
    if named is not None:
        return named
    naming = (*BY_HUB, f"--grep=^{SOURCE}: [0-9a-f]+$", "--all-match")
    out = git("log", "-1", *naming, "--format=%B", tip.oid, git_dir=repo.common_dir, timeout=FLUSH_TIMEOUT_S)
    return trailer(out.decode("utf-8", "replace"), SOURCE)

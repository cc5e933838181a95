"""The pack engine: objects are built in memory, one flush is one pack, and the ref is moved by hand.

This module decides in which order what reaches the disk. One flush: lock the ref and compare; ``pack-X.keep``, pack and
index under temporary names; fsync these and the lock, beside one another; rename pack and index, fsync their folder;
rename the lock, fsync the folder of the ref; remove ``pack-X.keep``. The ``.keep`` comes first because a person's
``git repack -ad`` would delete a pack that no ref names yet. Commits, trees and messages are those of the plain engine.

It is for repositories with SHA-1 ids and refs kept as files; ``why_not`` says what else stands against it.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from coordinator.git import reflock
from coordinator.git.branch import StateBranch, people_parents, stamps
from coordinator.git.durable import fsync, fsync_handle, write_all
from coordinator.git.objects import read_commits, read_headers, read_objects
from coordinator.git.pack import BLOB, COMMIT, TREE, Pack, Packed
from coordinator.git.parts import Spine, part_of, read_spines
from coordinator.git.reflock import RefLock
from coordinator.git.repo import Repo
from coordinator.git.run import GitError, git
from coordinator.git.statetree import StateTree
from coordinator.ports import Commit, Conflict, ReadOnly, Slipped

#: What a ``.keep`` of the hub holds: one that says anything else is somebody's own.
KEEP = b"agentcom flush\n"

#: Names under which pack and index are written. Git reads whatever ends in .idx, and ``git gc --prune=now`` deletes
#: whatever begins with tmp_, however young.
TEMPORARY = (".agentcom-flush-pack", ".agentcom-flush-idx")

#: What an observation brings is taken into the pack of its flush up to so many objects, and bytes of content.
TAKEN_OBJECTS = 5_000
TAKEN_BYTES = 32 << 20

KINDS = {"commit": COMMIT, "tree": TREE, "blob": BLOB}

_SETTINGS = r"^(core\.(bare|logallrefupdates|sharedrepository)|extensions\.refstorage)$"
_YES = frozenset({"true", "yes", "on", "1", ""})
_NO = frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What a repository's configuration says about packs and refs: values by key, lower case."""

    values: dict[str, str]

    @classmethod
    def read(cls, repo: Repo) -> "Settings":
        """Ask git. Raises GitError."""
        out = git("config", "-z", "--get-regexp", _SETTINGS, git_dir=repo.common_dir, check=False)
        rows = (row.partition("\n") for row in out.decode("utf-8", "replace").split("\0")[:-1])
        return cls({key.lower(): value.lower() for key, _, value in rows})

    @property
    def logs(self) -> bool:
        """Whether git would begin a reflog for a branch."""
        value = self.values.get("core.logallrefupdates")
        if value is None:
            return self.values.get("core.bare", "false") in _NO
        return value == "always" or value in _YES


def why_not(repo: Repo, settings: Settings) -> str | None:
    """Return why the pack engine cannot write in this repository, None when it can."""
    if repo.object_format != "sha1":
        return f"its ids are {repo.object_format}"
    if (repo.common_dir / "reftable").is_dir() or settings.values.get("extensions.refstorage", "files") != "files":
        return "its refs are not kept as files"
    if settings.values.get("core.sharedrepository", "umask") not in _NO | {"umask"}:
        return "it is shared by a group (core.sharedRepository)"
    return None


class PackWriter:
    """Appends commits as packs of its own making; keeps ``coordinator.git.branch.Writer``."""

    def __init__(self, branch: StateBranch, settings: Settings) -> None:
        self._branch = branch
        self._settings = settings
        self._tree: StateTree | None = None
        self._at: str | None = None
        self._folders_due = True
        self._beside = ThreadPoolExecutor(2, "fsync")

    def append(self, commits: Sequence[Commit], old: str | None, at: str | None) -> str:
        """Write all commits on top of ``old`` and move the ref there from ``at``; return the new tip."""
        tree = self._tree if self._tree is not None and self._at == old else self._read_tree(old)
        self._tree = None  # what fails from here on leaves a tree that is on no branch
        pack, parents = Pack(), people_parents(commits)
        if parents and not self._take_along(pack, parents, old):
            self._branch.make_source_durable(parents, old)
        sources = [c.source for c in commits if c.source is not None]
        spines = self._read_spines(sources) if sources else []
        new = self._build(commits, old, tree, spines, pack)
        packed = pack.finish()
        if sources:
            layout = self._branch.layout
            self._branch.check_invariant(part_of(tree.spine(), layout), part_of(spines[-1], layout), sources[-1])
        self._write(packed, new, old, at)
        tree.forget()
        self._tree, self._at = tree, new
        return new

    def _read_tree(self, old: str | None) -> StateTree:
        branch = self._branch
        if old is None:
            return StateTree(self._read_trees, branch.layout)
        (commit,) = read_commits(branch.repo.common_dir, [old])
        return StateTree(self._read_trees, branch.layout, bytes.fromhex(commit.tree))

    def _read_trees(self, oids: Sequence[bytes]) -> Sequence[bytes]:
        found = read_objects(self._branch.repo.common_dir, [oid.hex() for oid in oids])
        trees = []
        for oid, item in zip(oids, found, strict=True):
            if item is None or item.type != "tree":
                raise GitError(("cat-file", "--batch"), None, f"tree {oid.hex()} is missing: run git fsck")
            trees.append(item.data)
        return trees

    def _read_spines(self, sources: Sequence[str]) -> list[Spine]:
        branch = self._branch
        spines = read_spines(branch.repo.common_dir, sources, branch.layout)
        for source, spine in zip(sources, spines, strict=True):
            branch.check_observable(source, part_of(spine, branch.layout))
        return spines

    def _take_along(self, pack: Pack, parents: Sequence[str], old: str | None) -> bool:
        """Add what people's commits bring to the pack, so that they may take it back without harm to the branch.

        False when it is too much: then it stays where they left it. Raises GitError when something is missing.
        """
        if old is None:
            return False
        folder = self._branch.repo.common_dir
        out = self._branch.git("rev-list", "--objects", "--no-object-names", *parents, "--not", old)
        oids = out.decode().split()
        heads = read_headers(folder, oids) if len(oids) <= TAKEN_OBJECTS else [None]
        if None in heads or sum(head[2] for head in heads if head is not None) > TAKEN_BYTES:
            return False
        for oid, item in zip(oids, read_objects(folder, oids), strict=True):
            if item is None or item.type not in KINDS:
                raise GitError(("cat-file", "--batch"), None, f"object {oid} is missing: run git fsck")
            pack.add(KINDS[item.type], item.data)
        return True

    def _build(
        self, commits: Sequence[Commit], old: str | None, tree: StateTree, spines: Sequence[Spine], pack: Pack
    ) -> str:
        """Add all commits to the pack; return the id of the last."""
        layout, left = self._branch.layout, iter(spines)
        tree.prepare([*layout.hub_paths, *(layout.path(path) for c in commits for path in (*c.puts, *c.deletes))])
        parent = old
        for commit in commits:
            if commit.source is not None:
                tree.observe(next(left))
            for path in commit.deletes:
                tree.delete(layout.path(path))
            for path, content in commit.puts.items():
                tree.put(layout.path(path), pack.add(BLOB, content))
            parents = [p for p in (parent, *people_parents([commit])) if p is not None]
            lines = (f"tree {tree.write(pack).hex()}\n", *(f"parent {p}\n" for p in parents))
            text = "".join(lines).encode() + stamps(commit) + b"\n" + commit.message.encode("utf-8", "replace")
            parent = pack.add(COMMIT, text).hex()
        if parent is None:
            raise ValueError("there is nothing to append")
        return parent

    def _write(self, packed: Packed, new: str, old: str | None, at: str | None) -> None:
        """Write the pack and move the ref, durably. What fails before the ref is moved leaves nothing behind."""
        branch = self._branch
        if at is None:
            with self._pack_on_disk(packed):
                branch.swap(new, old, at)
            return
        with reflock.hold(branch.repo, branch.ref) as lock:
            now = branch.tip_now()
            if now != at:
                raise branch.moved(now, old)
            lock.write(new)
            with self._pack_on_disk(packed, lock):
                self._note(old or at, new)  # what a slip left may be no object: a log must not name it
                self._commit(lock, new)
                self._fsync_ref(lock)

    @contextlib.contextmanager
    def _pack_on_disk(self, packed: Packed, lock: RefLock | None = None) -> Iterator[None]:
        """Have the pack, and what was written to ``lock``, on disk, and the pack kept from any repack meanwhile."""
        folder = self._branch.objects / "pack"
        folder.mkdir(exist_ok=True)
        keep, pack, idx = (folder / f"{packed.name}.{end}" for end in ("keep", "pack", "idx"))
        ours = [keep] if pack.exists() else [idx, pack, keep]  # the same flush again, after the ref was put back
        ours += [folder / name for name in TEMPORARY]
        try:
            with contextlib.ExitStack() as files:
                files.enter_context(_new(keep, KEEP))
                written = [
                    (files.enter_context(_new(folder / name, data)), folder / name)
                    for name, data in zip(TEMPORARY, (packed.pack, packed.idx), strict=True)
                ]
                self._fsync_beside(written if lock is None else [*written, (lock.handle, lock.path)])
            for name, path in zip(TEMPORARY, (pack, idx), strict=True):
                (folder / name).replace(path)
            fsync([folder, self._branch.objects] if self._folders_due else [folder])
            yield
        except (
            Conflict,
            Slipped,
            ReadOnly,
            GitError,
            OSError,
        ):  # after anything else it is not known what the ref names
            for path in ours:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise
        with contextlib.suppress(OSError):  # the next start removes it
            keep.unlink()

    def _fsync_beside(self, files: Sequence[tuple[int, Path]]) -> None:
        """Fsync open files at the same time. Raises Fatal when one of them fails, after all have ended."""
        running = [self._beside.submit(fsync_handle, handle, path) for handle, path in files[1:]]
        try:
            fsync_handle(*files[0])
        finally:
            wait(running)
        for future in running:
            future.result()

    def _note(self, old: str, new: str) -> None:
        branch = self._branch
        for log in (branch.ref, "HEAD") if reflock.head_names(branch.repo, branch.ref) else (branch.ref,):
            reflock.note(branch.repo, log, old, new, "agentcom: flush", create=self._settings.logs)

    def _commit(self, lock: RefLock, new: str) -> None:
        """Let the ref name ``new``; whatever the system answers, the ref itself is what counts."""
        try:
            lock.commit()
        except OSError:
            if self._branch.tip_now() != new:
                raise

    def _fsync_ref(self, lock: RefLock) -> None:
        if lock.made_folder or self._folders_due:
            self._branch.fsync_ref()
            self._folders_due = False
        else:
            fsync([lock.path.parent])


@contextlib.contextmanager
def _new(path: Path, content: bytes) -> Iterator[int]:
    """Make a file that nobody will write to again, as git makes packs; yield it open."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    try:
        write_all(handle, content)
        yield handle
    finally:
        os.close(handle)

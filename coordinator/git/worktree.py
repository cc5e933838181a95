"""One work tree as it stands: which branch is checked out, what is under way, which files HEAD does not have like that.

This module decides what git would call an edit, for the files that AgentCom reads. It reads and hashes; no command here
refreshes, locks or writes an index, and nothing is written anywhere else. While no file, no index and no HEAD has
changed, looking again costs a ``stat`` for each file and no process. It does not know what an edit means.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator.git.parts import Layout
from coordinator.git.repo import GitSource, Repo, head_ref, read_ref
from coordinator.git.run import GitError, git
from coordinator.ports import Edit, Entry, Saved

_POLICY, _BACKLOG = "agentcom.yaml", "BACKLOG.md"
#: The mode of a symbolic link in a tree.
_LINK = "120000"
_FOLDERS = ("tasks", "agents")
#: Held by git while it writes the index.
INDEX_LOCK = "index.lock"
#: Files of the git dir that say what is under way, in the words of a message.
_UNDER_WAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "BISECT_LOG": "a bisect",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "sequencer": "a cherry-pick or revert",
    INDEX_LOCK: "another git command",
}
#: A file changed so lately (seconds) may change again without its times showing it: it is read again at the next look.
_RACY_S = 2.0
#: How long git may take here, in seconds: filters are programs of the person's.
_TIMEOUT_S = 10.0
#: So often git is asked to go on behind a file that it cannot convert; of the others it is then not known.
_STOPS = 20
#: Not more than this of BACKLOG.md is handed on, in bytes; a reader with a lower limit sees that it is too large.
_MOST = 4 * 1024 * 1024

#: What a file looks like without reading it: kind, times in ns, size, inode.
_Sight = tuple[int, int, int, int, int]


def under_way(repo: Repo) -> tuple[str, str] | None:
    """Return what git is in the middle of in this work tree, and the file that says so; None when nothing is."""
    for name, what in _UNDER_WAY.items():
        if os.path.lexists(repo.git_dir / name):
            return what, name
    return None


def head_of(repo: Repo) -> tuple[str | None, str | None]:
    """Return the ref that HEAD names (None: detached) and the commit there (None: no commit yet), without a process."""
    if (repo.common_dir / "reftable").is_dir():
        ref = head_ref(repo)
        return ref, read_ref(repo, ref or "HEAD")
    said = (repo.git_dir / "HEAD").read_text(encoding="utf-8", errors="surrogateescape").strip()
    if not said.startswith("ref:"):
        return None, said
    ref = said.removeprefix("ref:").strip()
    return ref, read_ref(repo, ref)


@dataclass(frozen=True, slots=True)
class _Glance:
    """Everything that can be told without reading a file; equal ones mean that nothing has happened."""

    head: str | None
    commit: str | None
    files: Mapping[str, _Sight]
    rules: tuple[_Sight | None, ...]
    busy: str


class SavedFiles:
    """The files of one work tree that AgentCom reads: BACKLOG.md, agentcom.yaml, tasks/*.yaml, agents/*.yaml.

    Remembers what it has hashed. Not safe for two threads at once.
    """

    def __init__(self, repo: Repo, root: str = ".") -> None:
        self._repo = repo
        self._layout = Layout.of(root)
        self._source = GitSource(repo, "refs/heads/none", root)
        self._last: tuple[_Glance, Saved] | None = None
        self._hashed: dict[str, tuple[_Sight, str]] = {}
        self._entries: tuple[str | None, Mapping[str, Entry]] = (None, {})

    def look(self) -> Saved:
        """Return what is saved and not committed; the same object as long as nothing has changed.

        In a bare repository that is nothing. Raises GitError and OSError when the repository cannot be read.
        """
        if self._repo.work_tree is None:
            return Saved(None)
        begun = time.time_ns()
        glance = self._glance(self._repo.work_tree)
        if self._last is not None and self._last[0] == glance:
            return self._last[1]
        saved = self._read(self._repo.work_tree, glance)
        racy = {key for key, sight in glance.files.items() if _is_racy(sight, begun)}
        for key in racy:
            self._hashed.pop(key, None)
        self._last = None if racy else (glance, saved)
        return saved

    # --- looking without reading

    def _glance(self, top: Path) -> _Glance:
        head, commit = head_of(self._repo)
        busy = under_way(self._repo)
        what = "" if busy is None or busy[1] == INDEX_LOCK else busy[0]
        return _Glance(head, commit, self._scan(top), self._rules(top), what)

    def _scan(self, top: Path) -> dict[str, _Sight]:
        """Return what each file looks like, by the key that ``GitSource.entries`` gives it. Links are not followed."""
        found: dict[str, _Sight] = {}
        _add(found, _POLICY, top / _POLICY)
        base = top
        for part in self._layout.root.split("/") if self._layout.root else ():
            base = base / part
            if base.is_symlink():
                return found
        _add(found, _BACKLOG, base / _BACKLOG)
        for folder in _FOLDERS:
            inside = base / folder
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if not inside.is_symlink():
                    with os.scandir(inside) as rows:  # of perhaps thousands of files: no Path for each
                        for row in rows:
                            if _is_meant(row.name):
                                _add(found, f"{folder}/{row.name}", row.path)
        return found

    def _rules(self, top: Path) -> tuple[_Sight | None, ...]:
        """Return what the files look like by which git decides what counts as an edit."""
        common = self._repo.common_dir
        base = top / self._layout.root
        folders = dict.fromkeys((top, base, *(base / folder for folder in _FOLDERS)))
        files = [folder / name for folder in folders for name in (".gitignore", ".gitattributes")]
        files += [common / "info" / "exclude", common / "info" / "attributes", common / "config"]
        files += [self._repo.git_dir / "config.worktree", self._repo.git_dir / "index"]
        return tuple(_sight(path) for path in files)

    # --- reading what has changed

    def _read(self, top: Path, glance: _Glance) -> Saved:
        heads = self._heads(glance.commit)
        raw = {key: self._raw_id(top, key, sight) for key, sight in glance.files.items()}
        self._hashed = {key: known for key, known in self._hashed.items() if key in raw}
        suspects = [
            key
            for key in sorted({*heads, *raw})
            if key not in heads or key not in raw or not _same(heads[key], glance.files[key], raw[key])
        ]
        edits = self._edits(top, glance, heads, raw, suspects) if suspects else ()
        return Saved(glance.head, glance.busy, edits, self._blob(heads.get(_POLICY)) if edits else b"")

    def _heads(self, commit: str | None) -> Mapping[str, Entry]:
        """Return the files in question as HEAD has them."""
        if commit is None:
            return {}
        if self._entries[0] != commit:
            found = self._source.entries(commit)
            self._entries = commit, {key: entry for key, entry in found.items() if _is_read(key, entry)}
        return self._entries[1]

    def _raw_id(self, top: Path, key: str, sight: _Sight) -> str:
        """Return the blob id of a file's bytes as they stand, "" when they cannot be read."""
        known = self._hashed.get(key)
        if known is not None and known[0] == sight:
            return known[1]
        try:
            oid = _hash(top / self._path(key), self._repo.object_format)
        except OSError:
            oid = ""
        self._hashed[key] = sight, oid
        return oid

    def _edits(
        self,
        top: Path,
        glance: _Glance,
        heads: Mapping[str, Entry],
        raw: Mapping[str, str],
        suspects: Sequence[str],
    ) -> tuple[Edit, ...]:
        """Return the suspects that git calls edits too: it may convert, ignore, or have been told not to look."""
        tags = self._tags(top)
        there = [key for key in suspects if key in raw]
        stored = self._stored(top, [key for key in there if stat.S_ISREG(glance.files[key][0])])
        clean = {key for key, oid in stored.items() if key in heads and _would_be(heads[key], oid)}
        ignored = self._ignored(top, [key for key in there if key not in heads and self._path(key) not in tags])
        edits = []
        for key in suspects:
            path = self._path(key)
            if key in clean or key in ignored or _is_hidden(tags.get(path, "")):
                continue
            kind = "new" if key not in heads else "changed" if key in raw else "removed"
            before = after = b""
            if key == _BACKLOG:
                before = self._blob(heads.get(key))
                after = self._content(top, key, converted=stored[key] != raw[key]) if key in stored else b""
            edits.append(Edit(path, kind, path in tags, before, after, raw.get(key, "")))
        return tuple(edits)

    def _tags(self, top: Path) -> dict[str, str]:
        """Return, for each of our paths in the index, git's tag: ``S`` and small letters mean that it does not look."""
        wanted = (_POLICY, *(self._layout.path(name) for name in (_BACKLOG, *_FOLDERS)))
        out = git("ls-files", "-v", "-z", "--", *wanted, cwd=top, timeout=_TIMEOUT_S)
        rows = (row.decode("utf-8", "backslashreplace") for row in out.split(b"\0")[:-1])
        return {row[2:]: row[0] for row in rows}

    def _blob(self, entry: Entry | None) -> bytes:
        return b"" if entry is None else self._source.blobs((entry.oid,)).get(entry.oid, b"")

    def _stored(self, top: Path, keys: Sequence[str]) -> dict[str, str]:
        """Return the ids under which git would store these files, filters and line ends applied.

        The id is "" where git cannot tell: a filter that fails, a file that has just gone. Git stops at such a file, so
        it is asked again for those behind it.
        """
        stored = dict.fromkeys(keys, "")
        rest = list(keys)
        for _ in range(_STOPS):
            if not rest:
                break
            ids = self._hash_object(top, rest, check=False).decode().split()
            stored.update(zip(rest, ids, strict=False))
            rest = rest[len(ids) + 1 :]
        return stored

    def _ignored(self, top: Path, keys: Sequence[str]) -> set[str]:
        """Return those of these files that git was told to ignore."""
        if not keys:
            return set()
        names = {self._path(key).encode(): key for key in keys}
        asked = b"".join(name + b"\0" for name in names)
        plain = {"GIT_LITERAL_PATHSPECS": "0"}  # this command refuses to run with it
        try:
            out = git("check-ignore", "-z", "--stdin", cwd=top, input=asked, env=plain, timeout=_TIMEOUT_S)
        except GitError as error:
            if error.code == 1:  # none of them
                return set()
            raise
        return {names[name] for name in out.split(b"\0") if name in names}

    def _content(self, top: Path, key: str, *, converted: bool) -> bytes:
        """Return what a commit of this file would hold; ``converted`` tells that this is not what stands there."""
        if converted:
            with contextlib.suppress(GitError, OSError, zlib.error), tempfile.TemporaryDirectory() as folder:
                # git converts only what it stores: let it, out of the way
                oid = self._hash_object(top, [key], "-w", env={"GIT_OBJECT_DIRECTORY": folder}).decode().strip()
                stored = zlib.decompress((Path(folder) / oid[:2] / oid[2:]).read_bytes())
                return stored.partition(b"\0")[2][:_MOST]
        with contextlib.suppress(OSError), (top / self._path(key)).open("rb") as file:
            return file.read(_MOST)
        return b""

    def _hash_object(
        self, top: Path, keys: Sequence[str], *more: str, env: Mapping[str, str] | None = None, check: bool = True
    ) -> bytes:
        asked = "".join(f"{self._path(key)}\n" for key in keys).encode()
        # to store what cannot be converted back is the person's decision, to be made when they commit
        config = ("core.safecrlf=false",)
        how = ("hash-object", *more, "--stdin-paths")
        return git(*how, cwd=top, input=asked, config=config, env=env, timeout=_TIMEOUT_S, check=check)

    def _path(self, key: str) -> str:
        return key if key == _POLICY else self._layout.path(key)


def _is_meant(name: str) -> bool:
    """Tell whether a file in tasks/ or agents/ is one to speak of: no editor's lock, nothing that cannot be shown."""
    return name.endswith(".yaml") and not name.startswith(".") and name.isprintable() and "\\" not in name


def _is_read(key: str, entry: Entry) -> bool:
    """Tell whether an entry of a commit is a file (or a link) that is looked for in the work tree."""
    folder, _, name = key.rpartition("/")
    return entry.size >= 0 and (key in (_POLICY, _BACKLOG) or (folder in _FOLDERS and _is_meant(name)))


def _same(head: Entry, sight: _Sight, oid: str) -> bool:
    """Tell whether a file holds, byte for byte, what HEAD holds; whether it may be executed is no edit."""
    return head.oid == oid and (head.mode == _LINK) == stat.S_ISLNK(sight[0])


def _would_be(head: Entry, oid: str) -> bool:
    """Tell whether a plain file that git would store under ``oid`` is what HEAD has."""
    return head.oid == oid and head.mode != _LINK


def _is_hidden(tag: str) -> bool:
    """Tell whether the index says not to look at a file: skip-worktree (sparse) or assume-unchanged."""
    return tag == "S" or tag.islower()


def _add(found: dict[str, _Sight], key: str, path: str | Path) -> None:
    """Note a plain file or a link; anything else is no file for git either."""
    sight = _sight(path)
    if sight is not None and (stat.S_ISREG(sight[0]) or stat.S_ISLNK(sight[0])):
        found[key] = sight


def _sight(path: str | Path) -> _Sight | None:
    try:
        seen = os.lstat(path)
    except OSError:
        return None
    return stat.S_IFMT(seen.st_mode), seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino


def _is_racy(sight: _Sight, now_ns: int) -> bool:
    return abs(now_ns - max(sight[1], sight[2])) < _RACY_S * 1e9


def _hash(path: Path, algorithm: str) -> str:
    """Return the blob id of a file's bytes, or of where a link leads. Raises OSError."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    if path.is_symlink():
        target = os.fsencode(path.readlink())
        digest.update(b"blob %d\0" % len(target) + target)
        return digest.hexdigest()
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        digest.update(b"blob %d\0" % os.fstat(handle).st_size)
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()

"""The tree of the state branch in memory, so that a commit costs only the folders that it changes.

This module decides what putting, deleting and observing make of a tree, byte for byte as ``git fast-import`` would:
what is in the way of a path gives way, a folder that becomes empty is dropped. Folders are read when they are first
needed and stay known from one flush to the next. It knows no ref, and of the repository only a function that reads
trees.
"""

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence

from coordinator.git.objects import TREE_MODE, Object, TreeEntry, parse_tree
from coordinator.git.pack import TREE, Pack
from coordinator.git.parts import Layout, Spine

#: How many folders stay known; beyond that those that the last flush did not touch are forgotten (old days).
MAX_FOLDERS = 64

_FOLDER = TREE_MODE.encode()
_FILE = b"100644"

#: Returns the contents of trees by their ids (20 bytes each), in order.
ReadTrees = Callable[[Sequence[bytes]], Sequence[bytes]]


class _Folder:
    """One folder: its rows as git sorts them, and what is known of the folders in it.

    ``oid`` and ``raw`` are the tree as it was written last; ``changed`` names the folders below that differ from it.
    """

    __slots__ = ("changed", "children", "keys", "oid", "raw", "rows", "turn")

    def __init__(self, oid: bytes | None = None, raw: bytes = b"") -> None:
        self.oid = oid
        self.raw = raw
        self.keys: list[bytes] = []
        self.rows: list[bytes] = []
        self.children: dict[bytes, _Folder] = {}
        self.changed: set[bytes] = set()
        self.turn = 0

    @classmethod
    def read(cls, oid: bytes, raw: bytes) -> "_Folder":
        folder = cls(oid, raw)
        for name, entry in parse_tree(Object(oid.hex(), "tree", raw)).items():
            folder.set(_encoded(name), entry.mode.encode(), bytes.fromhex(entry.oid))
        return folder

    @property
    def empty(self) -> bool:
        return not self.rows and not self.changed

    def set(self, name: bytes, mode: bytes, oid: bytes) -> None:
        """Write the row of ``name``, whatever stood there."""
        key, other = (name + b"/", name) if mode == _FOLDER else (name, name + b"/")
        self._drop_row(other)
        row = b"%s %s\0%s" % (mode, name, oid)
        at = bisect.bisect_left(self.keys, key)
        if at < len(self.keys) and self.keys[at] == key:
            self.rows[at] = row
        else:
            self.keys.insert(at, key)
            self.rows.insert(at, row)

    def remove(self, name: bytes) -> None:
        """Forget ``name``, file or folder."""
        self._drop_row(name)
        self._drop_row(name + b"/")
        self.children.pop(name, None)
        self.changed.discard(name)

    def folder_oid(self, name: bytes) -> bytes | None:
        """Return the id of the folder ``name`` as its row says, None when there is no such row."""
        key = name + b"/"
        at = bisect.bisect_left(self.keys, key)
        return self.rows[at][-20:] if at < len(self.keys) and self.keys[at] == key else None

    def _drop_row(self, key: bytes) -> None:
        at = bisect.bisect_left(self.keys, key)
        if at < len(self.keys) and self.keys[at] == key:
            del self.keys[at], self.rows[at]


class StateTree:
    """The tree as it stands after the changes made so far; ``write`` turns it into objects."""

    def __init__(self, read: ReadTrees, layout: Layout, root: bytes | None = None) -> None:
        self._read = read
        self._layout = layout
        self._turn = 0
        self._root = _Folder() if root is None else _Folder.read(root, read([root])[0])

    def prepare(self, paths: Iterable[str]) -> None:
        """Read the folders above these paths (of the repository) that are there and not known yet, level by level.

        Must be called with all paths of a flush before any of them is changed.
        """
        self._turn += 1
        ways = [_encoded(path).split(b"/")[:-1] for path in paths]
        while missing := self._missing(ways):
            for (folder, name, oid), raw in zip(missing, self._read([oid for *_, oid in missing]), strict=True):
                folder.children[name] = _Folder.read(oid, raw)

    def put(self, path: str, oid: bytes) -> None:
        """Let the blob ``oid`` stand at ``path``."""
        *way, name = _encoded(path).split(b"/")
        folder = self._root
        for part in way:
            below = folder.children.get(part)
            if below is None:
                _check_prepared(folder, part, path)
                below = folder.children[part] = _Folder()
                below.turn = self._turn
            folder.changed.add(part)
            folder = below
        folder.children.pop(name, None)
        folder.changed.discard(name)
        folder.set(name, _FILE, oid)

    def delete(self, path: str) -> None:
        """Remove the file or folder at ``path``, and every folder that this leaves empty."""
        *way, name = _encoded(path).split(b"/")
        line = [self._root]
        for part in way:
            below = line[-1].children.get(part)
            if below is None:
                _check_prepared(line[-1], part, path)
                return
            line.append(below)
        line[-1].remove(name)
        for folder, part in zip(line[-2::-1], reversed(way), strict=True):
            below = folder.children[part]
            if below.empty:
                folder.remove(part)
            else:
                folder.changed.add(part)

    def observe(self, spine: Spine) -> None:
        """Let the people's part be that of the source whose spine this is; the hub's folders stay."""
        self._root = self._observed("", self._root, spine)

    def write(self, pack: Pack) -> bytes:
        """Add what has changed since the last call to ``pack``; return the id of the whole tree."""
        return self._written(self._root, pack)

    def spine(self) -> Spine:
        """Return the spine of the tree as it was written last, read back from the bytes of its objects."""
        found: dict[str, Mapping[str, TreeEntry]] = {}
        for path in self._layout.spine:
            folder: _Folder | None = self._root
            for part in _encoded(path).split(b"/") if path else ():
                folder = folder.children.get(part) if folder is not None else None
            if folder is not None and folder.oid is not None:
                found[path] = parse_tree(Object(folder.oid.hex(), "tree", folder.raw))
        return found

    def forget(self) -> None:
        """Let go of folders that were not needed since ``prepare``, when too many are known."""
        if _count(self._root) > MAX_FOLDERS:
            self._forget(self._root)

    def _missing(self, ways: Sequence[Sequence[bytes]]) -> list[tuple[_Folder, bytes, bytes]]:
        """Return the first unknown folder on each way: where it hangs, its name, its id."""
        missing: dict[tuple[int, bytes], tuple[_Folder, bytes, bytes]] = {}
        for way in ways:
            folder = self._root
            for name in way:
                below = folder.children.get(name)
                if below is None:
                    oid = folder.folder_oid(name)
                    if oid is not None:
                        missing[id(folder), name] = (folder, name, oid)
                    break
                below.turn = self._turn
                folder = below
        return list(missing.values())

    def _observed(self, path: str, old: _Folder, spine: Spine) -> _Folder:
        """Return the folder ``path`` with the people's rows of the source and the hub's own as they stood."""
        layout = self._layout
        new = _Folder(old.oid, old.raw)
        new.turn = self._turn
        for leaf, entry in spine.get(path, {}).items():
            below = f"{path}/{leaf}" if path else leaf
            if below not in layout.hub_paths and below not in layout.spine:
                new.set(_encoded(leaf), entry.mode.encode(), bytes.fromhex(entry.oid))
        for below in (*layout.hub_paths, *layout.spine):
            above, _, leaf = below.rpartition("/")
            if not below or above != path:
                continue
            name = _encoded(leaf)
            if below in layout.spine:
                child = self._observed(below, old.children.get(name) or _Folder(), spine)
                if not child.empty:
                    new.children[name] = child
                    new.changed.add(name)
                continue
            oid = old.folder_oid(name)
            if oid is not None:
                new.set(name, _FOLDER, oid)
            if name in old.children:
                new.children[name] = old.children[name]
            if name in old.changed:
                new.changed.add(name)
        return new

    def _written(self, folder: _Folder, pack: Pack) -> bytes:
        for name in sorted(folder.changed):
            folder.set(name, _FOLDER, self._written(folder.children[name], pack))
        folder.changed.clear()
        raw = b"".join(folder.rows)
        if folder.oid is None or raw != folder.raw:
            base = None if folder.oid is None else (folder.oid, folder.raw)
            folder.oid, folder.raw = pack.add(TREE, raw, base), raw
        return folder.oid

    def _forget(self, folder: _Folder) -> None:
        for name, child in list(folder.children.items()):
            if child.turn == self._turn:
                self._forget(child)
            else:
                del folder.children[name]


def _check_prepared(folder: _Folder, name: bytes, path: str) -> None:
    if folder.folder_oid(name) is not None:
        raise LookupError(f"{path} was not prepared: what else stands in its folder would be lost")


def _count(folder: _Folder) -> int:
    return 1 + sum(_count(child) for child in folder.children.values())


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")

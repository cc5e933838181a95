"""Read git objects as values: trees, commits and blobs, many in one process.

This module decides how bytes become entries and commits. It knows no branch and no folder of AgentCom. Names of files
that are no UTF-8 keep their bytes (surrogateescape), so that two of them never become one. People push what their
tools wrote: a commit is always read as something, only a tree may be beyond reading (GitError).
"""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator.git.run import GitError, git

#: The mode of a folder in a tree.
TREE_MODE = "40000"
#: Modes as git itself writes them, and the type of object that each must name; a submodule's lies elsewhere.
MODES = {TREE_MODE: "tree", "100644": "blob", "100755": "blob", "120000": "blob", "160000": None}

#: Names of encodings that Python knows and no commit means: they fail, run long, or give half characters.
_NO_TEXT = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "utf-7"})
_SECONDS = re.compile(rb"-?\d{1,15}")


@dataclass(frozen=True, slots=True)
class Object:
    """One object as stored: its id, its type (blob, tree, commit, tag) and its content."""

    oid: str
    type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One row of a tree: mode as git stores it (``100644``, ``40000``) and object id."""

    mode: str
    oid: str

    @property
    def is_folder(self) -> bool:
        return self.mode == TREE_MODE


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who and when: a line ``author`` or ``committer``; time in ms since the epoch (git keeps whole seconds)."""

    name: str
    email: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class CommitObject:
    """One commit, read."""

    oid: str
    tree: str
    parents: tuple[str, ...]
    author: Stamp
    committer: Stamp
    message: str

    @property
    def subject(self) -> str:
        return self.message.lstrip("\n").split("\n", 1)[0]


def read_blobs(git_dir: Path, oids: Sequence[str], largest: int | None = None) -> dict[str, bytes]:
    """Return contents by id; what is not there, no blob, or over ``largest`` bytes is left out.

    Raises GitError when the repository cannot be read.
    """
    if largest is not None:
        heads = read_headers(git_dir, oids)
        oids = [oid for oid, head in zip(oids, heads, strict=True) if head is not None and head[2] <= largest]
    rows = zip(oids, read_objects(git_dir, oids), strict=True)
    return {oid: item.data for oid, item in rows if item is not None and item.type == "blob"}


def read_objects(git_dir: Path, names: Sequence[str]) -> list[Object | None]:
    """Return one object for each name (``<id>``, ``<commit>:<path>``), None where there is none.

    Names must not contain a line break. Raises GitError when the repository cannot be read.
    """
    if not names:
        return []
    asked = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
    out = git("cat-file", "--batch", git_dir=git_dir, input=asked)
    found: list[Object | None] = []
    at = 0
    for _ in names:
        end = out.index(b"\n", at)
        head = out[at:end].rsplit(b" ", 2)
        at = end + 1
        if len(head) == 3 and head[2].isdigit():
            size = int(head[2])
            found.append(Object(head[0].decode(), head[1].decode(), out[at : at + size]))
            at += size + 1
        else:
            found.append(None)
    return found


def read_headers(git_dir: Path, names: Sequence[str]) -> list[tuple[str, str, int] | None]:
    """Return (id, type, size in bytes) of the object that each name means, None where there is none.

    Nothing of the contents is read. Names must not contain a line break. Raises GitError.
    """
    if not names:
        return []
    asked = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
    out = git("cat-file", "--batch-check", git_dir=git_dir, input=asked)
    rows = (line.rsplit(" ", 2) for line in out.decode("utf-8", "replace").split("\n")[:-1])
    return [(row[0], row[1], int(row[2])) if len(row) == 3 and row[2].isdigit() else None for row in rows]


def parse_tree(tree: Object) -> dict[str, TreeEntry]:
    """Return the rows of one tree object by name. Raises GitError when it is cut off."""
    size = len(tree.oid) // 2
    rows: dict[str, TreeEntry] = {}
    at = 0
    while at < len(tree.data):
        space = tree.data.find(b" ", at)
        zero = tree.data.find(b"\0", space)
        if space < 0 or zero < 0 or zero + 1 + size > len(tree.data):
            raise GitError(("cat-file", "--batch"), None, f"tree {tree.oid} is damaged: run git fsck")
        name = tree.data[space + 1 : zero].decode("utf-8", "surrogateescape")
        mode = tree.data[at:space].decode("ascii", "replace")
        rows[name] = TreeEntry(mode, tree.data[zero + 1 : zero + 1 + size].hex())
        at = zero + 1 + size
    return rows


def parse_commit(commit: Object) -> CommitObject:
    """Return one commit object as a value; what cannot be decoded is replaced, what is missing is empty."""
    head, _, message = commit.data.partition(b"\n\n")
    fields: dict[str, list[bytes]] = {}
    for line in head.split(b"\n"):
        if not line.startswith(b" "):  # continuation lines belong to signatures, which nobody reads here
            key, _, value = line.partition(b" ")
            fields.setdefault(key.decode("ascii", "replace"), []).append(value)
    encoding = fields.get("encoding", [b"utf-8"])[0].decode("ascii", "replace")
    return CommitObject(
        oid=commit.oid,
        tree=fields.get("tree", [b""])[0].decode("ascii", "replace"),
        parents=tuple(parent.decode("ascii", "replace") for parent in fields.get("parent", [])),
        author=_stamp(fields.get("author", [b""])[0], encoding),
        committer=_stamp(fields.get("committer", [b""])[0], encoding),
        message=_text(message, encoding),
    )


def read_commits(git_dir: Path, oids: Sequence[str]) -> list[CommitObject]:
    """Return the commits with these ids, in order. Raises GitError when one of them is missing."""
    return as_commits(oids, read_objects(git_dir, oids))


def as_commits(oids: Sequence[str], found: Sequence[Object | None]) -> list[CommitObject]:
    """Return what was found under these ids as commits. Raises GitError when one of them is missing."""
    commits = []
    for oid, item in zip(oids, found, strict=True):
        if item is None or item.type != "commit":
            raise GitError(("cat-file", "--batch"), None, f"commit {oid} is missing: run git fsck")
        commits.append(parse_commit(item))
    return commits


def _stamp(line: bytes, encoding: str) -> Stamp:
    name, _, rest = line.partition(b"<")
    email, _, when = rest.rpartition(b">")
    words = when.split()
    seconds = int(words[0]) if words and _SECONDS.fullmatch(words[0]) else 0
    return Stamp(_text(name, encoding).strip(), _text(email, encoding).strip(), seconds * 1000)


def _text(data: bytes, encoding: str) -> str:
    try:
        codec = codecs.lookup(encoding)
        if codec.name not in _NO_TEXT:
            return data.decode(codec.name, "replace")
    except (LookupError, ValueError):
        pass  # an encoding that there is not, or that is none of text
    return data.decode("utf-8", "replace")

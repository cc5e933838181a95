"""What the next commit would hold, and what HEAD holds, as sources: the index is read, never refreshed.

In a hook git names the index of the commit under way in GIT_INDEX_FILE, which need not be the one of the work tree
(``git commit -- FILE``). This module judges nothing.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from coordinator.git.objects import read_blobs
from coordinator.git.parts import Layout
from coordinator.git.repo import GitSource, Repo
from coordinator.git.run import git
from coordinator.ports import Entry, Version

_FOLDER = Entry("040000", "", -1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of people's files as a source without commits: ``files`` are the keys of ports.Source.entries."""

    repo: Repo
    files: Mapping[str, Entry]

    def tip(self) -> str | None:
        return None

    def needs_observation(self, commit: str, observed: str | None) -> bool:
        return True

    def entries(self, commit: str) -> Mapping[str, Entry]:
        return self.files

    def strays(self, commit: str) -> tuple[str, ...]:
        return ()

    def blobs(self, oids: tuple[str, ...], largest: int | None = None) -> Mapping[str, bytes]:
        return read_blobs(self.repo.common_dir, oids, largest)

    def backlog_versions(self, commit: str, observed: str | None) -> tuple[str, ...]:
        return ()

    def authors(self, commit: str, observed: str | None) -> Mapping[str, Version]:
        return {}


def in_index(repo: Repo, root: str = ".") -> Snapshot:
    """Return people's files as the next commit would hold them. Files that are only meant to be added are not there."""
    layout = Layout.of(root)
    wanted = ("agentcom.yaml", *(layout.path(name) for name in ("BACKLOG.md", "tasks", "agents")))
    empty = _git(repo, "hash-object", "-t", "tree", "--stdin").decode().strip()
    out = _git(repo, "diff-index", "--cached", "--ita-invisible-in-index", "--no-renames", "-z", empty, "--", *wanted)
    heads = out.split(b"\0")
    found: dict[str, tuple[str, str]] = {}
    for head, raw in zip(heads[:-1:2], heads[1::2], strict=True):
        _, mode, _, oid, _ = head.decode().split(" ")
        path = raw.decode("utf-8", "backslashreplace")
        found[path] = mode, oid
    sizes = _sizes(repo, (oid for _, oid in found.values()))
    files: dict[str, Entry] = {}
    for path, (mode, oid) in found.items():
        key = path if path == "agentcom.yaml" else layout.relative(path)
        if key is None:
            continue
        parts = key.split("/")
        files["/".join(parts[:2])] = Entry(mode, oid, sizes.get(oid, -1)) if len(parts) < 3 else _FOLDER
    return Snapshot(repo, files)


def in_head(repo: Repo, root: str = ".") -> Snapshot:
    """Return people's files as HEAD holds them, none when there is no commit yet."""
    head = _git(repo, "rev-parse", "--verify", "--quiet", "HEAD", check=False).decode().strip()
    return Snapshot(repo, GitSource(repo, "HEAD", root).entries(head) if head else {})


def _sizes(repo: Repo, oids: Iterable[str]) -> dict[str, int]:
    asked = "".join(f"{oid}\n" for oid in dict.fromkeys(oids)).encode()
    out = _git(repo, "cat-file", "--batch-check=%(objectname) %(objectsize)", data=asked).decode()
    rows = (line.split(" ") for line in out.splitlines())
    return {oid: int(size) for oid, size in rows if size.isdigit()}


def _git(repo: Repo, *argv: str, data: bytes = b"", check: bool = True) -> bytes:
    named = os.environ.get("GIT_INDEX_FILE")
    env = {"GIT_INDEX_FILE": str(Path.cwd() / named)} if named else None
    return git(*argv, cwd=repo.work_tree or repo.common_dir, input=data, env=env, check=check)

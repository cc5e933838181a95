"""The plain engine: one ``git fast-import`` per flush. It works in every repository that git can write.

This module decides how commits are told to fast-import. ``refs/agentcom/flush`` is its own scratch ref, which may be
left behind anywhere without harm. One flush: tell fast-import all commits (objects fsynced, packed, named by the
scratch ref), fsync the pack folder, move the state ref by compare-and-swap, look at the ref itself, fsync its folder.
"""

import re
from collections.abc import Iterable, Sequence

from coordinator.git.branch import StateBranch, people_parents, stamps
from coordinator.git.durable import fsync
from coordinator.git.parts import Part, people_parts
from coordinator.git.repo import read_ref
from coordinator.git.run import GitError
from coordinator.ports import Commit

#: Named by fast-import before its pack loses its protection, so that no repack can drop what the branch will name.
SCRATCH_REF = "refs/agentcom/flush"

_TEMPORARY = re.compile(r"/objects/pack/(tmp_(?:pack|idx)_\w+)")


class PlainWriter:
    """Appends commits by ``git fast-import`` and ``git update-ref``; keeps ``coordinator.git.branch.Writer``."""

    def __init__(self, branch: StateBranch) -> None:
        self._branch = branch

    def append(self, commits: Sequence[Commit], old: str | None, at: str | None) -> str:
        """Write all commits on top of ``old`` and move the ref there from ``at``; return the new tip."""
        branch = self._branch
        if parents := people_parents(commits):
            branch.make_source_durable(parents, old)
        try:
            new = self._import(commits, old)
        except GitError as error:
            self._remove_traces(error)
            raise
        if sources := [c.source for c in commits if c.source is not None]:
            ours, theirs = people_parts(branch.repo.common_dir, (new, sources[-1]), branch.layout)
            branch.check_invariant(ours, theirs, sources[-1])
        fsync([branch.objects / "pack", branch.objects])
        branch.swap(new, old, at)
        return new

    def _import(self, commits: Sequence[Commit], old: str | None) -> str:
        """Write all commits as one pack, named by the scratch ref only; return the id of the last."""
        stream = b"".join(self._stream(commits, old))
        out = self._branch.git("fast-import", "--quiet", "--force", "--done", data=stream)
        new = out.decode("ascii", "replace").strip()
        if read_ref(self._branch.repo, SCRATCH_REF) != new:  # it answers before it moves the ref, and may not move it
            raise GitError(("fast-import",), None, f"cannot lock ref {SCRATCH_REF}: it was not moved to {new[:80]!r}")
        return new

    def _stream(self, commits: Sequence[Commit], old: str | None) -> Iterable[bytes]:
        branch, layout = self._branch, self._branch.layout
        observed = [c.source for c in commits if c.source is not None]
        needed = [c for c in (old, *observed) if c is not None] if observed else []  # no process for most flushes
        parts = people_parts(branch.repo.common_dir, needed, layout)
        people: Part = parts.pop(0) if parts and old is not None else {}
        parent = old
        for number, commit in enumerate(commits, 1):
            yield b"commit %s\nmark :%d\n" % (SCRATCH_REF.encode(), number)
            yield stamps(commit)
            yield _data(commit.message.encode("utf-8", "replace"))
            first = parent is None
            if parent is not None:
                yield f"from {parent}\n".encode()
            elif commit.source is not None:
                yield f"from {commit.source}\n".encode()
            if commit.source is not None:
                part = parts.pop(0)
                branch.check_observable(commit.source, part)
                if first:
                    yield from (_delete(folder) for folder in layout.hub_paths)
                else:
                    yield f"merge {commit.source}\n".encode()
                    yield from _change(people, part)
                people = part
            elif commit.slip is not None and commit.slip.parent is not None:
                yield f"merge {commit.slip.parent}\n".encode()
            yield from (_delete(layout.path(path)) for path in commit.deletes)
            for path, content in commit.puts.items():
                yield b"M 100644 inline %s\n%s" % (_quote(layout.path(path)), _data(content))
            parent = f":{number}"
        yield b"get-mark %s\ndone\n" % (parent or "").encode()

    def _remove_traces(self, error: GitError) -> None:
        """Remove what a failed fast-import leaves, so that trying again for an hour does not fill the disk further."""
        for name in _TEMPORARY.findall(error.stderr):
            (self._branch.objects / "pack" / name).unlink(missing_ok=True)
        if error.pid:
            (self._branch.repo.common_dir / f"fast_import_crash_{error.pid}").unlink(missing_ok=True)


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

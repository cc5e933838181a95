"""What is saved and not committed -> one line for each file, what to do about it, and the subject of its commit.

Items of BACKLOG.md are counted as the hub would take them: read by the same reader, matched by the same rules of
identity, so that a line moved is no line removed and added. This module knows no repository and reads nothing.
"""

import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from coordinator.core.backlog import BacklogMap, MapEntry, carry
from coordinator.core.order import longest_rise
from coordinator.core.policy import Policy
from coordinator.files import loader, markdown
from coordinator.files.observe import BACKLOG, POLICY
from coordinator.ports import Edit, Saved

#: So many files get a line each, and stand in the command to copy; of more only the number is said.
SHOWN = 10
#: What may have become of a file, in the order of a subject.
_KINDS = ("new", "changed", "removed")
#: The branches of the hub.
_HUB_BRANCHES = "refs/heads/agentcom/"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing about the work tree: ``text`` says it, ``what`` is new, changed, removed, or checked_out (of HEAD)."""

    path: str
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Uncommitted:
    """What the hub does not see although it is saved; ``hint`` says what to do, with a command to copy in backticks."""

    lines: tuple[Line, ...] = ()
    hint: str = ""

    def __str__(self) -> str:
        """Return all of it in one line, "" when everything saved is committed."""
        more = len(self.lines) - SHOWN
        texts = [line.text for line in self.lines[:SHOWN]] + ([f"and {more} files more"] if more > 0 else [])
        return "; ".join([*texts, self.hint] if texts else [])


def describe(saved: Saved, source_ref: str) -> Uncommitted:
    """Say what a work tree holds that no commit holds; ``source_ref`` is the full ref of the source branch."""
    source = source_ref.removeprefix("refs/heads/")
    switch = f"`git switch {shlex.quote(source)}`"
    head = None if saved.head is None else saved.head.removeprefix("refs/heads/")
    if head is not None and (saved.head or "").startswith(_HUB_BRANCHES):
        text = f"{head} is checked out, which only the hub writes: edits here are not read"
        return Uncommitted((Line("HEAD", "checked_out", text),), switch)
    lines = tuple(Line(edit.path, edit.kind, f"{edit.path}: {_said(edit, saved.policy)}") for edit in saved.edits)
    if not lines:
        return Uncommitted()
    if saved.under_way:
        return Uncommitted(lines, f"{saved.under_way} is under way: finish or abort it first")
    if saved.head != source_ref:
        now = "no branch is checked out" if head is None else f"{head} is checked out"
        return Uncommitted(lines, f"{now}, but AgentCom reads {source}: {switch}")
    return Uncommitted(lines, f"`{command(saved.edits)}`, or let `agentcom watch --commit` do it")


def command(edits: tuple[Edit, ...]) -> str:
    """Return the command that commits these edits and nothing else; many files are named by their folders."""
    new = [edit.path for edit in edits if edit.kind == "new" and not edit.tracked]
    every = [edit.path for edit in edits]
    if len(every) > SHOWN:
        new, every = ([*dict.fromkeys(_place(path) for path in paths)] for paths in (new, every))
    add = f"git add {shlex.join(new)} && " if new else ""
    return f"{add}git commit {shlex.join(every)}"


def _place(path: str) -> str:
    """Return the folder of a file in tasks/ or agents/, any other file itself."""
    return path.rpartition("/")[0] if path.endswith(".yaml") and path != POLICY else path


def _said(edit: Edit, policy: bytes) -> str:
    """Say what became of one file."""
    if edit.path.rpartition("/")[2] == BACKLOG and edit.kind != "removed":
        counted = _items(edit, policy)
        if counted:
            return counted
    if edit.kind == "removed":
        return "removed, but not committed"
    return f"{edit.kind}, saved but not committed"


def subject(edits: Iterable[Edit], policy: bytes) -> str:
    """Return the subject of a commit of these files; ``policy`` is agentcom.yaml as committed.

    ``Backlog: 2 new, 1 changed``, ``Task t-1: new; Agents: 2 removed``.
    """
    parts: list[str] = []
    inside: dict[str, list[Edit]] = {"Task": [], "Agent": []}
    for edit in edits:
        folder, _, name = edit.path.rpartition("/")
        if name == BACKLOG:
            parts.insert(0, f"Backlog: {_change_of_items(edit, policy)}")
        elif edit.path == POLICY:
            parts.append(f"Policy: {edit.kind}")
        else:
            inside["Agent" if folder.rpartition("/")[2] == "agents" else "Task"].append(edit)
    for word, found in inside.items():
        if len(found) == 1:
            parts.append(f"{word} {found[0].path.rpartition('/')[2].removesuffix('.yaml')}: {found[0].kind}")
        elif found:
            kinds = Counter(edit.kind for edit in found)
            parts.append(f"{word}s: " + ", ".join(f"{kinds[kind]} {kind}" for kind in _KINDS if kinds[kind]))
    return "; ".join(parts)


def _change_of_items(edit: Edit, policy: bytes) -> str:
    counts = None if edit.kind == "removed" else _counts(edit, policy)
    if counts is None:
        return edit.kind
    return ", ".join(f"{number} {word}" for number, word in counts) or "no item changed"


def _items(edit: Edit, policy: bytes) -> str:
    """Say what became of the items of BACKLOG.md, "" when it cannot be read or none changed."""
    parts = _counts(edit, policy)
    if parts is None:
        return ""
    if not parts:
        return "" if edit.kind == "new" else "changed, but no item of it: saved but not committed"
    number, word = parts[0]
    if word == "new" and len(parts) == 1:
        return f"{number} new {_nouns(number)} {'is' if number == 1 else 'are'} saved but not committed"
    first = f"{number} new {_nouns(number)}" if word == "new" else f"{number} {_nouns(number)} {word}"
    return ", ".join([first, *(f"{number} {word}" for number, word in parts[1:])]) + ": saved but not committed"


def _counts(edit: Edit, policy: bytes) -> list[tuple[int, str]] | None:
    """Return how many items of BACKLOG.md are new, changed, moved and removed, None when it cannot be read."""
    known = loader.load_policy(POLICY, policy, "")
    known = Policy() if isinstance(known, tuple) else known
    before = markdown.read(edit.before, known)
    after = markdown.read(edit.after, known)
    if isinstance(before, tuple) or isinstance(after, tuple):
        return None
    old = carry(BacklogMap(), [before.items]).map
    new = carry(old, [after.items]).map
    added, changed, moved, removed = _compare(old.entries, new.entries)
    counts = [(added, "new"), (changed, "changed"), (moved, "moved"), (removed, "removed")]
    return [(number, word) for number, word in counts if number]


def _nouns(number: int) -> str:
    return "item" if number == 1 else "items"


def _compare(old: tuple[MapEntry, ...], new: tuple[MapEntry, ...]) -> tuple[int, int, int, int]:
    """Count the items that are added, changed, only moved (to another heading or past one another), and removed."""
    before = {entry.id: (position, entry) for position, entry in enumerate(old)}
    added = changed = moved = 0
    order: list[int] = []
    for entry in new:
        if entry.id not in before:
            added += 1
            continue
        position, was = before[entry.id]
        if (was.digest, was.check) != (entry.digest, entry.check):
            changed += 1
        elif was.heading != entry.heading:
            moved += 1
        else:
            order.append(position)
    removed = len(old) - (len(new) - added)
    return added, changed, moved + len(order) - len(longest_rise(order)), removed

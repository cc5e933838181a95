"""What a pull request says: its title, its body, its labels; and what stays of an older body.

Pure. The part between two marks is ours and is written anew each time; what people wrote around it, and the boxes that
they ticked inside, stay.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from sidecar.gitflow.risk import TIERS
from sidecar.gitflow.values import FileChange, Report, Task

#: Longest part of a title that comes from the task, in characters; forges take 256 in all.
TITLE_CHARS = 160
#: Longest body, in characters; GitHub takes 65,536.
BODY_CHARS = 60_000
#: Longest why, summary and account of tests, in characters each.
PART_CHARS = 12_000
PRIORITIES = ("urgent", "high", "normal", "low")
#: So many files are listed with their lines.
FILES_LISTED = 30

_BEGIN = "<!-- agentcom begin -->"
_END = "<!-- agentcom end -->"
_TICKED = re.compile(r"^- \[[xX]\] (.*)$", re.MULTILINE)
_MARK = re.compile(r"<!--\s*agentcom (begin|end)\s*-->", re.IGNORECASE)
_OURS = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}\n?", re.DOTALL)


def title(task: Task) -> str:
    """Return the title of a task's pull request: its own, on one line, with the id behind it."""
    text = " ".join("".join(char if char.isprintable() else " " for char in task.title).split())
    if len(text) > TITLE_CHARS:
        text = text[:TITLE_CHARS].rpartition(" ")[0] or text[:TITLE_CHARS]
        text = f"{text.rstrip()}..."
    return f"{text} ({task.id})" if text else task.id


def body(
    task: Task,
    agent: str,
    base: str,
    base_commit: str,
    changes: Sequence[FileChange],
    tier: str,
    report: Report,
    subjects: Sequence[str] = (),
    left_out: Sequence[str] = (),
) -> str:
    """Return the body of a pull request; ``subjects`` are those of its commits, oldest first."""
    summary = _part(report.summary) or "\n".join(f"- {_line(subject)}" for subject in subjects) or "Nothing was said."
    sections = [f"**Task** `{task.id}`: {_line(task.title) or '(no title)'}"]
    if why := _part(task.description):
        sections.append(f"## Why\n\n{why}")
    sections.append(f"## Summary\n\n{summary}")
    if task.acceptance:
        boxes = "\n".join(f"- [ ] {_line(text)}" for text in task.acceptance)
        sections.append(f"## Acceptance criteria\n\n{boxes}")
    sections.append(f"## How it was tested\n\n{_part(report.tested) or 'Nothing was said.'}")
    sections.append(f"## Changes\n\n{diff_stat(changes)}")
    if left_out:
        sections.append("Saved in the work tree and not part of this: " + ", ".join(f"`{path}`" for path in left_out))
    sections.append(_foot(task, agent, base, base_commit, tier, report))
    text = "\n\n".join(_MARK.sub("", section) for section in sections)
    if len(text) > BODY_CHARS:
        text = text[:BODY_CHARS].rstrip() + "\n\n(cut)"
    return f"{_BEGIN}\n{text}\n{_END}\n"


def merged(old: str, new: str) -> str:
    """Return the body of a pull request that is there, brought up to date.

    A body without our part, which somebody wrote by hand, stays whole above it.
    """
    ticked = frozenset(match[1].strip() for match in _TICKED.finditer(old))
    lines = (
        f"- [x] {line[6:]}" if line.startswith("- [ ] ") and line[6:].strip() in ticked else line
        for line in new.split("\n")
    )
    part = "\n".join(lines)
    old = old.replace("\r\n", "\n")
    if _OURS.search(old):
        return _OURS.sub(lambda _match: part, old, count=1)
    return f"{old.rstrip()}\n\n{part}" if old.strip() else part


def labels(agent: str, priority: str, tier: str) -> tuple[str, ...]:
    """Return the labels of a pull request."""
    return (f"agent:{agent}", f"priority:{priority}", f"risk:{tier}")


def outdated_labels(priority: str, tier: str) -> frozenset[str]:
    """Return what ``labels`` gives for other priorities and risks: taken away when a pull request has it."""
    known = {f"priority:{name}" for name in PRIORITIES} | {f"risk:{name}" for name in TIERS}
    return frozenset(known - {f"priority:{priority}", f"risk:{tier}"})


def diff_stat(changes: Sequence[FileChange]) -> str:
    """Return the files of a diff with their lines, the largest first, and the sum."""
    added = sum(change.added or 0 for change in changes)
    removed = sum(change.removed or 0 for change in changes)
    ranked = sorted(changes, key=lambda change: (-(change.added or 0) - (change.removed or 0), change.path))
    rows = [_row(change) for change in ranked[:FILES_LISTED]]
    if len(ranked) > FILES_LISTED:
        rows.append(f"... and {len(ranked) - FILES_LISTED} more")
    files = f"{len(changes)} file{'' if len(changes) == 1 else 's'}"
    return _fence("\n".join([*rows, f"{files}, +{added} -{removed}"]))


def merge_line(repository: Path, branch: str) -> str:
    """Return the command with which a person takes a branch where there is no forge."""
    return f"git -C {shlex.quote(str(repository))} merge --no-ff {branch}"


def _row(change: FileChange) -> str:
    how = "binary" if change.added is None else f"+{change.added} -{change.removed}"
    return f"{how:>12}  {_line(change.path)}"


def _foot(task: Task, agent: str, base: str, base_commit: str, tier: str, report: Report) -> str:
    parts = [f"Agent `{agent}`"]
    if task.attempt:
        parts.append(f"attempt {task.attempt}")
    if report.tokens is not None:
        parts.append(f"{report.tokens:,} tokens")
    parts += [f"priority {task.priority}", f"risk {tier}", f"on `{base}` at {base_commit[:12]}"]
    return ", ".join(parts)


def _part(text: str) -> str:
    text = text.strip()
    return text if len(text) <= PART_CHARS else text[:PART_CHARS].rstrip() + "\n\n(cut)"


def _line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _fence(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    ticks = "`" * (longest + 1)
    return f"{ticks}text\n{text}\n{ticks}"

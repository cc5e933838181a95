"""Hypothesis strategies for scripts of edits: versions of one backlog, whose lines know which work they stand for."""

import random
from dataclasses import dataclass

from hypothesis import strategies as st

from coordinator.core.backlog import Item, fold
from coordinator.core.policy import Lane

LANES = {
    "Ready": Lane.READY,
    "Inbox": Lane.DRAFT,
    "In Progress": Lane.IN_PROGRESS,
    "Done": Lane.DONE,
    "Someday": Lane.DEFERRED,
}


@dataclass(frozen=True)
class Line:
    """One line of a version: which ``work`` it stands for (the test knows, the program does not), and how."""

    work: int
    title: str
    heading: str = "Ready"
    check: str = " "
    anchor: str | None = None


Version = tuple[Line, ...]


def items_of(version: Version) -> list[Item]:
    """Return a version as the reader would give it."""
    found = []
    for heading in dict.fromkeys(line.heading for line in version):
        found += [line for line in version if line.heading == heading]
    return [
        Item(line.title, number, line.heading, LANES[line.heading], line.check, line.anchor, digest=fold(line.title))
        for number, line in enumerate(found, 1)
    ]


_NOUNS = "login invoice garden rocket parser mirror kettle satellite glacier library violin harbour".split()
_VERBS = "Fix Paint Call Translate Measure Unscrew Publish Borrow Defrost Rename Wrap Juggle".split()


def far_title(number: int) -> str:
    """Return a title that is like no other one of these."""
    mixed = random.Random(number)  # noqa: S311 - a repeatable text, not a secret
    letters = "".join(mixed.choice("bcdfghjklmnpqrstvwxyz") for _ in range(12))
    return f"{mixed.choice(_VERBS)} {letters} {number} {mixed.choice(_NOUNS)}"


@st.composite
def edit_scripts(draw: st.DrawFn) -> tuple[Version, ...]:
    """Versions of one backlog, each a few random edits after the one before: chores, twins and anchors included."""
    titles = st.one_of(
        st.sampled_from(
            ["Fix the login", "Fix the logins", "Fix the login page", "Write docs", "Water the plants", "Call Bo"]
        ),
        st.integers(0, 40).map(far_title),
    )
    headings = st.sampled_from(["Ready", "Ready", "Inbox", "In Progress", "Done", "Someday"])
    checks = st.sampled_from([" ", " ", " ", "", "x", "-"])
    anchors = st.sampled_from([None, None, None, None, "t-a1b2c3d4", "t-k3m9q2xa", "t-own"])
    lines = [
        Line(n, title, heading)
        for n, (title, heading) in enumerate(draw(st.lists(st.tuples(titles, headings), max_size=9)))
    ]
    work = len(lines)
    versions = [tuple(lines)]
    how = st.sampled_from("insert delete move reword double split merge anchor tick shuffle anew".split())
    for steps in draw(
        st.lists(
            st.lists(st.tuples(how, st.integers(0, 9_999), titles, headings, checks, anchors), min_size=1, max_size=4),
            max_size=5,
        )
    ):
        for kind, at, title, heading, check, anchor in steps:
            if not lines and kind != "insert":
                continue
            here = at % (len(lines) + 1)
            there = min(here, len(lines) - 1)
            old = lines[there] if lines else None
            work += 1
            match kind:
                case "insert":
                    lines.insert(here, Line(work, title, heading, check, anchor))
                case "delete":
                    del lines[there]
                case "move":
                    lines.insert(at // 11 % len(lines), Line(old.work, old.title, heading, old.check, old.anchor))
                    lines.remove(old)
                case "reword":
                    lines[there] = Line(old.work, title, old.heading, old.check, old.anchor)
                case "double":
                    lines.insert(here, Line(work, old.title, heading, " ", old.anchor if check == "x" else None))
                case "split":
                    words = old.title.split()
                    lines[there : there + 1] = [
                        Line(old.work, " ".join(words[:2]) or "a", old.heading, old.check, old.anchor),
                        Line(work, " ".join(words[2:]) or "b", old.heading),
                    ]
                case "merge" if there:
                    both = f"{lines[there - 1].title} and {old.title}"[:300]
                    lines[there - 1 : there + 1] = [
                        Line(lines[there - 1].work, both, old.heading, old.check, old.anchor)
                    ]
                case "anchor":
                    lines[there] = Line(old.work, old.title, old.heading, old.check, anchor)
                case "tick":
                    lines[there] = Line(old.work, old.title, old.heading, check, old.anchor)
                case "shuffle":
                    random.Random(at).shuffle(lines)  # noqa: S311 - a repeatable order
                case "anew":
                    lines = [Line(work + 100 * n, far_title(at + n), one.heading) for n, one in enumerate(lines)]
        versions.append(tuple(lines))
    return tuple(versions)

"""Marks that a person lets AgentCom write into their BACKLOG.md: anchors behind lines, ticks in front of them.

Pure text in, text out; only the bytes of a mark change. The reader (``markdown``) is asked whether the new text says
the same as before and the marks besides; where it does not, that line is left alone.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from coordinator.core.backlog import OPEN, Item
from coordinator.core.policy import Policy
from coordinator.files import markdown
from coordinator.files.edit import LINE

#: White space and a backslash at the end of a line mean a line break in Markdown: a mark goes before them.
_TAIL = re.compile(r"[ \t]*\\?[ \t]*(?:\r\n|\r|\n)?\Z")
_MARKER = re.compile(r"(\s*(?:[-*+]|\d{1,9}[.)])[ \t]+)(\[[ xX/-]\])?")


@dataclass(frozen=True, slots=True)
class Stamped:
    """The new text, the lines that were marked, and those that could not be without changing what they say."""

    text: str
    done: tuple[int, ...] = ()
    left: tuple[int, ...] = ()


def anchor(text: str, ids: Mapping[int, str], policy: Policy) -> Stamped:
    """Write ``<!-- id -->`` behind the first line of items; ``ids`` maps line numbers (from 1) to ids."""

    def mark(line: str, number: int) -> str:
        at = _TAIL.search(line)
        end = len(line) if at is None else at.start()
        return f"{line[:end]} <!-- {ids[number]} -->{line[end:]}"

    return _stamp(text, ids, mark, lambda item, number: item.anchor == ids[number], policy)


def tick(text: str, marks: Mapping[int, str], policy: Policy) -> Stamped:
    """Set the check mark of items; ``marks`` maps line numbers to what stands in the box: ``x`` or ``-``."""

    def mark(line: str, number: int) -> str:
        match = _MARKER.match(line)
        if match is None:
            return line
        space = "" if match[2] else " "
        return f"{match[1]}[{marks[number]}]{space}{line[match.end() :]}"

    return _stamp(text, marks, mark, lambda item, number: item.check == marks[number], policy)


def _stamp(
    text: str,
    wanted: Mapping[int, str],
    mark: Callable[[str, int], str],
    good: Callable[[Item, int], bool],
    policy: Policy,
) -> Stamped:
    """Mark every wanted line, then take back what the reader does not read as meant."""
    bare = text.removeprefix("\ufeff")
    begin = text[: len(text) - len(bare)]
    before = {item.line: item for item in markdown.parse(bare, policy).items}
    lines = LINE.findall(bare)
    todo = {number for number in wanted if number in before and number <= len(lines)}
    left: set[int] = set()
    while todo:
        new = [mark(line, number) if number in todo else line for number, line in enumerate(lines, 1)]
        made = "".join(new)
        after = {item.line: item for item in markdown.parse(made, policy).items}
        wrong = {
            number
            for number, item in before.items()
            if number not in after
            or not _same(item, after[number], marked=number in todo)
            or (number in todo and not good(after[number], number))
        }
        if after.keys() == before.keys() and not wrong:
            return Stamped(begin + made, tuple(sorted(todo)), tuple(sorted(left)))
        spoilt = (wrong & todo) or todo
        left |= spoilt
        todo -= spoilt
    return Stamped(text, (), tuple(sorted(left)))


def _same(one: Item, other: Item, *, marked: bool) -> bool:
    """Tell whether two readings say the same; a marked line may differ in its mark."""
    if not marked:
        return one == other
    return replace(one, anchor=None, check=OPEN, digest="") == replace(other, anchor=None, check=OPEN, digest="")

"""Adding one line to a BACKLOG.md that a person keeps: only that line changes, whatever the rest looks like.

Pure text in, text out. What a heading or a word means is the reader's business (``markdown``), which is also asked
whether the new text says what was wanted: the same items as before, and one more.

    CannotAdd                the line was not added; the text says what to do
      +-- NotAnItem          what should be added is no item, or says something wrong
      +-- NoPlace            the file has no place for it
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from markdown_it.token import Token

from coordinator.core.backlog import NO_CHECK, Item
from coordinator.core.policy import Lane, Policy
from coordinator.files import blocks, markdown
from coordinator.files.markdown import Parsed, lane_of
from coordinator.files.problem import Problem

#: The heading that is written when the file has none for a lane and nobody named one.
_HEADINGS = {Lane.DRAFT: "Inbox", Lane.READY: "Ready", Lane.IN_PROGRESS: "In Progress", Lane.DEFERRED: "Someday"}
#: One line with its end, as the file has it.
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


#: Categories of characters that are no text of one line: controls, half characters, line ends.
_NO_TEXT = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: What turns the direction of the text around it, so that a line reads as another one.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class CannotAdd(Exception):
    """The line was not added."""


class NotAnItem(CannotAdd):
    """What should be added is no item, or one of its words is wrong."""


class NoPlace(CannotAdd):
    """The file has no place for it."""


@dataclass(frozen=True, slots=True)
class Added:
    """The new text of the file, the item as the hub will read it, and remarks about its words."""

    text: str
    item: Item
    remarks: tuple[Problem, ...] = ()


def add_item(text: str, item: str, lane: Lane, policy: Policy, *, heading: str = "") -> Added:
    """Return ``text`` with ``- [ ] item`` as the last line under the first heading of ``lane``.

    A section called ``heading`` goes before others of the same lane. A heading is added at the end when there is none.
    Line ends are kept as the file has them. Raises NotAnItem, NoPlace.
    """
    if not item.strip() or any(unicodedata.category(char) in _NO_TEXT or char in _BIDI for char in item):
        raise NotAnItem("a title is one line of text, without line breaks or control characters")
    if not markdown.parse(f"- [ ] {item.strip()}\n", policy).items:
        raise NotAnItem("there is no title in it: say in words what is to be done")
    lines = LINE.findall(text)
    place, above, below = _place(text, lines, lane, policy, heading)
    newline = _newline(lines[:place]) or _newline(lines) or "\n"
    if place and not lines[place - 1].endswith(("\r", "\n")):
        lines[place - 1] += newline
    added = [line + newline for line in (*above, f"{_bullet(text, place)} [ ] {item.strip()}", *below)]
    number = place + len(above) + 1
    return _checked(text, "".join([*lines[:place], *added, *lines[place:]]), number, lane, policy)


def _place(
    text: str, lines: Sequence[str], lane: Lane, policy: Policy, heading: str
) -> tuple[int, list[str], list[str]]:
    """Return the number of the line before which the item goes, and the lines that must stand above and below it."""
    tokens = _top_level(text)
    headings = [number for number, token in enumerate(tokens) if token.type == "heading_open"]
    titles = {number: tokens[number + 1].content for number in headings}
    fitting = [number for number in headings if lane_of(titles[number], policy.lanes) is lane]
    named = [number for number in fitting if titles[number].strip().casefold() == heading.strip().casefold()]
    if not fitting and (headings or policy.default_lane is not lane):
        end = _trimmed(lines, len(lines), 0)
        return end, [*([""] if end else []), f"## {_heading(lane, policy, heading)}", ""], []
    start = end = len(lines)
    if fitting:
        first = (named or fitting)[0]
        following = next((number for number in headings if number > first), None)
        start = tokens[first].map[1]  # type: ignore[index]  # block tokens have a map
        end = len(lines) if following is None else tokens[following].map[0]  # type: ignore[index]
    end = _trimmed(lines, end, start if fitting else 0)
    last = _block_before(tokens, end)
    blank_above = [] if last is None or last.type == "bullet_list_open" else [""]
    return end, blank_above, [""] if end < len(lines) and lines[end].strip() else []


def _top_level(text: str) -> list[Token]:
    tokens = blocks.tokens(text.removeprefix("\ufeff"))
    return [token for token in tokens if token.level == 0 or (token.type == "inline" and token.level == 1)]


def _block_before(tokens: Sequence[Token], line: int) -> Token | None:
    """Return the last block that begins above ``line``."""
    above = [token for token in tokens if token.nesting >= 0 and token.map is not None and token.map[0] < line]
    begun = [token for token in above if token.type != "inline"]
    return begun[-1] if begun else None


def _bullet(text: str, line: int) -> str:
    """Return the bullet of the list that ends at ``line``, so that the new item belongs to it."""
    last = _block_before(_top_level(text), line)
    return last.markup if last is not None and last.type == "bullet_list_open" else "-"


def _trimmed(lines: Sequence[str], end: int, start: int) -> int:
    while end > start and not lines[end - 1].strip():
        end -= 1
    return end


def _newline(lines: Sequence[str]) -> str:
    """Return the line end of the last line that has one."""
    ends = (line[len(line.rstrip("\r\n")) :] for line in reversed(lines))
    return next((end for end in ends if end), "")


def _heading(lane: Lane, policy: Policy, heading: str) -> str:
    words = (heading.strip().capitalize(), _HEADINGS.get(lane, ""), *(name.capitalize() for name in policy.lanes))
    for word in words:
        if lane_of(word, policy.lanes) is lane:
            return word
    raise NoPlace(f"agentcom.yaml names no heading that means {lane}: add one under `lanes:`")


def _checked(before: str, after: str, line: int, lane: Lane, policy: Policy) -> Added:
    """Return what was added once the reader agrees that nothing else changed."""
    old, new = _read(before, policy), _read(after, policy)
    here = next((item for item in new.items if item.line == line), None)
    if here is None:
        raise NoPlace(f"line {line} would lie in a code fence or comment that is not closed: close it above that line")
    remarks = tuple(problem for problem in new.problems if problem.line == line)
    if not here.valid:
        raise NotAnItem("; ".join(f"{one.field}: {one.what}, {one.hint}" for one in remarks))
    if here.lane is not lane or _standing(old.items) != _standing(item for item in new.items if item is not here):
        raise NoPlace("a new line would change what others mean: put headings above them, for example `## Inbox`")
    return Added(after, here, remarks)


def _read(text: str, policy: Policy) -> Parsed:
    read = markdown.read(text.encode(), policy)
    if isinstance(read, tuple):
        raise NoPlace("; ".join(str(problem) for problem in read))
    return read


def _standing(items: Iterable[Item]) -> list[Item]:
    """Return the items that mean something under any heading, wherever they stand."""
    return [replace(item, line=0) for item in items if item.lane is not Lane.DRAFT or item.check != NO_CHECK]

"""Adding one line to a BACKLOG.md that a person keeps: only that line changes, whatever the rest looks like.

Pure text in, text out. Which lane a heading means is the reader's business (``markdown.lane_of``).
"""

from markdown_it import MarkdownIt

from coordinator.core.policy import Lane, Policy
from coordinator.files.markdown import lane_of

#: The heading that is written when the file has none for a lane.
_HEADINGS = {Lane.DRAFT: "Inbox", Lane.READY: "Ready", Lane.IN_PROGRESS: "In Progress", Lane.DEFERRED: "Someday"}


def add_item(text: str, item: str, lane: Lane, policy: Policy) -> str:
    """Return ``text`` with ``- [ ] item`` as the last line under the first heading of ``lane``.

    A heading is added at the end when there is none. Line ends are kept as the file has them. Raises ValueError when
    ``item`` is not one line of text.
    """
    if not item.strip() or any(not char.isprintable() for char in item):
        raise ValueError("a title is one line of text")
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines()
    line = f"- [ ] {item.strip()}"
    place = _last_of_lane(text, lines, lane, policy)
    if place is None:
        tail = [] if not lines or not lines[-1].strip() else [""]
        return newline.join([*lines, *tail, f"## {_HEADINGS[lane]}", "", line]) + newline
    before, after = lines[:place], lines[place:]
    blank_above = bool(before) and bool(before[-1].strip()) and not before[-1].lstrip().startswith(("-", "*", "+"))
    heading_below = bool(after) and bool(after[0].strip())
    added = [*([""] if blank_above else []), line, *([""] if heading_below else [])]
    return newline.join([*before, *added, *after]) + newline


def _last_of_lane(text: str, lines: list[str], lane: Lane, policy: Policy) -> int | None:
    """Return the number of the line before which an item of this lane belongs, None when it has no heading."""
    tokens = MarkdownIt("commonmark").parse(text)
    headings = [
        (token.map[0], token.map[1], tokens[number + 1].content)
        for number, token in enumerate(tokens)
        if token.type == "heading_open" and token.map is not None and token.level == 0
    ]
    for number, (_, below, title) in enumerate(headings):
        if lane_of(title, policy.lanes) is lane:
            end = headings[number + 1][0] if number + 1 < len(headings) else len(lines)
            while end > below and not lines[end - 1].strip():
                end -= 1
            return end
    return None

"""BACKLOG.md -> items with their lines: CommonMark first, then the words of each item (DESIGN 3).

The parser's block structure decides what an item is, so code fences, comments, quotes and tables never are one. A list
under a heading that is a lane, or under a sub-heading of it, counts whole; elsewhere only ``- [ ]`` counts, as draft.
This module knows no ids and no earlier version of the file. What looks for words does so in one pass over the text,
however it is written: a file within the limits takes seconds at worst.
"""

import hashlib
import re
import textwrap
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticCustomError

from coordinator.core.backlog import CANCELLED, DONE, NO_CHECK, OPEN, Item, fold
from coordinator.core.policy import Lane, Policy
from coordinator.core.task import Priority
from coordinator.files import blocks, convert, guard, limits, secrets
from coordinator.files.blocks import Block
from coordinator.files.convert import suggest
from coordinator.files.guard import Unreadable
from coordinator.files.problem import Problem, shown

#: Words are looked for in so many characters of an item's first paragraph; what follows is description.
_HEAD_CHARS = 4_096

_CHECK = re.compile(r"\[([ xX/-])\](?:\s+|\Z)")
_EMOJI_CHECKS = {"✅": DONE, "✔": DONE, "☑": DONE, "❌": CANCELLED, "☐": OPEN, "⬜": OPEN}
_ANCHOR = re.compile(r"\s*(t-[a-z0-9][a-z0-9-]{0,61})\s*\Z")
_BOLD = re.compile(r"(\*{2,3}|__)(?=[^\s*])(.+?)(?<=\S)\1", re.DOTALL)
_DASH = re.compile(r"\s*(?:[-–—:](?=\s|\Z)|[–—：])\s*")
_TICKS = re.compile("`+")
_LINKS = re.compile(r"\[[^\[\]\n]*\]\([^()\n]*\)|<[^<>\s]+>")
_WORD = re.compile(r'[a-z_]+:"[^"\n]*"|\S+')
#: Settings of an editor at the top of a file, as Obsidian and page generators keep them.
_FRONT_MATTER = re.compile(
    r"\A\ufeff?---[ \t]*\r?\n(?:[\w-]+:[^\n]*\n|[ \t#-][^\n]*\n|\r?\n){0,50}?---[ \t]*\r?(?:\n|\Z)"
)
_LABEL = re.compile(r"#([^\W\d_][\w/-]{0,99})\Z")
_LETTER = re.compile(r"\(([A-D])\)\Z")
_LEVEL = re.compile(r"P([0-3])\Z")
_BANG = re.compile(r"!(urgent|high|normal|low)\Z")
_AGENT = re.compile(r"@([a-z0-9][a-z0-9-]{0,63})\Z")
_KEYED = re.compile(r'([a-z_]+):(?:"([^"]*)"|([^\s"/][^\s"]*))\Z')
_MARKER = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s+(?:\[.\]\s+)?")
_BULLET_LINES = re.compile(r"^[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]", re.MULTILINE)
_CORE = re.compile(r"[^\W_](?:.*[^\W_])?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ignored:
    """One list entry that is no item; ``why`` says it for people."""

    line: int
    title: str
    why: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """One version of BACKLOG.md: its items in order, what is wrong with single words of them, and what is no item."""

    items: tuple[Item, ...] = ()
    problems: tuple[Problem, ...] = ()
    ignored: tuple[Ignored, ...] = ()


def read(data: bytes, policy: Policy, path: str = "BACKLOG.md") -> Parsed | tuple[Problem, ...]:
    """Return one version of BACKLOG.md, or why it cannot be read at all (size, encoding)."""
    try:
        text = guard.decode(data, limits.BACKLOG_BYTES)
    except Unreadable as error:
        return (Problem(path, error.line, error.column, "", error.what, error.hint),)
    what = ""
    if text.count("\n") + text.count("\r") > limits.BACKLOG_LINES * (2 if "\r\n" in text else 1):
        what = f"more than {limits.BACKLOG_LINES:,} lines"
    elif sum(1 for _ in _BULLET_LINES.finditer(text)) > limits.BACKLOG_ITEMS:
        what = f"more than {limits.BACKLOG_ITEMS:,} list items"
    if what:
        return (Problem(path, what=what, hint="move finished ones to another file"),)
    return parse(text, policy, path)


def parse(text: str, policy: Policy, path: str = "BACKLOG.md") -> Parsed:
    """Return the items of a text; ``policy`` names the lanes."""
    text = _FRONT_MATTER.sub(lambda match: "\n" * match[0].count("\n"), text)
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    outline = blocks.tree(text)
    reader = _Reader(plain, path)
    section = _Section(policy, headings=any(block.kind == "heading" for block in outline))
    items = []
    ignored = []
    for block in outline:
        if block.kind == "heading":
            section.enter(int(block.opening.tag[1:]), _without_comments(block.text)[0])
        elif block.kind in ("bullet_list", "ordered_list"):
            lane, known = section.lane()
            for one in block.inner:
                item = reader.item(one, section.heading, lane, only_checked=not known)
                if item is not None:
                    items.append(item)
                elif one.inner:
                    ignored.append(Ignored(one.start + 1, _first_words(one), _why_ignored(known=known)))
    return Parsed(tuple(items), tuple(reader.problems), tuple(ignored))


def _first_words(block: Block) -> str:
    text = _without_comments(block.inner[0].text)[0]
    return textwrap.shorten(text, 80, placeholder="…")


def _why_ignored(*, known: bool) -> str:
    return "it has no title" if known else "its heading is no lane; write `- [ ]` for a draft, or put it under Ready"


# --- where items stand ----------------------------------------------------------------------------------------------


class _Section:
    """Where we are in the outline: the nearest heading, and the lane that it stands in."""

    def __init__(self, policy: Policy, *, headings: bool) -> None:
        self._lanes = policy.lanes
        self._default = None if headings else policy.default_lane
        self._stack: list[tuple[int, Lane | None]] = []
        self.heading = ""

    def enter(self, level: int, title: str) -> None:
        """Go below a heading: sections of the same or a deeper level end."""
        while self._stack and self._stack[-1][0] >= level:
            self._stack.pop()
        self._stack.append((level, lane_of(title, self._lanes)))
        self.heading = " ".join(title.split())

    def lane(self) -> tuple[Lane, bool]:
        """Return the lane in force, and whether a heading said so, or the policy for a file without headings."""
        lane = next((lane for _, lane in reversed(self._stack) if lane is not None), self._default)
        return (Lane.DRAFT, False) if lane is None else (lane, True)


def lane_of(heading: str, lanes: Mapping[str, Lane]) -> Lane | None:
    """Return what a heading means, None when it is no lane: ``In-Progress:`` and ``## 🚀 Ready`` are lanes too."""
    folded = fold(heading)
    core = _CORE.search(folded)
    return lanes.get(folded) or (lanes.get(fold(re.sub("[-_]", " ", core[0]))) if core is not None else None)


# --- items ----------------------------------------------------------------------------------------------------------


def _words(value: str) -> tuple[str, ...]:
    return tuple(convert.word(part) for part in value.split(",") if part.strip())


def _ids(value: str) -> tuple[str, ...]:
    return tuple(convert.identifier(part.strip()) for part in value.split(",") if part.strip())


def _required(value: str) -> bool:
    return convert.choice("required", "none")(value) == "required"


#: key of a ``key:value`` word -> (field of Item, reader of the value).
KEYS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "needs": ("needs", _words),
    "depends": ("depends", _ids),
    "repo": ("repo", convert.name),
    "base": ("base", convert.name),
    "kind": ("kind", convert.choice("code", "note")),
    "due": ("due", lambda value: convert.parse_time(value, end_of_day=True)),
    "timeout": ("timeout_s", convert.parse_duration),
    "review": ("review", _required),
}
_LETTERS = dict(zip("ABCD", Priority, strict=True))


class _Reader:
    """Reads the items of one file and collects what is wrong with their words."""

    def __init__(self, text: str, path: str) -> None:
        self._lines = text.split("\n")
        self._path = path
        found = secrets.find(text)
        self._secrets = [
            (*place, one.what, secrets.beginning(text[one.start : one.end]))
            for one, place in zip(found, guard.places(text, [one.start for one in found]), strict=True)
        ]
        self.problems: list[Problem] = []

    def item(self, block: Block, heading: str, lane: Lane, *, only_checked: bool) -> Item | None:
        """Return one list item, None when it counts for nothing."""
        if not block.inner or block.inner[0].kind not in ("paragraph", "heading", "html_block"):
            return None
        first = block.inner[0]
        content, anchors = _without_comments(first.text)
        if first.kind == "html_block" and (content == first.text or not content.strip()):
            return None  # of HTML only a comment may stand in front of an item
        for child in block.inner[1:]:
            if child.kind == "html_block":
                anchors += _without_comments(child.text)[1]
        check, content = _checked(content)
        if only_checked and check == NO_CHECK:
            return None
        words = _Words(self, first.start, first.end)
        title, rest = words.read(content)
        if not any(char.isprintable() and not char.isspace() for char in title):
            return None
        disclosed = self._secrets_in(block)
        title = secrets.hide(title) if disclosed else title
        for line, column, what, beginning in disclosed:
            words.valid = False
            self.report(line, column, "", f"looks like {what} ({beginning})", secrets.advice(what))
        pieces, acceptance = self._children(block.inner[1:])
        whole = ""
        if len(title) > limits.TITLE_CHARS:
            whole, title = title, textwrap.shorten(title, limits.TITLE_CHARS, placeholder="…")
            title = title if len(title) > 1 else whole[: limits.TITLE_CHARS - 1] + "…"
        description = "\n\n".join(piece for piece in (whole, rest, *pieces) if piece)
        if len("".join((description, *acceptance)).encode("utf-8", "replace")) > limits.DESCRIPTION_BYTES:
            words.wrong("description", f"longer than {limits.DESCRIPTION_BYTES:,} bytes", "point to a file instead")
        return Item(
            title=title,
            line=block.start + 1,
            heading=heading,
            lane=lane,
            check=check,
            anchor=anchors[0] if anchors else None,
            description=description,
            acceptance=acceptance,
            digest=self._digest(block),
            valid=words.valid,
            **words.fields,
        )

    def _secrets_in(self, block: Block) -> list[tuple[int, int, str, str]]:
        """Return line, column, kind and beginning of every secret in a block."""
        begin, end = (bisect_right(self._secrets, line, key=lambda one: one[0]) for line in (block.start, block.end))
        return self._secrets[begin:end]

    def _children(self, below: list[Block]) -> tuple[list[str], tuple[str, ...]]:
        """Return what stands below an item: texts for its description, and nested ``- [ ]`` as acceptance criteria."""
        pieces: list[str] = []
        acceptance: list[str] = []
        for block in below:
            if block.kind == "html_block":
                continue
            if block.kind not in ("bullet_list", "ordered_list"):
                pieces.append(self._source(block))
                continue
            kept = []
            for one in block.inner:
                source = self._source(one)
                match = _MARKER.match(source)
                if match is not None and _CHECK.match(source[: match.end()].lstrip(" \t-*+0123456789.)")):
                    acceptance.append(_dedent_rest(_without_comments(source[match.end() :])[0]))
                else:
                    kept.append(source)
            if kept:
                pieces.append("\n".join(kept))
        return pieces, tuple(text for text in acceptance if text)

    def _source(self, block: Block) -> str:
        """Return the lines of a block as they were written, without the indentation they share."""
        source = "\n".join(self._lines[block.start : block.end])
        if len(source) > limits.DESCRIPTION_BYTES:
            return source  # nobody will see it: the item is refused for its length
        return textwrap.dedent(source.expandtabs(4)).strip("\n").rstrip()

    def _digest(self, block: Block) -> str:
        raw = "\n".join(self._lines[block.start : block.end])
        text = " ".join(_MARKER.sub("", raw, count=1).split())
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def places(self, start: int, end: int) -> dict[str, list[tuple[int, int]]]:
        """Return line and column, from 1, of every word between two lines, as far as words are looked for there."""
        found: dict[str, list[tuple[int, int]]] = {}
        left = 2 * _HEAD_CHARS
        for number in range(start, min(end, len(self._lines))):
            line = self._lines[number][:left]
            for match in _WORD.finditer(_mask(_covered(line))):
                word = line[match.start() : match.end()]
                found.setdefault(word, []).append((number + 1, match.start() + 1))
            left -= len(line)
            if left <= 0:
                break
        return found

    def report(self, line: int, column: int, name: str, what: str, hint: str) -> None:
        self.problems.append(Problem(self._path, line, column, name, what, hint))


def _dedent_rest(text: str) -> str:
    head, newline, rest = text.partition("\n")
    return (head + newline + textwrap.dedent(rest)).strip()


def _without_comments(text: str) -> tuple[str, list[str]]:
    """Blank out HTML comments, and return the anchors among them."""
    if "<!--" not in text:
        return text, []
    parts: list[str] = []
    anchors: list[str] = []
    at = 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        parts.append(text[at:start])
        match = _ANCHOR.match(text[start + 4 : end])
        if match is not None:
            anchors.append(match[1])
        at = end + 3
    parts.append(text[at:])
    return "".join(parts), anchors


def _covered(line: str) -> str:
    """Cover the HTML comments of one line with as many characters."""
    parts: list[str] = []
    at = 0
    while (start := line.find("<!--", at)) >= 0 and (end := line.find("-->", start + 4)) >= 0:
        parts += [line[at:start], "\0" * (end + 3 - start)]
        at = end + 3
    return "".join([*parts, line[at:]])


def _checked(content: str) -> tuple[str, str]:
    """Split the check mark off: ``[ ]``, ``[/]``, ``[x]``, ``[-]``, or an emoji people use for it."""
    content = content.lstrip()
    match = _CHECK.match(content)
    if match is not None:
        mark = match[1].lower()
        return (OPEN if mark == "/" else mark), content[match.end() :]
    for emoji, mark in _EMOJI_CHECKS.items():
        if content.startswith(emoji):
            return mark, content[len(emoji) :].lstrip("\ufe0f \t")
    return NO_CHECK, content


class _Words:
    """The words of one item that mean something: fields of ``Item``, and what is wrong with them."""

    def __init__(self, reader: _Reader, start: int, end: int) -> None:
        self._reader = reader
        self._start = start
        self._end = end
        self._places: dict[str, list[tuple[int, int]]] | None = None
        self.fields: dict[str, Any] = {}
        self.valid = True

    def read(self, content: str) -> tuple[str, str]:
        """Return title and the rest of the first paragraph; words that mean something are taken out of both."""
        head, tail = _cut(content)
        whole = head.strip()
        head = self._leading(whole)
        if head != whole and (dash := _DASH.match(head)) is not None:
            head = head[dash.end() :]  # `P0 - fix it`
        bold = _BOLD.match(head)
        if bold is not None:
            title, rest = bold[2], self._leading(head[bold.end() :], anywhere=True)
            dash = _DASH.match(rest)
            rest = rest[dash.end() :] if dash is not None else rest
            title = title.rstrip().removesuffix(":")
        else:
            title, rest = self._split(head)
        title = " ".join(self._strip(title).split())
        rest = "\n".join(line.strip() for line in (self._strip(rest) + tail).strip().split("\n"))
        return title, rest

    def wrong(self, name: str, what: str, hint: str, word: str = "") -> None:
        """Note a mistake that keeps this version of the item from being taken."""
        self.valid = False
        self._report(word, name, what, hint)

    def _report(self, word: str, name: str, what: str, hint: str) -> None:
        """Report a word at its next place; one that is not found at the start of the item."""
        if self._places is None:
            self._places = self._reader.places(self._start, self._end)
        places = self._places.get(word, [(self._start + 1, 1)])
        line, column = places.pop(0) if len(places) > 1 else places[0]
        self._reader.report(line, column, name, what, hint)

    def _split(self, head: str) -> tuple[str, str]:
        """End a title without bold at a hard break, or at a first line that ends in words that mean something."""
        at = head.find("\n")
        while at >= 0:
            if head.endswith(("  ", "\\"), 0, at):
                return head[:at].removesuffix("\\").rstrip(" "), head[at + 1 :]
            at = head.find("\n", at + 1)
        first, newline, rest = head.partition("\n")
        words = list(_WORD.finditer(_mask(first)))
        if newline and words and self._means(words[-1][0]):
            return first, rest
        return head, ""

    def _leading(self, text: str, *, anywhere: bool = False) -> str:
        """Take priorities (``anywhere``: all words that mean something) off the start of a text."""
        while (match := _WORD.match(text.lstrip())) is not None:
            word = match[0]
            first = _LETTER.match(word) or _LEVEL.match(word) or _BANG.match(word)
            if not (first or (anywhere and self._means(word))):
                break
            self._take(word)
            text = text.lstrip()[match.end() :]
        return text.lstrip()

    def _strip(self, text: str) -> str:
        """Take the run of words at the end off a text, and key:value and !priority from anywhere in it."""
        masked = _mask(text)
        words = list(_WORD.finditer(masked))
        last = len(words)
        while last and self._means(words[last - 1][0]):
            last -= 1
        drop = []
        for index, match in enumerate(words):
            word = text[match.start() : match.end()]
            if index >= last or _BANG.match(match[0]) or self._keyed(match[0]):
                self._take(word)
                drop.append(match.span())
            elif _LABEL.match(match[0]):
                self._take(word)
            elif index == last - 1:
                self._doubt(match[0], among_words=last < len(words))
        for start, end in reversed(drop):
            text = text[:start].rstrip(" \t") + text[end:] if text[end:].strip() else text[:start].rstrip()
        return text

    def _means(self, word: str) -> bool:
        return bool(
            _LABEL.match(word) or _BANG.match(word) or _AGENT.match(word) or _LEVEL.match(word) or self._keyed(word)
        )

    @staticmethod
    def _keyed(word: str) -> bool:
        match = _KEYED.match(word)
        return match is not None and match[1] in KEYS

    def _doubt(self, word: str, *, among_words: bool) -> None:
        """Say so when a last word looks like a key that is none, misspelt or unknown; the text is kept as it is."""
        match = _KEYED.match(word)
        other = f"known are {', '.join(f'{key}:' for key in KEYS)}" if among_words else ""
        hint = suggest(match[1], tuple(KEYS), other) if match is not None and len(match[1]) > 2 else ""
        if hint:
            self._report(word, shown(word), "unknown word, kept as text", hint)

    def _take(self, word: str) -> None:
        """Put one word into the fields."""
        for pattern in (_LETTER, _LEVEL, _BANG):
            if match := pattern.match(word):
                key = match[1]
                level = _LETTERS[key] if key in _LETTERS else Priority(int(key)) if key.isdigit() else None
                self.fields["priority"] = Priority[key.upper()] if level is None else level
                return
        if match := _LABEL.match(word):
            self._add("labels", (match[1],))
        elif match := _AGENT.match(word):
            self._value(word, "assignee", convert.identifier, match[1])
        elif match := _KEYED.match(word):
            name, reader = KEYS[match[1]]
            self._value(word, name, reader, match[2] if match[2] is not None else match[3])

    def _value(self, word: str, name: str, reader: Callable[[str], Any], value: str) -> None:
        try:
            result = reader(value)
        except PydanticCustomError as error:
            context = error.context or {}
            self.wrong(word.partition(":")[0], str(context.get("what")), str(context.get("hint")), word)
            return
        if isinstance(result, tuple):
            self._add(name, result)
        else:
            self.fields[name] = result

    def _add(self, name: str, values: tuple[str, ...]) -> None:
        before: tuple[str, ...] = self.fields.get(name, ())
        self.fields[name] = before + tuple(value for value in dict.fromkeys(values) if value not in before)


def _mask(text: str) -> str:
    """Cover code, links and autolinks with as many characters, so that no word inside them means anything."""
    return _LINKS.sub(lambda match: "\0" * len(match[0]), _without_code(text))


def _without_code(text: str) -> str:
    """Cover code spans: a run of backticks up to the next run of the same length."""
    runs = [match.span() for match in _TICKS.finditer(text)]
    later: dict[int, list[int]] = {}
    for number in range(len(runs) - 1, -1, -1):
        later.setdefault(runs[number][1] - runs[number][0], []).append(number)
    parts: list[str] = []
    at = number = 0
    while number < len(runs):
        start, end = runs[number]
        same = later[end - start]
        while same and same[-1] <= number:
            same.pop()
        if same:
            number = same[-1]
            parts += [text[at:start], "\0" * (runs[number][1] - start)]
            at = runs[number][1]
        number += 1
    return "".join([*parts, text[at:]])


def _cut(content: str) -> tuple[str, str]:
    """Split a very long paragraph at a blank: only the first part is searched for words."""
    if len(content) <= _HEAD_CHARS:
        return content, ""
    at = max(content.rfind(blank, 0, _HEAD_CHARS) for blank in " \n")
    at = at if at > 0 else _HEAD_CHARS
    return content[:at], content[at:]

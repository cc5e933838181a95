"""YAML from people, read in one pass over parser events so that nothing hostile is ever built.

Size, depth and number of events are checked while the events stream, before anything recurses: PyYAML's composer
follows nesting on the C stack and dies of 60 KB of ``[``. Anchors, aliases, tags, merge keys, duplicate keys, complex
keys and several documents are refused. Scalars stay text (``no``, ``012`` and ``12:30`` mean what was written); the
schema converts them. This module knows no schema.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from yaml import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from coordinator.files import limits
from coordinator.files.problem import shown

#: True when PyYAML came with libyaml; without it the same events come from its pure parser, ten times slower.
FAST = bool(yaml.__with_libyaml__)

#: The characters of ASCII that may stand in a file: deleting them from its bytes is much faster than a search.
_PRINTABLE = bytes((0x09, 0x0A, 0x0D, *range(0x20, 0x7F)))
_LINE_END = re.compile("\r\n|\r|\n")
_BREAKS = re.compile("[\x85\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))


class Unreadable(Exception):
    """The text is no YAML that the guard lets through; the author must edit the file.

    ``line`` and ``column`` count from 1, 0 means unknown; ``hint`` says what to do.
    """

    def __init__(self, what: str, hint: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.line = line
        self.column = column


@dataclass(slots=True, eq=False)
class Scalar:
    """One word or text as it was written; ``plain`` means without quotes and not a block."""

    value: str
    plain: bool
    line: int
    column: int

    @property
    def null(self) -> bool:
        """Nothing was written: YAML 1.2's null, plain."""
        return self.plain and self.value in _NULLS


class Seq(list["Node"]):
    """A list that knows where it stands."""

    __slots__ = ("column", "line")

    def __init__(self, line: int, column: int) -> None:
        super().__init__()
        self.line = line
        self.column = column


class Map(dict[str, "Node"]):
    """A mapping that knows where it and its keys stand; ``marks`` gives (line, column) of each key."""

    __slots__ = ("column", "line", "marks")

    def __init__(self, line: int, column: int) -> None:
        super().__init__()
        self.line = line
        self.column = column
        self.marks: dict[str, tuple[int, int]] = {}


Node = Scalar | Seq | Map


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a file may hold: bytes, levels of nesting, parser events."""

    size: int = limits.YAML_BYTES
    depth: int = limits.YAML_DEPTH
    events: int = limits.YAML_EVENTS


#: For people's files, and for what the hub itself wrote.
PEOPLE = Bounds()
HUB = Bounds(limits.HUB_YAML_BYTES, limits.HUB_YAML_DEPTH, limits.HUB_YAML_EVENTS)


def decode(data: bytes, size: int) -> str:
    """Return ``data`` as text without a byte order mark.

    Raises Unreadable when it is over ``size`` bytes or not UTF-8.
    """
    if len(data) > size:
        raise Unreadable(f"the file has {len(data):,} bytes, at most {size:,} are read", "make it smaller")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        readable = data[: error.start].decode("utf-8")
        line, column = place(readable, len(readable))
        raise Unreadable("the file is not UTF-8", "save it as UTF-8", line, column) from None
    return text.removeprefix("\ufeff")


def load(data: bytes, bounds: Bounds = PEOPLE, *, fast: bool = FAST) -> Node | None:
    """Return the one document in ``data`` as nodes with places, None when the file says nothing.

    Raises Unreadable for everything that is refused (module docstring). ``fast=False`` uses the pure parser.
    """
    text = decode(data, bounds.size)
    bad = _UNPRINTABLE.search(text) if data.translate(None, _PRINTABLE) else None
    if bad is not None:
        line, column = place(text, bad.start())
        raise Unreadable(f"control character U+{ord(bad[0]):04X}", "delete it", line, column)
    stand_ins = _stand_ins(text)
    text = text.translate({ord(odd): char for odd, char in stand_ins.items()})
    parser: Any = yaml.CLoader(text) if fast else yaml.SafeLoader(text)
    try:
        return _compose(parser.get_event, bounds, {ord(char): odd for odd, char in stand_ins.items()})
    except yaml.MarkedYAMLError as error:
        raise _explain(error, text) from None
    except yaml.YAMLError as error:
        raise Unreadable(f"not readable as YAML: {error}") from None
    finally:
        parser.dispose()


def _compose(get_event: Callable[[], Any], bounds: Bounds, meant: Mapping[int, str]) -> Node | None:
    """Build nodes from events, one loop, no recursion; ``meant`` translates scalars back from their stand-ins."""
    root: Node | None = None
    stack: list[Seq | Map] = []
    keys: list[str | None] = []
    top: Seq | Map | None = None
    key: str | None = None
    documents = 0
    budget = bounds.events
    while True:
        event = get_event()
        kind = event.__class__
        budget -= 1
        if budget < 0:
            raise _at(event, f"more than {bounds.events:,} parts", "make the file smaller")
        if kind is ScalarEvent:
            if event.anchor is not None or event.tag is not None:
                raise _refused(event)
            if event.style == '"' and _SURROGATE.search(event.value):
                raise _at(event, "an escape for half a character", "write the character itself")
            mark = event.start_mark
            value = event.value.translate(meant) if meant else event.value
            node: Node = Scalar(value, not event.style, mark.line + 1, mark.column + 1)
            if key is None and top.__class__ is Map:
                key = _key(top, node, event)
                continue
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            if event.anchor is not None or event.tag is not None:
                raise _refused(event)
            if key is None and top.__class__ is Map:
                raise _at(event, "a key must be one word", "quote it, or check the indentation")
            if len(stack) >= bounds.depth:
                raise _at(event, f"nested deeper than {bounds.depth} levels", "flatten it")
            mark = event.start_mark
            node = (Map if kind is MappingStartEvent else Seq)(mark.line + 1, mark.column + 1)
            if top is None:
                root = node
            elif top.__class__ is Map:
                top[key] = node  # type: ignore[index]
            else:
                top.append(node)  # type: ignore[union-attr]
            stack.append(node)
            keys.append(key)
            top, key = node, None
            continue
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            stack.pop()
            keys.pop()
            top, key = (stack[-1] if stack else None), None
            continue
        elif kind is StreamEndEvent:
            return root
        elif kind is DocumentStartEvent:
            documents += 1
            if documents > 1:
                raise _at(event, "a second document", "keep one document in a file: delete the line ---")
            if event.tags:
                raise _at(event, "a %TAG line", "delete it")
            continue
        elif kind is AliasEvent:
            raise _at(event, f"the alias *{shown(event.anchor)}", "write the value out")
        elif kind is StreamStartEvent or kind is DocumentEndEvent:
            continue
        else:  # pragma: no cover - PyYAML has no other events
            raise _at(event, "an unknown part", "write plain YAML")
        if top is None:
            root = node
        elif top.__class__ is Map:
            top[key] = node  # type: ignore[index]
            key = None
        else:
            top.append(node)  # type: ignore[union-attr]


def _key(top: Any, node: Any, event: Any) -> str:
    """Check one key of a mapping and note its place."""
    key: str = node.value
    if key == "<<" and node.plain:
        raise _at(event, "the merge key <<", "write the values out")
    if not key:
        raise _at(event, "an empty key", "write the name before the colon")
    if key in top:
        line, _ = top.marks[key]
        raise _at(event, f"the key {shown(key)} stands twice", f"delete one (the first is in line {line})")
    top.marks[key] = (node.line, node.column)
    return key


def _at(event: Any, what: str, hint: str) -> Unreadable:
    return Unreadable(what, hint, event.start_mark.line + 1, event.start_mark.column + 1)


def _refused(event: Any) -> Unreadable:
    if event.anchor is not None:
        return _at(event, f"the anchor &{shown(event.anchor)}", "delete it and write values out where they are used")
    return _at(event, f"the tag {shown(event.tag)}", 'delete it; a text that begins with ! needs quotes: "!..."')


#: Part of the parser's message -> what to do about it.
_HINTS = {
    "mapping values are not allowed": "put quotes around a text that contains a colon, or check the indentation",
    "could not find expected ':'": "write key: value here, or indent it as part of the text above",
    "did not find expected '-' indicator": "check the indentation of the list",
    "sequence entries are not allowed": "begin the list in the next line, or put quotes around the text",
    "mapping keys are not allowed": "put quotes around a text that begins with a question mark",
    "tab character": "indent with spaces, not tabs",
    "found unexpected end of stream": "close the quote that is opened here",
    "expected ',' or": "close the bracket that is opened here, or put quotes around the text",
    "unknown escape character": "write \\\\ for a backslash, or use single quotes",
    "expected comment or line break": "begin the text in the next line, or put quotes around it",
    "expected a comment or a line break": "begin the text in the next line, or put quotes around it",
}
#: Of these the parser notices the end; where it began is the place to look at.
_BEGAN = ("could not find expected ':'", "found unexpected end of stream", "expected ',' or")
#: What git leaves in a file that two people changed.
_CONFLICT = re.compile(r"^(?:<{7} |={7}$|>{7} )", re.MULTILINE)


def _explain(error: yaml.MarkedYAMLError, text: str) -> Unreadable:
    """Say what the parser found, where a person should look, and what helps."""
    conflict = _CONFLICT.search(text)
    if conflict is not None:
        hint = "keep what is right and delete the lines <<<<<<<, ======= and >>>>>>>"
        return Unreadable("a merge conflict that is not resolved", hint, *place(text, conflict.start()))
    problem = error.problem or "unknown mistake"
    began = error.context_mark if any(part in problem for part in _BEGAN) else None
    mark = began or error.problem_mark or error.context_mark
    if mark is None:
        return Unreadable(f"not readable as YAML: {problem}", "check indentation and quotes")
    past = mark.index >= len(text)  # where the file ends is no place to look at: where it says its last word is
    line, column = place(text, len(text.rstrip())) if past else (mark.line + 1, mark.column + 1)
    hint = next((hint for part, hint in _HINTS.items() if part in problem), "") or (
        "close the bracket that is still open"
        if past and "flow" in (error.context or "")
        else _look_at(text, mark.index)
    )
    return Unreadable(f"not readable as YAML: {problem}", hint, line, column)


def _look_at(text: str, index: int) -> str:
    """Say what helps where the message alone does not tell: by the characters at the place."""
    char, before = text[index : index + 1], text[:index].rstrip(" ")[-1:]
    if char == "\t":
        return "indent with spaces, not tabs"
    if text.startswith("```", index):
        return "delete the line ```: the file holds nothing but YAML"
    if char in ("@", "`", "%"):
        return f"put quotes around a text that begins with {char}"
    if before in ("'", '"'):
        return "put quotes around the whole text; '' is an apostrophe inside single quotes"
    if char in ("]", "}"):
        return "delete the bracket, or put quotes around the text"
    return "check indentation and quotes"


def place(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, counted from 1, of an offset; every kind of line end counts once."""
    start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    ends = text.count("\n", 0, offset) + text.count("\r", 0, offset) - text.count("\r\n", 0, offset)
    return ends + 1, offset - start + 1


def places(text: str, offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Return the places of many offsets; the text is gone through once."""
    starts = [0, *(match.end() for match in _LINE_END.finditer(text))] if offsets else []
    lines = [bisect_right(starts, offset) for offset in offsets]
    return [(line, offset - starts[line - 1] + 1) for line, offset in zip(lines, offsets, strict=True)]


def _stand_ins(text: str) -> dict[str, str]:
    """Return a character that the text does not hold for each one that ends a line in YAML 1.1 but in no editor."""
    odd = sorted(set(_BREAKS.findall(text)))
    free = (char for char in map(chr, range(0xE000, 0xF900)) if char not in text)
    return dict(zip(odd, free, strict=False)) if odd else {}

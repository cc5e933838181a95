"""Changing keys of one YAML file that a person keeps: every line that holds none of these keys stays byte for byte.

Only the lines of a changed key are read and written again, which keeps the comments in them; a new key goes below the
last one; a mapping in braces is one piece. What a key means is the reader's business (``loader``); the guard has the
last word here: after the change every other key says what it said before.

    CannotChange                the text was not changed; what it says should be changed by hand
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from coordinator.files import guard
from coordinator.files.emitter import fits_block, scalar
from coordinator.files.guard import Map, Node, Scalar, Seq

_LINE_END = re.compile(r"\r\n|\r|\n")
_LINE_START = re.compile(r"^(?=[^\n])", re.MULTILINE)
#: A list that stands as far to the left as its key.
_DASHES = re.compile(r"^- ", re.MULTILINE)
_COMMENT = re.compile(r"#[^\r\n]*")
_BLOCKS = ("|", ">")
#: Columns before a text is broken into lines: never.
_WIDE = 1 << 30


class CannotChange(Exception):
    """The text cannot be changed without touching more of it than was asked for."""


class Plain(str):
    """A text that needs no quotes for any reader that knows this file: a time, a duration."""


#: What a key may be set to; None and False take it away. A tuple is a short list on one line. A function gets what the
#: key holds, with its comments, and returns what it is to hold.
Value = None | bool | int | str | tuple[str, ...] | list[str] | Mapping[str, Any] | Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Piece:
    """The text that belongs to one key, from ``start`` to ``end``, and the comments in it."""

    start: int
    end: int
    comments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where things stand: pieces by key, or the one piece of a mapping in braces."""

    pieces: Mapping[str, _Piece] = field(default_factory=dict)
    braces: _Piece | None = None
    indent: int = 0


def change(data: bytes, values: Mapping[str, Value]) -> bytes:
    """Return ``data`` with keys of its top level set or taken away, in the order of ``values``.

    A key that is taken away leaves its lines behind, empty or false, when a comment stands in them. ``data`` may be
    empty, or hold comments alone. Raises CannotChange, and Unreadable when the guard does not let ``data`` through.
    """
    before = guard.load(data)
    if before is not None and not isinstance(before, Map):
        raise CannotChange("expected key: value lines")
    mark = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
    text = guard.decode(data, len(data))
    try:
        for key, value in values.items():
            text = _set(text, key, value)
        after = mark + text.encode()
        _check(before or Map(1, 1), guard.load(after), values)
    except (YAMLError, yaml.YAMLError, guard.Unreadable, UnicodeError) as error:
        raise CannotChange(f"{', '.join(values)} cannot be changed without touching more: edit it by hand") from error
    return after


def _check(before: Map, after: Node | None, values: Mapping[str, Value]) -> None:
    """Raise CannotChange unless all other keys say what they said before."""
    kept = {key: _plain(node) for key, node in before.items() if key not in values}
    now = {key: _plain(node) for key, node in after.items() if key not in values} if isinstance(after, Map) else {}
    if kept != now:
        raise CannotChange(f"{', '.join(values)} cannot be changed without touching more: edit it by hand")


def _plain(node: Node) -> Any:
    match node:
        case Map():
            return {key: _plain(value) for key, value in node.items()}
        case Seq():
            return [_plain(value) for value in node]
        case Scalar():
            return node.value, node.null


def _set(text: str, key: str, value: Value) -> str:
    shape = _shape(text)
    piece = shape.braces or shape.pieces.get(key)
    if piece is None:
        at = max((one.end for one in shape.pieces.values()), default=len(text))
        piece = _Piece(at, at, ())
    old = text[piece.start : piece.end]
    if _absent(value) and not piece.comments and shape.braces is None:
        new = ""
    else:
        new = _indented(_again(old, key, value), shape.indent)
    lost = [comment for comment in piece.comments if comment.rstrip() not in new]
    if shape.braces is not None:
        if lost:
            raise CannotChange(f"{key} stands in braces with comments: edit it by hand")
        new = new.rstrip("\n")
    new = "".join(" " * shape.indent + comment.rstrip() + "\n" for comment in lost) + new
    if old and not old.endswith(("\r", "\n")):
        new = new.removesuffix("\n")
    newline = _newline(text)
    gap = newline if new and not old and text[: piece.start] and text[piece.start - 1] not in "\r\n" else ""
    return text[: piece.start] + gap + new.replace("\n", newline) + text[piece.end :]


def _absent(value: Value) -> bool:
    return value is None or value is False


def _newline(text: str) -> str:
    found = _LINE_END.search(text)
    return found[0] if found else "\n"


def _indented(text: str, indent: int) -> str:
    return _LINE_START.sub(" " * indent, text)


# --- where things stand ----------------------------------------------------------------------------------------------


def _shape(text: str) -> _Shape:
    """Find the pieces of a text that the guard let through."""
    root: Any = yaml.compose(text, yaml.SafeLoader)
    if root is None:
        return _Shape()
    if root.flow_style:
        return _Shape(braces=_piece(text, root.start_mark.index, root.end_mark.index, root))
    pieces = {}
    for key, value in root.value:
        start = max(text.rfind(end, 0, key.start_mark.index) for end in "\r\n") + 1
        after = _LINE_END.search(text, max(_end(text, value), key.end_mark.index))
        pieces[key.value] = _piece(text, start, after.end() if after else len(text), key, value)
    return _Shape(pieces, None, root.start_mark.column)


def _piece(text: str, start: int, end: int, *nodes: Any) -> _Piece:
    outside = list(text[start:end])
    for word in (word for node in nodes for word in _words(node)):
        first, last = word.start_mark.index, _end(text, word)
        if word.style in _BLOCKS:  # a comment may stand behind its indicator
            header = _LINE_END.search(text, first)
            first = min(last, header.start() if header else last)
        outside[first - start : last - start] = " " * (last - first)
    return _Piece(start, end, tuple(_COMMENT.findall("".join(outside))))


def _words(node: Any) -> Iterator[Any]:
    """Yield every scalar in a node."""
    if isinstance(node, yaml.ScalarNode):
        yield node
        return
    for child in _children(node):
        yield from _words(child)


def _children(node: Any) -> list[Any]:
    return [one for child in node.value for one in (child if isinstance(child, tuple) else (child,))]


def _end(text: str, node: Any) -> int:
    """Return the offset behind the last thing that a node says; empty lines below a block count as outside."""
    if isinstance(node, yaml.ScalarNode) and node.style in _BLOCKS:
        return int(node.start_mark.index + len(text[node.start_mark.index : node.end_mark.index].rstrip()))
    if isinstance(node, yaml.ScalarNode) or node.flow_style:
        return int(node.end_mark.index)
    return max(_end(text, child) for child in _children(node))


# --- one piece -------------------------------------------------------------------------------------------------------


class _Representer(RoundTripRepresenter):
    """Writes plain texts without quotes."""


_Representer.add_representer(Plain, lambda self, text: self.represent_scalar(_tag(self, text), str(text)))


def _tag(representer: Any, text: str) -> Any:
    return representer.dumper.resolver.resolve(ScalarNode, str(text), (True, False))


def _again(piece: str, key: str, value: Value) -> str:
    """Return one piece of YAML with a key set, or gone; line ends become line feeds."""
    yaml_ = YAML()
    yaml_.Representer = _Representer
    yaml_.preserve_quotes = True
    yaml_.width = _WIDE
    if _DASHES.search(piece):
        yaml_.indent(mapping=2, sequence=2, offset=0)
    else:
        yaml_.indent(mapping=2, sequence=4, offset=2)
    mapping = yaml_.load(_LINE_END.sub("\n", piece)) if piece else CommentedMap()
    if _absent(value) and mapping.fa.flow_style():
        mapping.pop(key, None)
    else:
        mapping[key] = value(mapping.get(key)) if callable(value) else node(value)
    out = io.StringIO()
    yaml_.dump(mapping, out)
    return out.getvalue()


def node(value: Value) -> Any:
    """Return a value as it is written by ``change``, for functions that make one."""
    match value:
        case Plain():
            return value
        case str():
            if fits_block(value):
                return LiteralScalarString(value)
            return DoubleQuotedScalarString(value) if scalar(value).startswith('"') else value
        case tuple():
            words = CommentedSeq(map(node, value))
            words.fa.set_flow_style()
            return words
        case list():
            return CommentedSeq(map(node, value))
        case Mapping():
            return CommentedMap((key, node(one)) for key, one in value.items())
        case _:
            return value

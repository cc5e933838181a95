"""A person's ``tasks/<id>.yaml`` as commands write it: a new one, one taken over from the hub, one with keys changed.

Whatever is written is read again by the reader of the hub and must say what was meant, and nothing else. This module
knows no repository, and not which change makes sense for which task.

    WrongFile                   the text, before or after, is not one that the hub would read; ``problems`` say why
    NotMeant                    values that the schema does not let through; ``problems`` have no place in a file
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from coordinator.core.task import Spec
from coordinator.files import guard, loader, reader, schema
from coordinator.files.emitter import emit_task
from coordinator.files.guard import Map, Node, Scalar, Seq
from coordinator.files.problem import Problem
from coordinator.files.rewrite import CannotChange, Plain, Value, change

#: What an editor looks for at the top of a file to know its schema.
_EDITORS_LINE = b"# yaml-language-server:"
#: Keys whose texts stand without quotes.
_PLAIN_KEYS = frozenset({"timeout", "deadline", "not_before"})


class WrongFile(Exception):
    """The hub would not read the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


class NotMeant(WrongFile):
    """What should be written is wrong, whatever stands in the file."""


def head(others: Iterable[bytes]) -> bytes:
    """Return what a new file begins with: the line for editors that most ``others`` begin with, if any does."""
    lines = (data.split(b"\n", 1)[0].rstrip() for data in others)
    counted = Counter(line for line in lines if line.startswith(_EDITORS_LINE))
    return counted.most_common(1)[0][0] + b"\n" if counted else b""


def taken_over(spec: Spec, begin: bytes = b"") -> bytes:
    """Return a specification that the hub made as a person's file; ``begin`` stands above it."""
    return begin + emit_task(spec)


def changed(path: str, data: bytes, values: Mapping[str, Value], *, reserved: tuple[str, ...] = ()) -> bytes:
    """Return the file ``data`` with keys set, or taken away (None, False); a file without keys may become one.

    A key that says so already is not touched. Raises NotMeant, WrongFile (the file, before or after), CannotChange.
    """
    meant = _meant(values)
    before = _read(path, data) if _begun(path, data) else None
    needed = {
        key: Plain(value) if key in _PLAIN_KEYS and isinstance(value, str) else value
        for key, value in values.items()
        if before is None or getattr(before.file, key) != getattr(meant.file, key)
    }
    if not needed:
        return data
    after = change(data, needed)
    read = _read(path, after)
    for key in type(read.file).model_fields:
        source = meant.file if key in values else before.file if before else None
        if source is not None and getattr(read.file, key) != getattr(source, key):
            raise CannotChange(f"{key} would not be read as meant: edit the file by hand")
    if before is not None and read.extra != before.extra:
        raise CannotChange("a key that begins with x- would be read differently: edit the file by hand")
    check(path, after, reserved=reserved)
    return after


def check(path: str, data: bytes, *, reserved: tuple[str, ...] = ()) -> Spec:
    """Return a file as the hub reads it. Raises WrongFile."""
    spec = loader.load_task(path, data, "", reserved=reserved)
    if isinstance(spec, tuple):
        raise WrongFile(spec)
    return spec


def _begun(path: str, data: bytes) -> bool:
    try:
        return guard.load(data) is not None
    except guard.Unreadable as error:
        raise WrongFile(loader.refused(path, error)) from None


def _read(path: str, data: bytes) -> reader.Read[schema.TaskFile]:
    read = reader.read(schema.TaskFile, guard.load(data), path)
    if isinstance(read, tuple):
        raise WrongFile(read)
    return read


def _meant(values: Mapping[str, Value]) -> reader.Read[schema.TaskFile]:
    """Return values as the schema reads them, defaults where a key is taken away; a title is given if none is."""
    nodes = Map(0, 0)
    if "title" not in values:
        nodes.update({"title": Scalar("x", False, 0, 0)})
    for key, value in values.items():
        if value is not None:
            nodes[key] = _node(value)
    if broken := [key for key, value in values.items() if not _utf8(value)]:
        raise NotMeant(tuple(Problem("", 0, 0, key, "is not UTF-8", "write it in UTF-8") for key in broken))
    read = reader.read(schema.TaskFile, nodes, "")
    if isinstance(read, tuple):
        raise NotMeant(read)
    return read


def _utf8(value: Value) -> bool:
    """Tell whether every text in a value can be written; an argument of a command may hold stray bytes."""
    texts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else (value,)
    try:
        "".join(map(str, texts)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _node(value: object) -> Node:
    if isinstance(value, Mapping):
        nodes = Map(0, 0)
        nodes.update({key: _node(one) for key, one in value.items()})
        return nodes
    if isinstance(value, list | tuple):
        listed = Seq(0, 0)
        listed.extend(map(_node, value))
        return listed
    if isinstance(value, bool):
        return Scalar("true" if value else "false", True, 0, 0)
    return Scalar(str(value), False, 0, 0)

"""What the readers of files made of bytes that were read before, so that nobody need parse them again.

A value stands under the blob id of its bytes and whatever else its reader was told, so it can be out of date but never
wrong: other bytes have another id. Only values are kept, never problems: a wrong file is read again and named again.
This module knows no reader, and it trusts what ``load`` is given: whoever keeps it makes sure that it is whole, and of
the same readers (``coordinator.snapshot``).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from coordinator.core.task import Spec, Status
from coordinator.files.markdown import Parsed
from coordinator.files.problem import Problem

V = TypeVar("V")


class Memo(Generic[V]):
    """Values of one kind; a value that nobody asks for is not kept for the next time."""

    def __init__(self, known: Mapping[str, V] | None = None) -> None:
        #: How many values were not known when they were asked for.
        self.missed = 0
        self._known: dict[str, V] = dict(known or {})
        self._used: set[str] = set()
        self._over = False

    def __contains__(self, key: str) -> bool:
        return key in self._known

    @property
    def used(self) -> dict[str, V]:
        """Every value that was asked for."""
        return {key: value for key, value in self._known.items() if key in self._used}

    def read(self, key: str, reader: Callable[[], V | tuple[Problem, ...]]) -> V | tuple[Problem, ...]:
        """Return the value known under ``key``, else what ``reader`` makes of the bytes."""
        known = self._known.get(key)
        if known is not None:
            self._used.add(key)
            return known
        read = reader()
        if not self._over and not isinstance(read, tuple):
            self.missed += 1
            self._known[key] = read
            self._used.add(key)
        return read

    def forget(self) -> None:
        """Let go of all values, and keep none from now on."""
        self._over = True
        self._known.clear()
        self._used.clear()


@dataclass(slots=True)
class Readings:
    """Statuses, the specifications that the hub made, people's files in tasks/, and versions of BACKLOG.md."""

    statuses: Memo[Status] = field(default_factory=Memo)
    made: Memo[Spec] = field(default_factory=Memo)
    tasks: Memo[Spec] = field(default_factory=Memo)
    lists: Memo[Parsed] = field(default_factory=Memo)

    @property
    def missed(self) -> int:
        """How many files had to be parsed."""
        return self.statuses.missed + self.made.missed + self.tasks.missed + self.lists.missed

    def forget(self) -> None:
        """Let go of everything: memory holds by now what it needs."""
        for memo in (self.statuses, self.made, self.tasks, self.lists):
            memo.forget()


def nothing() -> Readings:
    """Return readings that know nothing and keep nothing."""
    readings = Readings()
    readings.forget()
    return readings


@dataclass(frozen=True, slots=True)
class _Known:
    statuses: dict[str, Status]
    made: dict[str, Spec]
    tasks: dict[str, Spec]
    lists: dict[str, Parsed]


_KNOWN = TypeAdapter(_Known)


def dump(readings: Readings) -> bytes:
    """Return what was asked for as one line of JSON; a value that would not come back as it is, is left out."""
    rows = {
        "statuses": _rows(readings.statuses, TypeAdapter(Status)),
        "made": _rows(readings.made, TypeAdapter(Spec)),
        "tasks": _rows(readings.tasks, TypeAdapter(Spec)),
        "lists": _rows(readings.lists, TypeAdapter(Parsed)),
    }
    return b"{%s}" % b",".join(b'"%s":{%s}' % (name.encode(), b",".join(made)) for name, made in rows.items())


def load(data: bytes) -> Readings:
    """Return what ``dump`` wrote. Raises ValueError when it is anything else."""
    known = _KNOWN.validate_json(data)
    return Readings(Memo(known.statuses), Memo(known.made), Memo(known.tasks), Memo(known.lists))


def _rows(memo: Memo[V], adapter: TypeAdapter[V]) -> list[bytes]:
    rows: list[bytes] = []
    for key, value in memo.used.items():
        try:
            raw = adapter.dump_json(value)
            if repr(adapter.validate_json(raw)) == repr(value):  # 1, 1.0 and True are equal and not the same
                rows.append(b"%s:%s" % (json.dumps(key).encode(), raw))
        except (PydanticSerializationError, ValueError):
            continue  # a text that is none of Unicode
    return rows

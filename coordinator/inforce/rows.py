"""The settings of one place as rows: key, value, origin. A secret is never in a row, only that it is set."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from coordinator.doctor.bundle import clean
from coordinator.files.convert import write_duration
from coordinator.sourced import Sourced


@dataclass(frozen=True, slots=True)
class Row:
    """One setting: its whole key, its value as JSON has it, and who said it. Durations are seconds, as floats.

    The value of a ``secret`` is True or None. ``about`` says what the setting is for, where that is written down.
    """

    key: str
    value: Any
    origin: str
    secret: bool = False
    about: str = ""

    @property
    def text(self) -> str:
        """The value as people read it."""
        match self.value:
            case None:
                return "not set" if self.secret else "-"
            case True:
                return "set" if self.secret else "true"
            case False:
                return "false"
            case float() as seconds:
                return write_duration(seconds) if seconds else "0s"
            case list() as words:
                return ", ".join(map(str, words)) or "-"
            case other:
                return str(other)

    def json(self) -> dict[str, Any]:
        """Return it as an object of ``--json``."""
        said: dict[str, Any] = {"key": self.key, "value": self.value, "origin": self.origin}
        if self.secret:
            said |= {"value": None, "secret": True, "set": self.value is not None}
        return said


@dataclass(frozen=True, slots=True)
class Section:
    """The settings of one place. ``problems`` is what is wrong there, ``notes`` what one must know to read it.

    ``exit_code`` is what a command ends with because of the problems.
    """

    name: str
    rows: tuple[Row, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    exit_code: int = 0


def row(key: str, said: Sourced[Any], about: str = "") -> Row:
    """Return one setting as a row, without what looks like a secret in its value."""
    return Row(key, plain(said.value), clean(said.origin), about=about)


def secret(key: str, said: Sourced[str | None], where: str = "") -> Row:
    """Return of a secret that it is set, and where; ``where`` says of one that is not how it comes about."""
    return Row(key, True if said.value else None, clean(said.origin if said.value else where or said.origin), True)


def plain(value: Any) -> Any:
    """Return a value as JSON has it, without what looks like a secret."""
    match value:
        case None | bool() | int() | float():
            return value
        case StrEnum() | str() | Path():
            return clean(str(value))
        case Mapping():
            return {clean(str(name)): plain(inner) for name, inner in value.items()}
        case Iterable():
            return [plain(inner) for inner in value]
        case _:
            return clean(str(value))


def flat(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of a value made of dataclasses and mappings with its key, as ``timeouts.accept``."""
    if is_dataclass(value):
        inner: Iterable[tuple[str, Any]] = ((one.name, getattr(value, one.name)) for one in fields(value))
    elif isinstance(value, Mapping):
        inner = value.items()
    else:
        yield at, value
        return
    for name, below in inner:
        yield from flat(below, f"{at}.{name}" if at else str(name))

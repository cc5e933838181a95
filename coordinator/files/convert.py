"""Words of a YAML file turned into values: times, durations, booleans, numbers, ids, free values, and back again.

Every reader takes a guarded node and returns a plain value or raises ``Wrong``, whose text says what was expected and
whose hint says what to write. This module knows no kind of file.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from pydantic_core import PydanticCustomError

from coordinator.core.task import ID_PATTERN, is_id
from coordinator.files import limits, secrets
from coordinator.files.guard import Map, Node, Scalar, Seq
from coordinator.files.problem import CONTROL, shown

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,40})?)([smhd])\Z")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
#: How people write durations elsewhere, for a suggestion: ``1h30m``, ``30 min``, ``2 hours``.
_LOOSE = re.compile(r"([0-9]{1,6})\s{0,3}(s|m|h|d|secs?|mins?|hrs?|seconds?|minutes?|hours?|days?)(?![a-z])\s{0,3}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})?\Z"
)
_INTEGER = re.compile(r"-?[0-9]+\Z")
_YES = frozenset("yes y on 1 true".split())
_NO = frozenset("no n off 0 false".split())
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?\Z")
#: Longest run of digits that is read as a number; longer ones stay text.
_DIGITS = 400
#: No whole number in a file has more characters.
_INTEGER_CHARS = 19
#: The largest whole number that every JSON reader keeps exactly.
LARGEST = 2**53
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
DAY_MS = 86_400_000
#: The last millisecond that can be written: the end of the year 9999, UTC.
LAST_MS = 253_402_300_799_999


def wrong(what: str, hint: str = "") -> PydanticCustomError:
    """Build the error that schema readers raise; braces in texts are kept as they are."""
    return PydanticCustomError("wrong", "{what}", {"what": what, "hint": hint})


def kind_of(node: object) -> str:
    """Name a node for people."""
    match node:
        case Seq() | list() | tuple():
            return "a list"
        case Map() | dict():
            return "a mapping"
        case Scalar() if node.null:
            return "nothing"
        case _:
            return "a word"


def suggest(word: str, known: tuple[str, ...], otherwise: str = "") -> str:
    """Return ``did you mean X?`` for a word close to a known one, else ``otherwise``."""
    folded = word.lower().replace("-", "_")
    begun = [one for one in known if len(folded) > 2 and one.startswith(folded)]
    close = begun or get_close_matches(folded, known, 1, 0.6)
    return f"did you mean {close[0]}?" if close else otherwise


def text(node: object, expected: str = "a text") -> str:
    """Read any text as it was written; ``expected`` names for a message what should have stood there."""
    if isinstance(node, str):
        return node
    if not isinstance(node, Scalar):
        raise wrong(f"expected {expected}, got {kind_of(node)}", _unwrapped(node, expected))
    if node.null:
        raise wrong(f"expected {expected}, got nothing", "write one, or delete the line")
    return node.value


def _unwrapped(node: object, expected: str) -> str:
    """Say how to write the one word that somebody wrote as a list or a mapping."""
    match node:
        case Seq() if len(node) == 1 and isinstance(inner := node[0], Scalar):
            return f"write {shown(inner.value)} without brackets or dash"
        case Map() if len(node) == 1 and expected in ("a word", "a text"):
            ((key, value),) = node.items()
            if isinstance(value, Scalar):
                return f'put quotes around it: "{shown(f"{key}: {value.value}")}"'
    return "write one of them" if expected.startswith("one of") else f"write {expected}"


def as_entries(node: Seq) -> str:
    """Say how to write in a list what somebody wrote as a list inside it."""
    words = [inner.value for inner in node if isinstance(inner, Scalar)]
    if len(words) < len(node) or not words:
        return "write one word for each entry"
    meant = ", ".join(f'"- {shown(word)}"' for word in words[:3]) + (" and so on" if len(words) > 3 else "")
    return f"did you mean {meant}?" if len(words) == 1 else f"write each in a line of its own: {meant}"


def word(node: object) -> str:
    """Read a name: one line, not empty, at most ``limits.WORD_CHARS`` characters, outer blanks dropped."""
    value = text(node, "a word").strip()
    if not value:
        raise wrong("expected a word, got an empty text", "write one, or delete the line")
    if CONTROL.search(value):
        raise wrong("expected one line", "put it on one line")
    if len(value) > limits.WORD_CHARS:
        raise wrong(f"longer than {limits.WORD_CHARS} characters", "make it shorter")
    return value


def name(node: object) -> str:
    """Read the name of a repository or a branch: a word without blanks that cannot be taken for an option."""
    value = word(node)
    if value.startswith("-") or any(char.isspace() for char in value):
        raise wrong(f"{shown(value)} is no name", "write it without blanks and without a leading -")
    return value


def title(node: object) -> str:
    """Read a title: one line, at most ``limits.TITLE_CHARS`` characters."""
    value = text(node, "a title").strip()
    if not value:
        raise wrong("is empty", "write in one line what is to be done")
    if len(value) > limits.TITLE_CHARS:
        raise wrong(f"longer than {limits.TITLE_CHARS} characters", "move the details to description")
    if "\n" in value or "\r" in value:
        raise wrong("has several lines", "keep one and move the rest to description")
    return value


def sized(limit: int) -> Callable[[object], str]:
    """Return a reader of texts of at most ``limit`` bytes."""

    def read(node: object) -> str:
        value = text(node)
        if len(value) * 4 > limit and len(value.encode("utf-8", "replace")) > limit:
            raise wrong(f"longer than {limit:,} bytes", "make it shorter or point to a file")
        return value

    return read


def identifier(node: object) -> str:
    """Read the id of a task or an agent."""
    value = text(node, "an id")
    if is_id(value):
        return value
    if ID_PATTERN.match(value):
        raise wrong(f"{value} is a reserved word and no id", "write the id of a task or an agent")
    meant = "-".join(value.lower().replace("_", " ").split())
    close = is_id(meant) and not secrets.find(value)
    rule = "write lower-case letters, digits and -, at most 64"
    raise wrong(f"{shown(value)} is no id", f"did you mean {meant}?" if close else rule)


def boolean(node: object) -> bool:
    """Read ``true`` or ``false`` and nothing else; other spellings are named with the right one."""
    value = text(node, "true or false")
    if value == "true":
        return True
    if value == "false":
        return False
    folded = value.lower()
    hint = "write true" if folded in _YES else "write false" if folded in _NO else "write one of them"
    raise wrong(f"expected true or false, got {shown(value)}", hint)


def integer(low: int, high: int) -> Callable[[object], int]:
    """Return a reader of whole numbers from ``low`` to ``high``."""
    hint = f"write a number from {low} to {high}" if high < LARGEST else f"write a number, {low} or more"

    def read(node: object) -> int:
        value = text(node, "a whole number")
        if not _INTEGER.match(value):
            raise wrong(f"expected a whole number, got {shown(value)}", hint)
        if len(value) > _INTEGER_CHARS or not low <= int(value) <= high:
            raise wrong(f"{shown(value)} is out of range", hint)
        return int(value)

    return read


def parse_duration(value: str) -> float:
    """Return seconds for ``90s``, ``30m``, ``1.5h`` or ``2d``; more than zero, at most a year."""
    match = _DURATION.match(value)
    if match is None:
        raise wrong(f"expected a duration, got {shown(value)}", _meant_duration(value))
    seconds = float(Decimal(match[1]) * _UNITS[match[2]])
    if not 0 < seconds <= limits.DURATION_S:
        raise wrong(f"{shown(value)} is out of range", "write more than 0 and at most 366d")
    return seconds


def _meant_duration(value: str) -> str:
    """Say how a duration is written that was written in another way."""
    if value.isdecimal() and len(value) < _INTEGER_CHARS:
        return f"write {value}s or {value}m"
    spelled = value.strip().lower()
    parts = list(_LOOSE.finditer(spelled)) if len(spelled) < 60 else []
    if parts and "".join(part[0] for part in parts) == spelled:
        seconds = sum(int(part[1]) * _UNITS[part[2][0]] for part in parts)
        if 0 < seconds <= limits.DURATION_S:
            return f"did you mean {write_duration(seconds)}?"
    return "write a number and s, m, h or d: 30m"


def duration(node: object) -> float:
    """Read a duration as seconds."""
    return parse_duration(text(node, "a duration"))


def write_duration(seconds: float) -> str:
    """Return the shortest exact way to write a duration: ``30m`` for 1800."""
    for unit in "dhm":
        size = _UNITS[unit]
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    exact = format(Decimal(repr(seconds)), "f")
    return (exact.rstrip("0").rstrip(".") if "." in exact else exact) + "s"


def parse_time(value: str, *, end_of_day: bool = False) -> int:
    """Return ms since the epoch for an RFC 3339 time, or the first (``end_of_day``: last) one of a bare date."""
    bare = _DATE.match(value)
    match = _TIME.match(value)
    hint = "write 2026-12-01 or 2026-12-01T12:00:00Z"
    if bare is None and match is None:
        raise wrong(f"expected a time, got {shown(value)}", hint)
    if match is not None and match[4] is None:
        raise wrong(f"{shown(value)} has no time zone", f"write {match[1]}T{match[2]}Z for UTC")
    try:
        if match is None:
            ms = (datetime.fromisoformat(f"{value}T00:00:00+00:00") - _EPOCH) // _MS + (DAY_MS - 1) * end_of_day
        else:
            zone = "+00:00" if match[4] in "Zz" else match[4]
            fraction = (match[3] or ".0")[:7].ljust(7, "0")
            ms = (datetime.fromisoformat(f"{match[1]}T{match[2]}{fraction}{zone}") - _EPOCH) // _MS
    except (ValueError, OverflowError):
        raise wrong(f"{shown(value)} is no time", hint) from None
    if not 0 <= ms <= LAST_MS:
        raise wrong(f"{shown(value)} is out of range", "write a time from 1970 to 9999")
    return ms


def time(node: object) -> int:
    """Read a time; a bare date is its first millisecond, UTC."""
    return parse_time(text(node, "a time"))


def deadline(node: object) -> int:
    """Read a time; a bare date is its last millisecond, UTC."""
    return parse_time(text(node, "a time"), end_of_day=True)


def write_time(ms: int) -> str:
    """Return ``2026-11-22T11:22:33.123Z`` for ms since the epoch; years outside 1970 to 9999 become the edge."""
    days, ms = divmod(min(max(ms, 0), LAST_MS), DAY_MS)
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{_day(days)}T{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{ms:03}Z"


@lru_cache(256)
def _day(days: int) -> str:
    """Return ``2026-11-22`` for days since the epoch."""
    return f"{_EPOCH + timedelta(days=days):%Y-%m-%d}"


def choice(*words: str) -> Callable[[object], str]:
    """Return a reader of one of a few words."""
    all_of_them = ", ".join(words)

    def read(node: object) -> str:
        value = text(node, f"one of {all_of_them}")
        if value not in words:
            raise wrong(f"{shown(value)} is unknown", suggest(value, words, f"write one of {all_of_them}"))
        return value

    return read


def plain_number(value: str) -> int | float | None:
    """Return the number that prints back as the same text, None when there is none (``012``, ``1.10``, ``1_000``)."""
    if len(value) > _DIGITS or not _FLOAT.match(value):
        return None
    if value.removeprefix("-").isdigit():
        number = int(value)
        return number if str(number) == value else None
    try:
        real = float(value)
    except OverflowError:  # pragma: no cover - float() of a text gives inf instead
        return None
    return real if repr(real) == value else None


def free(node: Node) -> Any:
    """Read a value without a schema: YAML 1.2 core words, but numbers only where no character would be lost.

    ``1.10``, ``012`` and ``1e3`` stay text, because the number would print differently from what was written.
    """
    match node:
        case Map():
            return {key: free(value) for key, value in node.items()}
        case Seq():
            return [free(value) for value in node]
        case Scalar(plain=False):
            return node.value
    if node.null:
        return None
    if node.value == "true":
        return True
    if node.value == "false":
        return False
    number = plain_number(node.value)
    return node.value if number is None else number

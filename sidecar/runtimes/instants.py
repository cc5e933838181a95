"""When to try again, read from what a runtime says: numbers, dates, durations, times of day. Pure; all in ms.

``now`` is ms since the epoch. What lies in the past or more than 30 days ahead is no time to try again.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

_MOST_AHEAD_MS = 30 * 24 * 3600 * 1000
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_UNITS = r"(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)\b"
_EPOCH = re.compile(r"(?:\||\breset[a-z]*\D{0,20}|\bretry\D{0,20})(1\d{9}|1\d{12})\b")
_ISO = re.compile(r"\b(20\d\d-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)")
_AFTER = re.compile(
    r"(?i)\b(?:retry|try again|try later|available|wait|resets?)\b[^\d\n]{0,40}"
    rf"((?:\d+(?:\.\d+)?\s*{_UNITS}[\s,and]*)+)"
)
_PART = re.compile(rf"(?i)(\d+(?:\.\d+)?)\s*({_UNITS})")
_BARE = re.compile(r"(?i)\bretry[- ]after[\s\":=]*(\d+(?:\.\d+)?)\b")
_CLOCK = re.compile(
    r"(?i)\b(?:resets?|try again|available|until)\b[^\d\n]{0,20}?"
    r"(\d{1,2})(?::(\d\d))?\s*(am|pm)?\b(?:\s*\(([A-Za-z_+\-/]+)\))?"
)


def instant_of(value: Any, now: int) -> int | None:
    """Read a field that says when, or after how many seconds, to try again."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return _ahead(_of_number(float(value), now), now)
    text = str(value).strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return _ahead(_of_number(float(text), now), now)
    return instant_in(text, now) or _ahead(_of_duration(text, now), now)


def instant_in(text: str, now: int) -> int | None:
    """Find in a message when to try again; None when it does not say."""
    if match := _EPOCH.search(text):
        return _ahead(_of_number(float(match[1]), now), now)
    if match := _ISO.search(text):
        return _ahead(_of_date(match[1]), now)
    if match := _AFTER.search(text):
        return _ahead(_of_duration(match[1], now), now)
    if match := _BARE.search(text):
        return _ahead(_of_number(float(match[1]), now), now)
    if match := _CLOCK.search(text):
        return _of_clock(match, now)
    return None


def _of_number(number: float, now: int) -> int:
    """Seconds from now, or since the epoch, or ms since the epoch: their sizes tell them apart."""
    if number > 1e12:
        return int(number)
    return int(number * 1000) if number > 1e9 else now + int(number * 1000)


def _of_date(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _of_duration(text: str, now: int) -> int | None:
    parts = _PART.findall(text)
    if not parts:
        return None
    return now + int(sum(float(number) * _UNIT_MS[_unit(word)] for number, word in parts))


def _unit(word: str) -> str:
    word = word.lower()
    return "ms" if word.startswith(("ms", "milli")) else word[0]


def _of_clock(match: re.Match[str], now: int) -> int | None:
    """Return the next time that clocks there show so; without am, pm or minutes a number is no time of day."""
    if match[2] is None and match[3] is None:
        return None
    hour, minute = int(match[1]), int(match[2] or 0)
    if match[3]:
        hour = hour % 12 + (12 if match[3].lower() == "pm" else 0)
    if hour > 23 or minute > 59:
        return None
    zone = _zone(match[4])
    if match[4] and zone is None:
        return None
    here = datetime.fromtimestamp(now / 1000, zone)
    moment = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if moment <= here:
        moment += timedelta(days=1)
    return int(moment.timestamp() * 1000)


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return None


def _ahead(moment: int | None, now: int) -> int | None:
    return moment if moment is not None and now < moment <= now + _MOST_AHEAD_MS else None

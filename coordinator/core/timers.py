"""Time as a value, and the set of instants at which the core wants to be called again.

Durations run on the monotonic clock; what people wrote as a date runs on the wall clock. This module knows neither
tasks nor agents: a timer is a key and an instant.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Now:
    """One reading of both clocks: ``mono`` in seconds for durations, ``wall`` in ms since the epoch for records."""

    mono: float
    wall: int


def spell_instant(ms: int) -> str:
    """Spell an instant of the wall clock (ms since the epoch) for people, in UTC: ``2026-12-01 12:00 UTC``."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def rfc3339(ms: int) -> str:
    """Return a wall time as RFC 3339 in UTC with milliseconds."""
    seconds, rest = divmod(ms, 1000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:03d}Z"


#: A timer's name: what is due, and for whom (``("lease", "loash")``).
Key = tuple[str, str]


class Timers:
    """Instants by key on one clock; setting a key again replaces its instant."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []

    def set(self, key: Key, at: float) -> None:
        """Fire ``key`` at ``at``, and forget the instant it had before."""
        if self._due.get(key) != at:
            self._due[key] = at
            heapq.heappush(self._heap, (at, key))

    def clear(self, key: Key) -> None:
        """Forget ``key``; it is no error when it was not set."""
        self._due.pop(key, None)

    def get(self, key: Key) -> float | None:
        """Return the instant of ``key``, None when it is not set."""
        return self._due.get(key)

    def shift(self, span: float) -> None:
        """Put every instant off by ``span``: the clock of these timers stood still so long."""
        self._due = {key: at + span for key, at in self._due.items()}
        self._heap = [(at, key) for key, at in self._due.items()]
        heapq.heapify(self._heap)

    def next_due(self) -> float | None:
        """Return the earliest instant, None when nothing is set."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Iterator[Key]:
        """Yield and forget every key that is due at ``now``, earliest first."""
        while True:
            self._drop_stale()
            if not self._heap or self._heap[0][0] > now:
                return
            _, key = heapq.heappop(self._heap)
            del self._due[key]
            yield key

    def _drop_stale(self) -> None:
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)

"""How much anybody may ask of the door: delays of refusals, violations, rates, admission (PROTOCOL 1.1).

Every decision is a number of seconds or a yes; whoever asks passes the time in (monotonic seconds) and does the waiting
and the closing. No socket, no clock and no task is known here, and nothing grows without end.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

#: The delay of a first refusal and the longest one, in seconds; it doubles in between.
FIRST_DELAY = 1.0
LONGEST_DELAY = 30.0
#: Who was not refused for so long begins anew, in seconds: longer than any client pauses between two tries.
FORGET_AFTER = 300.0
#: So many addresses, identities and wrong tokens are remembered; of more the one refused longest ago is forgotten.
REMEMBERED = 10_000
#: So many characters of what a client says it is are kept.
IDENTITY_CHARS = 100

#: Wrong tokens of one address, whatever they are: so many at once, and so many per second after that.
WRONG_AT_ONCE = 1_000
WRONG_PER_SECOND = 20.0
#: The same wrong token again, from wherever. A program that tries each route once with one must not come so far.
REPEATED_AT_ONCE = 200
REPEATED_PER_SECOND = 5.0

#: So many violations within so many seconds end a session.
VIOLATIONS = 10
VIOLATIONS_WITHIN = 60.0

#: Frames of one session beside those that are never limited: so many at once, and so many per second after that.
FRAMES_AT_ONCE = 200
FRAMES_PER_SECOND = 20.0

#: Sessions that may begin at once, and per second after that: the tasks of those that are in go on meanwhile.
ADMITTED_AT_ONCE = 50
ADMITTED_PER_SECOND = 500.0


@dataclass(slots=True)
class _Refused:
    times: int
    last: float


class Refusals:
    """Who was refused how often, by address and identity."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], _Refused] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def delay(self, address: str, identity: str, now: float) -> float:
        """Count a refusal; return how many seconds its answer waits."""
        key = (address, identity[:IDENTITY_CHARS])
        before = self._known.pop(key, None)
        times = 0 if before is None or now - before.last > FORGET_AFTER else before.times
        self._known[key] = _Refused(times + 1, now)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(times, 32))

    def forget(self, address: str, identity: str) -> None:
        """Begin anew with somebody who was let in."""
        self._known.pop((address, identity[:IDENTITY_CHARS]), None)


@dataclass(slots=True)
class Violations:
    """What one session did against the protocol lately."""

    _at: list[float] = field(default_factory=list)

    def too_many(self, now: float) -> bool:
        """Count a violation; tell whether it was one too many."""
        self._at = [at for at in self._at if now - at < VIOLATIONS_WITHIN] + [now]
        return len(self._at) >= VIOLATIONS


class Rate:
    """A flow of ``per_second`` that may run ahead by ``at_once``."""

    __slots__ = ("_at_once", "_left", "_per_second", "_since")

    def __init__(self, at_once: int, per_second: float) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._left = float(at_once)
        self._since = 0.0

    def turn(self, now: float) -> float:
        """Take the next place in the flow; return the seconds until it is reached, 0 for at once."""
        self._left = min(self._at_once, self._left + max(0.0, now - self._since) * self._per_second) - 1
        self._since = now
        return max(0.0, -self._left / self._per_second)

    def over(self, now: float) -> float:
        """Return 0 and count one, or the seconds until there is room for it, and count nothing."""
        wait = self.turn(now)
        if wait:
            self._left += 1
        return wait


class Failures:
    """Wrong tokens over HTTP, by address and by token; who has a right one is never kept waiting."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Rate] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def over(self, address: str, token: str, now: float) -> float:
        """Count a failure; return 0, or the seconds until the next one is answered.

        ``token`` is a stored form: what was tried is not kept.
        """
        by_token = self._rate(("token", token), REPEATED_AT_ONCE, REPEATED_PER_SECOND).over(now)
        by_address = self._rate(("address", address), WRONG_AT_ONCE, WRONG_PER_SECOND).over(now)
        return max(by_token, by_address)

    def _rate(self, key: tuple[str, str], at_once: int, per_second: float) -> Rate:
        rate = self._known.pop(key, None) or Rate(at_once, per_second)
        self._known[key] = rate
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return rate


def frame_rate() -> Rate:
    """Return the limit of one session's frames."""
    return Rate(FRAMES_AT_ONCE, FRAMES_PER_SECOND)


def admission() -> Rate:
    """Return the limit of sessions that begin."""
    return Rate(ADMITTED_AT_ONCE, ADMITTED_PER_SECOND)


def limited(kind: str) -> bool:
    """Tell whether frames of a type may be refused for coming too fast: never those of a task's fate, nor a ping."""
    return not (kind.startswith("task_") or kind in ("state_report", "ping"))

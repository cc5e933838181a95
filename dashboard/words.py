"""How values are said on a page: durations, ages, numbers, and the name, sign and tone of each state. Pure.

A state is never told by its colour alone: every one has a word and a sign of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Badge:
    """How a word is shown: ``sign`` stands before it, ``tone`` names a colour of the style sheet."""

    label: str
    sign: str
    tone: str


#: Every state of tasks and agents, every flag, every kind of need and every level.
BADGES: Mapping[str, Badge] = {
    "queued": Badge("waiting", "○", "idle"),
    "assigned": Badge("assigned", "◔", "busy"),
    "working": Badge("working", "◑", "busy"),
    "blocked": Badge("asks", "?", "ask"),
    "in_review": Badge("in review", "◎", "ask"),
    "done": Badge("done", "✓", "good"),
    "failed": Badge("failed", "✕", "bad"),
    "rejected": Badge("rejected", "⊘", "bad"),
    "cancelled": Badge("cancelled", "–", "idle"),
    "offline": Badge("offline", "◌", "idle"),
    "idle": Badge("free", "●", "good"),
    "releasing": Badge("letting go", "◒", "busy"),
    "parked": Badge("parked", "‖", "warn"),
    "unresponsive": Badge("silent", "!", "bad"),
    "stuck": Badge("stuck", "!", "warn"),
    "draining": Badge("draining", "▽", "warn"),
    "disabled": Badge("disabled", "–", "idle"),
    "person": Badge("person", "☺", "idle"),
    "draft": Badge("draft", "✎", "idle"),
    "deferred": Badge("later", "»", "idle"),
    "held": Badge("held", "‖", "warn"),
    "question": Badge("question", "?", "ask"),
    "review": Badge("review", "◎", "ask"),
    "problem": Badge("problem", "!", "warn"),
    "saved": Badge("not committed", "✎", "warn"),
    "orphan": Badge("late result", "↯", "warn"),
    "ok": Badge("all is well", "✓", "good"),
    "warning": Badge("needs a look", "!", "warn"),
    "critical": Badge("stands still", "✕", "bad"),
    "urgent": Badge("urgent", "▲", "bad"),
    "high": Badge("high", "▴", "warn"),
    "normal": Badge("normal", "·", "idle"),
    "low": Badge("low", "▾", "idle"),
}

#: Why a task waits, in two words (DECISIONS 11); what a page says of the code.
REASONS: Mapping[str, str] = {
    "draft": "in a draft lane",
    "deferred": "for later",
    "held": "held",
    "orphaned": "line is gone",
    "dependency": "for another task",
    "cycle": "in a circle",
    "invalid": "file is wrong",
    "not_before": "for a date",
    "backoff": "after a failure",
    "no_agent": "no agent fits",
    "agents_offline": "agents offline",
    "agents_busy": "agents busy",
    "agents_parked": "agents parked",
    "excluded": "rejected by all",
    "pinned": "for one agent",
    "limit": "limit reached",
    "suspend": "suspended",
    "hub_readonly": "hub cannot write",
}


def badge(word: str) -> Badge:
    """Return how a word is shown; one that is not known is shown as it is."""
    return BADGES.get(word) or Badge(word.replace("_", " "), "·", "idle")


#: Events of the trail that are no mere step on the way, by tone.
TONES: Mapping[str, str] = {
    **dict.fromkeys(("completed", "approved", "done_by_hand"), "good"),
    **dict.fromkeys(("failed", "rejected", "budget", "deadline", "attempt_timeout", "stuck"), "bad"),
    **dict.fromkeys(("environment", "rate_limited", "lease_ended", "not_accepted", "held", "slip_undone"), "warn"),
    **dict.fromkeys(("blocked", "changes_asked", "answered"), "ask"),
    **dict.fromkeys(("assigned", "accepted", "recovered"), "busy"),
}


def tone(event: str | None) -> str:
    """Return the tone of an event of the trail."""
    return TONES.get(event or "", "idle")


def reason(code: str) -> str:
    """Return why a task waits in two words."""
    return REASONS.get(code) or code.replace("_", " ")


def span(ms: int | None) -> str:
    """Say how long something takes, in its largest unit, and the next one while the first is small."""
    if ms is None:
        return "–"
    if 0 < ms < 1_000:
        return f"{ms} ms"
    seconds = max(0, ms) // 1_000
    for at, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            smaller, name = _UNITS[at + 1] if at + 1 < len(_UNITS) else (1, "")
            more = f" {rest // smaller} {name}" if whole < 10 and name and rest // smaller else ""
            return f"{whole} {unit}{more}"
    return "0 s"


def ago(then: int | None, now: int) -> str:
    """Say how long ago something was, or that it is still to come."""
    if then is None:
        return "never"
    if then > now + 1_000:
        return f"in {span(then - now)}"
    return "just now" if now - then < 2_000 else f"{span(now - then)} ago"


def clock(ms: int | None) -> str:
    """Return an instant as people read it, in UTC."""
    return "–" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(ms: int | None) -> str:
    """Return an instant for the attribute ``datetime``."""
    return "" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def count(number: float | None) -> str:
    """Return a number with its thousands set apart, from a million on in short."""
    if number is None:
        return "–"
    if abs(number) >= 1_000_000:
        return f"{number / 1_000_000:.1f} M"
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def many(number: int, one: str, more: str | None = None) -> str:
    """Return a number with its noun: ``1 task``, ``2 tasks``."""
    return f"{count(number)} {one if number == 1 else more or one + 's'}"

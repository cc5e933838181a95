"""When to fetch and when to push, and what an answer of the remote means: decided from values, nothing is done here.

What is promised here: the source is asked for every half minute; what is written goes out at most every 15 s, at once
after a quiet minute, and is tried again for ever; no answer of the remote stops anything; nothing is pushed over a
branch that was not looked at. This module knows no git, no clock and no chance: ``now`` and ``luck`` (from 0 to below
1, a new one each time) are passed in.
"""

from dataclasses import dataclass, replace
from typing import Any, assert_never

from coordinator.core.timers import Now
from coordinator.files.problem import Problem
from coordinator.ports import Answer, End

#: How often the source is asked for, in seconds, give or take this part of it.
FETCH_EVERY_S = 30.0
FETCH_JITTER = 0.1
#: What was written is pushed after so many seconds, and at once when nothing was pushed for a quiet minute.
PUSH_AFTER_S = 15.0
QUIET_S = 60.0
#: The first pause after a push that failed, doubling up to the second, in seconds; a part of each is chance.
RETRY_FIRST_S = 2.0
RETRY_MOST_S = 60.0

# --- what is to be done ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FetchSource:
    """Ask for the source branch."""


@dataclass(frozen=True, slots=True)
class FetchState:
    """Ask for the state branch: a push was refused because somebody else wrote there."""


@dataclass(frozen=True, slots=True)
class Push:
    """Push this commit."""

    tip: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Do nothing before this instant (seconds on the monotonic clock), unless something changes."""

    until: float


Step = FetchSource | FetchState | Push | Rest

# --- what is known ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sync:
    """What a hub knows of its remote: ``own`` is its tip, ``theirs`` what the remote's state branch names.

    ``ahead_since`` is when the first commit was written that the remote does not have; ``overtaken`` when the first
    one was that is not part of the push under way. ``notice`` says what was put right by itself, last.
    """

    own: str | None = None
    theirs: str | None = None
    ahead_since: Now | None = None
    pushing: str | None = None
    overtaken: Now | None = None
    pushed: Now | None = None
    push_answer: Answer | None = None
    push_failures: int = 0
    push_not_before: float = float("-inf")
    unclear: bool = False
    fetched: Now | None = None
    fetch_answer: Answer | None = None
    fetch_due: float = float("-inf")
    notice: str = ""
    notice_at: Now | None = None

    @property
    def ahead(self) -> bool:
        """Tell whether the remote lacks something."""
        return self.own is not None and self.own != self.theirs


def next_step(sync: Sync, now: Now) -> Step:
    """Return what to do now; one thing at a time, the shell says how it ended before it asks again."""
    if sync.unclear and now.mono >= sync.push_not_before:
        return FetchState()
    if now.mono >= sync.fetch_due:
        return FetchSource()
    due = _push_due(sync)
    if due is not None and sync.own is not None and now.mono >= due:
        return Push(sync.own)
    looks = sync.push_not_before if sync.unclear else due
    return Rest(sync.fetch_due if looks is None else min(sync.fetch_due, looks))


def _push_due(sync: Sync) -> float | None:
    """Return when our commits should go out (monotonic seconds), None while there is nothing to push, or no right."""
    if not sync.ahead or sync.ahead_since is None or sync.unclear:
        return None
    since = sync.ahead_since.mono
    quiet = sync.pushed is None or since - sync.pushed.mono >= QUIET_S
    return max(since if quiet else since + PUSH_AFTER_S, sync.push_not_before)


# --- what happened ---------------------------------------------------------------------------------------------------


def moved(sync: Sync, tip: str | None, now: Now) -> Sync:
    """Note where our branch stands."""
    if tip == sync.own:
        return sync
    after = replace(sync, own=tip)
    if sync.pushing is not None and sync.overtaken is None:
        after = replace(after, overtaken=now)
    if not sync.ahead or sync.ahead_since is None:
        after = replace(after, ahead_since=now)
    return after


def asked(sync: Sync) -> Sync:
    """Somebody wants the source looked at now."""
    return replace(sync, fetch_due=float("-inf"))


def began(sync: Sync, step: Step) -> Sync:
    """Note what is under way."""
    return replace(sync, pushing=step.tip, overtaken=None) if isinstance(step, Push) else sync


def source_answered(sync: Sync, answer: Answer, now: Now, luck: float) -> Sync:
    """Note how asking for the source ended; the next time comes whatever it was."""
    due = now.mono + FETCH_EVERY_S * (1 + FETCH_JITTER * (2 * luck - 1))
    return replace(
        sync,
        fetch_answer=answer,
        fetched=now if answer.end in (End.DONE, End.GONE) else sync.fetched,
        fetch_due=due,
    )


def push_answered(sync: Sync, answer: Answer, now: Now, luck: float) -> Sync:
    """Note how a push ended, and when the next one may be."""
    tip, after = sync.pushing, replace(sync, pushing=None, overtaken=None, push_answer=answer)
    match answer.end:
        case End.DONE:
            after = _noticed(sync, after, answer, now)
            since = None if after.own == tip else sync.overtaken or now
            return replace(
                after, theirs=tip, ahead_since=since, pushed=now, push_failures=0, push_not_before=float("-inf")
            )
        case End.BEHIND:
            first = sync.push_failures == 0
            return replace(_failed(after, now, 0.0 if first else _pause(sync.push_failures, luck)), unclear=True)
        case End.REFUSED | End.AWAY | End.GONE:
            return _failed(after, now, _pause(sync.push_failures + 1, luck))
        case _:
            assert_never(answer.end)


def state_answered(sync: Sync, answer: Answer, now: Now, luck: float) -> Sync:
    """Note what the remote's state branch names; who wrote it is judged by whoever asked."""
    if answer.end in (End.DONE, End.GONE):
        return replace(sync, theirs=answer.tip, unclear=False)
    failed = replace(sync, push_answer=answer)
    return _failed(failed, now, _pause(sync.push_failures + 1, luck))


def _failed(sync: Sync, now: Now, pause: float) -> Sync:
    return replace(sync, push_failures=sync.push_failures + 1, push_not_before=now.mono + pause)


def _pause(failures: int, luck: float) -> float:
    """Return how long to wait after so many failures in a row: the second half of each pause is chance."""
    whole: float = min(RETRY_MOST_S, RETRY_FIRST_S * 2 ** min(failures - 1, 16))
    return whole * (0.5 + luck / 2)


def _noticed(sync: Sync, after: Sync, answer: Answer, now: Now) -> Sync:
    """Say when the remote's branch was not where we had left it."""
    if sync.theirs is None or answer.before == answer.tip or sync.theirs.startswith(answer.before or "-"):
        return after
    what = f"set back to {answer.before[:10]}" if answer.before else "deleted"
    return replace(after, notice=f"agentcom/state was {what} there, and put back by a push", notice_at=now)


# --- what people see -------------------------------------------------------------------------------------------------


def problems(sync: Sync, name: str, branch: str, unpushed: int) -> tuple[Problem, ...]:
    """Return what is wrong with the remote ``name``, whose ``branch`` is the source."""
    found = []
    fetch, push = sync.fetch_answer, sync.push_answer
    if fetch is not None and fetch.end is End.GONE:
        hint = "what was observed last stays in force; push it again"
        found.append(Problem(f"{name}/{branch}", what=f"{name} has no branch {branch}", hint=hint))
    if push is not None and (push.end is End.REFUSED or (push.end is End.BEHIND and sync.push_failures > 1)):
        hint = f"{_commits(unpushed)} not pushed; it is tried again"
        found.append(Problem(f"{name}/agentcom/state", what=f"{name} refuses it: {push.words}", hint=hint))
    away = next((answer for answer in (fetch, push) if answer is not None and answer.end is End.AWAY), None)
    if away is not None:
        how = "reached" if away is fetch else "pushed to"
        lag = f", {_commits(unpushed)} not pushed" if unpushed else ""
        hint = f"work goes on with what was fetched last{lag}; it is tried again"
        found.append(Problem(name, what=f"cannot be {how}: {away.words}", hint=hint))
    return tuple(found)


def lag_json(sync: Sync, unpushed: int) -> dict[str, Any]:
    """Return the times and errors of ``remote`` in ``GET /api/status``; times are ms since the epoch."""
    fetch, push = sync.fetch_answer, sync.push_answer
    return {
        "pushed_commit": sync.theirs,
        "unpushed": unpushed,
        "unpushed_since_ms": sync.ahead_since.wall if sync.ahead and sync.ahead_since is not None else None,
        "pushed_at_ms": _wall(sync.pushed),
        "push_error": push.words if push is not None and push.end is not End.DONE and sync.push_failures else None,
        "fetched_at_ms": _wall(sync.fetched),
        "fetch_error": fetch.words if fetch is not None and fetch.end is not End.DONE else None,
        "notice": sync.notice or None,
        "notice_at_ms": _wall(sync.notice_at),
    }


def _wall(instant: Now | None) -> int | None:
    return None if instant is None else instant.wall


def _commits(number: int) -> str:
    return "1 commit is" if number == 1 else f"{number} commits are"

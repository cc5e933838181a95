"""Which housekeeping is due: counts and times in, one step out.

This module decides when packs are rolled up, when the commit graph is written, when the branch is checked, and how long
each rests afterwards. It knows no git and reads no clock; times are seconds of any clock that only goes forward.

    REPACK   many small packs, or many loose objects       (a flush leaves a pack, an observed source loose objects)
    GRAPH    many commits that ``git log -- PATH`` must read one by one
    CHECK    a tip that never passed ``git fsck``
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

#: So many packs more than the last repack left make the next one due. It costs about 0.3 ms a commit, git log 1 ms each
#: 100 packs.
PACKS = 100
#: So many loose objects more than the last repack left do the same.
LOOSE = 2_000
#: So many commits without changed-path filters: a task's history reads each of them, at about 60 us.
COMMITS = 500
#: Fewer commits than that are noted after this time, in seconds.
GRAPH_LATEST = 3600.0

#: A failed step is tried again after this pause, in seconds, which doubles with each failure up to the longest.
RETRY, LONGEST_RETRY = 600.0, 6 * 3600.0


class Step(StrEnum):
    """One kind of housekeeping."""

    REPACK = "repack"
    GRAPH = "commit-graph"
    CHECK = "fsck"


#: How long a hub that starts leaves each step alone, in seconds: agents come back then.
SETTLE: Mapping[Step, float] = {Step.REPACK: 20.0, Step.GRAPH: 20.0, Step.CHECK: 120.0}

#: What a step that went well rests: at least so many seconds, and so many times as long as it took.
REST: Mapping[Step, tuple[float, float]] = {
    Step.REPACK: (10.0, 3.0),
    Step.GRAPH: (10.0, 9.0),
    Step.CHECK: (600.0, 100.0),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at the repository found.

    ``packs`` are those that a repack may touch, ``loose`` is an estimate, ``commits`` counts since the hub started,
    ``tip`` is the hub's last commit, ``checked`` the one that passed last; ``others``: somebody else packs now.
    """

    packs: int = 0
    loose: int = 0
    commits: int = 0
    tip: str | None = None
    checked: str | None = None
    others: bool = False


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was done: until when each step rests, how often it failed in a row, and what the last ones left.

    ``graphed`` is how many commits of this hub the commit graph has, None when that is not known.
    """

    rests: Mapping[Step, float] = field(default_factory=dict)
    failures: Mapping[Step, int] = field(default_factory=dict)
    packs: int = 0
    loose: int = 0
    graphed: int | None = None
    graphed_at: float = 0.0


def begin(now: float) -> Ledger:
    """Return the ledger of a hub that starts at ``now``."""
    return Ledger(rests={step: now + pause for step, pause in SETTLE.items()})


def due(seen: Seen, ledger: Ledger, now: float) -> Step | None:
    """Return the step to take now, None when there is nothing to do or somebody else is at it."""
    if seen.others or seen.tip is None:
        return None
    wanted = {
        Step.REPACK: seen.packs >= ledger.packs + PACKS or seen.loose >= ledger.loose + LOOSE,
        Step.GRAPH: ledger.graphed is None
        or seen.commits >= ledger.graphed + COMMITS
        or (seen.commits > ledger.graphed and now >= ledger.graphed_at + GRAPH_LATEST),
        Step.CHECK: seen.tip != seen.checked,
    }
    return next((step for step in Step if wanted[step] and now >= ledger.rests.get(step, now)), None)


def done(ledger: Ledger, step: Step, seen: Seen, now: float, took: float) -> Ledger:
    """Return the ledger after a step that went well and ended at ``now``.

    ``seen`` is what is left, but its ``commits`` are those before the step: what came meanwhile may not be in it.
    """
    least, times = REST[step]
    rests = {**ledger.rests, step: now + max(least, times * took)}
    failures = {**ledger.failures, step: 0}
    ledger = replace(ledger, rests=rests, failures=failures)
    match step:
        case Step.REPACK:
            return replace(ledger, packs=seen.packs, loose=seen.loose)
        case Step.GRAPH:
            return replace(ledger, graphed=seen.commits, graphed_at=now)
        case Step.CHECK:
            return ledger


def failed(ledger: Ledger, step: Step, now: float) -> Ledger:
    """Return the ledger after a step that failed at ``now``."""
    times = ledger.failures.get(step, 0) + 1
    pause = min(LONGEST_RETRY, RETRY * 2 ** min(times - 1, 10))
    rests = {**ledger.rests, step: now + pause}
    return replace(ledger, rests=rests, failures={**ledger.failures, step: times})


def lower(ledger: Ledger, seen: Seen) -> Ledger:
    """Return the ledger after a look: where somebody else packed, what the last repack left is not there any more."""
    return replace(ledger, packs=min(ledger.packs, seen.packs), loose=min(ledger.loose, seen.loose))


def rolled_up(packs: list[tuple[int, int]]) -> int:
    """Return how many bytes ``git repack --geometric=2`` will write together, of packs as (objects, bytes).

    Git keeps the largest packs of which each has at least twice the objects of the next smaller one, and all those
    below them that fit become one.
    """
    packs = sorted(packs)
    split = len(packs) - 1
    while split > 0 and packs[split][0] >= 2 * packs[split - 1][0]:
        split -= 1
    split = split + 1 if split > 0 else 0
    total = sum(objects for objects, _ in packs[:split])
    while 0 < split < len(packs) and packs[split][0] < 2 * total:
        total += packs[split][0]
        split += 1
    return sum(size for _, size in packs[:split])

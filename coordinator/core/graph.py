"""Circles in who-waits-for-whom, told to people as short as they can be. This module knows no tasks."""

from collections import deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

#: So many names of a circle are written out.
SPELT = 12


def circles(needs: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return, for each name that waits for itself in the end, a shortest circle of its knot; others are left out.

    ``needs`` maps a name to those it waits for; names that are no keys wait for nothing. All names of one knot share
    the circle through the first of them. O(names + needs).
    """
    found: dict[str, tuple[str, ...]] = {}
    for knot in _knots(needs):
        first = min(knot)
        ring = _ring(first, knot, needs) if len(knot) > 1 or first in needs.get(first, ()) else ()
        if ring:
            found.update(dict.fromkeys(sorted(knot), ring))
    return found


def spell(ring: Sequence[str]) -> str:
    """Write a circle for people, a long one shortened in its middle."""
    names = [*ring, ring[0]]
    if len(names) > SPELT:
        names = [*names[: SPELT // 2], f"({len(names) - SPELT} more)", *names[-SPELT // 2 :]]
    return " -> ".join(names)


def _knots(needs: Mapping[str, Sequence[str]]) -> list[set[str]]:
    """Return the strongly connected components (Tarjan, 1972), without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    knots: list[set[str]] = []
    for root in sorted(needs):
        work = [(root, 0)]
        while work:
            name, step = work.pop()
            if step == 0:
                if name in index:
                    continue
                index[name] = low[name] = len(index)
                path.append(name)
                on_path.add(name)
            following = needs.get(name, ())
            if step > 0 and following[step - 1] in on_path:
                low[name] = min(low[name], low[following[step - 1]])
            if step < len(following):
                work.append((name, step + 1))
                if following[step] not in index:
                    work.append((following[step], 0))
            elif low[name] == index[name]:
                knot: set[str] = set()
                while name not in knot:
                    knot.add(path.pop())
                on_path -= knot
                knots.append(knot)
    return knots


def _ring(start: str, knot: AbstractSet[str], needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return a shortest way from ``start`` back to it inside its knot, empty when there is none."""
    before: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        name = waiting.popleft()
        for following in needs.get(name, ()):
            if following == start:
                ring = [name]
                while ring[-1] != start:
                    ring.append(before[ring[-1]])
                return tuple(reversed(ring))
            if following in knot and following not in before:
                before[following] = name
                waiting.append(following)
    return ()

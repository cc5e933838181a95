"""Circles in who-waits-for-whom, told to people as short as they can be. This module knows no tasks."""

from collections import deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet


def circles(needs: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return, for each name on a circle, a shortest circle through it, beginning with it; others are left out.

    ``needs`` maps a name to those it waits for; names that are no keys wait for nothing.
    """
    found: dict[str, tuple[str, ...]] = {}
    for knot in _knots(needs):
        for name in sorted(knot):
            ring = _ring(name, knot, needs)
            if ring:
                found[name] = ring
    return found


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

"""What stays in its place while the rest moves. This module knows only numbers."""

from bisect import bisect_left
from collections.abc import Sequence


def longest_rise(numbers: Sequence[int]) -> tuple[int, ...]:
    """Return the positions of a longest strictly rising run: what a diff would show as unchanged. O(n log n)."""
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for position, number in enumerate(numbers):
        at = bisect_left(tails, number)
        before.append(ends[at - 1] if at else -1)
        tails[at : at + 1] = [number]
        ends[at : at + 1] = [position]
    stays = []
    position = ends[-1] if ends else -1
    while position >= 0:
        stays.append(position)
        position = before[position]
    return tuple(reversed(stays))

"""The ready tasks, in order, bucketed so that picking one costs the same however many wait.

All tasks of a bucket look alike to every agent (same needs, pin, exclusions, repository), so only the first of each
bucket is ever looked at. This module does not know what makes a task ready, nor who is idle.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from coordinator.core.task import Task

#: The order of tasks: priority, creation, place in the backlog, id.
Order = tuple[int, int, int, str]


def order_of(task: Task) -> Order:
    """Return the place of a task in the order (DESIGN 4, scheduling)."""
    return (int(task.spec.priority), task.status.created_at, task.position, task.id)


#: A heap of fewer places than this is never swept.
SMALLEST_SWEEP = 128


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a task asks of an agent; equal for all tasks of one bucket."""

    needs: frozenset[str]
    assignee: str | None
    excluded: frozenset[str]
    repo: str | None


def bucket_of(task: Task) -> Bucket:
    """Return the bucket that a task belongs to."""
    return Bucket(
        frozenset(task.spec.needed_capabilities),
        task.spec.assignee,
        frozenset(task.status.excluded),
        task.spec.repo,
    )


class ReadyQueue:
    """Ready tasks by bucket; every operation is O(log n) or better, ``heads`` is O(buckets)."""

    def __init__(self) -> None:
        self._place: dict[str, tuple[Bucket, Order]] = {}
        self._heaps: dict[Bucket, list[Order]] = {}
        self._limits: dict[Bucket, int] = {}

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._place

    def put(self, task: Task) -> None:
        """Add a task, or give it its new place."""
        place = (bucket_of(task), order_of(task))
        if self._place.get(task.id) == place:
            return
        self._place[task.id] = place
        heap = self._heaps.setdefault(place[0], [])
        heapq.heappush(heap, place[1])
        if len(heap) > self._limits.get(place[0], SMALLEST_SWEEP):
            self._sweep(place[0], heap)

    def _sweep(self, bucket: Bucket, heap: list[Order]) -> None:
        """Drop the places that tasks have left: whenever a heap has doubled, which costs nothing in the long run."""
        heap[:] = {order for order in heap if self._place.get(order[3]) == (bucket, order)}
        heapq.heapify(heap)
        self._limits[bucket] = max(SMALLEST_SWEEP, 2 * len(heap))

    def discard(self, task_id: str) -> None:
        """Take a task out; it is no error when it was not in."""
        self._place.pop(task_id, None)

    def heads(self) -> Iterator[tuple[Order, Bucket]]:
        """Yield the first task of every bucket, the earliest first."""
        heads: list[tuple[Order, int, Bucket]] = []
        for number, bucket in enumerate(list(self._heaps)):
            heap = self._heaps[bucket]
            while heap and self._place.get(heap[0][3]) != (bucket, heap[0]):
                heapq.heappop(heap)
            if heap:
                heads.append((heap[0], number, bucket))
            else:
                del self._heaps[bucket]
                self._limits.pop(bucket, None)
        for order, _, bucket in sorted(heads):
            yield order, bucket

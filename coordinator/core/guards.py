"""What is held back until a person confirms it: too much at once, in either direction (DESIGN 3, guards).

A slip of the editor or a rewritten branch must neither empty the queue nor start a hundred agents. This module says
what is too much and which confirmation means what; ``observing`` acts on it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

#: So many new ready items in one observation still run at once.
MOST_NEW = 25
#: So many open tasks may disappear in one observation, or this share of them if that is more.
MOST_REMOVED = 5
MOST_REMOVED_SHARE = 0.3
#: A confirmation names a commit by at least so many characters of its id.
SHORTEST_NAME = 7


class Kind(StrEnum):
    """Why a batch is held."""

    ADDED = "added"
    EXISTING = "existing"
    REMOVED = "removed"
    PROPOSED = "proposed"


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks held together: ``commit`` is the source commit that brought the change, and what confirms it by name.

    A task that an agent proposed is a batch of its own, named by the blob of its specification: who confirms it has
    seen just that.
    """

    commit: str
    kind: Kind
    ids: tuple[str, ...]


def too_many_new(count: int) -> bool:
    """Tell whether so many new ready items in one observation wait for a person."""
    return count > MOST_NEW


def too_many_removed(count: int, open_tasks: int) -> bool:
    """Tell whether so many of the open tasks may not disappear in one observation."""
    return count > max(MOST_REMOVED, MOST_REMOVED_SHARE * open_tasks)


def confirms(names: Iterable[str], batch: Batch) -> bool:
    """Tell whether one of the commits that a person named is the one that brought this batch."""
    return any(len(name) >= SHORTEST_NAME and batch.commit.startswith(name.lower()) for name in names)


def without(batches: Iterable[Batch], kinds: Collection[Kind], ids: Collection[str]) -> tuple[Batch, ...]:
    """Return the batches without some tasks of some kinds; a batch of nobody is no batch."""
    kept = (
        replace(batch, ids=tuple(name for name in batch.ids if name not in ids)) if batch.kind in kinds else batch
        for batch in batches
    )
    return tuple(batch for batch in kept if batch.ids)

"""How much is too much at once, and what a confirmation confirms."""

import pytest

from coordinator.core.guards import Batch, Kind, confirms, too_many_new, too_many_removed, without

BATCH = Batch("c0ffee1234567890", Kind.REMOVED, ("t-1", "t-2"))


def test_up_to_twenty_five_new_items_run_at_once() -> None:
    assert not too_many_new(25)
    assert too_many_new(26)


@pytest.mark.parametrize(
    ("removed", "open_tasks", "held"), [(5, 5, False), (6, 6, True), (6, 20, False), (7, 20, True), (30, 100, False)]
)
def test_five_tasks_or_thirty_percent_may_disappear_at_once(removed: int, open_tasks: int, held: bool) -> None:
    assert too_many_removed(removed, open_tasks) is held


@pytest.mark.parametrize(
    ("name", "good"),
    [("c0ffee1", True), ("C0FFEE1234567890", True), ("c0ffee", False), ("", False), ("c0ffee2", False)],
)
def test_a_confirmation_names_the_commit_by_at_least_seven_characters(name: str, good: bool) -> None:
    assert confirms([name], BATCH) is good


def test_a_batch_of_nobody_is_no_batch() -> None:
    assert without([BATCH], {Kind.REMOVED}, {"t-1"}) == (Batch(BATCH.commit, Kind.REMOVED, ("t-2",)),)
    assert without([BATCH], {Kind.REMOVED}, {"t-1", "t-2"}) == ()
    assert without([BATCH], {Kind.ADDED}, {"t-1", "t-2"}) == (BATCH,)

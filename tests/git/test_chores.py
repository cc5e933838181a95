"""When housekeeping is due, with a clock that the test turns."""

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from coordinator.git.chores import (
    COMMITS,
    GRAPH_LATEST,
    LONGEST_RETRY,
    LOOSE,
    PACKS,
    RETRY,
    Ledger,
    Seen,
    Step,
    begin,
    done,
    due,
    failed,
    lower,
    rolled_up,
)

QUIET = Seen(tip="c", checked="c")
KNOWN = Ledger(graphed=0)


def test_a_hub_that_starts_is_left_alone_at_first() -> None:
    ledger = begin(1000.0)
    much = Seen(packs=9999, loose=9999, commits=9999, tip="c")
    assert due(much, ledger, 1019.0) is None
    assert due(much, ledger, 1020.0) is Step.REPACK
    assert due(replace(QUIET, checked=None), done(ledger, Step.GRAPH, QUIET, 1020.0, 0.1), 1119.0) is None
    assert due(replace(QUIET, checked=None), done(ledger, Step.GRAPH, QUIET, 1020.0, 0.1), 1120.0) is Step.CHECK


def test_nothing_is_due_where_nothing_happens() -> None:
    assert due(QUIET, KNOWN, 1e9) is None


def test_the_commit_graph_of_an_earlier_hub_is_looked_after_once() -> None:
    assert due(QUIET, Ledger(), 0.0) is Step.GRAPH
    assert due(QUIET, done(Ledger(), Step.GRAPH, QUIET, 0.0, 0.1), 1e9) is None


def test_a_hundred_packs_or_many_loose_objects_are_rolled_up() -> None:
    assert due(replace(QUIET, packs=PACKS - 1, loose=LOOSE - 1), KNOWN, 0.0) is None
    assert due(replace(QUIET, packs=PACKS), KNOWN, 0.0) is Step.REPACK
    assert due(replace(QUIET, loose=LOOSE), KNOWN, 0.0) is Step.REPACK


def test_what_a_repack_leaves_does_not_make_the_next_one_due() -> None:
    left = replace(QUIET, packs=120, loose=3000)
    ledger = done(KNOWN, Step.REPACK, left, 0.0, 1.0)
    assert due(left, ledger, 1e6) is None
    assert due(replace(left, packs=120 + PACKS), ledger, 1e6) is Step.REPACK


def test_what_somebody_else_packed_counts_no_more() -> None:
    ledger = lower(done(KNOWN, Step.REPACK, replace(QUIET, packs=120), 0.0, 1.0), replace(QUIET, packs=1))
    assert due(replace(QUIET, packs=PACKS), ledger, 1e6) is None
    assert due(replace(QUIET, packs=PACKS + 1), ledger, 1e6) is Step.REPACK


def test_nothing_is_done_beside_somebody_who_packs_or_before_the_first_commit() -> None:
    assert due(Seen(packs=9999, tip="c", others=True), Ledger(), 1e9) is None
    assert due(Seen(packs=9999, tip=None), Ledger(), 1e9) is None


def test_a_step_rests_in_proportion_to_what_it_took() -> None:
    many = replace(QUIET, packs=PACKS)
    for took, rest in ((0.1, 10.0), (20.0, 60.0)):
        ledger = done(KNOWN, Step.REPACK, QUIET, 100.0, took)
        assert due(many, ledger, 100.0 + rest - 0.1) is None
        assert due(many, ledger, 100.0 + rest) is Step.REPACK


def test_checking_takes_one_hundredth_of_the_time_at_most() -> None:
    unchecked = replace(QUIET, checked="b")
    for took, rest in ((0.1, 600.0), (60.0, 6000.0)):
        ledger = done(KNOWN, Step.CHECK, QUIET, 0.0, took)
        assert due(unchecked, ledger, rest - 1) is None
        assert due(unchecked, ledger, rest) is Step.CHECK


def test_many_commits_or_an_old_one_bring_the_commit_graph_up_to_date() -> None:
    ledger = done(Ledger(), Step.GRAPH, replace(QUIET, commits=7), 50.0, 0.1)
    assert due(replace(QUIET, commits=7), ledger, 1e9) is None
    assert due(replace(QUIET, commits=6 + COMMITS), ledger, 100.0) is None
    assert due(replace(QUIET, commits=7 + COMMITS), ledger, 100.0) is Step.GRAPH
    assert due(replace(QUIET, commits=8), ledger, 50.0 + GRAPH_LATEST) is Step.GRAPH


def test_a_failed_step_is_tried_again_later_and_later_and_holds_up_no_other() -> None:
    ledger, now = KNOWN, 0.0
    many = replace(QUIET, packs=PACKS, checked="b")
    pauses = []
    for _ in range(12):
        ledger = failed(ledger, Step.REPACK, now)
        assert due(many, ledger, now) is Step.CHECK
        pauses.append(ledger.rests[Step.REPACK] - now)
        now = ledger.rests[Step.REPACK]
        assert due(many, ledger, now) is Step.REPACK
    assert pauses[:3] == [RETRY, 2 * RETRY, 4 * RETRY]
    assert pauses[-1] == LONGEST_RETRY
    ledger = failed(done(ledger, Step.REPACK, QUIET, now, 1.0), Step.REPACK, now)
    assert ledger.rests[Step.REPACK] - now == RETRY


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 10**9)), max_size=40))
def test_what_is_rolled_up_leaves_packs_of_which_each_has_twice_the_objects_of_the_next(
    packs: list[tuple[int, int]],
) -> None:
    size = rolled_up(packs)
    ordered = sorted(packs)
    sums = [sum(size for _, size in ordered[:number]) for number in range(len(ordered) + 1)]
    assert size in sums
    split = sums.index(size)
    rolled = sum(objects for objects, _ in ordered[:split])
    left = ([rolled] if split else []) + [objects for objects, _ in ordered[split:]]
    assert all(large >= 2 * small for small, large in itertools.pairwise(left))

"""Hub and sidecars against each other: whatever is lost, late, doubled or killed, every task ends once."""

from collections.abc import Callable

import pytest
from support.pair import Knobs, Pair, all_done

from coordinator.core.policy import Policy, Retries

#: Seeds of one test each, a few in the quick tests, more in ``make test``, the most in ``make crash``.
SEEDS = [
    *(range(first, first + 10) for first in range(0, 60, 10)),
    *(pytest.param(range(first, first + 20), marks=pytest.mark.slow) for first in range(1000, 1200, 20)),
    *(pytest.param(range(first, first + 20), marks=pytest.mark.crash) for first in range(1200, 1600, 20)),
]
PATIENT = Policy(retries=Retries(max=40, backoff=1, backoff_max=20))


def over_seeds(test: Callable[[int], None]) -> Callable[[range], None]:
    """Let a test be one for each range of seeds; a failure names its seed."""

    def over(seeds: range) -> None:
        for seed in seeds:
            try:
                test(seed)
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise

    over.__name__, over.__doc__ = test.__name__, test.__doc__
    return pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")(over)


@over_seeds
def test_without_trouble_every_task_runs_once(seed: int) -> None:
    pair = Pair(seed, Knobs(faults=0))

    pair.run()

    assert all_done(pair)
    assert {task.status.generation for task in pair.hub.branch.values()} == {1}
    assert len(pair.finished_work) == len(pair.hub.branch)


@over_seeds
def test_gaps_shorter_than_the_lease_cost_no_retry_and_no_second_run(seed: int) -> None:
    """S10: lost links, partitions, killed hubs, read-only disks and doubled frames, but no dead sidecar.

    An assignment that got lost on a link which the hub still took for alive ends as not_accepted: nobody ran it.
    """
    trouble = {"cut": 4, "partition": 3, "kill_hub": 3, "stall": 1}
    pair = Pair(seed, Knobs(weights=trouble, doubled=0.1))

    pair.run()

    assert all_done(pair)
    for task in pair.hub.branch.values():
        assert task.status.retry_count == 0
        *before, last = [str(attempt.end) for attempt in task.status.attempts]
        assert last == "done"
        assert set(before) <= {"not_accepted"}, "\n".join(pair.trace)
    assert len(pair.finished_work) == len(pair.hub.branch)


@over_seeds
def test_every_task_is_done_once_whatever_dies(seed: int) -> None:
    """S3, S4, S6, S9, L1, L2: everything may die at any point, and links may be away for longer than the lease."""
    trouble = {"cut": 4, "partition": 3, "kill_hub": 3, "kill_sidecar": 4, "stop_sidecar": 2, "stall": 1}
    knobs = Knobs(
        weights=trouble,
        faults=20,
        doubled=0.1,
        crash_inside=0.02,
        fails=0.1,
        partition=400,
        longest_work=120,
        policy=PATIENT,
    )
    pair = Pair(seed, knobs)

    pair.run()

    assert all_done(pair)


@over_seeds
def test_retries_are_spent_up_to_the_maximum_and_never_beyond(seed: int) -> None:
    """S10: with few retries and much failure a task may fail, and then exactly because none was left."""
    trouble = {"cut": 2, "partition": 2, "kill_hub": 2, "kill_sidecar": 3}
    knobs = Knobs(weights=trouble, doubled=0.1, fails=0.4, rate_limited=0.1, partition=400, longest_work=200)
    pair = Pair(seed, knobs)

    pair.run()

    for task in pair.hub.branch.values():
        assert all_done(pair) or str(task.state) in ("done", "failed")
        assert (str(task.state) == "failed") <= (task.status.retry_count == task.status.max_retries)


@over_seeds
def test_every_question_is_answered_and_every_task_ends_whatever_dies(seed: int) -> None:
    """Also when the answer, or the ack of the question, is lost with a link or with whoever should have heard it."""
    trouble = {"cut": 4, "partition": 3, "kill_hub": 3, "kill_sidecar": 4, "stop_sidecar": 2, "stall": 1}
    knobs = Knobs(
        weights=trouble, faults=20, doubled=0.1, crash_inside=0.02, asks=0.4, blocks=0.3, partition=400, policy=PATIENT
    )
    pair = Pair(seed, knobs)

    pair.run()

    assert all_done(pair)

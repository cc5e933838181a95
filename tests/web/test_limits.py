"""The limits of the door with simulated time."""

import pytest

from coordinator.web import limits
from coordinator.web.limits import Failures, Rate, Refusals, Violations


def test_refusals_of_one_identity_from_one_address_are_answered_ever_later_up_to_30_s() -> None:
    refusals = Refusals()
    assert [refusals.delay("10.0.0.1", "a", float(at)) for at in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_neither_the_neighbour_nor_the_same_name_elsewhere_waits_longer() -> None:
    refusals = Refusals()
    for at in range(5):
        refusals.delay("10.0.0.1", "a", float(at))
    assert refusals.delay("10.0.0.1", "b", 5.0) == 1
    assert refusals.delay("10.0.0.2", "a", 5.0) == 1


def test_who_was_let_in_begins_anew() -> None:
    refusals = Refusals()
    refusals.delay("10.0.0.1", "a", 0.0)
    refusals.forget("10.0.0.1", "a")
    assert len(refusals) == 0
    assert refusals.delay("10.0.0.1", "a", 1.0) == 1


def test_who_was_not_refused_for_five_minutes_begins_anew() -> None:
    refusals = Refusals()
    refusals.delay("10.0.0.1", "a", 0.0)
    assert refusals.delay("10.0.0.1", "a", 300.0) == 2
    assert refusals.delay("10.0.0.1", "a", 600.5) == 1


def test_a_client_that_reconnects_every_second_for_ever_never_begins_anew() -> None:
    refusals, now, waits = Refusals(), 0.0, []
    for _ in range(1_000):
        waits.append(refusals.delay("10.0.0.1", "a", now))
        now += waits[-1] + 1
    assert waits[5:] == [30] * 995


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REMEMBERED", 3)
    refusals = Refusals()
    for who in "abcd":
        refusals.delay("10.0.0.1", who, 0.0)
    assert len(refusals) == 3
    assert refusals.delay("10.0.0.1", "d", 0.0) == 2
    assert refusals.delay("10.0.0.1", "a", 0.0) == 1


def test_a_name_of_a_megabyte_is_remembered_by_its_beginning() -> None:
    refusals = Refusals()
    refusals.delay("10.0.0.1", "x" * 1_000_000, 0.0)
    assert refusals.delay("10.0.0.1", "x" * limits.IDENTITY_CHARS, 0.0) == 2


def test_the_tenth_violation_within_a_minute_is_one_too_many() -> None:
    violations = Violations()
    assert [violations.too_many(6.0 * count) for count in range(10)] == [False] * 9 + [True]


def test_ten_violations_in_more_than_a_minute_are_not() -> None:
    violations = Violations()
    assert not any(violations.too_many(7.0 * count) for count in range(1_000))


def test_a_flow_runs_ahead_once_and_then_as_fast_as_it_may() -> None:
    rate = Rate(at_once=3, per_second=2.0)
    assert [rate.turn(10.0) for _ in range(5)] == pytest.approx([0, 0, 0, 0.5, 1.0])
    assert rate.turn(11.5) == 0


def test_what_is_refused_for_coming_too_fast_takes_no_place() -> None:
    rate = Rate(at_once=2, per_second=1.0)
    assert [rate.over(0.0) for _ in range(4)] == pytest.approx([0, 0, 1.0, 1.0])
    assert rate.over(0.25) == pytest.approx(0.75)
    assert rate.over(1.0) == 0


def test_a_storm_of_a_thousand_is_let_in_within_two_seconds_and_never_all_at_once() -> None:
    admission = limits.admission()
    waits = [admission.turn(0.0) for _ in range(1_000)]
    assert sum(wait == 0 for wait in waits) == limits.ADMITTED_AT_ONCE
    assert 1.5 < waits[-1] < 2.0


@pytest.mark.parametrize(
    "kind", ["task_complete", "task_failed", "task_progress", "task_recovering", "state_report", "ping"]
)
def test_a_tasks_fate_and_a_sign_of_life_are_never_limited(kind: str) -> None:
    assert not limits.limited(kind)


@pytest.mark.parametrize("kind", ["message", "status", "channel_publish", "wake_result", "resource_report"])
def test_everything_else_is_limited(kind: str) -> None:
    assert limits.limited(kind)


def test_the_same_wrong_token_is_answered_so_often_at_once_and_then_five_times_a_second() -> None:
    failures = Failures()
    assert [failures.over("10.0.0.1", "t", 0.0) for _ in range(200)] == [0] * 200
    assert failures.over("10.0.0.1", "t", 0.0) == pytest.approx(0.2)
    assert failures.over("10.0.0.2", "t", 0.1) == pytest.approx(0.1), "from wherever it comes"
    assert failures.over("10.0.0.1", "other", 0.1) == 0
    assert failures.over("10.0.0.1", "t", 0.2) == 0


def test_one_address_that_tries_many_tokens_is_slowed_down_and_its_neighbour_is_not() -> None:
    failures = Failures()
    waits = [failures.over("10.0.0.1", f"t{number}", 0.0) for number in range(1_001)]
    assert (max(waits[:1_000]), waits[1_000]) == (0, pytest.approx(0.05))
    assert failures.over("10.0.0.2", "fresh", 0.0) == 0


def test_wrong_tokens_never_fill_the_memory_and_their_address_is_not_forgotten_among_them() -> None:
    failures = Failures()
    for number in range(2 * limits.REMEMBERED):
        wait = failures.over("10.0.0.1", f"t{number}", 0.0)
    assert len(failures) == limits.REMEMBERED
    assert wait > 0

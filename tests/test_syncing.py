"""When a hub fetches and pushes, with a remote and a clock that exist only here."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.timers import Now
from coordinator.ports import Answer, End
from coordinator.syncing import (
    FETCH_EVERY_S,
    FETCH_JITTER,
    PUSH_AFTER_S,
    QUIET_S,
    RETRY_MOST_S,
    FetchSource,
    FetchState,
    Push,
    Rest,
    Sync,
    asked,
    began,
    lag_json,
    moved,
    next_step,
    problems,
    push_answered,
    source_answered,
    state_answered,
)

FOUND = Answer(End.DONE, "s1")
AWAY = Answer(End.AWAY, words="no route to host")
REFUSED = Answer(End.REFUSED, words="protected branch (pre-receive hook declined)")


@dataclass
class World:
    """A hub and its remote in simulated time; commits are numbers, a line of them grows forward."""

    sync: Sync = field(default_factory=Sync)
    seconds: float = 0.0
    luck: float = 0.5
    there: str | None = None
    source: Answer = FOUND
    trouble: Answer | None = None
    fetches: list[float] = field(default_factory=list)
    pushes: list[tuple[float, str]] = field(default_factory=list)
    states: list[float] = field(default_factory=list)
    commits: int = 0

    @property
    def now(self) -> Now:
        return Now(self.seconds, int(self.seconds * 1000))

    def commit(self) -> str:
        self.commits += 1
        self.sync = moved(self.sync, f"c{self.commits:05}", self.now)
        self.work()
        return f"c{self.commits:05}"

    def work(self) -> float:
        """Do whatever is due; return when the next thing is."""
        while True:
            step = next_step(self.sync, self.now)
            self.sync = began(self.sync, step)
            match step:
                case Rest(until):
                    return until
                case FetchSource():
                    self.fetches.append(self.seconds)
                    self.sync = source_answered(self.sync, self.trouble or self.source, self.now, self.luck)
                case FetchState():
                    self.states.append(self.seconds)
                    answer = self.trouble or Answer(End.DONE, self.there)
                    self.sync = state_answered(self.sync, answer, self.now, self.luck)
                case Push(tip):
                    self.pushes.append((self.seconds, tip))
                    self.sync = push_answered(self.sync, self.pushed(tip), self.now, self.luck)

    def pushed(self, tip: str) -> Answer:
        if self.trouble is not None:
            return self.trouble
        if self.there is not None and self.there.startswith("x"):
            return Answer(End.BEHIND)
        before, self.there = self.there or "", tip
        return Answer(End.DONE, tip, before)

    def wait(self, seconds: float) -> None:
        end = self.seconds + seconds
        while (until := self.work()) <= end:
            self.seconds = max(until, self.seconds)
        self.seconds = end


def test_the_source_is_asked_for_every_half_minute_give_or_take_a_tenth() -> None:
    for luck, pause in ((0.0, 27.0), (0.5, 30.0), (0.999999, 33.0)):
        world = World(luck=luck)
        world.wait(10 * FETCH_EVERY_S)
        assert world.fetches[0] == 0
        assert world.fetches[1] == pytest.approx(pause, abs=0.01)
        assert world.fetches[2] == pytest.approx(2 * pause, abs=0.01)


def test_somebody_who_asks_is_not_kept_waiting_and_does_not_double_the_pace() -> None:
    world = World()
    world.wait(10)
    world.sync = asked(world.sync)
    world.wait(31)
    assert world.fetches == [0, 10, 40]


def test_after_a_quiet_minute_the_first_commit_goes_out_at_once_and_the_next_ones_together() -> None:
    world = World()
    world.wait(100)
    world.commit()
    world.wait(1)
    for _ in range(50):
        world.commit()
        world.wait(0.1)
    world.wait(20)
    assert [(seconds, tip) for seconds, tip in world.pushes] == [(100, "c00001"), (101 + PUSH_AFTER_S, "c00051")]


def test_work_without_end_is_pushed_every_quarter_minute() -> None:
    world = World()
    for _ in range(3000):
        world.commit()
        world.wait(0.1)
    gaps = [b - a for (a, _), (b, _) in pairwise(world.pushes)]
    assert min(gaps) >= PUSH_AFTER_S
    assert max(gaps) < PUSH_AFTER_S + 0.2


def test_nothing_is_pushed_when_there_is_nothing_new() -> None:
    world = World()
    world.commit()
    world.wait(3600)
    assert len(world.pushes) == 1


def test_a_commit_made_during_a_push_is_pushed_by_the_next_one() -> None:
    now = Now(100, 100_000)
    sync = moved(Sync(fetch_due=1e9), "c1", now)
    sync = began(sync, Push("c1"))
    sync = moved(sync, "c2", Now(103, 103_000))
    sync = moved(sync, "c3", Now(105, 105_000))
    sync = push_answered(sync, Answer(End.DONE, "c1"), Now(110, 110_000), 0.5)
    assert sync.ahead
    assert sync.ahead_since == Now(103, 103_000)
    assert next_step(sync, Now(110, 110_000)) == Rest(103 + PUSH_AFTER_S)
    assert next_step(sync, Now(118, 118_000)) == Push("c3")


def test_a_remote_that_is_away_for_an_hour_is_tried_gently_and_caught_up_with_by_itself() -> None:
    world = World()
    world.commit()
    world.trouble = AWAY
    world.wait(20)
    for _ in range(360):
        world.commit()
        world.wait(10)
    tried = [seconds for seconds, _ in world.pushes[1:]]
    gaps = [b - a for a, b in pairwise(tried)]
    assert gaps[:4] == [1.5, 3.0, 6.0, 12.0]
    assert max(gaps) <= RETRY_MOST_S
    assert len(tried) < 100
    assert len(world.fetches) == pytest.approx(3620 / FETCH_EVERY_S, abs=2)
    world.trouble = None
    world.wait(RETRY_MOST_S)
    assert world.there == "c00361"
    assert not world.sync.ahead
    assert problems(world.sync, "origin", "main", 0) == ()


def test_what_is_not_pushed_is_shown_with_its_age_and_the_reason() -> None:
    world = World()
    world.wait(50)
    world.trouble = AWAY
    world.commit()
    world.wait(600)
    world.commit()
    said = lag_json(world.sync, 2)
    assert said["unpushed"] == 2
    assert said["unpushed_since_ms"] == 50_000
    assert said["push_error"] == said["fetch_error"] == "no route to host"
    assert said["fetched_at_ms"] == 30_000
    (problem,) = problems(world.sync, "origin", "main", 2)
    assert "cannot be reached: no route to host" in str(problem)
    assert "2 commits are not pushed" in str(problem)


def test_a_refusal_is_a_problem_in_the_words_of_the_forge_and_tried_again() -> None:
    world = World(trouble=None)
    world.wait(1)
    world.trouble = REFUSED
    world.commit()
    world.source = Answer(End.DONE, "s1")
    (problem,) = problems(world.sync, "origin", "main", 1)
    assert "origin refuses it: protected branch (pre-receive hook declined)" in str(problem)
    world.wait(600)
    assert len(world.pushes) > 10
    world.trouble = None
    world.wait(RETRY_MOST_S)
    assert world.there == "c00001"
    assert problems(world.sync, "origin", "main", 0) == ()


def test_a_source_that_is_gone_is_a_problem_until_it_is_there_again() -> None:
    world = World(source=Answer(End.GONE, words="couldn't find remote ref"))
    world.wait(1)
    assert "origin has no branch main" in str(problems(world.sync, "origin", "main", 0)[0])
    world.source = Answer(End.DONE, "s2")
    world.wait(31)
    assert problems(world.sync, "origin", "main", 0) == ()


def test_a_push_that_came_too_late_looks_at_the_other_branch_first_and_never_pushes_over_it() -> None:
    world = World(there="x-somebody-else")
    world.commit()
    assert world.states == [0]
    assert len(world.pushes) == 2, "looked at, found harmless by whoever judges, and tried once more"
    world.wait(600)
    assert len(world.pushes) == len(world.states) + 1
    gaps = [b - a for a, b in pairwise(world.states)]
    assert max(gaps) <= RETRY_MOST_S
    assert len(world.states) < 20
    world.there = "c00000"
    world.wait(RETRY_MOST_S)
    assert world.there == "c00001"


def test_while_their_branch_cannot_be_looked_at_nothing_is_pushed() -> None:
    world = World(there="x")
    world.wait(1)
    sync = push_answered(began(moved(world.sync, "c1", world.now), Push("c1")), Answer(End.BEHIND), world.now, 0.5)
    sync = state_answered(sync, AWAY, world.now, 0.5)
    assert sync.unclear
    for seconds in range(1, 300):
        assert not isinstance(next_step(sync, Now(seconds, 0)), Push)


@pytest.mark.parametrize(("there", "word"), [(None, "deleted"), ("c00001", "set back to c00001")])
def test_a_branch_that_was_deleted_or_rewound_there_is_put_back_and_reported(there: str | None, word: str) -> None:
    world = World()
    world.commit()
    world.wait(100)
    world.commit()
    world.wait(100)
    assert lag_json(world.sync, 0)["notice"] is None
    world.there = there
    last = world.commit()
    assert world.there == last
    assert word in world.sync.notice
    assert lag_json(world.sync, 0)["notice_at_ms"] == 200_000


def test_a_push_that_was_done_although_its_answer_got_lost_is_no_news() -> None:
    world = World(there="c00001")
    world.commit()
    assert world.sync.notice == ""
    assert not world.sync.ahead


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["commit", "away", "refused", "back", "elsewhere", "ask", "wait"]), st.floats(0, 200)
        ),
        max_size=60,
    ),
    st.floats(0, 0.999),
)
def test_whatever_happens_pushes_keep_their_distance_and_all_of_it_arrives_once_it_can(
    events: list[tuple[str, float]], luck: float
) -> None:
    world = World(luck=luck)
    for what, seconds in events:
        match what:
            case "commit":
                world.commit()
            case "away" | "refused":
                world.trouble = AWAY if what == "away" else REFUSED
            case "back":
                world.trouble = None
            case "elsewhere":
                world.there = None if world.commits % 2 else f"x{world.commits}"
            case "ask":
                world.sync = asked(world.sync)
        world.wait(seconds)
    good = [seconds for seconds, _ in world.pushes]
    assert all(len({s for s in good if start <= s < start + PUSH_AFTER_S}) <= 6 for start in good)
    assert all(b - a <= FETCH_EVERY_S * (1 + FETCH_JITTER) + 0.001 for a, b in pairwise(world.fetches))
    world.trouble, world.there = None, None
    world.wait(RETRY_MOST_S + PUSH_AFTER_S)
    if world.commits:
        world.commit()
        world.wait(RETRY_MOST_S + PUSH_AFTER_S)
        assert world.there == world.sync.own
        assert not world.sync.ahead


def test_quiet_means_a_minute_without_a_push() -> None:
    world = World()
    world.commit()
    world.wait(QUIET_S - 1)
    world.commit()
    assert len(world.pushes) == 1
    world.wait(PUSH_AFTER_S)
    assert len(world.pushes) == 2

"""When a watch shows, commits and pulls: decided over simulated looks and a simulated clock."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.ports import Edit
from coordinator.watching import (
    AGAIN_S,
    BRIEF_S,
    CALM_S,
    LOOK_EVERY_S,
    NOTHING_LEFT,
    PULL_AGAIN_S,
    PULL_EVERY_S,
    QUIET_S,
    Assess,
    Assessed,
    Commit,
    Committed,
    Count,
    Edits,
    Effect,
    Event,
    Looked,
    NotPulled,
    Pull,
    Pulled,
    Refused,
    Say,
    Show,
    StopCount,
    Watching,
)

SETTLE = 20.0


def edit(path: str, save: int = 1) -> Edit:
    return Edit(path, "changed", oid=str(save))


def plain(edits: Edits) -> Assessed:
    """Find nothing wrong."""
    return Assessed(edits, ("block", edits), edits)


@dataclass
class Desk:
    """Somebody at work: what is saved, what is in the way, how long it took, and what the watch did about it."""

    core: Watching
    now: float = 1000.0
    seen: Looked = field(default_factory=Looked)
    assess: Callable[[Edits], Assessed] = plain
    commit: Callable[[Edits], Event] = Committed
    pull: Callable[[], Event] = Pulled
    done: list[tuple[float, Effect]] = field(default_factory=list)

    def look(self) -> list[Effect]:
        """Look once; return what was done, answers included."""
        events: list[Event] = [self.seen]
        did: list[Effect] = []
        while events:
            for effect in self.core.handle(events.pop(0), self.now):
                did.append(effect)
                self.done.append((self.now, effect))
                match effect:
                    case Assess(edits):
                        events.append(self.assess(edits))
                    case Commit(edits):
                        answer = self.commit(edits)
                        if isinstance(answer, Committed):
                            left = tuple(one for one in self.seen.edits if one not in edits)
                            self.seen = replace(self.seen, edits=left)
                        events.append(answer)
                    case Pull():
                        events.append(self.pull())
                    case _:
                        pass
        return did

    def save(self, *edits: Edit) -> list[Effect]:
        self.seen = replace(self.seen, edits=edits)
        return self.look()

    def see(self, **changes: object) -> list[Effect]:
        self.seen = replace(self.seen, **changes)
        return self.look()

    def pass_time(self, seconds: float) -> list[Effect]:
        """Let time pass, looking as often as the core wants; return what was done."""
        end, did = self.now + seconds, []
        while self.now < end:
            self.now = min(end, self.now + self.core.wait(self.now))
            did += self.look()
        return did

    def all(self, kind: type[Effect]) -> list[tuple[float, Effect]]:
        return [(when, effect) for when, effect in self.done if isinstance(effect, kind)]


@pytest.fixture
def desk() -> Desk:
    return Desk(Watching(SETTLE))


def said(effects: list[Effect]) -> list[str]:
    return [effect.text for effect in effects if isinstance(effect, Say)]


def only(effects: list[Effect], kind: type[Effect]) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, kind)]


ONE, TWO = edit("BACKLOG.md"), edit("tasks/t-1.yaml")

# --- showing ---------------------------------------------------------------------------------------------------------


def test_nothing_saved_is_nothing_done(desk: Desk) -> None:
    assert desk.look() == desk.pass_time(100) == []


def test_a_save_is_shown_once_it_has_settled_and_only_once(desk: Desk) -> None:
    assert desk.save(ONE) == []
    assert only(desk.pass_time(QUIET_S), Show) == [Show(("block", (ONE,)))]
    assert only(desk.pass_time(SETTLE - 1), Show) == []


def test_a_save_that_is_still_being_written_is_not_shown(desk: Desk) -> None:
    for save in range(20):
        assert desk.save(edit("BACKLOG.md", save)) == []
        desk.now += QUIET_S / 2
    assert only(desk.pass_time(QUIET_S), Show) == [Show(("block", (edit("BACKLOG.md", 19),)))]


def test_a_save_that_changes_nothing_of_the_plan_is_not_shown_again(desk: Desk) -> None:
    desk.assess = lambda edits: Assessed(edits, "the same", edits)
    desk.save(ONE)
    desk.pass_time(1)
    desk.save(edit("BACKLOG.md", 2))
    assert only(desk.pass_time(5), Show) == []


def test_what_is_committed_elsewhere_or_taken_back_is_said_in_one_line(desk: Desk) -> None:
    desk.save(ONE)
    desk.pass_time(1)
    desk.save()
    assert said(desk.pass_time(30)) == [NOTHING_LEFT]
    desk.save(ONE)
    assert len(only(desk.pass_time(1), Show)) == 1


def test_a_plan_that_took_so_long_that_it_is_old_is_not_shown(desk: Desk) -> None:
    desk.assess = lambda edits: Assessed((TWO,), "old", (TWO,))
    desk.save(ONE)
    assert only(desk.pass_time(60), Show) == only(desk.pass_time(60), Commit) == []


# --- committing ------------------------------------------------------------------------------------------------------


def test_after_the_settle_time_it_is_committed_and_never_again(desk: Desk) -> None:
    desk.save(ONE)
    assert only(desk.pass_time(SETTLE - 0.1), Commit) == []
    assert only(desk.pass_time(LOOK_EVERY_S), Commit) == [Commit((ONE,))]
    assert desk.pass_time(1000) == []


def test_the_countdown_counts_down_and_ends_before_the_commit(desk: Desk) -> None:
    desk.save(ONE)
    did = [effect for effect in desk.pass_time(SETTLE + 1) if isinstance(effect, Count | StopCount | Commit)]
    counts = [effect for effect in did if isinstance(effect, Count)]
    assert [effect.first for effect in counts] == [True] + [False] * (len(counts) - 1)
    assert sorted({effect.left for effect in counts}, reverse=True) == list(range(int(SETTLE), 0, -1))
    assert did[-2:] == [StopCount(), Commit((ONE,))]


def test_a_change_during_the_countdown_begins_it_anew(desk: Desk) -> None:
    desk.save(ONE)
    desk.pass_time(SETTLE - 1)
    assert desk.save(edit("BACKLOG.md", 2)) == [StopCount()]
    assert only(desk.pass_time(SETTLE - 0.1), Commit) == []
    assert only(desk.pass_time(1), Commit) == [Commit((edit("BACKLOG.md", 2),))]


def test_without_a_settle_time_nothing_is_ever_committed() -> None:
    desk = Desk(Watching(None))
    desk.save(ONE)
    assert {type(effect) for effect in desk.pass_time(1000)} == {Assess, Show}
    assert desk.core.pending == ()


def test_only_what_is_ready_is_committed_and_the_rest_is_not_shown_again(desk: Desk) -> None:
    desk.assess = lambda edits: Assessed(edits, ("block", edits), tuple(one for one in edits if one != TWO))
    desk.save(ONE, TWO)
    did = desk.pass_time(100)
    assert only(did, Commit) == [Commit((ONE,))]
    assert len(only(did, Show)) == 1
    desk.save(edit("tasks/t-1.yaml", 2))
    assert only(desk.pass_time(100), Commit) == [Commit((edit("tasks/t-1.yaml", 2),))]


def test_what_would_be_held_waits_until_the_hub_has_gone_on(desk: Desk) -> None:
    desk.assess = lambda edits: Assessed(edits, "too many", edits, held=desk.seen.tips == "before")
    desk.see(edits=(ONE,), tips="before")
    did = desk.pass_time(100)
    assert len(only(did, Assess)) == 1
    assert only(did, Commit) == []
    assert desk.core.pending == ()
    desk.see(tips="after")
    assert only(desk.pass_time(SETTLE + 1), Commit) == [Commit((ONE,))]


# --- in the way ------------------------------------------------------------------------------------------------------


def test_elsewhere_nothing_is_shown_or_committed_and_one_line_says_why(desk: Desk) -> None:
    desk.save(ONE)
    desk.pass_time(5)
    did = desk.see(away="a rebase is under way") + desk.pass_time(100)
    assert said(did) == ["a rebase is under way"]
    assert {type(effect) for effect in did} == {StopCount, Say}
    did = desk.see(away="") + desk.pass_time(SETTLE - 0.1)
    assert only(did, Show) == only(did, Commit) == []
    assert only(desk.pass_time(1), Commit) == [Commit((ONE,))]


def test_a_moments_lock_delays_a_commit_without_a_word(desk: Desk) -> None:
    desk.save(ONE)
    desk.pass_time(SETTLE - 0.5)
    did = desk.see(busy="index.lock", brief=True) + desk.pass_time(2)
    assert only(did, Commit) == said(did) == []
    assert only(desk.see(busy="", brief=False) + desk.pass_time(1), Commit) == [Commit((ONE,))]


def test_a_lock_that_stays_is_named_once(desk: Desk) -> None:
    desk.save(ONE)
    did = desk.see(busy="index.lock", brief=True) + desk.pass_time(SETTLE + BRIEF_S + 100)
    assert said(did) == ["index.lock"]


def test_after_something_that_was_named_the_whole_time_runs_again(desk: Desk) -> None:
    desk.save(ONE)
    did = desk.see(busy="a message is being written") + desk.pass_time(SETTLE + 1)
    assert said(did) == ["a message is being written"]
    assert only(desk.see(busy="") + desk.pass_time(SETTLE - 0.1), Commit) == []
    assert only(desk.pass_time(1), Commit) == [Commit((ONE,))]


def test_what_is_in_the_way_before_it_matters_is_not_named(desk: Desk) -> None:
    desk.save(ONE)
    desk.see(busy="a message is being written")
    desk.pass_time(SETTLE / 2)
    desk.see(busy="")
    did = desk.pass_time(SETTLE / 2 + 1)
    assert said(did) == []
    assert only(did, Commit) == [Commit((ONE,))]


def test_a_refused_commit_is_said_once_and_tried_again_at_the_next_save(desk: Desk) -> None:
    desk.commit = lambda edits: Refused("the hook says no")
    desk.save(ONE)
    did = desk.pass_time(1000)
    assert said(did) == ["the hook says no"]
    assert len(only(did, Commit)) == 1
    desk.save(edit("BACKLOG.md", 2))
    did = desk.pass_time(1000)
    assert said(did) == ["the hook says no"]
    assert len(only(did, Commit)) == 1


def test_what_may_go_well_later_is_said_once_and_tried_again_by_itself(desk: Desk) -> None:
    desk.commit = lambda edits: Refused("who are you?", again=True)
    desk.save(ONE)
    did = desk.pass_time(SETTLE + 10 * AGAIN_S)
    assert said(did) == ["who are you?"]
    assert 5 < len(only(did, Commit)) <= 11
    desk.commit = Committed
    assert len(only(desk.pass_time(AGAIN_S + 1), Commit)) == 1
    assert desk.pass_time(100) == []


# --- pulling ---------------------------------------------------------------------------------------------------------


def test_it_pulls_when_the_state_branch_is_ahead_but_not_all_the_time(desk: Desk) -> None:
    did = desk.see(behind=True) + desk.pass_time(10 * PULL_EVERY_S)
    assert 9 <= len(only(did, Pull)) <= 11
    assert only(desk.see(behind=False) + desk.pass_time(100), Pull) == []


def test_it_does_not_pull_right_after_a_change_nor_beside_a_commit(desk: Desk) -> None:
    desk.see(behind=True)
    desk.pass_time(PULL_EVERY_S)
    desk.save(ONE)
    assert only(desk.pass_time(CALM_S - 0.1), Pull) == []
    assert only(desk.pass_time(PULL_EVERY_S + 1), Pull)
    desk.pass_time(100)
    (committed,) = [when for when, _ in desk.all(Commit)]
    assert all(not 0 <= when - committed < CALM_S for when, _ in desk.all(Pull))


@pytest.mark.parametrize("reason", [{"away": "a rebase"}, {"busy": "a message"}])
def test_it_does_not_pull_while_something_is_in_the_way(desk: Desk, reason: dict[str, str]) -> None:
    assert only(desk.see(behind=True, **reason) + desk.pass_time(100), Pull) == []


def test_a_refused_pull_is_said_once_and_tried_again_seldom_or_when_a_branch_moves(desk: Desk) -> None:
    desk.pull = lambda: NotPulled("main follows origin")
    did = desk.see(behind=True, tips=1) + desk.pass_time(PULL_AGAIN_S - 1)
    assert len(only(did, Pull)) == 1
    assert len(only(desk.see(tips=2) + desk.pass_time(PULL_AGAIN_S - 1), Pull)) == 1
    assert len(only(desk.pass_time(2 * PULL_AGAIN_S), Pull)) == 2
    assert said([effect for _, effect in desk.done]) == ["main follows origin"]


# --- in any order ----------------------------------------------------------------------------------------------------

_PATHS = ("BACKLOG.md", "tasks/t-1.yaml", "tasks/t-2.yaml")
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("save"), st.sampled_from(_PATHS), st.integers(0, 3)),
        st.tuples(st.just("undo"), st.sampled_from(_PATHS)),
        st.tuples(st.just("time"), st.floats(0.01, 30)),
        st.tuples(st.just("see"), st.sampled_from(["away", "busy", "brief", "behind"]), st.booleans()),
        st.tuples(st.just("tips"), st.integers(0, 2)),
        st.tuples(st.just("refuse"), st.sampled_from([None, False, True])),
        st.tuples(st.just("wrong"), st.sampled_from((None, *_PATHS))),
        st.tuples(st.just("held"), st.booleans()),
    ),
    max_size=60,
)


@given(steps=_STEPS, settle=st.sampled_from([0.0, 1.0, 20.0]))
def test_whatever_happens_only_shown_settled_ready_edits_are_committed_and_none_twice(
    steps: list[tuple[object, ...]], settle: float
) -> None:
    desk = Desk(Watching(settle))
    saved: dict[str, int] = {}
    changed_at = desk.now
    numbers = iter(range(10**6))
    wrong: set[object] = set()
    held = False
    refuse: object = None
    committed: set[Edit] = set()
    shown: list[Assessed] = []

    def assess(edits: Edits) -> Assessed:
        ready = tuple(one for one in edits if one.path not in wrong)
        shown.append(Assessed(edits, ("block", edits), ready, held))
        return shown[-1]

    def commit(edits: Edits) -> Event:
        assert edits
        assert not desk.seen.away
        assert not desk.seen.busy
        assert desk.now - changed_at >= settle - 1e-6
        assert set(edits) <= set(desk.seen.edits) & set(shown[-1].ready)
        assert not committed & set(edits)
        assert not shown[-1].held
        if refuse is not None:
            return Refused("no", again=bool(refuse))
        committed.update(edits)
        for one in edits:
            saved.pop(one.path)
        return Committed(edits)

    desk.assess, desk.commit = assess, commit
    for step in steps:
        match step:
            case ("save", str(path), _):
                saved[path] = next(numbers)
                changed_at = desk.now
            case ("undo", str(path)):
                changed_at = desk.now if saved.pop(path, None) is not None else changed_at
            case ("time", float(seconds)):
                desk.pass_time(seconds)
            case ("see", "brief" | "behind" as name, bool(value)):
                desk.seen = replace(desk.seen, **{str(name): value})
            case ("see", name, bool(value)):
                desk.seen = replace(desk.seen, **{str(name): str(name) if value else ""})
            case ("tips", tips):
                desk.seen = replace(desk.seen, tips=tips)
            case ("refuse", how):
                refuse = how
            case ("wrong", path):
                wrong = {path}
            case ("held", bool(value)):
                held = value
        desk.seen = replace(desk.seen, edits=tuple(edit(path, saved[path]) for path in sorted(saved)))
        desk.look()
    # in the end, with nothing in the way and one more save, everything is committed
    wrong, held, refuse = set(), False, None
    saved["BACKLOG.md"] = next(numbers)
    changed_at = desk.now
    left = tuple(edit(path, saved[path]) for path in sorted(saved))
    desk.seen = Looked(left, "elsewhere")
    desk.look()
    desk.pass_time(settle + BRIEF_S + AGAIN_S + 2 * LOOK_EVERY_S)
    assert set(left) <= committed
    assert desk.core.pending == ()
    for before, after in zip(desk.all(Pull), desk.all(Pull)[1:], strict=False):
        assert after[0] - before[0] >= PULL_EVERY_S - 1e-6  # sums of floats

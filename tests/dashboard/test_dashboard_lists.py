"""Lists by address, words, pictures: pure parts of the pages."""

import pytest
from support.sights import NOW, a_sight, a_task

from coordinator.core.machine import AgentState, State
from coordinator.core.scheduler import Why
from coordinator.core.task import End, Priority
from dashboard import charts, listing, words
from dashboard.snapshot import Kind, Level


def ids(sight, **args: str) -> list[str]:
    return [task.id for task in listing.tasks(sight.tasks, sight.whys, listing.wish(args)).tasks]


SIGHT = a_sight(
    a_task("t-1", priority=Priority.HIGH, title="Fix the login", labels=("web",)),
    a_task("t-2", State.WORKING, title="write the GUIDE"),
    a_task("t-3", State.DONE, title="Old"),
    a_task("t-4", State.FAILED, assignee="gcu"),
    whys={"t-1": Why("held", "held", ())},
)


@pytest.mark.parametrize(
    ("args", "found"),
    [
        ({}, ["t-2", "t-1"]),
        ({"view": "all"}, ["t-2", "t-1", "t-3", "t-4"]),
        ({"view": "all", "q": "guide write"}, ["t-2"]),
        ({"view": "all", "state": "failed"}, ["t-4"]),
        ({"view": "all", "priority": "high"}, ["t-1"]),
        ({"view": "all", "agent": "gcu"}, ["t-4"]),
        ({"view": "all", "agent": "loash"}, ["t-2", "t-3", "t-4"]),
        ({"label": "web"}, ["t-1"]),
        ({"why": "held"}, ["t-1"]),
        ({"why": "draft"}, []),
        ({"view": "all", "sort": "title"}, ["t-4", "t-1", "t-3", "t-2"]),
        ({"view": "all", "sort": "title", "order": "down"}, ["t-2", "t-3", "t-1", "t-4"]),
        ({"view": "nonsense", "state": "x", "sort": "; drop", "page": "-1", "priority": "9"}, ["t-2", "t-1"]),
    ],
)
def test_a_list_is_what_its_address_asks_for(args, found) -> None:
    assert ids(SIGHT, **args) == found


def test_five_thousand_tasks_come_in_pages_and_beyond_the_last_is_the_last() -> None:
    sight = a_sight(*(a_task(f"t-{number:04}") for number in range(5_000)))
    page = listing.tasks(sight.tasks, sight.whys, listing.wish({"page": "2"}))
    assert (page.count, page.pages, page.first, page.last) == (5_000, 100, 51, 100)
    assert page.tasks[0].id == "t-0050"
    assert listing.tasks(sight.tasks, {}, listing.wish({"page": "999"})).number == 100


def test_an_address_says_only_what_is_not_as_usual() -> None:
    wish = listing.wish({"q": "a&b", "sort": "title", "page": "3"})
    assert wish.address("/x", order="down") == "/x?q=a%26b&sort=title&order=down"
    assert wish.address("/x", page=4) == "/x?q=a%26b&sort=title&page=4"
    assert listing.Wish().address("/x") == "/x"


def test_every_state_flag_kind_and_level_has_a_sign_and_a_word_of_its_own() -> None:
    known = [*State, *AgentState, *Kind, *Level, *(priority.word for priority in Priority)]
    assert [word for word in known if word not in words.BADGES] == []
    states = [words.badge(state) for state in State]
    assert len({one.label for one in states}) == len(states)
    assert len({one.sign for one in states}) == len(states)
    assert words.badge(End.ATTEMPT_TIMEOUT).label == "attempt timeout"


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (None, "–"),
        (0, "0 s"),
        (12, "12 ms"),
        (59_000, "59 s"),
        (61_000, "1 min 1 s"),
        (3_600_000, "1 h"),
        (90_000_000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_a_span_is_said_in_its_largest_unit(ms, said) -> None:
    assert words.span(ms) == said


def test_an_age_is_said_from_now() -> None:
    assert words.ago(NOW - 500, NOW) == "just now"
    assert words.ago(NOW - 5_000, NOW) == "5 s ago"
    assert words.ago(NOW + 60_000, NOW) == "in 1 min"
    assert words.ago(None, NOW) == "never"


def test_a_picture_says_in_words_what_it_shows_and_has_no_style() -> None:
    for drawn in (
        charts.bars([0, 3], 'a "b" <c>'),
        charts.line([1, 2], 'a "b" <c>'),
        charts.shares([("x", 1, "bad")], 'a "b" <c>'),
    ):
        assert 'aria-label="a &#34;b&#34; &lt;c&gt;"' in drawn
        assert "style=" not in drawn
    assert "NaN" not in charts.line([], "none") + charts.bars([], "none") + charts.shares([], "none")

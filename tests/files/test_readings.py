"""What was read once comes back as it was read, or not at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import strategies

from coordinator.core.backlog import BacklogMap, MapEntry
from coordinator.core.machine import State
from coordinator.core.policy import Lane, Policy
from coordinator.core.task import Spec, Status
from coordinator.files import layout, markdown
from coordinator.files.problem import Problem
from coordinator.files.readings import Readings, dump, load

KEYS = st.text(min_size=1, max_size=60)
LIST = b"""# Ready

- [ ] (A) **One** - words #a needs:python due:2026-12-01
  - [ ] it works
- [ ] two due:soon

# Other

* three
"""


def read_of(**kinds: dict[str, object]) -> Readings:
    """Return readings that were asked for these values."""
    readings = Readings()
    for kind, values in kinds.items():
        for key, value in values.items():
            getattr(readings, kind).read(key, lambda value=value: value)
    return readings


def values_of(readings: Readings) -> str:
    """Return every value known, told apart to the type of each number."""
    memos = (readings.statuses, readings.made, readings.tasks, readings.lists)
    return repr([memo._known for memo in memos])


@settings(max_examples=60, deadline=None)
@given(KEYS, strategies.statuses, strategies.specs)
def test_what_comes_back_is_what_was_read(key: str, status: Status, spec: Spec) -> None:
    before = read_of(statuses={key: status}, made={key: spec}, tasks={key: spec, "": spec})
    assert values_of(load(dump(before))) == values_of(before)


def test_a_list_comes_back_with_its_items_its_problems_and_what_was_ignored() -> None:
    parsed = markdown.read(LIST, Policy())
    assert isinstance(parsed, markdown.Parsed)
    assert parsed.items
    assert parsed.problems
    assert parsed.ignored
    assert repr(load(dump(read_of(lists={"x": parsed}))).lists.read("x", lambda: ())) == repr(parsed)


@pytest.mark.parametrize(
    "spec",
    [
        Spec("t-1", "half a character: \ud800"),
        Spec("t-1", "no number", metadata={"x": float("nan")}),
        Spec("t-1", "no list", metadata={"x": (1, 2)}),
        Spec("t-1", "an object", metadata={"x": object()}),
        Spec("t-1", "no whole number", timeout_s=3),
    ],
)
def test_a_value_that_would_come_back_as_another_is_left_out_and_the_rest_is_not(spec: Spec) -> None:
    other = Spec("t-2", "title")
    again = load(dump(read_of(made={"a": spec, "b": other})))
    assert again.made._known == {"b": other}


def test_what_nobody_asked_for_is_not_kept_for_the_next_time() -> None:
    first = load(dump(read_of(statuses={"a": Status(), "b": Status(State.DONE)})))
    assert first.statuses.read("a", lambda: pytest.fail("it is known")) == Status()
    assert list(load(dump(first)).statuses._known) == ["a"]
    assert first.missed == 0


def test_a_wrong_file_is_read_and_named_each_time() -> None:
    files = {"status/open/t-1.yaml": b"status: asleep\n", "tasks/api/t-1.yaml": b"titel: x\n"}
    readings = Readings()
    named = [layout.fold(files, readings=readings).problems for _ in range(2)]
    assert named[0] == named[1] == layout.fold(files).problems
    assert named[0]
    assert dump(readings) == dump(Readings())


def test_readings_that_were_let_go_keep_nothing_and_still_read() -> None:
    readings = read_of(statuses={"a": Status()})
    readings.forget()
    assert readings.statuses.read("a", lambda: Status(State.DONE)) == Status(State.DONE)
    assert readings.statuses.read("a", lambda: Status(State.FAILED)) == Status(State.FAILED)
    assert not readings.statuses._known


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"statuses":{"a":{"status":"asleep"}},"made":{},"tasks":{},"lists":{}}']
)
def test_what_no_reading_wrote_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        load(data)


def test_a_status_with_a_result_of_its_own_follows_both_files() -> None:
    status = b"status: done\ncreated_at: 2026-11-22T10:00:00.000Z\nresult_file: t-1.result.json\n"
    readings = Readings()

    def result_of(text: bytes) -> object:
        files = {"status/open/t-1.yaml": status, "status/open/t-1.result.json": text}
        return layout.fold(files, readings=readings).statuses["t-1"].result

    assert result_of(b'{"summary": "one"}') == {"summary": "one"}
    assert result_of(b'{"summary": "two"}') == {"summary": "two"}


def test_the_same_words_at_another_line_say_where_they_stand_now() -> None:
    spec = b"title: x\norigin: backlog\n"
    readings, rows = Readings(), []
    for line in (7, 9):
        known = BacklogMap((MapEntry("t-1", "x", "ready", Lane.READY, line),))
        files = {**layout.backlog_change(known), "tasks/backlog/t-1.yaml": spec}
        folded = layout.fold(files, readings=readings)
        assert folded == layout.fold(files)
        rows.append(folded.specs["t-1"].where)
    assert rows == ["BACKLOG.md:7", "BACKLOG.md:9"]


def test_problems_are_no_value() -> None:
    readings = Readings()
    wrong = (Problem("x", what="is wrong"),)
    assert readings.lists.read("a", lambda: wrong) == wrong
    assert "a" not in readings.lists

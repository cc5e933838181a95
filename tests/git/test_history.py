"""The audit trail read back from a real branch."""

from pathlib import Path

import pytest
from support.repo import Clone, make_repo

from coordinator.git.history import Wanted, editions, log, search
from coordinator.git.journal import GitStore
from coordinator.git.message import compose
from coordinator.git.repo import STATE_REF
from coordinator.ports import Author, Commit

OPEN, CLOSED = "status/open/t-1.yaml", "status/closed/2026/11/22/t-1.yaml"


class Writer:
    """A hub that commits transitions, one flush and one second apart."""

    def __init__(self, clone: Clone, root: str = ".") -> None:
        self.clone = clone
        self.store = GitStore(clone.repo, root)
        self.clock = 1_764_000_000

    def write(
        self,
        event: str,
        task: str = "",
        puts: dict[str, bytes] | None = None,
        deletes: tuple[str, ...] = (),
        source: str | None = None,
        agent: str = "",
        generation: int = 0,
    ) -> str:
        self.clock += 1
        trailers = [("Agentcom-Event", event)]
        trailers += [("Agentcom-Task", task)] if task else []
        trailers += [("Agentcom-Agent", agent), ("Agentcom-Generation", str(generation))] if agent else []
        trailers += [("Agentcom-Source", source)] if source else []
        text = compose(f"{task or 'hub'}: {event}", "", [*trailers, ("Agentcom-Epoch", "1/h-aaaaaaaa")])
        author = Author(agent or "AgentCom hub", "x@agentcom.invalid")
        return self.store.flush((Commit(text, author, self.clock * 1000, puts or {}, deletes, source),))


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(make_repo(tmp_path / "repo", {"BACKLOG.md": "- [ ] one\n"}))


def tell_a_story(writer: Writer) -> None:
    writer.write("claim", source=writer.clone.head())
    writer.write("created", "t-1", {OPEN: b"1"})
    writer.write("created", "t-2", {"status/open/t-2.yaml": b"1"})
    writer.write("assigned", "t-1", {OPEN: b"2"}, generation=1)
    writer.write("observed", source=writer.clone.commit({"BACKLOG.md": "- [ ] two\n"}))
    writer.write("completed", "t-1", {CLOSED: b"3"}, (OPEN,), agent="loash", generation=1)
    writer.write("deleted", "t-1", {CLOSED: b"4"})


def events(records: tuple[object, ...]) -> list[str]:
    return [record.event for record in records]  # type: ignore[attr-defined]


def test_a_branch_that_does_not_exist_has_no_history(writer: Writer) -> None:
    assert log(writer.clone.repo, STATE_REF) == ()


def test_the_whole_log_is_the_hubs_commits_newest_first_and_none_of_the_peoples(writer: Writer) -> None:
    tell_a_story(writer)
    found = events(log(writer.clone.repo, STATE_REF))
    assert found == ["deleted", "completed", "observed", "assigned", "created", "created", "claim"]


def test_the_history_of_a_task_spans_its_open_and_its_closed_path(writer: Writer) -> None:
    tell_a_story(writer)
    assert events(log(writer.clone.repo, STATE_REF, "t-1")) == ["deleted", "completed", "assigned", "created"]
    assert events(log(writer.clone.repo, STATE_REF, "t-2")) == ["created"]


def test_a_task_that_runs_again_keeps_the_history_of_its_first_run(writer: Writer) -> None:
    tell_a_story(writer)
    writer.write("rerun", "t-1", {OPEN: b"5"}, (CLOSED,))
    writer.write("assigned", "t-1", {OPEN: b"6"})
    found = events(log(writer.clone.repo, STATE_REF, "t-1"))
    assert found[:2] == ["assigned", "rerun"]
    assert found[-3:] == ["completed", "assigned", "created"]


def test_a_record_holds_what_the_commit_says(writer: Writer) -> None:
    writer.write("created", "t-1", {OPEN: b"1"})
    tip = writer.write("completed", "t-1", {CLOSED: b"3"}, (OPEN,), agent="loash", generation=7)
    (record,) = log(writer.clone.repo, STATE_REF, "t-1", limit=1)
    assert (record.commit, record.time_ms, record.author, record.subject) == (
        tip,
        1_764_000_002_000,
        "loash",
        "t-1: completed",
    )
    assert (record.event, record.task, record.agent, record.generation) == ("completed", "t-1", "loash", 7)


def test_absent_trailers_are_none(writer: Writer) -> None:
    writer.write("claim", puts={"status/hub.yaml": b"1"})
    (record,) = log(writer.clone.repo, STATE_REF)
    assert (record.task, record.agent, record.generation) == (None, None, None)


def test_the_limit_counts_records(writer: Writer) -> None:
    tell_a_story(writer)
    assert events(log(writer.clone.repo, STATE_REF, limit=2)) == ["deleted", "completed"]
    assert events(log(writer.clone.repo, STATE_REF, "t-1", limit=3)) == ["deleted", "completed", "assigned"]
    assert log(writer.clone.repo, STATE_REF, limit=0) == ()


@pytest.mark.parametrize("task", ["t-9", "../x", "-x", "*", "", "T-1"])
def test_an_unknown_or_malformed_id_has_no_history(writer: Writer, task: str) -> None:
    tell_a_story(writer)
    assert log(writer.clone.repo, STATE_REF, task) == ()


def test_a_root_of_its_own_is_looked_up_there(tmp_path: Path) -> None:
    writer = Writer(make_repo(tmp_path / "r", {"a": "x"}), ".agentcom")
    writer.write("created", "t-1", {OPEN: b"1"})
    assert events(log(writer.clone.repo, STATE_REF, "t-1", root=".agentcom")) == ["created"]
    assert log(writer.clone.repo, STATE_REF, "t-1") == ()


def close_and_run_again(writer: Writer, day: str) -> None:
    closed = f"status/closed/{day}/t-1.yaml"
    writer.write("completed", "t-1", {closed: b"done"}, (OPEN,))
    writer.write("deleted", "t-1", {closed: b"gone"})
    writer.write("restored", "t-1", {closed: b"done"})
    writer.write("created", "t-2", {"status/open/t-2.yaml": day.encode()})
    writer.write("rerun", "t-1", {OPEN: b"again"}, (closed,))


def test_a_task_closed_on_two_days_keeps_what_happened_on_both(writer: Writer) -> None:
    writer.write("claim", source=writer.clone.head())
    writer.write("created", "t-1", {OPEN: b"1"})
    close_and_run_again(writer, "2026/11/22")
    close_and_run_again(writer, "2026/12/01")
    writer.write("failed", "t-1", {"status/closed/2026/12/24/t-1.yaml": b"failed"}, (OPEN,))
    writer.write("deleted", "t-1", {"status/closed/2026/12/24/t-1.yaml": b"gone"})
    a_run = ["rerun", "restored", "deleted", "completed"]
    expected = ["deleted", "failed", *a_run, *a_run, "created"]
    found = log(writer.clone.repo, STATE_REF, "t-1", None)
    assert events(found) == expected
    for limit in range(1, len(expected) + 2):
        assert log(writer.clone.repo, STATE_REF, "t-1", limit) == found[:limit]


def test_a_task_that_was_closed_from_the_beginning_has_a_history(writer: Writer) -> None:
    writer.write("claim", source=writer.clone.head())
    writer.write("done_by_hand", "t-1", {CLOSED: b"1"})
    writer.write("deleted", "t-1", {CLOSED: b"2"})
    writer.write("done_by_hand", "t-11", {"status/closed/2026/11/22/t-11.yaml": b"1"})
    assert events(log(writer.clone.repo, STATE_REF, "t-1")) == ["deleted", "done_by_hand"]


def test_a_move_that_also_keeps_a_slip_as_its_second_parent_leads_to_the_closed_path(writer: Writer) -> None:
    writer.write("claim", source=writer.clone.head())
    writer.write("created", "t-1", {OPEN: b"1"})
    writer.write("completed", "t-1", {CLOSED: b"2"}, (OPEN,), source=writer.clone.commit({"BACKLOG.md": "- [ ] two\n"}))
    writer.write("deleted", "t-1", {CLOSED: b"3"})
    assert events(log(writer.clone.repo, STATE_REF, "t-1")) == ["deleted", "completed", "created"]


def test_the_history_is_the_same_with_changed_path_filters_and_beside_new_commits_without(writer: Writer) -> None:
    tell_a_story(writer)
    before = log(writer.clone.repo, STATE_REF, "t-1", None)
    writer.clone.git("commit-graph", "write", "--reachable", "--split", "--changed-paths")
    assert log(writer.clone.repo, STATE_REF, "t-1", None) == before
    writer.write("rerun", "t-1", {OPEN: b"5"}, (CLOSED,))
    assert events(log(writer.clone.repo, STATE_REF, "t-1", None)) == ["rerun", *events(before)]


def test_all_of_a_history_is_asked_for_by_no_limit(writer: Writer) -> None:
    writer.write("claim", source=writer.clone.head())
    for number in range(60):
        writer.write("created" if number == 0 else "progress", "t-1", {OPEN: str(number).encode()})
    assert len(log(writer.clone.repo, STATE_REF, "t-1")) == 50
    found = log(writer.clone.repo, STATE_REF, "t-1", None)
    assert (len(found), found[-1].event) == (60, "created")
    assert len(log(writer.clone.repo, STATE_REF, limit=None)) == 61


def test_records_are_found_by_agent_event_and_time(writer: Writer) -> None:
    tell_a_story(writer)
    repo = writer.clone.repo
    assert events(search(repo, STATE_REF, Wanted(agent="loash"), 10)) == ["completed"]
    assert events(search(repo, STATE_REF, Wanted(event="created"), 10)) == ["created", "created"]
    assert events(search(repo, STATE_REF, Wanted(agent="loa"), 10)) == []
    (done,) = search(repo, STATE_REF, Wanted(event="completed"), 10)
    assert events(search(repo, STATE_REF, Wanted(since_ms=done.time_ms), 10)) == ["deleted", "completed"]
    assert events(search(repo, STATE_REF, Wanted(until_ms=done.time_ms), 2)) == ["completed", "observed"]


def test_a_search_goes_on_before_a_commit(writer: Writer) -> None:
    tell_a_story(writer)
    repo = writer.clone.repo
    first = search(repo, STATE_REF, Wanted(), 2)
    second = search(repo, STATE_REF, Wanted(before=first[-1].commit), 3)
    assert events(first + second) == ["deleted", "completed", "observed", "assigned", "created"]
    last = search(repo, STATE_REF, Wanted(event="claim"), 1)[0]
    assert events(search(repo, STATE_REF, Wanted(before=last.commit), 3)) == []


@pytest.mark.parametrize("word", ["loash$", ".*", "-n1", "--all", "a\nb", ""])
def test_what_is_no_word_finds_nothing_and_is_no_pattern_for_git(writer: Writer, word: str) -> None:
    tell_a_story(writer)
    found = search(writer.clone.repo, STATE_REF, Wanted(agent=word), 10)
    assert found == ()
    assert search(writer.clone.repo, STATE_REF, Wanted(before=word), 10) == ()


def test_editions_are_what_was_wanted_as_of_each_edit(writer: Writer) -> None:
    backlog, file = "tasks/backlog/t-1.yaml", "tasks/t-1.yaml"
    writer.write("created", "t-1", {OPEN: b"1", backlog: b"title: one\n"}, source=writer.clone.head())
    writer.write("spec_edited", "t-1", {OPEN: b"2", backlog: b"title: two\n"})
    writer.write("assigned", "t-1", {OPEN: b"3"})
    writer.write("observed", source=writer.clone.commit({file: "title: three\n"}))
    writer.write("taken_over", "t-1", {OPEN: b"4"}, (backlog,))
    repo = writer.clone.repo
    found = editions(repo, log(repo, STATE_REF, "t-1"))
    assert [(one.path, one.text) for one in found] == [
        (backlog, "title: one\n"),
        (backlog, "title: two\n"),
        (file, "title: three\n"),
    ]
    assert editions(repo, ()) == ()

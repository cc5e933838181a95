"""Every transition of a task changes just the files that must change, and the fold gives the values back."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from support import strategies

from coordinator.core.agent import AgentRecord, AgentSpec, Role
from coordinator.core.backlog import BacklogMap, Item, carry
from coordinator.core.machine import State
from coordinator.core.policy import Lane
from coordinator.core.task import Origin, Spec, Status, Task
from coordinator.files import emitter, layout, limits

CREATED = 1795346400000  # 2026-11-22T11:20:00Z
FINISHED = CREATED + 86_400_000


def task(origin: Origin = Origin.API, **status) -> Task:
    return Task(Spec("t-1", "Title", origin=origin), Status(created_at=CREATED, **status))


def done(before: Task, **status) -> Task:
    return replace(before, status=replace(before.status, status=State.DONE, completed_at=FINISHED, **status))


def paths(change) -> tuple[set[str], set[str]]:
    return set(change[0]), set(change[1])


def test_a_new_task_writes_its_status_and_what_the_hub_made_of_it():
    assert paths(layout.changes(None, task())) == ({"status/open/t-1.yaml", "tasks/api/t-1.yaml"}, set())
    assert paths(layout.changes(None, task(Origin.BACKLOG))) == (
        {"status/open/t-1.yaml", "tasks/backlog/t-1.yaml"},
        set(),
    )
    assert paths(layout.changes(None, task(Origin.FILE))) == ({"status/open/t-1.yaml"}, set())


def test_a_transition_writes_only_the_status():
    before = task()
    after = replace(before, status=replace(before.status, status=State.ASSIGNED, generation=1, assigned_to="loash"))
    assert paths(layout.changes(before, after)) == ({"status/open/t-1.yaml"}, set())


def test_finishing_moves_status_and_specification_to_the_day_in_one_change():
    assert paths(layout.changes(task(), done(task()))) == (
        {"status/closed/2026/11/23/t-1.yaml", "status/closed/2026/11/23/t-1.spec.yaml"},
        {"status/open/t-1.yaml", "tasks/api/t-1.yaml"},
    )


def test_a_rerun_brings_both_back():
    assert paths(layout.changes(done(task(Origin.BACKLOG)), task(Origin.BACKLOG))) == (
        {"status/open/t-1.yaml", "tasks/backlog/t-1.yaml"},
        {"status/closed/2026/11/23/t-1.yaml", "status/closed/2026/11/23/t-1.spec.yaml"},
    )


def test_a_persons_file_takes_over_and_the_hubs_specification_goes():
    assert paths(layout.changes(task(), task(Origin.FILE))) == (set(), {"tasks/api/t-1.yaml"})


def test_a_large_result_stands_in_a_file_of_its_own_and_comes_back():
    large = {"summary": "x" * limits.RESULT_INLINE_BYTES}
    finished = done(task(), result=large)
    puts, _ = layout.changes(task(), finished)
    assert "status/closed/2026/11/23/t-1.result.json" in puts
    assert len(puts["status/closed/2026/11/23/t-1.yaml"]) < 1000
    closed = layout.read_closed("status/closed/2026/11/23/t-1.yaml", puts.get)
    assert isinstance(closed, layout.Closed)
    assert closed.status == finished.status
    reviewed = replace(task(), status=replace(task().status, status=State.IN_REVIEW, result=large))
    assert layout.fold(layout.files_of(reviewed)).statuses["t-1"] == reviewed.status


def test_a_deep_result_stands_in_a_file_of_its_own():
    deep: dict = {}
    for _ in range(100):
        deep = {"a": deep}
    finished = done(task(), result=deep)
    files = layout.files_of(finished)
    closed = layout.read_closed("status/closed/2026/11/23/t-1.yaml", files.get)
    assert isinstance(closed, layout.Closed) and closed.status.result == deep


def test_a_closed_task_that_is_not_there_is_none():
    assert layout.read_closed("status/closed/2026/11/23/t-1.yaml", {}.get) is None


@settings(max_examples=60, deadline=None)
@given(strategies.specs, strategies.statuses)
def test_the_files_of_a_task_give_it_back(spec, status):
    files = layout.files_of(Task(spec, replace(status, status=State.QUEUED)))
    folded = layout.fold(files)
    assert folded.problems == ()
    assert folded.statuses == {spec.id: replace(status, status=State.QUEUED)}
    back = folded.specs[spec.id]
    assert replace(back, blob="", where="") == spec
    assert back.blob == emitter.blob_id(emitter.emit_spec(spec))


def test_a_finished_task_comes_back_from_its_folder():
    finished = done(task(Origin.BACKLOG))
    path = layout.status_path(finished)
    closed = layout.read_closed(path, layout.files_of(finished).get)
    assert isinstance(closed, layout.Closed)
    assert closed.status == finished.status
    assert closed.spec is not None and closed.spec.origin is Origin.BACKLOG and closed.spec.id == "t-1"


def test_the_fold_gives_records_map_and_hub_file_back_and_names_what_is_broken():
    record = AgentRecord("loash", parked_until=CREATED, parked_reason="not logged in", accepted="ab" * 20)
    made = AgentSpec("loash", "Loash", ("python",), Role.READER, where="agents/api/loash.yaml")
    known = carry(BacklogMap(blob="ab" * 20), [[Item("Title", 12, "Ready", Lane.READY)]]).map
    name = known.entries[0].id
    item = Task(Spec(name, "Title", origin=Origin.BACKLOG), Status(created_at=CREATED))
    files = {
        **layout.record_change(record, made)[0],
        **layout.backlog_change(known),
        **layout.hub_change({"source": "main", "epoch": 3}),
        **layout.files_of(item),
        "status/.gitattributes": b"* -text\n",
        "status/open/t-broken.yaml": b"status: nonsense\n",
    }
    folded = layout.fold(files)
    assert folded.records == {"loash": record}
    assert folded.enlisted == {"loash": made}
    assert folded.backlog == known
    assert folded.hub == {"source": "main", "epoch": 3}
    assert folded.specs[name].where == "BACKLOG.md:12"
    assert [problem.path for problem in folded.problems] == ["status/open/t-broken.yaml"]


entries = st.lists(strategies.versions, min_size=1, max_size=3)


@settings(max_examples=50, deadline=None)
@given(entries)
def test_an_identity_map_comes_back_as_it_was_written(history):
    known = carry(BacklogMap(), history).map
    assert layout.fold(layout.backlog_change(known)).backlog == known


def test_an_identity_map_that_is_none_is_a_problem_and_not_a_crash():
    for data in (b"", b"[]", b"{}", b'{"items": [{"id": "../x"}]}', b"\xff", b"[" * 100_000):
        folded = layout.fold({layout.BACKLOG_MAP: data})
        assert [problem.path for problem in folded.problems] == [layout.BACKLOG_MAP]

"""The hub's shell over a store and a source in memory: the order of things, start, observing, failures of the store."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from coordinator.core.agent import Session
from coordinator.core.events import (
    Accepted,
    Ack,
    Assign,
    Complete,
    Connected,
    Failed,
    Message,
    Progress,
    Said,
)
from coordinator.core.machine import State
from coordinator.core.reconciler import Core
from coordinator.core.timers import Now
from coordinator.files.observe import Observer
from coordinator.git.message import parse_trailers
from coordinator.hub import Hub, Identity
from coordinator.memoir import rebuild
from coordinator.memory import MemoryBranch, MemorySource, MemoryStore
from coordinator.ports import Author, Commit, Conflict, Fatal, ReadOnly, StoreError

AGENT = b"tokens: []\n"
BACKLOG = b"# Backlog\n\n## Ready\n\n- [ ] first\n- [ ] second\n"
#: Longest wait for something that must happen at once.
SOON = 20.0


class Clock:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.at = Now(100.0, 1_800_000_000_000)

    def now(self) -> Now:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at = Now(self.at.mono + seconds, self.at.wall + int(seconds * 1000))


@dataclass
class Net:
    """Writes down what was said, and how much was durable by then."""

    store: MemoryStore
    said: list[tuple[str, Message, int]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, agent: str, session: str, message: Message) -> None:
        self.said.append((agent, message, len(self.store.commits)))
        self.changed.set()

    def close(self, agent: str, session: str, code: str) -> None:
        self.said.append((agent, code, len(self.store.commits)))  # type: ignore[arg-type]
        self.changed.set()

    async def wait_for(self, kind: type, count: int = 1) -> list[Message]:
        async with asyncio.timeout(SOON):
            while len(found := [message for _, message, _ in self.said if isinstance(message, kind)]) < count:
                self.changed.clear()
                await self.changed.wait()
        return found


@dataclass
class Bench:
    source: MemorySource = field(default_factory=MemorySource)
    branch: MemoryBranch = field(default_factory=MemoryBranch)
    clock: Clock = field(default_factory=Clock)

    def hub(self, hub_id: str = "h-00000000", **more: object) -> Hub:
        store = MemoryStore(self.branch)
        identity = Identity(hub_id, "refs/heads/main", existing=str(more.pop("existing", "")))
        hub = Hub(store, self.source, Observer(self.source, "main"), self.clock, identity, **more)
        hub.store = store
        hub.net = Net(store)
        return hub

    @asynccontextmanager
    async def running(self, hub_id: str = "h-00000000", **more: object) -> AsyncIterator[Hub]:
        hub = self.hub(hub_id, **more)
        await hub.start()
        working = asyncio.create_task(hub.run())
        try:
            yield hub
        finally:
            hub.stop()
            await asyncio.wait_for(asyncio.gather(working, return_exceptions=True), SOON)
            hub.close()

    def memory(self) -> Core:
        """What a fresh start would know."""
        store, core = MemoryStore(self.branch), Core()
        rebuild(core, store.load(), Observer(self.source, "main"), store, self.source)
        return core


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.source.commit({"BACKLOG.md": BACKLOG, "agents/a.yaml": AGENT}, Author("Ada", "ada@example.org"))
    return bench


def connect(hub: Hub, agent: str = "a", *holding: tuple[str, int]) -> None:
    features = frozenset({"release", "updates", "progress"})
    hub.submit(Connected(agent, Session(f"s-{agent}", (), features, frozenset(holding))))


def events(bench: Bench, hub: Hub) -> list[str]:
    return [parse_trailers(commit.message)["Agentcom-Event"][0] for commit in hub.store.commits]


async def test_the_first_start_claims_the_branch_then_observes_then_creates(bench: Bench) -> None:
    async with bench.running() as hub:
        assert events(bench, hub) == ["claim", "observed", "agent_changed", "created", "created"]
        assert [commit.source is not None for commit in hub.store.commits[:2]] == [True, False]
        created = hub.store.commits[-1]
        assert (created.author.name, created.author.email) == ("Ada", "ada@example.org")


async def test_whatever_is_said_was_durable_before(bench: Bench) -> None:
    async with bench.running() as hub:
        connect(hub)
        (assign,) = await hub.net.wait_for(Assign)
        before = len(hub.store.commits)
        hub.submit(Said("a", "s-a", Complete(assign.task.id, 1, {"summary": "ok"})))
        await hub.net.wait_for(Ack)
        ack = next(entry for entry in hub.net.said if isinstance(entry[1], Ack))
        assert ack[2] > before
        assert "completed" in events(bench, hub)


async def test_whoever_hears_of_records_hears_of_each_once_and_when_it_is_durable(bench: Bench) -> None:
    async with bench.running() as hub:
        told: list[tuple[str, list[str]]] = []
        hub.told = lambda record: told.append((record.what, events(bench, hub)))
        before = len(hub.store.commits)
        connect(hub)
        (assign,) = await hub.net.wait_for(Assign)
        await hub.settle(Said("a", "s-a", Complete(assign.task.id, 1, {"summary": "ok"})))
        heard = [what for what, _ in told]
        assert heard[:2] == ["assigned", "completed"]
        assert all(what in durable[before:] for what, durable in told)
        assert heard == events(bench, hub)[before:][: len(heard)]


async def test_events_that_come_together_share_one_flush(bench: Bench) -> None:
    lines = b"".join(b"- [ ] item %d\n" % number for number in range(30))
    bench.source.commit({"BACKLOG.md": b"## Ready\n\n" + lines})
    async with bench.running() as hub:
        assert len(hub.store.commits) >= 30
        assert len(hub.store.flushed) <= 3


async def test_a_restart_knows_all_that_the_branch_says_and_writes_only_its_claim(bench: Bench) -> None:
    async with bench.running() as hub:
        connect(hub)
        (assign,) = await hub.net.wait_for(Assign)
        await hub.settle(Said("a", "s-a", Accepted(assign.task.id, 1)))
        await hub.settle(Said("a", "s-a", Failed(assign.task.id, 1, reason="no: such\n\x1b[31m tool")))
        known = dict(hub.core.memory.tasks)
    assert {name: task.status for name, task in bench.memory().memory.tasks.items()} == {
        name: task.status for name, task in known.items()
    }
    async with bench.running() as again:
        assert events(bench, again) == ["claim"]
        assert {n: (t.spec, t.status, t.lane, t.position) for n, t in again.core.memory.tasks.items()} == {
            n: (t.spec, t.status, t.lane, t.position) for n, t in known.items()
        }


async def test_what_a_crash_left_out_of_the_first_observation_is_derived_again(bench: Bench) -> None:
    hub = bench.hub()
    fold = await asyncio.to_thread(hub.store.load)
    await hub._claim(fold, anew="")
    hub.close()
    assert bench.memory().memory.tasks == {}
    async with bench.running() as again:
        assert events(bench, again).count("created") == 2


async def test_a_new_hub_id_raises_every_generation_so_that_no_old_result_counts(bench: Bench) -> None:
    async with bench.running() as hub:
        connect(hub)
        (assign,) = await hub.net.wait_for(Assign)
    async with bench.running("h-11111111") as other:
        task = other.core.memory.tasks[assign.task.id]
        assert (task.state, task.status.generation) == (State.QUEUED, 1001)
        connect(other, "a", (task.id, 1))
        await other.settle(Said("a", "s-a", Complete(task.id, 1, {})))
        assert other.core.memory.tasks[task.id].state is not State.DONE


async def test_quiet_means_no_commits(bench: Bench) -> None:
    async with bench.running() as hub:
        before = len(hub.store.commits)
        for _ in range(5):
            await hub.reconcile()
            bench.clock.forward(60)
            await hub.settle(Said("nobody", "none", Progress("t-1")))
        assert len(hub.store.commits) == before


async def test_a_new_line_in_the_backlog_becomes_a_task(bench: Bench) -> None:
    async with bench.running() as hub:
        connect(hub)
        bench.source.commit({"BACKLOG.md": BACKLOG + b"- [ ] third !urgent\n"})
        await asyncio.wait_for(hub.reconcile(), SOON)
        assert [event for event in events(bench, hub) if event == "created"] == ["created"] * 3


async def test_a_wrong_file_is_a_problem_line_and_stops_nothing(bench: Bench) -> None:
    bench.source.commit({"tasks/t-bad.yaml": b"title: [\n", "tasks/t-good.yaml": b"title: fine\n"})
    async with bench.running() as hub:
        assert "t-good" in hub.core.memory.tasks
        assert "t-bad" not in hub.core.memory.tasks
        assert any(str(problem).startswith("tasks/t-bad.yaml:") for problem in hub.problems)
        bench.source.commit({"tasks/t-good.yaml": b"title: fine\npriority: wrong\n"})
        await asyncio.wait_for(hub.reconcile(), SOON)
        assert hub.core.memory.tasks["t-good"].spec.title == "fine"
        assert hub.core.memory.tasks["t-good"].open


async def test_while_the_store_refuses_everything_waits_and_then_heals(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.flushing.HEAL_PAUSE", 0.01)
    async with bench.running() as hub:
        connect(hub)
        (assign,) = await hub.net.wait_for(Assign)
        hub.store.fail_next(*[ReadOnly("no space left on device")] * 3)
        for _ in range(3):
            hub.submit(Said("a", "s-a", Complete(assign.task.id, 1, {"summary": "ok"})))
        shown = []
        monkeypatch.setattr(
            hub._flusher, "_refused", lambda: shown.append({t.id: t.state for t in hub.durable_tasks()})
        )
        acks = await hub.net.wait_for(Ack)
        assert shown[0][assign.task.id] is State.ASSIGNED, "readers are told nothing that is not durable"
        assert acks[0] == Ack(assign.task.id, "complete", 1)
        assert hub.read_only is None
        assert events(bench, hub).count("completed") == 1


async def test_what_comes_while_a_flush_is_under_way_is_decided_already_and_told_with_the_next_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.running() as hub:
        connect(hub)
        (assign,) = await hub.net.wait_for(Assign)
        real, under_way, go_on = hub.store.flush, asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def slow(commits: tuple[Commit, ...]) -> str:
            loop.call_soon_threadsafe(under_way.set)
            assert go_on.wait(SOON)
            return real(commits)

        monkeypatch.setattr(hub.store, "flush", slow)
        task = assign.task.id
        try:
            hub.submit(Said("a", "s-a", Accepted(task, 1)))
            await asyncio.wait_for(under_way.wait(), SOON)
            decided, put = asyncio.Event(), hub._flusher.put
            monkeypatch.setattr(hub._flusher, "put", lambda decision: (put(decision), decided.set()))
            hub.submit(Said("a", "s-a", Complete(task, 1, {"summary": "ok"})))
            hub.submit(Said("a", "s-a", Complete(task, 1, {"summary": "ok"})))
            await asyncio.wait_for(decided.wait(), SOON)
            assert hub.core.memory.tasks[task].state is State.DONE
            assert not [message for _, message, _ in hub.net.said if isinstance(message, Ack)]
            shown = {one.id: one.state for one in hub.durable_tasks()}
            assert shown[task] is State.ASSIGNED, "readers are told nothing that is not durable"
            flushes = hub.figures.flushes
        finally:
            go_on.set()
        acks = await hub.net.wait_for(Ack, 3)
        assert acks == [Ack(task, "accepted", 1), Ack(task, "complete", 1), Ack(task, "complete", 1)]
        assert hub.figures.flushes == flushes + 2
        durable = [count for _, message, count in hub.net.said if isinstance(message, Ack)]
        assert durable[0] < durable[1] == durable[2]
        assert events(bench, hub).count("completed") == 1


async def test_an_agent_is_not_blamed_for_the_time_in_which_the_disk_was_full(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.flushing.HEAL_PAUSE", 0.01)
    async with bench.running() as hub:
        hub.store.fail_next(*[ReadOnly("no space left on device")] * 3)
        monkeypatch.setattr(hub._flusher, "_refused", lambda: bench.clock.forward(1200))
        connect(hub)
        (assign,) = await hub.net.wait_for(Assign)
        hub.submit(Said("a", "s-a", Accepted(assign.task.id, 1)))
        assert await hub.net.wait_for(Ack) == [Ack(assign.task.id, "accepted", 1)]
        assert not hub.core.memory.agents["a"].live.unresponsive
        assert "not_accepted" not in events(bench, hub)


async def test_a_hub_whose_lock_was_taken_away_writes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.flushing.HEAL_PAUSE", 0.01)
    allowed, refused = [True], asyncio.Event()

    def may_write() -> bool:
        if not allowed[0]:
            refused.set()
        return allowed[0]

    async with bench.running(may_write=may_write) as hub:
        before = len(hub.store.commits)
        allowed[0] = False
        connect(hub)
        await asyncio.wait_for(refused.wait(), SOON)
        assert len(hub.store.commits) == before
        assert not any(isinstance(message, Assign) for _, message, _ in hub.net.said)
        allowed[0] = True
        await hub.net.wait_for(Assign)


@pytest.mark.parametrize("error", [Conflict("moved"), Fatal("fsync failed")])
async def test_what_cannot_be_healed_ends_the_hub_and_nothing_is_said(bench: Bench, error: Exception) -> None:
    hub = bench.hub()
    await hub.start()
    working = asyncio.create_task(hub.run())
    hub.store.fail_next(error)
    connect(hub)
    with pytest.raises(type(error)):
        await asyncio.wait_for(working, SOON)
    assert not any(isinstance(message, Assign) for _, message, _ in hub.net.said)
    hub.close()


async def test_a_source_commit_with_objections_is_reported_and_the_last_one_stays_in_force(bench: Bench) -> None:
    bad: list[str] = []
    async with bench.running(objections=lambda commit: ("tasks is a file",) if commit in bad else ()) as hub:
        observed = hub.observed
        bad.append(bench.source.commit({"BACKLOG.md": b"## Ready\n"}))
        await asyncio.wait_for(hub.reconcile(), SOON)
        assert hub.observed == observed
        assert len([task for task in hub.core.memory.tasks.values() if task.open]) == 2


async def test_a_finished_task_is_remembered_after_a_restart_when_somebody_speaks_of_it(bench: Bench) -> None:
    async with bench.running() as hub:
        connect(hub)
        (assign,) = await hub.net.wait_for(Assign)
        await hub.settle(Said("a", "s-a", Complete(assign.task.id, 1, {"summary": "ok"})))
    async with bench.running() as again:
        assert assign.task.id in again.core.memory.closed
        connect(again)
        again.submit(Said("a", "s-a", Complete(assign.task.id, 1, {"summary": "ok"})))
        assert await again.net.wait_for(Ack) == [Ack(assign.task.id, "complete", 1)]
        assert events(bench, again).count("completed") == 0


async def test_a_dependency_that_finished_before_the_restart_is_met(bench: Bench) -> None:
    bench.source.commit({"BACKLOG.md": b"## Ready\n\n- [ ] first <!-- t-first -->\n"})
    async with bench.running() as hub:
        connect(hub)
        await hub.net.wait_for(Assign)
        await hub.settle(Said("a", "s-a", Complete("t-first", 1, {"summary": "ok"})))
    text = b"## Ready\n\n- [ ] first <!-- t-first -->\n- [ ] next depends:t-first <!-- t-next -->\n"
    bench.source.commit({"BACKLOG.md": text})
    async with bench.running() as again:
        connect(again)
        (assign,) = await again.net.wait_for(Assign)
        assert assign.task.id == "t-next"


async def test_a_hub_that_cannot_write_stops_when_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk must not take a kill -9 to end it; what was not written is decided again by the next one."""
    hub = bench.hub()
    await hub.start()
    hub.store.fail_next(*[ReadOnly("no space left on device")] * 100)
    monkeypatch.setattr(hub._flusher, "_refused", hub.stop)
    connect(hub)
    await asyncio.wait_for(hub.run(), SOON)
    hub.close()
    assert hub.net.said == []

    async with bench.running() as again:
        connect(again)
        assert await again.net.wait_for(Assign)


async def test_leases_start_anew_before_anything_that_waited_is_judged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much has gathered while the disk was full, no timer runs before the hub has noted that it stood still."""
    monkeypatch.setattr("coordinator.flushing.HEAL_PAUSE", 0.01)
    monkeypatch.setattr("coordinator.hub.BATCH", 2)
    async with bench.running() as hub:
        connect(hub)
        (assign,) = await hub.net.wait_for(Assign)
        hub.store.fail_next(ReadOnly("no space left on device"))
        hub.submit(Said("a", "s-a", Accepted(assign.task.id, 1)))
        monkeypatch.setattr(hub._flusher, "_refused", lambda: bench.clock.forward(8000))
        for number in range(6):
            hub.submit(Said("a", "s-a", Failed(f"t-{number}", 1)))
        await hub.net.wait_for(Ack)
        await hub.settle(Said("a", "s-a", Accepted(assign.task.id, 1)))
        assert "attempt_timeout" not in events(bench, hub)


async def test_looking_at_the_list_again_and_again_brings_nothing_more_into_memory(bench: Bench) -> None:
    bench.source.commit({"BACKLOG.md": BACKLOG, "agents/a.yaml": AGENT})
    async with bench.running() as hub:
        connect(hub)
        for number in range(2):
            (*_, assign) = await hub.net.wait_for(Assign, number + 1)
            await hub.settle(Said("a", "s-a", Complete(assign.task.id, 1, {"summary": "ok"})))
    async with bench.running() as hub:
        for _ in range(3):
            assert len(await hub.all_tasks(1)) == 1
            assert len(await hub.all_tasks(10)) == 2
        assert len(hub.core.memory.closed) == 2


async def test_a_task_from_a_file_keeps_its_words_when_it_is_read_back(bench: Bench) -> None:
    bench.source.commit({"tasks/t-x.yaml": b"title: A fine title\npriority: high\ncancel: true\n"})
    async with bench.running() as hub:
        await hub.reconcile()
    bench.source.commit({"tasks/t-x.yaml": None})
    async with bench.running() as hub:
        (task,) = [task for task in await hub.all_tasks(10) if task.id == "t-x"]
        assert (task.spec.title, task.spec.priority.word) == ("A fine title", "high")


async def test_a_removal_that_is_held_stays_held_over_a_restart_and_ends_when_it_is_confirmed(bench: Bench) -> None:
    files = {f"tasks/t-{n}.yaml": f"title: Task {n}\n".encode() for n in range(8)}
    bench.source.commit(files)
    async with bench.running() as hub:
        await hub.reconcile()
        gone = bench.source.commit({**dict.fromkeys(files), "BACKLOG.md": None})
        await hub.reconcile()
        assert any("would disappear at once" in str(problem) for problem in hub.problems)
    async with bench.running() as hub:
        await hub.reconcile()
        assert sum(task.open for task in hub.core.memory.tasks.values()) == 10
        assert hub.core.memory.tasks["t-3"].spec.title == "Task 3"
        bench.source.commit({}, message=f"Yes\n\nAgentcom-Confirm: {gone[:10]}")
        await hub.reconcile()
        assert not any(task.open for task in hub.core.memory.tasks.values())
        assert hub.problems == ()


async def test_a_backlog_older_than_init_waits_until_a_person_confirms_the_very_files(bench: Bench) -> None:
    tip = bench.source.tip()
    blob = bench.source.entries(tip)["BACKLOG.md"].oid
    bench.source.commit({"BACKLOG.md": BACKLOG + b"- [ ] third\n"})
    async with bench.running(existing=blob) as hub:
        await hub.reconcile()
        tasks = {task.spec.title: task.status.held for task in hub.core.memory.tasks.values()}
        assert tasks == {"first": True, "second": True, "third": False}
        bench.source.commit({}, message=f"Yes\n\nAgentcom-Confirm: {hub.observed}")
        await hub.reconcile()
        assert not any(task.status.held for task in hub.core.memory.tasks.values())
        assert events(bench, hub).count("unheld") == 2


async def test_a_backlog_that_was_confirmed_before_the_first_hub_runs_at_once(bench: Bench) -> None:
    tip = bench.source.tip()
    blob = bench.source.entries(tip)["BACKLOG.md"].oid
    bench.source.commit({}, message=f"Yes\n\nAgentcom-Confirm: {tip}")
    async with bench.running(existing=blob) as hub:
        await hub.reconcile()
        assert not any(task.status.held for task in hub.core.memory.tasks.values())


async def test_going_back_to_a_confirmation_confirms_nothing_anew(bench: Bench) -> None:
    async with bench.running() as hub:
        bench.source.commit({f"tasks/t-{n}.yaml": f"title: {n}\n".encode() for n in range(3)})
        await hub.reconcile()
        confirm = bench.source.commit({}, message=f"Yes\n\nAgentcom-Confirm: {hub.observed}")
        await hub.reconcile()
        bench.source.commit({f"tasks/u-{n}.yaml": f"title: {n}\n".encode() for n in range(20)})
        await hub.reconcile()
        bench.source.set_tip(confirm)
        await hub.reconcile()
        assert hub.core.memory.tasks["u-7"].open
        assert any("would disappear" in str(problem) for problem in hub.problems)


async def test_what_is_held_in_a_draft_lane_is_still_a_draft_after_a_restart(bench: Bench) -> None:
    many = "".join(f"- [ ] thing {n}\n" for n in range(12))
    async with bench.running() as hub:
        for text in (f"## Ready\n\n{many}", f"## Ideas\n\n{many}", "## Ready\n"):
            bench.source.commit({"BACKLOG.md": text.encode()})
            await hub.reconcile()
        assert [batch.kind for batch in hub.core.memory.held] == ["removed"]
    async with bench.running() as hub:
        connect(hub)
        await hub.reconcile()
        held = hub.core.memory.held[0].ids
        assert {str(hub.core.memory.tasks[name].lane) for name in held} == {"draft"}
        assert not any(hub.core.memory.tasks[name].owned for name in held)


async def test_a_finished_task_that_cannot_be_read_back_now_ends_nothing_and_refuses_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.running() as hub:
        connect(hub)
        (assign,) = await hub.net.wait_for(Assign, 1)
        await hub.settle(Said("a", "s-a", Complete(assign.task.id, 1, {"summary": "ok"})))
    async with bench.running() as hub:
        connect(hub)
        read, failing = hub.store.read_all, [True]

        def read_all(paths: object) -> object:
            if failing:
                failing.clear()
                raise Fatal("an object is damaged")
            return read(paths)

        monkeypatch.setattr(hub.store, "read_all", read_all)
        with pytest.raises(StoreError):
            await hub.settle(Said("a", "s-a", Complete(assign.task.id, 1, {"summary": "ok"})))
        await hub.settle(Said("a", "s-a", Complete(assign.task.id, 1, {"summary": "ok"})))
        assert await hub.net.wait_for(Ack) == [Ack(assign.task.id, "complete", 1)]


async def test_a_hub_that_has_finished_much_keeps_little_of_it_in_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.hub.FINISHED_KEPT", 2)
    async with bench.running() as hub:
        bench.source.commit({f"tasks/t-{n}.yaml": f"title: {n}\ncancel: true\n".encode() for n in range(9)})
        await hub.reconcile()
        assert len(hub.core.memory.closed) == 7
        assert {task.spec.title for task in await hub.all_tasks(100) if task.finished} == {str(n) for n in range(9)}
        bench.source.commit({"tasks/t-1.yaml": b"title: again\nrerun: 1\n"})
        await hub.reconcile()
        assert hub.core.memory.tasks["t-1"].spec.title == "again"
        assert hub.core.memory.tasks["t-1"].open

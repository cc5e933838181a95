"""What a Node sidecar left in queue.json is gone on with, and nobody is woken for it a second time."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from coordinator.wire.frames import (
    Error,
    Identified,
    TaskAccepted,
    TaskAssign,
    TaskCancelled,
    TaskContinue,
    TaskReassign,
    TaskRecovering,
    TaskRejected,
)
from sidecar.core import Core, Settings
from sidecar.events import Adopt, Effect, Hello, Opened, Persist, Received, Restored, Resume, Say, Send, Start
from sidecar.outbox import Outbox, decode_queue, encode_queue
from sidecar.values import Inherited, Key, Queue, Stage

INHERITED = Inherited("t-1", "Do it\nwell", {"issue": 42}, "working")


def nodes_queue(status: str = "working", place: str = "active", **more: Any) -> dict[str, Any]:
    task = {"task_id": "t-1", "description": "Do it\nwell", "metadata": {"issue": 42}, "status": status}
    return {"active": None, "recovering": None, place: {**task, "assigned_at": 1, "wake_attempts": 1, **more}}


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["active", "recovering"])
@pytest.mark.parametrize("status", ["waking", "waking_confirmation", "working"])
def test_work_that_an_agent_was_woken_for_is_inherited(place: str, status: str) -> None:
    queue = decode_queue(json.dumps(nodes_queue(status, place, generation=3)).encode())
    assert queue == Queue(inherited=Inherited("t-1", "Do it\nwell", {"issue": 42}, status))


@pytest.mark.parametrize(
    "queue",
    [{"active": None, "recovering": None}, nodes_queue("accepted"), nodes_queue("failed"), nodes_queue(task_id="../x")],
)
def test_what_nobody_was_woken_for_is_an_empty_queue(queue: dict[str, Any]) -> None:
    assert decode_queue(json.dumps(queue).encode()) == Queue()


def test_what_is_inherited_comes_back_from_our_own_file() -> None:
    queue = Queue(ended=(Key("t-9", 1),), inherited=INHERITED)
    assert decode_queue(encode_queue(queue)) == queue


@pytest.mark.parametrize("queue", [{"active": None, "recovering": None}, nodes_queue()])
def test_the_file_of_a_node_sidecar_is_kept_and_ours_takes_its_place(tmp_path: Path, queue: dict[str, Any]) -> None:
    outbox = Outbox(tmp_path)
    outbox.queue_file.write_text(json.dumps(queue))
    left = decode_queue(outbox.queue_file.read_bytes())
    assert "queue.json.node" in (outbox.take_over() or "")
    assert json.loads((tmp_path / "queue.json.node").read_text()) == queue
    assert outbox.take_over() is None
    assert outbox.load() == (left, None)


# --- the core ---------------------------------------------------------------------------------------------------------


class Life:
    """One process: it has the queue that the last one left, and has said ``identify`` and what follows."""

    def __init__(self, queue: Queue) -> None:
        self.core = Core(queue, Settings(outlives=True))
        running = queue.attempt is not None and queue.attempt.stage is Stage.RUNNING
        self.said = self.do(Restored(goes_on=running)) + self.do(Opened())
        self.said += self.hear(Identified(agent_id="a", session_id="s", server_time=0))

    def do(self, event: Any) -> list[Effect]:
        return [effect for effect in self.core.handle(event, 0.0) if not isinstance(effect, Say)]

    def hear(self, frame: Any) -> list[Effect]:
        return self.do(Received(frame))


@pytest.fixture
def heir() -> Life:
    return Life(Queue(inherited=INHERITED))


def frames(effects: list[Effect]) -> list[Any]:
    return [effect.frame for effect in effects if isinstance(effect, Send)]


def assign(task_id: str = "t-1", generation: int = 4) -> TaskAssign:
    return TaskAssign(task_id=task_id, title="a task", generation=generation, assigned_at=0)


def test_it_is_reported_as_recovering_without_a_generation_and_without_holding(heir: Life) -> None:
    assert Hello(None) in heir.said
    assert TaskRecovering(task_id="t-1", last_status="working") in frames(heir.said)


def test_a_continue_makes_it_the_attempt_in_hand_with_what_is_known_of_it(heir: Life) -> None:
    effects = heir.hear(TaskContinue(task_id="t-1", generation=4))
    adopted, persisted, *_, resumed = effects
    assert isinstance(adopted, Adopt) and isinstance(persisted, Persist)
    assert resumed == Resume(adopted.assignment)
    assert (adopted.assignment.title, adopted.assignment.generation) == ("Do it", 4)
    assert (adopted.assignment.description, adopted.assignment.metadata) == ("Do it\nwell", {"issue": 42})
    assert persisted.queue.attempt is not None and persisted.queue.attempt.stage is Stage.RUNNING
    assert persisted.queue.inherited is None
    assert frames(effects) == [TaskAccepted(task_id="t-1", generation=4)]


def test_the_assignment_said_again_makes_it_the_attempt_in_hand_as_it_stands_there(heir: Life) -> None:
    effects = heir.hear(assign())
    assert effects[0] == Adopt(assign())
    assert effects[-1] == Resume(assign())


@pytest.mark.parametrize("answer", [TaskContinue(task_id="t-1", generation=4), assign()])
def test_no_crash_on_the_way_starts_it_a_second_time(heir: Life, answer: Any) -> None:
    effects = heir.hear(answer)
    for done in range(len(effects) + 1):
        durable = [effect.queue for effect in effects[:done] if isinstance(effect, Persist)]
        queue = decode_queue(encode_queue(durable[-1] if durable else Queue(inherited=INHERITED)))
        next_life = Life(queue)
        later = next_life.said + next_life.hear(answer)
        assert not any(isinstance(effect, Start) for effect in later)
        assert [effect for effect in later if isinstance(effect, Resume)] != []
        assert durable == [] or any(isinstance(effect, Adopt) for effect in effects[:done]), "its marks come first"


@pytest.mark.parametrize(
    "answer",
    [
        TaskReassign(task_id="t-1"),
        TaskCancelled(task_id="t-1", generation=4, timestamp=0),
        Error(error="task_update_failed: not_found", task_id="t-1"),
    ],
)
def test_it_is_dropped_when_it_is_not_ours_any_more_and_other_work_comes(heir: Life, answer: Any) -> None:
    effects = heir.hear(answer)
    assert Persist(Queue()) in effects
    assert any(isinstance(effect, Start) for effect in heir.hear(assign("t-2", 1)))


def test_other_work_is_turned_away_as_busy_until_the_hub_has_answered(heir: Life) -> None:
    assert frames(heir.hear(assign("t-2", 1))) == [TaskRejected(task_id="t-2", generation=1, reason="busy")]
    assert heir.core.queue.inherited == INHERITED


# --- the process ------------------------------------------------------------------------------------------------------

#: A wake command that counts its calls.
WAKE = "import pathlib, sys; pathlib.Path(sys.argv[1]).open('a').write('woken ')"


def left_behind(sidecar: Any, queue: dict[str, Any]) -> Path:
    """Let a Node sidecar have died in this folder; return where wakes are counted."""
    (sidecar.home / "queue.json").write_text(json.dumps(queue))
    (sidecar.home / "wake.py").write_text(WAKE)
    return sidecar.home / "wakes"


def wakes(sidecar: Any) -> None:
    """Configure it as the Node sidecar was."""
    del sidecar.config["runtime"]
    sidecar.config["wake_command"] = f"{sys.executable} {sidecar.home}/wake.py {sidecar.home}/wakes"


@pytest.mark.slow
async def test_a_woken_agent_of_a_node_sidecar_reports_to_ours_over_kills_and_is_not_woken_again(hub, sidecars):
    sidecar = sidecars()
    wakes(sidecar)
    counted = left_behind(sidecar, nodes_queue())
    await sidecar.start()
    session = await hub.session()
    assert "holding" not in session.identify
    await session.expect("task_recovering", task_id="t-1", last_status="working")
    await sidecar.end(signal.SIGKILL)
    await sidecar.start()
    session = await hub.session()
    await session.expect("task_recovering", task_id="t-1")
    await session.send("task_continue", task_id="t-1", generation=4)
    await session.expect("task_accepted", task_id="t-1", generation=4)
    await sidecar.end(signal.SIGKILL)
    (sidecar.home / "results/t-1.json").write_text(json.dumps({"status": "success", "output": "did it"}))
    await sidecar.start()
    session = await hub.session()
    done = await session.expect("task_complete", task_id="t-1", generation=4)
    assert done["result"]["output"] == "did it"
    await session.ack("t-1", "complete", 4)
    _, stderr = await sidecar.end(signal.SIGTERM)
    assert not counted.exists()
    assert "error" not in stderr.lower()


@pytest.mark.slow
async def test_a_runtime_of_children_inherits_nothing_and_says_which_task_it_lets_go(hub, sidecars):
    sidecar = sidecars()
    left_behind(sidecar, nodes_queue())
    await sidecar.start()
    session = await hub.session()
    assert session.identify["holding"] == []
    _, stderr = await sidecar.end(signal.SIGTERM)
    assert "t-1: a Node sidecar had it in hand" in stderr
    assert sidecar.queue().get("inherited") is None

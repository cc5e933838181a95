"""Every word of `agentcom task` reaches the hub through a commit, and does there what it says."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from coordinator.demo.run import follow
from coordinator.demo.stage import LOOK_EVERY, Stage

pytestmark = pytest.mark.slow
#: Seconds after which a frame is missing.
SOON = 30.0


class Client:
    """An agent by hand, which can ask a question."""

    def __init__(self, socket: ClientConnection, stage: Stage, agent: str) -> None:
        self._socket = socket
        self.send("identify", agent_id=agent, token=stage.sidecars[agent].token, features=["updates"], instance_id="i")
        self.expect("identified")

    def send(self, kind: str, **fields: Any) -> None:
        self._socket.send(json.dumps({"type": kind, **fields}))

    def expect(self, kind: str) -> dict[str, Any]:
        while (frame := json.loads(self._socket.recv(SOON)))["type"] != kind:
            pass
        return frame


@pytest.fixture
def stage(make_stage) -> Stage:
    staged: Stage = make_stage(0)
    staged.add_agent("loash")
    end = time.monotonic() + SOON
    while not any(agent["agent_id"] == "loash" for agent in staged.agents()):
        assert time.monotonic() < end, "the hub never saw the agent, it would refuse its token"
        time.sleep(LOOK_EVERY)
    return staged


@pytest.fixture
def client(stage: Stage) -> Iterator[Client]:
    with connect(f"ws://127.0.0.1:{stage.port}/ws") as socket:
        yield Client(socket, stage, "loash")


def wait(stage: Stage, task_id: str, state: str, **more: Any) -> dict[str, Any]:
    def find(tasks: list[dict[str, Any]]) -> dict[str, Any] | None:
        wanted = {"id": task_id, "status": state, **more}
        return next((task for task in tasks if wanted.items() <= task.items()), None)

    found = find(follow(stage, 1, lambda tasks: find(tasks) is not None))
    assert found is not None, f"{task_id} never was {state}"
    return found


def word(stage: Stage, *words: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(stage.agentcom("task", *words, "--json"))
    assert said["hub_running"]
    return said


def test_a_task_is_made_asked_about_answered_judged_and_run_again(stage: Stage, client: Client) -> None:
    task_id = word(stage, "new", "Paint it", "--review", "--assignee", "loash")["id"]
    first = client.expect("task_assign")
    assert (first["task_id"], first["generation"]) == (task_id, 1)
    client.send("task_accepted", task_id=task_id, generation=1)
    client.send("task_blocked", task_id=task_id, generation=1, question="Which colour?")
    wait(stage, task_id, "blocked")

    word(stage, "answer", task_id, "Blue")
    assert client.expect("task_updated")["answer"] == "Blue"

    client.send("task_complete", task_id=task_id, generation=1, result={"status": "success", "summary": "red"})
    wait(stage, task_id, "in_review")
    word(stage, "reject", task_id, "--note", "Blue, not red.")
    second = client.expect("task_assign")
    assert (second["generation"], second["context"]["review"][-1]["note"]) == (2, "Blue, not red.")

    client.send("task_accepted", task_id=task_id, generation=2)
    client.send("task_complete", task_id=task_id, generation=2, result={"status": "success", "summary": "blue"})
    wait(stage, task_id, "in_review")
    word(stage, "approve", task_id)
    wait(stage, task_id, "done")

    word(stage, "rerun", task_id)
    assert client.expect("task_assign")["generation"] == 3
    word(stage, "cancel", task_id)
    assert client.expect("task_cancelled")["generation"] == 3
    wait(stage, task_id, "cancelled")
    client.send("task_released", task_id=task_id, generation=3)
    word(stage, "rerun", task_id)
    assert client.expect("task_assign")["generation"] == 4, "a rerun takes the cancel back"


def test_a_line_is_taken_over_held_changed_released_and_given_back(stage: Stage) -> None:
    stage.write_backlog(1)
    (made,) = follow(stage, 1, lambda tasks: len(tasks) == 1)
    task_id = made["id"]

    assert word(stage, "hold", task_id)["taken_over"]
    held = wait(stage, task_id, "queued", origin="file")
    assert held["why"]["code"] == "held"
    word(stage, "edit", task_id, "--priority", "urgent", "--label", "soon")
    changed = wait(stage, task_id, "queued", priority="urgent")
    assert (changed["title"], changed["labels"]) == (made["title"], ["soon"])
    word(stage, "release", task_id)
    (released,) = follow(stage, 1, lambda tasks: tasks[0]["why"]["code"] != "held")
    assert released["why"]["code"] != "held"

    word(stage, "rm", task_id)
    back = wait(stage, task_id, "queued", origin="backlog")
    assert (back["priority"], back["where"]) == ("normal", "BACKLOG.md:5")
    assert back["generation"] == made["generation"], "it is the same task"

    word(stage, "cancel", task_id)
    wait(stage, task_id, "cancelled")
    word(stage, "rerun", task_id)
    again = wait(stage, task_id, "queued")
    assert again["title"] == made["title"]

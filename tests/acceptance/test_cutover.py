"""Steps 1 to 3 of docs/cutover.md, as a person takes them: an old hub, a new one beside it, one agent moves over."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from support.oldhub import ADMIN, OldHub, old_task
from support.oldsidecars import OldSidecar
from support.waiting import SOON, until

from coordinator.demo.stage import Sidecar, Stage

pytestmark = pytest.mark.slow

#: Tokens as version 1 makes them: no ``ac_`` in front.
TOKENS = {"loash": "9f" * 32, "gcu": "71" * 32}


@pytest.fixture
def old_hub() -> Any:
    with OldHub([old_task(1), old_task(2, status="completed")], [{"agent_id": "loash", "name": "Loash"}]) as hub:
        yield hub


@pytest.fixture
def stage(tmp_path: Path) -> Any:
    made = Stage(tmp_path / "stage")
    made.open()
    yield made
    made.close()


def states(stage: Stage) -> dict[str, str]:
    return {agent["agent_id"]: agent["fsm_state"] for agent in stage.client.get("/api/agents")["agents"]}


def shown(stage: Stage, task_id: str) -> dict[str, Any]:
    """Return a task as the hub has it; empty until the hub knows it."""
    return next((task for task in stage.tasks() if task["id"] == task_id), {"status": None})


def step_1(stage: Stage, old_hub: OldHub) -> None:
    """The new hub runs beside the old one; no agent is changed."""
    tokens = stage.folder / "tokens.json"
    tokens.write_text(json.dumps(TOKENS))
    stage.agentcom("import", "v1", "--tokens", str(tokens), "--hub", old_hub.url, "--admin-token", ADMIN)
    stage.start_hub()
    until(lambda: states(stage) == {"gcu": "offline", "loash": "offline"})
    assert json.loads(stage.agentcom("doctor", "--json"))["well"]
    (task,) = stage.tasks()
    assert (task["id"], task["status"], task["why"]["code"]) == ("task-00000001", "queued", "held")


#: What an agent of version 1 does once it is woken: it says so by a file, and puts its result into another.
WOKEN = """\
import json, pathlib, sys
task_id, results, log = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
(results / f"{task_id}.started").touch()
with log.open("a") as work:
    work.write(f"end {task_id} 1\\n")
(results / f"{task_id}.json").write_text(json.dumps({"status": "success", "summary": "hello"}))
"""


def step_2(stage: Stage) -> None:
    """The sidecar of one agent, with its old config.json: token, wake command and all; only the address is new."""
    folder = stage.folder / "agents/loash"
    (folder / "results").mkdir(parents=True)
    (folder / "wake.py").write_text(WOKEN)
    old = {
        "hub_api_url": f"http://127.0.0.1:{stage.port}",
        "repo_dir": str(folder),
        "reviewer": "gcu",
        "capabilities": ["code"],
        "confirmation_timeout_ms": 30_000,
        "results_dir": str(folder / "results"),
        "log_file": str(folder / "sidecar.log"),
        "wake_command": f"{sys.executable} {folder}/wake.py ${{TASK_ID}} {folder}/results {stage.work_log}",
    }
    stage.sidecars["loash"] = Sidecar("loash", folder, TOKENS["loash"], old)
    stage.start_sidecar("loash")
    until(lambda: states(stage) == {"gcu": "offline", "loash": "idle"})


def test_an_agent_moves_over_with_its_token_and_brings_a_result_back(stage: Stage, old_hub: OldHub) -> None:
    step_1(stage, old_hub)
    step_2(stage)

    # step 3: created, assigned, woken, done, and the result is back
    stage.agentcom("task", "new", "Say hello from the new hub", "--id", "hello", "--assignee", "loash")
    until(lambda: shown(stage, "hello")["status"] == "done")
    story = [line for line in stage.agentcom("log", "hello").splitlines() if "->" in line]
    for words in ("queued -> assigned (loash)", "assigned -> working (loash)", "working -> done (loash)"):
        assert any(words in line for line in story), story
    assert json.loads(stage.agentcom("task", "show", "hello", "--json"))["result"]["status"] == "success"
    assert stage.ends()["hello"] == 1
    assert shown(stage, "task-00000001")["status"] == "queued", "what came from the old hub waits for a person"
    stage.agentcom("task", "release", "task-00000001")
    until(lambda: shown(stage, "task-00000001")["status"] == "done")

    assert {path.partition("?")[0] for path in old_hub.asked} <= {"/api/tasks", "/api/agents"}, "it was only read"


def test_the_way_back_from_step_2_leaves_the_old_hub_as_it_was(stage: Stage, old_hub: OldHub) -> None:
    step_1(stage, old_hub)
    step_2(stage)
    process = stage.sidecars["loash"].process
    assert process is not None
    process.terminate()
    process.wait(SOON)
    until(lambda: states(stage)["loash"] == "offline")
    assert [task["status"] for task in old_hub.tasks] == ["queued", "completed"]
    (task,) = stage.tasks()
    assert task["status"] == "queued", "nothing of the old hub's runs twice"


async def test_an_old_sidecar_as_it_is_comes_in_by_its_old_token(stage: Stage, old_hub: OldHub) -> None:
    await asyncio.to_thread(step_1, stage, old_hub)
    done: list[str] = []

    async def work(task_id: str) -> None:
        done.append(task_id)

    sidecar = OldSidecar("gcu", TOKENS["gcu"], lambda: stage.port, stage.folder, work)
    sidecar.start()
    await asyncio.to_thread(stage.agentcom, "task", "release", "task-00000001")
    await asyncio.to_thread(until, lambda: shown(stage, "task-00000001")["status"] == "done")
    await sidecar.kill()
    assert done == ["task-00000001"]


async def test_the_new_sidecar_goes_on_with_what_the_old_one_had_in_hand(stage: Stage, old_hub: OldHub) -> None:
    await asyncio.to_thread(step_1, stage, old_hub)

    async def work(task_id: str) -> None:
        await asyncio.Event().wait()  # the woken agent takes its time, and outlives its sidecar

    old = OldSidecar("gcu", TOKENS["gcu"], lambda: stage.port, stage.folder, work)
    old.start()
    await asyncio.to_thread(stage.agentcom, "task", "release", "task-00000001")
    await asyncio.to_thread(until, lambda: (old.in_hand or {}).get("status") == "working")
    await old.kill()

    wakes = stage.folder / "wakes"
    command = f"{sys.executable} -c \"import pathlib; pathlib.Path('{wakes}').touch()\""
    stage.sidecars["gcu"] = Sidecar("gcu", old.folder, TOKENS["gcu"], {"wake_command": command})
    await asyncio.to_thread(stage.start_sidecar, "gcu")
    await asyncio.to_thread(until, lambda: (old.folder / "results/task-00000001.1/confirmed").exists())
    (old.folder / "results/task-00000001.json").write_text(json.dumps({"status": "success", "output": "hello"}))
    await asyncio.to_thread(until, lambda: shown(stage, "task-00000001")["status"] == "done")
    task = shown(stage, "task-00000001")
    assert (task["generation"], task["retry_count"], task["result"]["output"]) == (1, 0, "hello")
    assert not wakes.exists(), "nobody was woken a second time"

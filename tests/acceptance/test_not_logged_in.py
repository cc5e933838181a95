"""An agent whose program is not logged in: it is parked, and the backlog stays as it is until somebody logs in."""

import json
import subprocess
import sys

import pytest
from support.waiting import until

pytestmark = pytest.mark.slow

#: Speaks as Claude Code does; who is logged in is a file beside it.
PROGRAM = f"""#!{sys.executable}
import json, sys
from pathlib import Path
logged_in = Path(__file__).with_name("logged-in").exists()
if sys.argv[1:2] == ["auth"]:
    sys.exit(0 if logged_in else 1)
if sys.argv[1:2] == ["--version"]:
    print("2.1.330 (Claude Code)")
    sys.exit()
task = sys.stdin.read()
if "doctor-" in task:
    note = Path("note.txt").read_text()
    nonce = task.partition("the word BEFORE by ")[2][:8]
    Path("note.txt").write_text(note.replace("BEFORE", nonce))
    if not Path(__file__).with_name("lazy").exists():
        import subprocess
        subprocess.run(["sh", "prove.sh"], check=True)
    task = nonce
end = dict(type="result", is_error=False, result="Did it: " + task[-100:], usage=dict(input_tokens=1, output_tokens=1))
print(json.dumps(end))
"""


@pytest.fixture
def stage(make_stage):
    stage = make_stage(0)
    program = stage.folder / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    stage.add_agent("loash", runtime={"name": "claude", "program": [str(program)]})
    stage.agentcom("reconcile")
    return stage


def doctor(stage, *options: str) -> tuple[int, dict]:
    config = stage.sidecars["loash"].folder / "config.json"
    argv = [sys.executable, "-m", "sidecar", "doctor", "--config", str(config), "--json", *options]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_a_program_that_is_not_logged_in_parks_its_agent_and_leaves_the_backlog_intact(stage) -> None:
    stage.start_sidecar("loash")
    stage.wait_for_agents()
    stage.write_backlog(5)
    stage.agentcom("reconcile")

    def parked() -> bool:
        return "not logged in" in str(json.loads(stage.agentcom("agent", "list", "--json")))

    until(parked, say=lambda: "the agent was not parked")
    tasks = stage.tasks()
    assert [task["status"] for task in tasks] == ["queued"] * 5
    assert [task["retry_count"] for task in tasks] == [0] * 5
    ends = [attempt["end"] for task in tasks for attempt in task["attempts"]]
    assert ends == ["environment"]

    (stage.folder / "bin" / "logged-in").touch()
    stage.kill_sidecar("loash")
    stage.start_sidecar("loash")
    until(lambda: [task["status"] for task in stage.tasks()] == ["done"] * 5, say=stage.tasks)
    assert {task["retry_count"] for task in stage.tasks()} == {0}


def test_doctor_says_what_is_wrong_line_by_line_until_nothing_is(stage) -> None:
    stage.start_sidecar("loash")
    stage.wait_for_agents()

    code, checks = doctor(stage)
    assert code == 1
    assert not checks["login"]["passed"]
    assert "log in" in checks["login"]["remedy"]
    assert {name for name, check in checks.items() if check["passed"]} == {
        *("config", "permissions", "program", "version", "hub", "token")
    }

    (stage.folder / "bin" / "logged-in").touch()
    (stage.folder / "bin" / "lazy").touch()
    code, checks = doctor(stage)
    assert (code, checks["round trip"]["passed"]) == (1, False)
    assert "did not run the command" in checks["round trip"]["text"]

    (stage.folder / "bin" / "lazy").unlink()
    code, checks = doctor(stage)
    assert (code, [check for check in checks.values() if not check["passed"]]) == (0, [])

    config = stage.sidecars["loash"].folder / "config.json"
    said = json.loads(config.read_text())
    stage.add_agent("other")
    stage.agentcom("reconcile")
    config.write_text(json.dumps({**said, "token": stage.sidecars["other"].token}))
    config.chmod(0o644)
    code, checks = doctor(stage)
    assert code == 1
    assert "not that of loash" in checks["token"]["text"]
    assert checks["permissions"]["remedy"].startswith("chmod 600")

    config.chmod(0o600)
    config.write_text(json.dumps({**said, "hub_url": "ws://127.0.0.1:9"}))
    code, checks = doctor(stage)
    assert (code, checks["hub"]["passed"], checks["token"]["passed"]) == (1, False, False)

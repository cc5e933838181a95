"""Programs that speak as the real ones do, run by a real sidecar: what reaches them, and what their ends become."""

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.fakehub import PATIENCE_S, FakeHub

pytestmark = pytest.mark.slow

TITLE = "$(touch pwned) `touch pwned`; 'one' \"two\"\nand --flag | rm \\ & ${TASK_ID} %s"
DESCRIPTION = "```\n$(touch pwned)\n" + "x" * 100_000

#: What every fake program begins with: it notes what it was given, beside itself.
NOTE = """#!{python}
import json, os, sys, time
from pathlib import Path
here = Path(__file__).resolve().parent
said = dict(argv=sys.argv[1:], stdin=sys.stdin.read(), env=dict(os.environ), cwd=os.getcwd())
with (here / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(said) + chr(10))
"""
CLAUDE = (
    NOTE
    + """
if sys.argv[1:] == ["auth", "status"]:
    sys.exit(0 if (here / "logged-in").exists() else 1)
Path("made.txt").write_text("made")
end = dict(type="result", is_error=False, result="Made it.", session_id="s")
end["usage"] = dict(input_tokens=3, output_tokens=4)
end.update(json.loads((here / "end.json").read_text()) if (here / "end.json").exists() else {{}})
print(json.dumps(dict(type="system", subtype="init")), flush=True)
print("a warning", file=sys.stderr, flush=True)
print(json.dumps(end), flush=True)
sys.exit(1 if end["is_error"] else 0)
"""
)


class Agent:
    """One sidecar with a fake program in the place of a runtime's own."""

    def __init__(self, home: Path, hub: FakeHub, script: str, runtime: dict[str, Any], **config: Any) -> None:
        self.home = home
        home.mkdir()
        self.bin = home / "bin"
        self.bin.mkdir()
        self.program = self.bin / "program"
        self.program.write_text(script.replace("{python}", sys.executable).replace("{{}}", "{}"))
        self.program.chmod(0o755)
        self.file = home / "config.json"
        self.file.touch(mode=0o600)
        place = {"argv": [str(self.program)]} if runtime["name"] == "wake" else {"program": [str(self.program)]}
        said = {
            "agent_id": "loash",
            "token": hub.token,
            "hub_url": hub.url,
            "reconnect_max": "200ms",
            "kill_grace": "200ms",
            "runtime": {**place, **runtime},
            **config,
        }
        self.file.write_text(json.dumps(said))
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        argv = (sys.executable, "-m", "sidecar.cli", "run", "--config", str(self.file))
        self.process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)

    async def end(self, number: int) -> str:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            _, stderr = await self.process.communicate()
        self.process = None
        return (stderr or b"").decode()

    async def ask(self, *words: str) -> tuple[int, str]:
        """Run another command with this config; return its exit code and its output."""
        argv = (sys.executable, "-m", "sidecar.cli", *words, "--config", str(self.file))
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(PATIENCE_S):
            output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.bin / "calls.jsonl").read_text().splitlines()]

    def folder(self, name: str) -> Path:
        return self.home / "results" / name


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    async with FakeHub() as hub:
        yield hub


@pytest.fixture
async def agents(tmp_path: Path, hub: FakeHub) -> AsyncIterator[Any]:
    made: list[Agent] = []

    def make(script: str, runtime: dict[str, Any], **config: Any) -> Agent:
        made.append(Agent(tmp_path / f"agent-{len(made)}", hub, script, runtime, **config))
        return made[-1]

    yield make
    for agent in made:
        if agent.process is not None:
            await agent.end(signal.SIGKILL)


async def until(condition: Any) -> None:
    """Wait for something outside this process that cannot be awaited."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.01)


async def test_a_hostile_task_reaches_the_program_intact_on_its_standard_input_and_runs_nothing(
    hub, agents, monkeypatch
):
    monkeypatch.setenv("SOME_SECRET", f"Bearer {hub.token}")
    agent = agents(CLAUDE, {"name": "claude", "options": {"model": "m"}})
    (agent.bin / "logged-in").touch()
    await agent.start()
    session = await hub.session()
    await session.assign("t-1", 2, TITLE, description=DESCRIPTION)
    done = await session.expect("task_complete", "task_failed")
    assert done["type"] == "task_complete", done
    result = done["result"]
    assert (result["summary"], done["tokens_used"], result["session"]) == ("Made it.", 7, "s")
    assert result["files"] == [{"path": "made.txt", "bytes": 4}]
    assert 0 < result["overhead_tokens"] <= 500
    asked, ran = agent.calls()
    assert asked["argv"] == ["auth", "status"]
    assert " ".join(TITLE.split()) in ran["stdin"]
    assert DESCRIPTION in ran["stdin"]
    assert not any("pwned" in word for word in ran["argv"])
    assert json.loads((agent.folder("t-1.2") / "task.json").read_text())["title"] == TITLE
    assert hub.token not in json.dumps(ran["env"])
    assert ran["cwd"] == str(agent.folder("t-1.2") / "work")
    assert not list(agent.home.rglob("pwned"))
    assert not agent.folder("t-1.2").joinpath("tmp").exists()
    assert not list(agent.folder("t-1.2").glob("std*.log*"))


@pytest.mark.parametrize("by", [{"by": "argument"}, {"by": "flag", "flag": "--say"}, {"by": "file"}])
async def test_a_hostile_task_reaches_the_program_by_every_other_way_too(hub, agents, by):
    agent = agents(
        NOTE
        + """
Path(os.environ["AGENTCOM_RESULT_FILE"]).write_text(json.dumps({"status": "success"}))
""",
        {"name": "mine"},
    )
    (agent.home / "runtimes").mkdir()
    words = ["mine", "${TASK_FILE}"] if by["by"] == "file" else ["mine"]
    (agent.home / "runtimes" / "mine.yaml").write_text(
        json.dumps({"name": "mine", "about": "a program", "argv": words, "prompt": by})
    )
    await agent.start()
    session = await hub.session()
    await session.assign("t-1", 1, TITLE, description="$(touch pwned) 'x'")
    await session.expect("task_complete")
    (call,) = agent.calls()
    assert call["stdin"] == ""
    text = agent.folder("t-1.1").joinpath("task.md").read_text() if by["by"] == "file" else call["argv"][-1]
    assert by["by"] != "file" or call["argv"] == [str(agent.folder("t-1.1") / "task.md")]
    assert " ".join(TITLE.split()) in text
    assert "$(touch pwned) 'x'" in text
    assert not list(agent.home.rglob("pwned"))


async def test_a_program_that_is_not_logged_in_is_never_given_the_task(hub, agents):
    agent = agents(CLAUDE, {"name": "claude"})
    await agent.start()
    session = await hub.session()
    await session.assign("t-1")
    failed = await session.expect("task_failed")
    assert failed["class"] == "environment"
    assert "not logged in" in failed["error"]
    assert [call["argv"] for call in agent.calls()] == [["auth", "status"]]


async def test_a_kill_while_the_program_is_asked_for_its_login_costs_no_attempt(hub, agents):
    question = '["auth", "status"]:'
    silence = '\n    (here / "asked").touch()\n    me = os.getppid()\n    while os.getppid() == me: time.sleep(0.01)'
    agent = agents(CLAUDE.replace(question, question + silence), {"name": "claude"})
    await agent.start()
    session = await hub.session()
    await session.assign("t-1")
    await until((agent.bin / "asked").exists)
    await agent.end(signal.SIGKILL)
    agent.program.write_text(agent.program.read_text().replace(silence, ""))
    (agent.bin / "logged-in").touch()
    await agent.start()
    session = await hub.session()
    await session.expect("task_recovering", task_id="t-1", generation=1)
    await session.send("task_continue", task_id="t-1", generation=1)
    await session.expect("task_complete", task_id="t-1", generation=1)
    assert session.said("task_failed") == []


async def test_a_change_that_comes_while_the_program_is_asked_for_its_login_is_not_lost(hub, agents):
    question = '["auth", "status"]:'
    wait = (
        '\n    (here / "asked").touch()\n    me = os.getppid()\n'
        '    while os.getppid() == me and not (here / "answer").exists(): time.sleep(0.01)'
    )
    agent = agents(CLAUDE.replace(question, question + wait), {"name": "claude"})
    (agent.bin / "logged-in").touch()
    await agent.start()
    session = await hub.session()
    await session.assign("t-1")
    await until((agent.bin / "asked").exists)
    await session.send("task_updated", task_id="t-1", generation=1, title="sweep the yard too")
    await until((agent.folder("t-1.1") / "updates.jsonl").exists)
    (agent.bin / "answer").touch()
    await session.expect("task_complete", task_id="t-1", generation=1)
    assert "sweep the yard too" in (agent.folder("t-1.1") / "updates.jsonl").read_text()
    assert "sweep the yard too" in (agent.folder("t-1.1") / "updates" / "0001.md").read_text()


async def test_a_denied_tool_is_no_success_and_the_last_output_goes_with_it(hub, agents):
    agent = agents(CLAUDE, {"name": "claude", "check_login": False})
    (agent.bin / "end.json").write_text(json.dumps({"permission_denials": [{"tool_name": "WebFetch"}]}))
    await agent.start()
    session = await hub.session()
    await session.assign("t-1")
    failed = await session.expect("task_failed")
    assert failed["class"] == "environment"
    assert failed["error"].startswith("program exited with 0: was denied a tool")
    assert "a warning" in failed["output_tail"]


async def test_a_usage_limit_says_when_to_try_again(hub, agents):
    agent = agents(CLAUDE, {"name": "claude", "check_login": False})
    end = {"is_error": True, "api_error_status": 429, "result": "Usage limit reached, try again in 2 hours"}
    (agent.bin / "end.json").write_text(json.dumps(end))
    await agent.start()
    session = await hub.session()
    await session.assign("t-1")
    failed = await session.expect("task_failed")
    assert failed["class"] == "rate_limited"
    assert failed["retry_at"] > 0


async def test_a_program_that_tries_for_ever_is_ended_at_its_sign(hub, agents):
    script = (
        NOTE + 'print("Attempt 3 failed with status 429. Retrying", file=sys.stderr, flush=True)\ntime.sleep(600)\n'
    )
    agent = agents(script, {"name": "gemini"})
    await agent.start()
    session = await hub.session()
    await session.assign("t-1")
    failed = await session.expect("task_failed")
    assert failed["class"] == "rate_limited"
    assert failed["error"].startswith("program was ended: usage limit")


# --- woken agents ----------------------------------------------------------------------------------------------------

WAKE = {"name": "openclaw", "check_login": False}
#: A gateway that answers every wake, and counts them.
GATEWAY = NOTE + "print(json.dumps(dict(ok=True)))\n"


def quicker(agent: Agent, again: list[str], confirm: str) -> None:
    """Give the agent an openclaw whose pauses are short."""
    from sidecar.runtimes.catalogue import find

    found = find("openclaw", Path("nowhere"))
    assert found is not None
    said = json.loads(found.model_dump_json(by_alias=True, exclude_none=True))
    said["wake"] = {"again": again, "confirm": confirm}
    (agent.home / "runtimes").mkdir()
    (agent.home / "runtimes" / "openclaw.yaml").write_text(json.dumps(said))


async def test_a_woken_agent_confirms_is_told_of_a_change_and_reports(hub, agents):
    agent = agents(GATEWAY, WAKE)
    await agent.start()
    session = await hub.session()
    await session.assign("t-1", 3, TITLE)
    folder = agent.folder("t-1.3")
    await until(lambda: (agent.bin / "calls.jsonl").exists())
    (folder / "confirmed").touch()
    await session.send("task_updated", task_id="t-1", generation=3, answer="$(touch pwned)")
    await until(lambda: len(agent.calls()) == 2)
    (folder / "result.json").write_text(json.dumps({"status": "success", "summary": "done"}))
    await session.expect("task_complete", task_id="t-1", generation=3)
    woken, told = (call["argv"] for call in agent.calls())
    assert woken[-2:] == [
        "--text",
        f"AgentCom task t-1, attempt 3: read the file {folder / 'task.md'} and do what it says.",
    ]
    assert told[-1].endswith(str(folder / "updates" / "0001.md"))
    assert "$(touch pwned)" in (folder / "updates" / "0001.md").read_text()
    assert not list(agent.home.rglob("pwned"))


async def test_a_wake_that_nobody_confirms_is_repeated_and_then_the_fault_of_the_environment(hub, agents):
    agent = agents(GATEWAY, WAKE)
    quicker(agent, ["50ms", "50ms", "50ms"], "50ms")
    await agent.start()
    session = await hub.session()
    await session.assign("t-1")
    failed = await session.expect("task_failed")
    assert failed["class"] == "environment"
    assert "woken 4 times, and the agent confirmed nothing" in failed["error"]
    assert len(agent.calls()) == 4


async def test_a_mark_of_an_older_attempt_never_counts(hub, agents):
    agent = agents(GATEWAY, WAKE)
    quicker(agent, ["50ms"], "50ms")
    results = agent.home / "results"
    results.mkdir()
    (results / "t-1.started").write_text("")
    (results / "t-1.json").write_text('{"status": "success"}')
    await agent.start()
    session = await hub.session()
    await session.assign("t-1", 2)
    assert (await session.expect("task_failed", "task_complete"))["type"] == "task_failed"
    await session.ack("t-1", "retried", 2)
    await session.assign("t-1", 3)
    await until(lambda: len(agent.calls()) == 3)
    (results / "t-1.json").write_text('{"status": "success", "generation": 2}')
    assert (await session.expect("task_failed", "task_complete"))["type"] == "task_failed"


async def test_an_agent_of_the_node_sidecar_reports_where_it_always_did(hub, agents):
    script = NOTE + (
        "results = Path(os.environ['AGENTCOM_RESULTS_DIR'])\n"
        "(results / (sys.argv[1] + '.started')).touch()\n"
        "(results / (sys.argv[1] + '.json')).write_text(json.dumps({'status': 'success', 'output': 'x'}))\n"
    )
    agent = agents(script, {"name": "wake"})
    said = json.loads(agent.file.read_text())
    del said["runtime"]
    agent.file.write_text(json.dumps({**said, "wake_command": f"{agent.program} ${{TASK_ID}}"}))
    await agent.start()
    session = await hub.session()
    await session.assign("t-1", 4)
    assert (await session.expect("task_complete"))["result"]["output"] == "x"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_woken_agent_outlives_its_sidecar_and_its_result_is_reported_at_the_next_start(hub, agents, number):
    agent = agents(GATEWAY, WAKE)
    await agent.start()
    session = await hub.session()
    await session.assign("t-1")
    await session.expect("task_accepted")
    await until(lambda: (agent.bin / "calls.jsonl").exists())
    (agent.folder("t-1.1") / "confirmed").touch()
    await agent.end(number)
    assert session.said("task_released") == []
    await agent.start()
    session = await hub.session()
    assert session.identify["holding"] == [{"task_id": "t-1", "generation": 1}]
    await session.expect("task_accepted", task_id="t-1")
    (agent.folder("t-1.1") / "result.json").write_text(json.dumps({"status": "success"}))
    await session.expect("task_complete", task_id="t-1", generation=1)
    assert len(agent.calls()) == 1


# --- commands --------------------------------------------------------------------------------------------------------


async def test_status_and_logs_show_what_is_in_hand(hub, agents):
    script = NOTE + (
        "print('\\033[31mhalf done\\033[0m', flush=True)\n"
        "while not (here / 'go').exists():\n    time.sleep(0.01)\n"
        "print('all done', flush=True)\n"
    )
    agent = agents(script, {"name": "gemini"})
    code, said = await agent.ask("status")
    assert (code, "does not run" in said, "in hand: nothing" in said) == (0, True, True)
    await agent.start()
    session = await hub.session()
    await session.assign("t-1", 2, "a title")
    await until(lambda: (agent.folder("t-1.2") / "output.log").exists())
    code, said = await agent.ask("status", "--json")
    status = json.loads(said)
    assert (status["running"], status["pid"]) == (True, agent.process.pid)
    assert (status["attempt"]["task_id"], status["attempt"]["generation"]) == ("t-1", 2)
    following = asyncio.create_task(agent.ask("logs", "t-1", "-f"))
    await until(lambda: "half done" in (agent.folder("t-1.2") / "output.log").read_text())
    (agent.bin / "go").touch()
    code, said = await following
    assert (code, said) == (0, "half done\nall done\n")
    await session.expect("task_failed")
    assert await agent.ask("logs", "t-1") == (0, "half done\nall done\n")
    code, said = await agent.ask("status")
    assert "not answered yet: t-1.2: task_failed" in said
    code, said = await agent.ask("logs", "t-9")
    assert (code, "never worked on here" in said) == (1, True)


async def test_full_is_said_when_a_sidecar_starts(hub, agents):
    agent = agents(CLAUDE, {"name": "claude", "profile": "full"})
    await agent.start()
    await hub.session()
    assert "profile full: claude asks for no permission" in await agent.end(signal.SIGTERM)


async def test_full_is_red_on_a_terminal(hub, agents):
    agent = agents(CLAUDE, {"name": "claude", "profile": "full"})
    leader, follower = os.openpty()
    argv = (sys.executable, "-m", "sidecar.cli", "run", "--config", str(agent.file))
    agent.process = await asyncio.create_subprocess_exec(*argv, stderr=follower)
    os.close(follower)
    await hub.session()
    assert b"\x1b[31m\x1b[1mprofile full" in os.read(leader, 65536)
    os.close(leader)


def test_a_folder_of_an_attempt_is_private(tmp_path):
    from sidecar.folder import Folder

    folder = Folder(tmp_path / "t-1.1")
    folder.make()
    assert stat.S_IMODE(folder.work.stat().st_mode) == 0o700

"""Real sidecar processes with real children against a scripted hub on a real socket."""

import asyncio
import contextlib
import json
import os
import signal
import sys

import pytest
from support.fakehub import PATIENCE_S
from support.sidecars import Sidecar, alive, until

#: A child that leaves a grandchild in a session of its own, writes its pid, and waits.
FAMILY = """
import os, subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
open("pids.tmp", "w").write(f"{os.getpid()} {grandchild.pid}")
os.rename("pids.tmp", "pids")
print("working", flush=True)
time.sleep(600)
"""


async def family(sidecar: Sidecar) -> list[int]:
    await until((sidecar.work / "pids").exists)
    return [int(pid) for pid in (sidecar.work / "pids").read_text().split()]


async def test_the_main_job_from_assignment_to_a_clean_stop(hub, sidecars):
    sidecar = sidecars(capabilities=["python"])
    await sidecar.start()
    session = await hub.session()
    said = session.identify
    assert (said["client_type"], said["features"], said["holding"], said["capabilities"]) == (
        "sidecar",
        ["progress", "release", "updates"],
        [],
        ["python"],
    )
    await session.assign("t-7", 1, "write the number 7 to test-output-7.txt")
    await session.expect("task_accepted", task_id="t-7", generation=1)
    await session.ack("t-7", "accepted", 1)
    complete = await session.expect("task_complete", task_id="t-7", generation=1)
    assert complete["result"]["status"] == "success"
    assert 0 < complete["result"]["overhead_tokens"] < 500
    assert (sidecar.work / "test-output-7.txt").read_text() == "7\n"
    assert sidecar.ends() == ["end t-7 1"]
    await session.assign("t-7", 1)
    await session.expect("task_complete", task_id="t-7", generation=1)
    await session.ack("t-7", "complete", 1)
    code, stderr = await sidecar.end(signal.SIGTERM)
    assert code == 0
    assert sidecar.queue()["outbox"] == []
    assert hub.token not in stderr
    assert sidecar.ends() == ["end t-7 1"]


@pytest.mark.slow
async def test_the_same_assignment_twice_runs_once(hub, sidecars):
    sidecar = sidecars(runtime={"name": "fake", "env": {"AGENTCOM_FAKE_DELAY": "0.3"}})
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1")
    await session.expect("task_accepted")
    await session.assign("t-1")
    await session.expect("task_accepted")
    await session.expect("task_complete")
    assert sidecar.log.read_text().splitlines() == ["begin t-1 1", "end t-1 1"]


@pytest.mark.slow
async def test_a_result_outlives_a_lost_connection_and_is_said_until_acked(hub, sidecars):
    sidecar = sidecars(resend_every="100ms")
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1")
    await session.expect("task_complete")
    session.abort()
    session = await hub.session()
    assert session.identify["holding"] == [{"task_id": "t-1", "generation": 1}]
    for _ in range(3):
        await session.expect("task_complete", task_id="t-1")
    await session.ack("t-1", "complete", 1)
    await until(lambda: sidecar.queue()["outbox"] == [])


@pytest.mark.slow
async def test_work_goes_on_while_the_hub_is_away(hub, sidecars):
    sidecar = sidecars(runtime={"name": "fake", "env": {"AGENTCOM_FAKE_DELAY": "0.3"}})
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1", 1, "write the number 1 to test-output-1.txt")
    await session.expect("task_accepted")
    session.abort()
    session = await hub.session()
    assert session.identify["holding"] == [{"task_id": "t-1", "generation": 1}]
    await session.expect("task_complete", task_id="t-1")
    assert sidecar.ends() == ["end t-1 1"]


async def test_kill_nine_of_the_sidecar_takes_the_whole_family_and_is_reported_at_the_next_start(hub, sidecars):
    sidecar = sidecars(runtime={"name": "shell", "argv": [sys.executable, "-c", FAMILY]})
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1", 3)
    await session.expect("task_accepted")
    pids = await family(sidecar)
    assert all(alive(pid) for pid in pids)
    await sidecar.end(signal.SIGKILL)
    await until(lambda: not any(alive(pid) for pid in pids))
    await sidecar.start()
    session = await hub.session()
    assert session.identify["holding"] == [{"task_id": "t-1", "generation": 3}]
    failed = await session.expect("task_failed", task_id="t-1", generation=3)
    assert (failed["class"], failed["error"]) == ("error", "sidecar stopped during the run")
    await session.assign("t-1", 3)
    await session.expect("task_failed", task_id="t-1", generation=3)


@pytest.mark.slow
async def test_kill_nine_of_sidecar_and_launcher_leaves_nothing_for_the_next_start(hub, sidecars):
    sidecar = sidecars(runtime={"name": "shell", "argv": [sys.executable, "-c", FAMILY]})
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1")
    pids = await family(sidecar)
    record = json.loads((sidecar.home / "results/t-1.1/process.json").read_text())
    os.kill(record["launcher"], signal.SIGKILL)
    await sidecar.end(signal.SIGKILL)
    await until(lambda: not alive(pids[0]))
    await sidecar.start()
    await (await hub.session()).expect("task_failed", task_id="t-1")
    assert not any(alive(pid) for pid in pids)


@pytest.mark.slow
async def test_a_result_written_before_kill_nine_is_delivered_at_the_next_start(hub, sidecars):
    script = (
        "import json, os, pathlib, time\n"
        "pathlib.Path(os.environ['AGENTCOM_RESULT_FILE']).write_text(json.dumps({'status': 'success', 'n': 1}))\n"
        "pathlib.Path('pids').write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    sidecar = sidecars(runtime={"name": "shell", "argv": [sys.executable, "-c", script]})
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1")
    await family(sidecar)
    await sidecar.end(signal.SIGKILL)
    await sidecar.start()
    session = await hub.session()
    complete = await session.expect("task_complete", task_id="t-1", generation=1)
    assert complete["result"]["n"] == 1


async def test_cancel_kills_grandchildren_too_and_then_says_released(hub, sidecars):
    sidecar = sidecars(runtime={"name": "shell", "argv": [sys.executable, "-c", FAMILY]})
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1")
    pids = await family(sidecar)
    await session.send("task_cancelled", task_id="t-1", generation=1, reason="changed my mind", timestamp=0)
    await session.expect("task_released", task_id="t-1", generation=1, unfinished=False)
    assert not any(alive(pid) for pid in pids)
    await session.assign("t-2")
    await session.expect("task_accepted", task_id="t-2")


@pytest.mark.slow
async def test_a_graceful_stop_hands_unfinished_work_back(hub, sidecars):
    sidecar = sidecars(stop_grace="0s", runtime={"name": "fake", "script": ["hang"]})
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1")
    await session.expect("task_accepted")
    await until(lambda: sidecar.log.exists())
    ending = asyncio.create_task(sidecar.end(signal.SIGTERM))
    await session.expect("task_released", task_id="t-1", generation=1, unfinished=True)
    await session.ack("t-1", "rejected", 1)
    code, _ = await ending
    assert code == 0
    assert sidecar.queue()["outbox"] == []


@pytest.mark.slow
async def test_the_fake_runtime_plays_its_script_in_the_order_of_assignment(hub, sidecars):
    modes = ["reject", "busy", "fail", "crash", "rate-limited", "not-logged-in", "ok"]
    sidecar = sidecars(runtime={"name": "fake", "script": modes})
    await sidecar.start()
    session = await hub.session()
    seen = []
    for number, _ in enumerate(modes):
        task_id = f"t-{number}"
        await session.assign(task_id)
        fate = await session.expect("task_complete", "task_failed", "task_rejected", task_id=task_id)
        seen.append((fate["type"], fate.get("class", fate.get("reason"))))
        assert "retry_at" in fate or fate.get("class") != "rate_limited"
    assert seen == [
        ("task_rejected", "the fake runtime was told to reject this one"),
        ("task_rejected", "busy"),
        ("task_failed", "error"),
        ("task_failed", "error"),
        ("task_failed", "rate_limited"),
        ("task_failed", "environment"),
        ("task_complete", None),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runtime", "failure_class", "words"),
    [
        ({"argv": ["true"]}, "environment", "without output"),
        ({"argv": ["echo", "hello"]}, "error", "echo exited with 0: left no result file"),
        ({"argv": ["sh", "-c", "echo oops; exit 3"]}, "error", "exited with 3"),
        ({"argv": ["sh", "-c", "echo half; sleep 600"], "timeout": "300ms"}, "timeout", "still running"),
        ({"argv": ["sh", "-c", 'echo nonsense > "$AGENTCOM_RESULT_FILE"']}, "error", "not JSON"),
    ],
)
async def test_an_exit_is_never_success_by_itself(hub, sidecars, runtime, failure_class, words):
    sidecar = sidecars(runtime={"name": "shell", **runtime})
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1")
    failed = await session.expect("task_failed")
    assert failed["class"] == failure_class
    assert words in failed["error"]


@pytest.mark.slow
async def test_a_program_that_has_gone_since_the_start_is_the_fault_of_the_environment(hub, sidecars, tmp_path):
    program = tmp_path / "work.sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    sidecar = sidecars(runtime={"name": "shell", "argv": [str(program)]})
    await sidecar.start()
    session = await hub.session()
    program.unlink()
    await session.assign("t-1")
    failed = await session.expect("task_failed")
    assert (failed["class"], "No such file" in failed["error"]) == ("environment", True)


@pytest.mark.slow
async def test_a_sidecar_whose_program_is_not_there_does_not_even_start(hub, sidecars):
    sidecar = sidecars(runtime={"name": "shell", "argv": ["no-such-program"]})
    await sidecar.start()
    code, stderr = await sidecar.end()
    assert code == 78
    assert "no-such-program is not on PATH" in stderr
    assert hub.identifies == []


@pytest.mark.slow
async def test_the_child_gets_the_task_as_a_file_and_never_the_token(hub, sidecars, monkeypatch):
    monkeypatch.setenv("SOME_SECRET", f"Bearer {hub.token}")
    script = (
        "import json, os, sys\n"
        "task = json.load(open(os.path.join(os.path.dirname(os.environ['AGENTCOM_TASK_FILE']), 'task.json')))\n"
        "json.dump({'status': 'success', 'env': dict(os.environ), 'title': task['title'], 'argv': sys.argv[1:],\n"
        "           'stdin': sys.stdin.read()}, open(os.environ['AGENTCOM_RESULT_FILE'], 'w'))\n"
    )
    sidecar = sidecars(runtime={"name": "shell", "argv": [sys.executable, "-c", script, "${TASK_ID}-${GENERATION}"]})
    await sidecar.start()
    session = await hub.session()
    title = "$(touch pwned) `touch pwned` ; 'quotes' \"and\"\nlines"
    await session.assign("t-1", 2, title, description="x" * 100_000)
    result = (await session.expect("task_complete"))["result"]
    assert result["title"] == title
    assert result["argv"] == ["t-1-2"]
    assert result["stdin"] == ""
    assert hub.token not in json.dumps(result)
    assert not list(sidecar.home.rglob("pwned"))


@pytest.mark.slow
async def test_a_wrong_token_ends_with_77_after_three_refusals(hub, sidecars):
    sidecar = sidecars(token="wrong-token")
    await sidecar.start()
    code, stderr = await sidecar.end()
    assert (code, len(hub.identifies)) == (77, 3)
    assert "refused agent loash: invalid_token" in stderr
    assert "wrong-token" not in stderr


@pytest.mark.slow
async def test_once_ends_at_the_first_refusal(hub, sidecars):
    sidecar = sidecars(token="wrong-token")
    await sidecar.start("--once")
    assert (await sidecar.end())[0] == 77
    assert len(hub.identifies) == 1


@pytest.mark.slow
async def test_a_token_refused_later_is_retried_slowly(hub, sidecars):
    sidecar = sidecars()
    await sidecar.start()
    session = await hub.session()
    hub.refuse = "invalid_token"
    await session.close(4401, "revoked")
    await until(lambda: len(hub.identifies) >= 5)
    hub.refuse = None
    await hub.session()


@pytest.mark.slow
async def test_a_taken_identity_is_said_and_tried_again(hub, sidecars):
    hub.refuse = "already_connected"
    sidecar = sidecars()
    await sidecar.start()
    await until(lambda: len(hub.identifies) >= 2)
    hub.refuse = None
    await hub.session()
    _, stderr = await sidecar.end(signal.SIGTERM)
    assert "another sidecar is connected as loash" in stderr


@pytest.mark.slow
async def test_a_second_sidecar_with_the_same_state_exits_with_75_and_names_the_first(hub, sidecars):
    sidecar = sidecars()
    await sidecar.start()
    await hub.session()
    first = sidecar.process
    await sidecar.start()
    code, stderr = await sidecar.end()
    sidecar.process = first
    assert code == 75
    assert f"pid {first.pid}" in stderr


@pytest.mark.slow
async def test_an_unreadable_queue_is_set_aside_loudly_and_nothing_runs_twice(hub, sidecars):
    sidecar = sidecars(runtime={"name": "fake", "script": ["hang"]})
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1")
    await until(lambda: sidecar.log.exists())
    await sidecar.end(signal.SIGKILL)
    (sidecar.home / "queue.json").write_text('{"schema_version": 1, "att')
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1")
    assert (await session.expect("task_failed"))["error"] == "sidecar stopped during the run"
    await session.ack("t-1", "retried", 1)
    _, stderr = await sidecar.end(signal.SIGTERM)
    assert "set aside as queue.json.unreadable-1" in stderr
    assert sidecar.log.read_text().splitlines() == ["begin t-1 1"]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("agent_id: loash\n", 78, "hub_url: is missing"),
        ("agent_id: [\n", 78, "not YAML"),
        ("agentid: loash\n", 78, "did you mean agent_id?"),
    ],
)
async def test_a_wrong_config_is_one_clear_line(tmp_path, text, code, words):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    argv = (sys.executable, "-m", "sidecar.cli", "run", "--config", str(path))
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    _, stderr = await process.communicate()
    assert process.returncode == code
    assert words in stderr.decode()
    assert stderr.decode().count("\n") == 1


async def test_a_hub_that_goes_silent_is_left_and_found_again(hub, tmp_path):
    from sidecar.client import Beat
    from sidecar.config import load
    from sidecar.daemon import Daemon

    sidecar = Sidecar(tmp_path / "one", hub)
    sidecar.file.write_text(json.dumps(sidecar.config))
    running = asyncio.create_task(Daemon(load(sidecar.file), beat=Beat(every=0.02, within=0.1)).run())
    session = await hub.session()
    hub.mute = True
    async with asyncio.timeout(PATIENCE_S):
        await session.closed.wait()
    hub.mute = False
    await hub.session()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_starting_loads_no_web_server_and_no_git_library():
    code = (
        "import sys, sidecar.cli, sidecar.daemon\n"
        "heavy = 'flask uvicorn git rich mcp ruamel watchdog'\n"
        "sys.exit(' '.join(name for name in heavy.split() if name in sys.modules) or 0)\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0

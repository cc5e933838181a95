"""What hub and sidecar say to the service manager that started them, over a real socket."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.hubprocess import HubProcess
from support.manager import Manager
from support.repo import make_repo

from coordinator.wire.notify import Herald


def test_without_a_manager_nothing_is_said_and_nothing_is_needed() -> None:
    herald = Herald.of({})
    herald.ready("idle")
    herald.stopping()
    asyncio.run(herald.close())


def test_the_variables_are_taken_away_so_that_no_child_speaks_for_this_process(tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "s"), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1", "PATH": "/bin"}
    Herald.of(environ)
    assert environ == {"PATH": "/bin"}


def test_a_manager_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    herald = Herald.of({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    herald.ready("idle")
    herald.stopping()


def test_an_address_with_an_at_sign_is_one_without_a_file() -> None:
    name = f"agentcom-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0" + name)
        Herald.of({"NOTIFY_SOCKET": f"@{name}"}).stopping()
        assert ear.recv(100) == b"STOPPING=1"


async def test_signs_of_life_come_from_the_loop_and_not_while_it_hangs(tmp_path: Path) -> None:
    with Manager(tmp_path, watchdog=0.1) as manager:
        herald = Herald.of(manager.env)
        herald.ready("at work")
        assert manager.until(lambda _: True) == "READY=1\nSTATUS=at work"
        time.sleep(0.3)  # noqa: ASYNC251 - the loop must hang
        manager._link.settimeout(0)
        with pytest.raises(BlockingIOError):
            manager._link.recv(100)
        await asyncio.sleep(0)
        assert manager.until(lambda _: True) == "WATCHDOG=1"
        await herald.close()


async def test_signs_of_life_for_another_process_are_not_given(tmp_path: Path) -> None:
    with Manager(tmp_path, watchdog=0.01) as manager:
        herald = Herald.of(manager.env | {"WATCHDOG_PID": "1"})
        herald.ready("at work")
        await asyncio.sleep(0.05)
        herald.stopping()
        manager.until(lambda said: said == "STOPPING=1")
        assert "WATCHDOG=1" not in manager.heard


@pytest.mark.slow
def test_a_hub_says_ready_when_agents_may_connect_then_lives_and_says_when_it_stops(tmp_path, monkeypatch) -> None:
    clone = make_repo(tmp_path / "project", {"BACKLOG.md": "# Backlog\n"})
    with Manager(tmp_path, watchdog=0.2) as manager:
        for name, value in manager.env.items():
            monkeypatch.setenv(name, value)
        with HubProcess(clone.path) as hub:
            ready = manager.until(lambda said: said.startswith("READY=1"))
            assert ready == f"READY=1\nSTATUS=hub at {hub.url}"
            assert hub.client.get("/health")["status"]
            for _ in range(3):
                manager.until(lambda said: said == "WATCHDOG=1")
            assert hub.stop() == 0
        manager.until(lambda said: said == "STOPPING=1")


@pytest.mark.slow
def test_a_sidecar_says_ready_although_no_hub_answers(tmp_path: Path) -> None:
    config = tmp_path / "sidecar.json"
    said = {"agent_id": "loash", "token": "t", "hub_url": "ws://127.0.0.1:9/ws", "runtime": {"name": "fake"}}
    config.write_text(json.dumps(said))
    config.chmod(0o600)
    with Manager(tmp_path, watchdog=0.2) as manager:
        argv = [sys.executable, "-m", "sidecar", "run", "--service", "--config", str(config)]
        process = subprocess.Popen(argv, env={**os.environ, **manager.env}, stderr=subprocess.DEVNULL)
        try:
            ready = manager.until(lambda word: word.startswith("READY=1"))
            assert ready == "READY=1\nSTATUS=sidecar of loash for ws://127.0.0.1:9/ws"
            for _ in range(3):
                manager.until(lambda word: word == "WATCHDOG=1")
            process.send_signal(signal.SIGTERM)
            manager.until(lambda word: word == "STOPPING=1")
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()

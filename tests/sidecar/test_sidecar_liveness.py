"""A sidecar stays alive to its hub whatever is slow, and leaves a connection that is dead without a word."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.fakehub import PATIENCE_S, FakeHub
from support.proxy import Proxy
from support.sidecars import Sidecar, until

from coordinator.wire.frames import TaskAssign
from sidecar import client
from sidecar.client import Beat
from sidecar.config import load
from sidecar.daemon import Daemon
from sidecar.gitwork import Gitwork
from sidecar.outbox import Outbox
from sidecar.relay import Relay
from sidecar.values import Attempt, Key, Queue, Stage, Success

QUICK = Beat(every=0.02, within=0.5)


@pytest.fixture
async def daemon_of(tmp_path: Path, hub: FakeHub) -> AsyncIterator[Any]:
    """Start a sidecar in this process, with these settings and a quick heart."""
    running: list[asyncio.Task[int]] = []

    def start(beat: Beat = QUICK, **config: Any) -> Path:
        sidecar = Sidecar(tmp_path / "one", hub, **config)
        sidecar.file.write_text(json.dumps(sidecar.config))
        running.append(asyncio.create_task(Daemon(load(sidecar.file), beat=beat).run()))
        return sidecar.home

    yield start
    for task in running:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def pings(session: Any, count: int) -> None:
    for _ in range(count):
        await session.expect("ping")


def test_a_dead_connection_is_noticed_within_a_minute():
    beat = Beat()
    assert beat.every + beat.within < 60
    assert client.OPEN_WITHIN_S < 60
    assert client.IDENTIFIED_WITHIN_S < 60


@pytest.mark.slow
async def test_a_connection_that_swallows_everything_is_left_and_another_one_made(hub, daemon_of):
    with Proxy(hub.url) as proxy:
        daemon_of(hub_url=proxy.url)
        session = await hub.session()
        await session.assign("t-1")
        await session.expect("task_complete")
        proxy.change(swallow=True)
        async with asyncio.timeout(PATIENCE_S):
            await session.closed.wait()
        proxy.change(swallow=False)
        session = await hub.session()
        assert session.identify["holding"] == [{"task_id": "t-1", "generation": 1}]
        await session.expect("task_complete", task_id="t-1")


async def test_the_heart_beats_while_the_disk_stands_still(hub, daemon_of, monkeypatch):
    disk = threading.Event()
    real = Outbox.save
    monkeypatch.setattr(Outbox, "save", lambda self, queue: (disk.wait(PATIENCE_S), real(self, queue)))
    daemon_of()
    session = await hub.session()
    await session.assign("t-1")
    await pings(session, 5)
    assert session.said("task_accepted") == []
    disk.set()
    await session.expect("task_complete")


async def test_the_heart_beats_while_a_child_hangs(hub, daemon_of):
    home = daemon_of(runtime={"name": "fake", "script": ["hang"]})
    session = await hub.session()
    await session.assign("t-1")
    await until((home / "fake.log").exists)
    await pings(session, 5)


async def test_the_heart_beats_while_the_hubs_http_does_not_answer(hub, daemon_of, monkeypatch):
    answer = threading.Event()
    monkeypatch.setattr(Relay, "perform", lambda *_: {"error": str(answer.wait(PATIENCE_S))})
    home = daemon_of(runtime={"name": "fake", "script": ["hang"]})
    session = await hub.session()
    await session.assign("t-1")
    folder = home / "results" / "t-1.1"
    await until((folder / "started").exists)
    (folder / "requests").mkdir()
    (folder / "requests" / "1.json").write_text("{}")
    await pings(session, 5)
    answer.set()
    await until((folder / "replies" / "1.json").exists)


async def test_the_heart_beats_while_the_work_of_an_earlier_process_is_submitted(hub, daemon_of, tmp_path, monkeypatch):
    remote = threading.Event()

    def finish(_self: Gitwork, _place: Any, _assignment: Any, outcome: Success) -> Success:
        assert remote.wait(PATIENCE_S)
        return outcome

    monkeypatch.setattr(Gitwork, "finish", finish)
    assignment = TaskAssign(task_id="t-1", generation=2, title="sweep", assigned_at=0, repo="app")
    outbox = Outbox(tmp_path / "one")
    folder = outbox.folder(Key("t-1", 2))
    folder.mkdir(parents=True)
    outbox.save(Queue(Attempt(Stage.RUNNING, assignment)))
    outbox.mark_started(Key("t-1", 2))
    (folder / "workplace.json").write_text(json.dumps({"path": str(tmp_path), "branch": "b", "base": "main"}))
    (folder / "result.json").write_text('{"status": "success", "summary": "swept"}')
    daemon_of()
    session = await hub.session()
    assert session.identify["holding"] == [{"task_id": "t-1", "generation": 2}]
    await pings(session, 5)
    assert session.said("task_complete") == []
    remote.set()
    assert (await session.expect("task_complete", generation=2))["result"]["summary"] == "swept"


async def test_a_living_child_is_told_of_again_and_again(hub, daemon_of):
    daemon_of(progress_every="50ms", runtime={"name": "fake", "script": ["hang"]})
    session = await hub.session()
    await session.assign("t-1")
    for _ in range(3):
        await session.expect("task_progress", task_id="t-1", generation=1)


@pytest.mark.slow
async def test_once_ends_when_the_identity_is_taken(hub, sidecars):
    hub.refuse = "already_connected"
    sidecar = sidecars()
    await sidecar.start("--once")
    code, stderr = await sidecar.end()
    assert code == 75
    assert "another sidecar is connected as loash" in stderr


@pytest.mark.slow
async def test_once_ends_when_the_token_is_revoked_while_it_waits_for_work(hub, sidecars):
    sidecar = sidecars()
    await sidecar.start("--once")
    session = await hub.session()
    hub.refuse = "invalid_token"
    await session.close(4401, "revoked")
    code, stderr = await sidecar.end()
    assert code == 77
    assert "refused agent loash" in stderr

"""A real hub whose disk is full: it says so, nobody loses a result, and it heals by itself."""

import asyncio
import logging
import os
import signal
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.crashes import ENGINES, PATIENCE_S, CrashStage, wait_until
from support.disks import filled, small_disk
from support.repo import make_repo

from coordinator.cli.common import EXIT_FAILED
from coordinator.git.lock import HubLock
from coordinator.hub import Hub
from coordinator.listening import Listening
from coordinator.place import Place
from coordinator.service import CannotStart, Options, serve


@pytest.mark.parametrize("engine", ENGINES)
def test_a_hub_on_a_full_disk_is_read_only_until_there_is_room_and_no_result_is_lost(
    tmp_path: Path, engine: str
) -> None:
    stage = CrashStage(tmp_path / "stage", delay=0.3)
    with small_disk(tmp_path / "disk", "16m") as disk:
        try:
            stage.prepare(2, engine)
            stage.move_to(disk)
            stage.go()
            stage.want(8)
            wait_until(lambda: len(stage.ends()) >= 2, "the first results")

            with filled(disk):
                wait_until(lambda: stage.summary()["read_only"], "a hub that says it cannot write")
                wait_until(lambda: len(stage.held_results()) == 2, "results that wait with both sidecars")
                ended = stage.ends()
                said = stage.agentcom("status")
                assert "READ-ONLY" in said
                assert "nothing was written" in said
                stage.nothing_acknowledged_is_lost()
                assert stage.ends() == ended
                assert stage.clone.fsck() == ""

            wait_until(lambda: not stage.summary()["read_only"], "a hub that writes again")
            stage.every_task_was_done_once()
            assert stage.hub is not None
            assert stage.hub.poll() is None

            stage.want(4)
            wait_until(lambda: stage.held_results() or len(stage.ends()) > 8, "work under way")
            with filled(disk):
                stage.kill_hub()
                log = stage.folder / "logs/hub.log"
                before = log.read_text().count("read-only")
                stage.begin_hub()
                wait_until(lambda: log.read_text().count("read-only") > before, "a new hub that cannot write its claim")
                stage.nothing_acknowledged_is_lost()
            stage.every_task_was_done_once()
            stage.repository_is_sound()
            assert stage.hub.poll() is None
        finally:
            stage.close()


@pytest.mark.slow
async def test_a_hub_whose_disk_fills_up_after_its_claim_serves_and_can_be_found_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agentcom.hub")
    with small_disk(tmp_path / "disk") as disk, ExitStack() as full:
        clone = make_repo(disk / "repo", {"BACKLOG.md": "- [ ] one\n"})
        place = Place(clone.repo.agentcom_dir)
        started = Hub.start

        async def start(hub: Hub) -> None:
            await started(hub)
            full.enter_context(filled(disk))

        tries = 0
        write_hub = Place.write_hub

        def count(self: Place, *said: object) -> None:
            nonlocal tries
            tries += 1
            write_hub(self, *said)

        monkeypatch.setattr(Hub, "start", start)
        monkeypatch.setattr(Place, "write_hub", count)
        ready = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(Options(clone.path, Listening(port=0)), ready.set_result))
        await asyncio.wait({ready, serving}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
        if serving.done():
            serving.result()
        url = ready.result()
        try:
            missed = "commands on this machine do not find this hub yet"
            await _until(lambda: tries >= 3)
            assert caplog.text.count(missed) == 1
            assert await asyncio.to_thread(lambda: urllib.request.urlopen(f"{url}/health").status) == 200  # noqa: S310
            assert place.read_hub() is None
            assert not [*place.folder.glob("*.tmp")]
            full.close()
            await _until(lambda: place.read_hub() is not None)
            assert place.read_hub()["url"] == url  # type: ignore[index]
            holder = HubLock(clone.repo).holder()
            assert holder is not None
            assert holder.url == url
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(serving, PATIENCE_S)
        assert place.read_hub() is None


async def _until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_first_start_on_a_full_disk_ends_with_one_line_and_claims_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        clone = make_repo(disk / "repo", {"BACKLOG.md": "- [ ] one\n"})
        with filled(disk), pytest.raises(CannotStart, match="make room") as refused:
            await serve(Options(clone.path, Listening(port=0)), lambda url: None)
        assert refused.value.exit_code == EXIT_FAILED
        assert clone.git("branch", "--list", "agentcom/*") == ""

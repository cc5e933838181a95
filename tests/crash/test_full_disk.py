"""A real hub whose disk is full: it says so, nobody loses a result, and it heals by itself."""

from pathlib import Path

import pytest
from support.crashes import ENGINES, CrashStage, wait_until
from support.disks import filled, small_disk


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

"""Power cuts on a real ext4, at random times, while the store or a whole hub writes: ``make power``.

A cut throws away what was not made durable, as ext4 would lose it: what a kill -9 leaves in memory is gone too.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support import flusher
from support.crashes import CrashStage, wait_until
from support.disks import PowerDisk, power_disk
from support.repo import Clone, git_env, make_repo

pytestmark = pytest.mark.power

#: How many cuts each engine has to live through, and how many a whole hub.
CUTS = int(os.environ.get("AGENTCOM_CUTS", "50"))
HUB_CUTS = max(1, CUTS // 10)


@pytest.fixture
def chance() -> random.Random:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)  # noqa: S311  a seed to tell, no secret


def write_until_the_cut(disk: PowerDisk, clone: Clone, engine: str, chance: random.Random) -> list[str]:
    """Let a store write, cut the power after a while; return what it acknowledged, as lines."""
    argv = [sys.executable, flusher.__file__, str(clone.path), engine, str(chance.random())]
    writer = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=git_env())
    try:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        if not first:
            raise RuntimeError(writer.communicate()[1])
        try:
            writer.wait(chance.uniform(0, 0.4))
        except subprocess.TimeoutExpired:
            disk.cut()
        said, complaint = writer.communicate(timeout=60)
    finally:
        writer.kill()
        writer.wait()
    assert complaint.startswith(("Fatal: ", "ReadOnly: ", "OSError: ", "CalledProcessError: "))
    return [first, *said.splitlines(keepends=True)]


def sweep_what_the_person_lost(clone: Clone) -> None:
    """Remove objects of a person that were never observed: their git does not fsync, the cut left them empty."""
    for file in (clone.path / ".git/objects").glob("[0-9a-f][0-9a-f]/*"):
        if file.stat().st_size == 0:
            file.unlink()


@pytest.mark.parametrize("engine", ["pack", "plain"])
def test_every_flush_that_was_acknowledged_survives_a_power_cut(
    tmp_path: Path, chance: random.Random, engine: str
) -> None:
    with power_disk(tmp_path) as disk:
        live_through(CUTS, disk, engine, chance)


def test_a_store_that_did_not_fsync_would_be_found_out(tmp_path: Path, chance: random.Random) -> None:
    with power_disk(tmp_path) as disk, pytest.raises(AssertionError, match="agentcom/state"):
        live_through(50, disk, "careless", chance)


def live_through(cuts: int, disk: PowerDisk, engine: str, chance: random.Random) -> None:
    """Cut the power again and again; fail when what was acknowledged is not in the branch, or the branch is broken."""
    clone = make_repo(disk.path / "repo", {"BACKLOG.md": "- [ ] one\n"})
    subprocess.run(["sync", "-f", str(clone.path)], check=True)
    for _ in range(cuts):
        told = write_until_the_cut(disk, clone, engine, chance)
        disk.restore()

        tip, count = told[-1].split()
        sweep_what_the_person_lost(clone)
        assert clone.git("rev-list", "-1", tip, "--not", "agentcom/state") == ""
        assert int(clone.show(flusher.COUNT, "agentcom/state")) in {int(count), int(count) + 1}
        assert clone.fsck() == ""


@pytest.mark.parametrize("engine", ["pack", "plain"])
def test_a_hub_whose_power_was_cut_ends_and_the_next_one_loses_and_doubles_nothing(
    tmp_path: Path, chance: random.Random, engine: str
) -> None:
    stage = CrashStage(tmp_path / "stage", delay=0.0)
    with power_disk(tmp_path) as disk:
        try:
            stage.prepare(2, engine)
            stage.move_to(disk.path)
            stage.go()
            for _ in range(HUB_CUTS):
                stage.want(12)
                subprocess.run(["sync", "-f", str(disk.path)], check=True)  # a person's git would lose the lines
                ended = len(stage.ends())
                wait_until(lambda before=ended: len(stage.ends()) >= before + chance.randrange(1, 12), "some results")
                disk.cut()
                assert stage.hub is not None
                assert stage.hub.wait(30) == 1
                disk.restore()

                stage.nothing_acknowledged_is_lost()
                stage.recover()
                stage.every_task_was_done_once()
                stage.repository_is_sound()
        finally:
            stage.close()

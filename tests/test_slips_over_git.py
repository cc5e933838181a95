"""What people and other hubs do to agentcom/state, and how a hub goes on all the same."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest
from support.hubs import SOON, look, open_tasks, running, said
from support.repo import Clone, lose, make_repo

from coordinator.core.agent import Session
from coordinator.core.events import Accepted, Connected, Said, Tick
from coordinator.core.machine import State
from coordinator.git.lock import HubLock, RepositoryLocked
from coordinator.git.recovery import BACKUP_REF
from coordinator.hub import Hub
from coordinator.listening import Listening
from coordinator.ports import Conflict, Fatal
from coordinator.service import Options, serve
from coordinator.starting import _keep

pytestmark = pytest.mark.slow

STATE = "agentcom/state"
READY = "# Backlog\n\n## Ready\n\n"
FIRST = READY + "- [ ] first thing\n"


@pytest.fixture(autouse=True)
def no_other_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": FIRST, "agents/a.yaml": "tokens: []\n"})


def slip(clone: Clone) -> str:
    clone.git("switch", "--quiet", STATE)
    oid = clone.commit({"notes.txt": "mine", "status/hub.yaml": "epoch: 99\n"}, "a note")
    clone.git("switch", "--quiet", "main")
    return oid


async def settled(hub: Hub) -> None:
    """Let the hub look at its branch, and wait until what that meant is durable."""
    hub.glance()
    await asyncio.wait_for(hub.settle(Tick()), SOON)


async def test_a_slip_is_noticed_by_a_hub_that_has_nothing_to_write(clone: Clone) -> None:
    async with running(clone) as hub:
        own = clone.head(STATE)
        made = slip(clone)
        await settled(hub)
        assert clone.head(STATE) == hub.tip
        assert clone.git("show", "-s", "--format=%P", STATE).split() == [own, made]
        assert clone.git("show", "-s", "--format=%s", STATE) == "undo a slip of Ada Lovelace on agentcom/state"
        assert clone.tree(STATE) == clone.tree(own)
        assert f"agentcom/state: got commit {made[:12]} of Ada Lovelace <ada@example.org>, who is no hub" in said(hub)
        assert "what you want belongs on the source branch" in said(hub)
        before = hub.tip
        await settled(hub)
        assert hub.tip == before
        clone.commit({"BACKLOG.md": FIRST + "- [ ] second thing\n"})
        await look(hub)
        assert open_tasks(hub).keys() == {"first thing", "second thing"}
    assert clone.fsck() == ""


async def test_a_slip_is_put_back_in_the_same_flush_as_what_was_to_be_written(clone: Clone) -> None:
    async with running(clone) as hub:
        own = clone.head(STATE)
        slip(clone)
        clone.commit({"BACKLOG.md": FIRST + "- [ ] second thing\n"})
        await look(hub)
        assert open_tasks(hub).keys() == {"first thing", "second thing"}
        line = clone.git("log", "--first-parent", "--reverse", "--format=%s", f"{own}..{STATE}").splitlines()
        assert line[0] == "undo a slip of Ada Lovelace on agentcom/state"
        assert line[1].startswith("observe ")
        assert "notes.txt" not in clone.tree(STATE)


@pytest.mark.parametrize("how", [("branch", "-D", STATE), ("branch", "-f", STATE, "main"), ("reset",)])
async def test_a_branch_deleted_or_set_back_under_the_hub_is_put_back(clone: Clone, how: tuple[str, ...]) -> None:
    async with running(clone) as hub:
        own = clone.head(STATE)
        clone.git(*(how if how != ("reset",) else ("update-ref", f"refs/heads/{STATE}", f"{STATE}~1")))
        await settled(hub)
        assert own in clone.git("rev-list", "--first-parent", STATE).split()
        assert "agentcom/state: was" in said(hub)


async def test_after_a_slip_while_no_hub_ran_everything_is_as_it_was(clone: Clone) -> None:
    async with running(clone):
        pass
    own = clone.head(STATE)
    made = slip(clone)
    async with running(clone) as hub:
        assert hub.claim.epoch == 2
        assert open_tasks(hub)["first thing"].status.generation == 0
        assert made[:12] in said(hub)
        assert own in clone.git("rev-list", "--first-parent", STATE).split()


async def test_a_person_who_merges_on_the_branch_slips_too(clone: Clone) -> None:
    async with running(clone) as hub:
        clone.commit({"BACKLOG.md": FIRST + "- [ ] second thing\n"})
        clone.git("switch", "--quiet", STATE)
        clone.git("merge", "--quiet", "--no-edit", "main")
        clone.git("switch", "--quiet", "main")
        await look(hub)
        assert open_tasks(hub).keys() == {"first thing", "second thing"}
        assert "who is no hub" in said(hub)
    assert clone.fsck() == ""


async def test_a_restored_branch_is_told_loudly_and_starts_every_open_task_anew(clone: Clone) -> None:
    async with running(clone) as hub:
        await hub.settle(Connected("a", Session("s", (), frozenset({"release", "updates"}), frozenset())))
        (task,) = open_tasks(hub).values()
        assert task.state is State.ASSIGNED
        clone.git("update-ref", BACKUP_REF, clone.head(STATE))
        backup = clone.head(STATE)
        await hub.settle(Said("a", "s", Accepted(task.id, 1)))
    (clone.repo.common_dir / "logs/refs/heads" / STATE).unlink()
    damaged = clone.head(f"{STATE}:status/open/{task.id}.yaml")
    lose(clone, damaged)
    async with running(clone) as hub:
        (task,) = open_tasks(hub).values()
        assert (task.state, task.status.generation) == (State.QUEUED, 1001)
        assert f"restored to {backup[:12]}" in said(hub)
        assert said(hub).count("every open task starts anew") == 1
        assert "belongs on the source branch" not in said(hub)
        assert "agentcom/state was restored" in clone.git("log", "-3", "--first-parent", "--format=%B", STATE)


async def test_a_branch_whose_last_commit_is_missing_keeps_no_hub_from_starting(clone: Clone) -> None:
    async with running(clone):
        good = clone.head(STATE)
    async with running(clone):
        pass
    lose(clone, clone.head(STATE))
    await serve(Options(clone.path, Listening(port=0)), lambda _url: signal.raise_signal(signal.SIGTERM))
    assert good in clone.git("rev-list", STATE).split()
    assert "agentcom/state was restored" in clone.git("log", "--first-parent", "--format=%B", STATE)


async def test_a_branch_of_which_nothing_is_left_is_said_to_be_lost_and_not_the_source(clone: Clone) -> None:
    async with running(clone):
        pass
    for commit in clone.git("rev-list", "--first-parent", STATE, "^main").split():
        lose(clone, commit)
    with pytest.raises(Fatal, match="restore this repository from a copy"):
        await serve(Options(clone.path, Listening(port=0)), lambda _url: None)


async def test_a_lock_file_deleted_under_the_hub_is_made_and_locked_again(clone: Clone) -> None:
    lock = HubLock(clone.repo)
    lock.acquire()
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(lock.release)
        path = clone.repo.agentcom_dir / "hub.lock"
        path.unlink()
        assert not lock.still_ours()
        assert _keep(lock)
        assert lock.still_ours()
        with pytest.raises(RepositoryLocked, match=f"pid {os.getpid()}"):
            HubLock(clone.repo).acquire()


async def test_a_hub_whose_lock_another_one_took_stops_writing_and_names_it(clone: Clone) -> None:
    first, second = HubLock(clone.repo), HubLock(clone.repo)
    first.acquire()
    (clone.repo.agentcom_dir / "hub.lock").unlink()
    second.acquire("http://127.0.0.1:4001")
    try:
        with pytest.raises(Conflict, match=r"lock file of this hub was deleted, and .*127\.0\.0\.1:4001"):
            _keep(first)
        assert second.still_ours()
    finally:
        second.release()
        first.release()


async def test_of_two_hubs_without_a_lock_the_later_claim_wins_and_the_other_names_it(clone: Clone) -> None:
    with pytest.raises(Conflict, match="by another hub"):
        async with running(clone) as hub:
            async with running(clone):
                pass
            await settled(hub)
    assert clone.fsck() == ""

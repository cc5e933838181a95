"""One hub per repository, and the second one learns who has it."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support.disks import filled, small_disk
from support.repo import Clone, git_env, make_repo

from coordinator.git.lock import HubLock, RepositoryLocked
from coordinator.git.repo import find_repo


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"a": "x"})


HOLDER = """
    import sys
    from pathlib import Path
    from coordinator.git.lock import HubLock
    from coordinator.git.repo import find_repo
    lock = HubLock(find_repo(Path(sys.argv[1])))
    lock.acquire()
    lock.publish("http://127.0.0.1:4000")
    print("locked", flush=True)
    sys.stdin.read()
"""


def hold(clone: Clone) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(clone.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=git_env(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_second_process_is_told_who_holds_the_lock_and_kill_9_frees_it(clone: Clone) -> None:
    with hold(clone) as first:
        lock = HubLock(clone.repo)
        with pytest.raises(RepositoryLocked, match=rf"pid {first.pid} .*http://127.0.0.1:4000") as raised:
            lock.acquire()
        assert raised.value.holder is not None
        assert raised.value.holder.pid == first.pid
        assert not lock.still_ours()
        first.kill()
    assert lock.acquire().pid == os.getpid()
    lock.release()


def test_two_work_trees_of_one_repository_share_the_lock(clone: Clone, tmp_path: Path) -> None:
    clone.git("worktree", "add", "--quiet", "-b", "other", str(tmp_path / "linked"))
    with HubLock(clone.repo), pytest.raises(RepositoryLocked):
        HubLock(find_repo(tmp_path / "linked")).acquire()


def test_a_released_lock_can_be_taken_again_and_names_nobody(clone: Clone) -> None:
    lock = HubLock(clone.repo)
    with lock:
        assert lock.still_ours()
        assert lock.holder() is not None
    assert not lock.still_ours()
    assert lock.holder() is None
    lock.release()
    with HubLock(clone.repo):
        pass


def test_a_deleted_lock_file_is_noticed(clone: Clone) -> None:
    with HubLock(clone.repo) as lock:
        (clone.path / ".git/agentcom/hub.lock").unlink()
        assert not lock.still_ours()


def test_a_replaced_lock_file_is_noticed_and_the_second_holders_name_is_kept(clone: Clone) -> None:
    with HubLock(clone.repo) as lock:
        (clone.path / ".git/agentcom/hub.lock").unlink()
        with HubLock(clone.repo) as second:
            second.publish("http://second")
            assert not lock.still_ours()
            lock.release()
            holder = second.holder()
            assert holder is not None
            assert holder.url == "http://second"
            assert second.still_ours()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "\x00"])
def test_a_damaged_note_still_gives_a_clear_refusal(clone: Clone, text: str) -> None:
    with HubLock(clone.repo):
        (clone.path / ".git/agentcom/hub.lock.json").write_text(text)
        with pytest.raises(RepositoryLocked, match="in use by another hub: stop that one first"):
            HubLock(clone.repo).acquire()


def test_publishing_without_the_lock_is_a_bug(clone: Clone) -> None:
    with pytest.raises(RuntimeError):
        HubLock(clone.repo).publish("x")


def test_the_lock_is_not_in_the_work_tree(clone: Clone) -> None:
    with HubLock(clone.repo):
        assert clone.git("status", "--porcelain") == ""


def test_a_full_disk_keeps_nobody_from_the_lock_and_names_nobody_wrongly(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        clone = make_repo(disk / "repo", {"a": "x"})
        with hold(clone) as dead:
            dead.kill()
        lock = HubLock(clone.repo)
        with filled(disk):
            lock.acquire()
            assert lock.still_ours()
            assert lock.holder() is None
            with pytest.raises(RepositoryLocked, match="another hub"):
                HubLock(clone.repo).acquire()
        lock.publish("http://127.0.0.1:4000")
        assert lock.holder() is not None
        lock.release()

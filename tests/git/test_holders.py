"""A lock that a living process may hold is never taken away; one that nobody can hold is."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.repo import Clone, git_env, make_repo

from coordinator.git import holders
from coordinator.git.holders import OLD_S, may_be_held

HOLD = "import sys; lock = open(sys.argv[1], 'x'); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"a": "x"})


@pytest.fixture
def lock(clone: Clone) -> Path:
    return clone.repo.common_dir / "refs/heads/main.lock"


@contextlib.contextmanager
def living(*argv: str, say: bytes = b"", **more: object) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process, wait until it has said something, and end it with its input."""
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **more)  # type: ignore[call-overload]
    with process:
        process.stdin.write(say)
        process.stdin.flush()
        assert process.stdout.readline()
        yield process
        process.stdin.close()


def test_a_lock_that_a_process_has_open_is_held(clone: Clone, lock: Path) -> None:
    with living(sys.executable, "-c", HOLD, str(lock)):
        assert may_be_held(lock, clone.repo)
    assert not may_be_held(lock, clone.repo)


def test_a_git_that_works_in_the_repository_may_hold_it(clone: Clone, lock: Path, tmp_path: Path) -> None:
    lock.touch()
    elsewhere = make_repo(tmp_path / "other", {"a": "x"})
    for where, env, held in (
        (elsewhere.path, git_env(), False),
        (clone.path, git_env(), True),
        (tmp_path, git_env(GIT_DIR=str(clone.repo.common_dir)), True),
    ):
        with living("git", "cat-file", "--batch-check", say=b"HEAD\n", cwd=where, env=env):
            assert may_be_held(lock, clone.repo) is held, where
        assert not may_be_held(lock, clone.repo)


def test_where_nobody_can_be_seen_age_decides(clone: Clone, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "_PROC", Path("/nonexistent"))
    lock.touch()
    assert may_be_held(lock, clone.repo)
    then = time.time() - OLD_S - 1
    os.utime(lock, (then, then))
    assert not may_be_held(lock, clone.repo)

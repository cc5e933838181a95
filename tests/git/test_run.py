"""The runner lets nothing of the surroundings through, reports in git's words, and ends what it started."""

import os
import time
from pathlib import Path

import pytest
from support.repo import make_repo

from coordinator.git.run import GitError, git, git_as_person


def test_output_comes_back_as_bytes(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r", {"a": b"\xff\n"})
    assert git("cat-file", "blob", "HEAD:a", git_dir=clone.repo.git_dir) == b"\xff\n"


def test_a_failure_carries_arguments_exit_status_and_gits_own_words(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r", {"a": "x"})
    with pytest.raises(GitError, match="unknown revision") as raised:
        git("rev-list", "nope", git_dir=clone.repo.git_dir)
    assert raised.value.argv == ("rev-list", "nope")
    assert raised.value.code == 128
    assert raised.value.stderr.startswith("fatal: ambiguous argument 'nope'")


def test_a_failure_can_be_an_answer(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r")
    assert git("rev-parse", "-q", "--verify", "HEAD", git_dir=clone.repo.git_dir, check=False) == b""


def test_a_command_out_of_time_is_killed_with_everything_it_started(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r")
    pid_file = tmp_path / "pid"
    clone.git("config", "alias.hang", f"!sleep 60 & echo $! > {pid_file}; wait")
    with pytest.raises(GitError, match="longer than") as raised:
        git("hang", cwd=clone.path, timeout=0.5)
    assert raised.value.code is None
    child = int(pid_file.read_text())
    while Path(f"/proc/{child}").exists() and _state(child) != "Z":
        time.sleep(0.01)  # the kernel has been told; a reaper outside of our reach takes the rest away


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def test_a_missing_git_and_a_missing_directory_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GitError, match=r"directory .*nowhere does not exist"):
        git("version", cwd=tmp_path / "nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="git is not installed or not on PATH"):
        git("version")


def test_variables_that_name_another_repository_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = make_repo(tmp_path / "r", {"a": "x"})
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    assert git("rev-parse", "HEAD", cwd=clone.path).decode().strip() == clone.head()
    assert git_as_person("rev-parse", "HEAD", cwd=clone.path).decode().strip() == clone.head()


def test_hooks_run_for_a_person_and_never_for_the_hub(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r", {"a": "x"})
    hook = clone.path / ".git/hooks/reference-transaction"
    hook.write_text(f"#!/bin/sh\necho ran >> {tmp_path}/ran\n")
    hook.chmod(0o755)
    git("update-ref", "refs/heads/b", "HEAD", git_dir=clone.repo.git_dir)
    assert not (tmp_path / "ran").exists()
    git_as_person("update-ref", "refs/heads/c", "HEAD", cwd=clone.path)
    assert (tmp_path / "ran").exists()


def test_the_ext_protocol_runs_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "ext")
    with pytest.raises(GitError, match="not allowed"):
        git("ls-remote", f"ext::touch {tmp_path}/ran")
    assert not (tmp_path / "ran").exists()


def test_magic_in_a_path_is_taken_literally(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r", {"a": "x", ":(top)": "y"})
    out = git("ls-tree", "--name-only", "-z", "HEAD", "--", ":(top)", git_dir=clone.repo.git_dir)
    assert out == b":(top)\0"


def test_messages_are_english_whatever_the_language_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    with pytest.raises(GitError, match="not a git repository"):
        git("rev-parse", "HEAD", cwd=Path(os.sep))


def test_a_repository_that_is_named_is_read_from_its_top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = make_repo(tmp_path / "r", {"a/b": "x", "b": "y"})
    clone.git("config", "core.worktree", str(clone.path))
    monkeypatch.chdir(clone.path / "a")
    assert git("log", "--format=", "--name-only", "HEAD", "--", "b", git_dir=Path("../.git")) == b"b\n"


def test_configuration_by_variables_is_kept_and_that_of_the_hub_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (key, value) in enumerate([("safe.directory", "*"), ("color.ui", "always")]):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    assert git("config", "--get", "safe.directory", cwd=tmp_path) == b"*\n"
    assert git("config", "--get", "color.ui", cwd=tmp_path) == b"never\n"


def test_a_person_keeps_the_terminal_and_the_hub_has_none(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r")
    clone.git("config", "alias.session", "!ps -o sid= -p $$")
    own = str(os.getsid(0)).encode()
    assert git_as_person("session", cwd=clone.path).strip() == own
    assert git("session", cwd=clone.path).strip() != own

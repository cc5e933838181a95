"""Commands as a person types them, in this process, over a real repository and nothing of the machine's git set-up."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli import Said, call
from support.repo import Clone, make_repo


@pytest.fixture(autouse=True)
def no_machine_git_config(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's git configuration, identity, hub and editor out of every test, and texts that are kept in."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("kept")))
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AGENTCOM_HUB", "AGENTCOM_TOKEN", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A repository with a backlog, in which the person stands."""
    made = make_repo(tmp_path / "repo", {"BACKLOG.md": "# Backlog\n\n## Ready\n\n- [ ] one\n", "a.txt": "a\n"})
    monkeypatch.chdir(made.path)
    return made


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Type one command; the words are its arguments."""
    return lambda *argv: call(capfd, *argv)

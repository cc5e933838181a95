"""Fixtures for tests over real repositories."""

import pytest


@pytest.fixture(autouse=True)
def no_machine_git_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's git configuration and identity out of every test."""
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")

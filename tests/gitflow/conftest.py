"""One fixture: a place to work at, in which git reads no configuration of this machine."""

from pathlib import Path

import pytest
from support.gitplace import Place
from support.repo import git_env


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name, value in git_env().items():
        monkeypatch.setenv(name, value)
    return Place(tmp_path)

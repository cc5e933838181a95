"""``agentcom hook secret``: one secret, for its owner alone, and where it goes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli import Said
from support.repo import Clone

from coordinator.place import Place


@pytest.fixture(autouse=True)
def no_secret_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AGENTCOM_HOOK_SECRET", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_it_is_made_once_and_shown_with_what_forges_ask_for(clone: Clone, run: Callable[..., Said]) -> None:
    first = run("hook", "secret", "--json").json
    file = clone.path / ".git" / "agentcom" / "hook.secret"
    assert (first["secret"], file.stat().st_mode & 0o777) == (file.read_text().strip(), 0o600)
    assert len(first["secret"]) == 43
    assert first["url"] == "http://127.0.0.1:4000/hooks/git"
    said = run("hook", "secret")
    assert said.code == 0
    assert all(word in said.out for word in (first["secret"], first["url"], "GitHub", "GitLab", "Gitea", "note: "))


def test_a_new_one_takes_its_place(clone: Clone, run: Callable[..., Said]) -> None:
    first = run("hook", "secret", "--json").json["secret"]
    second = run("hook", "secret", "--new", "--json").json["secret"]
    assert first != second == Place(clone.path / ".git" / "agentcom").read_hook_secret()


def test_what_the_machine_says_wins_and_is_not_changed_here(
    clone: Clone, run: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "hub.yaml"
    config.write_text("hook_secret: of-the-file\npublic_url: https://hub.example.org\n")
    config.chmod(0o600)
    said = run("hook", "secret", "--config", str(config), "--json").json
    assert (said["secret"], said["from"]) == ("of-the-file", f"{config}:1:14")
    assert said["url"] == "https://hub.example.org/hooks/git"
    monkeypatch.setenv("AGENTCOM_HOOK_SECRET", "of-the-variable")
    assert run("hook", "secret", "--config", str(config), "--json").json["secret"] == "of-the-variable"
    refused = run("hook", "secret", "--new")
    assert (refused.code, "AGENTCOM_HOOK_SECRET" in refused.err) == (1, True)
    assert not (clone.path / ".git" / "agentcom" / "hook.secret").exists()

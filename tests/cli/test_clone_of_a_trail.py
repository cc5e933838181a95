"""A clone of a repository whose trail another hub keeps: it is read as fetched, and no second one is begun."""

import asyncio
from pathlib import Path

import pytest
from support.repo import Clone
from support.state import let_a_hub_look

from coordinator.service import CannotStart, Options, serve


@pytest.fixture
def cloned(clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    let_a_hub_look(clone)
    other = Clone(tmp_path / "other")
    clone.git("clone", "--quiet", str(clone.path), str(other.path))
    other.git("config", "user.name", "Bo")
    other.git("config", "user.email", "bo@example.org")
    monkeypatch.chdir(other.path)
    return other


def test_reading_commands_read_the_trail_of_the_remote_and_say_so(cloned: Clone, run) -> None:
    said = run("status")
    assert said.out.startswith("read from origin/agentcom/state, as fetched last; as of ")
    assert [task["title"] for task in run("task", "list", "--json").json["tasks"]] == ["one"]
    assert "created" in run("log").out
    assert run("compile", "--check").code == 0


def test_no_hub_begins_a_trail_of_its_own_beside_it(cloned: Clone) -> None:
    with pytest.raises(
        CannotStart, match=r"`agentcom hub --remote origin`.*git branch agentcom/state origin/agentcom/state"
    ) as refused:
        asyncio.run(serve(Options(cloned.path, port=0), lambda url: None))
    assert refused.value.exit_code == 78
    assert cloned.git("branch", "--list", "agentcom/*") == ""


def test_the_branch_that_the_line_names_lets_a_hub_go_on_with_it(cloned: Clone, run) -> None:
    before = run("task", "list", "--json").json["tasks"][0]["id"]
    cloned.git("branch", "agentcom/state", "origin/agentcom/state")
    hub = let_a_hub_look(cloned)
    assert [task.id for task in hub.core.memory.tasks.values()] == [before]
    assert hub.claim.epoch == 2


def test_init_in_such_a_clone_equips_nothing_that_is_there_and_gives_no_wrong_advice(cloned: Clone, run) -> None:
    cloned.git("merge", "--quiet", "--ff-only", "origin/agentcom/state")
    said = run("init")
    assert said.code == 0, said.err
    assert "root:" not in said.err

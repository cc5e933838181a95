"""A clone of a repository whose trail another hub keeps: it is read as fetched, and no second one is begun."""

import asyncio
from pathlib import Path

import pytest
from support.repo import Clone
from support.state import let_a_hub_look

from coordinator.cli.status_cmd import _remote
from coordinator.listening import Listening
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


def test_words_of_people_say_that_they_must_be_pushed_and_never_to_start_a_hub_here(cloned: Clone, run) -> None:
    for argv in (("add", "two"), ("task", "new", "three"), ("agent", "add", "loash")):
        said = run(*argv)
        assert said.code == 0, said.err
        assert "the hub reads origin: `git push origin main`" in said.out, argv
        assert "no hub is running" not in said.out, argv
    shown = run("status").out
    assert "main has 3 commits that are not pushed; the hub reads origin: `git push origin main`" in shown
    assert "when it starts" not in shown
    asked = run("reconcile")
    assert asked.code == 69
    assert "`git fetch`" in asked.err
    assert "start it" not in asked.err


def test_the_branch_that_was_checked_out_to_look_at_it_hides_nothing_newer(cloned: Clone, run) -> None:
    cloned.git("branch", "agentcom/state", "origin/agentcom/state~1")
    shown = run("status").out
    assert shown.startswith("read from origin/agentcom/state, as fetched last; as of ")
    assert cloned.head("origin/agentcom/state")[:7] in shown.splitlines()[0]


def test_no_hub_begins_a_trail_of_its_own_beside_it(cloned: Clone) -> None:
    with pytest.raises(
        CannotStart, match=r"`agentcom hub --remote origin`.*git branch agentcom/state origin/agentcom/state"
    ) as refused:
        asyncio.run(serve(Options(cloned.path, Listening(port=0)), lambda url: None))
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


def test_what_others_did_to_the_remote_stands_indented_under_it(capsys: pytest.CaptureFixture[str]) -> None:
    remote = dict.fromkeys(("fetched_at", "pushed_at", "unpushed_since", "unpushed", "pushed_commit"))
    at = {
        "name": "origin",
        "url": "/r",
        "notice": "agentcom/state was deleted there",
        "notice_at": "2026-11-25T20:00:00Z",
    }
    _remote({**remote, **at})
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("remote: origin (/r)")
    assert second.startswith("  agentcom/state was deleted there (")

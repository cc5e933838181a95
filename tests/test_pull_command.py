"""``agentcom pull`` and ``agentcom status`` on the screen: one line, the truth, and the right exit code."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.repo import Clone, make_repo
from support.statebranch import hub_writes

from coordinator import reading
from coordinator.cli import cli
from coordinator.cli.common import EXIT_FAILED, Failure


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.delenv("AGENTCOM_HUB", raising=False)
    return make_repo(tmp_path / "repo", {"BACKLOG.md": "# B\n"})


def agentcom(clone: Clone, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--repo", str(clone.path)], standalone_mode=False)


def refused(result: Result) -> str:
    assert isinstance(result.exception, Failure)
    assert result.exception.code == EXIT_FAILED
    return result.exception.message


def test_a_pull_says_how_far_and_a_second_one_that_there_is_nothing(clone: Clone) -> None:
    state = hub_writes(clone, "status/open/t-1.yaml")
    assert agentcom(clone, "pull").output == f"main is at {state[:7]} now, 2 commits further; `git log` shows them\n"
    nothing = f"nothing to pull: main and agentcom/state are the same commit, {state[:7]}\n"
    assert agentcom(clone, "pull").output == nothing


def test_a_pull_in_json_says_the_same(clone: Clone) -> None:
    before, state = clone.head(), hub_writes(clone)
    said = json.loads(agentcom(clone, "pull", "--json").output)
    assert said == {"schema_version": 1, "branch": "main", "before": before, "after": state, "commits": 1}


def test_a_commit_not_observed_is_waited_for_only_while_a_hub_runs(clone: Clone) -> None:
    hub_writes(clone)
    head = clone.commit({"a.txt": "a\n"})
    said = refused(agentcom(clone, "pull", "--wait", "3600"))
    assert said == f"the hub has not observed {head[:7]} yet: start it with `agentcom hub`, then pull again"


def test_a_hub_that_runs_and_observes_in_time_makes_the_pull_succeed(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_writes(clone)
    clone.commit({"a.txt": "a\n"})

    def observes_when_asked(_ground: object) -> str:
        hub_writes(clone)
        return "http://127.0.0.1:1"

    monkeypatch.setattr(reading, "hub_runs", observes_when_asked)
    assert "2 commits further" in agentcom(clone, "pull", "--wait", "60").output
    assert clone.head("main") == clone.head("agentcom/state")


def test_a_hub_that_runs_and_does_not_observe_in_time_is_told_of(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_writes(clone)
    head = clone.commit({"a.txt": "a\n"})
    monkeypatch.setattr(reading, "hub_runs", lambda _ground: "http://127.0.0.1:1")
    said = refused(agentcom(clone, "pull", "--wait", "0.1"))
    assert said.startswith(f"the hub has not observed {head[:7]} yet: wait a moment (--wait 30 does)")
    assert clone.head() == head


def test_status_shows_what_is_not_committed_and_counts_what_does_not_fit(clone: Clone) -> None:
    clone.write({f"tasks/t-{number:02}.yaml": "title: x\n" for number in range(12)})
    lines = agentcom(clone, "status").output.splitlines()
    at = lines.index("work tree:")
    assert lines[at + 1] == "  tasks/t-00.yaml: new, saved but not committed"
    assert lines[at + 11 :] == [
        "  and 2 more",
        "  `git add tasks && git commit tasks`, or let `agentcom watch --commit` do it",
    ]


def test_status_says_nothing_of_a_work_tree_in_which_everything_is_committed(clone: Clone) -> None:
    assert "work tree:" not in agentcom(clone, "status").output

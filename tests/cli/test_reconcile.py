"""``agentcom reconcile``: the hub looks now, and what it observed is on disk when the command returns."""

import pytest
from support.hubprocess import HubProcess
from support.repo import Clone

READY = "# Backlog\n\n## Ready\n\n- [ ] one\n"


def test_without_a_hub_it_says_what_to_start(clone: Clone, run) -> None:
    said = run("reconcile")
    assert said.code == 69
    assert said.err == "agentcom: no hub runs here: start it with `agentcom hub`\n"


@pytest.mark.slow
def test_it_returns_when_the_last_commit_is_observed_and_in_the_branch(clone: Clone, run) -> None:
    with HubProcess(clone.path):
        for number in range(3):
            lines = "".join(f"- [ ] thing {line}\n" for line in range(number + 1))
            tip = clone.commit({"BACKLOG.md": READY + lines})
            said = run("reconcile")
            assert (said.code, said.out) == (0, f"observed {tip[:10]} of main\n"), said.err
            assert clone.git("merge-base", "--is-ancestor", tip, "agentcom/state") == ""
            assert f"thing {number}" in clone.git("log", "--format=%s", "-3", "agentcom/state")
        told = run("reconcile", "--json", "--wait", "5").json
        assert told["observed_commit"] == tip
        assert told["state_commit"] == clone.head("agentcom/state")
        assert told["remote"] is None
        assert not told["not_observed"]


@pytest.mark.slow
def test_a_commit_that_must_not_be_observed_is_named_and_ends_with_1(clone: Clone, run) -> None:
    tip = clone.head()
    with HubProcess(clone.path):
        clone.git("rm", "-q", "-r", "--ignore-unmatch", "tasks")
        clone.commit({"tasks": "no folder\n"})
        said = run("reconcile", "--wait", "60")
        assert said.code == 1
        assert f"observed so far: {tip[:10]}" in said.err
        assert "tasks" in said.err


@pytest.mark.slow
def test_a_token_that_may_not_is_told_so(clone: Clone, run, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run("agent", "add", "loash").out
    token = next(word for word in shown.split() if word.startswith("ac_"))
    with HubProcess(clone.path):
        assert run("reconcile", "--wait", "5").code == 0
        monkeypatch.setenv("AGENTCOM_TOKEN", token)
        said = run("reconcile")
        assert said.code == 77
        assert "role coordinator" in said.err

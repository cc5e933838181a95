"""A real hub beside a second real writer: on the source branch, and a second hub that the lock did not keep out."""

import time

import pytest
from support.crashes import BESIDE_S, PATIENCE_S, CrashStage, wait_until

pytestmark = pytest.mark.slow


def test_everything_that_a_script_commits_to_the_source_is_observed_in_order(own_stage: CrashStage) -> None:
    stage = own_stage
    stage.set_up(1)
    stage.want(6)
    clone = stage.clone
    made: list[str] = []
    end = time.monotonic() + BESIDE_S

    blob = clone.git("hash-object", "-w", "--stdin", input=b"- [ ] nothing of ours\n")
    while time.monotonic() < end or len(made) <= 10:
        tip = clone.head("refs/heads/main")
        rows = [row for row in clone.git("ls-tree", tip).splitlines() if not row.endswith("\tNOTES.md")]
        name = f"100644 blob {blob}\tNOTES.md" if len(made) % 2 else f"100755 blob {blob}\tNOTES.md"
        tree = clone.git("mktree", input="\n".join([*rows, name, ""]).encode())
        commit = clone.git("commit-tree", "-p", tip, "-m", f"edit {len(made)}", tree)
        clone.git("update-ref", "refs/heads/main", commit, tip)
        made.append(commit)

    wait_until(lambda: stage.summary()["observed_commit"] == made[-1], "the observation of the last commit")
    stage.every_task_was_done_once()
    assert stage.head() == made[-1]
    observed = clone.git(
        "log", "--first-parent", "--format=%(trailers:key=Agentcom-Source,valueonly)", "agentcom/state"
    )
    order = [made.index(commit) for commit in observed.split() if commit in made]
    assert order == sorted(order, reverse=True)
    assert clone.git("rev-list", "-1", "main", "--not", "agentcom/state") == ""
    stage.repository_is_sound()


def test_a_hub_whose_lock_file_was_deleted_ends_when_the_next_hub_is_there(own_stage: CrashStage) -> None:
    stage = own_stage
    stage.set_up(1)
    stage.want(2)
    stage.every_task_was_done_once()
    first = stage.hub
    assert first is not None

    (stage.repo / ".git/agentcom/hub.lock").unlink()
    port, stage.port = stage.port, 0  # where the agents are
    try:
        stage.recover()
        second_epoch = stage.summary()["epoch"]
        stage.want(3)
        wait_until(lambda: stage.summary()["by_status"]["queued"] == 3, "an observation by the second hub")
        assert first.wait(PATIENCE_S) == 75
        log = (stage.folder / "logs/hub.log").read_text()
        assert "by another hub" in log or "the lock file of this hub was deleted" in log  # whichever it sees first
        assert epochs(stage)[0] == second_epoch
    finally:
        stage.end_hub()
        first.kill()
        first.wait()

    stage.port = port
    stage.recover()
    stage.every_task_was_done_once()
    assert epochs(stage) == sorted(epochs(stage), reverse=True)
    stage.repository_is_sound()


def epochs(stage: CrashStage) -> list[int]:
    """Return the number of the hub that made each commit of the branch, newest first."""
    said = stage.clone.git(
        "log", "--first-parent", "--format=%(trailers:key=Agentcom-Epoch,valueonly)", "agentcom/state"
    )
    return [int(word.partition("/")[0]) for word in said.split()]

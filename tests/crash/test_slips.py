"""A real hub beside a second writer on its own branch: slips, resets, deletions are put back and never an outage."""

import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest
from support.crashes import CrashStage, wait_until
from support.repo import git_env

pytestmark = pytest.mark.slow

STATE = "refs/heads/agentcom/state"


def slip(stage: CrashStage, *changes: str) -> str:
    """Commit on the state branch as a person's plumbing would, until it wins against the hub; return the commit.

    ``changes`` are rows for ``git mktree`` at the top, beside what is there.
    """
    clone = stage.clone
    while True:
        tip = clone.head(STATE)
        rows = [*clone.git("ls-tree", tip).splitlines(), *changes, ""]
        commit = clone.git(
            "commit-tree", "-p", tip, "-m", "a slip", clone.git("mktree", input="\n".join(rows).encode())
        )
        argv = ["git", "update-ref", STATE, commit, tip]
        done = subprocess.run(argv, cwd=stage.repo, env=git_env(), capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return commit


def note(stage: CrashStage) -> str:
    """Return the row of a file that has no business on the state branch."""
    return f"100644 blob {stage.clone.git('hash-object', '-w', '--stdin', input=b'mine')}\tNOTE.md"


def second_parents(stage: CrashStage) -> set[str]:
    """Return what the hub's own commits have merged."""
    rows = stage.clone.git("log", "--first-parent", "--min-parents=2", "--format=%P", "agentcom/state").splitlines()
    return {parent for row in rows for parent in row.split()[1:]}


def the_hub_goes_on(stage: CrashStage, pid: int) -> None:
    """Fail unless the same hub does new work, and everything was done once."""
    stage.want()
    stage.every_task_was_done_once()
    assert stage.hub is not None
    assert (stage.hub.pid, stage.hub.poll()) == (pid, None)
    assert stage.clone.git("ls-tree", "agentcom/state", "NOTE.md") == ""
    stage.repository_is_sound()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashStage]:
    """A stage whose hub has done something; all slips happen to it, one after the other."""
    stage = CrashStage(tmp_path_factory.mktemp("slips") / "stage", delay=0.05)
    try:
        stage.set_up()
        stage.want(2)
        stage.every_task_was_done_once()
        yield stage
    finally:
        stage.close()


def test_slips_under_load_are_kept_as_second_parents_put_back_and_reported(stage: CrashStage) -> None:
    pid = stage.hub.pid if stage.hub else 0
    slips = []
    for _ in range(5):
        stage.want(2)
        slips.append(slip(stage, note(stage)))
        wait_until(lambda: slips[-1] in second_parents(stage), "a hub commit that keeps the slip")

    the_hub_goes_on(stage, pid)
    assert set(slips) <= second_parents(stage)
    log = (stage.folder / "logs/hub.log").read_text()
    assert all(commit[:7] in log for commit in slips)


def test_a_slip_while_no_hub_runs_is_put_back_by_the_next_one(stage: CrashStage) -> None:
    stage.end_hub()
    commit = slip(stage, note(stage))
    stage.recover()
    the_hub_goes_on(stage, stage.hub.pid if stage.hub else 0)
    assert commit in second_parents(stage)


def rewound(stage: CrashStage) -> None:
    stage.clone.git("update-ref", STATE, f"{STATE}~3")


def deleted(stage: CrashStage) -> None:
    stage.clone.git("update-ref", "-d", STATE)


def without_folder(stage: CrashStage) -> None:
    shutil.rmtree(stage.repo / ".git/refs/heads/agentcom", ignore_errors=True)


@pytest.mark.parametrize("harm", [rewound, deleted, without_folder])
def test_a_branch_that_was_moved_away_under_a_running_hub_is_put_back(
    stage: CrashStage, harm: Callable[[CrashStage], None]
) -> None:
    pid, tip = stage.hub.pid if stage.hub else 0, stage.clone.head(STATE)
    harm(stage)
    the_hub_goes_on(stage, pid)
    assert stage.clone.git("rev-list", "-1", tip, "--not", STATE) == ""

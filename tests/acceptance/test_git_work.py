"""Tasks with a repository, over a real hub and real sidecars: from a line to a branch, a merge, and done."""

from pathlib import Path

import pytest
from support.repo import Clone, make_bare, make_repo
from support.waiting import until

from coordinator.demo.stage import Stage

pytestmark = pytest.mark.slow

#: An agent that adds a file, leaves it uncommitted as sandboxed ones must, and says what it did.
WORK = """#!/bin/sh
echo 7 > "seven-$AGENTCOM_TASK_ID.txt"
echo '{"status": "success", "summary": "wrote it", "tokens_used": 5}' > "$AGENTCOM_RESULT_FILE"
"""
POLICY = "timeouts: {lost_after: 5s, start_grace: 5s}\nretries: {backoff: 1s}\n"


def agent_program(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "work.sh"
    program.write_text(WORK)
    program.chmod(0o755)
    return str(program)


def in_state(stage: Stage, state: str) -> dict:
    """Wait until the task is in this state; return it."""
    return until(lambda: next((task for task in stage.tasks() if task["status"] == state), {}), say=stage.tasks)


@pytest.fixture
def stage(tmp_path: Path, make_stage) -> Stage:
    stage: Stage = make_stage(0, policy=POLICY + "default_repo: .\n")
    return stage


def test_in_the_hubs_own_repository_work_waits_on_a_branch_until_somebody_merges_it(
    stage: Stage, tmp_path: Path
) -> None:
    program = agent_program(tmp_path / "program")
    stage.add_agent("loash", runtime={"name": "shell", "argv": [program]}, repos={".": str(stage.repo)})
    stage.start_sidecar("loash")
    stage.agentcom("add", "Write seven")
    task = in_state(stage, "in_review")
    branch = task["result"]["branch"]
    assert branch == f"loash/{task['id']}-write-seven"
    assert task["result"]["merge"].endswith(f" merge --no-ff {branch}")
    clone = Clone(stage.repo)
    assert clone.git("log", "-1", "--format=%an %s", branch) == "loash Write seven"
    assert clone.git("diff", "--name-only", f"main...{branch}") == f"seven-{task['id']}.txt"
    assert clone.git("status", "--porcelain") == ""

    clone.git("merge", "--quiet", "--no-edit", branch)
    merged = in_state(stage, "done")
    assert merged["merged"] == clone.head()


def test_a_repository_that_the_policy_names_is_cloned_by_the_sidecar_and_the_branch_pushed(
    stage: Stage, tmp_path: Path
) -> None:
    app = make_repo(tmp_path / "app", {"a.txt": "a\n"})
    bare = Clone(make_bare(tmp_path / "app.git"))
    app.git("remote", "add", "origin", str(bare.path))
    app.git("push", "--quiet", "origin", "main")
    (stage.repo / "agentcom.yaml").write_text(POLICY + f"repos: {{app: {{url: '{bare.path}', base: main}}}}\n")
    stage.commit("Name the app", "agentcom.yaml")
    stage.add_agent("loash", runtime={"name": "shell", "argv": [agent_program(tmp_path / "program")]})
    stage.start_sidecar("loash")
    stage.agentcom("add", "Write seven repo:app")
    task = in_state(stage, "in_review")
    branch, commit = task["result"]["branch"], task["result"]["commit"]
    assert bare.head(f"refs/heads/{branch}") == commit

    app.commit({"b.txt": "main goes on\n"})
    app.git("fetch", "--quiet", "origin")
    app.git("merge", "--quiet", "--squash", f"origin/{branch}")
    app.git("commit", "--quiet", "-m", "Seven (#1)")
    app.git("push", "--quiet", "origin", "main")
    stage.agentcom("reconcile")
    merged = in_state(stage, "done")
    assert merged["merged"] == app.head()


def test_an_agent_without_a_clone_turns_the_task_away_and_says_why(stage: Stage, tmp_path: Path) -> None:
    stage.add_agent("loash", runtime={"name": "shell", "argv": [agent_program(tmp_path / "program")]})
    stage.start_sidecar("loash")
    stage.agentcom("add", "Write seven")
    task = in_state(stage, "rejected")
    assert "add `repos:" in task["attempts"][-1]["reason"]
    assert task["retry_count"] == 0

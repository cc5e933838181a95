"""What a run leaves in git: one commit a change, two branches, nobody's files touched."""

import hashlib
from pathlib import Path

import pytest

from coordinator.demo.run import ENDED, follow
from coordinator.git.message import parse_trailers
from coordinator.git.run import git
from coordinator.ports import HUB_FOLDERS

pytestmark = pytest.mark.slow


def digest(repo: Path) -> dict[str, str]:
    """Hash the whole work tree and the index."""
    files = [path for path in repo.rglob("*") if path.is_file() and ".git" not in path.relative_to(repo).parts]
    files.append(repo / ".git" / "index")
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def people_part(repo: Path, commit: str) -> set[str]:
    """Return the rows of a tree without the hub's folders."""
    rows = git("ls-tree", "-r", commit, cwd=repo).decode().splitlines()
    return {row for row in rows if not row.partition("\t")[2].startswith(tuple(f"{name}/" for name in HUB_FOLDERS))}


def test_every_change_is_one_commit_and_nothing_of_the_persons_is_touched(make_stage) -> None:
    stage = make_stage(2)
    stage.write_backlog(4)
    source, before = stage.head(), digest(stage.repo)

    tasks = follow(stage, 4, lambda seen: len([t for t in seen if t["status"] in ENDED]) == 4)
    stage.close()

    assert stage.head() == source
    assert digest(stage.repo) == before
    for task in tasks:
        log = git("log", "--first-parent", "--format=%(trailers:key=Agentcom-Event,valueonly,separator=%x2c)",
                  f"--grep=^Agentcom-Task: {task['id']}$", "agentcom/state", cwd=stage.repo)  # fmt: skip
        assert log.decode().split() == ["completed", "accepted", "assigned", "created"]
    assert people_part(stage.repo, "agentcom/state") == people_part(stage.repo, "main")
    git("fsck", "--strict", "--full", cwd=stage.repo)


def test_every_commit_of_the_hub_is_signed_by_its_epoch_and_writes_its_own_folders_alone(make_stage) -> None:
    stage = make_stage(1)
    stage.write_backlog(2)
    follow(stage, 2, lambda seen: len([t for t in seen if t["status"] in ENDED]) == 2)
    stage.close()

    commits = git("rev-list", "--first-parent", "agentcom/state", "^main", cwd=stage.repo).decode().split()
    hub_made = 0
    for commit in commits:
        message = git("log", "-1", "--format=%B", commit, cwd=stage.repo).decode()
        committer = git("log", "-1", "--format=%ce", commit, cwd=stage.repo).decode().strip()
        assert committer == "hub@agentcom.invalid"
        trailers = parse_trailers(message)
        assert trailers["Agentcom-Epoch"][0].startswith("1/h-")
        if trailers["Agentcom-Event"] == ("observed",) and "Agentcom-Source" in trailers:
            continue
        rows = git("diff-tree", "-r", "--name-only", "--no-commit-id", commit, cwd=stage.repo).decode().split()
        assert all(row.startswith(tuple(f"{name}/" for name in HUB_FOLDERS)) for row in rows), rows
        hub_made += 1
    assert hub_made > 8


def test_a_person_can_fast_forward_to_the_state_branch_and_the_story_goes_on(make_stage) -> None:
    stage = make_stage(1)
    stage.write_backlog(2)
    follow(stage, 2, lambda seen: len([t for t in seen if t["status"] in ENDED]) == 2)

    git("merge", "-q", "--ff-only", "agentcom/state", cwd=stage.repo)
    assert list(stage.repo.glob("status/closed/*/*/*/*.yaml"))
    stage.agentcom("add", "Write the number 3 to test-output-3.txt")
    tasks = follow(stage, 3, lambda seen: len([t for t in seen if t["status"] in ENDED]) == 3)
    stage.close()

    assert len([task for task in tasks if task["status"] == "done"]) == 3
    assert (stage.work / "test-output-3.txt").read_text().strip() == "3"

"""One folder and no remote: what is only saved is said, and the trail comes into plain ``git log`` when pulled."""

import json
import subprocess
import sys
import time

import pytest

from coordinator.demo.run import ENDED, follow
from coordinator.demo.stage import LOOK_EVERY, Stage
from coordinator.git.run import git, git_as_person

pytestmark = pytest.mark.slow

BACKLOG = "# Backlog\n\n## Ready\n\n- [ ] Write the number 1 to test-output-1.txt\n"
WITHIN = 30.0


def log_of_hub(stage: Stage) -> str:
    return (stage.folder / "logs/hub.log").read_text(encoding="utf-8")


def wait_for_log(stage: Stage, words: str, count: int = 1) -> None:
    end = time.monotonic() + WITHIN
    while log_of_hub(stage).count(words) < count:
        assert time.monotonic() < end, log_of_hub(stage)
        time.sleep(LOOK_EVERY)


def all_done(count: int):
    return lambda seen: len([task for task in seen if task["status"] in ENDED]) == count


def state(stage: Stage) -> str:
    return git("rev-parse", "agentcom/state", cwd=stage.repo).decode().strip()


def test_an_edit_that_is_only_saved_is_said_by_status_api_and_log_until_it_is_committed(make_stage) -> None:
    stage = make_stage(0)
    (stage.repo / "BACKLOG.md").write_text(BACKLOG + "- [ ] Another\n", encoding="utf-8")
    index = (stage.repo / ".git/index").read_bytes()

    summary = stage.client.get("/api/status")
    shown = stage.agentcom("status")
    wait_for_log(stage, "BACKLOG.md: 2 new items are saved but not committed; `git commit BACKLOG.md`")

    assert [line["text"] for line in summary["uncommitted"]] == ["BACKLOG.md: 2 new items are saved but not committed"]
    assert "  BACKLOG.md: 2 new items are saved but not committed\n  `git commit BACKLOG.md`, or let" in shown
    assert (stage.repo / ".git/index").read_bytes() == index
    assert summary["by_status"]["queued"] == 0

    stage.commit("Want two", "BACKLOG.md")
    wait_for_log(stage, "everything saved is committed")
    assert stage.client.get("/api/status")["uncommitted"] == []
    assert log_of_hub(stage).count("saved but not committed") == 1


def test_after_a_pull_the_story_is_in_git_log_and_the_hub_has_nothing_to_observe(make_stage) -> None:
    stage = make_stage(1)
    (stage.repo / "BACKLOG.md").write_text(BACKLOG, encoding="utf-8")
    stage.commit("Want one", "BACKLOG.md")
    follow(stage, 1, all_done(1))

    said = json.loads(stage.agentcom("pull", "--wait", "20", "--json"))
    assert said["after"] == stage.head() == state(stage)
    assert git("status", "--porcelain", cwd=stage.repo) == b""
    assert "working -> done (mind-1)" in git("log", "-3", "--format=%s", cwd=stage.repo).decode()
    assert list(stage.repo.glob("status/closed/*/*/*/*.yaml"))

    pulled = state(stage)
    assert stage.agentcom("pull").startswith("nothing to pull")
    git_as_person("commit", "--quiet", "--allow-empty", "-m", "a word", cwd=stage.repo)  # something to be seen: the hub
    stage.agentcom("pull", "--wait", "20")  # has looked at the pulled commit before it observes this one
    news = git("log", "--first-parent", "--format=%s", f"{pulled}..agentcom/state", cwd=stage.repo).decode()
    assert news.count("observe") == 1

    with (stage.repo / "BACKLOG.md").open("a", encoding="utf-8") as file:
        file.write("- [ ] Write the number 2 to test-output-2.txt\n")
    stage.commit("Want two", "BACKLOG.md")
    tasks = follow(stage, 2, all_done(2))
    stage.close()
    assert [task["status"] for task in tasks] == ["done", "done"]
    assert set(stage.ends().values()) == {1}


def test_a_commit_that_no_hub_observes_is_named_and_nothing_is_pulled(make_stage) -> None:
    stage = make_stage(0)
    stage.kill_hub()
    (stage.repo / "BACKLOG.md").write_text(BACKLOG, encoding="utf-8")
    head = stage.commit("Want one", "BACKLOG.md")
    argv = [sys.executable, "-m", "coordinator", "pull", "--wait", "60"]
    done = subprocess.run(argv, cwd=stage.repo, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"agentcom: the hub has not observed {head[:7]} yet: start it with `agentcom hub`, then pull again\n"
    )
    assert stage.head() == head

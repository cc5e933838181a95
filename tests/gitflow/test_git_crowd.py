"""Ten agents, thirty tasks, one forge, and a main that moves before every step; commands that are killed."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.certs import make_cert
from support.fakeforge import FakeForge, forge_over
from support.gitplace import BRANCH, TASK_JSON, Ended, Place, command
from support.repo import Clone, git_env

AGENTS, TASKS = 10, 3


class Crowd:
    """Agents on two clones of one project of a forge; every step of one is preceded by a move of main."""

    def __init__(self, place: Place, folder: Path, forge: FakeForge) -> None:
        self.place, self.forge = place, forge
        self.environment = {
            "AGENTCOM_GITHUB_API": forge.url,
            "GITHUB_TOKEN": forge.token,
            "GIT_SSL_CAINFO": str(folder / "hub.pem"),
            "SSL_CERT_FILE": str(folder / "hub.pem"),
        }
        place.other.git("clone", "--quiet", str(place.origin), str(folder / "second clone"))
        self.clones = (place.clone, Clone(folder / "second clone"))
        for clone in self.clones:
            clone.git("remote", "set-url", "origin", f"{forge.url}/{forge.project}.git")
        self._lock = threading.Lock()
        self._moves = 0

    def move(self) -> None:
        with self._lock:
            self._moves += 1
            self.place.main_moves(a_txt=f"{self._moves}\n", **{f"main{self._moves}_txt": "new\n"})

    def work(self, number: int) -> list[str]:
        """Let one agent do its tasks, each as it should be done; return its branches."""
        agent, clone = f"agent-{number}", self.clones[number % 2]
        branches = []
        for task in range(TASKS):
            spec = json.dumps({"task_id": f"t-{number}-{task}", "title": f"Write file {number} {task}"})
            self.move()
            begun = self.type(clone.path, "start-task", "--task", "-", "--agent", agent, "--json", stdin=spec)
            assert begun.code == 0, begun
            work = Clone(Path(begun.json["path"]))
            work.commit({f"file-{number}-{task}.txt": "mine\n"}, "Write it")
            self.move()
            done = self.type(work.path, "submit", "--rebase", "--json")
            assert done.code == 0, done
            branches.append(done.json["branch"])
        return branches

    def type(self, at: Path, *words: str, stdin: str = "") -> Ended:
        return command(at, *words, stdin=stdin, env=self.environment)


@pytest.mark.slow
def test_thirty_branches_thirty_pull_requests_no_lost_commit_no_stale_diff_and_no_leftover(
    place: Place, tmp_path: Path
) -> None:
    with forge_over(place.origin, tls=make_cert(tmp_path)) as forge:
        _thirty_tasks(Crowd(place, tmp_path, forge))


def _thirty_tasks(crowd: Crowd) -> None:
    place, forge = crowd.place, crowd.forge
    with ThreadPoolExecutor(AGENTS) as pool:
        branches = [branch for done in pool.map(crowd.work, range(AGENTS)) for branch in done]
    assert sorted(pull["head"]["ref"] for pull in forge.pulls.values()) == sorted(branches)
    for number, pull in forge.pulls.items():
        agent, task = pull["head"]["ref"].removeprefix("agent-").partition("/t-")[::2]
        assert pull["title"] == f"Write file {agent} {task.split('-')[1]} (t-{'-'.join(task.split('-')[:2])})"
        assert (pull["base"]["ref"], forge.labels[number]) == (
            "main",
            [f"agent:agent-{agent}", "priority:normal", "risk:low"],
        )
    place.other.git("fetch", "--quiet", "origin")
    there = place.other.git(
        "for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes/origin/agent-*/*"
    ).splitlines()
    assert sorted(branches) == sorted(there)
    assert len(set(branches)) == AGENTS * TASKS
    for branch in branches:
        agent, _, name = branch.partition("/")
        file = f"file-{agent.removeprefix('agent-')}-{name.split('-')[2]}.txt"
        base = place.other.git("merge-base", "origin/main", f"origin/{branch}")
        assert place.other.git("rev-list", "--count", f"{base}..origin/{branch}") == "1"
        assert place.other.git("diff", "--name-only", base, f"origin/{branch}") == file
    for clone in crowd.clones:
        for one in crowd.type(clone.path, "status", "--all", "--json").json["tasks"]:
            assert one["state"] == "pushed"
            assert Clone(Path(one["path"])).git("status", "--porcelain", "--ignored") == ""
    place.other.git("merge", "--quiet", "-m", "all", *(f"origin/{branch}" for branch in branches))
    place.other.git("push", "--quiet", "origin", "main")
    for number in forge.pulls:
        forge.merge(number, place.other.head())
    for clone in crowd.clones:
        pruned = crowd.type(clone.path, "prune", "--remote", "--json").json
        assert (len(pruned["removed"]), pruned["kept"], pruned["remarks"]) == (AGENTS * TASKS // 2, [], [])
        assert len(clone.git("worktree", "list").splitlines()) == 1
        assert clone.git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads") == "main"
        assert not list((clone.path / ".git/agentcom/work").rglob("*"))
        assert clone.git("status", "--porcelain", "--ignored") == ""
        assert not clone.path.with_name(f"{clone.path.name}-worktrees").exists()
    assert place.other.git("ls-remote", "--heads", str(place.origin)).split("\t")[1:] == ["refs/heads/main"]
    missing = {f"file-{number}-{task}.txt" for number in range(AGENTS) for task in range(TASKS)} - set(
        place.other.git("ls-tree", "--name-only", "main").splitlines()
    )
    assert not missing


@pytest.mark.slow
def test_a_command_killed_at_any_moment_is_made_whole_by_the_next(place: Place) -> None:
    """Starts and submissions are killed later and later, until one comes through: then everything is there."""

    def killed(at: Path, *argv: str) -> None:
        for within in range(2, 200):
            process = subprocess.Popen(
                [sys.executable, "-m", "sidecar.gitflow.command", *argv],
                cwd=at,
                env=git_env(AGENTCOM_AGENT="loash"),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                process.communicate(TASK_JSON.encode(), timeout=within * 0.02)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                continue
            if process.returncode == 0:
                return
        raise AssertionError("it never came through")

    killed(place.clone.path, "start-task", "--task", "-")
    begun = command(place.clone.path, "start-task", "--task", "-", "--json", stdin=TASK_JSON)
    assert begun.json["resumed"] is True
    work = Clone(Path(begun.json["path"]))
    work.commit({"seven.txt": "7\n"})
    place.main_moves(a_txt="two\n")
    killed(work.path, "submit", "--rebase")
    assert place.tip(BRANCH) == work.head()
    assert work.git("diff", "--name-only", "origin/main", "HEAD") == "seven.txt"
    assert work.git("status", "--porcelain", "--ignored") == ""
    assert len(place.clone.git("worktree", "list").splitlines()) == 2

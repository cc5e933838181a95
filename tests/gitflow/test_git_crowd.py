"""Ten agents, thirty tasks, one origin, and a main that moves before every step of any of them."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.gitplace import Place, command
from support.repo import Clone

AGENTS, TASKS = 10, 3


class Crowd:
    """Agents on two clones of one origin; every step of one is preceded by a move of main."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place = place
        place.other.git("clone", "--quiet", str(place.origin), str(folder / "second clone"))
        self.clones = (place.clone, Clone(folder / "second clone"))
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
            begun = command(clone.path, "start-task", "--task", "-", "--agent", agent, "--json", stdin=spec)
            assert begun.code == 0, begun
            work = Clone(Path(begun.json["path"]))
            work.commit({f"file-{number}-{task}.txt": "mine\n"}, "Write it")
            self.move()
            done = command(work.path, "submit", "--rebase", "--json")
            assert done.code == 0, done
            branches.append(done.json["branch"])
        return branches


@pytest.mark.slow
def test_thirty_branches_no_lost_commit_no_stale_diff_and_no_leftover(place: Place, tmp_path: Path) -> None:
    crowd = Crowd(place, tmp_path)
    with ThreadPoolExecutor(AGENTS) as pool:
        branches = [branch for done in pool.map(crowd.work, range(AGENTS)) for branch in done]
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
        for one in command(clone.path, "status", "--all", "--json").json["tasks"]:
            assert one["state"] == "pushed"
            assert Clone(Path(one["path"])).git("status", "--porcelain", "--ignored") == ""
    place.other.git("merge", "--quiet", "-m", "all", *(f"origin/{branch}" for branch in branches))
    place.other.git("push", "--quiet", "origin", "main")
    for clone in crowd.clones:
        pruned = command(clone.path, "prune", "--remote", "--json").json
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

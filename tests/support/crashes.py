"""A stage whose hub is killed again and again, and what must be true of it after each time.

The work itself counts what was done (``work.log``), the sidecars know what was acknowledged, git knows what is kept;
the hub is never asked whether it is well, only when it is ready again.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from coordinator.demo.run import ENDED
from coordinator.demo.stage import Stage
from coordinator.git.message import parse_trailers
from coordinator.git.packwriter import TEMPORARY
from coordinator.git.run import GitError, git
from coordinator.reading import HubUnreachable
from support import deadly
from support.repo import Clone, git_env

#: How many random kills there are, and for how many seconds somebody does something beside a hub: more in make crash.
KILLS = int(os.environ.get("AGENTCOM_KILLS", "6"))
BESIDE_S = 30.0 if "AGENTCOM_KILLS" in os.environ else 3.0
#: After any kill a hub is ready within this many seconds (promise L6).
READY_WITHIN_S = 5.0
#: How long a test waits for what must come, in seconds; generous, for loaded machines.
PATIENCE_S = 60.0

#: The one engine in ``make test``, both in ``make crash``.
ENGINES = [pytest.param("pack", marks=pytest.mark.slow), pytest.param("plain", marks=pytest.mark.crash)]

#: Agents that come back at once.
EAGER = {"reconnect_max": "0.3s", "resend_every": "2s"}


class CrashStage(Stage):
    """One folder with repository, hub and sidecars; ``set_up`` first, ``close`` last."""

    wanted = 0
    engine = "pack"
    #: How long the first start took, after no crash, in seconds.
    calm_start_s = 0.0

    def set_up(self, agents: int = 1, engine: str = "pack") -> None:
        """Make everything and start it."""
        self.prepare(agents, engine)
        self.go()

    def prepare(self, agents: int = 1, engine: str = "pack") -> None:
        """Make the repository and its agents. The plain engine writes where a group shares the repository."""
        self.engine = engine
        self.open()
        if engine == "plain":
            git("config", "core.sharedRepository", "group", cwd=self.repo)
        for number in range(1, agents + 1):
            self.add_agent(f"mind-{number}", **EAGER)

    def move_to(self, disk: Path) -> None:
        """Let the repository, and nothing else, stand on a disk of its own; before ``go``."""
        shutil.copytree(self.repo, disk / "repo", symlinks=True)
        shutil.rmtree(self.repo)
        self.repo.symlink_to(disk / "repo")

    def go(self) -> None:
        """Start the hub and its agents."""
        begin = time.monotonic()
        self.start_hub()
        self.calm_start_s = time.monotonic() - begin
        for name in self.sidecars:
            self.start_sidecar(name)
        self.wait_for_agents()

    @property
    def clone(self) -> Clone:
        return Clone(self.repo)

    # --- the person

    def want(self, count: int = 1) -> None:
        """Add lines to BACKLOG.md, never so many that they are held, and commit them."""
        first, self.wanted = self.wanted + 1, self.wanted + count
        lines = [f"- [ ] Write the number {n} to test-output-{n}.txt\n" for n in range(first, self.wanted + 1)]
        backlog = self.repo / "BACKLOG.md"
        text = backlog.read_text(encoding="utf-8") if first > 1 else "# Backlog\n\n## Ready\n\n"
        backlog.write_text(text + "".join(lines), encoding="utf-8")
        while True:
            try:
                self.commit(f"Want {count} more", "BACKLOG.md")
                return
            except GitError as error:  # git gc removes a folder of objects that git commit has just made
                if "No such file or directory" not in error.stderr:
                    raise

    # --- deaths

    def end_hub(self) -> None:
        """End the hub that runs, if one does, without asking it."""
        if self.hub is not None and self.hub.poll() is None:
            self.kill_hub()

    def summary(self) -> dict[str, Any]:
        """Return what ``agentcom status --json`` knows from the hub."""
        return self.client.get("/api/status")

    def held_results(self) -> set[str]:
        """Return the tasks whose result waits with a sidecar for the hub to take it."""
        return {item["task_id"] for queue in self._queues() for item in queue["outbox"]}

    def _queues(self) -> list[dict[str, Any]]:
        """Return what the sidecars remember; one that never had a task has nothing."""
        files = [sidecar.folder / "queue.json" for sidecar in self.sidecars.values()]
        return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]

    def begin_hub(self) -> None:
        """Start a hub and wait for nothing."""
        argv = [sys.executable, "-m", "coordinator", "hub", "--listen", f"127.0.0.1:{self.port}"]
        self.hub = self._spawn(argv, self.repo, "hub")

    def die_at(self, step: str, kind: str) -> None:
        """Start a hub that kills itself at a step, and wait until it has."""
        log = self.folder / "deaths.log"
        log.unlink(missing_ok=True)
        self._start_deadly(step, kind, log)
        assert self.hub is not None
        try:
            code = self.hub.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill_hub()
            code = None
        assert (code, log.exists() and log.read_text().split("\n")[0]) == (-signal.SIGKILL, step)

    def moments(self, kind: str) -> list[str]:
        """Start a hub that notes what happens in the first flush of a kind, wait for it, and return that."""
        log = self.folder / "moments.log"
        self._start_deadly("nothing", kind, log)
        wait_until(lambda: log.exists() and "flush ended" in log.read_text().splitlines(), "a whole flush")
        return log.read_text().splitlines()

    def _start_deadly(self, step: str, kind: str, log: Path) -> None:
        argv = [sys.executable, deadly.__file__, step, kind, str(log), "hub", "--listen", f"127.0.0.1:{self.port}"]
        self.hub = self._spawn(argv, self.repo, "hub")

    def recover(self) -> None:
        """Start a hub as an operator would, and see that it is ready in time, as time goes on this machine today."""
        begin = time.monotonic()
        self.start_hub()
        assert time.monotonic() - begin < READY_WITHIN_S + self.calm_start_s

    # --- claims

    def acknowledged(self) -> set[str]:
        """Return the tasks whose end the sidecars need not remember any more: a hub has acknowledged it."""
        ended = set(self.ends())  # first: what ends from now on is still in a queue when that is read
        for queue in self._queues():
            held = [queue["attempt"]["assignment"]] if queue["attempt"] else []
            ended -= {item["task_id"] for item in (*held, *queue["outbox"])}
        return ended

    def kept(self) -> set[str]:
        """Return the tasks that the state branch says are done."""
        found = git("grep", "-l", "^status: done$", "agentcom/state", "--", "status/closed", cwd=self.repo, check=False)
        return {Path(line).stem for line in found.decode().splitlines()}

    def nothing_acknowledged_is_lost(self) -> None:
        """Fail if a result that was acknowledged is not in the branch, now, while no hub runs."""
        acknowledged = self.acknowledged()
        assert acknowledged <= self.kept()

    def all_done(self) -> bool:
        """Tell whether the hub says that everything wanted has ended."""
        try:
            tasks = self.tasks()
        except HubUnreachable:
            return False
        return len([task for task in tasks if task["status"] in ENDED]) == self.wanted

    def every_task_was_done_once(self) -> None:
        """Wait for the end of everything wanted, then fail if anything is lost, doubled, or left behind."""
        wait_until(self.all_done, "the end of all tasks")
        tasks = {task["id"]: task for task in self.tasks()}
        assert Counter(task["status"] for task in tasks.values()) == {"done": self.wanted}
        assert self.ends() == dict.fromkeys(tasks, 1)
        assert {(task["generation"], task["retry_count"]) for task in tasks.values()} == {(1, 0)}
        assert self.kept() == set(tasks)
        self.each_transition_is_one_commit(set(tasks))

    def each_transition_is_one_commit(self, tasks: set[str]) -> None:
        """Fail if the history tells any change of a task twice, or leaves one out."""
        told: Counter[tuple[str, str]] = Counter()
        for message in git("log", "-z", "--first-parent", "--format=%B", "agentcom/state", cwd=self.repo).split(b"\0"):
            trailers = parse_trailers(message.decode())
            if "Agentcom-Task" in trailers:
                told[(trailers["Agentcom-Task"][0], trailers["Agentcom-Event"][0])] += 1
        assert {key: times for key, times in told.items() if times > 1} == {}
        for event in ("created", "assigned", "completed"):
            assert {task for task, said in told if said == event} == tasks

    def repository_is_sound(self) -> None:
        """Fail if git finds anything wrong, or if what a dead hub left is still there after a live one has written."""
        assert self.clone.fsck() == ""
        common = self.repo / ".git"
        packs = [file.name for file in (common / "objects/pack").iterdir()]  # tmp_pack_X of git is git's to prune
        assert [*common.glob("refs/**/*.lock")] == []
        assert [name for name in packs if name.endswith(".keep") or name in TEMPORARY] == []


def wait_until(true: Callable[[], object], what: str, patience: float = PATIENCE_S) -> None:
    """Look again and again until something is true; fail when it does not come."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, f"{what} did not come within {patience:g} s"
        time.sleep(0.02)


@contextmanager
def beside(path: Path, *commands: list[str]) -> Iterator[Counter[str]]:
    """Run git commands in a repository in a circle while the block runs; yield how often each one went through."""
    over = threading.Event()
    went: Counter[str] = Counter()

    def run() -> None:
        while not over.is_set():
            for command in commands:
                done = subprocess.run(["git", *command], cwd=path, env=git_env(), capture_output=True, check=False)
                went[command[0]] += done.returncode == 0

    person = threading.Thread(target=run)
    person.start()
    try:
        yield went
    finally:
        over.set()
        person.join()

"""A whole installation in one folder: repository, hub and sidecars as real processes, to be started and killed.

The demo and the acceptance tests drive it. It plays the person (commits under the source branch) and the operator
(starts and kills processes that it started itself); it knows nothing of how the hub works inside.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coordinator.core.guards import too_many_new
from coordinator.git.run import git, git_as_person
from coordinator.place import Place
from coordinator.reading import HubClient, HubUnreachable

#: How long a process may take to come up, in seconds; generous, for loaded machines.
START_WITHIN = 60.0
#: How long a process may take to stop when asked, in seconds.
STOP_WITHIN = 15.0
#: Pause between two looks, in seconds.
LOOK_EVERY = 0.1

POLICY = """\
# Short patience, so that a killed agent or hub is noticed within seconds.
timeouts: {lost_after: 5s, start_grace: 5s}
retries: {backoff: 1s}
"""


class StageError(Exception):
    """A process did not come up, or died by itself; the text says where its log is."""


@dataclass(slots=True)
class Sidecar:
    """One agent on stage: its folder, and its process while it runs."""

    agent: str
    folder: Path
    token: str
    settings: Mapping[str, Any]
    process: subprocess.Popen[bytes] | None = None


@dataclass(slots=True)
class Stage:
    """One folder with everything in it. Use ``open`` first and ``close`` last.

    ``delay`` is how long a fake agent works on one task, in seconds.
    """

    folder: Path
    delay: float = 0.2
    policy: str = POLICY
    sidecars: dict[str, Sidecar] = field(default_factory=dict)
    hub: subprocess.Popen[bytes] | None = None
    port: int = 0

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def work(self) -> Path:
        """Where the agents' files appear."""
        return self.folder / "work"

    @property
    def work_log(self) -> Path:
        """The log that the work itself appends to: one line ``begin`` and one ``end`` for each run."""
        return self.folder / "work.log"

    @property
    def place(self) -> Place:
        return Place(self.repo / ".git" / "agentcom")

    # --- the person

    def open(self) -> None:
        """Make the repository as a person would: ``agentcom init``, a policy, a commit."""
        self.work.mkdir(parents=True)
        (self.folder / "logs").mkdir()
        self.repo.mkdir()
        git_as_person("init", "--quiet", "--initial-branch=main", cwd=self.repo)
        git_as_person("config", "user.name", "Demo Person", cwd=self.repo)
        git_as_person("config", "user.email", "person@demo.invalid", cwd=self.repo)
        self.agentcom("init", ".")
        (self.repo / "agentcom.yaml").write_text(self.policy, encoding="utf-8")
        self.commit("Set the policy", "agentcom.yaml")

    def agentcom(self, *words: str) -> str:
        """Run one ``agentcom`` command in the repository and return what it prints. Raises StageError."""
        argv = [sys.executable, "-m", "coordinator", *words]
        done = subprocess.run(argv, cwd=self.repo, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise StageError(f"agentcom {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def commit(self, message: str, *paths: str) -> str:
        """Commit paths as the person; return the commit id."""
        git_as_person("add", "--", *paths, cwd=self.repo)
        git_as_person("commit", "--quiet", "-m", message, "--", *paths, cwd=self.repo)
        return git("rev-parse", "HEAD", cwd=self.repo).decode().strip()

    def head(self) -> str:
        """Return the tip of the source branch."""
        return git("rev-parse", "refs/heads/main", cwd=self.repo).decode().strip()

    def write_backlog(self, count: int) -> int:
        """Write ``count`` items under Ready and commit them; return when (ms since the epoch).

        So many that the hub would hold them are confirmed, as a person would who means it.
        """
        lines = [f"- [ ] Write the number {number} to test-output-{number}.txt" for number in range(1, count + 1)]
        text = "# Backlog\n\n## Ready\n\n" + "\n".join(lines) + "\n"
        (self.repo / "BACKLOG.md").write_text(text, encoding="utf-8")
        self.commit(f"Want {count} files", "BACKLOG.md")
        if too_many_new(count):
            self.agentcom("confirm")
        return time.time_ns() // 1_000_000

    def add_agent(self, agent: str, *, runtime: Mapping[str, Any] | None = None, **config: Any) -> Sidecar:
        """Register an agent with ``agentcom agent add`` and make its sidecar's folder."""
        said = json.loads(self.agentcom("agent", "add", agent, "--json"))
        settings = {"runtime": dict(runtime or {"name": "fake", "cwd": str(self.work)}), **config}
        sidecar = Sidecar(agent, self.folder / "agents" / agent, said["token"], settings)
        sidecar.folder.mkdir(parents=True)
        self.sidecars[agent] = sidecar
        return sidecar

    # --- the operator

    def start_hub(self) -> None:
        """Start the hub and wait until agents may connect; a second start listens where the first did."""
        argv = [sys.executable, "-m", "coordinator", "hub", "--listen", f"127.0.0.1:{self.port}"]
        self.hub = self._spawn(argv, self.repo, "hub")
        said = self._wait_for_hub(self.hub)
        self.port = int(said["url"].rpartition(":")[2])

    def _wait_for_hub(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        end = time.monotonic() + START_WITHIN
        while time.monotonic() < end:
            said = self.place.read_hub()
            if said is not None and said.get("pid") == process.pid:
                return said
            if process.poll() is not None:
                break
            time.sleep(LOOK_EVERY / 4)
        raise StageError(f"the hub did not start; its log: {self.folder / 'logs' / 'hub.log'}")

    def start_sidecar(self, agent: str) -> None:
        """Start the sidecar of an agent; it connects by itself."""
        sidecar = self.sidecars[agent]
        config = sidecar.folder / "config.json"
        said = {
            "agent_id": agent,
            "token": sidecar.token,
            "hub_url": f"ws://127.0.0.1:{self.port}/ws",
            "reconnect_max": "2s",
            **sidecar.settings,
        }
        config.touch(mode=0o600)
        config.write_text(json.dumps(said, indent=1), encoding="utf-8")
        argv = [sys.executable, "-m", "sidecar", "run", "--config", str(config)]
        env = {"AGENTCOM_FAKE_LOG": str(self.work_log), "AGENTCOM_FAKE_DELAY": str(self.delay)}
        sidecar.process = self._spawn(argv, sidecar.folder, agent, env)

    def kill_hub(self) -> int:
        """``kill -9`` the hub; return its pid."""
        return _kill(self.hub)

    def kill_sidecar(self, agent: str) -> int:
        """``kill -9`` a sidecar; return its pid."""
        return _kill(self.sidecars[agent].process)

    def _spawn(
        self, argv: list[str], cwd: Path, name: str, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        log = self.folder / "logs" / f"{name}.log"
        with log.open("ab") as output:
            return subprocess.Popen(
                argv,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    def close(self) -> None:
        """Ask every process to stop, and make sure that it did."""
        running = [sidecar.process for sidecar in self.sidecars.values()] + [self.hub]
        processes = [process for process in running if process is not None]
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            try:
                process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # --- looking

    @property
    def client(self) -> HubClient:
        """The hub's API, as the admin of this machine."""
        return HubClient(f"http://127.0.0.1:{self.port}", self.place.admin_token())

    def tasks(self) -> list[dict[str, Any]]:
        """Return all tasks as the hub says; raises HubUnreachable while it is down."""
        found: list[dict[str, Any]] = self.client.get("/api/tasks", limit="1000").get("tasks", [])
        return found

    def agents(self) -> list[dict[str, Any]]:
        """Return all agents as the hub says; raises HubUnreachable while it is down."""
        found: list[dict[str, Any]] = self.client.get("/api/agents").get("agents", [])
        return found

    def wait_for_agents(self) -> None:
        """Wait until every sidecar on stage is connected and idle."""
        end = time.monotonic() + START_WITHIN
        while time.monotonic() < end:
            for sidecar in self.sidecars.values():
                if sidecar.process is not None and sidecar.process.poll() is not None:
                    raise StageError(f"sidecar {sidecar.agent} ended; log: {self.folder / 'logs' / sidecar.agent}.log")
            try:
                if all(agent["status"] == "online" for agent in self.agents()):
                    return
            except HubUnreachable:
                pass
            time.sleep(LOOK_EVERY)
        raise StageError(f"the sidecars did not connect; logs: {self.folder / 'logs'}")

    def ends(self) -> dict[str, int]:
        """Return how often each task's work came to its end, counted by the work itself."""
        counted: dict[str, int] = {}
        if self.work_log.exists():
            for line in self.work_log.read_text(encoding="utf-8").splitlines():
                word, task_id, _ = line.split()
                if word == "end":
                    counted[task_id] = counted.get(task_id, 0) + 1
        return counted


def _kill(process: subprocess.Popen[bytes] | None) -> int:
    if process is None:
        raise StageError("there is no process to kill")
    process.send_signal(signal.SIGKILL)
    process.wait()
    return process.pid

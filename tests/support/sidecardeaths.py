"""A stage whose sidecars are killed, and what must be true of it afterwards: done once, and answered for."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from coordinator.demo.run import ENDED
from coordinator.reading import HubUnreachable
from support import deadlysidecar
from support.crashes import PATIENCE_S, CrashStage

#: Short times, so that what is lost comes again within seconds.
POLICY = """\
timeouts: {lost_after: 5s, start_grace: 5s, accept: 3s, release: 5s}
retries: {backoff: 1s}
"""
QUICKLY = {"reconnect_max": "0.3s", "resend_every": "1s", "progress_every": "0.2s", "kill_grace": "0.5s"}


class DeathStage(CrashStage):
    """One hub and sidecars that die; ``hub_url`` in an agent's settings may lead through a proxy."""

    policy = POLICY

    def put_up(self, agents: int, **settings: Any) -> None:
        """Make a repository, start its hub, and add agents whose sidecars do not run yet."""
        self.open()
        self.start_hub()
        for number in range(1, agents + 1):
            self.add_agent(f"mind-{number}", **QUICKLY, **settings)
        self.agentcom("reconcile")

    def start_deadly(self, agent: str, step: str, log: Path) -> None:
        """Start a sidecar that kills itself at a step, or notes what happens."""
        self.start_sidecar(agent)  # for its config file
        self.kill_sidecar(agent)
        sidecar = self.sidecars[agent]
        config = sidecar.folder / "config.json"
        argv = [sys.executable, deadlysidecar.__file__, step, str(log), "run", "--config", str(config)]
        env = {
            "AGENTCOM_FAKE_LOG": str(self.work_log),
            "AGENTCOM_FAKE_DELAY": str(self.delay),
            "PYTHONPATH": str(Path(deadlysidecar.__file__).parent.parent),
        }
        sidecar.process = self._spawn(argv, sidecar.folder, agent, env)

    def sidecar_dies_at(self, agent: str, step: str) -> None:
        """Start a sidecar that kills itself at a step, and wait until it has."""
        log = self.folder / "deaths.log"
        log.unlink(missing_ok=True)
        self.start_deadly(agent, step, log)
        process = self.sidecars[agent].process
        assert process is not None
        try:
            code = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill_sidecar(agent)
            code = None
        assert (code, log.exists() and log.read_text().split("\n")[0]) == (-signal.SIGKILL, step)

    def end_sidecars(self) -> None:
        """Kill every sidecar that runs."""
        for name, sidecar in self.sidecars.items():
            if sidecar.process is not None and sidecar.process.poll() is None:
                self.kill_sidecar(name)

    def in_hand(self, agent: str) -> str | None:
        """Return the task that a sidecar has in hand, as its disk says."""
        try:
            queue = json.loads((self.sidecars[agent].folder / "queue.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return queue["attempt"] and str(queue["attempt"]["assignment"]["task_id"])

    def kill_at_work(self, agent: str, killed: Counter[str], most: int = 2) -> str | None:
        """Kill a sidecar and start it again, unless its task was hit so often already; return what it had in hand."""
        process = self.sidecars[agent].process
        assert process is not None
        process.send_signal(signal.SIGSTOP)  # so that what is read is what dies
        task = self.in_hand(agent)
        if task is not None and killed[task] >= most:
            process.send_signal(signal.SIGCONT)
            return None
        killed[task or ""] += 1
        self.kill_sidecar(agent)
        self.start_sidecar(agent)
        return task

    # --- claims

    def all_ended(self) -> bool:
        """Tell whether everything wanted has ended, and no sidecar waits for an answer any more."""
        try:
            ended = [task for task in self.tasks() if task["status"] in ENDED]
        except HubUnreachable:
            return False
        return len(ended) == self.wanted and not self.held_results()

    def wait_for_all(self, patience: float) -> None:
        """Wait for the end of everything wanted; say what has not ended, and why, when that does not come."""
        end = time.monotonic() + patience
        while not self.all_ended():
            if time.monotonic() > end:
                open_ones = [task for task in self.tasks() if task["status"] not in ENDED]
                told = [(task["id"], task["status"], task["generation"], task.get("why")) for task in open_ones]
                agents = [(agent["agent_id"], agent["status"]) for agent in self.agents()]
                raise AssertionError(f"not ended: {told}\nresults that wait: {self.held_results()}\nagents: {agents}")
            time.sleep(0.1)

    def every_task_is_done_once(self, patience: float = PATIENCE_S) -> None:
        """Wait for the end of everything wanted, then fail if anything is lost, doubled or not answered for."""
        self.wait_for_all(patience)
        tasks = {task["id"]: task for task in self.tasks()}
        assert Counter(task["status"] for task in tasks.values()) == {"done": self.wanted}
        assert self.ends() == dict.fromkeys(tasks, 1)
        assert self.kept() == set(tasks)

    def every_task_is_ended_once(self, patience: float) -> None:
        """Wait for the end of everything wanted, then fail if one is lost, ended twice, or not answered for.

        A wire may make the hub give up an attempt that goes on: then its result is an orphan, kept for people,
        and the work was done twice; what may not be is a task that ends twice, or a result that nobody has.
        """
        self.wait_for_all(patience)
        tasks = {task["id"]: task for task in self.tasks()}
        assert Counter(task["status"] for task in tasks.values()) == {"done": self.wanted}
        for name in tasks:
            whole = self.client.get(f"/api/tasks/{name}")
            ends = [attempt["end"] for attempt in whole["attempts"]]
            assert ends.count("done") == 1, ends


def killer(stage: DeathStage, seconds: float, chance: random.Random) -> Counter[str]:
    """Kill sidecars at random for so long, none of them over the same task more than twice; return what was killed."""
    killed: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(chance.uniform(0.2, 2.0))
        stage.kill_at_work(chance.choice(sorted(stage.sidecars)), killed)
    return killed

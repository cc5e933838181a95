"""One run of the demo, from an empty folder to the count; with ``chaos``, things are killed on the way."""

import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coordinator.demo.measure import Report, measure
from coordinator.demo.stage import LOOK_EVERY, Stage
from coordinator.git.run import git
from coordinator.reading import HubUnreachable
from coordinator.up.story import standing

#: Time for one run, in seconds: a base, and so much for each task.
PATIENCE = 90.0
PATIENCE_PER_TASK = 6.0
#: How long a fake agent works on one task: long enough to be killed at it when that is wanted, in seconds.
DELAY = 0.2
DELAY_CHAOS = 0.6
#: How long a killed process stays dead, in seconds.
DEAD_FOR = 1.0
#: States that a task does not leave by itself.
ENDED = ("done", "failed", "rejected", "cancelled")

Say = Callable[[str], None]


def run_demo(
    tasks: int, agents: int, say: Say, note: Say = lambda text: None, *, chaos: bool = False, keep: bool = False
) -> tuple[Report, Path, str]:
    """Run the demo; return the report, its folder (gone unless ``keep``), and the last lines of ``git log``.

    ``say`` hears one line for each thing that happens, ``note`` how things stand.
    Raises StageError when a process does not come up; the folder is then kept. Interrupted, it leaves nothing behind.
    """
    folder = Path(tempfile.mkdtemp(prefix="agentcom-demo-"))
    stage = Stage(folder, delay=DELAY_CHAOS if chaos else DELAY)
    begin = time.monotonic()
    try:
        say(f"a fresh repository: {stage.repo}")
        note("making it ...")
        stage.open()
        names = [f"mind-{number}" for number in range(1, agents + 1)]
        for name in names:
            stage.add_agent(name)
        note("the hub starts ...")
        stage.start_hub()
        say(f"the hub: pid {stage.hub.pid if stage.hub else 0}, http://127.0.0.1:{stage.port}")
        note("the sidecars start ...")
        for name in names:
            stage.start_sidecar(name)
        stage.wait_for_agents()
        say(f"{'a sidecar is' if agents == 1 else f'{agents} sidecars are'} connected: {', '.join(names)}")
        committed = stage.write_backlog(tasks)
        source = git("rev-parse", "HEAD", cwd=stage.repo).decode().strip()
        say(f"a person commits {tasks} lines to BACKLOG.md")
        final, kills = _follow(stage, tasks, say, note, chaos=chaos)
        note("counting what came of it ...")
    except KeyboardInterrupt:
        stage.close()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        stage.close()
    report = measure(stage, tasks, final, committed, source, time.monotonic() - begin, kills)
    log = git("log", "--format=%h %<(24,trunc)%an %s", "-n8", "agentcom/state", cwd=stage.repo).decode().rstrip()
    note("")
    if not keep and report.good:
        shutil.rmtree(folder)
    return report, folder, log


def _follow(stage: Stage, count: int, say: Say, note: Say, *, chaos: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Watch until every task has ended or patience has; return the tasks as last seen, and what was killed."""
    told: set[str] = set()
    plan = _Chaos(stage, count, say) if chaos else None

    def look(tasks: list[dict[str, Any]]) -> bool:
        for task in tasks:
            if task["status"] in ENDED and task["id"] not in told:
                told.add(task["id"])
                owner = task["attempts"][-1]["agent"] if task["attempts"] else "nobody"
                say(f"{len(told):>4}/{count}  {task['id']}  {task['status']} by {owner}: {task['title']}")
        note(standing(Counter(str(task["status"]) for task in tasks)))
        if plan is not None:
            plan.go_on(tasks)
        return len(told) >= count and (plan is None or plan.over)

    return follow(stage, count, look), plan.kills if plan is not None else []


def follow(stage: Stage, count: int, look: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Show ``look`` the tasks again and again, until it says that it has seen enough or patience is over.

    While the hub is down, ``look`` gets the tasks as they were last seen. Returns those.
    """
    end = time.monotonic() + PATIENCE + PATIENCE_PER_TASK * count
    tasks: list[dict[str, Any]] = []
    while time.monotonic() < end:
        with contextlib.suppress(HubUnreachable):
            tasks = stage.tasks()
        if look(tasks):
            break
        time.sleep(LOOK_EVERY)
    return tasks


class _Chaos:
    """Kills one sidecar in the middle of a task, later the hub, and starts both again."""

    def __init__(self, stage: Stage, count: int, say: Say) -> None:
        self.kills: list[str] = []
        self._stage = stage
        self._say = say
        self._sidecar_at = max(1, count // 3)
        self._hub_at = max(self._sidecar_at + 1, (2 * count) // 3)
        self._count = count
        self._revive: list[tuple[float, Callable[[], None], str]] = []
        self._sidecar_killed = False
        self._hub_killed = False

    @property
    def over(self) -> bool:
        """Everything that was killed runs again."""
        return not self._revive

    def go_on(self, tasks: list[dict[str, Any]]) -> None:
        """Do what is due."""
        self._bring_back()
        done = sum(1 for task in tasks if task["status"] in ENDED)
        if not self._sidecar_killed and done >= self._sidecar_at:
            self._kill_a_worker(tasks)
        elif self._sidecar_killed and not self._hub_killed and self.over and done >= min(self._hub_at, self._count - 1):
            self._hub_killed = True
            self._note(f"kill -9 of the hub, pid {self._stage.kill_hub()}, with {done} of {self._count} done")
            self._later(self._stage.start_hub, "the hub is back")

    def _kill_a_worker(self, tasks: list[dict[str, Any]]) -> None:
        busy = next((task for task in tasks if task["status"] == "working"), None)
        if busy is None:
            return
        agent = str(busy["assigned_to"])
        self._sidecar_killed = True
        pid = self._stage.kill_sidecar(agent)
        self._note(f"kill -9 of the sidecar of {agent}, pid {pid}, in the middle of {busy['id']}")
        self._later(lambda: self._stage.start_sidecar(agent), f"the sidecar of {agent} is back")

    def _later(self, action: Callable[[], None], text: str) -> None:
        self._revive.append((time.monotonic() + DEAD_FOR, action, text))

    def _bring_back(self) -> None:
        due = [entry for entry in self._revive if entry[0] <= time.monotonic()]
        for entry in due:
            entry[1]()
            self._say(f"      {entry[2]}")
            self._revive.remove(entry)

    def _note(self, text: str) -> None:
        self.kills.append(text)
        self._say(f"  !!  {text}")

"""The whole hub under load: ``agentcom hub`` as a person starts it, tasks in files, agents in a process of their own.

One repository; a round for each number of agents, each with a hub started anew, so that its figures are that round's.
Before a round the queue is filled up again by a person's commit, and what that costs is not counted: a round counts
from when all agents are connected. What is left of a round is there for the next.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.tables import p50, p99
from benchmarks.writers import pipes, size_of
from coordinator.demo.stage import Stage
from coordinator.place import new_token
from coordinator.web.auth import digest

AGENTS = (2, 10, 50, 200)
#: Tasks that wait when a round begins.
QUEUE = 1_000
#: How long anything but a round may take, in seconds.
PATIENCE_S = 120.0
LOOK_EVERY_S = 0.05


class HubLoad:
    """A repository, its hub and its agents; ``close`` ends what runs."""

    def __init__(self, folder: Path) -> None:
        self._stage = Stage(folder, policy="")
        self._stage.open()
        self._tokens = {f"a-{number:03}": new_token() for number in range(max(AGENTS))}
        self._made = 0
        self._idler = "idler", new_token()
        for name, token in (*self._tokens.items(), self._idler):
            can = "nothing" if name == self._idler[0] else "python"
            text = f"capabilities: [{can}]\ntokens:\n  - sha256: {digest(token)}\n    prefix: {token[:8]}\n"
            (self._stage.repo / "agents" / f"{name}.yaml").write_text(text)
        self._stage.commit("Add the agents", "agents")

    @property
    def url(self) -> str:
        """Where agents connect."""
        return f"ws://127.0.0.1:{self._stage.port}/ws"

    def idler(self) -> tuple[str, str]:
        """Return the id and the token of an agent that no task fits, so that nothing is ever said to it unasked."""
        return self._idler

    def round(self, agents: int, seconds: float) -> dict[str, Any]:
        """Start the hub, let so many agents work for so long; return what was measured."""
        self._start()
        self._fill()
        before, after, out = self._work(agents, seconds)
        if not out["done"] or not out["assigned_ms"]:
            raise SystemExit(f"{agents} agents did nothing in {seconds:.1f} s: the machine is too busy for a benchmark")
        commits, flushes = (after[key] - before[key] for key in ("commits_since_start", "flushes_since_start"))
        return {
            "agents": agents,
            "tasks_per_s": round(out["done"] / out["seconds"], 1),
            "transitions_per_s": round(commits / (after["at"] - before["at"]), 1),
            "batch": round(commits / flushes, 1),
            "flush_ms_p50": after["flush_ms_p50"],
            "assign_ms_p50": round(p50(out["assigned_ms"]), 2),
            "assign_ms_p99": round(p99(out["assigned_ms"]), 2),
            "open": sum(sum(_open(said).values()) for said in (before, after)) // 2,
        }

    def bytes_per_transition(self) -> int:
        """Stop the hub, repack everything into one pack; return the bytes that each commit of the hub takes then.

        The pack and its index count, without the objects that people's branch has. No multi-pack-index is written: it
        says again what the index says.
        """
        self._stage.close()
        git = ["git", "-C", str(self._stage.repo)]
        subprocess.run([*git, "repack", "-q", "-a", "-d"], check=True, timeout=2 * PATIENCE_S)
        people, commits = (
            int(subprocess.run([*git, "rev-list", *words], check=True, capture_output=True, timeout=PATIENCE_S).stdout)
            for words in (
                ["--disk-usage", "--objects", "main"],
                ["--count", "--committer=hub@agentcom.invalid", "agentcom/state"],
            )
        )
        return round((size_of(self._stage.repo / ".git/objects/pack") - people) / commits)

    def close(self) -> None:
        self._stage.close()

    def _start(self) -> None:
        self._stage.close()
        self._stage.start_hub()

    def _fill(self) -> None:
        """Fill the queue up, and wait until the hub has taken everything in."""
        more = QUEUE - sum(_open(self._summary()).values())
        for number in range(self._made, self._made + max(0, more)):
            text = f"title: Do nothing, number {number}\nneeded_capabilities: [python]\n"
            (self._stage.repo / "tasks" / f"n-{number:06}.yaml").write_text(text)
        if more > 0:
            self._made += more
            wanted = self._stage.commit(f"Want {more} tasks more", "tasks")
        else:
            wanted = self._stage.head()
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            said = self._summary()
            if said["observed_commit"] == wanted and sum(_open(said).values()) >= QUEUE:
                return
            time.sleep(LOOK_EVERY_S)
        raise SystemExit(f"the hub did not take in {more} tasks within {PATIENCE_S:g} s")

    def _work(self, agents: int, seconds: float) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Return the hub's summary once all are connected, the one at the end, and what the agents say."""
        tokens = dict(list(self._tokens.items())[:agents])
        asked = {"url": self.url, "tokens": tokens, "seconds": seconds, "tasks": QUEUE - agents}
        argv = [sys.executable, "-m", "benchmarks.agents"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            into, out = pipes(process)
            into.write(json.dumps(asked).encode())
            into.close()
            out.readline()
            before = self._summary()
            said = out.readline()
            after = self._summary()
        if not said:
            raise SystemExit("the agents ended early: the benchmark is wrong")
        return before, after, json.loads(said)

    def _summary(self) -> dict[str, Any]:
        """Return what the hub says of itself, and when (``at``, seconds)."""
        said = self._stage.client.get("/api/status")
        return {**said, "at": time.perf_counter()}


def _open(summary: Mapping[str, Any]) -> dict[str, int]:
    """Return how many tasks of each state are not finished."""
    ended = ("done", "failed", "rejected", "cancelled")
    return {state: count for state, count in summary["by_status"].items() if state not in ended}

"""What came out: counted from the files, the work's own log and git, never from what the hub says of itself.

Latency runs from *ready* (the task runnable and its agent free, whichever is later) to receipt at the sidecar;
duplicates are tasks with more than one ``end`` line in the log of the work (DECISIONS 20).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coordinator.demo.stage import Stage
from coordinator.git.run import GitError, git

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one run; latencies in ms, ``overhead_tokens`` the most that was added to one prompt."""

    tasks: int
    done: int
    lost: int
    duplicates: int
    assignment_latency_ms: dict[str, float]
    latency_from_commit_ms: dict[str, float]
    per_agent: dict[str, int]
    commits: int
    overhead_tokens: int
    retries: int
    seconds: float
    fsck_clean: bool
    source_untouched: bool
    kills: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Every task was done exactly once, its file holds what it should, and the repository is sound."""
        return (
            self.done == self.tasks
            and not self.lost
            and not self.duplicates
            and self.fsck_clean
            and self.source_untouched
        )

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **asdict(self), "kills": list(self.kills), "good": self.good}


def measure(
    stage: Stage,
    count: int,
    tasks: Sequence[dict[str, Any]],
    committed_ms: int,
    source: str,
    seconds: float,
    kills: Iterable[str],
) -> Report:
    """Count what a run of ``count`` tasks left behind; ``source`` is the person's last commit."""
    finished = {task["id"]: task for task in tasks if task["status"] == "done"}
    written = [number for number in range(1, count + 1) if _holds(stage.work, number)]
    titles = {task["title"]: task["id"] for task in finished.values()}
    done = [n for n in written if f"Write the number {n} to test-output-{n}.txt" in titles]
    ends = stage.ends()
    ready, commit = _receipts(stage, committed_ms)
    overhead = [int((task["result"] or {}).get("overhead_tokens", 0)) for task in finished.values()]
    per_agent = dict.fromkeys(sorted(stage.sidecars), 0)
    for task in finished.values():
        owner = next((a["agent"] for a in reversed(task["attempts"]) if a["end"] == "done"), None)
        if owner in per_agent:
            per_agent[owner] += 1
    return Report(
        tasks=count,
        done=len(done),
        lost=count - len(done),
        duplicates=sum(1 for times in ends.values() if times > 1),
        assignment_latency_ms=percentiles(ready),
        latency_from_commit_ms=percentiles(commit),
        per_agent=per_agent,
        commits=int(git("rev-list", "--count", "--first-parent", "agentcom/state", f"^{source}", cwd=stage.repo)),
        overhead_tokens=max(overhead, default=0),
        retries=sum(task["retry_count"] for task in tasks),
        seconds=round(seconds, 2),
        fsck_clean=_sound(stage.repo),
        source_untouched=_untouched(stage.repo, source),
        kills=tuple(kills),
    )


def _holds(work: Path, number: int) -> bool:
    try:
        return (work / f"test-output-{number}.txt").read_text(encoding="utf-8").strip() == str(number)
    except OSError:
        return False


def _receipts(stage: Stage, committed_ms: int) -> tuple[list[float], list[float]]:
    """Read from every attempt's packet how long after ready, and after the commit, its sidecar had it."""
    ready: list[float] = []
    commit: list[float] = []
    for path in stage.folder.glob("agents/*/results/*/task.json"):
        said = json.loads(path.read_text(encoding="utf-8"))
        received = said.get("received_at")
        if received is None:
            continue
        ready.append(max(0, received - said.get("ready_at", received)))
        if said["generation"] == 1:
            commit.append(max(0, received - committed_ms))
    return ready, commit


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p99 and max by nearest rank; all 0 when there is nothing."""
    ranked = sorted(values)
    if not ranked:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    return {
        "p50": float(ranked[(len(ranked) - 1) // 2]),
        "p99": float(ranked[min(len(ranked) - 1, -(-99 * len(ranked) // 100) - 1)]),
        "max": float(ranked[-1]),
    }


def _sound(repo: Path) -> bool:
    try:
        git("fsck", "--strict", "--full", cwd=repo, timeout=120)
    except GitError:
        return False
    return True


def _untouched(repo: Path, source: str) -> bool:
    """Tell whether branch, index and work tree are as the person left them."""
    head = git("rev-parse", "refs/heads/main", cwd=repo).decode().strip()
    return head == source and not git("status", "--porcelain", cwd=repo).strip()

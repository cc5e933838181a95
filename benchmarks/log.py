"""How long a person waits for the history of one task, with many commits on the state branch and many closed tasks.

What is timed is a whole ``agentcom`` process from start to end, as a person types it: the best of some rounds, because
the machine may be busy, and the processor time of it and of its children, which says the same on a busy machine. The
yardstick, run in turn with it, is ``git log --oneline -- PATH`` of the path that the task has while it is open, which
knows nothing of closed paths. Both are measured with the changed-path filters that the hub's housekeeping writes and
without them; git's files are in the page cache each time.

    python -m benchmarks.log [--quick] [--json FILE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coordinator.core.machine import State
from coordinator.core.task import Spec, Status, Task
from coordinator.files import layout
from coordinator.git.journal import HUB_ATTRIBUTES, GitStore
from coordinator.git.message import compose
from coordinator.git.repo import STATE_REF, find_repo
from coordinator.git.run import git, hub_env
from coordinator.ports import Author, Commit

#: The history of one task should be on the screen within this time, in seconds, with so many commits.
AIM_S, COMMITS = 0.3, 50_000
OPEN, CLOSED = 1_000, 100_000
#: Commits in one flush while the branch is made, and how many tasks are closed on one day.
BATCH, A_DAY = 1_000, 500
_WHO = Author("loash", "loash@agents.agentcom.invalid")
_BEGIN = 1_764_000_000_000
_DAY = 86_400_000
#: What happens to each task, in a second each.
_LIFE = (State.QUEUED, State.ASSIGNED, State.WORKING, State.DONE)


def task(number: int, state: State, now: int) -> Task:
    """Return a task in one state of its life, in which it is now (ms)."""
    name = f"t-{number:08x}"
    status = Status(state, created_at=now - 3000, created_by="Ada", generation=min(1, _LIFE.index(state)))
    if state is not State.QUEUED:
        status = replace(status, assigned_to="loash", assigned_at=now - 2000)
    if state is State.DONE:
        status = replace(status, completed_at=now, result={"summary": f"number {number} is done"})
    return Task(Spec(name, f"Task {number}", where=f"tasks/{name}.yaml"), status)


def change(before: Task | None, after: Task, now: int, source: str) -> Commit:
    """Return the commit of one transition as the hub makes it; each names the source observed last."""
    trailers = [
        ("Agentcom-Task", after.id),
        ("Agentcom-Event", str(after.state)),
        ("Agentcom-Source", source),
        ("Agentcom-Epoch", "3/h-7c2qk9wd"),
    ]
    puts, deletes = layout.changes(before, after)
    return Commit(compose(f"{after.id}: {after.state} (loash)", "", trailers), _WHO, now, puts, deletes)


def lives(commits: int, source: str) -> Iterator[Commit]:
    """Yield the commits of tasks that are created, worked on and finished, one after the other, A_DAY each day."""
    for number in range(commits // len(_LIFE)):
        now = _BEGIN + number // A_DAY * _DAY + number % A_DAY * 5000
        before = None
        for state in _LIFE:
            now += 1000
            after = task(number, state, now)
            yield change(before, after, now, source)
            before = after


def make(place: Path, commits: int, closed: int) -> int:
    """Make a repository whose state branch has so many commits; return how many tasks ended on the way."""
    run = {"cwd": place, "check": True, "env": {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}}
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(place)], check=True)
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    (place / "BACKLOG.md").write_text("# Backlog\n")
    subprocess.run(["git", "add", "--all"], **run)
    subprocess.run(["git", *identity, "commit", "--quiet", "-m", "first"], **run)
    store = GitStore(find_repo(place))
    source = git("rev-parse", "HEAD", cwd=place).decode().strip()
    epoch = [("Agentcom-Source", source), ("Agentcom-Epoch", "3/h-7c2qk9wd")]
    files = dict(HUB_ATTRIBUTES)
    files["status/hub.yaml"] = b"source: refs/heads/main\n"
    for number in range(OPEN):
        files.update(layout.files_of(task(0x20000000 + number, State.QUEUED, _BEGIN)))
    for number in range(closed):
        long_ago = _BEGIN - (1 + number // A_DAY) * _DAY
        files.update(layout.files_of(task(0x10000000 + number, State.DONE, long_ago)))
    store.flush((Commit(compose("hub: claim", "", epoch), _WHO, _BEGIN, files, (), source),))
    batch: list[Commit] = []
    for commit in lives(commits, source):
        batch.append(commit)
        if len(batch) == BATCH:
            store.flush(tuple(batch))
            batch = []
    if batch:
        store.flush(tuple(batch))
    return commits // len(_LIFE)


@dataclass(frozen=True, order=True)
class Taken:
    """Seconds that a process took: on the clock, and of processors, its children's included."""

    wall: float
    cpu: float


def timed(argv: list[str], place: Path) -> Taken:
    """Run a process to its end."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        argv, cwd=place, env=hub_env(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Taken(time.perf_counter() - begin, used.ru_utime + used.ru_stime)


def agentcom(*words: str) -> list[str]:
    return [sys.executable, "-m", "coordinator", *words]


def measure(place: Path, asked: Mapping[str, str], filters: str, rounds: int) -> list[dict[str, Any]]:
    """Let both take turns over tasks, ids by what they are; return the figures of each."""
    rows = []
    for what, name in asked.items():
        ours, gits = agentcom("log", name), ["git", "log", "--oneline", STATE_REF, "--", f"status/open/{name}.yaml"]
        pairs = [(timed(ours, place), timed(gits, place)) for _ in range(rounds)]
        log, yardstick = (min(column) for column in zip(*pairs, strict=True))
        rows.append(
            {
                "filters": filters,
                "task": what,
                "log_s": round(log.wall, 3),
                "log_cpu_s": round(log.cpu, 3),
                "git_log_s": round(yardstick.wall, 3),
                "ratio_log_vs_git_log": round(log.wall / yardstick.wall, 2),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="as many commits, a tenth of the closed tasks, few rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    closed, rounds = (CLOSED // 10, 4) if options.quick else (CLOSED, 15)
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=Path.cwd()) as temporary:
        place = Path(temporary) / "repo"
        place.mkdir()
        begin = time.perf_counter()
        finished = make(place, COMMITS, closed)
        print(f"{COMMITS:,} commits, {OPEN:,} open and {closed + finished:,} closed tasks", end="", flush=True)
        print(f" (made in {time.perf_counter() - begin:.0f} s)\n")
        asked = {
            "closed long ago": f"t-{10:08x}",
            "closed lately": f"t-{finished - 2:08x}",
            "open, one commit": f"t-{0x20000000:08x}",
            "no such task": "t-zzzzzzzz",
        }
        first = dict(list(asked.items())[: 1 if options.quick else None])
        rows = measure(place, first, "none", 1 if options.quick else 3)
        begin = time.perf_counter()
        git("commit-graph", "write", "--reachable", "--split", "--changed-paths", git_dir=place / ".git", timeout=600)
        graph_s = time.perf_counter() - begin
        rows += measure(place, asked, "changed paths", rounds)
        others = {
            "start of agentcom alone": agentcom("--version"),
            "agentcom log, 50 commits": agentcom("log"),
            "agentcom task show, closed long ago": agentcom("task", "show", f"t-{10:08x}"),
        }
        beside = {what: round(min(timed(argv, place).wall for _ in range(3)), 3) for what, argv in others.items()}
    print(f"{'filters':<14}  {'task':<17}  {'agentcom log':>12}  {'processor':>10}  {'git log -- PATH':>15}  ratio")
    for row in rows:
        print(
            f"{row['filters']:<14}  {row['task']:<17}  {row['log_s']:>10.3f} s  {row['log_cpu_s']:>8.3f} s  "
            f"{row['git_log_s']:>13.3f} s  "
            f"{row['ratio_log_vs_git_log']:>5.2f}"
        )
    print()
    for what, seconds in beside.items():
        print(f"{what:<36}  {seconds:.3f} s")
    slowest = max(row["log_s"] for row in rows if row["filters"] != "none")
    print(f"\nthe filters took {graph_s:.1f} s to write; then a history takes {slowest:.3f} s at most (aim: {AIM_S} s)")
    if options.json:
        ratio = max(row["ratio_log_vs_git_log"] for row in rows if row["filters"] != "none")
        said = {"rows": rows, "beside": beside, "slowest_s": slowest, "ratio_log_vs_git_log": ratio, "aim_s": AIM_S}
        options.json.write_text(json.dumps({**said, "commits": COMMITS, "closed": closed + finished}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

"""What a durable commit on the state branch costs: the pack engine, the plain engine, and ``git commit``.

The yardstick is what a person or a script would do: ``git add`` and ``git commit`` of one changed file, as git ships,
which syncs nothing to disk. Both engines answer only when objects, ref and folders are fsynced. Every commit changes
one status file of about 1 KB among ``open`` ones. The writers take turns, so that a busy moment hits all of them, and
the disk is brought to rest before each turn, so that nobody pays for what another one left unsynced. Repositories are
made in the folder in which this is started, because /tmp is often no disk.

    python -m benchmarks.journal [--quick] [--json FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coordinator.git.journal import HUB_ATTRIBUTES, Engine, GitStore
from coordinator.git.message import compose
from coordinator.git.repo import find_repo
from coordinator.git.run import hub_env
from coordinator.ports import Author, Commit

#: Durable commits per second that the pack engine should reach singly, and 100 at a time.
AIM_SINGLY, AIM_TOGETHER = 200, 4_000
OPEN = 1_000
BATCHES = (1, 12, 50, 100)
TURNS = 5
_WHO = Author("loash", "loash@agents.agentcom.invalid")
_PERSON = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def status_file(task: int, number: int) -> bytes:
    """Return a status file of about 1 KB, the ``number``-th version of it."""
    head = f"schema_version: 1\nid: t-{task:08x}\nstatus: working\ngeneration: {number}\nassigned_to: loash\nhistory:\n"
    rows = (
        f"  - {{generation: {past}, agent: a-{(task * 7 + past) % 13}, end: failed, ended: 2026-11-2{past}T10:00Z}}\n"
        for past in range(9)
    )
    return (head + "".join(rows) + f"updated_at: 2026-11-22T10:{number % 60:02}:{task % 60:02}Z\n").encode()


def path_of(task: int) -> str:
    return f"status/open/t-{task:08x}.yaml"


def record(task: int, number: int) -> Commit:
    """Return one commit as the hub makes it for one change of one task."""
    trailers = [
        ("Agentcom-Task", f"t-{task:08x}"),
        ("Agentcom-Event", "started"),
        ("Agentcom-Generation", str(number)),
        ("Agentcom-Agent", "loash"),
        ("Agentcom-Epoch", "3/h-7c2qk9wd"),
    ]
    message = compose(f"t-{task:08x}: assigned -> working (loash)", "", trailers)
    return Commit(message, _WHO, 1_764_000_000_000 + number, {path_of(task): status_file(task, number)})


class Bench:
    """One repository with ``count`` open tasks, and the seconds that each flush in it took."""

    def __init__(self, place: Path, count: int) -> None:
        self.path = place
        self.count = count
        self.number = 0
        self.taken: list[float] = []
        self.commits = 0
        subprocess.run(["git", "init", "--quiet", str(place)], check=True, env={**os.environ, **_PERSON})
        for key, value in {"user.name": "Ada", "user.email": "ada@example.org", "gc.auto": "0"}.items():
            subprocess.run(["git", "config", key, value], cwd=place, check=True)

    @property
    def size(self) -> int:
        """Bytes of everything in the object store."""
        return sum(path.stat().st_size for path in (self.path / ".git/objects").rglob("*") if path.is_file())

    def next(self) -> tuple[int, int]:
        """Return a task, and how many versions there were before."""
        self.number += 1
        return (self.number * 7919) % self.count, self.number

    def timed(self, write: Callable[[], object], commits: int) -> None:
        begin = time.perf_counter()
        write()
        self.taken.append(time.perf_counter() - begin)
        self.commits += commits


class StoreBench(Bench):
    """A repository written by one of the engines."""

    def __init__(self, place: Path, count: int, engine: Engine) -> None:
        super().__init__(place, count)
        self.store = GitStore(find_repo(place), engine=engine)
        files = {path_of(task): status_file(task, 0) for task in range(count)}
        first = compose("hub: claim", "", [("Agentcom-Epoch", "3/h-7c2qk9wd")])
        self.store.flush((Commit(first, _WHO, 0, {**HUB_ATTRIBUTES, **files}),))
        self.store.flush((record(*self.next()),))  # what is done once is not what a commit costs
        self.before = self.size

    def flush(self, batch: int) -> None:
        commits = tuple(record(*self.next()) for _ in range(batch))
        self.timed(lambda: self.store.flush(commits), batch)


class PersonBench(Bench):
    """A repository written by ``git add`` and ``git commit`` in a work tree."""

    def __init__(self, place: Path, count: int) -> None:
        super().__init__(place, count)
        (place / "status/open").mkdir(parents=True)
        for task in range(count):
            (place / path_of(task)).write_bytes(status_file(task, 0))
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", "first")
        self.before = self.size

    def git(self, *argv: str) -> None:
        subprocess.run(["git", *argv], cwd=self.path, check=True, env={**hub_env(), **_PERSON})

    def flush(self, batch: int) -> None:
        for _ in range(batch):
            task, number = self.next()

            def write(task: int = task, number: int = number) -> None:
                (self.path / path_of(task)).write_bytes(status_file(task, number))
                self.git("add", "--", path_of(task))
                self.git("commit", "--quiet", "-m", f"t-{task:08x}: assigned -> working (loash)")

            self.timed(write, 1)


def figures(name: str, bench: StoreBench | PersonBench, batch: int) -> dict[str, Any]:
    """Return what was measured of one writer, times in milliseconds per flush."""
    taken = sorted(bench.taken)
    return {
        "writer": name,
        "open": bench.count,
        "batch": batch,
        "flushes": len(taken),
        "commits_per_s": round(bench.commits / sum(taken), 1),
        "flush_ms_p50": round(statistics.median(taken) * 1e3, 2),
        "flush_ms_p99": round(taken[min(len(taken) - 1, int(len(taken) * 0.99))] * 1e3, 2),
        "bytes_per_commit": round((bench.size - bench.before) / bench.commits),
    }


def measure(place: Path, count: int, batch: int, flushes: int, *, person: bool) -> list[dict[str, Any]]:
    """Let the writers take turns; return the figures of each."""
    benches: dict[str, StoreBench | PersonBench] = {
        "pack": StoreBench(place / "pack", count, "pack"),
        "plain": StoreBench(place / "plain", count, "plain"),
    }
    if person:
        benches["git commit"] = PersonBench(place / "person", count)
    for _ in range(TURNS):
        for bench in benches.values():
            os.sync()
            for _ in range(flushes // TURNS):
                bench.flush(batch)
    return [figures(name, bench, batch) for name, bench in benches.items()]


def show(rows: list[dict[str, Any]], yardstick: float) -> None:
    """Print a table; ratios are to the commits per second of ``git commit`` with 1,000 files."""
    print(
        f"{'open':>6}  {'batch':>5}  {'writer':<10}  {'commits/s':>9}  {'ratio':>6}  {'flush p50':>10}  "
        f"{'p99':>10}  bytes/commit"
    )
    for row in rows:
        print(
            f"{row['open']:>6,}  {row['batch']:>5}  {row['writer']:<10}  {row['commits_per_s']:>9,.0f}  "
            f"{row['commits_per_s'] / yardstick:>5.1f}x  {row['flush_ms_p50']:>7.2f} ms  "
            f"{row['flush_ms_p99']:>7.2f} ms  {row['bytes_per_commit']:>12,}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer flushes, the same rows")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    scale = 1 if options.quick else 5
    batches: list[dict[str, Any]] = []
    sizes: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=Path.cwd()) as temporary:

        def place(name: str) -> Path:
            path = Path(temporary) / name
            path.mkdir()
            return path

        for batch in BATCHES:
            flushes = scale * (40 if batch == 1 else 10)
            batches += measure(place(f"batch-{batch}"), OPEN, batch, flushes, person=batch == 1)
        for count in (100, 1_000, 10_000):
            sizes += measure(place(f"open-{count}"), count, 1, scale * 20, person=False)
    yardstick = next(row["commits_per_s"] for row in batches if row["writer"] == "git commit")
    print("many commits in one flush, 1,000 open tasks")
    show(batches, yardstick)
    print("\none commit, by the number of open tasks")
    show(sizes, yardstick)
    pack = {row["batch"]: row["commits_per_s"] for row in batches if row["writer"] == "pack"}
    print(
        f"\nthe pack engine writes {pack[1]:,.0f} durable commits/s singly (aim: {AIM_SINGLY}) and "
        f"{pack[100]:,.0f} at 100 together (aim: {AIM_TOGETHER:,})"
    )
    if options.json:
        aims = {"singly": AIM_SINGLY, "together": AIM_TOGETHER}
        options.json.write_text(json.dumps({"batches": batches, "open": sizes, "aims": aims}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

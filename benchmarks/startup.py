"""How long a hub takes from its start until agents may connect, after it was killed.

Real hubs, each killed as soon as it says its address: without a snapshot, and with the one that the hub before would
have left. The yardstick is git alone reading what is there: ``git ls-tree -r`` of the hub's branch and ``git cat-file
--batch`` of every file in it. What is closed is added to the same repository between the rows. Repositories are made in
the folder in which this is started, because /tmp is often no disk.

    python -m benchmarks.startup [--quick] [--json FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coordinator import snapshot
from coordinator.core.machine import State
from coordinator.core.task import Attempt, End, Origin, Spec, Status, Task
from coordinator.files import layout
from coordinator.files.observe import Known, Observer
from coordinator.git.journal import HUB_ATTRIBUTES, GitStore
from coordinator.git.message import compose
from coordinator.git.repo import STATE_REF, GitSource, find_repo
from coordinator.git.run import hub_env
from coordinator.ground import Ground, survey
from coordinator.ports import Author, Commit

#: Seconds in which a hub with 10,000 open tasks should be ready, and how many times 1,000 closed 100,000 may cost.
AIM_S, AIM_RATIO = 5.0, 1.15
OPEN = 10_000
CLOSED = (1_000, 100_000)
#: So many of the last commits changed one open task each.
LAST = 60
#: So many tasks are finished on one day.
A_DAY = 500
_DAY_MS = 86_400_000
_NOW_MS = 1_790_000_000_000
_HUB = Author("AgentCom hub", "hub@agentcom.invalid")
_PERSON = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


class Bench:
    """One repository with open tasks that people wrote into ``tasks/`` or BACKLOG.md, and more and more closed ones."""

    def __init__(self, place: Path, written: str) -> None:
        self.path = place
        self.written = written
        self.closed = 0
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(place)], check=True, env=_environment())
        self.git("config", "gc.auto", "0")
        self._write_source()
        self.ground: Ground = survey(place)
        self._store = GitStore(find_repo(place))
        self._claim()

    def git(self, *argv: str, data: bytes | None = None) -> bytes:
        done = subprocess.run(
            ["git", *argv], cwd=self.path, input=data, check=True, env=_environment(), stdout=subprocess.PIPE
        )
        return done.stdout

    def _write_source(self) -> None:
        """Let one commit bring everything; git is given it whole, because adding file by file takes longest of all."""
        files: dict[str, str] = {}
        if self.written == "BACKLOG.md":
            line = "- [ ] **Write number {}** - and see whether the sum is right #sums needs:python\n"
            files["BACKLOG.md"] = "# Backlog\n\n## Ready\n\n" + "".join(map(line.format, range(OPEN)))
        else:
            words = "title: Write number {}\ndescription: |\n  Write it, and see whether\n  the sum is right.\n"
            more = "needed_capabilities: [python]\nlabels: [sums]\n"
            files = {f"tasks/w-{n:05}.yaml": words.format(n) + more for n in range(OPEN)}
        rows = [f"M 100644 inline {path}\ndata {len(text)}\n{text}\n" for path, text in files.items()]
        head = f"commit refs/heads/main\ncommitter Ada <ada@example.org> {_NOW_MS // 1000} +0000\ndata 5\nfirst\n"
        self.git("fast-import", "--quiet", data=(head + "".join(rows)).encode())

    def _claim(self) -> None:
        """Write what a hub has written by the time that it has taken all of it in."""
        tip = self.git("rev-parse", "main").decode().strip()
        observer = Observer(GitSource(self.ground.repo, self.ground.source_ref), self.ground.branch)
        seen = observer.look(tip, None, Known())
        puts = {**HUB_ATTRIBUTES, layout.BACKLOG_MAP: seen.backlog_json}
        hub_id = self.ground.place.hub_id()
        puts |= layout.hub_change({"hub_id": hub_id, "epoch": 1, "source": self.ground.source_ref})
        for spec in seen.specs.values():
            failed = Attempt(1, "loash", End.FAILED, "the table has no such row", "row 7 is missing\n" * 5)
            status = Status(State.QUEUED, 1, created_at=_NOW_MS, created_by="Ada", spec=spec.blob, attempts=(failed,))
            puts |= layout.files_of(Task(spec, status))
        self._open = [
            (path, text) for path, text in puts.items() if path.startswith(layout.OPEN) and b"attempts" in text
        ]
        trailers = [("Agentcom-Epoch", f"1/{hub_id}"), ("Agentcom-Source", tip)]
        self._store.flush((Commit(compose("hub: claim", "", trailers), _HUB, _NOW_MS, puts, source=tip),))

    def close(self, count: int) -> None:
        """Let there be ``count`` closed tasks."""
        puts: dict[str, bytes] = {}
        for n in range(self.closed, count):
            ended = _NOW_MS - n // A_DAY * _DAY_MS
            done = Attempt(1, "loash", End.DONE)
            status = Status(
                State.DONE, 1, created_at=ended, created_by="Ada", completed_at=ended, attempts=(done,), result={"n": n}
            )
            puts |= layout.files_of(Task(Spec(f"c-{n:06}", f"Write number {n}", origin=Origin.API), status))
        trailers = [("Agentcom-Epoch", f"1/{self.ground.place.hub_id()}")]
        self._store.load()
        self._store.flush((Commit(compose("hub: close", "", trailers), _HUB, _NOW_MS, puts),))
        self.closed = count
        self._work()

    def _work(self) -> None:
        """Let the last commits be changes of open tasks, as they are when a hub is killed at its work."""
        trailers = [("Agentcom-Epoch", f"1/{self.ground.place.hub_id()}")]
        for turn, (path, text) in enumerate(self._open[:LAST]):
            puts = {path: text.replace(b"generation: 1", b"generation: %d" % (2 + turn % 7), 1)}
            self._store.flush((Commit(compose("hub: work", "", trailers), _HUB, _NOW_MS, puts),))

    def start(self, *, known: bool) -> tuple[float, float]:
        """Return the seconds until a hub says its address, and those of a processor; it is killed then."""
        kept, aside = snapshot.path_of(self.ground), self.path / "aside"
        if not known:
            kept.rename(aside)
        argv = [sys.executable, "-m", "coordinator", "hub", "--repo", str(self.path), "--listen", "127.0.0.1:0"]
        begin = time.perf_counter()
        hub = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(), text=True)
        assert hub.stdout is not None
        ready = any("http://" in line for line in hub.stdout)
        taken = time.perf_counter() - begin
        hub.kill()
        _, hub.returncode, used = os.wait4(hub.pid, 0)
        if not ready:
            raise SystemExit("the hub ended before it was ready")
        if not known:
            aside.rename(kept)
        return taken, used.ru_utime + used.ru_stime

    def take(self) -> float:
        """Take a snapshot; return the seconds that took."""
        begin = time.perf_counter()
        snapshot.take(self.ground)
        return time.perf_counter() - begin

    def read_by_git(self) -> float:
        """Return the seconds that git alone needs to list and read everything on the hub's branch."""
        begin = time.perf_counter()
        rows = self.git("ls-tree", "-r", "--object-only", STATE_REF)
        self.git("cat-file", "--batch", data=rows)
        return time.perf_counter() - begin


def _environment() -> dict[str, str]:
    return {**hub_env(), **_PERSON}


def measure(bench: Bench, closed: int, starts: int) -> dict[str, Any]:
    """Return the figures of one row, of at least ``starts`` starts of each kind; they take turns."""
    bench.close(closed)
    taking = bench.take()
    cold, known, git = [], [], []
    for _ in range(starts):
        cold.append(bench.start(known=False))
        known += [bench.start(known=True) for _ in range(2)]
        git.append(bench.read_by_git())
    return {
        "open": OPEN,
        "written": bench.written,
        "closed": closed,
        "ready_cold_s": _median(taken for taken, _ in cold),
        "ready_cold_cpu_s": _median(used for _, used in cold),
        "ready_s": _median(taken for taken, _ in known),
        "ready_cpu_s": _median(used for _, used in known),
        "git_reads_s": _median(git),
        "taking_s": round(taking, 3),
        "snapshot_bytes": snapshot.path_of(bench.ground).stat().st_size,
    }


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 3)


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table; ratios are to git alone, cpu is what the hub and its git processes used."""
    print(
        f"{'open in':<10}  {'closed':>7}  {'without':>8}  {'cpu':>6}  {'with':>7}  {'cpu':>6}  {'git alone':>9}  "
        f"{'with/git':>8}     KiB"
    )
    for row in rows:
        print(
            f"{row['written']:<10}  {row['closed']:>7,}  {row['ready_cold_s']:>6.2f} s  "
            f"{row['ready_cold_cpu_s']:>4.1f} s  {row['ready_s']:>5.2f} s  {row['ready_cpu_s']:>4.1f} s  "
            f"{row['git_reads_s']:>7.2f} s  {row['ready_s'] / row['git_reads_s']:>8.2f}  "
            f"{row['snapshot_bytes'] / 1024:>6,.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="open tasks from tasks/ alone, and one start of each kind")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=Path.cwd()) as temporary:
        for written in ("tasks/",) if options.quick else ("tasks/", "BACKLOG.md"):
            place = Path(temporary) / written.strip("/")
            bench = Bench(place, written)
            rows += [measure(bench, closed, 1 if options.quick else 3) for closed in CLOSED]
    print(f"{OPEN:,} open tasks: seconds until agents may connect, without and with a snapshot")
    show(rows)
    few, many = (max(row["ready_s"] for row in rows if row["closed"] == closed) for closed in CLOSED)
    cold = max(row["ready_cold_s"] for row in rows)
    ratio = round(many / few, 3)
    used = [max(row["ready_cpu_s"] for row in rows if row["closed"] == closed) for closed in CLOSED]
    print(
        f"\nready in {many:.2f} s, without a snapshot in {cold:.2f} s (aim: {AIM_S:g}); "
        f"100,000 closed tasks cost {ratio:.2f} times as much as 1,000 (aim: {AIM_RATIO:g})"
    )
    if options.json:
        figures = {
            "starts": rows,
            "ready_s": many,
            "ready_cold_s": cold,
            "ratio_100k_vs_1k": ratio,
            "cpu_ratio_100k_vs_1k": round(used[1] / used[0], 3),
            "ratio_snapshot_vs_cold": round(many / cold, 3),
            "aims": {"ready_s": AIM_S, "ratio_100k_vs_1k": AIM_RATIO},
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

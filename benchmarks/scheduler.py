"""What it costs to pick a task for an agent, with 100 and with 100,000 tasks queued.

The yardstick, run beside it on the same memory, is the obvious way: find the first fitting task by looking at all of
them. One assignment here is the whole step of the core: an agent reports success, the next task is chosen, assigned and
recorded; nothing is written to disk.

    python -m benchmarks.scheduler [--quick] [--json FILE]
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from coordinator.core import scheduler
from coordinator.core.agent import AgentSpec, Session
from coordinator.core.events import Actor, Complete, Connected, Observed, Said, Started
from coordinator.core.policy import Lane, Policy
from coordinator.core.queue import bucket_of, order_of
from coordinator.core.reconciler import Core
from coordinator.core.task import Origin, Priority, Spec
from coordinator.core.timers import Now

#: Sets of capabilities that tasks ask for, in turn: every set is one bucket.
NEEDS = ((), ("python",), ("web",), ("python", "web"), ("rust",), ("docs",), ("python", "docs"), ("review",))
AGENTS = 8
FEATURES = frozenset({"release", "updates"})


def filled(count: int) -> tuple[Core, Now]:
    """Return a core with ``count`` queued tasks and AGENTS connected agents at work."""
    core, now = Core(), Now(1000.0, 1_800_000_000_000)
    core.handle(Started(), now)
    agents = {f"a{n}": AgentSpec(f"a{n}", where=f"agents/a{n}.yaml") for n in range(AGENTS)}
    specs = {
        f"t-{n}": Spec(
            f"t-{n}",
            f"Task {n}",
            priority=Priority(n % 4),
            needed_capabilities=NEEDS[n % len(NEEDS)],
            origin=Origin.BACKLOG,
            blob=f"{n:040x}",
        )
        for n in range(count)
    }
    places = {name: (Lane.READY, number) for number, name in enumerate(specs)}
    core.handle(Observed("c", specs, places, agents, Policy(), Actor("person", "Pat"), confirmed=True), now)
    words = tuple(sorted({word for needs in NEEDS for word in needs}))
    for name in agents:
        core.handle(Connected(name, Session(f"s-{name}", words, FEATURES, frozenset())), now)
    return core, now


def assignments(core: Core, now: Now, rounds: int) -> list[float]:
    """Let agents finish and get the next task ``rounds`` times; return the seconds of each step."""
    taken: list[float] = []
    for number in range(rounds):
        name = f"a{number % AGENTS}"
        task = core.memory.tasks[core.memory.agents[name].live.slot or ""]
        word = Said(name, f"s-{name}", Complete(task.id, task.status.generation, {"summary": "ok"}))
        begin = time.perf_counter()
        core.handle(word, now)
        taken.append(time.perf_counter() - begin)
        if core.memory.agents[name].live.slot is None:
            raise SystemExit("the queue ran dry: the benchmark is wrong")
    return taken


def scans(core: Core, rounds: int) -> list[float]:
    """Find the first fitting task by looking at every queued one; return the seconds of each search."""
    memory = core.memory
    agent = replace(memory.agents["a0"])
    taken: list[float] = []
    for _ in range(rounds):
        begin = time.perf_counter()
        fitting = [
            order_of(t) for t in memory.tasks.values() if t.id in memory.ready and scheduler.fits(agent, bucket_of(t))
        ]
        min(fitting)
        taken.append(time.perf_counter() - begin)
    return taken


def measure(count: int, rounds: int) -> dict[str, Any]:
    """Return the figures for one queue length, times in microseconds."""
    core, now = filled(count + rounds)
    assignments(core, now, min(50, rounds))
    steps = assignments(core, now, rounds - 50 if rounds > 100 else rounds)
    naive = scans(core, 5 if count > 10_000 else 20)
    return {
        "queued": count,
        "assign_us_p50": round(statistics.median(steps) * 1e6, 1),
        "assign_us_p99": round(sorted(steps)[int(len(steps) * 0.99)] * 1e6, 1),
        "scan_us_p50": round(statistics.median(naive) * 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, the same queue lengths")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    rounds = 300 if options.quick else 2000
    rows = [measure(count, rounds) for count in (100, 1_000, 10_000, 100_000)]
    print(f"{'queued >=':>9}  {'assign p50':>11}  {'assign p99':>11}  {'scan of all p50':>16}  {'scan / assign':>13}")
    for row in rows:
        ratio = row["scan_us_p50"] / row["assign_us_p50"]
        print(
            f"{row['queued']:>9}  {row['assign_us_p50']:>8.1f} us  {row['assign_us_p99']:>8.1f} us  "
            f"{row['scan_us_p50']:>13.1f} us  {ratio:>13.1f}"
        )
    growth = rows[-1]["assign_us_p50"] / rows[0]["assign_us_p50"]
    print(f"\none assignment with 100,000 queued costs {growth:.2f} x one with 100 queued")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "ratio_100k_vs_100": round(growth, 3)}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

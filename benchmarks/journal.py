"""What a durable commit on the state branch costs, alone and in the whole hub, beside what else could be done.

Four parts. Writers: both engines of the journal, ``git add`` and ``git commit``, GitPython's index, ``git fast-import``
with checkpoints, and the bare disk, with 1, 10, 100 and 1,000 changes at a time among 1,000 open files. Closed: the
same journal beside 1,000 and 100,000 finished tasks. Hub: ``agentcom hub`` with 2, 10, 50 and 200 agents that do no
work, against the bare journal with as many commits in a flush and as many open files; its repository after a repack.
Ping: a word that changes nothing, against a bare WebSocket echo.

Writers take turns, so that a busy moment hits all of them, and where some sync nothing the disk is brought to rest
before each turn, so that nobody pays for what another one left unsynced. Only ratios of one run mean much; those of
single flushes compare medians. Repositories are made in the folder in which this is started, because /tmp is often no
disk.

    python -m benchmarks.journal [--quick] [--json FILE]
"""

import argparse
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.echo import compare
from benchmarks.hubload import AGENTS, HubLoad
from benchmarks.tables import Budget, p50, p99, show
from benchmarks.writers import FileWriter, GitPythonWriter, ImportWriter, PersonWriter, StoreWriter, Writer

OPEN = 1_000
BATCHES = (1, 10, 100, 1_000)
CLOSED = (1_000, 100_000)
TURNS = 3
#: Changes at a time when the number of closed tasks is what counts: so many that the disk does not.
CLOSED_BATCH = 100
#: Seconds of a whole run.
QUICK_S, LONG_S = 24.0, 240.0
#: What should be reached, as ratios of one run; (least, most).
AIMS: Mapping[str, tuple[float | None, float | None]] = {
    "ratio_vs_git_commit_batch100": (100, None),
    "batch1_over_floor": (None, 1.3),
    "ratio_hub_vs_raw_journal": (0.55, None),
    "assign_p50_over_flush_p50": (None, 2.2),
    "assign_p99_over_p50": (None, 2.5),
    "ratio_100k_vs_1k": (None, 1.15),
    "bytes_per_transition_after_repack": (None, 1_000),
    "ping_over_bare_echo": (None, 1.3),
}

_FLUSH = {"flush_ms_p50": "flush p50 ms", "flush_ms_p99": "p99 ms", "bytes_per_commit": "bytes/commit"}


@dataclass(slots=True)
class Measured:
    """What one writer took with one size of batch, seconds per flush."""

    writer: Writer
    batch: int
    taken: list[float] = field(default_factory=list)
    size: int = 0

    @property
    def at_once(self) -> int:
        return min(self.batch, self.writer.most)

    def turn(self, seconds: float) -> None:
        """Flush until the time is up, at least once."""
        before = self.writer.size
        until = time.monotonic() + seconds
        while True:
            self.taken.append(self.writer.flush(self.at_once))
            if time.monotonic() >= until:
                break
        self.size += self.writer.size - before

    def row(self) -> dict[str, Any]:
        commits = len(self.taken) * self.at_once
        return {
            "writer": self.writer.name,
            "batch": self.batch,
            "flushes": len(self.taken),
            "commits_per_s": round(commits / sum(self.taken), 1),
            "flush_ms_p50": round(p50(self.taken) * 1e3, 3),
            "flush_ms_p99": round(p99(self.taken) * 1e3, 3),
            "bytes_per_commit": round(self.size / commits),
        }


def take_turns(
    writers: Sequence[Writer],
    batch: int,
    seconds: float,
    turns: int = TURNS,
    rest: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Let the writers take turns for about so many seconds together; return the figures of each.

    ``rest`` is called before each turn.
    """
    measured = [Measured(writer, batch) for writer in writers]
    share = seconds / len(measured)
    for turn in range(turns):
        for one in measured:
            if not turn or sum(one.taken) < share:  # one flush of a slow writer may take more than its share
                rest()
                one.turn(share / turns)
    return [one.row() for one in measured]


def measure_writers(place: Path, budget: Budget) -> list[dict[str, Any]]:
    """Return the figures of every writer with every size of batch."""
    with contextlib.ExitStack() as stack:
        writers: list[Writer] = [
            StoreWriter(place / "pack", OPEN),
            StoreWriter(place / "plain", OPEN, "plain"),
            PersonWriter(place / "person", OPEN),
            GitPythonWriter(place / "gitpython", OPEN),
            ImportWriter(place / "import", OPEN),
            FileWriter(place / "files"),
        ]
        for writer in writers:
            stack.callback(writer.close)
        return [row for batch in BATCHES for row in take_turns(writers, batch, budget.part(0.06), rest=os.sync)]


def measure_closed(place: Path, budget: Budget) -> list[dict[str, Any]]:
    """Return the figures of the journal beside few and many finished tasks."""
    stores: list[Writer] = [StoreWriter(place / f"closed-{count}", OPEN, closed=count) for count in CLOSED]
    rows = take_turns(stores, CLOSED_BATCH, budget.part(0.08), turns=5 * TURNS)
    return [{"closed": count, **row} for count, row in zip(CLOSED, rows, strict=True)]


def measure_hub(place: Path, budget: Budget) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the figures of the hub by number of agents, each beside the bare journal, and single figures."""
    rows = []
    with contextlib.closing(HubLoad(place / "hub")) as hub:
        for agents in AGENTS:
            row = hub.round(agents, max(1.0, budget.part(0.05)))
            raw: list[Writer] = [StoreWriter(place / f"raw-{agents}", max(1, row["open"]))]
            (beside,) = take_turns(raw, max(1, round(row["batch"])), budget.part(0.01))
            ratio = round(row["transitions_per_s"] / beside["commits_per_s"], 3)
            rows.append({**row, "journal_per_s": beside["commits_per_s"], "ratio_to_journal": ratio})
        single = compare(hub.url, *hub.idler(), budget.part(0.03))
        single["bytes_per_transition_after_repack"] = hub.bytes_per_transition()
    return rows, single


def ratios(
    writers: list[dict[str, Any]], closed: list[dict[str, Any]], hub: list[dict[str, Any]], single: Mapping[str, float]
) -> dict[str, float]:
    """Return what can be compared between machines."""

    def of(writer: str, batch: int) -> dict[str, Any]:
        return next(row for row in writers if (row["writer"], row["batch"]) == (writer, batch))

    fifty = next(row for row in hub if row["agents"] == 50)
    few, many = closed
    floor_ms = 5 * of("raw fsync", 1)["flush_ms_p50"] + 2
    return {
        "ratio_vs_git_commit_batch100": round(
            100 * of("git commit", 100)["flush_ms_p50"] / of("pack", 100)["flush_ms_p50"], 1
        ),
        "batch1_over_floor": round(of("pack", 1)["flush_ms_p50"] / floor_ms, 3),
        "ratio_hub_vs_raw_journal": min(row["ratio_to_journal"] for row in hub),
        "assign_p50_over_flush_p50": round(fifty["assign_ms_p50"] / fifty["flush_ms_p50"], 2),
        "assign_p99_over_p50": round(fifty["assign_ms_p99"] / fifty["assign_ms_p50"], 2),
        "ratio_100k_vs_1k": round(many["flush_ms_p50"] / few["flush_ms_p50"], 3),
        "bytes_per_transition_after_repack": single["bytes_per_transition_after_repack"],
        "ping_over_bare_echo": round(single["ping_ms"] / single["bare_echo_ms"], 3),
    }


def reached(name: str, value: float) -> bool:
    """Tell whether a ratio is what it should be."""
    least, most = AIMS[name]
    return (least is None or value >= least) and (most is None or value <= most)


def tell(writers: list[dict[str, Any]], closed: list[dict[str, Any]], hub: list[dict[str, Any]]) -> None:
    """Print the tables."""
    beside = {row["batch"]: row["commits_per_s"] for row in writers if row["writer"] == "git commit"}
    _tell(
        "changes in one flush, 1,000 open tasks (git commit and GitPython: one by one, and not durable)",
        [{**row, "ratio": row["commits_per_s"] / beside[row["batch"]]} for row in writers],
        {"batch": "batch", "writer": "writer", "commits_per_s": "commits/s", "ratio": "x git commit", **_FLUSH},
    )
    _tell(
        f"{CLOSED_BATCH} changes in one flush, by finished tasks",
        closed,
        {"closed": "closed tasks", "commits_per_s": "commits/s", **_FLUSH},
    )
    heads = {"agents": "agents", "tasks_per_s": "tasks/s", "transitions_per_s": "transitions/s", "batch": "a flush"}
    heads |= {"journal_per_s": "bare journal/s", "ratio_to_journal": "ratio", "flush_ms_p50": "flush p50 ms"}
    heads |= {"assign_ms_p50": "assign p50 ms", "assign_ms_p99": "p99 ms", "open": "open files"}
    _tell("the whole hub, agents that do no work", hub, heads)


def _tell(title: str, rows: list[dict[str, Any]], heads: Mapping[str, str]) -> None:
    show(title, list(heads.values()), [[row[key] for key in heads] for row in rows])


def tell_ratios(found: Mapping[str, float]) -> None:
    """Print the ratios beside what they should be."""
    rows = []
    for name, value in found.items():
        least, most = AIMS[name]
        aim = f">= {least:g}" if least is not None else f"<= {most:g}"
        rows.append((name, value, aim, "" if reached(name, value) else "missed"))
    show("ratios of this run", ("ratio", "value", "aim", ""), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the same in less than a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    budget = Budget(QUICK_S if options.quick else LONG_S)
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=Path.cwd()) as temporary:
        place = Path(temporary)
        writers = measure_writers(place, budget)
        closed = measure_closed(place, budget)
        hub, single = measure_hub(place, budget)
    found = ratios(writers, closed, hub, single)
    tell(writers, closed, hub)
    tell_ratios(found)
    if options.json:
        said = {**found, "writers": writers, "closed": closed, "hub": hub, **single, "aims": AIMS}
        options.json.write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()

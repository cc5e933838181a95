"""What the guarded reading of YAML costs, beside PyYAML's own loader on the same files.

The yardstick is ``yaml.load`` with ``CSafeLoader``, the fastest loader that PyYAML has: it knows no limits, no places
and no schema. Both read the same task files, as people write them, in turn; the best of several rounds counts. A ratio
of 1 means the same speed, 0.5 half of it.

    python -m benchmarks.yaml [--quick] [--json FILE]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from coordinator.core.task import Spec
from coordinator.files import guard, loader

#: The least that ``guard.load`` should reach, as a ratio to the speed of the yardstick.
AIM = 0.6
PATH = "tasks/t-1.yaml"
_SENTENCE = "the parser reads one line, and what it does not understand is reported with its place"
_GREEK = "ο αναγνώστης διαβάζει μία γραμμή, και ό,τι δεν καταλαβαίνει το αναφέρει με τη θέση του"
_SHORT = """\
title: Write the number 7 to test-output-7.txt
description: One line, nothing else.
priority: high
needed_capabilities: [python]
"""
_HEAD = """\
title: Port the parser to the new reader
priority: high                     # the release waits for it
needed_capabilities:
  - python
  - review
depends_on: [t-a1b2c3d4, t-k3m9q2xa]
assignee: loash
max_retries: 2
timeout: 30m
not_before: 2026-11-30T08:00:00Z
deadline: 2026-12-01
review: required
repo: app
base: main
kind: code
labels: [parser, "release 2"]
metadata:
  ticket: APP-7
  estimate: 3
  reviewers: [ada, grace]
x-team: readers
hold: false
description: |
"""


def task_file(lines: int, criteria: int, sentence: str = _SENTENCE) -> bytes:
    """Return a task file with every usual key, so many lines of description and so many acceptance criteria."""
    text = _HEAD + "".join(f"  {number}. {sentence}\n" for number in range(1, lines + 1))
    text += "acceptance:\n" + "".join(f"  - rule {number}, {sentence}\n" for number in range(1, criteria + 1))
    return text.encode()


FILES = {
    "a few keys": _SHORT.encode(),
    "every key": task_file(3, 2),
    "a page of text": task_file(40, 10),
    "a page of Greek": task_file(40, 10, _GREEK),
    "many criteria": task_file(100, 1_000),
    "as long as allowed": task_file(1_300, 300),
}


def best(readers: dict[str, Callable[[], object]], rounds: int, repeat: int) -> dict[str, float]:
    """Return the best seconds per call of each reader; they take turns, so that a busy moment hits all of them."""
    least = dict.fromkeys(readers, float("inf"))
    for _ in range(rounds):
        for name, read in readers.items():
            begin = time.perf_counter()
            for _ in range(repeat):
                read()
            least[name] = min(least[name], (time.perf_counter() - begin) / repeat)
    return least


def measure(name: str, data: bytes, rounds: int) -> dict[str, Any]:
    """Return the figures for one file, times in microseconds."""
    spec = loader.load_task(PATH, data, "")
    if not isinstance(spec, Spec):
        raise SystemExit(f"{name}: {spec[0]}: the benchmark is wrong")
    readers: dict[str, Callable[[], object]] = {
        "yardstick": lambda: yaml.load(data, yaml.CSafeLoader),
        "guard": lambda: guard.load(data),
        "task": lambda: loader.load_task(PATH, data, ""),
    }
    least = best(readers, rounds, repeat=max(1, 20_000 // len(data)))
    return {
        "file": name,
        "bytes": len(data),
        **{f"{reader}_us": round(seconds * 1e6, 1) for reader, seconds in least.items()},
        "guard_ratio": round(least["yardstick"] / least["guard"], 3),
        "task_ratio": round(least["yardstick"] / least["task"], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, the same files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    if not guard.FAST:
        raise SystemExit("PyYAML came without libyaml: there is no C loader to compare with")
    rows = [measure(name, data, 25 if options.quick else 150) for name, data in FILES.items()]
    print(
        f"{'file':<18}  {'bytes':>7}  {'CSafeLoader':>12}  {'guard.load':>12}  {'ratio':>5}  {'as a task':>12}  ratio"
    )
    for row in rows:
        print(
            f"{row['file']:<18}  {row['bytes']:>7,}  {row['yardstick_us']:>9,.0f} us  {row['guard_us']:>9,.0f} us  "
            f"{row['guard_ratio']:>5.2f}  {row['task_us']:>9,.0f} us  {row['task_ratio']:>5.2f}"
        )
    least = min(row["guard_ratio"] for row in rows)
    print(f"\nguard.load has at least {least:.2f} x the speed of CSafeLoader (aim: {AIM})")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "least_guard_ratio": least, "aim": AIM}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

"""What it costs to compile a long BACKLOG.md after an edit of one line, and after it was written anew from end to end.

Measured is one look of the hub: ``Observer.look`` over a source in memory, that is reading the Markdown, carrying the
ids forward and building every specification. Two yardsticks run beside it on the same texts: markdown-it-py parsing the
new version and nothing else, and difflib over the lines of both versions, which is what matching lines costs without
any meaning. They take turns, the best of several rounds counts. A ratio of 1 means as much time as the yardstick.

    python -m benchmarks.backlog [--quick] [--json FILE]
"""

import argparse
import difflib
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from benchmarks.yaml import best
from coordinator.files.observe import Known, Observer
from coordinator.memory import MemorySource

#: Items of the backlog -> the most seconds that each edit may take; the longer one is for information.
AIMS: dict[int, dict[str, float]] = {2_000: {"one line changed": 1.0, "written anew": 5.0}, 10_000: {}}
#: So many lines get another title too when everything is written anew: as many as are compared for similar ones.
REWORDED = 100
WIDTHS = (6, 16, 5, 8, 8, 4, 14, 5, 8, 6)
VERBS = "Fix Write Move Test Drop Port Review Measure Explain Speed".split()
THINGS = ("the login", "the parser", "the page about files", "a slow test", "the old wire", "the queue", "an example")


def items(count: int) -> list[tuple[str, str]]:
    """Return first line and the lines below it of so many items."""
    chance = random.Random(7)
    made = []
    for n in range(count):
        title = f"{chance.choice(VERBS)} {chance.choice(THINGS)} {n}"
        words = f"#area-{n % 7} !{('urgent', 'high', 'normal', 'low')[n % 4]} needs:python"
        made.append((f"**{title}** - what it is about, in a few words {words}", "More about it.\n  - [ ] it works"))
    return made


def written(lines: list[tuple[str, str]], headings: tuple[str, ...], bullet: str, below: str) -> str:
    """Return a BACKLOG.md with as many items under each heading."""
    each = -(-len(lines) // len(headings))
    text = "# Backlog\n"
    for number, heading in enumerate(headings):
        here = lines[number * each : (number + 1) * each]
        text += f"\n## {heading}\n\n" + "".join(f"{bullet}{first}\n{below}{rest}\n" for first, rest in here)
    return text


def edits(count: int) -> dict[str, tuple[str, str]]:
    """Return each edit as the text before and after it."""
    lines = items(count)
    before = written(lines, ("Inbox", "Ready", "Someday"), "- [ ] ", "  ")
    one = list(lines)
    one[count // 2] = ("**Something else altogether** - in other words", lines[count // 2][1])
    anew = [(first.replace("**", "__"), rest.replace("- [ ]", "* [ ]")) for first, rest in lines]
    random.Random(8).shuffle(anew)
    for n in range(REWORDED):
        first, rest = anew[n * count // REWORDED]
        anew[n * count // REWORDED] = (first.replace("__ - ", " soon__ - "), rest)
    return {
        "one line changed": (before, written(one, ("Inbox", "Ready", "Someday"), "- [ ] ", "  ")),
        "written anew": (before, written(anew, ("To do", "Later", "Ideas"), "* ", "\n  ")),
    }


def measure(count: int, name: str, before: str, after: str, rounds: int) -> dict[str, Any]:
    """Return the figures of one edit, times in seconds."""
    source = MemorySource()
    first, second = (source.commit({"BACKLOG.md": text.encode()}) for text in (before, after))
    observers = [Observer(source, "main") for _ in range(rounds + 1)]
    *_, seen = (observer.look(first, None, Known()) for observer in observers)
    known = Known(used=frozenset(seen.specs), specs=seen.specs, backlog=seen.backlog)
    now = observers.pop().look(second, first, known)
    stayed = {entry.id for entry in seen.backlog.entries} & {entry.id for entry in now.backlog.entries}
    if len(stayed) < count - REWORDED or len(now.backlog.entries) != count:
        raise SystemExit(f"{name}: {len(stayed)} of {count} items kept their id: the benchmark is wrong")
    old, new = before.splitlines(), after.splitlines()
    readers: dict[str, Callable[[], object]] = {
        "look": lambda: observers.pop().look(second, first, known),
        "markdown_it": lambda: MarkdownIt("commonmark").parse(after),
        "difflib": lambda: list(difflib.unified_diff(old, new)),
    }
    least = best(readers, rounds, repeat=1)
    return {
        "items": count,
        "edit": name,
        "bytes": len(after.encode()),
        "kept": len(stayed),
        **{f"{reader}_s": round(seconds, 4) for reader, seconds in least.items()},
        "to_markdown_it": round(least["look"] / least["markdown_it"], 2),
        "to_difflib": round(least["look"] / least["difflib"], 2),
        "aim_s": AIMS[count].get(name),
    }


def _row(cells: list[str]) -> str:
    """Return one line of the table."""
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, the same files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    rows = []
    print(_row("items|edit|KiB|ids kept|one look|aim|markdown-it-py|ratio|difflib|ratio".split("|")))
    for count, aims in AIMS.items():
        for name, (before, after) in edits(count).items():
            rounds = (3 if options.quick else 9) if aims else (1 if options.quick else 3)
            row = measure(count, name, before, after, rounds)
            rows.append(row)
            print(
                _row(
                    [
                        f"{count:,}",
                        name,
                        f"{row['bytes'] // 1024:,}",
                        f"{row['kept']:,}",
                        f"{row['look_s']:.2f} s",
                        f"{row['aim_s']:.0f} s" if row["aim_s"] else "-",
                        f"{row['markdown_it_s']:.2f} s",
                        f"{row['to_markdown_it']:.2f}",
                        f"{row['difflib_s']:.3f} s",
                        f"{row['to_difflib']:.1f}",
                    ]
                ),
                flush=True,
            )
    missed = [row for row in rows if row["aim_s"] and row["look_s"] > row["aim_s"]]
    print(f"\n{len(missed)} of the aims were missed" if missed else "\nevery aim was reached")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

"""How long ``agentcom-git`` takes in a repository of 20,000 files, against git alone doing the least of it.

Whole processes, medians. The base has moved and is not here yet when a task is started by fetching; otherwise it was
fetched before. Modules are compiled before the first turn counts, as they are where the package is installed.
Everything is made in the folder in which this is started, because /tmp is often no disk; --in names another one, such
as /dev/shm where the disk is shared with others.

    python -m benchmarks.gitflow [--quick] [--in DIR] [--json FILE]
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

FILES = 20_000
#: Seconds in which a task is started once its base is fetched, and in which a command without network ends.
START_AIM_S, LOCAL_AIM_S = 2.0, 0.15


class Bench:
    """A bare origin, a clone, and a work tree in it."""

    def __init__(self, folder: Path) -> None:
        self._cache = folder / "compiled"
        self.origin, self.clone = folder / "origin.git", folder / "clone"
        self._run(folder, "git", "init", "--quiet", "--bare", "-b", "main", str(self.origin))
        self._import("first", "".join(_file(f"src/{n % 200:03}/{n:05}.txt", f"{n}\n" * 20) for n in range(FILES)))
        self._run(folder, "git", "clone", "--quiet", str(self.origin), str(self.clone))
        self._turn = 0

    def move(self) -> None:
        """Let main get one commit."""
        self._turn += 1
        self._import("moved", _file("moved.txt", f"{self._turn}\n"), parent=True)

    def fetch(self) -> None:
        self._run(self.clone, "git", "fetch", "--quiet", "origin", "main")

    def started(self) -> Path:
        """Start a task; return its work tree."""
        self._turn += 1
        task = json.dumps({"task_id": f"t-{self._turn}", "title": "Measure"})
        out = self._agentcom(self.clone, "start-task", "--task", "-", "--json", data=task)
        return Path(json.loads(out)["path"])

    def added(self) -> Path:
        """Make a work tree with git alone, from what is fetched."""
        self._turn += 1
        path = self.clone.parent / f"plain-{self._turn}"
        self._run(
            self.clone,
            *("git", "worktree", "add", "--quiet", "--no-track", "-b", f"p-{self._turn}"),
            str(path),
            "origin/main",
        )
        return path

    def remove(self, path: Path) -> None:
        self._run(self.clone, "git", "worktree", "remove", "--force", str(path))

    def agentcom(self, at: Path, *argv: str) -> None:
        self._agentcom(at, *argv)

    def git(self, at: Path, *argv: str) -> None:
        self._run(at, "git", *argv)

    def _agentcom(self, at: Path, *argv: str, data: str = "") -> bytes:
        return self._run(at, sys.executable, "-m", "sidecar.gitflow.command", *argv, data=data.encode())

    def _import(self, subject: str, rows: str, *, parent: bool = False) -> None:
        at = "from refs/heads/main^0\n" if parent else ""
        head = f"commit refs/heads/main\ncommitter Ada <ada@example.org> {1_790_000_000} +0000\n"
        text = f"{head}data {len(subject)}\n{subject}\n{at}{rows}"
        self._run(self.origin, "git", "fast-import", "--quiet", data=text.encode())

    def _run(self, at: Path, *argv: str, data: bytes = b"") -> bytes:
        done = subprocess.run(
            list(argv), cwd=at, input=data, check=True, capture_output=True, env=_environment(self._cache)
        )
        return done.stdout


def _file(path: str, text: str) -> str:
    return f"M 100644 inline {path}\ndata {len(text)}\n{text}\n"


def _environment(cache: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    here = str(Path(__file__).resolve().parents[1])
    ours = {"AGENTCOM_AGENT": "loash", "PYTHONPATH": here, "PYTHONPYCACHEPREFIX": str(cache)}
    return {**kept, **ours, "GIT_CONFIG_GLOBAL": os.devnull}


def _timed(run: Callable[[], Any], after: Callable[[Any], None] | None = None) -> float:
    begin = time.perf_counter()
    result = run()
    taken = time.perf_counter() - begin
    if after is not None:
        after(result)
    return taken


def measure(bench: Bench, turns: int) -> list[dict[str, Any]]:
    """Return one row for each command; ours and git's take turns."""
    rows: list[dict[str, Any]] = []
    bench.remove(bench.started())

    def row(name: str, aim: float | None, ours: Callable[[], float], plain: Callable[[], float]) -> None:
        pairs = [(ours(), plain()) for _ in range(turns)]
        mine, git = (statistics.median(values) for values in zip(*pairs, strict=True))
        rows.append(
            {"name": name, "s": round(mine, 3), "git_s": round(git, 3), "ratio": round(mine / git, 2), "aim_s": aim}
        )

    def fetching(make: Callable[[], Path]) -> Callable[[], float]:
        def one() -> float:
            bench.move()
            return _timed(make, bench.remove)

        return one

    def plain_start() -> Path:
        bench.fetch()
        return bench.added()

    row("start-task, with its fetch", None, fetching(bench.started), fetching(plain_start))
    bench.fetch()
    row(
        "start-task, after the fetch",
        START_AIM_S,
        lambda: _timed(bench.started, bench.remove),
        lambda: _timed(bench.added, bench.remove),
    )
    work = bench.started()
    bench.agentcom(work, "status")
    status = ("status", "--porcelain=v2", "--branch")
    for name, aim, argv in (
        ("status --offline", LOCAL_AIM_S, ("status", "--offline")),
        ("status --all", LOCAL_AIM_S, ("status", "--all")),
        ("status, asking the remote", None, ("status",)),
    ):
        row(
            name,
            aim,
            lambda argv=argv: _timed(lambda: bench.agentcom(work, *argv)),
            lambda: _timed(lambda: bench.git(work, *status)),
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three turns of each instead of nine")
    parser.add_argument("--in", type=Path, default=Path.cwd(), dest="folder", metavar="DIR", help="make it all there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=options.folder) as temporary:
        rows = measure(Bench(Path(temporary)), 3 if options.quick else 9)
    print(f"{FILES:,} files: seconds of a whole process; git alone: worktree add (and fetch), status")
    print(f"{'command':<28}  {'seconds':>8}  {'git alone':>9}  {'ratio':>6}  {'aim':>6}")
    for row in rows:
        aim = "" if row["aim_s"] is None else f"{row['aim_s']:g}"
        print(f"{row['name']:<28}  {row['s']:>8.3f}  {row['git_s']:>9.3f}  {row['ratio']:>6.2f}  {aim:>6}")
    if options.json:
        options.json.write_text(json.dumps({"files": FILES, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

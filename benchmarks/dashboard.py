"""What the dashboard costs: each page with 5,000 tasks, and what 200 open pages do to the work of the hub.

One real ``agentcom hub`` on loopback; 5,000 tasks wait that nobody can do, others are done by agents that do no work.
The time of a page runs from the request to its last byte; each is asked for while agents work, so that it is made anew,
and again in peace. Assignment is counted by the agents, from a result sent to the next task received, in turns without
a page and with 200 open first pages. With playwright and a Chromium at hand the first paint is measured too.

    python -m benchmarks.dashboard [--quick] [--json FILE]
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event, Thread
from typing import Any

from benchmarks.tables import p50, p99, show
from benchmarks.writers import pipes
from coordinator.demo.stage import Stage
from coordinator.place import new_token
from coordinator.reading import HubUnreachable
from coordinator.web.auth import digest

#: Tasks that nobody can do, and how many of the others are there for each round.
WAITING, WORK, WORK_QUICK = 5_000, 4_000, 2_000
AGENTS = 10
STREAMS = 200
ROUNDS, ROUNDS_QUICK = 3, 2
#: Seconds of one round, and how often each page is asked for in peace.
ROUND_S, ROUND_QUICK_S = 8.0, 4.0
TIMES, TIMES_QUICK = 200, 60
PAGES = (
    "/dashboard",
    "/dashboard/tasks",
    "/dashboard/tasks?q=wait&sort=title&page=40",
    "/dashboard/task/w-0007",
    "/dashboard/agents",
    "/dashboard/backlog",
    "/dashboard/activity",
    "/dashboard/problems",
)
#: How long anything may take, in seconds.
PATIENCE_S = 300.0
_PAINTS = "performance.getEntriesByName('first-contentful-paint').map(one => one.startTime)"
AIM_PAGE_MS = 50.0
AIM_PAINT_MS = 300.0
AIM_ASSIGNMENT = 1.15


class Hub:
    """One hub with its tasks and agents; ``close`` ends it."""

    def __init__(self, folder: Path) -> None:
        self._stage = Stage(folder, policy="")
        self._stage.open()
        self._tokens = {f"a-{number:02}": new_token() for number in range(AGENTS)}
        self._made = 0
        for name, token in self._tokens.items():
            text = f"capabilities: [python]\ntokens:\n  - sha256: {digest(token)}\n    prefix: {token[:8]}\n"
            (self._stage.repo / "agents" / f"{name}.yaml").write_text(text)
        for number in range(WAITING):
            text = f"title: Wait for somebody who knows COBOL, part {number}\nneeded_capabilities: [cobol]\n"
            (self._stage.repo / "tasks" / f"w-{number:04}.yaml").write_text(text)
        self._stage.commit("Add agents, and tasks that none of them can do", "agents", "tasks")
        self._stage.start_hub()

    @property
    def port(self) -> int:
        return self._stage.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fill(self, count: int) -> None:
        """Make sure that so many tasks wait that the agents can do."""
        missing = count - max(0, self._queued() - WAITING)
        if missing <= 0:
            return
        for number in range(self._made, self._made + missing):
            text = f"title: Do nothing, number {number}\nneeded_capabilities: [python]\n"
            (self._stage.repo / "tasks" / f"t-{number:06}.yaml").write_text(text)
        self._made += missing
        self._stage.commit("Want more", "tasks")
        until = time.monotonic() + PATIENCE_S
        while self._queued() < WAITING + count:
            if time.monotonic() > until:
                raise SystemExit("the tasks do not arrive: the benchmark is wrong")
            time.sleep(0.1)

    def _queued(self) -> int:
        with contextlib.suppress(HubUnreachable):  # it takes in thousands of files
            return int(self._stage.client.get("/api/status")["by_status"]["queued"])
        return 0

    @contextlib.contextmanager
    def work(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Let the agents work meanwhile; what they measured is in the mapping afterwards."""
        found: dict[str, Any] = {}
        asked = {"url": f"ws://127.0.0.1:{self.port}/ws", "tokens": self._tokens, "seconds": seconds, "tasks": 10**9}
        argv = [sys.executable, "-m", "benchmarks.agents"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            into, out = pipes(process)
            into.write(json.dumps(asked).encode())
            into.close()
            if not out.readline():
                raise SystemExit("the agents ended early: the benchmark is wrong")
            yield found
            found.update(json.loads(out.readline()))

    def close(self) -> None:
        self._stage.close()


def get(link: http.client.HTTPConnection, path: str) -> float:
    """Ask for a page; return the milliseconds to its last byte."""
    begin = time.perf_counter()
    link.request("GET", path)
    answer = link.getresponse()
    answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path} answers {answer.status}: the benchmark is wrong")
    return 1e3 * (time.perf_counter() - begin)


def measure_pages(hub: Hub, times: int, seconds: float) -> list[dict[str, Any]]:
    """Return what each page takes: made anew, because agents work, and in peace."""
    busy: dict[str, list[float]] = {page: [] for page in PAGES}
    peace: dict[str, list[float]] = {page: [] for page in PAGES}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", hub.port, timeout=PATIENCE_S)) as link:
        for page in PAGES:
            get(link, page)
        for _ in range(times):
            for page in PAGES:
                peace[page].append(get(link, page))
        with hub.work(seconds):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                for page in PAGES:
                    busy[page].append(get(link, page))
                    time.sleep(0.005)
    return [
        {
            "page": page,
            "peace_ms_p50": round(p50(peace[page]), 1),
            "peace_ms_p95": round(_p95(peace[page]), 1),
            "busy_ms_p50": round(p50(busy[page]), 1),
            "busy_ms_p95": round(_p95(busy[page]), 1),
        }
        for page in PAGES
    ]


def _p95(values: list[float]) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * 0.95))]


class Readers:
    """Open first pages, read in a thread of their own; ``fragments`` counts what one of them got on average."""

    def __init__(self, port: int, count: int) -> None:
        self._port, self._count = port, count
        self._open, self._enough = Event(), Event()
        self.fragments = 0.0
        self._thread = Thread(target=lambda: asyncio.run(self._read()))

    def __enter__(self) -> "Readers":
        self._thread.start()
        if not self._open.wait(PATIENCE_S):
            raise SystemExit("the streams do not open: the benchmark is wrong")
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    async def _read(self) -> None:
        links = [await asyncio.open_connection("127.0.0.1", self._port, limit=2**20) for _ in range(self._count)]
        got = [0] * self._count

        async def follow(number: int) -> None:
            reader, writer = links[number]
            writer.write(b"GET /dashboard/stream?topic=first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            async for line in reader:
                if b'<main id="main"' in line:
                    got[number] += 1
                    if all(got):
                        self._open.set()

        tasks = [asyncio.create_task(follow(number)) for number in range(self._count)]
        await asyncio.to_thread(self._enough.wait)
        self.fragments = sum(got) / self._count
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, writer in links:
            writer.close()


def measure_streams(hub: Hub, rounds: int, seconds: float, work: int) -> dict[str, Any]:
    """Return how long assignments take without a page and with many open, in turns."""
    alone: list[float] = []
    beside: list[float] = []
    done = {"alone": 0.0, "beside": 0.0}
    fragments: list[float] = []
    for _ in range(rounds):
        hub.fill(work)
        with hub.work(seconds) as found:
            pass
        alone += found["assigned_ms"]
        done["alone"] += found["done"] / found["seconds"] / rounds
        hub.fill(work)
        with Readers(hub.port, STREAMS) as readers, hub.work(seconds) as found:
            pass
        beside += found["assigned_ms"]
        done["beside"] += found["done"] / found["seconds"] / rounds
        fragments.append(readers.fragments / found["seconds"])
    return {
        "streams": STREAMS,
        "fragments_per_s": round(p50(fragments), 2),
        "alone_ms_p50": round(p50(alone), 1),
        "alone_ms_p99": round(p99(alone), 1),
        "beside_ms_p50": round(p50(beside), 1),
        "beside_ms_p99": round(p99(beside), 1),
        "alone_tasks_per_s": round(done["alone"], 1),
        "beside_tasks_per_s": round(done["beside"], 1),
    }


def measure_paint(hub: Hub) -> float | None:
    """Return the median first paint of the first page in a real browser, in ms; None where there is none."""
    path = os.environ.get("AGENTCOM_CHROMIUM") or shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if path is None:
        return None
    paints = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        for _ in range(7):
            page = browser.new_page()
            page.goto(f"{hub.url}/dashboard")
            while not (found := page.evaluate(_PAINTS)):
                page.wait_for_timeout(50)
            paints.append(float(found[0]))
            page.close()
        browser.close()
    return round(p50(paints), 1)


def tell(found: Mapping[str, Any]) -> None:
    """Print the tables."""
    heads = {"page": "page", "peace_ms_p50": "in peace p50 ms", "peace_ms_p95": "p95 ms"}
    heads |= {"busy_ms_p50": "at work p50 ms", "busy_ms_p95": "p95 ms"}
    _tell(f"pages with {WAITING:,} waiting tasks", found["pages"], heads)
    heads = {"streams": "open pages", "fragments_per_s": "sent to each, per s", "alone_ms_p50": "assigned alone p50 ms"}
    heads |= {"alone_ms_p99": "p99 ms", "beside_ms_p50": "beside them p50 ms", "beside_ms_p99": "p99 ms"}
    heads |= {"alone_tasks_per_s": "tasks/s alone", "beside_tasks_per_s": "beside"}
    _tell(f"{AGENTS} agents that do no work", [found["streams"]], heads)
    show("aims", ("what", "value", "aim", ""), [_aim(*row) for row in found["aims"]])


def _aim(what: str, value: float | None, aim: float) -> tuple[str, float | None, str, str]:
    return what, value, f"<= {aim:g}", "not measured" if value is None else "" if value <= aim else "missed"


def _tell(title: str, rows: list[dict[str, Any]], heads: Mapping[str, str]) -> None:
    show(title, list(heads.values()), [[row[key] for key in heads] for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of it, in about a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    rounds, seconds = (ROUNDS_QUICK, ROUND_QUICK_S) if options.quick else (ROUNDS, ROUND_S)
    work, times = (WORK_QUICK, TIMES_QUICK) if options.quick else (WORK, TIMES)
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix=".benchmark-", dir=Path.cwd()))
        hub = stack.enter_context(contextlib.closing(Hub(Path(place) / "hub")))
        hub.fill(work)
        pages = measure_pages(hub, times, seconds)
        paint = measure_paint(hub)
        streams = measure_streams(hub, rounds, seconds, work)
    slowest = max(pages, key=lambda row: row["peace_ms_p95"])
    found: dict[str, Any] = {"pages": pages, "streams": streams, "first_paint_ms": paint}
    found["aims"] = [
        ("slowest page in peace, p95 ms", slowest["peace_ms_p95"], AIM_PAGE_MS),
        ("slowest page at work, p95 ms", max(row["busy_ms_p95"] for row in pages), AIM_PAGE_MS),
        ("first paint ms", paint, AIM_PAINT_MS),
        ("assignment p50, beside to alone", _ratio(streams), AIM_ASSIGNMENT),
    ]
    tell(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _ratio(streams: Mapping[str, Any]) -> float:
    return round(streams["beside_ms_p50"] / streams["alone_ms_p50"], 3)


if __name__ == "__main__":
    main()

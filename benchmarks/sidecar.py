"""What a sidecar costs that waits for work, one and ten on one box, and how long it and its commands take to start.

Real ``agentcom-sidecar run`` processes on loopback against a hub that only lets them in and answers pings. Memory and
processor time are as Linux counts them; ``own`` is what a further sidecar costs, without what it shares with others
(Pss). Starts are timed from the fork until the hub has heard ``identify``, or until the command has ended; beside each
stands a Python that does nothing, started in turns with it; on a busy box only the seconds of a processor compare.

    python -m benchmarks.sidecar [--quick] [--json FILE]
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.tables import p50, show

#: Sidecars on one box, and how long they are watched, in seconds: two heartbeats and a bit in a long run.
CROWDS = (1, 10)
WATCH_S, WATCH_QUICK_S = 65.0, 10.0
STARTS, STARTS_QUICK = 15, 5
#: Aims: of a core for one idle sidecar, MiB for the tenth one, and seconds for a command of the agent's.
AIM_CPU, AIM_MIB, AIM_REPORT_S = 0.005, 60.0, 0.1
PATIENCE_S = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Hub:
    """Lets everybody in, answers pings, and says who has come."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[str] = asyncio.Queue()

    async def serve(self, socket: ServerConnection) -> None:
        try:
            agent = json.loads(await socket.recv())["agent_id"]
            said = {"type": "identified", "agent_id": agent, "session_id": "s", "server_time": 0}
            await socket.send(json.dumps(said))
            self.came.put_nowait(agent)
            async for text in socket:
                if '"ping"' in text:
                    await socket.send('{"type":"pong","timestamp":0}')
        except ConnectionClosed:
            pass


class Box:
    """Sidecars in one folder, started and ended by this process."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        agent = f"agent-{len(list(self._folder.iterdir()))}"
        home = self._folder / agent
        home.mkdir()
        config = home / "config.json"
        config.touch(mode=0o600)
        said = {"agent_id": agent, "token": "t", "hub_url": f"ws://127.0.0.1:{self._port}", "runtime": {"name": "fake"}}
        config.write_text(json.dumps(said))
        argv = [sys.executable, "-m", "sidecar", "run", "--config", str(config)]
        self.running.append(subprocess.Popen(argv, stderr=subprocess.DEVNULL))

    def end(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            process.wait(PATIENCE_S)
        self.running.clear()


def memory(pid: int) -> dict[str, float]:
    """Return MiB: Rss, and Pss, which counts what is shared by its share."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    sizes = {row.split(":")[0]: int(row.split()[1]) / 1024 for row in rows}
    return {name: sizes[name] for name in ("Rss", "Pss")}


def processor_s(pid: int) -> float:
    """Return the seconds of a processor that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def idle(hub: Hub, box: Box, count: int, watch: float) -> dict[str, Any]:
    """Return what ``count`` sidecars cost that wait for work."""
    for _ in range(count):
        box.start()
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(count):
            await hub.came.get()
    await asyncio.sleep(2)  # what a start costs is not what waiting costs
    pids = [process.pid for process in box.running]
    before, began = [processor_s(pid) for pid in pids], time.perf_counter()
    await asyncio.sleep(watch)
    passed = time.perf_counter() - began
    used = [processor_s(pid) - spent for pid, spent in zip(pids, before, strict=True)]
    sizes = [memory(pid) for pid in pids]
    await asyncio.to_thread(box.end)
    return {
        "sidecars": count,
        "watched_s": round(passed, 1),
        "rss_mib_each": round(p50([size["Rss"] for size in sizes]), 1),
        "own_mib_each": round(p50([size["Pss"] for size in sizes]), 1),
        "cpu_share_all": round(sum(used) / passed, 5),
        "cpu_share_each": round(sum(used) / passed / count, 5),
    }


async def connected_s(hub: Hub, box: Box) -> tuple[float, float]:
    """Return the seconds from a sidecar's start until the hub has let it in, and those of a processor until then."""
    began = time.perf_counter()
    box.start()
    async with asyncio.timeout(PATIENCE_S):
        await hub.came.get()
    passed, used = time.perf_counter() - began, processor_s(box.running[0].pid)
    await asyncio.to_thread(box.end)
    return passed, used


def ended_s(argv: list[str]) -> tuple[float, float]:
    """Return the seconds until a command has ended, and those of a processor that it had."""
    began = time.perf_counter()
    process = subprocess.Popen(
        argv, env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, process.returncode, used = os.wait4(process.pid, 0)
    return time.perf_counter() - began, used.ru_utime + used.ru_stime


async def measure(quick: bool) -> dict[str, Any]:
    """Return all figures."""
    hub = Hub()
    with tempfile.TemporaryDirectory() as folder:
        async with serve(hub.serve, "127.0.0.1", 0, compression=None) as server:
            box = Box(Path(folder), next(iter(server.sockets)).getsockname()[1])
            crowds = [await idle(hub, box, count, WATCH_QUICK_S if quick else WATCH_S) for count in CROWDS]
            report = str(Path(sys.executable).with_name("agentcom-report"))
            starts: dict[str, list[tuple[float, float]]] = {"sidecar": [], "report": [], "bare": []}
            for _ in range(STARTS_QUICK if quick else STARTS):
                starts["sidecar"].append(await connected_s(hub, box))
                starts["report"].append(await asyncio.to_thread(ended_s, [report, "show"]))
                starts["bare"].append(await asyncio.to_thread(ended_s, [sys.executable, "-c", ""]))
    return {
        "idle": crowds,
        "start_s": {name: round(p50([taken for taken, _ in both]), 4) for name, both in starts.items()},
        "start_cpu_s": {name: round(p50([used for _, used in both]), 4) for name, both in starts.items()},
    }


def tell(figures: dict[str, Any]) -> None:
    """Print the tables."""
    show(
        "sidecars that wait for work",
        ("sidecars", "watched s", "Rss MiB each", "own MiB each", "% of a core, all", "% of a core, each"),
        [
            (
                row["sidecars"], row["watched_s"], row["rss_mib_each"], row["own_mib_each"],
                100 * row["cpu_share_all"], 100 * row["cpu_share_each"],
            )
            for row in figures["idle"]
        ],
    )  # fmt: skip
    taken, used, ten = figures["start_s"], figures["start_cpu_s"], figures["idle"][-1]
    names = {
        "sidecar": "agentcom-sidecar run, until it is let in",
        "report": "agentcom-report show, outside of a task",
        "bare": "python -c ''",
    }
    show(
        "starts (p50)",
        ("what", "s", "s of a processor", "the same / bare Python"),
        [(text, taken[name], used[name], used[name] / used["bare"]) for name, text in names.items()],
    )
    print(
        f"\naims: an idle sidecar {100 * AIM_CPU:g} % of a core ({100 * ten['cpu_share_each']:.2f}), one of ten "
        f"{AIM_MIB:g} MiB of its own ({ten['own_mib_each']:g}), a report {AIM_REPORT_S:g} s "
        f"({taken['report']:.3f}, of a processor {used['report']:.3f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="watch for 10 s, start five times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.quick))
    tell(figures)
    if options.json:
        aims = {"cpu_share_each": AIM_CPU, "own_mib_each": AIM_MIB, "report_s": AIM_REPORT_S}
        options.json.write_text(json.dumps({**figures, "aims": aims}, indent=1) + "\n")


if __name__ == "__main__":
    main()

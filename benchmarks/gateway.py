"""What the hub's door carries: thousands of idle agents, a storm of connects, HTTP beside sockets, a stalled reader.

One real ``agentcom hub`` on loopback; the agents are one process that speaks as little WebSocket as will do, so that it
takes little from the hub. Memory and processor time are those of the hub's process, as Linux counts them. The round
trip of a ping is compared with the echo of a bare ``websockets`` server in the same run; all other pings are those of
one agent beside whatever else goes on.

    python -m benchmarks.gateway [--quick] [--json FILE]
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

from websockets.sync.client import connect

from benchmarks.agents import identify
from benchmarks.crowd import HANDSHAKE, PING, frame
from benchmarks.echo import compare
from benchmarks.tables import Budget, p50, p99, show
from benchmarks.writers import pipes
from coordinator import eventloop
from coordinator.demo.stage import Stage
from coordinator.place import new_token
from coordinator.web.auth import digest

#: Idle agents of each row, long and quick; the size of a storm, and of what is beside HTTP; how many connect at the
#: same time when there is no storm.
IDLE, IDLE_QUICK = (1_000, 5_000), (1_000, 3_000)
STORM = 1_000
DOORS = 50
#: How often an agent pings, in seconds (PROTOCOL 1.2).
BEAT_S = 30
HTTP_PER_S = 100
#: Connections for these requests: more than the hub has threads for them.
HTTP_LINKS = 20
#: Agents that no measured crowd contains.
OTHERS = ("echo", "beside", "stalled")
#: How often an agent pings that tells how the hub is doing, in seconds.
PROBE_S = 0.01
#: How long anything may take, in seconds; also until a stalled reader is left.
PATIENCE_S = 120.0
#: Seconds of a whole run, beside what connecting takes.
QUICK_S, LONG_S = 20.0, 90.0
#: The most that a ping may take beside a bare echo.
AIM_PING = 1.3


class Hub:
    """One hub with an agent for every socket; ``close`` ends it."""

    def __init__(self, folder: Path, agents: int) -> None:
        self.tokens = {f"a-{number:04}": new_token() for number in range(agents)}
        self.others = {name: new_token() for name in OTHERS}
        self._stage = Stage(folder, policy="")
        self._stage.open()
        for name, token in {**self.tokens, **self.others}.items():
            text = f"capabilities: [nothing]\ntokens:\n  - sha256: {digest(token)}\n    prefix: {token[:8]}\n"
            (self._stage.repo / "agents" / f"{name}.yaml").write_text(text)
        for number in range(20):
            text = f"title: Wait, number {number}\nneeded_capabilities: [python]\n"
            (self._stage.repo / "tasks" / f"n-{number:02}.yaml").write_text(text)
        self._stage.commit("Add the agents and some tasks that none of them can do", "agents", "tasks")
        self._stage.start_hub()

    @property
    def port(self) -> int:
        return self._stage.port

    @property
    def url(self) -> str:
        """Where agents connect."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def admin_token(self) -> str:
        return self._stage.place.admin_token()

    @property
    def _pid(self) -> int:
        if self._stage.hub is None:
            raise SystemExit("the hub does not run: the benchmark is wrong")
        return self._stage.hub.pid

    def memory(self) -> int:
        """Return the bytes of its resident memory."""
        return int(Path(f"/proc/{self._pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def busy(self) -> float:
        """Return the seconds of processor time that it has taken."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def share(self, seconds: float) -> float:
        """Return how much of one processor it takes during the next seconds, in percent."""
        begin, before = time.perf_counter(), self.busy()
        time.sleep(seconds)
        return 100 * (self.busy() - before) / (time.perf_counter() - begin)

    def connected(self) -> int:
        """Return how many sessions are open."""
        return int(self._stage.client.get("/health")["agents_connected"])

    def wait_for(self, sessions: int) -> None:
        """Wait until no more than so many sessions are open."""
        _wait(lambda: self.connected() <= sessions, "the hub keeps sessions that have ended")

    def close(self) -> None:
        self._stage.close()


@contextlib.contextmanager
def crowd(
    hub: Hub, count: int, doors: int, beside: int = 0
) -> Iterator[tuple[Mapping[str, Any], "subprocess.Popen[bytes]"]]:
    """Connect so many agents; give what they say of it, and their process.

    At the end it is waited until no more sessions are left than the ``beside`` that are none of theirs.
    """
    argv = [sys.executable, "-m", "benchmarks.crowd"]
    asked = {"port": hub.port, "tokens": dict(list(hub.tokens.items())[:count]), "doors": doors}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        into, out = pipes(process)
        into.write(json.dumps(asked).encode() + b"\n")
        into.flush()
        try:
            said = out.readline()
            if not said:
                raise SystemExit("the agents ended early: the benchmark is wrong")
            yield json.loads(said), process
        finally:
            into.close()
        lost = json.loads(out.readline())["lost"]
    if lost:
        raise SystemExit(f"the hub let {lost} of {count} agents go")
    hub.wait_for(beside)


def measure_idle(hub: Hub, counts: Sequence[int], budget: Budget) -> list[dict[str, Any]]:
    """Return by number of idle agents: memory for each, and the processor time that their heartbeats take."""
    rows = []
    for count in counts:
        seconds = max(2.0, budget.part(0.12))
        before = hub.memory()
        with crowd(hub, count, DOORS) as (said, process):
            grown = hub.memory() - before
            quiet = hub.share(seconds)
            into, _ = pipes(process)
            into.write(f"{BEAT_S}\n".encode())
            into.flush()
            beating = hub.share(seconds)
        rows.append(
            {
                "agents": count,
                "connects_per_s": round(count / said["seconds"], 1),
                "kib_each": round(grown / 1024 / count, 1),
                "cpu_percent_silent": round(quiet, 2),
                "cpu_percent_beating": round(beating, 2),
            }
        )
    return rows


@contextlib.contextmanager
def probing(hub: Hub) -> Iterator[list[float]]:
    """Ping with one more agent all the time; give the list that its round trips go to, in milliseconds."""
    taken_ms: list[float] = []
    enough = Event()
    with connect(hub.url, compression=None) as link:
        link.send(json.dumps(identify("beside", hub.others["beside"])))
        link.recv(PATIENCE_S)

        def probe() -> None:
            while not enough.wait(PROBE_S):
                begin = time.perf_counter()
                link.send('{"type":"ping"}')
                link.recv(PATIENCE_S)
                taken_ms.append(1e3 * (time.perf_counter() - begin))

        thread = Thread(target=probe)
        thread.start()
        try:
            yield taken_ms
        finally:
            enough.set()
            thread.join()


def measure_storm(hub: Hub) -> dict[str, Any]:
    """Return how long a thousand agents take that all come at once, and what another one notices of it."""
    with probing(hub) as pings, crowd(hub, STORM, STORM, beside=1) as (said, _):
        noticed = list(pings)
    return {
        "agents": STORM,
        "seconds": round(said["seconds"], 2),
        "identified_ms_p50": round(p50(said["identified_ms"]), 1),
        "identified_ms_max": round(max(said["identified_ms"]), 1),
        **_pings(noticed),
    }


def measure_http(hub: Hub, budget: Budget) -> dict[str, Any]:
    """Return how long requests take that come beside a thousand sockets, and the pings of one of them."""
    with crowd(hub, STORM, DOORS, beside=1), probing(hub) as pings:
        taken_ms = eventloop.run(_requests(hub, max(2.0, budget.part(0.15))))
        noticed = list(pings)
    return {
        "requests": len(taken_ms),
        "request_ms_p50": round(p50(taken_ms), 2),
        "request_ms_p99": round(p99(taken_ms), 2),
        **_pings(noticed),
    }


async def _requests(hub: Hub, seconds: float) -> list[float]:
    """Ask for tasks at a steady pace, whether the answers keep up with it or not; return milliseconds."""
    links: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(HTTP_LINKS):
        links.put_nowait(await asyncio.open_connection("127.0.0.1", hub.port))
    words = f"GET /api/tasks?limit=20 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {hub.admin_token}\r\n\r\n"
    begin = time.perf_counter()

    async def request(number: int) -> float:
        due = begin + number / HTTP_PER_S
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        reader, writer = await links.get()
        writer.write(words.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200 "):
            raise SystemExit(f"the hub answers {head!r}: the benchmark is wrong")
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
        links.put_nowait((reader, writer))
        return 1e3 * (time.perf_counter() - due)

    async with asyncio.timeout(PATIENCE_S):
        taken = await asyncio.gather(*(request(number) for number in range(round(seconds * HTTP_PER_S))))
    while not links.empty():
        links.get_nowait()[1].close()
    return taken


def measure_stalled(hub: Hub, budget: Budget) -> dict[str, Any]:
    """Return what one agent notices of another that asks without end and reads nothing, and when that one is left."""
    with probing(hub) as pings:
        time.sleep(max(1.0, budget.part(0.05)))
        alone = list(pings)
        pings.clear()
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            stalled.connect(("127.0.0.1", hub.port))
            stalled.sendall(HANDSHAKE)
            if not stalled.recv(4_096).startswith(b"HTTP/1.1 101 "):
                raise SystemExit("the hub takes no WebSocket: the benchmark is wrong")
            stalled.sendall(frame(identify("stalled", hub.others["stalled"])))
            _wait(lambda: hub.connected() == 2, "a stalled reader was not let in")
            stalled.setblocking(False)
            begin = time.perf_counter()

            def left() -> bool:
                with contextlib.suppress(BlockingIOError):
                    stalled.send(1_000 * PING)
                return hub.connected() == 1

            _wait(left, "a stalled reader is never left")
            seconds = time.perf_counter() - begin
        beside = list(pings)
    return {
        "left_after_s": round(seconds, 1),
        "ping_alone_ms_p50": round(p50(alone), 2),
        "ping_alone_ms_p99": round(p99(alone), 2),
        **_pings(beside),
    }


def _wait(true: Callable[[], bool], trouble: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > until:
            raise SystemExit(trouble)
        time.sleep(0.02)


def _pings(taken_ms: list[float]) -> dict[str, float]:
    return {
        "ping_ms_p50": round(p50(taken_ms), 2),
        "ping_ms_p99": round(p99(taken_ms), 2),
        "ping_ms_max": round(max(taken_ms), 2),
    }


_PING_HEADS = {"ping_ms_p50": "ping p50 ms", "ping_ms_p99": "p99 ms", "ping_ms_max": "max ms"}


def tell(found: Mapping[str, Any]) -> None:
    """Print the tables."""
    heads = {"agents": "agents", "connects_per_s": "connects/s", "kib_each": "KiB each"}
    heads |= {"cpu_percent_silent": "silent: % of a CPU", "cpu_percent_beating": "beating: %"}
    _tell(f"idle agents that ping every {BEAT_S} s", found["idle"], heads)
    heads = {"agents": "agents", "seconds": "all in after s", "identified_ms_p50": "one p50 ms"}
    heads |= {"identified_ms_max": "max ms", **_PING_HEADS}
    _tell("all connect at once, and the pings of an agent that is in", [found["storm"]], heads)
    heads = {"requests": "requests", "request_ms_p50": "p50 ms", "request_ms_p99": "p99 ms", **_PING_HEADS}
    _tell(f"{HTTP_PER_S} requests/s beside {STORM:,} sockets", [found["http"]], heads)
    heads = {"left_after_s": "left after s", "ping_alone_ms_p50": "alone p50 ms", "ping_alone_ms_p99": "p99 ms"}
    _tell("one reader that stalls, and the pings of another agent", [found["stalled"]], {**heads, **_PING_HEADS})
    ratio = found["ping_over_bare_echo"]
    row = ("ping_over_bare_echo", ratio, f"<= {AIM_PING:g}", "" if ratio <= AIM_PING else "missed")
    show("ratio of this run", ("ratio", "value", "aim", ""), [row])


def _tell(title: str, rows: list[dict[str, Any]], heads: Mapping[str, str]) -> None:
    show(title, list(heads.values()), [[row[key] for key in heads] for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of it, in less than a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    counts = IDLE_QUICK if options.quick else IDLE
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix=".benchmark-", dir=Path.cwd()))
        with contextlib.closing(Hub(Path(place) / "hub", max(counts))) as hub:
            budget = Budget(QUICK_S if options.quick else LONG_S)
            single = compare(hub.url, "echo", hub.others["echo"], budget.part(0.15))
            hub.wait_for(0)
            found: dict[str, Any] = {
                "ping_over_bare_echo": round(single["ping_ms"] / single["bare_echo_ms"], 3),
                **single,
                "idle": measure_idle(hub, counts, budget),
                "storm": measure_storm(hub),
                "http": measure_http(hub, budget),
                "stalled": measure_stalled(hub, budget),
            }
    tell(found)
    if options.json:
        options.json.write_text(json.dumps({**found, "aims": {"ping_over_bare_echo": AIM_PING}}, indent=1) + "\n")


if __name__ == "__main__":
    main()

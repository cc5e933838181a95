"""How long a ping to the hub takes beside the echo of a bare ``websockets`` server, both in processes of their own.

The bare server does nothing but send back what it hears: no compression, on the same event loop as the hub. A ping
changes nothing, so no commit is waited for. Both are asked in turn, in small groups.

    python -m benchmarks.echo          the bare server; it prints its port and ends with stdin
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.agents import identify
from benchmarks.tables import p50
from coordinator import eventloop

#: Pings of one group; so many groups at most.
GROUP, GROUPS = 50, 40
_PING = json.dumps({"type": "ping"})


def compare(hub_url: str, name: str, token: str, seconds: float) -> dict[str, float]:
    """Return the p50 of both round trips, in milliseconds."""
    return eventloop.run(_compare(hub_url, name, token, seconds))


async def _compare(hub_url: str, name: str, token: str, seconds: float) -> dict[str, float]:
    taken: dict[str, list[float]] = {"ping_ms": [], "bare_echo_ms": []}
    async with (
        _bare() as bare_url,
        connect(hub_url, compression=None) as hub,
        connect(bare_url, compression=None) as it,
    ):
        await hub.send(json.dumps(identify(name, token)))
        await hub.recv()
        until = time.monotonic() + seconds
        for turn in range(GROUPS):
            for link, into in ((hub, taken["ping_ms"]), (it, taken["bare_echo_ms"])):
                into += (await _group(link))[1:]  # the first one wakes the other process
            if turn and time.monotonic() > until:
                break
    return {name: round(p50(times), 4) for name, times in taken.items()}


async def _group(link: ClientConnection) -> list[float]:
    taken = []
    for _ in range(GROUP):
        begin = time.perf_counter()
        await link.send(_PING)
        await link.recv()
        taken.append(1e3 * (time.perf_counter() - begin))
    return taken


@asynccontextmanager
async def _bare() -> AsyncIterator[str]:
    argv = [sys.executable, "-m", "benchmarks.echo"]
    process = await asyncio.create_subprocess_exec(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if process.stdout is None:
        raise SystemExit("the bare server has no pipes: the benchmark is wrong")
    try:
        yield f"ws://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.terminate()
        await process.wait()


async def _echo(link: ServerConnection) -> None:
    async for text in link:
        await link.send(text)


async def main() -> None:
    async with serve(_echo, "127.0.0.1", 0, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    eventloop.run(main())

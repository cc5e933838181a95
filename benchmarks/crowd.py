"""A process full of agents that do nothing but be there; ``benchmarks.gateway`` starts it.

It speaks just enough WebSocket to identify itself and to ping, so that the hub is what is measured and not the client.
Reads one JSON object from stdin: ``port``, ``tokens`` (by agent) and ``doors`` (how many connect at the same time).
Once all are identified it prints how long that took; a line with a number makes each of them ping every so many
seconds. It ends with stdin, and prints how many were lost meanwhile.
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from typing import Any, cast

from benchmarks.agents import identify
from coordinator import eventloop

#: How long one agent may take to be identified, in seconds.
PATIENCE_S = 120.0
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(said: Mapping[str, Any]) -> bytes:
    """Return a text frame as a client sends it; it is masked with zeros, which leaves the text as it is."""
    data = json.dumps(said).encode()
    head = bytes([0x81, 0x80 | len(data)]) if len(data) < 126 else b"\x81\xfe" + len(data).to_bytes(2, "big")
    return head + bytes(4) + data


PING = frame({"type": "ping"})


class Agent(asyncio.Protocol):
    """One agent; ``identified`` is done when it is let in, and what it hears after that is thrown away."""

    def __init__(self, name: str, token: str) -> None:
        self.identified: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False
        self._hello = frame(identify(name, token))
        self._heard = b""
        self._open = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        if self.identified.done() or self._transport is None:
            return
        self._heard += data
        if not self._open and b"\r\n\r\n" in self._heard:
            self._open = True
            self._heard = self._heard.partition(b"\r\n\r\n")[2]
            self._transport.write(self._hello)
        if self._open and b'"identified"' in self._heard:
            self._heard = b""
            self.identified.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.identified.done():
            self.identified.set_exception(SystemExit(f"the hub ended a connection: {self._heard[:200]!r}"))

    def ping(self) -> None:
        if self._transport is not None and not self.lost:
            self._transport.write(PING)


async def main() -> None:
    loop = asyncio.get_running_loop()
    asked = json.loads(sys.stdin.readline())
    door = asyncio.Semaphore(asked["doors"])
    taken_ms: list[float] = []

    async def enter(name: str, token: str) -> Agent:
        async with door:
            begin = time.perf_counter()
            _, agent = await loop.create_connection(lambda: Agent(name, token), "127.0.0.1", asked["port"])
            await asyncio.wait_for(agent.identified, PATIENCE_S)
            taken_ms.append(1e3 * (time.perf_counter() - begin))
            return agent

    begin = time.perf_counter()
    agents = await asyncio.gather(*(enter(*who) for who in asked["tokens"].items()))
    print(json.dumps({"seconds": time.perf_counter() - begin, "identified_ms": taken_ms}), flush=True)
    every = await loop.run_in_executor(None, sys.stdin.readline)
    if every:
        beating = asyncio.create_task(_beat(agents, float(every)))
        await loop.run_in_executor(None, sys.stdin.read)
        beating.cancel()
    print(json.dumps({"lost": sum(agent.lost for agent in agents)}), flush=True)


async def _beat(agents: list[Agent], every: float) -> None:
    """Let each agent ping once in so many seconds, one after the other."""
    begin = time.perf_counter()
    count = 0
    while True:
        agents[count % len(agents)].ping()
        count += 1
        await asyncio.sleep(max(0.0, begin + count * every / len(agents) - time.perf_counter()))


if __name__ == "__main__":
    eventloop.run(main())

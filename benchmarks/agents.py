"""Many agents in one process: real WebSockets that speak the protocol of a sidecar, and do no work between two words.

It reads what it needs from stdin as JSON (``url``, ``tokens`` by agent id, ``seconds``, ``tasks``). Each agent accepts
what it is given, waits for the ack, completes it, and waits for the next. On stdout it says ``connected`` when all of
them are; when the time from then on is up, or so many tasks are done, it writes what it measured.

    python -m benchmarks.agents
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from coordinator import eventloop

#: How many agents open their connection at the same time.
DOORS = 20
#: How long all of them may take, in seconds.
CONNECT_WITHIN = 60.0


@dataclass(slots=True)
class Tally:
    """What all agents have seen: ``assigned_ms`` runs from *complete* sent to the next *assign* received."""

    wanted: int
    done: int = 0
    connected: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    assigned_ms: list[float] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)


async def main() -> None:
    asked = json.load(sys.stdin)
    tally = Tally(asked["tasks"])
    tokens: dict[str, str] = asked["tokens"]
    door = asyncio.Semaphore(DOORS)
    agents = [asyncio.create_task(_agent(asked["url"], *who, door, tally)) for who in tokens.items()]
    async with asyncio.timeout(CONNECT_WITHIN):
        for _ in agents:
            await tally.connected.acquire()
    tally.assigned_ms.clear()
    begin, before = time.perf_counter(), tally.done
    print("connected", flush=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(asked["seconds"]):
            await tally.enough.wait()
    said = {"seconds": time.perf_counter() - begin, "done": tally.done - before, "assigned_ms": tally.assigned_ms}
    print(json.dumps(said), flush=True)
    for agent in agents:
        agent.cancel()
    await asyncio.gather(*agents, return_exceptions=True)


async def _agent(url: str, name: str, token: str, door: asyncio.Semaphore, tally: Tally) -> None:
    async with door:
        link = await connect(url, compression=None, ping_interval=None)
        await link.send(json.dumps(identify(name, token)))
    with contextlib.suppress(ConnectionClosed):
        async with link:
            await _work(link, tally)


async def _work(link: ClientConnection, tally: Tally) -> None:
    finished_at: float | None = None
    async for text in link:
        frame: Mapping[str, Any] = json.loads(text)
        match frame["type"], frame.get("status"):
            case "identified", _:
                tally.connected.release()
            case "task_assign", _:
                if finished_at is not None:
                    tally.assigned_ms.append(1e3 * (time.perf_counter() - finished_at))
                await link.send(_about(frame, "task_accepted"))
            case "task_ack", "accepted":
                finished_at = time.perf_counter()
                await link.send(_about(frame, "task_complete", result={"summary": "did nothing, as asked"}))
            case "task_ack", "complete":
                tally.done += 1
                if tally.done >= tally.wanted:
                    tally.enough.set()
            case "error", _:
                raise SystemExit(f"the hub answers {text!r}: the benchmark is wrong")


def identify(name: str, token: str) -> dict[str, Any]:
    """Return the first frame of an agent that holds nothing."""
    features = ["progress", "release", "updates"]
    said = {"agent_id": name, "token": token, "protocol_version": 1, "features": features, "holding": []}
    return {"type": "identify", **said}


def _about(frame: Mapping[str, Any], kind: str, **more: object) -> str:
    return json.dumps({"type": kind, "task_id": frame["task_id"], "generation": frame["generation"], **more})


if __name__ == "__main__":
    eventloop.run(main())

"""A hostile wire: a WebSocket proxy that drops, delays, doubles and reorders frames, cuts, and swallows.

It runs in a thread of its own and connects to the hub anew for each client. Only what opens a session (``identify``,
``identified``) passes unharmed: a session that never begins shows nothing.
"""

import asyncio
import contextlib
import random
import threading
from dataclasses import dataclass, replace
from typing import Any, Self

from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake

_OPENS = ('"type":"identify"', '"type":"identified"', '"type": "identified"')


@dataclass(frozen=True, slots=True)
class Harm:
    """Shares of frames that are dropped, doubled, and held back so that later ones overtake them; of frames that cut.

    ``latest`` is how long the longest delay is, in seconds; ``lives_on``, how long a connection goes on that has
    lost a frame: no wire loses some and stays. ``swallow``: nothing arrives any more, and nobody is told.
    """

    dropped: float = 0.0
    doubled: float = 0.0
    delayed: float = 0.0
    cuts: float = 0.0
    latest: float = 0.5
    lives_on: float = 8.0
    swallow: bool = False


class Proxy:
    """``with Proxy("ws://hub/ws") as proxy``: clients use ``proxy.url``; ``harm`` may change at any time."""

    def __init__(self, upstream: str, harm: Harm = Harm(), seed: int = 0) -> None:
        self.upstream = upstream
        self.harm = harm
        self.suffered: dict[str, int] = dict.fromkeys(("dropped", "doubled", "delayed", "cuts"), 0)
        self._chance = random.Random(seed)  # noqa: S311 - a repeatable load, no secret
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._server: Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def change(self, **harm: Any) -> None:
        """Harm differently from now on."""
        self.harm = replace(self.harm, **harm)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> None:
        self._server = await serve(self._serve, "127.0.0.1", 0, compression=None, max_size=None, ping_interval=None)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, client: ServerConnection) -> None:
        try:
            hub = await connect(self.upstream, compression=None, max_size=None, ping_interval=None, proxy=None)
        except (OSError, InvalidHandshake, ConnectionClosed, TimeoutError):
            client.transport.abort()
            return
        pumps = [asyncio.create_task(self._pump(client, hub)), asyncio.create_task(self._pump(hub, client))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for ours, other in ((client, hub), (hub, client)):
            with contextlib.suppress(ConnectionClosed, ValueError):
                await ours.close(other.close_code if other.close_code in range(4000, 5000) else 1001)

    async def _pump(self, source: Any, sink: Any) -> None:
        late: set[asyncio.Task[None]] = set()
        with contextlib.suppress(ConnectionClosed):
            async for text in source:
                if self.harm.swallow:
                    continue
                if any(word in text[:40] for word in _OPENS):
                    await sink.send(text)
                elif self._happens("cuts"):
                    source.transport.abort()
                elif self._happens("dropped"):
                    asyncio.get_running_loop().call_later(
                        self._chance.uniform(0, self.harm.lives_on), source.transport.abort
                    )
                else:
                    copies = 2 if self._happens("doubled") else 1
                    for _ in range(copies):
                        delay = self._chance.uniform(0, self.harm.latest) if self._happens("delayed") else 0.0
                        late.add(asyncio.create_task(self._deliver(sink, text, delay)))
                late = {task for task in late if not task.done()}

    async def _deliver(self, sink: Any, text: str, delay: float) -> None:
        await asyncio.sleep(delay)
        with contextlib.suppress(ConnectionClosed):
            await sink.send(text)

    def _happens(self, what: str) -> bool:
        happens = self._chance.random() < getattr(self.harm, what)
        self.suffered[what] += happens
        return happens

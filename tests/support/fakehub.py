"""A scriptable hub: a real WebSocket server that speaks PROTOCOL from the hub's side and decides nothing by itself.

    async with FakeHub() as hub:
        session = await hub.session()          # the next sidecar that identifies
        await session.assign("t-1", 1)
        await session.expect("task_accepted", task_id="t-1")

Pings are answered. Everything else stands in ``session.frames`` and waits for ``expect``.
"""

import asyncio
import contextlib
import json
import time
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

#: How long a test waits for something that must happen, in seconds; only a failing test ever waits so long.
PATIENCE_S = 20.0

Json = dict[str, Any]


class Session:
    """One identified connection."""

    def __init__(self, socket: ServerConnection, identify: Json) -> None:
        self._socket = socket
        self.identify = identify
        self.frames: list[Json] = []
        self._unread: list[Json] = []
        self._news = asyncio.Condition()
        self.closed = asyncio.Event()

    async def take(self, frame: Json) -> None:
        async with self._news:
            self.frames.append(frame)
            self._unread.append(frame)
            self._news.notify_all()

    async def send(self, type: str, **fields: Any) -> None:
        """Say one frame."""
        await self._socket.send(json.dumps({"type": type, **fields}))

    async def assign(self, task_id: str, generation: int = 1, title: str = "do something", **fields: Any) -> None:
        """Give a task."""
        frame = {"title": title, "assigned_at": int(time.time() * 1000), **fields}
        await self.send("task_assign", task_id=task_id, generation=generation, **frame)

    async def ack(self, task_id: str, status: str, generation: int | None = None) -> None:
        """Answer for a transition."""
        extra = {} if generation is None else {"generation": generation}
        await self.send("task_ack", task_id=task_id, status=status, **extra)

    async def expect(self, *types: str, **fields: Any) -> Json:
        """Return the next unread frame of these types with these fields; it and those before it count as read."""

        def position() -> int | None:
            for place, frame in enumerate(self._unread):
                if frame["type"] in types and all(frame.get(name) == value for name, value in fields.items()):
                    return place
            return None

        try:
            async with asyncio.timeout(PATIENCE_S), self._news:
                await self._news.wait_for(lambda: position() is not None)
        except TimeoutError:
            raise AssertionError(f"no {types} {fields} came; what came: {self.frames}") from None
        place = position()
        assert place is not None
        frame = self._unread[place]
        del self._unread[: place + 1]
        return frame

    def said(self, type: str) -> list[Json]:
        """Return every frame of a type so far."""
        return [frame for frame in self.frames if frame["type"] == type]

    async def close(self, code: int = 1001, reason: str = "") -> None:
        """Close the connection with a code."""
        await self._socket.close(code, reason)

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._socket.transport.abort()


class FakeHub:
    """The server. ``refuse`` is an error code that every identify gets; ``mute`` lets pings go unanswered."""

    def __init__(self) -> None:
        self.token = "secret-token"
        self.refuse: str | None = None
        self.mute = False
        self.identifies: list[Json] = []
        self._sessions: asyncio.Queue[Session] = asyncio.Queue()
        self._server: Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await serve(self._serve, "127.0.0.1", self.port, compression=None, max_size=16 * 1024 * 1024)
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    async def session(self) -> Session:
        """Return the next sidecar that gets in."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._sessions.get()

    async def _serve(self, socket: ServerConnection) -> None:
        session: Session | None = None
        with contextlib.suppress(ConnectionClosed):
            identify = json.loads(await socket.recv())
            self.identifies.append(identify)
            if identify.get("type") != "identify":
                await socket.send(json.dumps({"type": "error", "error": "not_identified", "detail": ""}))
                await socket.close(4401, "not_identified")
                return
            refusal = self.refuse or (None if identify.get("token") == self.token else "invalid_token")
            if refusal is not None:
                await socket.send(json.dumps({"type": "error", "error": refusal, "detail": "from the fake hub"}))
                await socket.close(4409 if refusal == "already_connected" else 4401, refusal)
                return
            session = Session(socket, identify)
            await session.send(
                "identified", agent_id=identify["agent_id"], session_id="s-1", server_time=int(time.time() * 1000)
            )
            self._sessions.put_nowait(session)
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] == "ping" and not self.mute:
                    await session.send("pong", timestamp=int(time.time() * 1000))
                await session.take(frame)
        if session is not None:
            session.closed.set()

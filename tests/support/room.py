"""Sessions without a network: the client's end of sockets, and a hub's desk that only listens.

``Room`` has one agent, ``a``. ``Company`` has several, of any role, and their mail in a folder.
"""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from coordinator.core.agent import Agent, AgentRecord, AgentSpec, Role, Token
from coordinator.core.events import Said
from coordinator.core.timers import Now
from coordinator.web.auth import Doorkeeper, digest
from coordinator.web.chat import Chat
from coordinator.web.mail.office import Office
from coordinator.web.postroom import Postroom
from coordinator.web.presence import Presence
from coordinator.web.sockets import Sessions

TOKEN = "ac_" + "x" * 43


class Desk:
    def __init__(self) -> None:
        self.heard = []
        self.something = asyncio.Event()

    def submit(self, event) -> None:
        self.heard.append(event)
        self.something.set()

    def now(self) -> Now:
        return Now(1.0, 1_800_000_000_000)

    def words(self) -> list:
        return [event.word for event in self.heard if isinstance(event, Said)]


class Socket:
    """The client's end: ``say`` puts a frame in, ``said`` is what came out, ``end`` the close."""

    def __init__(self, sessions: Sessions) -> None:
        self._in: asyncio.Queue = asyncio.Queue()
        self._in.put_nowait({"type": "websocket.connect"})
        self.said: list[dict] = []
        self.closed: tuple[int, str] | None = None
        self._news = asyncio.Event()
        self.serving = asyncio.create_task(sessions.serve({"headers": []}, self._in.get, self._out))

    async def _out(self, message) -> None:
        if message["type"] == "websocket.send":
            self.said.append(json.loads(message["text"]))
        elif message["type"] == "websocket.close":
            self.closed = (message["code"], message["reason"])
        self._news.set()

    def say(self, frame: dict | str) -> None:
        self._in.put_nowait(
            {"type": "websocket.receive", "text": frame if isinstance(frame, str) else json.dumps(frame)}
        )

    async def hear(self, kind: str) -> dict:
        async with asyncio.timeout(20):
            while True:
                for frame in self.said:
                    if frame["type"] == kind:
                        self.said.remove(frame)
                        return frame
                self._news.clear()
                await self._news.wait()

    async def end(self) -> tuple[int, str] | None:
        await asyncio.wait_for(asyncio.gather(self.serving, return_exceptions=True), 20)
        return self.closed


class Room:
    def __init__(self) -> None:
        self.desk = Desk()
        spec = AgentSpec("a", tokens=(Token(digest(TOKEN)),), where="agents/a.yaml")
        self.agents = {"a": Agent(spec, AgentRecord("a"))}
        self.sessions = Sessions(self.desk, Doorkeeper(self.agents, "admin"), self.agents)

    async def socket(self, **fields) -> Socket:
        socket = Socket(self.sessions)
        socket.say({"type": "identify", "agent_id": "a", "token": TOKEN, **fields})
        await socket.hear("identified")
        return socket


class Company:
    """Agents with mail. ``roles`` maps their ids to roles; every token is ``TOKEN`` and the id."""

    def __init__(self, folder: Path, **roles: Role) -> None:
        self.desk = Desk()
        self.agents = {
            name: Agent(
                AgentSpec(name, role=role, tokens=(Token(digest(token_of(name))),), where=f"agents/{name}.yaml"),
                AgentRecord(name),
            )
            for name, role in roles.items()
        }
        self.office = Office(folder, lambda: self.desk.now().wall)
        self.presence = Presence(self.agents, self.desk.now)
        self.postroom = Postroom(self.office, self.presence, self.agents, self.desk.now)
        self.door = Doorkeeper(self.agents, "admin")
        self.sessions = Sessions(self.desk, self.door, self.agents, Chat(self.postroom, self.agents))
        self.open = True
        self._sockets: list[Socket] = []

    def change(self, name: str, **spec: Any) -> None:
        """Let an agent's file say something else."""
        self.agents[name] = replace(self.agents[name], spec=replace(self.agents[name].spec, **spec))

    async def enter(self, who: str, **fields: Any) -> Socket:
        """Connect an agent."""
        socket = Socket(self.sessions)
        self._sockets.append(socket)
        socket.say({"type": "identify", "agent_id": who, "token": token_of(who), **fields})
        await socket.hear("identified")
        return socket

    async def leave(self, socket: Socket) -> None:
        """End a connection."""
        socket.serving.cancel()
        await asyncio.gather(socket.serving, return_exceptions=True)

    async def close(self) -> None:
        """End all connections and close the mail."""
        while self._sockets:
            await self.leave(self._sockets.pop())
        if self.open:
            self.open = False
            await self.postroom.close()

    async def box(self, name: str) -> list[Any]:
        """Return the payloads in a mailbox."""
        return [letter.payload for letter in await self.postroom.mailbox(name, 0)]


def token_of(name: str) -> str:
    return TOKEN[: -len(name)] + name

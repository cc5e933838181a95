"""Sidecars of two earlier generations, as they speak: what exists in the field connects unmodified (PROTOCOL 1.4).

The first says neither ``instance_id`` nor features nor what it holds, sends no generation but with a result, reconnects
every second for ever, and says nothing of a task after a short cut. The second reports its state, wakes and resources.
Both keep the task in hand on disk; ``kill`` is a process that dies, ``start`` the next one.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

#: What these sidecars wait before they knock again, in seconds: one second in the field.
AGAIN_AFTER = 0.2


class OldSidecar:
    """One agent behind a sidecar of the first generation. ``work`` is what the agent does for a task.

    ``refuse`` answers for a task id whether it is turned away, with which reason.
    """

    def __init__(
        self,
        agent: str,
        token: str,
        port: Callable[[], int],
        folder: Path,
        work: Callable[[str], Any],
        refuse: Callable[[str], str | None] = lambda task_id: None,
    ) -> None:
        self.agent, self.token, self._port, self._work, self._refuse = agent, token, port, work, refuse
        self._queue = folder / f"{agent}.queue.json"
        self._life: asyncio.Task[None] | None = None
        self._working: asyncio.Task[None] | None = None
        self._link: ClientConnection | None = None
        self._unsent: dict[str, Any] | None = None
        self._just_born = True
        self.heard: list[dict[str, Any]] = []

    # --- its process

    def start(self) -> None:
        self._life = asyncio.create_task(self._live(), name=self.agent)

    async def kill(self) -> None:
        """Die at once; what is on disk stays."""
        for task in (self._life, self._working):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in (self._life, self._working) if task), return_exceptions=True)
        self._life = self._working = self._link = self._unsent = None

    def cut(self) -> None:
        """Lose the connection, not the work."""
        if self._link is not None:
            self._link.transport.abort()

    @property
    def in_hand(self) -> dict[str, Any] | None:
        return json.loads(self._queue.read_text()) if self._queue.exists() else None

    async def _live(self) -> None:
        self._just_born = True
        while True:
            with contextlib.suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                async with connect(f"ws://127.0.0.1:{self._port()}/ws", ping_interval=None) as link:
                    await self._session(link)
            self._link = None
            await asyncio.sleep(AGAIN_AFTER)

    async def _session(self, link: ClientConnection) -> None:
        await self._say(link, self.identify())
        async for text in link:
            frame = json.loads(text)
            self.heard.append(frame)
            match frame["type"]:
                case "identified":
                    self._link = link
                    just_born, self._just_born = self._just_born, False
                    await self.returned(link, just_born=just_born)
                case "task_assign":
                    await self._assigned(link, frame)
                case "task_ack" if frame["status"] not in ("accepted", "rejected", "blocked"):
                    self._forget(frame["task_id"])
                case "task_cancelled" | "task_reassign":
                    self._drop(frame["task_id"])
                case "task_continue":
                    self._go_on()
                case "error" if str(frame["error"]).startswith("task_complete_failed"):
                    self._forget(frame.get("task_id"))

    # --- what it says

    def identify(self) -> dict[str, Any]:
        return {
            "type": "identify",
            "agent_id": self.agent,
            "token": self.token,
            "name": self.agent.upper(),
            "status": "connected",
            "capabilities": [{"name": "code", "version": 1}],
            "client_type": "sidecar",
            "protocol_version": 1,
        }

    async def returned(self, link: ClientConnection, *, just_born: bool) -> None:
        """After a start: recover what was in hand. After a cut: say nothing, but deliver what could not be sent."""
        held = self.in_hand
        if just_born and held is not None:
            await self._say(
                link, {"type": "task_recovering", "task_id": held["task_id"], "last_status": held["status"]}
            )
        elif self._unsent is not None:
            await self._say(link, self._unsent)

    async def _assigned(self, link: ClientConnection, frame: dict[str, Any]) -> None:
        task_id = frame["task_id"]
        if self.in_hand is not None:
            await self._say(link, {"type": "task_rejected", "task_id": task_id, "reason": "busy"})
            return
        reason = self._refuse(task_id)
        if reason is not None:
            await self._say(link, {"type": "task_rejected", "task_id": task_id, "reason": reason})
            return
        self._keep(task_id, frame["generation"], "accepted")
        await self._say(link, {"type": "task_accepted", "task_id": task_id})
        await self.woken(link, task_id)
        self._keep(task_id, frame["generation"], "working")
        self._go_on()

    async def woken(self, link: ClientConnection, task_id: str) -> None:
        """Nothing is said of a wake by the first generation."""

    def _go_on(self) -> None:
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._finish())

    async def _finish(self) -> None:
        held = self.in_hand
        if held is None:
            return
        await self._work(held["task_id"])
        self._unsent = {
            "type": "task_complete",
            "task_id": held["task_id"],
            "generation": held["generation"],
            "result": {"status": "success", "summary": f"done by {self.agent}"},
            "tokens_used": 7,
        }
        if self._link is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._say(self._link, self._unsent)

    # --- its disk

    def _keep(self, task_id: str, generation: int, status: str) -> None:
        self._queue.write_text(json.dumps({"task_id": task_id, "generation": generation, "status": status}))

    def _forget(self, task_id: str | None) -> None:
        held = self.in_hand
        if held is not None and held["task_id"] == task_id:
            self._queue.unlink()
            self._unsent = None

    def _drop(self, task_id: str) -> None:
        held = self.in_hand
        if held is not None and held["task_id"] == task_id:
            if self._working is not None:
                self._working.cancel()
            self._forget(task_id)

    @staticmethod
    async def _say(link: ClientConnection, frame: dict[str, Any]) -> None:
        await link.send(json.dumps(frame))


class NewerSidecar(OldSidecar):
    """The second generation: it reports the state of what it holds after every connect, its wakes and resources."""

    def identify(self) -> dict[str, Any]:
        return {**super().identify(), "capabilities": ["code", "review"], "sidecar_version": "2.3.0"}

    async def returned(self, link: ClientConnection, *, just_born: bool) -> None:
        await self._say(link, {"type": "resource_report", "cpu": 0.1, "memory": {"free": 5}})
        await self._say(link, {"type": "ollama_report", "models": []})
        held = self.in_hand
        if held is not None:
            await self._say(link, {"type": "state_report", **held})
            if just_born:
                self._go_on()
        if self._unsent is not None:
            await self._say(link, self._unsent)

    async def woken(self, link: ClientConnection, task_id: str) -> None:
        await self._say(link, {"type": "wake_result", "task_id": task_id, "status": "success", "attempt": 1})

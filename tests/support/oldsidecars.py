"""Sidecars of version 1, as they speak: what exists in the field connects unmodified (PROTOCOL 1.4).

Modelled on what the Node sidecars do, the first one and the last one. Both say neither ``instance_id`` nor features nor
what they hold, keep the task in hand in queue.json and generations only in memory, say a generation only with a result,
and say nothing of a task after a short cut. A result is said once: when the connection is gone just then, it is lost,
and the sidecar is free. ``kill`` is a process that dies, ``start`` the next one.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

#: What these sidecars wait before they knock again, in seconds: one second, doubling, in the field.
AGAIN_AFTER = 0.2


class OldSidecar:
    """One agent behind the first Node sidecar. ``work`` is what the agent does for a task.

    ``refuse`` answers for a task id whether it is turned away, with which reason. ``lost`` names the tasks whose result
    no hub has answered for.
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
        self.folder = folder / agent
        self.folder.mkdir(exist_ok=True)
        self._generations: dict[str, int] = {}
        self._life: asyncio.Task[None] | None = None
        self._working: asyncio.Task[None] | None = None
        self._link: ClientConnection | None = None
        self.heard: list[dict[str, Any]] = []
        self.lost: list[str] = []

    # --- its process

    def start(self) -> None:
        """Begin to live; what was in hand is what has to be recovered."""
        queue = self._queue()
        if queue["active"] is not None:
            self._keep(active=None, recovering=queue["active"])
        self._life = asyncio.create_task(self._live(), name=self.agent)

    async def kill(self) -> None:
        """Die at once; what is on disk stays."""
        for task in (self._life, self._working):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in (self._life, self._working) if task), return_exceptions=True)
        self._life = self._working = self._link = None
        self._generations.clear()

    def cut(self) -> None:
        """Lose the connection, not the work."""
        if self._link is not None:
            self._link.transport.abort()

    @property
    def in_hand(self) -> dict[str, Any] | None:
        """The task that it works on, or has not yet asked about after a start."""
        queue = self._queue()
        task: dict[str, Any] | None = queue["active"] or queue["recovering"]
        return task

    async def _live(self) -> None:
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
            await self.hear(link, frame)

    async def hear(self, link: ClientConnection, frame: dict[str, Any]) -> None:
        """Take one frame of the hub; what is not here is not known to it, ``task_cancelled`` too."""
        queue = self._queue()
        recovering = queue["recovering"]
        match frame["type"]:
            case "identified":
                self._link = link
                await self.came_in(link)
                if recovering is not None:
                    said = {name: recovering[name] for name in ("task_id", "description", "metadata")}
                    await self._say(link, {"type": "task_recovering", **said, "last_status": recovering["status"]})
            case "task_assign":
                await self._assigned(link, frame)
            case "task_ack" if frame["status"] == "complete" and frame["task_id"] in self.lost:
                self.lost.remove(frame["task_id"])
            case "task_reassign":
                self._generations.pop(frame["task_id"], None)
                if recovering is not None and recovering["task_id"] == frame["task_id"]:
                    self._keep(active=queue["active"], recovering=None)
            case "task_continue":
                self._generations[frame["task_id"]] = frame["generation"]
                if recovering is not None and recovering["task_id"] == frame["task_id"]:
                    self._keep(active=recovering, recovering=None)
                    self._go_on()

    # --- what it says

    def identify(self) -> dict[str, Any]:
        return {
            "type": "identify",
            "agent_id": self.agent,
            "token": self.token,
            "name": self.agent,
            "status": "idle",
            "capabilities": ["code"],
            "client_type": "sidecar",
        }

    async def came_in(self, link: ClientConnection) -> None:
        """The first one says nothing more of itself."""

    async def _assigned(self, link: ClientConnection, frame: dict[str, Any]) -> None:
        task_id = frame["task_id"]
        queue = self._queue()
        reason = "busy" if queue["active"] is not None else self._refuse(task_id)
        if reason is not None:
            await self._say(link, {"type": "task_rejected", "task_id": task_id, "reason": reason})
            return
        self._generations[task_id] = frame["generation"]
        task = {
            "task_id": task_id,
            "description": frame["description"],
            "metadata": frame["metadata"],
            "status": "accepted",
            "assigned_at": frame["assigned_at"],
            "generation": frame["generation"],
            "wake_attempts": 0,
        }
        self._keep(active=task, recovering=queue["recovering"])
        await self._say(link, {"type": "task_accepted", "task_id": task_id})
        await self.woken(link, task_id)
        for status in ("waking", "waking_confirmation", "working"):
            self._keep(active={**task, "status": status, "wake_attempts": 1}, recovering=queue["recovering"])
        self._go_on()

    async def woken(self, link: ClientConnection, task_id: str) -> None:
        """Nothing is said of a wake by the first one."""

    def result(self, task_id: str) -> dict[str, Any]:
        """Return the frame that says what the agent's result file holds."""
        return {
            "type": "task_complete",
            "task_id": task_id,
            "result": {"status": "success", "output": f"done by {self.agent}"},
            "generation": self._generations.pop(task_id, 0),
        }

    def _go_on(self) -> None:
        self._working = asyncio.create_task(self._finish(self._queue()["active"]["task_id"]))

    async def _finish(self, task_id: str) -> None:
        await self._work(task_id)
        queue = self._queue()
        if queue["active"] is None or queue["active"]["task_id"] != task_id:
            return
        self.lost.append(task_id)
        if self._link is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._say(self._link, self.result(task_id))
        self._keep(active=None, recovering=queue["recovering"])

    # --- its disk

    def _queue(self) -> dict[str, Any]:
        try:
            queue: dict[str, Any] = json.loads((self.folder / "queue.json").read_text())
        except FileNotFoundError:
            return {"active": None, "recovering": None}
        return queue

    def _keep(self, **queue: dict[str, Any] | None) -> None:
        (self.folder / "queue.json").write_text(json.dumps(queue, indent=2))

    @staticmethod
    async def _say(link: ClientConnection, frame: dict[str, Any]) -> None:
        await link.send(json.dumps({**frame, "protocol_version": 1}))


class NewerSidecar(OldSidecar):
    """The last Node sidecar: it tells of its machine and its wakes, verifies results, and knows ``task_cancelled``."""

    async def came_in(self, link: ClientConnection) -> None:
        metrics = {"cpu_percent": 12.5, "ram_used_bytes": 1, "ram_total_bytes": 2, "vram_used_bytes": None}
        report = {"type": "resource_report", "agent_id": self.agent, **metrics, "vram_total_bytes": None}
        await self._say(link, {**report, "timestamp": 1_771_000_000_000})

    async def woken(self, link: ClientConnection, task_id: str) -> None:
        await self._say(link, {"type": "wake_result", "task_id": task_id, "status": "success", "attempt": 1})

    def result(self, task_id: str) -> dict[str, Any]:
        summary = {"total": 0, "passed": 0, "failed": 0, "errors": 0, "timed_out": 0}
        report = {"task_id": task_id, "run_number": 1, "status": "auto_pass", "checks": [], "summary": summary}
        return {**super().result(task_id), "verification_report": report, "verification_history": None}

    async def hear(self, link: ClientConnection, frame: dict[str, Any]) -> None:
        if frame["type"] == "task_cancelled":
            kept = {
                place: None if task is not None and task["task_id"] == frame["task_id"] else task
                for place, task in self._queue().items()
            }
            self._keep(**kept)
            self._generations.pop(frame["task_id"], None)
        await super().hear(link, frame)

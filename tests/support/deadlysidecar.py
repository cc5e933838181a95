"""A sidecar that kills itself at a named step: ``python deadlysidecar.py STEP LOG run --config FILE``.

It stands between the sidecar and the system: around the core, the files that it makes durable, the processes that it
starts, the frames that it sends. The first moment named STEP ends it by SIGKILL, and LOG gets one line with that name.
With STEP ``nothing`` it lives on, and LOG gets the name of every moment, from the first assignment to the end of it.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.deadly import around, file_of

#: What one attempt consists of, from the frame that brings it to the answer for its result, in this order.
STEPS = (
    *("assignment received", "assignment decided"),
    *("accepted fsynced", "accepted renamed", "accepted folder fsynced", "accepted persisted", "task_accepted sent"),
    *("running fsynced", "running renamed", "running folder fsynced", "running persisted"),
    *("packet laid out", "started fsynced", "started renamed", "attempt folder fsynced", "results folder fsynced"),
    *("launcher begun", "task_progress sent"),
    *("end received", "end decided"),
    *("result fsynced", "result renamed", "result folder fsynced", "result persisted", "task_complete sent"),
    *(
        "ack received",
        "ack decided",
        "forgotten fsynced",
        "forgotten renamed",
        "forgotten folder fsynced",
        "forgotten persisted",
    ),
)
#: What every start begins with, whatever there is to recover.
RESTORED = "restored decided"

_NAMES = (
    (re.compile(r"/\.?queue\.json[^/]*$"), "queue"),
    (re.compile(r"/[^/]+\.\d+/\.?started[^/]*$"), "started"),
    (re.compile(r"/results/[^/]+\.\d+$"), "attempt folder"),
    (re.compile(r"/results$"), "results folder"),
    (re.compile(r"/(?:instance-id|sidecar\.pid)$"), ""),
    (re.compile(r"/\.(?:instance-id|sidecar\.pid)[^/]*$"), ""),
)


class Fate:
    """When to die. ``saving`` is what the queue that is being saved says of the attempt."""

    def __init__(self, step: str, log: Path) -> None:
        self.step = step
        self.saving = ""
        self.armed = False
        self._log = log

    def moment(self, name: str) -> None:
        """Something named has just happened."""
        if not name or not (name == self.step or (self.step == "nothing" and self.armed)):
            return
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
        if name == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    def disk(self, path: object, done: str) -> None:
        """Something was done to a file; saving the queue has names of its own."""
        text = os.fsdecode(path)  # type: ignore[arg-type]
        if self.saving and Path(text).is_dir() and not text.endswith("/results"):
            self.moment(f"{self.saving} folder fsynced")
            return
        name = next((name for pattern, name in _NAMES if pattern.search(text)), text)
        name = self.saving if name == "queue" else name
        self.moment(f"{name} {done}" if name else "")


def watch_disk(fate: Fate) -> None:
    """Name what is made durable."""
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(handle: int) -> None:
        real_fsync(handle)
        fate.disk(file_of(handle), "fsynced")

    def replace(old: Any, new: Any, **more: Any) -> None:
        real_replace(old, new, **more)
        fate.disk(new, "renamed")

    os.fsync, os.replace = fsync, replace  # type: ignore[assignment]


def kind_of(queue: Any) -> str:
    """Return what the attempt has come to in a queue that is saved."""
    if queue.attempt is not None:
        return str(queue.attempt.stage)
    return "result" if queue.parcels else "forgotten"


def watch_sidecar(fate: Fate) -> None:
    """Name what the sidecar hears, decides, keeps, starts and says."""
    from websockets.asyncio.client import ClientConnection

    from coordinator.wire.frames import TaskAck, TaskAssign
    from sidecar import events
    from sidecar.core import Core
    from sidecar.outbox import Outbox

    def name_of(event: Any) -> str:
        match event:
            case events.Restored():
                return "restored"
            case events.Received(frame=TaskAssign()):
                return "assignment"
            case events.Received(frame=TaskAck(status="complete")):
                return "ack"
            case events.Ended():
                return "end"
        return ""

    def handle(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, event: Any, now: float) -> Any:
            name = name_of(event)
            fate.armed |= name == "assignment"
            fate.moment((name and name != "restored" and f"{name} received") or "")
            effects = real(self, event, now)
            fate.moment(name and f"{name} decided")
            return effects

        return call

    def save(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, queue: Any) -> None:
            fate.saving = kind_of(queue)
            real(self, queue)
            fate.moment(f"{fate.saving} persisted")
            fate.saving = ""

        return call

    def mark_started(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, key: Any) -> None:
            fate.moment("packet laid out")
            real(self, key)

        return call

    def send(real: Callable[..., Any]) -> Callable[..., Any]:
        async def call(self: Any, message: Any, *args: Any, **more: Any) -> None:
            await real(self, message, *args, **more)
            word = re.match(r'\{"type":"(task_\w+)"', message)
            fate.moment(f"{word[1]} sent" if word else "")

        return call

    real_exec = asyncio.create_subprocess_exec

    async def spawn(*args: Any, **more: Any) -> Any:
        process = await real_exec(*args, **more)
        fate.moment("launcher begun")
        return process

    asyncio.create_subprocess_exec = spawn
    around(Core, "handle", handle)
    around(Outbox, "save", save)
    around(Outbox, "mark_started", mark_started)
    around(ClientConnection, "send", send)


def main() -> None:
    """Run the command line with a fate."""
    step, log, *argv = sys.argv[1:]
    fate = Fate(step, Path(log))
    watch_sidecar(fate)
    watch_disk(fate)
    from sidecar.cli import main as sidecar

    sys.argv[1:] = argv
    sidecar()


if __name__ == "__main__":
    main()

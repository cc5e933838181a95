"""A hub that kills itself at a named step: a program, run as ``python deadly.py STEP KIND LOG hub --listen ...``.

It stands between the hub and the system: around the core, the store, the net, the calls of ``os`` that change a disk
and the git processes. From the first event of KIND on, the first moment named STEP ends it by SIGKILL, and LOG gets one
line with that name. With STEP ``nothing`` the hub lives on, and LOG gets the name of every moment of the first flush.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What happens around a flush, in this order.
DECIDE = ("event received", "event decided", "flush begun", "writers lock made")
#: What the pack engine does to the disk.
PACK = (
    *("ref lock made", "ref lock written", "keep made", "keep written"),
    *("pack made", "pack written", "index made", "index written"),
    *("pack fsynced", "index fsynced", "ref lock fsynced", "pack renamed", "index renamed", "pack folder fsynced"),
    *("reflog made", "reflog written", "ref renamed", "ref folder fsynced", "keep removed"),
)
#: What git does for us: "begun" leaves the git program behind, alive.
UPDATE_REF = ("update-ref begun", "update-ref ended", "ref folder fsynced")
PLAIN = ("fast-import begun", "fast-import fed", "fast-import ended", "pack folder fsynced", *UPDATE_REF)
#: What follows once the ref is moved.
NOTE = ("tip record made", "tip record written", "flush ended")
STEPS = {"pack": (*DECIDE, *PACK, *NOTE), "plain": (*DECIDE, *PLAIN, *NOTE)}

#: Which frame an event of a kind comes from, and which one tells its effect.
FRAMES = {
    "started": (None, None),
    "observed": (None, "task_assign"),
    "accepted": ("task_accepted", None),
    "completed": ("task_complete", "task_ack"),
}


def steps_of(engine: str, kind: str) -> tuple[str, ...]:
    """Return the named steps of one transition, from the frame that asks for it to the frame that answers."""
    heard, sent = FRAMES[kind]
    before = ("branch loaded",) if kind == "started" else ("frame heard",) if heard else ()
    return (*before, *STEPS[engine], *(("effect sent", "frame sent") if sent else ()))


class Fate:
    """When to die. ``armed`` from the first event of the kind on, ``flushing`` while a flush is under way."""

    def __init__(self, step: str, kind: str, log: Path) -> None:
        self.step = step
        self.kind = kind
        self.armed = kind == "started"
        self.flushing = False
        self._log = log

    def moment(self, name: str) -> None:
        """Something named has just happened."""
        if not self.armed or not (name == self.step or (self.step == "nothing" and self.flushing)):
            return
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
        if name == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


_NAMES = (
    (re.compile(r"/flush\.lock$"), "writers lock"),
    (re.compile(r"/state-tip$"), "tip record"),
    (re.compile(r"/pack-\w+\.keep$"), "keep"),
    (re.compile(r"/(?:pack-\w+\.pack|\.agentcom-flush-pack)$"), "pack"),
    (re.compile(r"/(?:pack-\w+\.idx|\.agentcom-flush-idx)$"), "index"),
    (re.compile(r"/objects/pack$"), "pack folder"),
    (re.compile(r"/logs/refs/heads/agentcom/state$"), "reflog"),
    (re.compile(r"/refs/heads/agentcom/state\.lock$"), "ref lock"),
    (re.compile(r"/refs/heads/agentcom/state$"), "ref"),
    (re.compile(r"/refs/heads/agentcom$"), "ref folder"),
)


def name_of(path: object) -> str:
    """Return what a file of the repository is for, its path when nobody has named that."""
    text = os.fsdecode(path)  # type: ignore[arg-type]
    return next((name for pattern, name in _NAMES if pattern.search(text)), text)


def file_of(handle: int) -> str:
    """Return the path of an open file; of a pipe or a socket, what the system calls it."""
    return str(Path(f"/proc/self/fd/{handle}").readlink())


def watch_disk(fate: Fate) -> None:
    """Name what the calls of ``os`` do to the disk."""
    real_open, real_write, real_pwrite, real_fsync = os.open, os.write, os.pwrite, os.fsync
    real_replace, real_unlink, real_mkdir = os.replace, os.unlink, os.mkdir

    def opened(path: Any, flags: int, *args: Any, **more: Any) -> int:
        handle = real_open(path, flags, *args, **more)
        if flags & os.O_CREAT:
            fate.moment(f"{name_of(path)} made")
        return handle

    def write(handle: int, data: Any) -> int:
        done = real_write(handle, data)
        if fate.flushing and (file := file_of(handle)).startswith("/"):
            fate.moment(f"{name_of(file)} written")
        return done

    def pwrite(handle: int, data: Any, offset: int) -> int:
        done = real_pwrite(handle, data, offset)
        fate.moment(f"{name_of(file_of(handle))} written")
        return done

    def fsync(handle: int) -> None:
        real_fsync(handle)
        fate.moment(f"{name_of(file_of(handle))} fsynced")

    def replace(old: Any, new: Any, **more: Any) -> None:
        real_replace(old, new, **more)
        fate.moment(f"{name_of(new)} renamed")

    def unlink(path: Any, **more: Any) -> None:
        real_unlink(path, **more)
        fate.moment(f"{name_of(path)} removed")

    def mkdir(path: Any, *args: Any, **more: Any) -> None:
        real_mkdir(path, *args, **more)
        fate.moment(f"{name_of(path)} made")

    os.open, os.write, os.pwrite, os.fsync = opened, write, pwrite, fsync  # type: ignore[assignment]
    os.replace, os.unlink, os.mkdir = replace, unlink, mkdir  # type: ignore[assignment]


def watch_git(fate: Fate) -> None:
    """Name what git processes that write do; one that has only begun, or was only fed, goes on without its hub."""
    real_init, real_communicate = subprocess.Popen.__init__, subprocess.Popen.communicate

    def command_of(process: subprocess.Popen[Any]) -> str:
        words = process.args if isinstance(process.args, list) else []
        return next((str(word) for word in words if word in {"fast-import", "update-ref"}), "")

    def init(self: Any, *args: Any, **more: Any) -> None:
        real_init(self, *args, **more)
        if command := command_of(self):
            fate.moment(f"{command} begun")

    def communicate(self: Any, input: Any = None, timeout: Any = None) -> Any:
        command = command_of(self)
        if command and fate.armed and fate.step == f"{command} fed":
            self.stdin.write(input)
            self.stdin.close()
            fate.moment(f"{command} fed")
        said = real_communicate(self, input, timeout)
        if command:
            fate.moment(f"{command} ended")
        return said

    subprocess.Popen.__init__ = init  # type: ignore[method-assign]
    subprocess.Popen.communicate = communicate  # type: ignore[method-assign]


def around(owner: Any, method: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put something around a method of a class."""
    setattr(owner, method, wrap(getattr(owner, method)))


def watch_hub(fate: Fate) -> None:
    """Name what the hub does between hearing and saying."""
    from coordinator.core import events
    from coordinator.core.reconciler import Core
    from coordinator.git.journal import GitStore
    from coordinator.web.asgi import Port
    from coordinator.web.sockets import Sessions

    words = {"accepted": events.Accepted, "completed": events.Complete}
    heard, sent = FRAMES[fate.kind]

    def is_of_kind(event: Any) -> bool:
        if fate.kind in words:
            return isinstance(event, events.Said) and isinstance(event.word, words[fate.kind])
        return isinstance(event, events.Started if fate.kind == "started" else events.Observed)

    def handle(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, event: Any, now: Any) -> Any:
            ours = is_of_kind(event)
            fate.armed |= ours
            if ours:
                fate.moment("event received")
            effects = real(self, event, now)
            if ours:
                fate.moment("event decided")
            return effects

        return call

    def flush(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, commits: Any) -> Any:
            fate.flushing = fate.armed
            fate.moment("flush begun")
            tip = real(self, commits)
            fate.moment("flush ended")
            fate.flushing = False
            if fate.step == "nothing":
                fate.armed = False
            return tip

        return call

    def recover(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **more: Any) -> Any:
            fold = real(self, *args, **more)
            fate.moment("branch loaded")
            return fold

        return call

    def send(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, agent: str, session: str, message: Any) -> None:
            real(self, agent, session, message)
            fate.moment("effect sent")

        return call

    def serve(real: Callable[..., Any]) -> Callable[..., Any]:
        async def call(self: Any, scope: Any, receive: Any, transmit: Any) -> None:
            async def hearing() -> Any:
                message = await receive()
                if heard is not None and f'"{heard}"' in (message.get("text") or ""):
                    fate.armed |= fate.step == "frame heard"
                    fate.moment("frame heard")
                return message

            async def saying(message: Any) -> None:
                await transmit(message)
                if sent is not None and f'"{sent}"' in (message.get("text") or ""):
                    fate.moment("frame sent")

            await real(self, scope, hearing, saying)

        return call

    around(Core, "handle", handle)
    around(GitStore, "flush", flush)
    around(GitStore, "recover", recover)
    around(Sessions, "send", send)
    around(Port, "__call__", serve)


def main() -> None:
    """Run the command line with a fate."""
    step, kind, log, *argv = sys.argv[1:]
    fate = Fate(step, kind, Path(log))
    watch_hub(fate)
    watch_disk(fate)
    watch_git(fate)
    from coordinator.cli import main as agentcom

    agentcom(argv)


if __name__ == "__main__":
    main()

"""An ``agentcom agent add`` that kills itself at a named moment; run as ``python deadlyadd.py MOMENT BOOTED add ...``.

BOOTED is a folder that stands for a machine run by systemd. With the moment ``full`` it lives on, and fills the disk of
its folder once the hub has registered the agent.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Moments inside of the eight steps, in their order.
MOMENTS = (
    *("preflight: probe written", "identity: looked for services", "register: key kept", "register: answered"),
    *("register: token written", "config: closed to others", "service: unit written", "service: started"),
    *("identified: asked", "wake: begun", "task: looked for", "task: done"),
)
#: The same for ``--repo``, where the token is made here.
REPO_MOMENTS = ("register: token written", "register: committed")
FILLER = "filler"


def main(moment: str, booted: str, *argv: str) -> None:
    from coordinator.cli import joining
    from coordinator.cli import main as agentcom
    from coordinator.services import machine

    def at(owner: Any, attribute: str, name: str, true: Callable[..., bool] = lambda *_: True) -> None:
        """Die after a call, if this is the moment and something is true of its arguments."""
        before = getattr(owner, attribute)

        def call(*args: Any, **more: Any) -> Any:
            result = before(*args, **more)
            if moment == name and true(*args):
                os.kill(os.getpid(), signal.SIGKILL)
            if moment == "full" and name == "register: answered":
                fill(args[0].w.folder / FILLER)
            return result

        setattr(owner, attribute, call)

    machine.BOOTED = Path(booted)
    join = joining._Join
    at(Path, "write_bytes", MOMENTS[0], lambda path, *_: path.name.startswith(".probe"))
    at(join, "_agree", MOMENTS[1])
    at(joining, "_private", MOMENTS[2], lambda path, *_: path.name == "asked.json")
    at(join, "_registered", MOMENTS[3])
    at(join, "_write", MOMENTS[4])
    at(join, "_commit", REPO_MOMENTS[1])
    at(Path, "chmod", MOMENTS[5], lambda path, *_: path.name == "config.yaml")
    at(machine, "write_whole", MOMENTS[6])
    at(machine, "install", MOMENTS[7])
    at(join, "_state", MOMENTS[8])
    at(subprocess.Popen, "__init__", MOMENTS[9], lambda _, argv, *__: "doctor" in argv)
    at(join, "_find_task", MOMENTS[10])
    at(join, "_task", MOMENTS[11])
    agentcom(["agent", *argv])


def fill(file: Path) -> None:
    """Leave no room on the disk of a file."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as filler:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while filler.write(bytes(size)):
                    pass


if __name__ == "__main__":
    main(*sys.argv[1:])

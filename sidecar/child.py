"""One child process through the launcher, from its start to the end of its whole family.

sidecar -> launcher -> child in a session of its own. The launcher ends the whole family when it is told to, when the
child is done, and when the sidecar dies (launch.py). What even that leaves is found at the next start by the pid and
start time on record and, on Linux, by the result file's path in the environment of its processes. It knows no task.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar import launch
from sidecar.outcome import Exit
from sidecar.values import Failure

logger = logging.getLogger(__name__)

#: How long the launcher may take beyond the child's grace before it is killed itself, in seconds.
LAUNCHER_SLACK_S = 10.0
#: How often a running child's output is looked at when its runtime asks for that, in seconds.
LOOK_EVERY_S = 2.0
#: How long to wait at start for what an earlier sidecar left to vanish, in seconds.
LEFTOVER_S = 5.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to run and where its output goes; ``limit``, ``grace`` are seconds. ``spare``: what it starts may go on.

    ``look`` is asked again and again, with the seconds so far, whether the child must end early, and why.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path
    folder: Path
    log_bytes: int
    grace: float
    limit: float | None = None
    spare: bool = False
    stdin: Path | None = None
    streams: tuple[Path, Path] | None = None
    look: Callable[[float], Failure | None] | None = None


async def run(order: Order, kill: asyncio.Event) -> Exit:
    """Run one child until it ends, is killed, is out of time or is given up. Raises OSError."""
    spec = {
        "argv": order.argv,
        "cwd": str(order.cwd),
        "stdin": order.stdin and str(order.stdin),
        "log": str(order.folder / "output.log"),
        "streams": order.streams and [str(path) for path in order.streams],
        "log_limit": order.log_bytes,
        "record": str(order.folder / "process.json"),
        "grace": order.grace,
        "spare": order.spare,
    }
    file = order.folder / "launch.json"
    await asyncio.to_thread(file.write_text, json.dumps(spec), encoding="utf-8")
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", launch.__file__, str(file)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=order.environment,
        start_new_session=True,
    )
    timed_out, given_up, answer = await _wait(process, order, kill, began)
    if answer is None:
        await asyncio.to_thread(end_leftovers, order.folder, order.spare)
        answer = {"code": -signal.SIGKILL, "error": "the launcher was killed"}
    return Exit(
        code=answer.get("code"),
        seconds=time.monotonic() - began,
        output_bytes=answer.get("output_bytes", 0),
        error=answer.get("error", ""),
        timed_out=timed_out,
        given_up=given_up,
        command=Path(order.argv[0]).name,
    )


async def _wait(
    process: asyncio.subprocess.Process, order: Order, kill: asyncio.Event, began: float
) -> tuple[bool, Failure | None, dict[str, Any] | None]:
    """Wait for the launcher's last line, hurrying it when the child is killed, out of time or given up.

    The line is None when the launcher died: then nobody has ended the family.
    """
    if process.stdout is None or process.stdin is None:
        raise OSError("the launcher has no pipes")
    reading = asyncio.create_task(process.stdout.read())
    hurry = asyncio.create_task(kill.wait())
    given_up: Failure | None = None
    try:
        while not reading.done() and not hurry.done() and given_up is None:
            left = None if order.limit is None else order.limit - (time.monotonic() - began)
            if left is not None and left <= 0:
                break
            pauses = [pause for pause in (left, LOOK_EVERY_S if order.look else None) if pause is not None]
            await asyncio.wait({reading, hurry}, timeout=min(pauses, default=None), return_when=asyncio.FIRST_COMPLETED)
            if order.look is not None and not reading.done():
                given_up = await asyncio.to_thread(order.look, time.monotonic() - began)
        timed_out = not reading.done() and not kill.is_set() and given_up is None
        if not reading.done():
            with contextlib.suppress(OSError):
                process.stdin.write(b"T")
            await asyncio.wait({reading}, timeout=order.grace + LAUNCHER_SLACK_S)
        if not reading.done():
            process.kill()
        line = await reading
    finally:
        hurry.cancel()
        reading.cancel()
        process.stdin.close()
        await process.wait()
    return timed_out, given_up, json.loads(line) if line else None


def end_leftovers(folder: Path, spare: bool = False) -> None:
    """Kill what an earlier sidecar's attempt in ``folder`` has left alive, and wait until it is gone.

    The launcher kills the family itself as soon as its sidecar dies, so mostly this only waits for it. ``spare`` ends
    only the recorded command and its launcher.
    """
    marker = b"AGENTCOM_RESULT_FILE=" + os.fsencode(folder / "result.json")
    deadline = time.monotonic() + LEFTOVER_S
    while True:
        alive = _recorded(folder) + ([] if spare else _marked(marker))
        for pid, is_group in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if is_group else os.kill)(pid, signal.SIGKILL)
        if not alive:
            return
        if time.monotonic() > deadline:
            logger.error("processes of an earlier run do not die: %s", sorted({pid for pid, _ in alive}))
            return
        time.sleep(0.02)


def _recorded(folder: Path) -> list[tuple[int, bool]]:
    """Return (pid, is it a group) of what process.json names and still is the same process."""
    try:
        record = json.loads((folder / "process.json").read_text(encoding="utf-8"))
        known = [
            (int(record["group"]), True, record["start"]),
            (int(record["launcher"]), False, record["launcher_start"]),
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [(pid, group) for pid, group, start in known if start is not None and launch.start_time(pid) == start]


def _marked(marker: bytes) -> list[tuple[int, bool]]:
    """Return every living process whose environment holds ``marker``; none where there is no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(entry.name)
            if marker in (entry / "environ").read_bytes().split(b"\0") and launch.start_time(pid) is not None:
                found.append((pid, False))
    return found

"""An agent that is woken and works by itself: wake, wait for its mark, wait for its result.

The wake is repeated only while nothing was confirmed, so that no work is ever begun twice by us. Marks and results are
files: ``confirmed`` and ``result.json`` in the attempt's folder, or, from agents of the Node sidecar, ``ID.started``
and ``ID.json`` in the results folder. A file that names another generation than ours never counts.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from coordinator.wire import plain
from sidecar import child
from sidecar.child import Order
from sidecar.durable import read_plain
from sidecar.folder import Folder, read_result_file
from sidecar.outbox import Outbox
from sidecar.outcome import Exit, clean, judge, read_result
from sidecar.runtimes.schema import Definition
from sidecar.values import Failure, Key, Outcome

#: How often marks and results are looked for, in seconds.
LOOK_EVERY_S = 0.5
#: How long one wake command may take, in seconds.
WAKE_LIMIT_S = 60.0
#: A result file that is no JSON is taken as it is when nobody has written to it for so long, in seconds.
SETTLED_S = 5.0
#: So much of a mark is read, in bytes.
MARK_BYTES = 64 * 1024


def forget_older(outbox: Outbox, key: Key) -> None:
    """Remove what earlier attempts of this task have left in the results folder. Raises OSError."""
    for path in _flat(outbox, key):
        path.unlink(missing_ok=True)


async def wait_for(
    key: Key, order: Order, definition: Definition, outbox: Outbox, kill: asyncio.Event
) -> Outcome | None:
    """Wake the agent unless it has confirmed already; return what it reports, None when ``kill`` came first.

    ``order`` is the wake command; its ``limit`` is the time of the whole attempt. Raises OSError.
    """
    folder = Folder(order.folder)
    deadline = None if order.limit is None else time.monotonic() + order.limit
    last: Exit | None = None

    def confirmed() -> bool:
        return _has_confirmed(folder, outbox, key) or result_of(folder, outbox, key) is not None

    pauses = (*definition.wake.again, definition.wake.confirm)
    for pause in pauses:
        if confirmed() or kill.is_set():
            break
        last = await child.run(replace(order, limit=WAKE_LIMIT_S), kill)
        if last.code is None:
            return judge(last, None, folder.printed(), definition, _now())
        await _until(confirmed, time.monotonic() + pause, kill)
    if not confirmed() and not kill.is_set():
        return _nobody_came(definition, folder, last, len(pauses))
    await _until(lambda: result_of(folder, outbox, key) is not None, deadline, kill)
    result = result_of(folder, outbox, key)
    if result is not None:
        return read_result(result, clean(folder.tail()))
    if kill.is_set():
        return None
    return Failure(
        f"the agent has not reported within {order.limit:.0f} s", "timeout", output_tail=clean(folder.tail())
    )


def result_of(folder: Folder, outbox: Outbox, key: Key) -> bytes | None:
    """Return what the agent has reported, None while it has not, or is still writing."""
    for path in (folder.result_file, _flat(outbox, key)[1]):
        data = read_result_file(path)
        if data is None:
            continue
        try:
            said = plain.read(data)
        except ValueError:
            if _age(path) > SETTLED_S:
                return data
            continue
        if not (isinstance(said, dict) and _is_other(said.get("generation"), key)):
            return data
    return None


def _has_confirmed(folder: Folder, outbox: Outbox, key: Key) -> bool:
    if folder.confirmed_file.exists():
        return True
    try:
        text = read_plain(_flat(outbox, key)[0], MARK_BYTES)
    except OSError:
        return False
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return True
    return not (isinstance(said, dict) and _is_other(said.get("generation"), key))


def _is_other(generation: object, key: Key) -> bool:
    return generation is not None and str(generation) != str(key.generation)


def _nobody_came(definition: Definition, folder: Folder, last: Exit | None, wakes: int) -> Failure:
    """Say that the agent does not wake, with the last command's own complaint if it had one."""
    text = f"woken {wakes} times, and the agent confirmed nothing"
    tail = clean(folder.tail())
    if last is not None and (last.code != 0 or last.timed_out):
        complaint = judge(last, None, folder.printed(), definition, _now())
        if isinstance(complaint, Failure):
            text += f"; {complaint.error}"
    elif last is not None:
        text += f"; {last.command} exited with 0"
    return Failure(text, "environment", output_tail=tail)


def _flat(outbox: Outbox, key: Key) -> tuple[Path, Path]:
    """Return where agents of the Node sidecar leave their mark and their result."""
    return outbox.results_dir / f"{key.task_id}.started", outbox.results_dir / f"{key.task_id}.json"


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _now() -> int:
    return time.time_ns() // 1_000_000


async def _until(condition: Callable[[], bool], deadline: float | None, kill: asyncio.Event) -> None:
    """Wait until the condition holds, the deadline (monotonic seconds) is past or ``kill`` is set."""
    while not kill.is_set() and not await asyncio.to_thread(condition):
        left = LOOK_EVERY_S if deadline is None else min(LOOK_EVERY_S, deadline - time.monotonic())
        if left <= 0:
            return
        try:
            async with asyncio.timeout(left):
                await kill.wait()
        except TimeoutError:
            continue

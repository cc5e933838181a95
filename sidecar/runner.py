"""Runs one attempt as a child process and turns its end into ``Ended``; it decides nothing about tasks.

sidecar -> launcher -> child in a session of its own. The launcher ends the whole family when it is told to, when the
child is done, and when the sidecar dies (launch.py). What even that leaves is found at the next start by the pid and
start time on record and, on Linux, by the result file's path in the environment of its processes.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coordinator.wire import plain
from coordinator.wire.frames import TaskAssign
from sidecar import launch
from sidecar.core import STOPPED_DURING_RUN
from sidecar.events import Ended
from sidecar.outbox import Outbox
from sidecar.outcome import QUESTION_CHARS, TAIL_BYTES, Exit, clean, judge, read_result
from sidecar.packet import build, overhead_tokens
from sidecar.runtimes.catalogue import Runtime
from sidecar.spool import Spool
from sidecar.values import Blocked, Failure, Key, Outcome, Success, key_of

logger = logging.getLogger(__name__)

#: Each of the two output files of an attempt grows to this many bytes at most.
LOG_BYTES = 1024 * 1024
#: Largest result file that is read at all, in bytes.
RESULT_FILE_BYTES = 16 * 1024 * 1024
#: How long the launcher may take beyond the child's grace before it is killed itself, in seconds.
LAUNCHER_SLACK_S = 10.0
#: How long to wait at start for what an earlier sidecar left to vanish, in seconds.
LEFTOVER_S = 5.0


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How children are run; ``secrets`` never reach them, ``timeout`` and ``kill_grace`` are seconds."""

    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    kill_grace: float = 5.0
    profile: str = "dev"
    secrets: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Run:
    task: "asyncio.Task[None] | None" = None
    kill: asyncio.Event = field(default_factory=asyncio.Event)


class Runner:
    """Starts and kills the children of one sidecar; the answer to both is one ``Ended`` through ``report``."""

    def __init__(
        self, outbox: Outbox, runtime: Runtime, settings: RunSettings, report: Callable[[Ended], None]
    ) -> None:
        self._outbox = outbox
        self._runtime = runtime
        self._settings = settings
        self._report = report
        self._runs: dict[Key, _Run] = {}

    def start(self, assignment: TaskAssign) -> None:
        """Begin an attempt in the background."""
        key = key_of(assignment)
        run = _Run()
        self._runs[key] = run
        run.task = asyncio.create_task(self._attempt(key, assignment, run), name=f"attempt {key}")

    def kill(self, key: Key) -> None:
        """End an attempt: TERM to its group, KILL to all of it after the grace; nothing when it is over already."""
        run = self._runs.get(key)
        if run is not None:
            run.kill.set()

    async def close(self) -> None:
        """Kill what runs and wait until it is dead; nothing is reported any more."""
        self._report = lambda _ended: None
        for key in list(self._runs):
            self.kill(key)
        tasks = [run.task for run in self._runs.values() if run.task]
        await asyncio.gather(*tasks, return_exceptions=True)

    def recover(self, assignment: TaskAssign) -> Outcome | None:
        """Make sure that nothing of a run cut off by a crash is alive, then return the result that it left, if any."""
        key = key_of(assignment)
        end_leftovers(self._outbox.folder(key))
        result = self._result(key)
        if result is None:
            return self._open_question(key)
        return _with_overhead(read_result(result, self._tail(key)), assignment)

    # --- one attempt ------------------------------------------------------------------------------------------------

    async def _attempt(self, key: Key, assignment: TaskAssign, run: _Run) -> None:
        outcome: Outcome | None
        try:
            outcome = await self._outcome(key, assignment, run)
        except OSError as error:
            outcome = Failure(f"the sidecar could not run it: {error}", "environment")
        except Exception:
            logger.exception("a bug in the sidecar ended attempt %s", key)
            outcome = Failure("a bug in the sidecar, see its log")
        del self._runs[key]
        self._report(Ended(key, outcome))

    async def _outcome(self, key: Key, assignment: TaskAssign, run: _Run) -> Outcome | None:
        if self._outbox.was_started(key):
            # queue.json was lost, the attempt's folder was not: it ran, and does not run again.
            return await asyncio.to_thread(self.recover, assignment) or Failure(STOPPED_DURING_RUN)
        environment = await asyncio.to_thread(self._prepare, key, assignment)
        if run.kill.is_set():
            return None
        command = self._runtime.command(key, environment)
        end = await self._run(key, command, environment, assignment, run)
        result = await asyncio.to_thread(self._result, key)
        if run.kill.is_set():
            # A result that was complete before the kill is still the agent's word.
            if result and _is_json(result):
                return _with_overhead(read_result(result), assignment)
            return await asyncio.to_thread(self._open_question, key)
        if result is None and end.code is not None and (question := await asyncio.to_thread(self._open_question, key)):
            return question
        output = await asyncio.to_thread(self._raw_tail, key)
        return _with_overhead(judge(end, result, output), assignment)

    def _prepare(self, key: Key, assignment: TaskAssign) -> dict[str, str]:
        """Lay out the attempt's folder and return the child's environment; the last step marks it as started."""
        folder = self._outbox.folder(key)
        if folder.exists():
            shutil.rmtree(folder)
        (folder / "work").mkdir(mode=0o700, parents=True)
        packet = build(assignment)
        (folder / "task.md").write_text(packet.task_md, encoding="utf-8")
        (folder / "task.json").write_text(packet.task_json, encoding="utf-8")
        if packet.context_md:
            (folder / "context.md").write_text(packet.context_md, encoding="utf-8")
        self._outbox.mark_started(key)
        return {
            **_without(os.environ, self._settings.secrets),
            "PATH": os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent))),
            **self._settings.env,
            "AGENTCOM_PROFILE": self._settings.profile,
            "AGENTCOM_TASK_ID": key.task_id,
            "AGENTCOM_GENERATION": str(key.generation),
            "AGENTCOM_TASK_FILE": str(folder / "task.md"),
            "AGENTCOM_RESULT_FILE": str(folder / "result.json"),
            "AGENTCOM_RESULTS_DIR": str(self._outbox.results_dir),
        }

    async def _run(
        self, key: Key, command: tuple[str, ...], environment: Mapping[str, str], assignment: TaskAssign, run: _Run
    ) -> Exit:
        folder = self._outbox.folder(key)
        spec = {
            "argv": command,
            "cwd": str(self._settings.cwd or folder / "work"),
            "log": str(folder / "output.log"),
            "log_limit": LOG_BYTES,
            "record": str(folder / "process.json"),
            "grace": self._settings.kill_grace,
        }
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", launch.__file__, json.dumps(spec)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        limits = [limit for limit in (self._settings.timeout, assignment.timeout_s) if limit]
        timed_out, answer = await self._wait(process, min(limits, default=None), run)
        return Exit(
            code=answer.get("code"),
            seconds=time.monotonic() - began,
            output_bytes=answer.get("output_bytes", 0),
            error=answer.get("error", ""),
            timed_out=timed_out,
            command=Path(command[0]).name,
        )

    async def _wait(
        self, process: asyncio.subprocess.Process, limit: float | None, run: _Run
    ) -> tuple[bool, dict[str, Any]]:
        """Wait for the launcher's last line, hurrying it when the attempt is killed or out of time."""
        if process.stdout is None or process.stdin is None:
            raise OSError("the launcher has no pipes")
        reading = asyncio.create_task(process.stdout.read())
        hurry = asyncio.create_task(run.kill.wait())
        try:
            await asyncio.wait({reading, hurry}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            timed_out = not reading.done() and not run.kill.is_set()
            if not reading.done():
                with contextlib.suppress(OSError):
                    process.stdin.write(b"T")
                await asyncio.wait({reading}, timeout=self._settings.kill_grace + LAUNCHER_SLACK_S)
            if not reading.done():
                process.kill()
            line = await reading
        finally:
            hurry.cancel()
            reading.cancel()
            process.stdin.close()
            await process.wait()
        if not line:
            return timed_out, {"code": -signal.SIGKILL, "error": "the launcher was killed"}
        return timed_out, json.loads(line)

    # --- files of an attempt ----------------------------------------------------------------------------------------

    def _result(self, key: Key) -> bytes | None:
        path = self._outbox.folder(key) / "result.json"
        try:
            with path.open("rb") as file:
                data = file.read(RESULT_FILE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            return json.dumps({"status": "failed", "error": f"the result file cannot be read: {error}"}).encode()
        if len(data) > RESULT_FILE_BYTES:
            return json.dumps({"status": "failed", "error": f"the result file is over {RESULT_FILE_BYTES} B"}).encode()
        return data

    def _open_question(self, key: Key) -> Blocked | None:
        """Return what an attempt that left no result has asked and got no answer to."""
        question = Spool(self._outbox.folder(key)).open_question()
        return None if question is None else Blocked(question[:QUESTION_CHARS])

    def _tail(self, key: Key) -> str:
        return clean(self._raw_tail(key))

    def _raw_tail(self, key: Key) -> bytes:
        """Return the last output, from both sides of a rotation, generously more than what is kept after cleaning."""
        folder = self._outbox.folder(key)
        tail = b""
        for name in ("output.log", "output.log.1"):
            with contextlib.suppress(OSError), (folder / name).open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - TAIL_BYTES))
                tail = file.read() + tail
            if len(tail) >= TAIL_BYTES:
                break
        return tail[-TAIL_BYTES:]


def end_leftovers(folder: Path) -> None:
    """Kill what an earlier sidecar's attempt in ``folder`` has left alive, and wait until it is gone.

    The launcher kills the family itself as soon as its sidecar dies, so mostly this only waits for it.
    """
    marker = b"AGENTCOM_RESULT_FILE=" + os.fsencode(folder / "result.json")
    deadline = time.monotonic() + LEFTOVER_S
    while True:
        alive = _recorded(folder) + _marked(marker)
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


def _with_overhead(outcome: Outcome, assignment: TaskAssign) -> Outcome:
    if not isinstance(outcome, Success):
        return outcome
    return replace(outcome, result={**outcome.result, "overhead_tokens": overhead_tokens(build(assignment))})


def _is_json(data: bytes) -> bool:
    try:
        plain.read(data)
    except ValueError:
        return False
    return True


def _without(environment: Mapping[str, str], secrets: frozenset[str]) -> dict[str, str]:
    """Return an environment without any variable that holds a secret, and without AgentCom's own."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("AGENTCOM_TOKEN") and not any(secret and secret in value for secret in secrets)
    }

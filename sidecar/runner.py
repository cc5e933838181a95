"""Runs one attempt and turns its end into ``Ended``; it decides nothing about tasks.

A runtime whose completion is ``exit`` is a child of ours, whose end is the attempt's (child.py). One whose completion
is ``report`` is woken by a command and works by itself: its end is the result that it reports in the attempt's folder
(waking.py). Both are asked first, where the runtime has a way for that, whether they can work at all.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coordinator.wire import plain
from coordinator.wire.frames import TaskAssign, TaskUpdated
from sidecar import child, waking
from sidecar.child import Order
from sidecar.core import STOPPED_DURING_RUN
from sidecar.events import Ended, Restored
from sidecar.folder import Folder
from sidecar.gitflow.values import FlowError
from sidecar.gitwork import Gitwork, Place, failure_of, place_of, unsubmitted
from sidecar.outbox import Outbox
from sidecar.outcome import QUESTION_CHARS, Exit, clean, judge, read_result
from sidecar.packet import Packet, build, how_to_report, overhead_tokens
from sidecar.probing import login_complaint
from sidecar.runtimes import reading
from sidecar.runtimes.catalogue import Runtime
from sidecar.spool import Spool
from sidecar.values import Blocked, Failure, Key, Outcome, Success, key_of

logger = logging.getLogger(__name__)

#: Each of the two output files of an attempt grows to this many bytes at most.
LOG_BYTES = 4 * 1024 * 1024
#: A program that was logged in is not asked again for so long, in seconds.
LOGIN_HOLDS_S = 300.0
#: What a program is told of its time when nobody limits it, in seconds: the hub's own default.
USUAL_LIMIT_S = 7200


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How attempts are run; ``secrets`` never reach them, ``timeout`` and ``kill_grace`` are seconds.

    ``seed`` are files that stand in the working folder from the start.
    """

    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    kill_grace: float = 5.0
    check_login: bool = True
    secrets: frozenset[str] = frozenset()
    git: Gitwork | None = None
    seed: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Run:
    task: "asyncio.Task[None] | None" = None
    kill: asyncio.Event = field(default_factory=asyncio.Event)
    #: Whether what the agent has finished may be submitted: not when the hub has taken the task back.
    ours: bool = True


class Runner:
    """Starts and ends the attempts of one sidecar; the answer to both is one ``Ended`` through ``report``."""

    def __init__(
        self, outbox: Outbox, runtime: Runtime, settings: RunSettings, report: Callable[[Ended], None]
    ) -> None:
        self._outbox = outbox
        self._runtime = runtime
        self._settings = settings
        self._report = report
        self._runs: dict[Key, _Run] = {}
        self._announcing: set[asyncio.Task[None]] = set()
        self._logged_in_until = 0.0

    @property
    def outlives(self) -> bool:
        """Tell whether the agent is no child of this sidecar, and goes on when that ends."""
        return self._runtime.definition.completion == "report"

    def start(self, assignment: TaskAssign) -> None:
        """Begin an attempt in the background."""
        self._begin(assignment, resumed=False)

    def resume(self, assignment: TaskAssign) -> None:
        """Go on with what ``restore`` said goes on."""
        self._begin(assignment, resumed=True)

    def kill(self, key: Key, *, ours: bool) -> None:
        """End an attempt: TERM to its group, KILL to all of it after the grace; nothing when it is over already.

        Without ``ours`` nothing of it is submitted to its repository any more.
        """
        run = self._runs.get(key)
        if run is not None:
            run.ours = run.ours and ours
            run.kill.set()

    async def close(self) -> None:
        """Kill what runs and wait until it is dead; nothing is reported any more."""
        self._report = lambda _ended: None
        if self._settings.git is not None:
            self._settings.git.close()
        for key in list(self._runs):
            self.kill(key, ours=True)
        for announcing in self._announcing:
            announcing.cancel()
        tasks = [run.task for run in self._runs.values() if run.task]
        await asyncio.gather(*tasks, *self._announcing, return_exceptions=True)

    async def update(self, key: Key, frame: TaskUpdated) -> None:
        """Keep a change of the task beside the packet, and tell a woken agent; a repeated one is kept once.

        Raises OSError.
        """
        new, file = await asyncio.to_thread(self._kept, key, frame)
        if new and self.outlives and self._runtime.definition.prompt.by in ("argument", "flag") and key in self._runs:
            text = f"AgentCom task {key.task_id}, attempt {key.generation} was changed: read the file {file}"
            announcing = asyncio.create_task(self._announce(key, file.parent, text), name=f"announce {key}")
            self._announcing.add(announcing)
            announcing.add_done_callback(self._announcing.discard)

    def _kept(self, key: Key, frame: TaskUpdated) -> tuple[bool, Path]:
        """Keep a change; return whether it is new, and the file that holds the newest."""
        folder = self._folder(key)
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        spool = Spool(folder.path)
        new = spool.update(frame.model_dump(exclude_none=True))
        return new, folder.spell_updates(spool.updates())

    def restore(self, assignment: TaskAssign) -> Restored:
        """Make sure that nothing of a run cut off by a crash is alive, then return what it left.

        It goes on where the agent is no child of ours, and where its work has still to be submitted.
        """
        key = key_of(assignment)
        outcome = self._left(key)
        if isinstance(outcome, Success) and self._place(key) is not None:
            return Restored(goes_on=True)
        if outcome is not None:
            return Restored(self._completed(key, outcome, assignment))
        return Restored(goes_on=self.outlives and self._outbox.was_started(key))

    def _left(self, key: Key) -> Outcome | None:
        """Return what a run cut off by a crash has left, once nothing of it is alive; None: no word at all."""
        folder = self._folder(key)
        child.end_leftovers(folder.path, spare=self.outlives)
        result = waking.result_of(folder, self._outbox, key) if self.outlives else folder.result()
        return self._open_question(key) if result is None else read_result(result, clean(folder.tail()))

    # --- one attempt ------------------------------------------------------------------------------------------------

    def _begin(self, assignment: TaskAssign, resumed: bool) -> None:
        key = key_of(assignment)
        run = _Run()
        self._runs[key] = run
        run.task = asyncio.create_task(self._attempt(key, assignment, run, resumed), name=f"attempt {key}")

    async def _attempt(self, key: Key, assignment: TaskAssign, run: _Run, resumed: bool) -> None:
        outcome: Outcome | None
        try:
            outcome = await self._outcome(key, assignment, run, resumed)
        except OSError as error:
            outcome = Failure(f"the sidecar could not run it: {error}", "environment")
        except FlowError as error:
            outcome = failure_of(error, "no work tree could be made")
        except Exception:
            logger.exception("a bug in the sidecar ended attempt %s", key)
            outcome = Failure("a bug in the sidecar, see its log")
        if not self.outlives:
            await asyncio.to_thread(self._folder(key).tidy)
        del self._runs[key]
        self._report(Ended(key, outcome))

    async def _outcome(self, key: Key, assignment: TaskAssign, run: _Run, resumed: bool) -> Outcome | None:
        # Also when queue.json was lost and the attempt's folder was not: it ran, and does not run again.
        if resumed or self._outbox.was_started(key):
            left = await asyncio.to_thread(self._left, key)
            if left is not None or not (resumed and self.outlives):
                left = left or Failure(STOPPED_DURING_RUN)
                return await asyncio.to_thread(self._completed, key, left, assignment, run)
        else:
            if complaint := await self._login_complaint():
                return Failure(complaint, "environment")
            await asyncio.to_thread(self._prepare, key, assignment)
        if run.kill.is_set():
            return None
        order = await asyncio.to_thread(self._order, key, assignment)
        if self.outlives:
            outcome = await waking.wait_for(key, order, self._runtime.definition, self._outbox, run.kill)
            if outcome is None or isinstance(outcome, Failure):
                question = await asyncio.to_thread(self._open_question, key)
                outcome = question if question and self._folder(key).result() is None else outcome
            return outcome and await asyncio.to_thread(self._completed, key, outcome, assignment, run)
        end = await child.run(order, run.kill)
        return await asyncio.to_thread(self._judged, key, end, assignment, run)

    def _judged(self, key: Key, end: Exit, assignment: TaskAssign, run: _Run) -> Outcome | None:
        folder = self._folder(key)
        result = folder.result()
        if run.kill.is_set():
            # A result that was complete before the kill is still the agent's word.
            if result and _is_json(result):
                return self._completed(key, read_result(result), assignment, run)
            return self._open_question(key)
        if result is None and end.code is not None and (question := self._open_question(key)):
            return question
        now = time.time_ns() // 1_000_000
        outcome = judge(end, result, folder.printed(), self._runtime.definition, now)
        return self._completed(key, outcome, assignment, run)

    def _open_question(self, key: Key) -> Blocked | None:
        """Return what an attempt that left no result has asked and got no answer to."""
        question = Spool(self._folder(key).path).open_question()
        return None if question is None else Blocked(question[:QUESTION_CHARS])

    async def _login_complaint(self) -> str | None:
        """Return why the runtime cannot work, by its own word; asked before the first task and then now and then."""
        if not self._settings.check_login or time.monotonic() < self._logged_in_until:
            return None
        environment = self._inherited() | dict(self._settings.env)
        complaint = await asyncio.to_thread(login_complaint, self._runtime, environment)
        if complaint is None:
            self._logged_in_until = time.monotonic() + LOGIN_HOLDS_S
        return complaint

    async def _announce(self, key: Key, folder: Path, text: str) -> None:
        """Tell a woken agent of a change, once; the file is there whether that works or not."""
        values = self._values(key, None)
        order = self._ordered(key, self._runtime.command(values, text, announcing=True), folder, waking.WAKE_LIMIT_S)
        with contextlib.suppress(OSError):
            await child.run(order, asyncio.Event())

    # --- what is laid out and ordered -------------------------------------------------------------------------------

    def _folder(self, key: Key) -> Folder:
        return Folder(self._outbox.folder(key))

    def _work(self, key: Key) -> Path:
        """Return where an attempt works: its work tree, the configured folder, or a fresh one of its own."""
        folder = self._folder(key)
        place = place_of(folder.path)
        return self._settings.cwd or folder.work if place is None else place.path

    def _place(self, key: Key) -> Place | None:
        """Return the work tree whose work this sidecar submits, None when there is none."""
        return None if self._settings.git is None else place_of(self._folder(key).path)

    def _packet(self, key: Key, assignment: TaskAssign) -> Packet:
        folder = self._folder(key).path
        place = place_of(folder)
        work, branch = (None, "") if place is None else (place.path, place.branch)
        return build(assignment, how_to_report(self._runtime.definition, folder, work, branch))

    def _prepare(self, key: Key, assignment: TaskAssign) -> None:
        """Lay out the attempt's folder; the last step marks it as started."""
        folder = self._folder(key)
        folder.make()
        if self._settings.git is not None and self._settings.git.cares_for(assignment):
            self._settings.git.begin(assignment, folder.path)
        folder.lay_out(self._packet(key, assignment))
        for name, text in self._settings.seed.items():
            (folder.work / name).write_text(text, encoding="utf-8")
        if self.outlives:
            waking.forget_older(self._outbox, key)
        self._outbox.mark_started(key)

    def _order(self, key: Key, assignment: TaskAssign) -> Order:
        limit = min((one for one in (self._settings.timeout, assignment.timeout_s) if one), default=None)
        folder = self._folder(key)
        definition = self._runtime.definition
        command = self._runtime.command(self._values(key, limit), folder.task_file.read_text(encoding="utf-8"))
        order = self._ordered(key, command, folder.path, limit)
        watched = definition.give_up or definition.first_output
        return replace(
            order,
            stdin=folder.task_file if definition.prompt.by == "stdin" else None,
            streams=None if definition.output.format == "text" else folder.streams,
            look=(lambda seconds: self._look(folder, seconds)) if watched else None,
        )

    def _ordered(self, key: Key, command: tuple[str, ...], folder: Path, limit: float | None) -> Order:
        return Order(
            argv=command,
            environment=self._environment(key),
            cwd=self._work(key),
            folder=folder,
            log_bytes=LOG_BYTES,
            grace=self._settings.kill_grace,
            limit=limit,
            spare=self.outlives,
        )

    def _look(self, folder: Folder, seconds: float) -> Failure | None:
        """Tell whether a running child must end early: it says that it cannot go on, or nothing at all."""
        definition = self._runtime.definition
        silence = definition.first_output
        if silence is not None and seconds > silence and folder.output_bytes() == 0:
            return Failure(f"said nothing for {silence:g} s: not logged in, or no network", "environment")
        text = folder.tail().decode(errors="replace")
        return reading.given_up(definition, text, time.time_ns() // 1_000_000)

    def _values(self, key: Key, limit: float | None) -> dict[str, str]:
        folder = self._folder(key)
        return {
            "TASK_ID": key.task_id,
            "GENERATION": str(key.generation),
            "TASK_FILE": str(folder.task_file),
            "RESULT_FILE": str(folder.result_file),
            "RESULTS_DIR": str(self._outbox.results_dir),
            "PACKET_DIR": str(folder.path),
            "WORK_DIR": str(self._work(key)),
            "TMP_DIR": str(folder.tmp),
            "SESSION": str(uuid.uuid4()),
            "TIMEOUT_S": str(int(limit or USUAL_LIMIT_S)),
            "PYTHON": sys.executable,
            "MODE": self._runtime.mode(key),
        }

    def _environment(self, key: Key) -> dict[str, str]:
        values = self._values(key, None)
        own = "TASK_ID GENERATION TASK_FILE RESULT_FILE RESULTS_DIR"
        return {
            **self._inherited(),
            **self._runtime.environment(values),
            **self._settings.env,
            "AGENTCOM_PROFILE": self._runtime.profile,
            **{f"AGENTCOM_{name}": values[name] for name in own.split()},
        }

    def _inherited(self) -> dict[str, str]:
        commands = str(Path(sys.executable).parent)  # where agentcom-report is
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), commands))
        return {**without_secrets(os.environ, self._settings.secrets), "PATH": path}

    def _completed(self, key: Key, outcome: Outcome, assignment: TaskAssign, run: _Run | None = None) -> Outcome:
        """Add to a success what only the sidecar knows: its own cost, where the work is in git, or which files.

        Without a ``run`` it was ended by an earlier process, and there is nothing to submit.
        """
        if not isinstance(outcome, Success):
            return outcome
        place = self._place(key)
        if run is not None and place is not None and self._settings.git is not None:
            if not run.ours:
                return replace(outcome, result={**outcome.result, **unsubmitted(place)})
            submitted = self._settings.git.finish(place, assignment, outcome)
            if not isinstance(submitted, Success):
                return submitted
            outcome = submitted
        added: dict[str, Any] = {"overhead_tokens": overhead_tokens(self._packet(key, assignment))}
        if self._settings.cwd is None and place is None and "files" not in outcome.result:
            files, more = self._folder(key).files()
            added |= {"files": files} if files else {}
            added |= {"more_files": more} if more else {}
        return replace(outcome, result={**outcome.result, **added})


def without_secrets(environment: Mapping[str, str], secrets: frozenset[str]) -> dict[str, str]:
    """Return an environment without any variable that holds a secret, and without AgentCom's own."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("AGENTCOM_TOKEN") and not any(secret and secret in value for secret in secrets)
    }


def _is_json(data: bytes) -> bool:
    try:
        plain.read(data)
    except ValueError:
        return False
    return True

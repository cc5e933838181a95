"""The sidecar's shell: one inbox, one core, effects in their order. It decides nothing about tasks.

Everything that happens - frames, ends of children, signals, time - comes through the inbox one by one. ``Persist`` is
awaited before the effects after it, and tried again until the disk takes it, so no word is said that is not durable.
"""

import asyncio
import logging
import os
import signal
import time
from dataclasses import replace
from typing import assert_never

from coordinator.wire.frames import TaskAssign
from coordinator.wire.notify import Herald
from sidecar.client import Beat, Client
from sidecar.config import Config, runtime_of
from sidecar.core import Core, Settings
from sidecar.events import (
    Closed,
    Effect,
    Event,
    Exit,
    Hello,
    Kill,
    Opened,
    Persist,
    Received,
    RemoveFiles,
    Restored,
    Resume,
    Say,
    Send,
    Start,
    Stop,
    Tick,
    Update,
)
from sidecar.gitwork import Gitwork, Repos
from sidecar.listener import Listener
from sidecar.outbox import Outbox
from sidecar.relay import Relay
from sidecar.runner import Runner, RunSettings, without_secrets
from sidecar.spool import Spool
from sidecar.values import Key, Queue, Stage, key_of

logger = logging.getLogger(__name__)

#: Pause before a write that the disk refused is tried again, in seconds.
DISK_RETRY_S = 1.0
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Daemon:
    """One running sidecar."""

    def __init__(
        self,
        config: Config,
        *,
        once: bool = False,
        service: bool = False,
        beat: Beat | None = None,
        herald: Herald | None = None,
    ) -> None:
        runtime = config.runtime
        self._config = config
        self._herald = herald or Herald()
        self._inbox: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._outbox = Outbox(config.state_dir, config.results_dir)
        self._outbox.prepare()
        self._runtime = runtime_of(config)
        repos = Repos(
            config.state_dir / "repos",
            config.repos,
            config.one_repo,
            by_itself=runtime.cwd is not None or self._runtime.definition.completion == "report",
            warn=config.git_warns,
        )
        self._git = Gitwork(config.agent_id, repos, without_secrets(os.environ, frozenset({config.token})))
        self._runner = Runner(
            self._outbox,
            self._runtime,
            RunSettings(
                cwd=runtime.cwd,
                env=runtime.env,
                timeout=runtime.timeout,
                kill_grace=config.kill_grace,
                check_login=runtime.check_login,
                secrets=frozenset({config.token}),
                git=self._git,
            ),
            lambda ended: self._inbox.put_nowait((0, ended)),
        )
        self._client = Client(
            config,
            self._outbox.instance_id(),
            lambda session, event: self._inbox.put_nowait((session, event)),
            once=once,
            service=service,
            beat=beat,
        )
        self._listener = Listener(self._spool, Relay(config), lambda event: self._inbox.put_nowait((0, event)))
        self._settings = Settings(
            resend_every=config.resend_every,
            progress_every=config.progress_every,
            stop_grace=config.stop_grace,
            once=once,
            outlives=self._runner.outlives,
        )
        #: The session that the core believes to be open; frames are never said on another one.
        self._session = 0
        self._stopping = asyncio.Event()
        self._durable = Queue()

    async def run(self) -> int:
        """Run until told to stop; return the exit code. Raises OSError when the state folder cannot be used."""
        queue, complaint = await asyncio.to_thread(self._outbox.load)
        if complaint:
            logger.error("%s", complaint)
        queue = await asyncio.to_thread(self._unstarted, queue)
        self._durable = queue
        core = Core(queue, self._settings)
        restored = Restored()
        if queue.attempt and queue.attempt.stage is Stage.RUNNING:
            restored = await asyncio.to_thread(self._runner.restore, queue.attempt.assignment)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        self._herald.ready(f"sidecar of {self._config.agent_id} for {self._config.hub_url}")
        code = await self._perform_all(core.handle(restored, time.monotonic()))
        client = asyncio.create_task(self._client.run(), name="client")
        try:
            while code is None:
                code = await self._step(core, client)
            await self._client.flush()
            return code
        finally:
            self._herald.stopping()
            client.cancel()
            await asyncio.gather(client, return_exceptions=True)
            await self._listener.attend(None)
            await self._runner.close()
            await self._herald.close()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _unstarted(self, queue: Queue) -> Queue:
        """Take an attempt for accepted only when a crash came before its mark: nothing ran, so it may be begun."""
        attempt = queue.attempt
        if attempt is None or attempt.stage is not Stage.RUNNING or self._outbox.was_started(attempt.key):
            return queue
        return replace(queue, attempt=replace(attempt, stage=Stage.ACCEPTED))

    async def _step(self, core: Core, client: "asyncio.Task[int]") -> int | None:
        """Wait for one event or instant, handle it, perform what it asks for; return an exit code when that is all."""
        due = core.next_due()
        timeout = None if due is None else max(0.0, due - time.monotonic())
        getting = asyncio.create_task(self._inbox.get())
        await asyncio.wait({getting, client}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            session, event = getting.result()
        else:
            getting.cancel()
            if client.done():
                return client.result()
            session, event = 0, Tick()
        match event:
            case Opened():
                self._session = session
            case Closed():
                self._session = 0
            case Received(frame=TaskAssign() as frame):
                event = Received(frame, await asyncio.to_thread(self._refusal, frame))
        code = await self._perform_all(core.handle(event, time.monotonic()))
        await self._listener.attend(core.working_on)
        return code

    def _refusal(self, assignment: TaskAssign) -> str | None:
        """Return why this sidecar will not take an assignment, None when it will."""
        return self._runtime.refusal(key_of(assignment)) or self._git.refusal(assignment)

    async def _perform_all(self, effects: list[Effect]) -> int | None:
        """Perform effects in order; return an exit code when one of them ends the process."""
        for effect in effects:
            code = await self._perform(effect)
            if code is not None:
                return code
        return None

    async def _perform(self, effect: Effect) -> int | None:
        match effect:
            case Hello():
                self._client.hello(self._session, effect.holding)
            case Persist():
                if not await self._persist(effect.queue):
                    return 1
            case Send():
                self._client.send(self._session, effect.frame)
            case Start():
                self._runner.start(effect.assignment)
            case Resume():
                self._runner.resume(effect.assignment)
            case Kill():
                self._runner.kill(effect.key, ours=effect.ours)
            case Update():
                try:
                    await self._runner.update(effect.key, effect.frame)
                except OSError as error:
                    logger.error("%s: its change could not be kept: %s", effect.key.task_id, error)
            case RemoveFiles():
                await asyncio.to_thread(self._prune)
            case Say():
                logger.log(_LEVELS[effect.level], "%s", effect.text, extra={"task_id": effect.task_id})
            case Exit():
                return effect.code
            case _:
                assert_never(effect)
        return None

    async def _persist(self, queue: Queue) -> bool:
        """Make the queue durable, however long the disk refuses; False when told to stop while it does.

        A failed fsync is no reason to trust the file: each try writes a new one.
        """
        complained = False
        while True:
            try:
                await asyncio.to_thread(self._outbox.save, queue)
            except OSError as error:
                if not complained:
                    logger.error("%s cannot be written (%s); nothing is said to the hub until it can", *_names(error))
                complained = True
                if self._stopping.is_set():
                    return False
                await asyncio.sleep(DISK_RETRY_S)
            else:
                self._durable = queue
                return True

    def _spool(self, key: Key) -> Spool:
        return Spool(self._outbox.folder(key))

    def _prune(self) -> None:
        attempt = self._durable.attempt
        in_use = {parcel.key for parcel in self._durable.parcels} | ({attempt.key} if attempt else set())
        try:
            self._outbox.prune(in_use)
        except OSError as error:
            logger.warning("old attempts could not be removed: %s", error)

    def _signalled(self) -> None:
        self._stopping.set()
        self._inbox.put_nowait((0, Stop()))


def _names(error: OSError) -> tuple[str, str]:
    return str(error.filename or "queue.json"), error.strerror or str(error)

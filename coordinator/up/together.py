"""One run of ``agentcom up``, from nothing to the last goodbye: what is started, in which order, and what is told.

The programs are the ones that people start by hand; what they do is their own business. Ctrl-C ends all of them;
what was in hand goes on at the next run.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coordinator.git.repo import STATE_REF, read_ref
from coordinator.git.run import GitError
from coordinator.ground import Ground
from coordinator.ports import StoreError
from coordinator.reading import HubClient, HubUnreachable, Tasks, TokenRefused, from_branch, hub_runs, running_hub
from coordinator.trail import Trail, record_json, root_in_force
from coordinator.up import minds
from coordinator.up.family import Family, Program
from coordinator.up.minds import Mind
from coordinator.up.story import Story, left_to_you, news, standing
from coordinator.watch import AlreadyWatched, WatchLock

#: How long a hub may take to be ready, in seconds.
READY_WITHIN_S = 120.0
#: Pause between two looks at the trail, in seconds.
LOOK_EVERY_S = 0.3
#: So many commits are looked through for news at once.
_RECORDS = 500
#: How long the check of an agent may take, in seconds.
CHECK_WITHIN_S = 400.0
#: How long an agent may take to finish or hand back what it has in hand when all ends, in seconds.
PATIENCE_S = 30.0


class NotUp(Exception):
    """It cannot run here; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for: runtimes (none: those on PATH), their profile, where to listen (port 0: any that is free).

    ``check`` makes the real check of every agent again. ``watch``: commit what is saved, and pull the trail.
    """

    runtimes: Sequence[str] = ()
    profile: str = "dev"
    port: int = 4000
    check: bool = False
    watch: bool = True


@dataclass
class Together:
    """Everything of one repository. ``say`` hears one line for each thing that happens, ``show`` an URL.

    ``note`` hears how things stand, each time that has changed.
    """

    ground: Ground
    top: Path
    wanted: Wanted
    say: Callable[[str], None]
    show: Callable[[str], object] = lambda address: None
    note: Callable[[str], None] = lambda text: None
    story: Story = field(default_factory=Story)
    ready: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        self._folder = self.ground.place.folder / "up"
        self._logs = self._folder / "logs"
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._last: str | None = None
        self._elsewhere: frozenset[str] = frozenset()
        self._family = Family(self._logs, self.say)

    async def run(self, stop: asyncio.Event) -> None:
        """Start everything, tell what happens until ``stop``, and end it. Raises NotUp, NoRuntime."""
        self._last = read_ref(self.ground.repo, STATE_REF)
        try:
            await self._hub()
            self.note("")
            for mind in await asyncio.to_thread(self._minds):
                if stop.is_set():
                    return
                await self._mind(mind)
            self.note("")
            self._watch()
            self.say(f"dashboard: {self.url}/dashboard")
            await asyncio.to_thread(self.show, f"{self.url}/dashboard")
            self.say(self._next())
            if waits := left_to_you(await asyncio.to_thread(self._on_the_branch)):
                self.say(waits)
            await self._tell(stop)
        finally:
            await self._family.stop_all(last="hub")
            await self._tell_news()

    def farewell(self) -> list[str]:
        """Return in lines what came of it all, once ``run`` has ended."""
        return self.story.end(self._on_the_branch())

    def _on_the_branch(self, one: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Return all tasks, or one, as the branch has them, also while no hub runs; none when it cannot be read."""
        with contextlib.suppress(StoreError, GitError):
            return from_branch(self.ground, Tasks(one=one)).tasks
        return ()

    def _next(self) -> str:
        if self.ready:
            return 'add work from another terminal: agentcom add "What you want done"; Ctrl-C ends'
        return "no agent can work yet: mend the lines above and start again; Ctrl-C ends"

    # --- the hub

    async def _hub(self) -> None:
        running = await asyncio.to_thread(hub_runs, self.ground)
        if running is not None:
            self.url = running
            self.say(f"a hub of this repository runs already at {running}: it is used, and stays when this ends")
            return
        listen = f"127.0.0.1:{_port(self.wanted.port)}"  # a hub that is started again must be found at the same place
        argv = (sys.executable, "-m", "coordinator", "hub", "--repo", str(self.top), "--listen", listen)
        self.note("the hub starts ...")
        self._family.start(Program("hub", argv, self.top, heard=lambda line: None))
        gone = asyncio.create_task(self._family.ended("hub"))
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                while not gone.done():
                    said = await asyncio.to_thread(self.ground.place.read_hub)
                    if said is not None and said.get("pid") == self._family.pid("hub"):
                        self.url = str(said["url"])
                        self.say(f"hub: {self.url}, source {self.ground.branch}")
                        return
                    await asyncio.sleep(LOOK_EVERY_S / 3)
        except TimeoutError:
            raise NotUp(
                f"the hub is not ready after {READY_WITHIN_S:g} s; its log: {self._family.log('hub')}"
            ) from None
        finally:
            gone.cancel()
        raise NotUp(f"the hub did not start; its log: {self._family.log('hub')}")

    def _client(self) -> HubClient:
        return running_hub(self.ground, None)

    # --- agents

    def _minds(self) -> list[Mind]:
        """Return whom to start: agents of people's files are not ours, also when they bear the name of a runtime."""
        ours = {folder.name for folder in self._folder.glob("*") if (folder / "sidecar.json").is_file()}
        agents = self._client().get("/api/agents").get("agents", [])
        if self._family.pid("hub") is None:  # with a hub of somebody else's there may be agents of another `up`
            self._elsewhere = frozenset(one["agent_id"] for one in agents if one["status"] == "online")
        taken = {one["agent_id"]: "" for one in agents if one["agent_id"] not in ours}
        found = minds.chosen(self.wanted.runtimes, self.wanted.profile, self._folder, taken)
        if not found:
            self.say(
                f"no agent program is on PATH ({', '.join(minds.LOOKED_FOR)}): install one, or try "
                "`agentcom up --runtime fake` (only pretends, and asks where a title ends with '?') or "
                "`--runtime shell:./work.sh` (a program of yours)"
            )
        return found

    async def _mind(self, mind: Mind) -> None:
        """Give a mind its token and config file, check it, and start its sidecar when it can work."""
        if mind.agent in self._elsewhere:
            self.ready += 1
            self.say(f"{mind.agent} runs already: it is used, and stays when this ends")
            return
        token = await asyncio.to_thread(self._token, mind)
        minds.write(mind, token, self.url, self.top)
        if self.wanted.check or not minds.was_checked(mind):
            self.say(f"{mind.agent}: checking ({mind.runtime}, {mind.profile}), it does one small task ...")
            self.note(f"{mind.agent} does its small task ...")
            complaint = await self._complaint(mind)
            if complaint is not None:
                self.say(f"{mind.agent} cannot work: {complaint}")
                return
            minds.note_checked(mind)
        argv = (sys.executable, "-m", "sidecar", "run", "--config", str(mind.config))
        self._family.start(Program(mind.agent, argv, mind.folder, patience=PATIENCE_S))
        self.ready += 1
        self.say(f"{mind.agent} is ready ({mind.runtime}, {mind.profile})")

    def _token(self, mind: Mind) -> str:
        """Return the token of a mind: the one of an earlier run where it still opens the door, else a new one."""
        kept = minds.token_of(mind)
        if kept is not None:
            with contextlib.suppress(TokenRefused):
                HubClient(self.url, kept, here=True).get("/api/agents", limit="1")
                return kept
        said = {"agent_id": mind.agent, "name": mind.agent}
        status, answer = self._client().call("POST", "/admin/tokens", said)
        token = answer.get("token")
        if not isinstance(token, str):
            raise NotUp(f"{mind.agent} gets no token ({status}): {answer.get('hint') or answer.get('error')}")
        return token

    async def _complaint(self, mind: Mind) -> str | None:
        """Let a mind do a small real task; return what is wrong and what to do, None when all is well."""
        argv = (sys.executable, "-m", "sidecar", "doctor", "--config", str(mind.config), "--json")
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), CHECK_WITHIN_S)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        try:
            said: dict[str, Any] = json.loads(out)
        except ValueError:
            return err.decode(errors="replace").strip() or "its check ended without a word"
        wrong = [check for check in said["checks"] if not check["passed"]]
        return (
            "; ".join(f"{one['text']} -> {one['remedy']}" if one["remedy"] else one["text"] for one in wrong[:1])
            or None
        )

    # --- people's files

    def _watch(self) -> None:
        if not self.wanted.watch or self.ground.remote is not None:
            return
        try:
            with WatchLock(self.ground.repo):
                pass
        except AlreadyWatched:
            self.say("an `agentcom watch` runs here already: it is used, and stays when this ends")
            return
        argv = (sys.executable, "-m", "coordinator", "watch", "--commit", "--repo", str(self.top))
        self._family.start(Program("watch", argv, self.top, heard=self._watched))

    def _watched(self, line: str) -> None:
        text = line.partition(" ")[2] if line[:1].isdigit() else line
        if text.startswith("pulled "):  # what those commits say was told when they were made
            text = f"{text.partition(':')[0]} of the trail into {self.ground.branch}"
        self.say(f"watch: {text}")

    # --- what happens

    async def _tell(self, stop: asyncio.Event) -> None:
        """Say each change that the hub makes durable, until ``stop``."""
        self.note(await asyncio.to_thread(self._standing))
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_EVERY_S)
            if await self._tell_news():
                self.note(await asyncio.to_thread(self._standing))

    async def _tell_news(self) -> bool:
        """Say each change since the last look, and tell whether there was any."""
        with contextlib.suppress(GitError):  # the next look sees it
            tip = read_ref(self.ground.repo, STATE_REF)
            if tip is not None and tip != self._last:
                await self._tell_from(self._last)
                self._last = tip
                return True
        return False

    async def _tell_from(self, last: str | None) -> None:
        for record in await asyncio.to_thread(self._records, last):
            wanted = self.story.wants(record)
            task = None if wanted is None else await asyncio.to_thread(self._task, wanted)
            for line in self.story.tell(record, task):
                self.say(line)

    def _standing(self) -> str:
        with contextlib.suppress(HubUnreachable, TokenRefused):
            return standing(self._client().get("/api/status").get("by_status", {}))
        return ""

    def _records(self, last: str | None) -> list[Any]:
        trail = Trail(self.ground.repo, STATE_REF, root_in_force(self.ground.repo) or ".")
        return news((record_json(record) for record in trail.records(None, _RECORDS)), last)

    def _task(self, task_id: str) -> Mapping[str, Any] | None:
        with contextlib.suppress(HubUnreachable, TokenRefused):
            return self._client().get(f"/api/tasks/{task_id}") or None
        return next(iter(self._on_the_branch(task_id)), None)


def _port(wanted: int) -> int:
    """Return the port that is wanted, or any other that is free when it is taken."""
    import socket

    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise NotUp("no port of 127.0.0.1 can be listened at")

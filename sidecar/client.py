"""The socket to the hub: connects, identifies, keeps alive, connects again. It decides nothing about tasks.

What comes in goes to ``deliver`` as events; what the daemon sends goes out in order by one writer task. Heartbeats have
a task of their own and wait for nothing. ``Reconnect`` is the policy, pure but for the random number it is given.
"""

import asyncio
import contextlib
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.http11 import Response

from coordinator.wire.frames import (
    CLOSE_REPLACED,
    CLOSE_UNAUTHORIZED,
    FEATURES,
    MAX_FRAME,
    PROTOCOL_VERSION,
    Error,
    Frame,
    Held,
    Identified,
    Identify,
    Ping,
    Pong,
    TaskAssign,
    to_sidecar,
)
from coordinator.wire.plain import HIDDEN
from sidecar.config import Config
from sidecar.events import Closed, Opened, Received

logger = logging.getLogger(__name__)

#: First pause before connecting again; it doubles up to the configured maximum (PROTOCOL 1.2), in seconds.
FIRST_PAUSE_S = 1.0
PING_EVERY_S = 30.0
PONG_WITHIN_S = 10.0
#: How long connecting and identifying may take each, in seconds; a hub delays refusals by up to 30 s.
OPEN_WITHIN_S = 10.0
IDENTIFIED_WITHIN_S = 45.0
#: How long a close waits for what is still to be said, in seconds.
FLUSH_S = 2.0
#: Refusals of the token before a sidecar that never got in gives up (DECISIONS 15).
REFUSALS = 3
EXIT_TOKEN_REFUSED = 77
EXIT_IDENTITY_TAKEN = 75

#: So much of a hub's advice is repeated.
_HINT_CHARS = 200

_REFUSED = frozenset({"invalid_token", "token_agent_mismatch", "agent_disabled"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Lost:
    """The hub could not be reached, or the connection ended."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The hub does not let this token or agent in."""

    why: str


@dataclass(frozen=True, slots=True)
class Taken:
    """Another sidecar with this identity is connected."""

    why: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the process with this exit code."""

    code: int


SessionEnd = Lost | Refused | Taken


class Reconnect:
    """When to connect again: full jitter, doubling, reset only by ``identified``."""

    def __init__(self, maximum: float, once: bool, service: bool, uniform: Callable[[float, float], float]) -> None:
        self._maximum = maximum
        self._once = once
        self._service = service
        self._uniform = uniform
        self._failures = 0
        self._refusals = 0
        self._ever = False

    def identified(self) -> None:
        """The hub has let us in."""
        self._failures = self._refusals = 0
        self._ever = True

    def after(self, end: SessionEnd) -> float | GiveUp:
        """Return the pause in seconds before the next try, or that there is none."""
        match end:
            case Refused():
                self._refusals += 1
                if self._once or (self._refusals >= REFUSALS and not self._ever and not self._service):
                    return GiveUp(EXIT_TOKEN_REFUSED)
                return self._slowly() if self._ever or self._service else self._jitter()
            case Taken():
                return GiveUp(EXIT_IDENTITY_TAKEN) if self._once else self._slowly()
            case Lost():
                return self._jitter()

    def _jitter(self) -> float:
        pause = self._uniform(0, min(self._maximum, FIRST_PAUSE_S * 2 ** min(self._failures, 32)))
        self._failures += 1
        return pause

    def _slowly(self) -> float:
        return self._uniform(self._maximum / 2, self._maximum)


@dataclass(frozen=True, slots=True)
class Beat:
    """How often the client pings and how long it waits for the answer, in seconds."""

    every: float = PING_EVERY_S
    within: float = PONG_WITHIN_S


class _Straight(connect):
    """A redirect would take the token to whoever it names."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow none."""
        return exc


class Client:
    """One agent's connection. ``deliver`` takes (session number, event); ``closed`` sessions deliver nothing more."""

    def __init__(
        self,
        config: Config,
        instance_id: str,
        deliver: Callable[[int, Opened | Closed | Received], None],
        *,
        once: bool = False,
        service: bool = False,
        beat: Beat | None = None,
    ) -> None:
        self._config = config
        self._instance_id = instance_id
        self._deliver = deliver
        self._beat = beat or Beat()
        self._policy = Reconnect(config.reconnect_max, once, service, random.uniform)
        self._session = 0
        self._outgoing: asyncio.Queue[str] | None = None
        self._pong = asyncio.Event()
        self._last_said = ""

    # --- what the daemon calls --------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Stay connected until that makes no sense any more; return the exit code."""
        while True:
            end = await self._one_session()
            step = self._policy.after(end)
            if isinstance(step, GiveUp):
                logger.error("%s", end.why)
                return step.code
            self._say(end)
            await asyncio.sleep(step)

    def hello(self, session: int, holding: tuple[Held, ...]) -> None:
        """Identify on this session."""
        config = self._config
        frame = Identify(
            agent_id=config.agent_id,
            token=config.token,
            name=config.name,
            capabilities=config.capabilities or None,
            client_type="sidecar",
            protocol_version=PROTOCOL_VERSION,
            instance_id=self._instance_id,
            features=FEATURES,
            holding=holding,
        )
        self.send(session, frame)

    def send(self, session: int, frame: Frame) -> None:
        """Put a frame on its way if this session is still the open one; else it is dropped."""
        if session == self._session and self._outgoing is not None:
            text = frame.encode()
            if not isinstance(frame, Identify):
                # An agent may have read the config file; what it says is kept for ever.
                text = text.replace(self._config.token, HIDDEN)
            self._outgoing.put_nowait(text)

    async def flush(self) -> None:
        """Wait, but not for long, until everything said so far is with the operating system."""
        if self._outgoing is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await self._outgoing.join()

    # --- one session ------------------------------------------------------------------------------------------------

    async def _one_session(self) -> SessionEnd:
        host = urlsplit(self._config.hub_url).hostname
        try:
            connection = _Straight(
                self._config.hub_url,
                compression=None,
                max_size=MAX_FRAME,
                ping_interval=None,
                open_timeout=OPEN_WITHIN_S,
                close_timeout=1,
                proxy=None if host in _LOOPBACK else True,
            )
            async with connection as socket:
                return await self._talk(socket)
        except InvalidStatus as error:
            if error.response.status_code in (401, 403):
                return Refused(self._refusal("the hub", f"HTTP {error.response.status_code}{_hint(error.response)}"))
            return Lost(f"{self._config.hub_url}: HTTP {error.response.status_code}, is this an AgentCom hub?")
        except ConnectionClosed as error:
            return Lost(f"connection lost: {error}")
        except (OSError, WebSocketException, TimeoutError, ImportError, ValueError) as error:
            # Also a proxy setting that needs what is not installed: nothing that ends work in hand.
            return Lost(f"hub not reachable at {self._config.hub_url}: {error or type(error).__name__}")

    async def _talk(self, socket: ClientConnection) -> SessionEnd:
        self._session += 1
        session = self._session
        self._outgoing = asyncio.Queue()
        tasks = [
            asyncio.create_task(self._write(socket, self._outgoing), name="writer"),
            asyncio.create_task(self._heartbeat(socket), name="heartbeat"),
        ]
        self._deliver(session, Opened())
        try:
            return await self._read(socket, session)
        finally:
            self._outgoing = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._deliver(session, Closed())

    async def _read(self, socket: ClientConnection, session: int) -> SessionEnd:
        identified = False
        deadline = time.monotonic() + IDENTIFIED_WITHIN_S
        try:
            while True:
                async with asyncio.timeout(None if identified else max(0.0, deadline - time.monotonic())):
                    text = await socket.recv()
                try:
                    frame = to_sidecar.validate_json(text)
                except ValidationError as error:
                    self._unreadable(text, error)
                    continue
                if isinstance(frame, TaskAssign):
                    frame = frame.model_copy(update={"received_at": time.time_ns() // 1_000_000})
                if isinstance(frame, Pong):
                    self._pong.set()
                elif isinstance(frame, Error) and frame.error in _REFUSED:
                    return Refused(self._refusal(frame.error, frame.detail))
                elif isinstance(frame, Error) and frame.error == "already_connected":
                    return self._taken()
                else:
                    if isinstance(frame, Identified):
                        identified = True
                        self._policy.identified()
                        self._last_said = ""
                        logger.info("connected to %s as %s", self._config.hub_url, frame.agent_id)
                    self._deliver(session, Received(frame))
        except TimeoutError:
            return Lost(f"{self._config.hub_url}: no answer to identify within {IDENTIFIED_WITHIN_S:g} s")
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd else None
            reason = (error.rcvd.reason if error.rcvd else "") or "no reason given"
            if code == CLOSE_UNAUTHORIZED:
                return Refused(self._refusal("the hub", reason))
            if code == CLOSE_REPLACED and not identified:
                return self._taken()
            return Lost(f"connection lost: {code or 'no close frame'} {reason if code else ''}".rstrip())

    async def _write(self, socket: ClientConnection, outgoing: "asyncio.Queue[str]") -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                text = await outgoing.get()
                try:
                    await socket.send(text)
                finally:
                    outgoing.task_done()

    async def _heartbeat(self, socket: ClientConnection) -> None:
        """Ping for ever; a hub that does not answer in time is gone, whatever TCP believes."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(self._beat.every)
                self._pong.clear()
                try:
                    async with asyncio.timeout(self._beat.within):
                        await socket.send(Ping().encode())
                        await self._pong.wait()
                except TimeoutError:
                    logger.warning("no pong within %g s, connecting again", self._beat.within)
                    if socket.transport is not None:
                        socket.transport.abort()
                    return

    # --- words ------------------------------------------------------------------------------------------------------

    def _unreadable(self, text: str | bytes, error: ValidationError) -> None:
        first = error.errors(include_url=False)[0]
        if first["type"] == "union_tag_invalid":
            logger.debug("frame of an unknown type ignored: %.200r", text)
        else:
            logger.error("frame from the hub cannot be read: %s: %s", first["loc"], first["msg"])

    def _taken(self) -> Taken:
        name = self._config.agent_id
        return Taken(f"another sidecar is connected as {name}: stop it, or give this one an agent_id of its own")

    def _refusal(self, code: str, detail: str) -> str:
        more = f" ({detail})" if detail else ""
        return (
            f"{self._config.hub_url} refused agent {self._config.agent_id}: {code}{more}; "
            "check agent_id and token in the config file, or ask for a new token"
        )

    def _say(self, end: SessionEnd) -> None:
        """Say why there is no connection, once per reason and not once per try."""
        if end.why != self._last_said:
            self._last_said = end.why
            logger.log(logging.WARNING if isinstance(end, Lost) else logging.ERROR, "%s; trying again", end.why)


def _hint(response: Response) -> str:
    """Return what a refused handshake says to do, with a colon before it; empty when it says nothing."""
    try:
        said = json.loads(response.body or b"")
    except ValueError:
        return ""
    hint = said.get("hint") if isinstance(said, dict) else None
    return f": {hint[:_HINT_CHARS]}" if isinstance(hint, str) else ""

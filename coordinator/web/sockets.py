"""WebSocket sessions: identify, liveness, one bounded queue and one writer per socket (PROTOCOL 1.1, 1.2).

Decode, submit, done: what a frame means is the core's business, and how much anybody may ask is decided in ``limits``.
A session is a value by its id; nothing outside this module ever holds a socket.
"""

import asyncio
import contextlib
import logging
import math
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ValidationError

from coordinator.core.agent import Agent, Session
from coordinator.core.events import Connected, Disconnected, Happening, Message, Said
from coordinator.core.timers import Now
from coordinator.web.auth import Doorkeeper, Refused, bearer_token, digest
from coordinator.web.callers import address
from coordinator.web.limits import Rate, Violations, frame_rate, limited
from coordinator.web.presence import Line
from coordinator.web.threshold import Threshold
from coordinator.web.translate import frame_of, session_of, word_of
from coordinator.wire import frames, plain

_log = logging.getLogger("agentcom.sockets")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Transmit = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: How long a client may take to identify itself, in seconds.
IDENTIFY_WITHIN = 10.0
#: How long a session may be silent, in seconds: without and with a task in hand (old sidecars block while git runs).
SILENT_IDLE = 90.0
SILENT_BUSY = 240.0
#: What may wait for a slow reader before it is cut off.
QUEUE_FRAMES = 64
QUEUE_BYTES = 256 * 1024
#: How long one frame may take to leave, in seconds; twice as long when it begins just after a look.
SEND_WITHIN = 10.0
#: How long a session that must end may take to hear why, in seconds; who does not read is left after that.
GOODBYE_WITHIN = 2.0
#: How often it is looked whether the tokens of open sessions still open the door, in seconds; so many at a time.
LOOK_EVERY = 2.0
LOOKS_AT_ONCE = 500
#: A session is replaced when nothing came from it for so long, in seconds, and at the latest after so long: what was on
#: its way is handled before anything of the next.
QUIET = 0.05
QUIET_AT_LAST = 1.0
CLOSE_SLOW = 1013
CLOSE_GOING = 1001
_BIG_TYPES = ("task_complete", "task_failed")


class Desk(Protocol):
    """What sessions need of the hub."""

    def submit(self, event: Happening) -> None: ...

    def now(self) -> Now: ...


class Company(Protocol):
    """Who hears of all sessions: of comings and goings, and of each frame before the core does."""

    def joined(self, agent_id: str, session: Session, frame: frames.Identify, line: Line) -> None: ...

    def left(self, agent_id: str, session_id: str) -> None: ...

    def hear(self, agent_id: str, frame: frames.ToHub) -> bool:
        """Take a frame that is no word about a task; tell whether it was one."""
        ...


class Cut(Exception):
    """The socket must be closed: ``code`` of PROTOCOL 1.1, after an error frame where there is one.

    ``refused`` is who wanted in and may not, as it calls itself: that is answered late. None for everything else.
    """

    def __init__(self, code: int, reason: str, error: frames.Error | None = None, refused: str | None = None) -> None:
        self.code, self.reason, self.error, self.refused = code, reason, error, refused
        super().__init__(reason)


@dataclass(slots=True)
class _Line:
    """One open socket of an identified agent.

    ``heard_at`` is when its last frame came, ``sending_since`` when one began to leave that has not left yet, both on
    the loop's clock. ``key`` is the stored form of its token, ``over`` is done when it must not be waited for.
    """

    agent: str
    session: str
    instance: str | None
    key: str
    transmit: Transmit
    heard_at: float
    queue: deque[str] = field(default_factory=deque)
    queued_bytes: int = 0
    sending_since: float | None = None
    something: asyncio.Event = field(default_factory=asyncio.Event)
    cut: Cut | None = None
    violations: Violations = field(default_factory=Violations)
    rate: Rate = field(default_factory=frame_rate)
    over: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def crowded(self) -> bool:
        """Half of what may wait does so already."""
        return len(self.queue) > QUEUE_FRAMES // 2 or self.queued_bytes > QUEUE_BYTES // 2

    def put(self, text: str) -> None:
        """Queue a frame; a reader that is too slow is cut off instead of waited for."""
        if self.cut is not None:
            return
        if len(self.queue) >= QUEUE_FRAMES or self.queued_bytes > QUEUE_BYTES:  # one large frame always fits
            self.end(Cut(CLOSE_SLOW, "too slow"), within=0)
            return
        self.queue.append(text)
        self.queued_bytes += _size(text)
        self.something.set()

    async def say(self, text: str, now: float) -> None:
        """Let a frame leave; ``now`` is the loop's time."""
        self.sending_since = now
        await self.transmit({"type": "websocket.send", "text": text})
        self.sending_since = None

    def end(self, cut: Cut, within: float = GOODBYE_WITHIN) -> None:
        """Close the socket once what is queued has gone out, and at the latest after so many seconds."""
        if self.cut is None:
            self.cut = cut
            asyncio.get_running_loop().call_later(within, self._give_up)
        self.something.set()

    def _give_up(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class Sessions:
    """All open sessions; it is the hub's net (``send``, ``close``) and the WebSocket half of the port."""

    def __init__(
        self, desk: Desk, door: Doorkeeper, agents: Mapping[str, Agent], company: Company | None = None
    ) -> None:
        self._desk = desk
        self._company = company
        self._door = door
        self._agents = agents
        self._lines: dict[str, _Line] = {}
        self._threshold = Threshold()
        #: Sockets that were ended from here, by close code.
        self.closes: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._lines)

    # --- the hub's net

    def send(self, agent: str, session: str, message: Message) -> None:
        """Say something in a session; dropped when that session is gone."""
        line = self._lines.get(agent)
        if line is not None and line.session == session:
            line.put(frame_of(message, self._desk.now().wall).encode())

    def close(self, agent: str, session: str, code: str) -> None:
        """End a session with an error of PROTOCOL 1.1."""
        line = self._lines.get(agent)
        if line is not None and line.session == session:
            self._expel(line, code, code.replace("_", " "))

    def shut(self) -> None:
        """Say goodbye to everybody: the hub goes down, nothing is lost."""
        for line in self._lines.values():
            line.end(Cut(CLOSE_GOING, "the hub stops"))

    # --- who may stay

    async def patrol(self) -> None:
        """End sessions whose token opens nothing any more: revoked, taken out of the file, past its end. Runs on."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for number, line in enumerate(tuple(self._lines.values()), 1):
                if not self._door.opens(line.agent, line.key, self._desk.now().wall):
                    agent = self._agents.get(line.agent)
                    code = "agent_disabled" if agent is None or agent.spec.disabled else "invalid_token"
                    self._expel(line, code, f"{code.replace('_', ' ')}: this token of {line.agent} opens nothing now")
                if number % LOOKS_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _expel(self, line: _Line, code: str, detail: str) -> None:
        """End a session now: nothing that it says from here on is heard."""
        line.put(frames.Error(error=code, detail=detail).encode())
        line.end(Cut(frames.CLOSE_UNAUTHORIZED, code))
        self._drop(line)

    # --- one socket

    async def serve(self, scope: Scope, receive: Receive, transmit: Transmit) -> None:
        """Serve one WebSocket connection from handshake to close (ASGI)."""
        await receive()
        await transmit({"type": "websocket.accept"})
        line: _Line | None = None
        try:
            line = await self._identify(scope, receive, transmit)
            await self._converse(line, receive)
        except Cut as cut:
            self.closes[cut.code] += 1
            if line is not None:
                self._drop(line)
            if cut.refused is None or await self._threshold.hold(address(scope), cut.refused, receive):
                await _part(transmit, cut)
        except _Gone:
            pass
        finally:
            if line is not None:
                self._drop(line)

    async def _identify(self, scope: Scope, receive: Receive, transmit: Transmit) -> _Line:
        try:
            async with asyncio.timeout(IDENTIFY_WITHIN):
                text = await _text(receive)
        except TimeoutError:
            raise Cut(frames.CLOSE_IDENTIFY_TIMEOUT, "no identify within 10 s") from None
        if _size(text) > frames.MAX_PLAIN_FRAME:
            raise Cut(frames.CLOSE_TOO_BIG, "frame too big")
        frame = _parse(text)
        if isinstance(frame, frames.Error):
            raise Cut(frames.CLOSE_UNAUTHORIZED, frame.error, frame, refused="")
        if not isinstance(frame, frames.Identify):
            error = frames.Error(error="not_identified", detail="the first frame must be identify")
            raise Cut(frames.CLOSE_UNAUTHORIZED, "not_identified", error, refused="")
        token = frame.token or _bearer(scope)
        try:
            agent = self._door.identify(frame.agent_id, token, self._desk.now().wall)
        except Refused as refused:
            error = frames.Error(error=refused.code, detail=refused.detail)
            raise Cut(frames.CLOSE_UNAUTHORIZED, refused.code, error, refused=frame.agent_id) from None
        self._refuse_second(agent.id, frame.instance_id)
        await self._threshold.admit(address(scope), agent.id)
        await self._make_room(agent.id, frame.instance_id)
        now = self._desk.now().wall
        session = session_of(frame, secrets.token_hex(8), now)
        key = digest(token or "")
        line = _Line(agent.id, session.id, frame.instance_id, key, transmit, asyncio.get_running_loop().time())
        self._lines[agent.id] = line
        parked = (agent.record.parked_reason or "parked") if agent.record.parked else None
        hello = frames.Identified(agent_id=agent.id, session_id=session.id, server_time=now, parked=parked)
        line.put(hello.encode())
        self._desk.submit(Connected(agent.id, session))
        if self._company is not None:
            self._company.joined(agent.id, session, frame, line)
        _log.info("%s connected (session %s)", agent.id, session.id)
        return line

    def _refuse_second(self, agent_id: str, instance: str | None) -> _Line | None:
        """Return the session that a newcomer replaces, None when there is none; refuse it while another one is alive.

        Raises Cut.
        """
        old = self._lines.get(agent_id)
        if old is None or old.cut is not None or (instance is not None and instance == old.instance):
            return old
        detail = f"another sidecar is connected as {agent_id}; stop it, or give this one an identity of its own"
        error = frames.Error(error="already_connected", detail=detail)
        raise Cut(frames.CLOSE_REPLACED, "already_connected", error, refused=agent_id)

    async def _make_room(self, agent_id: str, instance: str | None) -> None:
        """End the session that a newcomer replaces, once what it has said is heard. Raises Cut as above."""
        loop = asyncio.get_running_loop()
        until = loop.time() + QUIET_AT_LAST
        while (old := self._refuse_second(agent_id, instance)) is not None:
            heard_at = old.heard_at
            if old.cut is None:
                await asyncio.sleep(QUIET)
            if old.heard_at == heard_at or loop.time() >= until:
                old.end(Cut(frames.CLOSE_REPLACED, "replaced"))
                self._drop(old)

    def _drop(self, line: _Line) -> None:
        if self._lines.get(line.agent) is line:
            del self._lines[line.agent]
            self._desk.submit(Disconnected(line.agent, line.session))
            if self._company is not None:
                self._company.left(line.agent, line.session)
            _log.info("%s disconnected (session %s)", line.agent, line.session)

    async def _converse(self, line: _Line, receive: Receive) -> None:
        parts = self._write(line), self._read(line, receive), self._watch(line)
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            await asyncio.wait([*tasks, line.over], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        raise line.cut or _Gone

    async def _write(self, line: _Line) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await line.something.wait()
            line.something.clear()
            while line.queue:
                text = line.queue.popleft()
                line.queued_bytes -= _size(text)
                await line.say(text, loop.time())
            if line.cut is not None:
                raise line.cut

    async def _read(self, line: _Line, receive: Receive) -> None:
        loop = asyncio.get_running_loop()
        while True:
            text = await _text(receive)
            line.heard_at = loop.time()
            answer = self._hear(line, text) if self._lines.get(line.agent) is line else None
            if answer is None:
                continue
            if line.queue or line.sending_since is not None:
                line.put(answer)
            else:  # at once: to wake the writer takes as long as to answer
                await line.say(answer, line.heard_at)

    async def _watch(self, line: _Line) -> None:
        """End a silent session, and one whose reader is too slow for a frame.

        How long silence may last is judged when the time is up, by what the agent does then. One sleep for many frames:
        a timer for each of them costs more than reading it.
        """
        loop = asyncio.get_running_loop()
        while True:
            if line.sending_since is not None and line.sending_since + SEND_WITHIN <= loop.time():
                raise Cut(CLOSE_SLOW, "too slow")
            agent = self._agents.get(line.agent)
            patience = SILENT_BUSY if agent is not None and agent.live.slot is not None else SILENT_IDLE
            left = line.heard_at + patience - loop.time()
            if left <= 0:
                raise Cut(CLOSE_GOING, f"silent for {patience:g} s")
            await asyncio.sleep(min(left, SEND_WITHIN))

    def _hear(self, line: _Line, text: str) -> str | None:
        """Hand a frame on to the hub, or return the frame that answers it here and now."""
        large = _size(text) > frames.MAX_PLAIN_FRAME
        if large and not any(kind in text for kind in _BIG_TYPES):
            raise Cut(frames.CLOSE_TOO_BIG, "frame too big")
        frame = _parse(text)
        if isinstance(frame, frames.Error):
            if line.violations.too_many(line.heard_at):
                raise Cut(frames.CLOSE_VIOLATIONS, "too many violations", frame)
            return frame.encode()
        if isinstance(frame, frames.Ping):
            return frames.Pong(timestamp=self._desk.now().wall).encode()
        if large and frame.type not in _BIG_TYPES:
            raise Cut(frames.CLOSE_TOO_BIG, "frame too big")
        if limited(frame.type) and (wait := line.rate.over(line.heard_at)):
            return _too_fast(frame, wait).encode()
        if self._company is not None and self._company.hear(line.agent, frame):
            return None
        word = word_of(frame)
        if word is not None:
            self._desk.submit(Said(line.agent, line.session, word))
        return None


class _Gone(Exception):
    """The client went away."""


async def _part(transmit: Transmit, cut: Cut) -> None:
    """Tell a client why its socket ends; one that does not read is not waited for."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(GOODBYE_WITHIN):
            if cut.error is not None:
                await transmit({"type": "websocket.send", "text": cut.error.encode()})
            await transmit({"type": "websocket.close", "code": cut.code, "reason": cut.reason})


async def _text(receive: Receive) -> str:
    message = await receive()
    if message["type"] == "websocket.disconnect":
        raise _Gone
    text = message.get("text")
    if text is not None:
        return str(text)
    return bytes(message.get("bytes") or b"").decode("utf-8", errors="replace")


def _size(text: str) -> int:
    """Return how many bytes a frame takes on the wire."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _bearer(scope: Scope) -> str | None:
    for name, value in scope.get("headers", ()):
        if name == b"authorization":
            return bearer_token(value.decode("latin-1"))
    return None


def _parse(text: str) -> frames.ToHub | frames.Error:
    """Read one frame, or return the error frame that answers it.

    What the strict reader refuses is looked at once more, made plain: no result is turned away for a broken emoji.
    """
    try:
        return frames.to_hub.validate_json(text)
    except ValidationError:
        pass
    try:
        said = plain.read(text)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        return frames.Error(error="invalid_json", detail="the frame is no JSON object")
    try:
        return frames.to_hub.validate_python(said)
    except ValidationError as error:
        return _refusal(said, error)


def _too_fast(frame: frames.ToHub, wait: float) -> frames.Error:
    return frames.Error(
        error="rate_limited",
        detail=f"{frame.type}: too many frames; this one was not read",
        task_id=getattr(frame, "task_id", None),
        retry_after_ms=math.ceil(1000 * wait),
    )


def _refusal(said: dict[str, Any], error: ValidationError) -> frames.Error:
    kind = said.get("type")
    task_id = said.get("task_id") if isinstance(said.get("task_id"), str) else None
    mistakes = error.errors(include_url=False, include_context=False, include_input=False)
    if any(mistake["type"].startswith("union_tag") for mistake in mistakes):
        return frames.Error(error="unknown_message_type", detail=f"unknown type {str(kind)[:100]!r}", task_id=task_id)
    errors = [
        {
            "field": ".".join(str(part) for part in mistake["loc"][1:]),
            "error": str(mistake["type"]),
            "detail": str(mistake["msg"]),
        }
        for mistake in mistakes[:20]
    ]
    return frames.Error(
        error="validation_failed", detail=f"{kind}: {errors[0]['detail']}", task_id=task_id, errors=errors
    )

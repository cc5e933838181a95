"""News as a stream of server-sent events, native ASGI: one task for each reader, no thread, no queue.

What is sent is made once and shared by everybody who looks at the same: of the first page its whole content, of any
other page only the word that it has changed, once what it asks for anew is there. Readers are told a few at a time, so
that many of them never keep the loop from its work. A reader that is behind gets the newest and nothing in between; one
that takes nothing for a while is left. While nobody looks, nothing is made.

    topic     sent                                        when
    first     the content of the first page               it changed, or its ages are ``REFRESH`` seconds old
    all       event ``changed``                           anything changed, at most every ``RELOAD`` seconds
    task:ID   event ``changed``                           that task changed
    agent:ID  event ``changed``                           that agent changed
    each      the newest of these                         at the beginning: a page is older than its stream
    each      event ``beat``                              every ``BEAT`` seconds, so that silence means something
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from dashboard.door import COOKIE, FORWARDED, PATH, Caller
from dashboard.guard import Guard
from dashboard.pages import POLICY, fragment
from dashboard.snapshot import Seen, take
from dashboard.view import View

_log = logging.getLogger("agentcom.dashboard")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Transmit = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: Where the stream is.
STREAM = f"{PATH}/stream"
FIRST = "first"
#: Nothing is made more often than that, in seconds; after something that took long there is a longer pause.
EVERY = 0.25
PAUSE_FACTOR = 10
#: So many readers are told of something new at once, and so many in a second.
AT_ONCE = 5
A_SECOND = 400
#: A page that must be asked for anew hears of changes no more often than that, in seconds.
RELOAD = 2.0
#: How old what the first page says of the time may become, in seconds.
REFRESH = 15.0
#: How often a sign of life is sent, in seconds.
BEAT = 15.0
#: A reader that takes nothing for so long is left, in seconds.
STALLED = 10.0
#: Readers at the same time; of more the newcomer is told to come back later.
READERS = 1_000
_TOPIC = re.compile(r"(?:first|all|(?:task|agent):[a-z0-9][a-z0-9-]{0,63})\Z")
_CHANGED = b"event: changed\ndata: 1\n\n"
_BEAT = b"event: beat\ndata: 1\n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"content-security-policy", POLICY.encode()),
]


@dataclass(slots=True)
class _Channel:
    """One topic that somebody follows: what was sent last, how often there was something new, and whom to wake then."""

    readers: set[asyncio.Event] = field(default_factory=set)
    mark: object = None
    number: int = 0
    event: bytes = b""
    due: float = 0.0


class Stream:
    """The stream of one view; every call on its loop. ``run`` makes what is sent, ``serve`` answers one reader."""

    def __init__(self, view: View, guard: Guard) -> None:
        self._view = view
        self._guard = guard
        self._channels: dict[str, _Channel] = {}
        self._somebody = asyncio.Event()
        self._over = asyncio.Event()
        self._render: Executor = ThreadPoolExecutor(1, "dashboard")

    def __len__(self) -> int:
        return sum(len(channel.readers) for channel in self._channels.values())

    async def run(self) -> None:
        """Look for changes and make what is sent, as long as somebody reads. Runs on until cancelled."""
        while True:
            await self._somebody.wait()
            begun = time.monotonic()
            news = []
            for topic, channel in tuple(self._channels.items()):
                try:
                    if await self._look(topic, channel, begun):
                        news.append(channel)
                except Exception:
                    _log.exception("the dashboard's stream could not be made, trying again")
            taken = time.monotonic() - begun
            pause = asyncio.create_task(asyncio.sleep(max(EVERY, PAUSE_FACTOR * taken)))
            try:
                for channel in news:
                    await _wake(channel)
                await pause
            finally:
                pause.cancel()

    async def _look(self, topic: str, channel: _Channel, now: float) -> bool:
        """Make what a topic's readers are to hear, and tell whether there is something new."""
        if now < channel.due:
            return False
        first = topic == FIRST
        mark = (self._view.mark("all"), now // REFRESH) if first else self._view.mark(topic)
        if mark == channel.mark:
            return False
        seen = await self._view.seen()
        if first:
            channel.event = await asyncio.get_running_loop().run_in_executor(self._render, _fragment, seen)
        else:
            channel.event = _CHANGED
            channel.due = now + RELOAD
        channel.mark = mark
        channel.number += 1
        return True

    def close(self) -> None:
        """Say goodbye to every reader and give the thread back."""
        self._over.set()
        for channel in self._channels.values():
            for awake in channel.readers:
                awake.set()
        self._render.shutdown(wait=False, cancel_futures=True)

    # --- one reader

    async def serve(self, scope: Scope, receive: Receive, transmit: Transmit) -> None:
        """Answer one request (ASGI, http)."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        topic = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("topic", [FIRST])[0]
        if scope["method"] not in ("GET", "HEAD"):
            await _refuse(transmit, 405, "method not allowed", (b"allow", b"GET, HEAD"))
        elif not self._admits(scope, headers):
            await _refuse(transmit, 401, "make a link with `agentcom dashboard link`")
        elif not _TOPIC.match(topic):
            await _refuse(transmit, 404, "there is no such topic")
        elif len(self) >= READERS or self._over.is_set():
            await _refuse(transmit, 503, "too many readers", (b"retry-after", b"5"))
        elif scope["method"] == "HEAD":
            await transmit({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await transmit({"type": "http.response.body"})
        else:
            await self._follow(topic, receive, transmit)

    def _admits(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        peer = scope.get("client")
        caller = Caller(
            peer[0] if peer else None, headers.get("host"), _cookie(headers.get("cookie")), _forwarded(headers)
        )
        return self._guard.knows(caller) or self._guard.bears(headers.get("authorization"))

    async def _follow(self, topic: str, receive: Receive, transmit: Transmit) -> None:
        channel = self._channels.setdefault(topic, _Channel())
        awake = asyncio.Event()
        channel.readers.add(awake)
        self._somebody.set()
        gone = asyncio.create_task(_gone(receive))
        gone.add_done_callback(lambda _: awake.set())
        try:
            async with asyncio.timeout(STALLED):
                await transmit({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                await _send(transmit, _BEAT)
            await self._tell(channel, awake, gone, transmit)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await transmit({"type": "http.response.body"})
        except (TimeoutError, OSError):
            pass  # left alone: it connects again when it can read
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            channel.readers.discard(awake)
            if not channel.readers and self._channels.get(topic) is channel:
                del self._channels[topic]
            if not self._channels:
                self._somebody.clear()

    async def _tell(
        self, channel: _Channel, awake: asyncio.Event, gone: "asyncio.Task[None]", transmit: Transmit
    ) -> None:
        """Send what is new until the reader goes, or the hub. Raises TimeoutError when the reader takes nothing."""
        told = 0
        while not gone.done() and not self._over.is_set():
            event = _BEAT
            if told == channel.number:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BEAT):
                        await awake.wait()
                    awake.clear()
                    continue
            else:
                told, event = channel.number, channel.event
            async with asyncio.timeout(STALLED):
                await _send(transmit, event)


async def _wake(channel: _Channel) -> None:
    """Wake a topic's readers, a few at a time."""
    waiting = tuple(channel.readers)
    for begin in range(0, len(waiting), AT_ONCE):
        for awake in waiting[begin : begin + AT_ONCE]:
            awake.set()
        if begin + AT_ONCE < len(waiting):
            await asyncio.sleep(AT_ONCE / A_SECOND)


def _fragment(seen: Seen) -> bytes:
    """Return the content of the first page as one event."""
    return event_of(fragment(take(seen)))


def event_of(text: str) -> bytes:
    """Return a text as one server-sent event without a name."""
    return b"".join(b"data: " + line.encode() + b"\n" for line in text.splitlines() if line.strip()) + b"\n"


def _forwarded(headers: Mapping[str, str]) -> bool:
    return any(name in headers for name in FORWARDED)


def _cookie(header: str | None) -> str | None:
    try:
        found = SimpleCookie(header or "").get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


async def _gone(receive: Receive) -> None:
    """Return when the reader has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(transmit: Transmit, data: bytes) -> None:
    await transmit({"type": "http.response.body", "body": data, "more_body": True})


async def _refuse(transmit: Transmit, status: int, text: str, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS[1:], *more]
    await transmit({"type": "http.response.start", "status": status, "headers": headers})
    await transmit({"type": "http.response.body", "body": text.encode()})

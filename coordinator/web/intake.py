"""What is read of a request before anybody else sees it: its body, whole, in time, within bounds and of a kind.

A worker thread is never held by somebody who speaks slowly, and never sees more than ``BODY_BYTES``. What a body says
is the views' business.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

from coordinator.web.answers import CLOSE, Receive, Scope, Transmit, packed
from coordinator.web.callers import header

#: Largest body that is read, in bytes (DESIGN 2, limits).
BODY_BYTES = 512 * 1024
#: How long a body may take to come, in seconds.
BODY_WITHIN = 20.0
#: So many bytes of bodies are held at the same time, in all and of one address; who comes then is asked to try again.
HELD_BYTES = 64 * 1024 * 1024
HELD_OF_ONE = 16 * 1024 * 1024
#: How long, and for how many bytes, what somebody goes on saying is thrown away, so that a refusal can be read: a
#: socket that is closed on unread bytes takes the answer with it.
LINGER = 2.0
LINGER_BYTES = 64 * 1024 * 1024
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_FORM = "application/x-www-form-urlencoded"


class Turned(Exception):
    """The body is not read on; ``error`` and ``hint`` are the answer, ``again`` the seconds to wait, 0 if none."""

    def __init__(self, status: int, error: str, hint: str, again: int = 0) -> None:
        self.status, self.error, self.hint, self.again = status, error, hint, again
        super().__init__(error)


class Gone(Exception):
    """The client went away."""


class Intake:
    """Reads bodies; how much it holds is bounded over all requests, and over those of one address."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._held_in_all = 0

    @contextlib.contextmanager
    def room(self, address: str) -> Iterator["Room"]:
        """Return where one body of somebody may lie as long as its request lasts."""
        room = Room(self, address)
        try:
            yield room
        finally:
            room.leave()

    def take(self, address: str, size: int) -> None:
        """Take room for so many bytes. Raises Turned when there is none."""
        if self._held_in_all + size > HELD_BYTES or self._held[address] + size > HELD_OF_ONE:
            raise Turned(503, "unavailable", "too much is being said at the same time; try again", 1)
        self._held_in_all += size
        self._held[address] += size

    def give(self, address: str, size: int) -> None:
        """Give room back."""
        self._held_in_all -= size
        self._held[address] -= size
        if not self._held[address]:
            del self._held[address]


class Room:
    """Where one body lies."""

    def __init__(self, intake: Intake, address: str) -> None:
        self._intake = intake
        self._address = address
        self._taken = 0

    async def body(self, scope: Scope, receive: Receive) -> bytes:
        """Return the body of a request, also a chunked one. Raises Turned, Gone."""
        announced = announced_bytes(scope)
        if announced is not None and announced > BODY_BYTES:
            raise _too_large(BODY_BYTES)
        parts: list[bytes] = []
        async for part in parts_of(receive, BODY_BYTES, BODY_WITHIN):
            self._intake.take(self._address, len(part))
            self._taken += len(part)
            parts.append(part)
        return b"".join(parts)

    def leave(self) -> None:
        """Give back what was taken; a second time is nothing."""
        self._intake.give(self._address, self._taken)
        self._taken = 0


async def parts_of(receive: Receive, most: int, within: float) -> AsyncIterator[bytes]:
    """Yield a body part by part. Raises Turned when it is longer than ``most`` or later than ``within`` s; Gone."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within
    size = 0
    while True:
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise Turned(408, "request_timeout", f"the body was not there within {within:g} s") from None
        if message["type"] == "http.disconnect":
            raise Gone
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise _too_large(most)
        yield part
        if not message.get("more_body", False):
            return


def announced_bytes(scope: Scope) -> int | None:
    """Return how long a body says it is; None when it does not."""
    said = header(scope, b"content-length")
    return int(said) if said is not None and said.isascii() and said.isdigit() else None


def check_kind(scope: Scope, body: bytes) -> None:
    """Refuse a body that does not say that it is JSON. Raises Turned.

    ``curl -d`` calls everything a form unless told otherwise, and scripts send JSON that way: what begins like an
    object is taken for one. So is a body whose kind nobody said.
    """
    if scope["method"] not in _WITH_BODY or not body:
        return
    kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if kind in ("", "application/json") or (kind.startswith("application/") and kind.endswith("+json")):
        return
    if kind == _FORM and body.lstrip()[:1] == b"{":
        return
    raise Turned(415, "unsupported_media_type", "send JSON, and say so: Content-Type: application/json")


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a way to receive that gives a body which was read already, and then what comes after it."""
    left: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> MutableMapping[str, Any]:
        return left.pop() if left else await receive()

    return again


async def turn_away(turned: Turned, receive: Receive, transmit: Transmit) -> None:
    """Answer somebody who may not go on, and end the connection once the answer had time to be read."""
    retry = ((b"retry-after", str(turned.again).encode()),) if turned.again else ()
    headers, body = packed({"error": turned.error, "hint": turned.hint}, (*retry, *CLOSE))
    await transmit({"type": "http.response.start", "status": turned.status, "headers": headers})
    await transmit({"type": "http.response.body", "body": body, "more_body": True})
    with contextlib.suppress(Turned, Gone):
        async for _ in parts_of(receive, LINGER_BYTES, LINGER):
            pass
    await transmit({"type": "http.response.body", "body": b""})


def _too_large(most: int) -> Turned:
    return Turned(413, "request_entity_too_large", f"at most {most:,} bytes are read")

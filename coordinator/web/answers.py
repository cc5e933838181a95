"""What every HTTP answer of the port carries, and how the port itself answers.

Headers that an answer has already stay as they are. Nothing is known here of routes.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Transmit = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

#: Nothing that the hub says may run, be framed, be guessed at, or be kept by anybody on the way.
GUARDS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
CLOSE: tuple[tuple[bytes, bytes], ...] = ((b"connection", b"close"),)


def dressed(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return headers with the guards that they lack."""
    worn = list(headers)
    names = {name.lower() for name, _ in worn}
    return [*worn, *(guard for guard in GUARDS if guard[0] not in names)]


def dressing(transmit: Transmit) -> Transmit:
    """Return a way to transmit that dresses whatever answer begins."""

    async def say(message: MutableMapping[str, Any]) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            message = {**message, "headers": dressed(message.get("headers", ()))}
        await transmit(message)

    return say


def packed(value: Mapping[str, Any], more: Headers = ()) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return headers and body of an answer in JSON."""
    body = json.dumps(value).encode()
    about = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return [*about, *more], body


async def say_json(transmit: Transmit, status: int, value: Mapping[str, Any], more: Headers = ()) -> None:
    """Answer a request with a JSON object."""
    headers, body = packed(value, more)
    await say_bytes(transmit, status, headers, body)


async def say_bytes(transmit: Transmit, status: int, headers: Headers, body: bytes) -> None:
    """Answer a request with a body that is there."""
    await transmit({"type": "http.response.start", "status": status, "headers": list(headers)})
    await transmit({"type": "http.response.body", "body": body})


async def refuse_socket(
    scope: Scope, receive: Receive, transmit: Transmit, status: int, said: Mapping[str, Any]
) -> None:
    """Refuse a WebSocket during its handshake, which is an HTTP answer where the server can give one."""
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await transmit({"type": "websocket.close", "code": 1008})
        return
    headers, body = packed(said)
    await transmit({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await transmit({"type": "websocket.http.response.body", "body": body})

"""One port: a raw ASGI callable that sends each request to where it is answered.

``/ws``, ``/health`` and ``/ready`` are native and answer even when every worker is stuck; the rest is Flask in a small
pool of threads.
"""

import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any, Protocol

import uvicorn
from a2wsgi import WSGIMiddleware

from coordinator.wire.frames import MAX_FRAME

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Transmit = Callable[[MutableMapping[str, Any]], Awaitable[None]]
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

#: Threads for Flask.
WORKERS = 8
#: A peer that takes nothing for so long is cut off by the system, in seconds: its socket cannot even be told why.
STALLED = 30
#: Seconds that running requests may take when the server stops.
GOODBYE = 3


class SocketService(Protocol):
    """What answers WebSockets."""

    def __len__(self) -> int: ...

    async def serve(self, scope: Scope, receive: Receive, transmit: Transmit) -> None: ...


class Port:
    """The ASGI application. ``not_ready`` says why the hub cannot work now, None when it can."""

    def __init__(
        self, sockets: SocketService, flask: WsgiApp, not_ready: Callable[[], str | None], version: str
    ) -> None:
        self._sockets = sockets
        self._pages = WSGIMiddleware(_terminated(flask), workers=WORKERS)  # type: ignore[arg-type]
        self._not_ready = not_ready
        self._version = version

    async def __call__(self, scope: Scope, receive: Receive, transmit: Transmit) -> None:
        match scope["type"], scope.get("path"):
            case "lifespan", _:
                await _lifespan(receive, transmit)
            case "websocket", "/ws" | "/ws/":
                await self._sockets.serve(scope, receive, transmit)
            case "websocket", _:
                await receive()
                await transmit({"type": "websocket.close", "code": 1008, "reason": "agents connect at /ws"})
            case "http", "/health":
                await _json(transmit, 200, self._health("ok"))
            case "http", "/ready":
                reason = self._not_ready()
                health = self._health("ok" if reason is None else "unavailable")
                await _json(transmit, 200 if reason is None else 503, health | ({"why": reason} if reason else {}))
            case _:
                await self._pages(scope, receive, transmit)  # type: ignore[arg-type]  # a2wsgi narrows the ASGI types

    def _health(self, status: str) -> dict[str, Any]:
        return {
            "status": status,
            "service": "agent_com",
            "agents_connected": len(self._sockets),
            "version": self._version,
        }


def _terminated(app: WsgiApp) -> WsgiApp:
    """Tell WSGI that the input ends by itself: without it chunked bodies arrive empty."""

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input_terminated"] = True
        return app(environ, start_response)

    return call


async def _lifespan(receive: Receive, transmit: Transmit) -> None:
    while True:
        message = await receive()
        await transmit({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _json(transmit: Transmit, status: int, value: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await transmit({"type": "http.response.start", "status": status, "headers": headers})
    await transmit({"type": "http.response.body", "body": json.dumps(value).encode()})


def make_server(app: Port) -> uvicorn.Server:
    """Return a server for ``app``; start it with ``serve(sockets=[...])``, stop it with ``should_exit``."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws_max_size=MAX_FRAME,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        timeout_graceful_shutdown=GOODBYE,
        server_header=False,
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """A server that leaves signals to the hub's command."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def let_many_in() -> None:
    """Let this process have as many sockets and files open as the system allows it: often 1,024 unless asked."""
    try:
        import resource
    except ImportError:  # no Unix
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 lets the system choose. Raises OSError (EADDRINUSE when it is taken)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns off Nagle only where the protocol is named; else a second small frame waits 40 ms for an ACK
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED * 1000)
        listener.bind((host, port))
        listener.listen(2048)
        listener.set_inheritable(False)
    except OSError:
        listener.close()
        raise
    return listener

"""One port: a raw ASGI callable that sends each request to where it is answered.

``/ws``, ``/health``, ``/ready``, ``/metrics`` and ``/hooks/git`` are native and answer even when every worker is stuck;
the rest is Flask in a small pool of threads, which gets only requests that are there as a whole.
"""

import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Protocol

import uvicorn
from a2wsgi import WSGIMiddleware
from uvicorn.protocols.utils import ClientDisconnected

from coordinator.web import callers
from coordinator.web.answers import Receive, Scope, Transmit, dressing, refuse_socket, say_bytes, say_json
from coordinator.web.callers import Gate
from coordinator.web.intake import Gone, Intake, Turned, check_kind, replay, turn_away
from coordinator.web.patience import KEEP_ALIVE, Handshakes, Requests
from coordinator.wire.frames import MAX_FRAME

_log = logging.getLogger("agentcom.port")

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Native = Callable[[Scope, Receive, Transmit], Any]

#: Threads for Flask.
WORKERS = 8
#: A peer that takes nothing for so long is cut off by the system, in seconds: its socket cannot even be told why.
STALLED = 30
#: Seconds that running requests may take when the server stops.
GOODBYE = 3
_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class SocketService(Protocol):
    """What answers WebSockets."""

    def __len__(self) -> int: ...

    async def serve(self, scope: Scope, receive: Receive, transmit: Transmit) -> None: ...


class Meter(Protocol):
    """What counts and says what was counted."""

    def answered(self, method: str, path: str, status: int) -> None: ...

    def text(self) -> bytes: ...


class PushHook(Protocol):
    """What answers push hooks."""

    async def serve(self, scope: Scope, receive: Receive, transmit: Transmit) -> None: ...


class Port:
    """The ASGI application. ``not_ready`` says why the hub cannot work now, None when it can.

    ``proxied``: every request comes through a proxy, which says for whom it asks. ``native`` are further
    paths that are answered here and not by a worker.
    """

    def __init__(
        self,
        sockets: SocketService,
        flask: WsgiApp,
        not_ready: Callable[[], str | None],
        version: str,
        *,
        gate: Gate | None = None,
        proxied: bool = False,
        meter: Meter | None = None,
        hook: PushHook | None = None,
        native: Mapping[str, Native] | None = None,
    ) -> None:
        self._sockets = sockets
        self._pages = WSGIMiddleware(_terminated(flask), workers=WORKERS)  # type: ignore[arg-type]
        self._not_ready = not_ready
        self._version = version
        self._gate = gate or Gate()
        self._proxied = proxied
        self._meter = meter
        self._hook = hook
        self._intake = Intake()
        self._native = native or {}

    async def __call__(self, scope: Scope, receive: Receive, transmit: Transmit) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, transmit)
            return
        if self._proxied:
            scope = callers.behind_proxy(scope)
        if scope["type"] == "websocket":
            await self._socket(scope, receive, transmit)
            return
        said = _Said(dressing(transmit))
        try:
            await self._request(scope, receive, said.transmit)
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            await said.that_it_failed()
        if said.status is not None:
            self._count(scope["method"], scope["path"], said.status)

    async def _socket(self, scope: Scope, receive: Receive, transmit: Transmit) -> None:
        """Let a session begin, or refuse it; nothing stands between a session and the server for each frame."""
        objection = self._gate.objection(scope)
        if objection is None and scope["path"] in ("/ws", "/ws/"):
            try:
                await self._sockets.serve(scope, receive, transmit)
            except ClientDisconnected:
                pass
            except Exception:
                _log.exception("a session failed")
                with contextlib.suppress(Exception):
                    await transmit({"type": "websocket.close", "code": 1011, "reason": "internal error"})
            return
        status, said = 403, {"error": "forbidden", "hint": objection or ""}
        if objection is None:
            status, said = 404, {"error": "not_found", "hint": "agents connect at /ws"}
        await refuse_socket(scope, receive, dressing(transmit), status, said)
        self._count("GET", scope["path"], status)

    def _count(self, method: str, path: str, status: int) -> None:
        if self._meter is not None:
            self._meter.answered(method, path, status)

    async def _request(self, scope: Scope, receive: Receive, transmit: Transmit) -> None:
        objection = self._gate.objection(scope)
        if objection is not None:
            await say_json(transmit, 403, {"error": "forbidden", "hint": objection})
            return
        match scope["path"]:
            case "/health" | "/ready" | "/metrics" if scope["method"] not in ("GET", "HEAD"):
                await say_json(transmit, 405, {"error": "method_not_allowed"}, [(b"allow", b"GET, HEAD")])
            case "/health":
                await say_json(transmit, 200, self._health("ok"))
            case "/ready":
                reason = self._not_ready()
                health = self._health("ok" if reason is None else "unavailable")
                await say_json(transmit, 200 if reason is None else 503, health | ({"why": reason} if reason else {}))
            case "/metrics" if self._meter is not None:
                text = self._meter.text()
                about = [(b"content-type", _METRICS_TYPE), (b"content-length", str(len(text)).encode())]
                await say_bytes(transmit, 200, about, text)
            case "/hooks/git" if self._hook is not None:
                await self._hook.serve(scope, receive, transmit)
            case path if path in self._native:
                await self._native[path](scope, receive, transmit)
            case _:
                await self._page(scope, receive, transmit)

    async def _page(self, scope: Scope, receive: Receive, transmit: Transmit) -> None:
        """Let Flask answer a request that is there as a whole."""
        with self._intake.room(callers.address(scope)) as room:

            async def last(message: MutableMapping[str, Any]) -> None:
                """Give the room back before who was answered may ask again."""
                if message["type"] == "http.response.body" and not message.get("more_body", False):
                    room.leave()
                await transmit(message)

            try:
                body = await room.body(scope, receive)
                check_kind(scope, body)
            except Turned as turned:
                room.leave()
                await turn_away(turned, receive, transmit)
                return
            except Gone:
                return
            await self._pages(scope, replay(body, receive), last)  # type: ignore[arg-type]  # a2wsgi narrows the types

    def _health(self, status: str) -> dict[str, Any]:
        return {
            "status": status,
            "service": "agent_com",
            "agents_connected": len(self._sockets),
            "version": self._version,
        }


class _Said:
    """How far one answer has come."""

    def __init__(self, transmit: Transmit) -> None:
        self._transmit = transmit
        self.status: int | None = None

    async def transmit(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._transmit(message)

    async def that_it_failed(self) -> None:
        """Say that it went wrong here, if nothing was said yet, and nothing of how."""
        if self.status is None:
            said = {"error": "internal_server_error", "hint": "the hub's log says more"}
            with contextlib.suppress(Exception):
                await say_json(self.transmit, 500, said)


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


def make_server(app: Port, tls: ssl.SSLContext | None = None) -> uvicorn.Server:
    """Return a server for ``app``; start it with ``serve(sockets=[...])``, stop it with ``should_exit``."""
    config = uvicorn.Config(
        app,
        http=Requests,
        ws=Handshakes,
        proxy_headers=False,  # uvicorn would believe whoever connects from this machine; the port knows better
        ssl_context_factory=None if tls is None else lambda _config, _usual: tls,
        timeout_keep_alive=KEEP_ALIVE,
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

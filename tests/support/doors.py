"""A port on real sockets with a few pages behind it, and clients that speak to it byte by byte."""

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from coordinator.web.asgi import Port, listen, make_server

SOON = 20.0


@dataclass
class Answer:
    """One HTTP answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class NoSockets:
    """Takes every WebSocket and says nothing."""

    def __len__(self) -> int:
        return 0

    async def serve(self, scope: Any, receive: Any, transmit: Any) -> None:
        await receive()
        await transmit({"type": "websocket.accept"})
        await transmit({"type": "websocket.close", "code": 1000})


@dataclass
class Pages:
    """A WSGI application: echoes bodies, fails at /fail, and stands still at /stuck until ``go_on`` is set."""

    go_on: threading.Event = field(default_factory=threading.Event)
    came: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/fail":
            raise RuntimeError("a secret of the inside")
        if path == "/stuck":
            self.came.release()
            self.go_on.wait(SOON)
        body = b"x" * 8_000_000 if path == "/large" else environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain"), ("X-Client", environ.get("REMOTE_ADDR", ""))])
        return [body]


@dataclass
class Door:
    """Where a port listens."""

    port: int
    pages: Pages
    connections: Callable[[], int]

    async def open(self, tls: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = None if tls is None else "localhost"
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=tls, server_hostname=name, limit=2**24)

    async def ask(self, head: str, body: bytes = b"", *headers: str, host: str = "") -> Answer:
        """Send one request and return its answer; ``head`` is its method and path."""
        reader, writer = await self.open()
        lines = [f"{head} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.port}'}", *headers]
        if body and not any(line.lower().startswith("transfer-encoding") for line in headers):
            lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        try:
            return await read_answer(reader, head_only=head.startswith("HEAD "))
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader, *, head_only: bool = False) -> Answer:
    """Return the next answer of a connection."""
    async with asyncio.timeout(SOON):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = b""
        if not head_only and "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        elif not head_only and headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        return Answer(int(status.split()[1]), headers, body)


@asynccontextmanager
async def open_door(
    sockets: Any = None, tls: ssl.SSLContext | None = None, pages: Any = None, **more: Any
) -> AsyncIterator[Door]:
    """Serve a port until the end of the block; ``pages`` is another WSGI application than ours."""
    ours = Pages()
    listener = listen("127.0.0.1", 0)
    server = make_server(
        Port(NoSockets() if sockets is None else sockets, pages or ours, lambda: None, "0", **more), tls
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield Door(listener.getsockname()[1], ours, lambda: len(server.server_state.connections))
    finally:
        ours.go_on.set()
        server.should_exit = True
        await asyncio.wait_for(serving, SOON)
        listener.close()

"""How long a connection may be slow, and how the server's own answers are dressed: uvicorn's protocols, made strict.

A client that does not finish its request line and headers in time is cut off, and so is one that does not take what it
was answered. What is a body and what it may hold is decided in ``intake``; sessions watch over themselves.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request, Response

from coordinator.web.answers import CLOSE, dressed, packed
from coordinator.wire.frames import CLOSE_TOO_BIG, MAX_PLAIN_FRAME

#: How long a client may take for the head of a request, in seconds: from connecting, or from its first byte.
HEAD_WITHIN = 10.0
#: How long an answer may wait for a reader that takes nothing, in seconds.
READ_WITHIN = 30.0
#: How long an idle connection is kept for another request, in seconds.
KEEP_ALIVE = 15
#: So much is read of a WebSocket's first message, in bytes: as much as it may have, and what comes along with it.
FIRST_BYTES = MAX_PLAIN_FRAME + 512 * 1024


class Requests(H11Protocol):
    """HTTP/1.1 with an end to every wait."""

    _late: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_WITHIN, self._cut)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._on_time()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_WITHIN, self._cut)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._disarm()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """End a connection whose request was answered before it was said to its end."""
        unfinished = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if unfinished:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stuck is None:
            self._stuck = self.loop.call_later(READ_WITHIN, self._cut)

    def resume_writing(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer is under way."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self.transport.is_closing():
            headers, body = packed({"error": "bad_request", "hint": msg}, CLOSE)
            try:
                head = self.conn.send(h11.Response(status_code=400, headers=dressed(headers), reason=b"Bad Request"))
                rest = [self.conn.send(event) or b"" for event in (h11.Data(data=body), h11.EndOfMessage())]
                self.transport.write(b"".join([head or b"", *rest]))
            except h11.LocalProtocolError:
                pass  # it was answered in part: the end of the connection says the rest
        self.transport.close()

    def _on_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _disarm(self) -> None:
        self._on_time()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _cut(self) -> None:
        """End the connection: no answer could reach a client that neither speaks nor listens."""
        self._disarm()
        self.transport.abort()


class Handshakes(WebSocketsSansIOProtocol):
    """WebSockets whose refused handshakes look like every other answer, and whose first message is small.

    The first one says who speaks: until then nobody may fill the memory.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        accept = self.conn.accept

        def answer(request: Request) -> Response:
            response = accept(request)
            if response.status_code != 101:
                said = [
                    (name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.raw_items()
                ]
                for name, value in dressed(said)[len(said) :]:
                    response.headers[name.decode("latin-1")] = value.decode("latin-1")
            return response

        self.conn.accept = answer  # type: ignore[method-assign]
        self._unsaid = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._unsaid < 0:
            return
        self._unsaid += len(data)
        if self._unsaid > FIRST_BYTES and not self.transport.is_closing():
            self.conn.fail(CLOSE_TOO_BIG, "the first message is too big")
            self.handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        self._unsaid = -1
        super().send_receive_event_to_app()

"""The Flask application behind the port: every kind of answer carries the guards and tells nothing of the inside."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from support.doors import Door, open_door

from coordinator.core.agent import Role
from coordinator.core.timers import Now
from coordinator.web.access import requires
from coordinator.web.answers import GUARDS
from coordinator.web.app import Bridge, make_app
from coordinator.web.auth import Doorkeeper
from coordinator.web.intake import BODY_BYTES

ADMIN = "Authorization: Bearer ac_admin"
JSON = "Content-Type: application/json"


@asynccontextmanager
async def whole() -> AsyncIterator[Door]:
    api = Blueprint("some", __name__, url_prefix="/api")

    @api.get("/fail")
    @requires(Role.READER)
    def fail() -> ResponseReturnValue:
        raise RuntimeError("a secret of the inside")

    @api.post("/echo")
    @requires(Role.READER)
    def echo() -> ResponseReturnValue:
        return jsonify(ok=True)

    bridge = Bridge(asyncio.get_running_loop())
    flask = make_app(Doorkeeper({}, "ac_admin"), lambda: Now(0.0, 0), bridge, [api])
    async with open_door(pages=flask.wsgi_app) as door:
        yield door


@pytest.mark.parametrize(
    ("head", "headers", "body", "status", "error"),
    [
        ("POST /api/echo", [ADMIN, JSON], b"{}", 200, None),
        ("POST /api/echo", [JSON], b"{}", 401, "unauthorized"),
        ("POST /api/echo", ["Authorization: Bearer ac_wrong", JSON], b"{}", 401, "unauthorized"),
        ("GET /api/echo", [ADMIN], b"", 405, "method_not_allowed"),
        ("BREW /api/echo", [ADMIN], b"", 405, "method_not_allowed"),
        ("GET /api/nowhere", [ADMIN], b"", 404, "not_found"),
        ("GET /nowhere", [], b"", 404, "not_found"),
        ("GET /../../etc/passwd", [], b"", 404, "not_found"),
        ("GET http://evil.example/api/echo", [], b"", 404, "not_found"),
        ("POST /api/echo", [ADMIN, JSON], b"x" * (BODY_BYTES + 1), 413, "request_entity_too_large"),
        ("POST /api/echo", [ADMIN, "Content-Type: text/xml"], b"<a/>", 415, "unsupported_media_type"),
        ("GET /api/fail", [ADMIN], b"", 500, "internal server error"),
    ],
)
async def test_every_answer_is_json_with_guards(
    head: str, headers: list[str], body: bytes, status: int, error: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with whole() as door:
        answer = await door.ask(head, body, *headers)
    assert (answer.status, answer.json.get("error")) == (status, error)
    assert {name.decode(): answer.headers.get(name.decode()) for name, _ in GUARDS} == {
        name.decode(): value.decode() for name, value in GUARDS
    }
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    if status == 500:
        assert "a secret of the inside" in caplog.text


@pytest.mark.parametrize(
    "said",
    [
        b"POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 2_000_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 1000,
    ],
)
async def test_what_is_no_proper_request_is_refused_and_the_connection_ends(said: bytes) -> None:
    async with whole() as door:
        reader, writer = await door.open()
        writer.write(said)
        writer.write_eof()
        heard = b""
        with contextlib.suppress(ConnectionError):  # what is refused may be cut off while it still speaks
            async with asyncio.timeout(20):
                heard = await reader.read()
        writer.close()
        assert not heard or heard.startswith(b"HTTP/1.1 4"), heard[:100]
        assert (await door.ask("GET /health")).status == 200

"""What the port answers by itself, over real sockets: guards on every answer, bounds of bodies, names, slow clients."""

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest
from support.doors import Answer, Door, open_door, read_answer
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from coordinator.web import intake, patience
from coordinator.web.answers import GUARDS
from coordinator.web.asgi import WORKERS
from coordinator.web.callers import Gate
from coordinator.web.intake import BODY_BYTES
from coordinator.wire.frames import MAX_FRAME, MAX_PLAIN_FRAME

JSON = "Content-Type: application/json"


def guarded(headers: dict[str, str]) -> bool:
    return all(headers.get(name.decode()) == value.decode() for name, value in GUARDS)


# --- every answer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /health", 200),
        ("HEAD /health", 200),
        ("GET /ready", 200),
        ("HEAD /ready", 200),
        ("POST /health", 405),
        ("DELETE /ready", 405),
        ("TRACE /health", 405),
        ("OPTIONS /metrics", 405),
        ("GET /page", 200),
        ("GET /fail", 500),
    ],
)
async def test_every_answer_carries_the_guards(head: str, status: int) -> None:
    async with open_door() as door:
        answer = await door.ask(head)
        assert (answer.status, guarded(answer.headers)) == (status, True)
        assert "server" not in answer.headers
        if status == 405:
            assert answer.headers["allow"] == "GET, HEAD"
        if head.startswith("HEAD"):
            assert answer.body == b""


async def test_an_error_of_the_inside_is_a_bare_500_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with open_door() as door:
        answer = await door.ask("GET /fail")
    assert answer.json == {"error": "internal_server_error", "hint": "the hub's log says more"}
    assert "a secret of the inside" in caplog.text


async def test_what_is_no_http_is_answered_with_the_guards_too() -> None:
    async with open_door() as door:
        reader, writer = await door.open()
        writer.write(b"NONSENSE\r\n\r\n")
        answer = await read_answer(reader)
        assert (answer.status, answer.json["error"], guarded(answer.headers)) == (400, "bad_request", True)
        assert await reader.read() == b""
        writer.close()


async def test_a_page_that_brings_a_guard_of_its_own_keeps_it() -> None:
    from coordinator.web.answers import dressed

    own = (b"Content-Security-Policy", b"default-src 'self'")
    assert [value for name, value in dressed([own]) if name.lower() == own[0].lower()] == [own[1]]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [("/elsewhere", {}, 404), ("/ws", {"Origin": "https://evil.example"}, 403)],
)
async def test_a_refused_handshake_is_an_answer_like_any_other(path: str, headers: dict, status: int) -> None:
    async with open_door() as door:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{door.port}{path}", additional_headers=headers)
        answer = refused.value.response
        assert answer.status_code == status
        assert guarded({name.lower(): value for name, value in answer.headers.raw_items()})
        assert "error" in json.loads(answer.body)


async def test_a_handshake_that_is_none_is_refused_with_the_guards() -> None:
    async with open_door() as door:
        answer = await door.ask(
            "GET /ws", b"", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"
        )
        assert (answer.status, guarded(answer.headers)) == (400, True)


# --- while everything else stands still -----------------------------------------------------------------------------


async def test_health_ready_and_metrics_answer_while_every_worker_is_stuck() -> None:
    class Meter:
        def answered(self, method: str, path: str, status: int) -> None: ...

        def text(self) -> bytes:
            return b"agentcom_up 1\n"

    async with open_door(meter=Meter()) as door:
        stuck = [asyncio.create_task(door.ask("GET /stuck")) for _ in range(WORKERS)]
        for _ in stuck:
            assert await asyncio.to_thread(door.pages.came.acquire, timeout=20)
        waiting = asyncio.create_task(door.ask("GET /page"))
        for path in ("/health", "/ready", "/metrics"):
            assert (await door.ask(f"GET {path}")).status == 200
        assert not waiting.done()
        door.pages.go_on.set()
        assert {answer.status for answer in await asyncio.gather(*stuck, waiting)} == {200}


# --- bodies ---------------------------------------------------------------------------------------------------------


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


async def test_a_chunked_body_arrives_whole() -> None:
    async with open_door() as door:
        answer = await door.ask("POST /echo", chunked(b'{"a":', b"1}"), JSON, "Transfer-Encoding: chunked")
        assert (answer.status, answer.body) == (200, b'{"a":1}')


async def test_a_body_of_the_largest_size_is_read() -> None:
    async with open_door() as door:
        assert len((await door.ask("POST /echo", b"x" * BODY_BYTES, JSON)).body) == BODY_BYTES


async def test_an_announced_body_that_is_too_large_is_refused_before_it_is_sent() -> None:
    async with open_door() as door:
        reader, writer = await door.open()
        writer.write(f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_BYTES + 1}\r\n\r\n".encode())
        answer = await read_answer(reader)
        assert (answer.status, answer.json["error"]) == (413, "request_entity_too_large")
        assert (answer.headers["connection"], guarded(answer.headers)) == ("close", True)
        writer.close()


@pytest.mark.parametrize("how", ["announced", "chunked"])
async def test_whoever_sends_far_too_much_can_read_why_it_is_refused(how: str) -> None:
    body = b"x" * (8 * BODY_BYTES)
    more = ("Transfer-Encoding: chunked",) if how == "chunked" else ()
    async with open_door() as door:
        answer = await door.ask("POST /echo", chunked(body) if more else body, JSON, *more)
        assert answer.status == 413


async def test_an_endless_chunked_body_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "LINGER", 0.05)
    async with open_door() as door:
        reader, writer = await door.open()
        writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(20):
                while True:
                    writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                    await writer.drain()
        writer.close()
        del reader


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"[1]", 200),
        ("application/json; charset=utf-8", b"{}", 200),
        ("application/merge-patch+json", b"{}", 200),
        (None, b"{}", 200),
        ("application/x-www-form-urlencoded", b' {"a":1}', 200),
        ("application/x-www-form-urlencoded", b"a=1", 415),
        ("text/plain", b"{}", 415),
        ("multipart/form-data; boundary=x", b"{}", 415),
        ("text/plain", b"", 200),
    ],
)
async def test_a_body_must_be_json_and_curl_may_call_it_a_form(kind: str | None, body: bytes, status: int) -> None:
    async with open_door() as door:
        answer = await door.ask("POST /echo", body, *([f"Content-Type: {kind}"] if kind else []))
        assert answer.status == status
        if status == 415:
            assert answer.json["error"] == "unsupported_media_type"


@pytest.mark.parametrize("bound", ["HELD_BYTES", "HELD_OF_ONE"])
async def test_bodies_that_are_held_at_the_same_time_have_a_bound(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, bound, 1000)
    async with open_door() as door:
        assert (await door.ask("POST /echo", b"x" * 900, JSON)).status == 200
        answer = await door.ask("POST /echo", b"x" * 1100, JSON)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert (await door.ask("POST /echo", b"x" * 900, JSON)).status == 200


async def test_one_address_cannot_keep_the_others_from_speaking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "HELD_OF_ONE", 1000)
    async with open_door(proxied=True) as door:
        slow = [await door.open() for _ in range(3)]
        for _, writer in slow:
            head = (
                b"POST /echo HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.9\r\nContent-Length: 500\r\n\r\n"
            )
            writer.write(head + b"x" * 400)
        refused = await asyncio.wait_for(anybody(slow), 20)
        assert refused.status == 503
        assert (await door.ask("POST /echo", b"x" * 900, JSON, "X-Forwarded-For: 203.0.113.10")).status == 200
        for _, writer in slow:
            writer.close()


async def anybody(slow: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> Answer:
    """Return the first answer that one of them gets."""
    reading = [asyncio.create_task(read_answer(reader)) for reader, _ in slow]
    done, left = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return done.pop().result()


async def test_a_first_message_that_is_too_large_is_not_waited_for() -> None:
    class Listening:
        def __len__(self) -> int:
            return 0

        async def serve(self, scope: dict, receive: Callable, transmit: Callable) -> None:
            await receive()
            await transmit({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass

    def endless() -> Iterator[str]:
        for _ in range(1000):
            yield "x" * 65536

    async with open_door(Listening()) as door, connect(f"ws://127.0.0.1:{door.port}/ws") as link:
        with pytest.raises(ConnectionClosed):
            await link.send(endless())
        assert link.close_code == 1009
    async with open_door(Listening()) as door, connect(f"ws://127.0.0.1:{door.port}/ws", compression=None) as link:
        await link.send("x")
        await link.send("x" * (2 * MAX_PLAIN_FRAME))
        await (await link.ping())
        with pytest.raises(ConnectionClosed):
            await link.send("x" * (MAX_FRAME + 1))
            await link.wait_closed()
            await link.send("x")
        assert link.close_code == 1009


# --- slow clients ---------------------------------------------------------------------------------------------------


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of a connection."""
    try:
        async with asyncio.timeout(20):
            while await reader.read(65536):
                pass
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("said", [b"", b"GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: "])
async def test_a_head_that_does_not_end_is_cut_off(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_WITHIN", 0.1)
    async with open_door() as door:
        reader, writer = await door.open()
        writer.write(said)
        assert await ended(reader)
        writer.close()


async def test_many_slow_heads_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_WITHIN", 0.5)
    async with open_door() as door:
        slow = [await door.open() for _ in range(200)]
        for _, writer in slow:
            writer.write(b"POST /echo HTTP/1.1\r\nX-")
        assert (await door.ask("GET /health")).status == 200
        assert (await door.ask("GET /page")).status == 200
        assert all(await asyncio.gather(*(ended(reader) for reader, _ in slow)))
        for _, writer in slow:
            writer.close()


async def test_slow_bodies_hold_no_worker_and_are_answered_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BODY_WITHIN", 0.5)
    monkeypatch.setattr(intake, "LINGER", 0.05)
    async with open_door() as door:
        slow = [await door.open() for _ in range(4 * WORKERS)]
        for _, writer in slow:
            writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert (await door.ask("GET /page")).status == 200
        answers = await asyncio.gather(*(read_answer(reader) for reader, _ in slow))
        assert {answer.status for answer in answers} == {408}
        assert all(await asyncio.gather(*(ended(reader) for reader, _ in slow)))
        for _, writer in slow:
            writer.close()


async def test_an_answer_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "READ_WITHIN", 0.2)
    async with open_door() as door:
        reader, writer = await door.open()
        writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        assert await until_lost(door)
        writer.transport.abort()


async def until_lost(door: Door) -> bool:
    """Wait until no connection but that of the question itself is left."""
    async with asyncio.timeout(20):
        while door.connections():  # noqa: ASYNC110 - the server tells nobody when one is lost
            await asyncio.sleep(0.05)
    return True


async def test_what_goes_on_after_its_answer_ends_the_connection() -> None:
    async with open_door() as door:
        reader, writer = await door.open()
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        assert (await read_answer(reader)).status == 200
        assert await ended(reader)
        writer.close()


# --- names ----------------------------------------------------------------------------------------------------------

PUBLIC = Gate("https://hub.example.org")


@pytest.mark.parametrize(
    ("host", "gate", "status"),
    [
        ("localhost:4000", None, 200),
        ("LOCALHOST", None, 200),
        ("127.0.0.1", None, 200),
        ("127.9.9.9:1", None, 200),
        ("[::1]:4000", None, 200),
        ("evil.example:4000", None, 403),
        ("localhost.evil.example", None, 403),
        ("127.0.0.1.evil.example", None, 403),
        ("10.0.0.1", None, 403),
        ("[::1", None, 403),
        ("", None, 403),
        ("hub.example.org", None, 403),
        ("hub.example.org", PUBLIC, 200),
        ("hub.example.org:8443", PUBLIC, 200),
        ("evil.example", PUBLIC, 403),
    ],
)
async def test_over_loopback_a_hub_answers_to_its_own_names_alone(host: str, gate: Gate | None, status: int) -> None:
    async with open_door(gate=gate) as door:
        for path in ("/health", "/page"):
            assert (await door.ask(f"GET {path}", host=host or " ")).status == status


def scope(server: str, host: str, **more: str) -> dict:
    headers = [(b"host", host.encode()), *((key.encode(), value.encode()) for key, value in more.items())]
    return {"type": "http", "method": "POST", "server": (server, 4000), "headers": headers}


@pytest.mark.parametrize(
    ("server", "host", "gate", "may"),
    [
        ("10.0.0.2", "hub:4000", Gate(), True),
        ("10.0.0.2", "hub:4000", PUBLIC, False),
        ("10.0.0.2", "10.0.0.2:4000", PUBLIC, True),
        ("10.0.0.2", "[fe80::1]:4000", PUBLIC, True),
        ("::ffff:127.0.0.1", "evil.example", Gate(), False),
    ],
)
def test_elsewhere_names_count_once_the_hub_has_one(server: str, host: str, gate: Gate, may: bool) -> None:
    assert (gate.objection(scope(server, host)) is None) == may


@pytest.mark.parametrize(
    ("host", "origin", "gate", "may"),
    [
        ("localhost:4000", "http://localhost:4000", Gate(), True),
        ("127.0.0.1:4000", "http://127.0.0.1:4000", Gate(), True),
        ("127.0.0.1:4000", "http://127.0.0.1:3000", Gate(), False),
        ("localhost:4000", "http://127.0.0.1:4000", Gate(), False),
        ("localhost:4000", "null", Gate(), False),
        ("localhost:4000", "https://evil.example", Gate(), False),
        ("localhost:4000", "", Gate(), False),
        ("localhost:4000", "file://localhost:4000", Gate(), False),
        ("hub.example.org", "https://hub.example.org", PUBLIC, True),
        ("hub.example.org", "https://hub.example.org:443", PUBLIC, True),
        ("127.0.0.1:4000", "https://hub.example.org", PUBLIC, True),
        ("hub.example.org", "https://hub.example.org.evil.example", PUBLIC, False),
    ],
)
def test_only_pages_of_the_hub_itself_may_write(host: str, origin: str, gate: Gate, may: bool) -> None:
    assert (gate.objection(scope("127.0.0.1", host, origin=origin)) is None) == may


async def test_a_foreign_page_may_neither_write_nor_open_a_socket_and_reads_nothing() -> None:
    foreign = "Origin: https://evil.example"
    async with open_door() as door:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = await door.ask(f"{method} /echo", b"{}", JSON, foreign)
            assert (answer.status, answer.json["error"]) == (403, "forbidden")
        answer = await door.ask("GET /page", b"", foreign)
        assert (answer.status, "access-control-allow-origin" in answer.headers) == (200, False)


# --- behind a proxy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "proxied", "client"),
    [
        (["X-Forwarded-For: 203.0.113.9"], False, "127.0.0.1"),
        (["X-Forwarded-For: 203.0.113.9"], True, "203.0.113.9"),
        (["X-Forwarded-For: 1.1.1.1, 203.0.113.9"], True, "203.0.113.9"),
        (["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 198.51.100.1"], True, "198.51.100.1"),
        (["X-Forwarded-For: 203.0.113.9:5555"], True, "203.0.113.9"),
        (["X-Forwarded-For: [2001:db8::1]:5555"], True, "2001:db8::1"),
        (["X-Forwarded-For: 203.0.113.9, nonsense"], True, "127.0.0.1"),
        ([], True, "127.0.0.1"),
    ],
)
async def test_only_behind_a_proxy_is_its_word_believed_and_only_its_own(
    said: list[str], proxied: bool, client: str
) -> None:
    async with open_door(proxied=proxied) as door:
        assert (await door.ask("GET /page", b"", *said)).headers["x-client"] == client


async def test_a_session_that_fails_is_closed_with_1011_and_the_log_has_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def __len__(self) -> int:
            return 0

        async def serve(self, scope: dict, receive: Callable, transmit: Callable) -> None:
            await receive()
            await transmit({"type": "websocket.accept"})
            raise RuntimeError("a secret of the inside")

    async with open_door(Broken()) as door, connect(f"ws://127.0.0.1:{door.port}/ws") as link:
        await link.wait_closed()
        assert (link.close_code, link.close_reason) == (1011, "internal error")
    assert "a secret of the inside" in caplog.text

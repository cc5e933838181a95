"""The door over real sockets: every close code of PROTOCOL 1.1, and what a client hears before it."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from coordinator.core.agent import Agent, AgentRecord, AgentSpec, Token
from coordinator.core.events import Complete, Connected, Disconnected, Happening, Progress, Said, Woken
from coordinator.core.timers import Now
from coordinator.web import limits, sockets, threshold
from coordinator.web.asgi import STALLED, Port, listen, make_server
from coordinator.web.auth import Doorkeeper, digest
from coordinator.web.sockets import Sessions
from coordinator.wire.frames import MAX_FRAME, MAX_PLAIN_FRAME

SOON = 20.0


class House:
    """A port with the agents a, b and c behind it, and a desk that only listens."""

    def __init__(self) -> None:
        self.heard: list[Happening] = []
        self.news = asyncio.Event()
        self.wall = 1_800_000_000_000
        self.agents = {
            name: Agent(
                AgentSpec(name, tokens=(Token(digest(token_of(name))),), where=f"agents/{name}.yaml"), AgentRecord(name)
            )
            for name in "abc"
        }
        self.sessions = Sessions(self, Doorkeeper(self.agents, "admin"), self.agents)
        self.url = ""

    def submit(self, event: Happening) -> None:
        self.heard.append(event)
        self.news.set()

    def now(self) -> Now:
        return Now(1.0, self.wall)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(SOON):
            while not true():
                self.news.clear()
                await self.news.wait()

    def knock(self) -> connect:
        return connect(self.url, compression=None, ping_interval=None, max_size=None)

    async def enter(self, name: str, **fields: object) -> ClientConnection:
        link = await self.knock()
        await say(link, identify(name, **fields))
        assert (await hear(link))["type"] == "identified"
        return link


def token_of(name: str) -> str:
    return f"ac_{name * 40}"


def identify(name: str, **fields: object) -> dict[str, object]:
    return {"type": "identify", "agent_id": name, "token": token_of(name), **fields}


async def say(link: ClientConnection, frame: object) -> None:
    await link.send(frame if isinstance(frame, str) else json.dumps(frame))


async def hear(link: ClientConnection) -> dict:
    async with asyncio.timeout(SOON):
        return json.loads(await link.recv())


async def end(link: ClientConnection) -> tuple[list[str], int | None, str | None]:
    """Return the errors that a client hears until its socket is closed, the code and the reason."""
    errors = []
    async with asyncio.timeout(SOON):
        try:
            while True:
                errors.append(json.loads(await link.recv()).get("error"))
        except ConnectionClosed:
            return errors, link.close_code, link.close_reason


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(sockets, "LOOK_EVERY", 0.02)
    it = House()
    with listen("127.0.0.1", 0) as listener:
        server = make_server(Port(it.sessions, lambda environ, start: [], lambda: None, "0"))
        it.url = f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
        port = asyncio.create_task(server.serve(sockets=[listener]))
        patrol = asyncio.create_task(it.sessions.patrol())
        yield it
        it.sessions.shut()
        server.should_exit = True
        await port
        patrol.cancel()
        await asyncio.gather(patrol, return_exceptions=True)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals are answered without delay."""
    monkeypatch.setattr(limits, "FIRST_DELAY", 0.0)


# --- identify --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "error"),
    [
        (identify("a", token="ac_wrong"), "invalid_token"),
        (identify("nobody"), "invalid_token"),
        (identify("a", token=""), "invalid_token"),
        (identify("a", token=token_of("b")), "token_agent_mismatch"),
        ({"type": "ping"}, "not_identified"),
        ("{", "invalid_json"),
        ({"type": "identify"}, "validation_failed"),
        ({"type": "hello"}, "unknown_message_type"),
    ],
)
async def test_who_may_not_come_in_hears_why_and_is_closed_with_4401(
    house: House, at_once: None, first: object, error: str
) -> None:
    async with house.knock() as link:
        await say(link, first)
        assert await end(link) == ([error], 4401, error)
    assert house.heard == []


async def test_a_disabled_agent_is_refused_with_4401(house: House, at_once: None) -> None:
    a = house.agents["a"]
    house.agents["a"] = replace(a, spec=replace(a.spec, disabled=True))
    async with house.knock() as link:
        await say(link, identify("a"))
        assert await end(link) == (["agent_disabled"], 4401, "agent_disabled")


async def test_who_says_nothing_is_closed_with_4408(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "IDENTIFY_WITHIN", 0.05)
    async with house.knock() as link:
        assert (await end(link))[:2] == ([], 4408)


async def test_a_refusal_is_answered_after_its_delay_and_the_next_one_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FIRST_DELAY", 0.2)
    loop, waited = asyncio.get_running_loop(), []
    for _ in range(3):
        async with house.knock() as link:
            begin = loop.time()
            await say(link, identify("a", token="ac_wrong"))
            await end(link)
            waited.append(loop.time() - begin)
    assert [wait >= least for wait, least in zip(waited, (0.2, 0.4, 0.8), strict=True)] == [True] * 3


async def test_a_refusal_delays_nobody_who_may_come_in_and_is_forgotten_then(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FIRST_DELAY", 1_000.0)
    monkeypatch.setattr(limits, "LONGEST_DELAY", 1_000.0)
    async with house.knock() as refused:
        await say(refused, identify("a", token="ac_wrong"))
        async with await house.enter("a"), await house.enter("b"):
            assert len(house.sessions) == 2
            assert len(house.sessions._threshold._refusals) == 0


async def test_a_refused_client_that_gives_up_is_let_go_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FIRST_DELAY", 1_000.0)
    monkeypatch.setattr(limits, "LONGEST_DELAY", 1_000.0)
    left = asyncio.Event()
    serve = house.sessions.serve

    async def watched(*args) -> None:
        await serve(*args)
        left.set()

    monkeypatch.setattr(house.sessions, "serve", watched)
    async with house.knock() as link:
        await say(link, identify("a", token="ac_wrong"))
    await asyncio.wait_for(left.wait(), SOON)
    assert house.sessions._threshold._held == 0


async def test_what_a_refused_client_says_is_thrown_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FIRST_DELAY", 0.2)
    async with house.knock() as link:
        await say(link, identify("a", token="ac_wrong"))
        for _ in range(2 * threshold.THROWN_AWAY):
            await say(link, identify("a"))
        assert await end(link) == (["invalid_token"], 4401, "invalid_token")
    assert house.heard == []


async def test_when_too_many_refused_wait_the_next_one_is_answered_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FIRST_DELAY", 1_000.0)
    monkeypatch.setattr(limits, "LONGEST_DELAY", 1_000.0)
    monkeypatch.setattr(threshold, "HELD", 0)
    async with house.knock() as link:
        await say(link, identify("a", token="ac_wrong"))
        assert (await end(link))[1] == 4401


async def test_a_storm_of_connects_is_let_in_one_after_the_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.sessions._threshold._admission = limits.Rate(1, 10.0)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    links = await asyncio.gather(*(house.enter(name) for name in "abc"))
    assert loop.time() - begin >= 0.19
    assert len(house.sessions) == 3
    for link in links:
        await link.close()


# --- one identity, two sessions --------------------------------------------------------------------------------------


async def test_the_same_instance_replaces_its_old_session_with_4409(house: House) -> None:
    old = await house.enter("a", instance_id="i-1")
    async with await house.enter("a", instance_id="i-1"):
        assert await end(old) == ([], 4409, "replaced")
        assert len(house.sessions) == 1
        assert [type(event) for event in house.heard] == [Connected, Disconnected, Connected]


@pytest.mark.parametrize("instance", [{}, {"instance_id": "i-2"}])
async def test_another_instance_is_refused_with_4409_while_the_old_one_is_alive(
    house: House, at_once: None, instance: dict
) -> None:
    async with await house.enter("a", instance_id="i-1") as old, house.knock() as link:
        await say(link, identify("a", **instance))
        assert await end(link) == (["already_connected"], 4409, "already_connected")
        await say(old, {"type": "ping"})
        assert (await hear(old))["type"] == "pong"


async def test_what_the_old_session_said_is_heard_before_anything_of_the_new_one(house: House) -> None:
    old = await house.enter("a", instance_id="i-1")
    for number in range(500):
        await say(old, {"type": "task_progress", "task_id": f"t-{number}", "generation": 1})
    await say(old, {"type": "task_complete", "task_id": "t-1", "generation": 1, "result": {"pad": "x" * 900_000}})
    async with await house.enter("a", instance_id="i-1") as new:
        await say(new, {"type": "task_progress", "task_id": "t-9", "generation": 1})
        await house.until(lambda: any(isinstance(e, Said) and e.word == Progress("t-9", 1, None) for e in house.heard))
    kinds = [type(event.word) if isinstance(event, Said) else type(event) for event in house.heard[:505]]
    assert kinds == [Connected, *[Progress] * 500, Complete, Disconnected, Connected, Progress]


# --- who may stay ----------------------------------------------------------------------------------------------------


def without_token(agent: Agent) -> Agent:
    return replace(agent, spec=replace(agent.spec, tokens=()))


def with_revocation(agent: Agent) -> Agent:
    return replace(agent, record=replace(agent.record, revoked=(agent.spec.tokens[0].sha256,)))


def with_an_end(agent: Agent) -> Agent:
    return replace(agent, spec=replace(agent.spec, tokens=(replace(agent.spec.tokens[0], not_after=1),)))


@pytest.mark.parametrize("change", [without_token, with_revocation, with_an_end])
async def test_a_token_that_opens_nothing_any_more_closes_its_session_with_4401(
    house: House, change: Callable[[Agent], Agent]
) -> None:
    async with await house.enter("a") as link, await house.enter("b") as other:
        house.agents["a"] = change(house.agents["a"])
        assert await end(link) == (["invalid_token"], 4401, "invalid_token")
        await say(other, {"type": "ping"})
        assert (await hear(other))["type"] == "pong"


def test_a_revocation_takes_no_longer_than_five_seconds() -> None:
    assert sockets.LOOK_EVERY + sockets.GOODBYE_WITHIN < 5


async def test_rotation_to_a_second_token_leaves_the_session_of_the_first_one_open(house: House) -> None:
    async with await house.enter("b") as other, await house.enter("a") as link:
        spec = house.agents["a"].spec
        house.agents["a"] = replace(house.agents["a"], spec=replace(spec, tokens=(*spec.tokens, Token(digest("new")))))
        house.agents["b"] = without_token(house.agents["b"])
        assert (await end(other))[1] == 4401
        await say(link, {"type": "ping"})
        assert (await hear(link))["type"] == "pong"


async def test_nothing_that_a_session_says_after_its_revocation_is_heard(house: House) -> None:
    async with await house.enter("a") as link:
        line = house.sessions._lines["a"]
        house.sessions.close("a", line.session, "agent_disabled")
        await say(link, {"type": "task_progress", "task_id": "t-1", "generation": 1})
        assert await end(link) == (["agent_disabled"], 4401, "agent_disabled")
    assert not any(isinstance(event, Said) for event in house.heard)


async def test_silence_closes_with_1001(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SILENT_IDLE", 0.05)
    async with await house.enter("a") as link:
        assert (await end(link))[:2] == ([], 1001)


# --- what is too much ------------------------------------------------------------------------------------------------


async def test_the_tenth_violation_closes_with_1008_and_is_answered(house: House) -> None:
    async with await house.enter("a") as link:
        for frame in ["{", '{"type":"hello"}', '{"type":"task_accepted","task_id":1}'] * 4:
            await say(link, frame)
        errors, code, _ = await end(link)
        assert (len(errors), code) == (10, 1008)
        assert set(errors) == {"invalid_json", "unknown_message_type", "validation_failed"}


async def test_frames_of_newer_sidecars_are_no_violation(house: House) -> None:
    async with await house.enter("a") as link:
        for kind in ("resource_report", "agent_restarting", "ollama_report") * 10:
            await say(link, {"type": kind, "whatever": {"it": "says"}})
        await say(link, {"type": "ping"})
        assert (await hear(link))["type"] == "pong"


async def test_a_frame_over_16_mib_closes_with_1009(house: House) -> None:
    async with await house.enter("a") as link:
        result = {"x": "x" * MAX_FRAME}
        with contextlib.suppress(ConnectionClosed):  # it may hear of it before all is said
            await say(link, {"type": "task_complete", "task_id": "t-1", "generation": 1, "result": result})
        assert (await end(link))[:2] == ([], 1009)


@pytest.mark.parametrize("letter", ["x", "\u6f22"])
async def test_a_frame_over_1_mib_that_is_no_result_closes_with_1009(house: House, letter: str) -> None:
    size = len(letter.encode())
    async with await house.enter("a") as link:
        note = letter * (MAX_PLAIN_FRAME // size)
        await say(link, json.dumps({"type": "task_progress", "task_id": "t-1", "note": note}, ensure_ascii=False))
        assert (await end(link))[:2] == ([], 1009)


async def test_a_result_of_15_mib_is_read(house: House) -> None:
    async with await house.enter("a") as link:
        result = {"x": "x" * (15 * 1024 * 1024)}
        await say(link, {"type": "task_complete", "task_id": "t-1", "generation": 1, "result": result})
        await say(link, {"type": "ping"})
        assert (await hear(link))["type"] == "pong"
        assert isinstance(house.heard[-1], Said)


async def test_too_many_frames_are_refused_one_by_one_and_the_session_stays(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FRAMES_AT_ONCE", 3)
    monkeypatch.setattr(limits, "FRAMES_PER_SECOND", 0.001)
    async with await house.enter("a") as link:
        for _ in range(5):
            await say(link, {"type": "wake_result", "status": "success", "task_id": "t-1"})
        for _ in range(2):
            said = await hear(link)
            assert (said["error"], said["task_id"]) == ("rate_limited", "t-1")
            assert 0 < said["retry_after_ms"] <= 1_000_000
        assert [event.word for event in house.heard if isinstance(event, Said)] == [Woken("t-1", "success", "")] * 3


async def test_frames_of_a_tasks_fate_are_never_refused_for_coming_too_fast(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FRAMES_AT_ONCE", 0)
    monkeypatch.setattr(limits, "FRAMES_PER_SECOND", 0.001)
    async with await house.enter("a") as link:
        for _ in range(1_000):
            await say(link, {"type": "task_progress", "task_id": "t-1", "generation": 1})
            await say(link, {"type": "state_report", "task_id": "t-1", "generation": 1, "status": "working"})
        await say(link, {"type": "ping"})
        assert (await hear(link))["type"] == "pong"
        assert sum(isinstance(event, Said) for event in house.heard) == 2_000


async def test_a_stalled_reader_is_left_and_its_identity_is_free_again(house: House) -> None:
    """Nobody waits for it: what is said to it returns at once, and others are answered meanwhile."""
    with socket.create_connection(("127.0.0.1", int(house.url.split(":")[2].split("/")[0]))) as stalled:
        stalled.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(stalled, HANDSHAKE)
        assert (await loop.sock_recv(stalled, 10_000)).startswith(b"HTTP/1.1 101 ")
        await loop.sock_sendall(stalled, masked(json.dumps(identify("a"))))
        await house.until(lambda: bool(house.heard))
        async with await house.enter("b") as other:
            line = house.sessions._lines["a"]
            for _ in range(200):
                line.put("x" * 200_000)
                await say(other, {"type": "ping"})
                assert (await hear(other))["type"] == "pong"
                if line.cut is not None:
                    break
            assert line.cut is not None
            assert line.cut.code == 1013
            assert line.queued_bytes <= 2 * sockets.QUEUE_BYTES
            await house.until(lambda: any(isinstance(event, Disconnected) for event in house.heard))
            async with await house.enter("a"):
                assert len(house.sessions) == 2


async def test_the_system_gives_a_socket_up_that_takes_nothing() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1_000 * STALLED


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def masked(text: str) -> bytes:
    """Return a short text frame as a client sends it, masked with zeros."""
    data = text.encode()
    head = bytes([0x81, 0x80 | len(data)]) if len(data) <= 125 else b"\x81\xfe" + len(data).to_bytes(2, "big")
    return head + bytes(4) + data

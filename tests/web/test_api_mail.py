"""Messages, channels and numbers over HTTP: the shapes, status numbers and roles of PROTOCOL 2.1."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from support.room import Company, token_of

from coordinator.core.agent import Role
from coordinator.web import access, api_analytics, api_channels, api_messages, app
from coordinator.web.auth import Principal
from coordinator.web.mail.letters import Unavailable
from coordinator.web.volumes import HOUR_MS

NOW = 1_800_000_000_000
ROLES = {"ada": Role.AGENT, "gcu": Role.AGENT, "eye": Role.READER, "bob": Role.COORDINATOR}


class Door:
    """The application as one of the agents sees it, over a loop that runs in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.company: Company = self.run(self._open(folder))
        company = self.company
        bridge = app.Bridge(self.loop)
        routes = (
            api_messages.blueprint(company.postroom, bridge),
            api_channels.blueprint(company.postroom, bridge),
            api_analytics.blueprint(company.postroom, company.agents, company.desk.now, bridge),
        )
        self.app = app.make_app(company.door, company.desk.now, bridge, routes)
        self._client: FlaskClient = self.app.test_client()

    async def _open(self, folder: Path) -> Company:
        return Company(folder, **ROLES)

    def run(self, doing):
        waiting: Future = asyncio.run_coroutine_threadsafe(doing, self.loop)
        return waiting.result(30)

    def close(self) -> None:
        self.run(self.company.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def ask(self, who: str, method: str, path: str, said=None, **more) -> tuple[int, dict]:
        headers = {"Authorization": f"Bearer {'admin' if who == 'admin' else token_of(who)}", **more.pop("headers", {})}
        answer = self._client.open(path, method=method, json=said, headers=headers, **more)
        return answer.status_code, answer.get_json()

    def get(self, who: str, path: str) -> dict:
        status, said = self.ask(who, "GET", path)
        assert status == 200, said
        return said

    def post(self, who: str, path: str, said=None) -> dict:
        status, answer = self.ask(who, "POST", path, said)
        assert status in (200, 201), answer
        return answer


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    opened = Door(tmp_path)
    yield opened
    opened.close()


# --- messages ---------------------------------------------------------------------------------------------------------


def test_a_message_is_sent_polled_and_acked(door: Door) -> None:
    sent = door.post("ada", "/api/message", {"to": "gcu", "payload": {"text": "hi"}, "from": "somebody else"})
    assert (set(sent), sent["status"]) == ({"status", "id"}, "sent")
    polled = door.get("gcu", "/api/mailbox/gcu")
    (message,) = polled["messages"]
    seq = message.pop("seq")
    assert message == {
        "id": sent["id"],
        "from": "ada",
        "to": "gcu",
        "type": "chat",
        "payload": {"text": "hi"},
        "reply_to": None,
        "timestamp": NOW,
    }
    assert polled == {"agent_id": "gcu", "messages": polled["messages"], "last_seq": seq, "count": 1}
    assert door.get("gcu", f"/api/mailbox/gcu?since={seq}") == {
        "agent_id": "gcu",
        "messages": [],
        "last_seq": seq,
        "count": 0,
    }
    assert door.post("gcu", "/api/mailbox/gcu/ack", {"seq": seq}) == {"status": "acked", "up_to": seq}
    assert door.get("gcu", "/api/mailbox/gcu?since=7") == {
        "agent_id": "gcu",
        "messages": [],
        "last_seq": 7,
        "count": 0,
    }


@pytest.mark.parametrize("to", [None, "broadcast"])
def test_a_broadcast_has_no_to_and_is_not_echoed(door: Door, to: str | None) -> None:
    door.post("ada", "/api/message", {"to": to, "payload": 1})
    assert door.get("ada", "/api/mailbox/ada")["count"] == 0
    assert [message["to"] for message in door.get("gcu", "/api/mailbox/gcu")["messages"]] == [None]


@pytest.mark.parametrize(
    ("said", "status", "answer"),
    [
        ({"to": "gcu"}, 400, {"error": "missing required field: payload"}),
        ({"to": "gcu", "payload": None}, 400, {"error": "missing required field: payload"}),
        ({"to": "nobody", "payload": 1}, 422, {"status": "failed", "error": "unknown_recipient"}),
        ({"to": 7, "payload": 1}, 422, {"error": "validation_failed"}),
        ([1], 400, {"error": "malformed"}),
    ],
)
def test_a_wrong_message_is_refused_as_old_scripts_expect(door: Door, said, status: int, answer: dict) -> None:
    code, told = door.ask("ada", "POST", "/api/message", said)
    assert (code, {key: told[key] for key in answer}) == (status, answer)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_malformed(door: Door, data: bytes) -> None:
    assert door.ask("ada", "POST", "/api/message", data=data)[0] == 400


def test_a_body_may_be_64_levels_deep_and_no_deeper(door: Door) -> None:
    for levels, status in ((63, 200), (64, 400)):
        data = b'{"to":"gcu","payload":' + b"[" * levels + b"]" * levels + b"}"
        assert door.ask("ada", "POST", "/api/message", data=data)[0] == status


def test_a_script_need_not_say_that_its_body_is_json(door: Door) -> None:
    form = "application/x-www-form-urlencoded"
    body = b'{"to":"gcu","payload":"a=b&c"}'
    assert door.ask("ada", "POST", "/api/message", data=body, content_type=form)[0] == 200
    assert door.get("gcu", "/api/mailbox/gcu")["messages"][0]["payload"] == "a=b&c"


def test_a_body_that_is_too_large_is_refused(door: Door) -> None:
    assert door.ask("ada", "POST", "/api/message", {"payload": "x" * 600_000})[0] == 413


def test_half_an_emoji_and_numbers_that_json_does_not_have_are_made_plain(door: Door) -> None:
    body = b'{"to":"gcu","type":"\\ud83d","payload":{"a":"\\ud83d","b":NaN,"c":99999999999999999999999}}'
    assert door.ask("ada", "POST", "/api/message", data=body)[0] == 200
    (message,) = door.get("gcu", "/api/mailbox/gcu")["messages"]
    assert (message["type"], message["payload"]) == (
        "\ufffd",
        {"a": "\ufffd", "b": None, "c": "99999999999999999999999"},
    )


def test_one_idempotency_key_is_one_message(door: Door) -> None:
    key = {"Idempotency-Key": "once"}
    first = door.ask("ada", "POST", "/api/message", {"to": "gcu", "payload": 1}, headers=key)
    again = door.ask("ada", "POST", "/api/message", {"to": "gcu", "payload": 1}, headers=key)
    other = door.ask("bob", "POST", "/api/message", {"to": "gcu", "payload": 2}, headers=key)
    assert first == again
    assert other[1]["id"] != first[1]["id"]
    assert door.get("gcu", "/api/mailbox/gcu")["count"] == 2


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("GET", "/api/mailbox/ada?since=x", None),
        ("GET", "/api/mailbox/ada?since=1.5", None),
        ("GET", "/api/messages?limit=many", None),
        ("GET", "/api/messages?cursor=%C2%B2", None),
        ("GET", "/api/messages?start_time=now", None),
        ("GET", "/api/channels/ops/history?since=--1", None),
        ("POST", "/api/mailbox/ada/ack", {"seq": "7"}),
        ("POST", "/api/mailbox/ada/ack", {"seq": True}),
        ("POST", "/api/mailbox/ada/ack", {}),
    ],
)
def test_a_number_that_is_none_is_malformed(door: Door, method: str, path: str, said) -> None:
    door.post("ada", "/api/channels", {"name": "ops"})
    assert door.ask("ada", method, path, said)[0] == 400


def test_an_ack_without_a_number_says_what_is_missing(door: Door) -> None:
    assert door.ask("ada", "POST", "/api/mailbox/ada/ack", {})[1] == {"error": "missing required field: seq"}


@pytest.mark.parametrize("since", ["-1", "0", "", "9" * 30, "-" + "9" * 30])
def test_any_whole_number_is_a_place_to_go_on_from(door: Door, since: str) -> None:
    assert door.ask("ada", "GET", f"/api/mailbox/ada?since={since}")[0] == 200
    numbered = int(since or 0)
    acked = door.ask("ada", "POST", "/api/mailbox/ada/ack", {"seq": numbered})
    assert acked[0] == (200 if abs(numbered) < 2**63 else 400)


def test_an_agent_reads_and_acks_its_own_mailbox_alone(door: Door) -> None:
    door.post("ada", "/api/message", {"to": "gcu", "payload": 1})
    for who in ("ada", "bob", "eye"):
        for method, path in (("GET", "/api/mailbox/gcu"), ("POST", "/api/mailbox/gcu/ack")):
            status, said = door.ask(who, method, path, {"seq": 2**62} if method == "POST" else None)
            assert (status, said["error"], "hint" in said) == (403, "forbidden", True)
    assert door.get("admin", "/api/mailbox/gcu")["count"] == 1
    assert door.ask("admin", "GET", "/api/mailbox/nobody")[0] == 404


def test_messages_of_others_stay_their_own_and_a_coordinator_reads_all(door: Door) -> None:
    secret = door.post("bob", "/api/message", {"to": "gcu", "payload": "secret"})["id"]
    door.post("gcu", "/api/message", {"to": "bob", "payload": "answer", "reply_to": secret})
    door.post("bob", "/api/message", {"payload": "for all"})

    def seen(who: str) -> list:
        return [message["payload"] for message in door.get(who, "/api/messages")["messages"]]

    assert seen("ada") == ["for all"]
    assert seen("gcu") == seen("bob") == seen("admin") == ["secret", "answer", "for all"]
    assert door.get("ada", f"/api/threads/{secret}") == {"root": secret, "messages": [], "count": 0}
    assert door.get("gcu", f"/api/threads/{secret}")["count"] == 2
    assert door.get("ada", f"/api/threads/{secret}/replies") == {"parent": secret, "replies": [], "count": 0}


def test_a_thread_is_told_by_time_with_its_root(door: Door) -> None:
    first = door.post("ada", "/api/message", {"to": "gcu", "payload": 1})["id"]
    second = door.post("gcu", "/api/message", {"to": "ada", "payload": 2, "reply_to": first})["id"]
    third = door.post("ada", "/api/message", {"to": "gcu", "payload": 3, "reply_to": second})["id"]
    told = door.get("ada", f"/api/threads/{third}")
    assert (told["root"], [one["payload"] for one in told["messages"]], told["count"]) == (first, [1, 2, 3], 3)
    assert set(told["messages"][0]) == {"id", "from", "to", "type", "payload", "reply_to", "timestamp"}
    assert door.get("ada", f"/api/threads/{third}/root") == {"message_id": third, "root": first}
    assert [one["id"] for one in door.get("ada", f"/api/threads/{first}/replies")["replies"]] == [second]
    assert door.get("ada", "/api/threads/unknown") == {"root": "unknown", "messages": [], "count": 0}


def test_messages_are_filtered_and_paged(door: Door) -> None:
    for number in range(3):
        door.post("ada", "/api/message", {"to": "gcu", "payload": number})
    page = door.get("ada", "/api/messages?from=ada&to=gcu&limit=2")
    assert (page["count"], [one["payload"] for one in page["messages"]]) == (2, [0, 1])
    assert page["cursor"] == page["messages"][-1]["seq"]
    rest = door.get("ada", f"/api/messages?from=ada&to=gcu&limit=2&cursor={page['cursor']}")
    assert (rest["cursor"], [one["payload"] for one in rest["messages"]]) == (None, [2])
    assert door.get("ada", f"/api/messages?start_time={NOW}&end_time={NOW}")["count"] == 3
    assert door.get("ada", f"/api/messages?end_time={NOW - 1}")["count"] == 0
    assert door.get("ada", "/api/messages?channel=nowhere")["count"] == 0


# --- channels ---------------------------------------------------------------------------------------------------------


def test_a_channel_lives_over_http(door: Door) -> None:
    assert door.ask("ada", "POST", "/api/channels", {"name": "#Ops", "description": "work"}) == (
        201,
        {"status": "created", "channel": "ops"},
    )
    assert door.ask("gcu", "POST", "/api/channels", {"name": "ops"})[0] == 409
    assert door.ask("gcu", "POST", "/api/channels", {"name": "ops"})[1]["error"] == "channel_exists"
    assert door.post("gcu", "/api/channels/OPS/subscribe") == {"status": "subscribed", "channel": "ops"}
    assert door.post("gcu", "/api/channels/ops/subscribe") == {"status": "already_subscribed", "channel": "ops"}
    assert door.get("eye", "/api/channels") == {
        "channels": [{"name": "ops", "description": "work", "subscriber_count": 1, "created_at": NOW}]
    }
    assert door.get("eye", "/api/channels/ops") == {
        "name": "ops",
        "description": "work",
        "subscribers": ["gcu"],
        "subscriber_count": 1,
        "created_at": NOW,
        "created_by": "ada",
    }
    assert door.get("eye", "/api/agents/gcu/subscriptions") == {"agent_id": "gcu", "channels": ["ops"]}
    assert door.ask("eye", "GET", "/api/agents/nobody/subscriptions")[0] == 404
    assert door.post("ada", "/api/channels/ops/publish", {"payload": {"n": 1}}) == {"status": "published", "seq": 1}
    assert door.post("admin", "/api/channels/ops/publish", {"payload": 2})["seq"] == 2
    history = door.get("eye", "/api/channels/ops/history?limit=1")
    (post,) = history["messages"]
    assert (history["channel"], history["count"], post["seq"], post["stored_at"]) == ("ops", 1, 1, NOW)
    assert (post["message"]["from"], post["message"]["payload"]) == ("ada", {"n": 1})
    copy = door.get("gcu", "/api/mailbox/gcu")["messages"][0]
    assert copy["payload"] == {"n": 1, "channel": "ops"}
    assert [one["seq"] for one in door.get("ada", "/api/messages?channel=%23Ops")["messages"]] != []
    assert door.post("gcu", "/api/channels/ops/unsubscribe") == {"status": "unsubscribed", "channel": "ops"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/channels/no"),
        ("POST", "/api/channels/no/subscribe"),
        ("POST", "/api/channels/no/unsubscribe"),
        ("POST", "/api/channels/no/publish"),
        ("GET", "/api/channels/no/history"),
        ("GET", "/api/channels/n%20o"),
    ],
)
def test_a_channel_that_is_not_there_is_404(door: Door, method: str, path: str) -> None:
    status, said = door.ask("ada", method, path, {"payload": 1} if method == "POST" else None)
    assert (status, said["error"]) == (404, "channel_not_found")


@pytest.mark.parametrize("name", ["", "two words", "ü", "x" * 65, 5])
def test_a_channel_needs_a_name_that_everybody_can_spell(door: Door, name) -> None:
    status, said = door.ask("ada", "POST", "/api/channels", {"name": name})
    assert (status, said["error"], said["errors"][0]["field"]) == (422, "validation_failed", "name")


def test_the_admin_has_no_mailbox_to_subscribe_with(door: Door) -> None:
    door.post("admin", "/api/channels", {"name": "ops"})
    assert door.ask("admin", "POST", "/api/channels/ops/subscribe")[0] == 403


# --- numbers, and how long mail is kept -------------------------------------------------------------------------------


def test_how_long_mailboxes_keep_mail_is_read_by_all_and_set_by_the_admin(door: Door) -> None:
    assert door.get("eye", "/api/config/mailbox-retention") == {"mailbox_ttl_ms": 7 * 24 * 3600 * 1000}
    put = "/api/config/mailbox-retention"
    assert door.ask("bob", "PUT", put, {"mailbox_ttl_ms": 5})[0] == 403
    assert door.ask("admin", "PUT", put, {"mailbox_ttl_ms": 5000}) == (
        200,
        {"status": "updated", "mailbox_ttl_ms": 5000},
    )
    assert door.get("eye", put) == {"mailbox_ttl_ms": 5000}
    assert [door.ask("admin", "PUT", put, said)[0] for said in ({}, {"mailbox_ttl_ms": "x"})] == [400, 400]
    assert [door.ask("admin", "PUT", put, {"mailbox_ttl_ms": ms})[0] for ms in (0, -1)] == [422, 422]


def test_what_is_said_is_counted(door: Door) -> None:
    company = door.company
    door.run(company.enter("ada"))
    door.run(company.enter("bob", client_type="sidecar"))
    door.post("ada", "/api/message", {"to": "gcu", "payload": 1})
    door.post("ada", "/api/message", {"payload": 2})
    assert door.get("eye", "/api/analytics/summary") == {
        "total_agents": 4,
        "agents_connected": 2,
        "agents_active": 2,
        "agents_idle": 0,
        "agents_offline": 2,
        "total_messages_24h": 2,
        "timestamp": NOW,
    }
    numbers = {one["agent_id"]: one for one in door.get("eye", "/api/analytics/agents")}
    assert numbers["ada"] == {
        "agent_id": "ada",
        "connected": True,
        "idle_ms": 0,
        "status": "active",
        "messages_sent_24h": 2,
        "messages_received_24h": 0,
        "last_active": NOW,
        "total_connections": 1,
    }
    assert (numbers["gcu"]["status"], numbers["gcu"]["messages_received_24h"]) == ("offline", 2)
    assert (numbers["gcu"]["idle_ms"], numbers["gcu"]["last_active"]) == (None, None)
    hours = door.get("eye", "/api/analytics/agents/ada/hourly")
    assert (hours["agent_id"], len(hours["hourly"])) == ("ada", 24)
    assert hours["hourly"][-1] == {"hour": "08:00", "sent": 2, "received": 0}
    assert hours["hourly"][0] == {"hour": "09:00", "sent": 0, "received": 0}
    assert NOW % HOUR_MS == 0, "the present hour began just now"
    assert door.ask("eye", "GET", "/api/analytics/agents/nobody/hourly")[0] == 404


# --- roles, and trouble -----------------------------------------------------------------------------------------------


def test_every_route_here_declares_its_role_and_keeps_others_out(door: Door) -> None:
    mine = [one[:3] for one in access.declared(door.app)]
    assert len(mine) == 20
    assert ("PUT", "/api/config/mailbox-retention", access.Rule(None)) in mine
    assert ("GET", "/api/mailbox/<agent_id>", access.Rule(Role.AGENT, "agent_id")) in mine
    for method, path, rule in mine:
        assert rule is not None, path
        url = path.replace("<agent_id>", "gcu").replace("<channel>", "ops").replace("<message_id>", "m")
        for who in ("eye", "ada", "bob", "admin"):
            may = access.permits(rule, Principal(ROLES.get(who), None if who == "admin" else who), {"agent_id": "gcu"})
            status, said = door.ask(who, method, url, {} if method != "GET" else None)
            assert (status == 403) == (not may) or (who == "admin" and path.endswith("subscribe")), (who, method, url)
            if status == 403:
                assert set(said) == {"error", "hint"}


def test_nobody_gets_in_without_a_token(door: Door) -> None:
    answer = door.app.test_client().get("/api/messages")
    assert (answer.status_code, set(answer.get_json())) == (401, {"error", "hint"})


def test_mail_that_cannot_be_kept_is_503_and_says_when_to_come_back(door: Door, monkeypatch) -> None:
    async def full(call):
        raise Unavailable("mail cannot be kept: disk full")

    monkeypatch.setattr(door.company.office, "ask", full)
    headers = {"Authorization": f"Bearer {token_of('ada')}"}
    answer = door.app.test_client().post("/api/message", json={"payload": 1}, headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.get_json()["error"] == "unavailable"


def test_a_message_that_is_not_kept_in_time_is_503_with_its_id_and_kept_once(door: Door, monkeypatch) -> None:
    monkeypatch.setattr(app, "PATIENCE", 0.05)
    let_go = threading.Event()
    key = {"Idempotency-Key": "k"}
    door.run(door.company.postroom.ttl_ms())
    slow = asyncio.run_coroutine_threadsafe(door.company.office.ask(lambda store: let_go.wait(30)), door.loop)
    late = door.ask("ada", "POST", "/api/message", {"to": "gcu", "payload": 1}, headers=key)
    let_go.set()
    assert slow.result(30)
    monkeypatch.undo()
    again = door.ask("ada", "POST", "/api/message", {"to": "gcu", "payload": 1}, headers=key)
    assert (late[0], again[0], late[1]["id"]) == (503, 200, again[1]["id"])
    assert door.get("gcu", "/api/mailbox/gcu")["count"] == 1

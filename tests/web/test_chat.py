"""What agents say to one another over sockets: replies and pushes of PROTOCOL 1.5, exactly."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.room import Company, Socket

from coordinator.core.agent import Role, Session
from coordinator.core.events import Actor, Record
from coordinator.core.machine import AgentState, State
from coordinator.core.task import Spec, Status, Task
from coordinator.web import chat as chatting
from coordinator.web import presence as being
from coordinator.web.mail.letters import Channel, Unavailable

NOW = 1_800_000_000_000
AGENT, READER, COORDINATOR = Role.AGENT, Role.READER, Role.COORDINATOR


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Callable[..., Company]]:
    opened: list[Company] = []

    def make(**roles: Role) -> Company:
        opened.append(Company(tmp_path, **(roles or {"ada": AGENT, "gcu": AGENT, "loash": AGENT})))
        return opened[-1]

    yield make
    for one in opened:
        await one.close()


async def settled(socket: Socket) -> list[dict]:
    """Return what a socket heard until the answer to a question asked now; presence left out."""
    socket.say({"type": "list_channels"})
    await socket.hear("channels")
    return [frame for frame in socket.said if frame["type"] not in ("agent_joined", "agent_left")]


async def channel(company: Company, name: str = "ops") -> None:
    await company.office.ask(lambda store: store.create(Channel(name, "", NOW, "ada", ())))


# --- messages ---------------------------------------------------------------------------------------------------------


async def test_a_message_is_put_into_the_mailbox_and_pushed_and_answered_with_its_id(company) -> None:
    room = company()
    ada, gcu, loash = [await room.enter(name) for name in ("ada", "gcu", "loash")]
    ada.say({"type": "message", "to": "gcu", "payload": {"text": "hello", "none": None}})
    sent = await ada.hear("message_sent")
    assert set(sent) == {"type", "id"}
    assert re.fullmatch("[0-9a-f]{16}", sent["id"])
    assert await gcu.hear("message") == {
        "type": "message",
        "id": sent["id"],
        "from": "ada",
        "message_type": "chat",
        "payload": {"text": "hello", "none": None},
        "reply_to": None,
        "timestamp": NOW,
    }
    assert await settled(loash) == []
    assert await room.box("gcu") == [{"text": "hello", "none": None}]


@pytest.mark.parametrize("to", ["absent", None, "broadcast"])
async def test_a_broadcast_reaches_everybody_but_its_sender_also_who_is_away(company, to) -> None:
    room = company()
    ada, gcu = await room.enter("ada"), await room.enter("gcu")
    ada.say({"type": "message", "payload": "all", **({} if to == "absent" else {"to": to})})
    await ada.hear("message_sent")
    assert (await gcu.hear("message"))["payload"] == "all"
    assert await settled(ada) == []
    assert [await room.box(name) for name in ("ada", "gcu", "loash")] == [[], ["all"], ["all"]]


async def test_a_sidecar_gets_mail_into_its_mailbox_and_no_push(company) -> None:
    room = company()
    ada, gcu = await room.enter("ada"), await room.enter("gcu", client_type="sidecar")
    ada.say({"type": "message", "to": "gcu", "payload": 1})
    await ada.hear("message_sent")
    assert await settled(gcu) == []
    assert await room.box("gcu") == [1]


async def test_mail_to_an_unknown_id_is_refused_and_to_a_disabled_one_is_kept(company) -> None:
    room = company()
    room.change("loash", disabled=True)
    room.change("gcu", disabled=True, where="")
    ada = await room.enter("ada")
    for to in ("nobody", "hub", "admin", "gcu", ""):
        ada.say({"type": "message", "to": to, "payload": 1})
        assert (await ada.hear("error"))["error"] == "unknown_recipient"
    ada.say({"type": "message", "to": "loash", "payload": 1})
    await ada.hear("message_sent")
    ada.say({"type": "message", "payload": 2})
    await ada.hear("message_sent")
    assert [await room.box("loash"), await room.box("gcu")] == [[1], []]


async def test_a_reply_belongs_to_the_thread_of_what_it_answers(company) -> None:
    room = company()
    ada, gcu = await room.enter("ada"), await room.enter("gcu")
    ada.say({"type": "message", "to": "gcu", "payload": 1})
    first = (await gcu.hear("message"))["id"]
    gcu.say({"type": "message", "to": "ada", "payload": 2, "reply_to": first, "message_type": "answer"})
    pushed = await ada.hear("message")
    assert (pushed["reply_to"], pushed["message_type"]) == (first, "answer")
    root, letters = await room.postroom.thread(pushed["id"], None)
    assert (root, [letter.payload for letter in letters]) == (first, [1, 2])


@pytest.mark.parametrize("payload", [{}, {"payload": None}])
async def test_a_message_without_a_payload_fails_and_the_session_stays(company, payload: dict) -> None:
    ada = await company().enter("ada")
    ada.say({"type": "message", "to": "gcu", **payload})
    error = await ada.hear("error")
    assert (error["error"], error["errors"][0]["field"]) == ("validation_failed", "payload")
    assert await settled(ada) == []


async def test_a_payload_is_made_plain_and_one_that_is_too_large_is_refused(company) -> None:
    room = company()
    ada = await room.enter("ada")
    deep = "[" * 100 + "]" * 100
    ada.say(f'{{"type":"message","to":"gcu","payload":{{"x":NaN,"y":"cut \\ud83d","z":{deep}}}}}')
    await ada.hear("message_sent")
    (box,) = await room.box("gcu")
    assert (box["x"], box["y"]) == (None, "cut \ufffd")
    assert "nested too deep" in json.dumps(box["z"])
    ada.say({"type": "message", "to": "gcu", "payload": "x" * (512 * 1024)})
    assert (await ada.hear("error"))["errors"][0]["field"] == "payload"


async def test_many_messages_at_once_are_answered_in_order_and_cut_no_quick_reader_off(company) -> None:
    room = company()
    ada, gcu = await room.enter("ada"), await room.enter("gcu")
    for batch in range(3):
        for number in range(60):
            ada.say({"type": "message", "to": "gcu", "payload": [batch, number]})
        sent = [(await ada.hear("message_sent"))["id"] for _ in range(60)]
        pushed = [await gcu.hear("message") for _ in range(60)]
        assert [frame["id"] for frame in pushed] == sent
        assert [frame["payload"] for frame in pushed] == [[batch, number] for number in range(60)]
    assert gcu.closed is None


async def test_frames_that_come_faster_than_they_can_be_kept_are_refused_with_a_time(company, monkeypatch) -> None:
    monkeypatch.setattr(chatting, "MOST_WAITING", 2)
    room = company()
    ada = await room.enter("ada")
    for number in range(4):
        ada.say({"type": "message", "to": "gcu", "payload": number})
    error = await ada.hear("error")
    assert (error["error"], error["retry_after_ms"]) == ("rate_limited", 1000)
    await ada.hear("message_sent")
    await ada.hear("message_sent")
    assert (await room.box("gcu"))[:2] == [0, 1]


async def test_a_reader_reads_and_says_nothing(company) -> None:
    room = company(ada=AGENT, eye=READER)
    await channel(room)
    eye = await room.enter("eye")
    for frame in (
        {"type": "message", "payload": 1},
        {"type": "status", "status": "x"},
        {"type": "channel_subscribe", "channel": "ops"},
        {"type": "channel_unsubscribe", "channel": "ops"},
        {"type": "channel_publish", "channel": "ops", "payload": 1},
    ):
        eye.say(frame)
        assert (await eye.hear("error"))["error"] == "forbidden"
    for asked, told in (("list_agents", "agents"), ("list_channels", "channels")):
        eye.say({"type": asked})
        await eye.hear(told)
    assert await room.box("ada") == []


async def test_mail_that_cannot_be_kept_is_an_error_and_the_session_stays(company, monkeypatch) -> None:
    room = company()

    async def full(call):
        raise Unavailable("mail cannot be kept: disk full")

    ada, gcu = await room.enter("ada"), await room.enter("gcu")
    monkeypatch.setattr(room.office, "ask", full)
    ada.say({"type": "message", "to": "gcu", "payload": 1})
    error = await ada.hear("error")
    assert (error["error"], error["detail"]) == ("unavailable", "mail cannot be kept: disk full")
    monkeypatch.undo()
    assert await settled(gcu) == []
    assert await settled(ada) == []


# --- channels ---------------------------------------------------------------------------------------------------------


async def test_a_post_reaches_every_subscriber_but_its_sender_and_their_mailboxes(company) -> None:
    room = company()
    await channel(room)
    ada, gcu, loash = [await room.enter(name) for name in ("ada", "gcu", "loash")]
    ada.say({"type": "channel_subscribe", "channel": "#Ops"})
    assert await ada.hear("channel_subscribed") == {"type": "channel_subscribed", "channel": "ops"}
    gcu.say({"type": "channel_subscribe", "channel": "ops"})
    await gcu.hear("channel_subscribed")
    assert await ada.hear("channel_agent_joined") == {
        "type": "channel_agent_joined",
        "channel": "ops",
        "agent_id": "gcu",
    }
    gcu.say({"type": "channel_subscribe", "channel": "ops"})
    assert (await gcu.hear("channel_subscribed"))["note"] == "already_subscribed"
    ada.say({"type": "channel_publish", "channel": "OPS", "payload": {"n": 1}, "message_type": "note"})
    published = await ada.hear("channel_published")
    assert (published["channel"], published["seq"]) == ("ops", 1)
    assert await gcu.hear("channel_message") == {
        "type": "channel_message",
        "channel": "ops",
        "id": published["id"],
        "from": "ada",
        "message_type": "note",
        "payload": {"n": 1},
        "reply_to": None,
        "timestamp": NOW,
    }
    assert [await settled(one) for one in (ada, gcu, loash)] == [[], [], []]
    assert [await room.box(name) for name in ("ada", "gcu", "loash")] == [[], [{"n": 1}], []]


async def test_the_history_of_a_channel_is_told_in_pieces_oldest_first(company) -> None:
    room = company()
    await channel(room)
    ada = await room.enter("ada")
    for number in range(1, 6):
        ada.say({"type": "channel_publish", "channel": "ops", "payload": number})
        assert (await ada.hear("channel_published"))["seq"] == number
    ada.say({"type": "channel_history", "channel": "ops", "limit": 2, "since": 1})
    told = await ada.hear("channel_history")
    assert (told["channel"], [post["seq"] for post in told["messages"]]) == ("ops", [2, 3])
    assert set(told["messages"][0]) == {"seq", "message", "stored_at"}
    assert set(told["messages"][0]["message"]) == {"id", "from", "to", "type", "payload", "reply_to", "timestamp"}


async def test_subscriptions_survive_a_restart(company) -> None:
    room = company()
    await channel(room)
    gcu = await room.enter("gcu")
    gcu.say({"type": "channel_subscribe", "channel": "ops"})
    await gcu.hear("channel_subscribed")
    await room.close()
    again = company()
    ada, gcu = await again.enter("ada"), await again.enter("gcu")
    ada.say({"type": "channel_publish", "channel": "ops", "payload": "after"})
    assert (await gcu.hear("channel_message"))["payload"] == "after"
    gcu.say({"type": "channel_unsubscribe", "channel": "#ops"})
    assert await gcu.hear("channel_unsubscribed") == {"type": "channel_unsubscribed", "channel": "ops"}
    ada.say({"type": "channel_publish", "channel": "ops", "payload": "late"})
    await ada.hear("channel_published")
    assert await settled(gcu) == []


async def test_a_sidecar_hears_of_a_channel_that_it_asked_for_itself_and_of_nothing_else(company) -> None:
    room = company()
    await channel(room)
    await room.postroom.subscribe("loash", "ops")
    ada = await room.enter("ada")
    gcu, loash = await room.enter("gcu", client_type="sidecar"), await room.enter("loash", client_type="sidecar")
    gcu.say({"type": "channel_subscribe", "channel": "ops"})
    await gcu.hear("channel_subscribed")
    ada.say({"type": "channel_publish", "channel": "ops", "payload": 1})
    assert (await gcu.hear("channel_message"))["payload"] == 1
    assert await settled(loash) == []
    assert await room.box("loash") == [1]


@pytest.mark.parametrize("kind", ["channel_subscribe", "channel_unsubscribe", "channel_publish", "channel_history"])
@pytest.mark.parametrize("name", ["nowhere", "no channel!", ""])
async def test_a_channel_that_is_not_there_is_not_found(company, kind: str, name: str) -> None:
    ada = await company().enter("ada")
    ada.say({"type": kind, "channel": name, "payload": 1})
    assert (await ada.hear("error"))["error"] == "channel_not_found"


async def test_channels_are_listed_with_their_readers_counted(company) -> None:
    room = company()
    await channel(room)
    await room.postroom.subscribe("gcu", "ops")
    ada = await room.enter("ada")
    ada.say({"type": "list_channels"})
    assert (await ada.hear("channels"))["channels"] == [
        {"name": "ops", "description": "", "subscriber_count": 1, "created_at": NOW}
    ]


# --- presence ---------------------------------------------------------------------------------------------------------


async def test_comings_and_goings_are_told_to_the_others_and_not_to_sidecars(company) -> None:
    room = company()
    ada = await room.enter("ada")
    quiet = await room.enter("loash", client_type="sidecar")
    await ada.hear("agent_joined")
    gcu = await room.enter("gcu", name="The GCU", status="thinking", capabilities=["python"])
    assert (await ada.hear("agent_joined"))["agent"] == {
        "agent_id": "gcu",
        "name": "The GCU",
        "status": "thinking",
        "capabilities": ["python"],
        "connected_at": NOW,
        "fsm_state": "idle",
    }
    gcu.say({"type": "status", "status": "writing"})
    assert await gcu.hear("status_updated") == {"type": "status_updated"}
    assert (await ada.hear("status_changed"))["agent"]["status"] == "writing"
    assert room.presence.says_of("gcu") == {"status": "writing"}
    await room.leave(gcu)
    assert await ada.hear("agent_left") == {"type": "agent_left", "agent_id": "gcu"}
    assert quiet.said == []


async def test_what_an_agent_says_of_itself_is_cut_before_everybody_hears_it(company) -> None:
    room = company()
    ada = await room.enter("ada")
    long = "x" * 1_000
    await room.enter("gcu", name=long, status=long, capabilities=[f"{number}{long}" for number in range(500)])
    assert len(json.dumps(await ada.hear("agent_joined"))) < 25_000


async def test_those_who_are_connected_are_listed_with_what_they_do(company) -> None:
    room = company()
    ada, gcu = await room.enter("ada"), await room.enter("gcu", client_type="sidecar")
    at_work = replace(room.agents["gcu"].live, state=AgentState.WORKING, session=Session("s"))
    room.agents["gcu"] = replace(room.agents["gcu"], live=at_work)
    ada.say({"type": "list_agents"})
    told = (await ada.hear("agents"))["agents"]
    assert [(agent["agent_id"], agent["status"], agent["fsm_state"]) for agent in told] == [
        ("ada", "online", "idle"),
        ("gcu", "online", "working"),
    ]
    await room.leave(gcu)
    ada.say({"type": "list_agents"})
    assert [agent["agent_id"] for agent in (await ada.hear("agents"))["agents"]] == ["ada"]


async def test_a_storm_of_connects_is_told_only_as_far_as_there_is_room(company, monkeypatch) -> None:
    monkeypatch.setattr(being, "TOLD_PER_SECOND", 3)
    room = company(ada=AGENT, **{f"m{number}": AGENT for number in range(6)})
    room.presence._room = 3.0
    ada = await room.enter("ada")
    for number in range(6):
        await room.enter(f"m{number}")
    await settled(ada)
    joined = [frame for frame in ada.said if frame["type"] == "agent_joined"]
    assert len(joined) == 2, "m1's coming was told to ada and m0: three frames are all there is room for"


async def test_a_crowded_line_is_spared_what_it_can_ask_for_again(company) -> None:
    room = company()
    ada = await room.enter("ada")
    gcu = await room.enter("gcu", client_type="sidecar")
    await ada.hear("agent_joined")
    line = room.sessions._lines["ada"]
    for number in range(40):
        line.put(json.dumps({"type": "filler", "n": number}))
    room.presence.left("gcu", room.presence.get("gcu").session.id)
    await settled(ada)
    assert "agent_left" not in [frame["type"] for frame in ada.said]
    assert len(ada.said) == 40
    await room.leave(gcu)


# --- the hub's own mail -----------------------------------------------------------------------------------------------


def record(before: State | None, after: State, question: str | None = None, asked: str | None = None) -> Record:
    spec = Spec("t-1", "Write")
    status = Status(after, generation=2, assigned_to="gcu", question=asked or question)
    old = None if before is None else Task(spec, replace(status, status=before, question=question))
    return Record("any", Actor("agent", "gcu"), old, Task(spec, status), agent="gcu")


@pytest.mark.parametrize("after", [State.IN_REVIEW, State.BLOCKED, State.FAILED, State.REJECTED])
async def test_a_task_that_waits_for_people_is_mailed_to_every_coordinator(company, after: State) -> None:
    room = company(ada=COORDINATOR, bob=COORDINATOR, eve=COORDINATOR, gcu=AGENT)
    room.change("eve", disabled=True)
    ada = await room.enter("ada")
    room.postroom.notice(record(State.WORKING, after, asked="which?" if after is State.BLOCKED else None))
    pushed = await ada.hear("message")
    assert (pushed["from"], pushed["message_type"]) == ("hub", "task_status")
    assert pushed["payload"] == {
        "task_id": "t-1",
        "title": "Write",
        "status": str(after),
        "from_status": "working",
        "generation": 2,
        "agent": "gcu",
        **({"question": "which?"} if after is State.BLOCKED else {}),
    }
    await asyncio.gather(*room.postroom._notices)
    assert [len(await room.box(name)) for name in ("ada", "bob", "eve", "gcu")] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    "quiet",
    [
        record(State.WORKING, State.DONE),
        record(State.QUEUED, State.CANCELLED),
        record(State.FAILED, State.FAILED),
        record(State.BLOCKED, State.BLOCKED, "which?"),
    ],
)
async def test_what_needs_no_person_is_not_mailed(company, quiet: Record) -> None:
    room = company(ada=COORDINATOR)
    room.postroom.notice(quiet)
    assert not room.postroom._notices


async def test_another_question_of_a_blocked_task_is_mailed_too(company) -> None:
    room = company(ada=COORDINATOR)
    room.postroom.notice(record(State.BLOCKED, State.BLOCKED, "which?", asked="and when?"))
    await asyncio.gather(*room.postroom._notices)
    assert [payload["question"] for payload in await room.box("ada")] == ["and when?"]

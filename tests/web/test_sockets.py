"""One socket from the hub's side, without a network: what is read, what is refused, how long silence may last."""

import asyncio
import json
from dataclasses import replace

import pytest
from support.room import TOKEN, Room, Socket
from support.sights import a_task

from coordinator.core.agent import Agent, AgentRecord
from coordinator.core.events import Assign, Complete, Connected, Disconnected, Progress
from coordinator.web import sockets
from coordinator.wire.frames import MAX_PLAIN_FRAME


async def test_a_result_with_half_an_emoji_is_read_and_not_refused_for_ever() -> None:
    room = Room()
    socket = await room.socket()
    socket.say('{"type":"task_complete","task_id":"t-1","generation":1,"result":{"summary":"cut \\ud83d"}}')
    socket.say({"type": "ping"})
    await socket.hear("pong")
    assert room.desk.words() == [Complete("t-1", 1, {"summary": "cut \ufffd"})]
    socket.serving.cancel()


async def test_a_result_nested_deeper_than_the_reader_goes_is_read_as_far_as_it_goes() -> None:
    room = Room()
    socket = await room.socket()
    deep = "[" * 400 + "]" * 400
    socket.say(f'{{"type":"task_complete","task_id":"t-1","generation":1,"result":{{"x":{deep}}}}}')
    socket.say({"type": "ping"})
    await socket.hear("pong")
    (word,) = room.desk.words()
    assert "nested too deep" in json.dumps(word.result)
    socket.serving.cancel()


async def test_a_number_that_json_does_not_have_never_gets_into_the_hub() -> None:
    room = Room()
    socket = await room.socket()
    socket.say('{"type":"task_progress","task_id":"t-1","generation":1,"progress":NaN}')
    socket.say({"type": "ping"})
    await socket.hear("pong")
    assert room.desk.words() == [Progress("t-1", 1, None)]
    socket.serving.cancel()


@pytest.mark.parametrize("frame", ['{"type":"\\ud83d","task_id":"\\ud83d"}', '{"type":"task_accepted","task_id":1}'])
async def test_a_bad_frame_is_answered_and_the_session_stays(frame: str) -> None:
    socket = await Room().socket()
    socket.say(frame)
    await socket.hear("error")
    socket.say({"type": "ping"})
    await socket.hear("pong")
    socket.serving.cancel()


async def test_a_stranger_is_not_read_beyond_the_size_of_a_plain_frame() -> None:
    socket = Socket(Room().sessions)
    socket.say('{"type":"identify","agent_id":"a","capabilities":["' + "x" * MAX_PLAIN_FRAME + '"]}')
    assert await socket.end() == (1009, "frame too big")


async def test_a_list_full_of_mistakes_costs_no_more_than_one_mistake() -> None:
    socket = Socket(Room().sessions)
    socket.say('{"type":"identify","agent_id":"a","capabilities":[' + "1," * 400_000 + "1]}")
    assert (await socket.end())[0] == 4401
    assert len(socket.said[0]["errors"]) == 1


async def test_a_large_frame_that_is_no_result_closes_the_session_before_it_is_read() -> None:
    socket = await Room().socket()
    socket.say('{"type":"task_progress","note":"' + "x" * MAX_PLAIN_FRAME + '"}')
    assert await socket.end() == (1009, "frame too big")


class Looks:
    """The agent as it is at each look at it, the last one for ever; ``looked`` is set at the look after the first."""

    def __init__(self, *agents: Agent) -> None:
        self._agents = list(agents)
        self.looked = asyncio.Event()

    def get(self, name: str) -> Agent:
        if len(self._agents) > 1:
            return self._agents.pop(0)
        self.looked.set()
        return self._agents[0]


async def test_how_long_silence_may_last_is_judged_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old sidecar that gets a task after its last frame blocks while git runs, and must not be cut off."""
    monkeypatch.setattr(sockets, "SILENT_IDLE", 0.01)
    room = Room()
    idle = room.agents["a"]
    busy = replace(idle, live=replace(idle.live, slot="t-1"))
    room.sessions._agents = looks = Looks(idle, busy)
    socket = await room.socket()
    await asyncio.wait_for(looks.looked.wait(), 20)
    socket.say({"type": "ping"})
    await socket.hear("pong")
    assert socket.closed is None
    socket.serving.cancel()


async def test_an_idle_agent_that_is_silent_for_too_long_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SILENT_IDLE", 0.01)
    room = Room()
    socket = await room.socket()
    assert await socket.end() == (1001, "silent for 0.01 s")
    assert [type(event) for event in room.desk.heard] == [Connected, Disconnected]


async def test_one_large_assignment_behind_other_frames_does_not_make_a_reader_slow() -> None:
    room = Room()
    socket = await room.socket()
    line = room.sessions._lines["a"]
    line.put(json.dumps({"type": "task_cancelled"}))
    line.put(json.dumps({"type": "task_assign", "description": "x" * 400_000}))
    await socket.hear("task_assign")
    assert socket.closed is None
    socket.serving.cancel()


async def _assigned(description: str, **fields) -> str:
    """Return the description that a client which identifies with ``fields`` is given for a task "a title"."""
    room = Room()
    socket = await room.socket(**fields)
    (connected,) = (event for event in room.desk.heard if isinstance(event, Connected))
    room.sessions.send("a", connected.session.id, Assign(a_task(title="a title", description=description)))
    said = await socket.hear("task_assign")
    socket.serving.cancel()
    assert said["title"] == "a title"
    return said["description"]


@pytest.mark.parametrize(
    ("description", "said"),
    [("", "a title"), ("and how", "a title\n\nand how"), ("a title, all of it", "a title, all of it")],
)
async def test_a_sidecar_of_version_1_finds_the_title_in_the_description_which_is_all_its_agent_sees(
    description: str, said: str
) -> None:
    assert await _assigned(description) == said


@pytest.mark.parametrize("fields", [{"features": ["release"]}, {"instance_id": "i-1"}, {"holding": []}])
async def test_a_client_of_our_days_gets_title_and_description_apart(fields: dict) -> None:
    assert await _assigned("and how", **fields) == "and how"


async def test_a_parked_agent_hears_why_it_gets_no_work() -> None:
    room = Room()
    room.agents["a"] = replace(room.agents["a"], record=AgentRecord("a", 1, "not logged in"))
    socket = Socket(room.sessions)
    socket.say({"type": "identify", "agent_id": "a", "token": TOKEN})
    assert (await socket.hear("identified"))["parked"] == "not logged in"
    socket.serving.cancel()


async def test_a_reader_that_takes_nothing_for_too_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SEND_WITHIN", 0.01)
    room = Room()
    socket = await room.socket()
    line = room.sessions._lines["a"]
    through = line.transmit

    async def stuck(message) -> None:
        await (asyncio.Event().wait() if message["type"] == "websocket.send" else through(message))

    line.transmit = stuck
    line.put(json.dumps({"type": "drain"}))
    assert await socket.end() == (1013, "too slow")

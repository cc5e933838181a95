"""Old scripts send, poll and ack over real HTTP, and a hub that is killed on the way loses and repeats nothing."""

import http.client
import json
import queue
import threading
from dataclasses import dataclass, field

import pytest
from websockets.sync.client import connect

from coordinator.demo.stage import Stage

pytestmark = pytest.mark.slow


class Script:
    """A client that knows a token and HTTP, and nothing else. ``ask`` raises OSError when the hub is not there."""

    def __init__(self, stage: Stage, agent: str, token: str) -> None:
        self.stage, self.agent, self.token = stage, agent, token

    def ask(self, method: str, path: str, said=None, *, chunked: bool = False) -> tuple[int, dict]:
        line = http.client.HTTPConnection("127.0.0.1", self.stage.port, timeout=30)
        body = None if said is None else json.dumps(said).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            pieces = iter([body[:5], body[5:]]) if chunked and body else body
            line.request(method, path, pieces, headers, encode_chunked=chunked)
            answer = line.getresponse()
            return answer.status, json.loads(answer.read())
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"cut off: {error}") from None
        finally:
            line.close()

    def send(self, to: str | None, payload, **more) -> tuple[int, dict]:
        return self.ask("POST", "/api/message", {"to": to, "payload": payload, **more})

    def poll(self, since: int = 0) -> dict:
        status, said = self.ask("GET", f"/api/mailbox/{self.agent}?since={since}")
        assert status == 200, said
        return said

    def ack(self, seq: int) -> None:
        status, said = self.ask("POST", f"/api/mailbox/{self.agent}/ack", {"seq": seq})
        assert (status, said) == (200, {"status": "acked", "up_to": seq})


@pytest.fixture
def scripts(make_stage) -> tuple[Stage, Script, Script]:
    """Two agents that have no sidecar, and a hub that knows them."""
    stage = make_stage(0)
    made = [Script(stage, name, stage.add_agent(name).token) for name in ("ada", "gcu")]
    for script in made:
        script.poll()  # `agentcom agent add` waits until the hub knows the agent
    return stage, made[0], made[1]


def test_a_script_sends_another_polls_from_where_it_was_and_acks(scripts) -> None:
    _, ada, gcu = scripts
    assert [ada.send("gcu", {"n": number})[0] for number in range(3)] == [200, 200, 200]
    first = gcu.poll()
    assert [message["payload"]["n"] for message in first["messages"]] == [0, 1, 2]
    assert gcu.poll(first["last_seq"]) == {
        "agent_id": "gcu",
        "messages": [],
        "last_seq": first["last_seq"],
        "count": 0,
    }
    status, sent = ada.ask("POST", "/api/message", {"to": "gcu", "payload": {"n": 3}}, chunked=True)
    assert (status, sent["status"]) == (200, "sent")
    assert [message["payload"]["n"] for message in gcu.poll(first["last_seq"])["messages"]] == [3]
    gcu.ack(first["last_seq"])
    assert [message["payload"]["n"] for message in gcu.poll()["messages"]] == [3]
    assert ada.ask("GET", "/api/mailbox/gcu")[0] == 403
    assert ada.send("nobody", 1) == (422, {"status": "failed", "error": "unknown_recipient"})


def test_a_session_hears_of_what_a_script_sends_and_the_script_of_what_it_says(scripts) -> None:
    stage, ada, gcu = scripts
    with connect(f"ws://127.0.0.1:{stage.port}/ws") as socket:
        socket.send(json.dumps({"type": "identify", "agent_id": "gcu", "token": gcu.token}))
        assert json.loads(socket.recv(30))["type"] == "identified"
        ada.send("gcu", {"text": "hello"})
        pushed = json.loads(socket.recv(30))
        assert (pushed["type"], pushed["from"], pushed["reply_to"]) == ("message", "ada", None)
        socket.send(json.dumps({"type": "message", "to": "ada", "payload": "hi", "reply_to": pushed["id"]}))
        assert json.loads(socket.recv(30))["type"] == "message_sent"
        (answer,) = ada.poll()["messages"]
        assert (answer["payload"], answer["reply_to"]) == ("hi", pushed["id"])
        assert ada.ask("GET", f"/api/threads/{answer['id']}")[1]["root"] == pushed["id"]


@dataclass
class Seen:
    """What the scripts were told: ids answered ``sent``, the id of each number, ids whose ack was answered."""

    sent: list[str] = field(default_factory=list)
    numbers: dict[int, str] = field(default_factory=dict)
    acked: set[str] = field(default_factory=set)

    def polled(self, box: dict) -> None:
        for message in box["messages"]:
            assert self.numbers.setdefault(message["seq"], message["id"]) == message["id"], "a number came twice"
            assert message["id"] not in self.acked, "an acked message came back"


def test_a_hub_killed_again_and_again_loses_no_mail_and_repeats_no_number(scripts) -> None:
    stage, ada, gcu = scripts
    seen, news, up = Seen(), queue.Queue(), threading.Event()
    up.set()

    def step(number: int) -> None:
        status, said = ada.send("gcu", number)
        if status == 200:
            seen.sent.append(said["id"])
        if number % 4 == 0:
            box = gcu.poll()
            seen.polled(box)
            if number % 8 == 0:
                gcu.ack(box["last_seq"])
                seen.acked |= {message["id"] for message in box["messages"]}

    def work() -> None:
        try:
            for number in range(160):
                try:
                    step(number)
                except OSError:
                    assert up.wait(60)
                news.put(number)
            news.put(None)
        except BaseException as error:
            news.put(error)

    working = threading.Thread(target=work, daemon=True)
    working.start()
    kills = 0
    while (told := news.get(timeout=120)) is not None:
        if isinstance(told, BaseException):
            raise told
        if told >= 40 * (kills + 1) and kills < 3:
            up.clear()
            stage.kill_hub()
            stage.start_hub()
            up.set()
            kills += 1
    working.join()

    box = gcu.poll()
    seen.polled(box)
    assert kills == 3
    assert len(seen.sent) > 100
    assert set(seen.sent) <= set(seen.numbers.values()), "a message answered `sent` is lost"
    order = [seen.numbers[seq] for seq in sorted(seen.numbers)]
    assert [one for one in order if one in set(seen.sent)] == seen.sent, "numbers rise with time, over all restarts"


def test_a_task_that_fails_for_good_is_mailed_to_the_coordinator(make_stage) -> None:
    stage = make_stage(0, policy="retries: {max: 0}\n")
    token = stage.add_agent("boss").token
    file = stage.repo / "agents" / "boss.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("role: agent", "role: coordinator"), encoding="utf-8")
    stage.commit("Let boss coordinate", "agents/boss.yaml")
    stage.add_agent("mind-1", runtime={"name": "fake", "cwd": str(stage.work), "script": ["fail"]})
    with connect(f"ws://127.0.0.1:{stage.port}/ws") as socket:
        socket.send(json.dumps({"type": "identify", "agent_id": "boss", "token": token}))
        stage.start_sidecar("mind-1")
        stage.write_backlog(1)
        while (frame := json.loads(socket.recv(60)))["type"] != "message":
            pass
    assert (frame["from"], frame["message_type"], frame["payload"]["status"]) == ("hub", "task_status", "failed")
    (kept,) = Script(stage, "boss", token).poll()["messages"]
    assert kept["id"] == frame["id"]

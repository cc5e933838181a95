"""Tokens, invites and roles at a real hub: what an admin can do, and what an agent's token cannot."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from support.hubprocess import HubProcess
from support.repo import Clone, git_env, make_repo
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from coordinator.core.agent import Role
from coordinator.web.auth import digest

pytestmark = pytest.mark.slow

ROLES = {"eye": Role.READER, "ada": Role.AGENT, "gcu": Role.AGENT, "bob": Role.COORDINATOR}
FILES = {
    "BACKLOG.md": "# Backlog\n\n## Ready\n\n",
    "tasks/t-1.yaml": "title: for gcu\nassignee: gcu\n",
    **{
        f"agents/{name}.yaml": f"role: {role}\ntokens:\n  - sha256: {digest('ac_' + name)}\n    prefix: ac_{name}\n"
        for name, role in ROLES.items()
    },
}


@dataclass
class Stage:
    """A hub, and tokens by who holds them."""

    hub: HubProcess
    clone: Clone
    tokens: dict[str, str] = field(default_factory=lambda: {name: f"ac_{name}" for name in ROLES})

    def ask(self, who: str | None, method: str, path: str, said: Any = None, **more: Any) -> tuple[int, Any]:
        token = self.hub.token if who == "admin" else self.tokens.get(who or "", who)
        headers = {**({} if token is None else {"Authorization": f"Bearer {token}"}), **more}
        answer = requests.request(method, self.hub.url + path, json=said, headers=headers, timeout=30)
        return answer.status_code, answer.json()

    def admin(self, method: str, path: str, said: Any = None, **more: Any) -> Any:
        status, answer = self.ask("admin", method, path, said, **more)
        assert status in (200, 201), answer
        return answer

    @contextmanager
    def knock(self, agent: str, token: str | None = None) -> Iterator[tuple[ClientConnection, dict[str, Any]]]:
        """Connect as an agent; gives the socket and the first frame that came."""
        said: dict[str, Any] = {"type": "identify", "agent_id": agent, "token": token or self.tokens[agent]}
        said |= {"holding": [], "client_type": "sidecar"}
        with connect(self.hub.url.replace("http", "ws", 1) + "/ws") as link:
            link.send(json.dumps(said))
            yield link, json.loads(link.recv(30))

    def show(self, path: str) -> str:
        return self.clone.git("show", f"agentcom/state:{path}")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    clone = make_repo(tmp_path / "repo", FILES)
    with HubProcess(clone.path) as hub:
        assert hub.ready, hub.said
        yield Stage(hub, clone)


def closed_within(link: ClientConnection, seconds: float) -> tuple[str | None, int | None]:
    """Return the error before a close, and its code."""
    began, said = time.monotonic(), None
    with pytest.raises(ConnectionClosed):
        while True:
            said = json.loads(link.recv(30)).get("error")
    assert time.monotonic() - began < seconds
    return said, link.protocol.close_code


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_makes_its_agent_opens_the_door_and_outlives_the_hub(stage: Stage) -> None:
    made = stage.admin("POST", "/admin/tokens", {"agent_id": "new", "capabilities": [{"name": "python"}]})
    assert made["where"] == "agents/api/new.yaml"
    assert stage.show("agents/api/new.yaml").strip() == "name: new\ncapabilities: [python]\nrole: agent"
    assert digest(made["token"]) in stage.show("status/agents/new.yaml")
    who = stage.clone.git("log", "-1", "--format=%an %s", "agentcom/state", "--", "agents/api/new.yaml")
    assert who.strip() == f"admin agent new: got a token ({made['token'][:8]})"
    with stage.knock("new", made["token"]) as (_, first):
        assert first["type"] == "identified"
    stage.hub.stop()
    stage.hub.start()
    with stage.knock("new", made["token"]) as (_, first):
        assert first["type"] == "identified"
    assert "new" in {agent["agent_id"] for agent in stage.admin("GET", "/api/agents")["agents"]}
    assert made["token"] not in stage.clone.git("log", "--all", "-p")
    assert made["token"] not in stage.hub.said


def test_after_a_rotation_both_tokens_open_and_after_the_next_the_oldest_does_not(stage: Stage) -> None:
    first, second = (stage.admin("POST", "/admin/tokens", {"agent_id": "new"})["token"] for _ in range(2))
    assert [stage.ask(token, "GET", "/api/agents")[0] for token in (first, second)] == [200, 200]
    third = stage.admin("POST", "/admin/tokens", {"agent_id": "new", "grace": "1h"})["token"]
    assert [stage.ask(token, "GET", "/api/agents")[0] for token in (first, second, third)] == [401, 200, 200]
    fourth = stage.admin("POST", "/admin/tokens", {"agent_id": "new", "grace": 0})["token"]
    assert [stage.ask(token, "GET", "/api/agents")[0] for token in (third, fourth)] == [401, 200]
    listed = [one for one in stage.admin("GET", "/admin/tokens")["tokens"] if one["agent_id"] == "new"]
    assert [one["token_prefix"] for one in listed] == [fourth[:8]]


def test_the_same_key_gives_the_same_token(stage: Stage) -> None:
    asked = [
        stage.admin("POST", "/admin/tokens", {"agent_id": "new"}, **{"Idempotency-Key": key})["token"] for key in "aab"
    ]
    assert asked[0] == asked[1] != asked[2]


def test_revoking_closes_the_session_and_wins_over_the_file_for_good(stage: Stage) -> None:
    issued = stage.admin("POST", "/admin/tokens", {"agent_id": "ada"})
    assert issued["where"] == "agents/ada.yaml"
    with stage.knock("ada") as (link, _):
        assert stage.admin("DELETE", "/admin/tokens/ada") == {"status": "revoked", "agent_id": "ada"}
        assert closed_within(link, 5) == ("invalid_token", 4401)
    assert stage.ask("ada", "GET", "/api/tasks")[0] == stage.ask(issued["token"], "GET", "/api/tasks")[0] == 401
    stage.hub.stop()
    stage.hub.start()
    assert stage.ask("ada", "GET", "/api/tasks")[0] == 401
    stage.clone.commit({"agents/ada.yaml": FILES["agents/ada.yaml"] + "name: Ada\n"}, "Say the revoked token again")
    stage.admin("POST", "/api/reconcile")
    assert stage.ask("ada", "GET", "/api/tasks")[0] == 401


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"agent_id": "Nobody"}, 422),
        ({"agent_id": "main"}, 422),
        ({"agent_id": "hub"}, 422),
        ({"agent_id": "../../x"}, 422),
        ({"agent_id": ["a"]}, 422),
        ({}, 400),
        ({"agent_id": "new", "role": "admin"}, 422),
        ({"agent_id": "new", "grace": "soon"}, 422),
        ({"agent_id": "new", "name": "ghp_" + "a1B2" * 9}, 422),
        ({"agent_id": "ada", "role": "coordinator"}, 409),
    ],
)
def test_what_cannot_be_an_agent_is_refused_with_the_field(stage: Stage, said: dict, status: int) -> None:
    got, answer = stage.ask("admin", "POST", "/admin/tokens", said)
    assert (got, bool(answer["error"])) == (status, True)
    assert "agents/api" not in stage.clone.git("ls-tree", "-r", "--name-only", "agentcom/state").replace(
        "agents/api/.gitattributes", ""
    )


# --- invites and onboarding -------------------------------------------------------------------------------------------


def test_an_invite_registers_its_agent_once_with_a_first_task_that_it_can_finish(stage: Stage) -> None:
    invited = stage.admin("POST", "/admin/invites", {"agent_id": "new", "expires": "1h"})
    assert stage.ask(invited["invite"], "GET", "/api/tasks")[0] == 403, "it is good for one thing only"
    assert stage.ask(invited["invite"], "POST", "/api/onboard/register", {"agent_id": "other"})[0] == 403
    assert "new" not in {agent["agent_id"] for agent in stage.admin("GET", "/api/agents")["agents"]}
    status, made = stage.ask(invited["invite"], "POST", "/api/onboard/register", {"agent_id": "new"})
    assert status == 201
    assert made["hub_api_url"] == stage.hub.url
    assert made["hub_ws_url"] == stage.hub.url.replace("http", "ws", 1) + "/ws"
    assert (made["default_repo"], made["url"]) == (None, None)
    assert stage.ask(invited["invite"], "POST", "/api/onboard/register", {"agent_id": "new"})[0] == 401
    with stage.knock("new", made["token"]) as (link, _):
        task = json.loads(link.recv(30))
        assert (task["type"], task["task_id"]) == ("task_assign", made["task_id"])
        done = {"task_id": task["task_id"], "generation": task["generation"]}
        link.send(json.dumps({"type": "task_accepted", **done}))
        link.send(json.dumps({"type": "task_complete", **done, "result": {"summary": "hello"}}))
        said = [json.loads(link.recv(30)) for _ in range(2)]
    assert [one["status"] for one in said] == ["accepted", "complete"]
    assert stage.admin("GET", f"/api/tasks/{made['task_id']}")["status"] == "done"


def test_of_many_who_show_one_invite_at_once_exactly_one_gets_a_token(stage: Stage) -> None:
    invite = stage.admin("POST", "/admin/invites", {"agent_id": "new"})["invite"]
    answers: list[tuple[int, Any]] = []
    go = threading.Barrier(6)

    def register() -> None:
        go.wait()
        answers.append(stage.ask(invite, "POST", "/api/onboard/register", {"agent_id": "new"}))

    threads = [threading.Thread(target=register) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(status for status, _ in answers)
    assert statuses[0] == 201
    assert set(statuses[1:]) <= {401, 409}
    won = next(answer for status, answer in answers if status == 201)
    assert stage.ask(won["token"], "GET", "/api/agents/new/state")[0] == 200
    tasks = stage.admin("GET", "/api/tasks?label=onboarding")["tasks"]
    assert [task["assignee"] for task in tasks] == ["new"]


def test_an_id_with_a_token_is_taken_and_its_invite_stays_unused(stage: Stage) -> None:
    invite = stage.admin("POST", "/admin/invites", {"agent_id": "ada"})["invite"]
    for who in ("admin", invite):
        status, said = stage.ask(who, "POST", "/api/onboard/register", {"agent_id": "ada"})
        assert (status, said["error"]) == (409, "agent_exists")
    stage.admin("DELETE", "/admin/tokens/ada")
    assert stage.ask(invite, "POST", "/api/onboard/register", {"agent_id": "ada"})[0] == 401, "revoked with the tokens"


def test_an_invite_past_its_end_and_one_with_a_wrong_end_open_nothing(stage: Stage) -> None:
    soon = stage.admin("POST", "/admin/invites", {"agent_id": "new", "expires": 50})
    deadline = time.monotonic() + 20
    while (status := stage.ask(soon["invite"], "GET", "/api/tasks")[0]) != 401:
        assert (status, time.monotonic() < deadline) == (403, True)
    for expires in ("never", "2001-01-01T00:00:00Z", "400d", -5, 0):
        status, said = stage.ask("admin", "POST", "/admin/invites", {"agent_id": "new", "expires": expires})
        assert (status, said["errors"][0]["field"]) == (422, "expires")


# --- agents -----------------------------------------------------------------------------------------------------------


def test_a_persons_file_takes_an_agent_over_and_its_token_goes_on(stage: Stage) -> None:
    made = stage.admin("POST", "/admin/tokens", {"agent_id": "new"})
    stage.clone.commit({"agents/new.yaml": "name: Of a person\nrole: reader\n"}, "Write new down")
    stage.admin("POST", "/api/reconcile")
    assert "agents/api/new.yaml" not in stage.clone.git("ls-tree", "-r", "--name-only", "agentcom/state")
    shown = {one["agent_id"]: one for one in stage.admin("GET", "/api/agents")["agents"]}["new"]
    assert (shown["where"], shown["role"], shown["name"]) == ("agents/new.yaml", "reader", "Of a person")
    assert stage.ask(made["token"], "GET", "/api/agents")[0] == 200
    status, said = stage.ask("admin", "DELETE", "/api/agents/new")
    assert (status, said["error"]) == (409, "written_in_a_file")
    assert "agents/new.yaml" in said["hint"]


def test_removing_an_agent_ends_its_session_and_nothing_of_it_opens_again(stage: Stage) -> None:
    made = stage.admin("POST", "/admin/tokens", {"agent_id": "new"})
    with stage.knock("new", made["token"]) as (link, _):
        assert stage.admin("DELETE", "/api/agents/new")["status"] == "removed"
        assert closed_within(link, 5) == ("agent_disabled", 4401)
    assert stage.ask("admin", "GET", "/api/agents/new/state")[0] == 404
    assert stage.ask(made["token"], "GET", "/api/agents")[0] == 401
    again = stage.admin("POST", "/admin/tokens", {"agent_id": "new"})
    assert [stage.ask(one["token"], "GET", "/api/agents")[0] for one in (made, again)] == [401, 200]


def test_a_drained_agent_hears_it_and_gets_nothing_until_it_is_let_again(stage: Stage) -> None:
    def command(*words: str) -> str:
        argv = (sys.executable, "-m", "coordinator", "agent", *words, "--repo", str(stage.clone.path))
        return subprocess.run(argv, env=git_env(), capture_output=True, text=True, timeout=60, check=True).stdout

    with stage.knock("ada") as (link, _):
        assert stage.ask("bob", "POST", "/api/agents/ada/drain") == (200, {"status": "draining", "agent_id": "ada"})
        assert json.loads(link.recv(30))["type"] == "drain"
        stage.clone.commit({"tasks/t-2.yaml": "title: for ada\nassignee: ada\n"}, "Ask ada")
        stage.admin("POST", "/api/reconcile")
        assert stage.admin("GET", "/api/tasks/t-2")["status"] == "queued"
        assert "ada takes work again" in command("undrain", "ada")
        assert json.loads(link.recv(30))["task_id"] == "t-2"
        state = stage.ask("eye", "GET", "/api/agents/ada/state")[1]
        assert (state["fsm_state"], state["current_task_id"], state["flags"]) == ("assigned", "t-2", [])
        assert state["last_state_change"] >= state["connected_at"]


def test_a_word_about_an_agent_that_cannot_be_put_says_why_in_one_line(stage: Stage) -> None:
    def command(*words: str, **env: str) -> tuple[int, str]:
        argv = (sys.executable, "-m", "coordinator", "agent", *words, "--repo", str(stage.clone.path))
        done = subprocess.run(argv, env=git_env(**env), capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr.strip()

    assert command("resume", "no/body") == (
        1,
        "agentcom: the hub knows no agent no/body: see `agentcom agent list`",
    )
    code, said = command("drain", "gcu", AGENTCOM_TOKEN="ac_ada")
    assert (code, "takes a token of the role coordinator" in said) == (77, True)
    stage.hub.stop()
    code, said = command("undrain", "gcu")
    assert (code, said.count("\n"), "start it with `agentcom hub`" in said) == (69, 0, True)


# --- what an agent's token cannot -------------------------------------------------------------------------------------


def test_an_agent_cannot_mint_revoke_invite_register_or_remove(stage: Stage) -> None:
    tries = [
        ("POST", "/admin/tokens", {"agent_id": "ada"}),
        ("POST", "/admin/tokens", {"agent_id": "mine", "role": "coordinator"}),
        ("GET", "/admin/tokens", None),
        ("DELETE", "/admin/tokens/gcu", None),
        ("DELETE", "/admin/tokens/ada", None),
        ("POST", "/admin/invites", {"agent_id": "mine"}),
        ("POST", "/api/onboard/register", {"agent_id": "mine"}),
        ("DELETE", "/api/agents/gcu", None),
        ("PUT", "/api/config/mailbox-retention", {"mailbox_ttl_ms": 1}),
    ]
    before = stage.clone.git("rev-parse", "agentcom/state")
    for who in ("eye", "ada", "bob"):
        assert [stage.ask(who, *one)[0] for one in tries] == [403] * len(tries), who
    coordinators = [("POST", f"/api/agents/gcu/{what}", None) for what in ("resume", "drain", "undrain")]
    for who in ("eye", "ada"):
        assert [stage.ask(who, *one)[0] for one in coordinators] == [403] * 3
    for who in (None, "ac_wrong", "", "Bearer", "ai_" + "x" * 43):
        assert {stage.ask(who, *one)[0] for one in [*tries, *coordinators]} == {401}
    assert stage.clone.git("rev-parse", "agentcom/state") == before


def test_an_agent_cannot_read_mail_or_finish_work_that_is_not_its_own(stage: Stage) -> None:
    stage.admin("POST", "/api/message", {"to": "gcu", "payload": "for gcu alone"})
    for who in ("ada", "bob", "eye"):
        assert stage.ask(who, "GET", "/api/mailbox/gcu")[0] == 403
        assert stage.ask(who, "POST", "/api/mailbox/gcu/ack", {"seq": 2**62})[0] == 403
    assert stage.ask("ada", "GET", "/api/messages?to=gcu")[1]["messages"] == []
    with stage.knock("gcu") as (owner, _), stage.knock("ada") as (thief, _):
        task = json.loads(owner.recv(30))
        done = {"task_id": task["task_id"], "generation": task["generation"]}
        for frame, error in (
            ({"type": "task_accepted", **done}, "task_update_failed: not_owner"),
            ({"type": "task_complete", **done, "result": {"summary": "mine"}}, "task_complete_failed: not_owner"),
            ({"type": "task_failed", **done, "error": "x"}, "task_fail_failed: not_owner"),
            ({"type": "task_blocked", **done, "question": "?"}, "task_update_failed: not_owner"),
        ):
            thief.send(json.dumps(frame))
            heard = json.loads(thief.recv(30))
            if heard["type"] == "task_cancelled":
                heard = json.loads(thief.recv(30))
            assert heard["error"] == error, heard
        thief.send(json.dumps({"type": "task_complete", **done, "agent_id": "gcu", "result": {}}))
        shown = stage.admin("GET", f"/api/tasks/{task['task_id']}")
        assert (shown["status"], shown["assigned_to"], shown["attempts"]) == ("assigned", "gcu", [])


def test_a_token_of_one_does_not_identify_another(stage: Stage) -> None:
    for agent, token, error in (("gcu", "ac_ada", "token_agent_mismatch"), ("nobody", "ac_ada", "token_agent_mismatch"),
                                ("gcu", stage.hub.token, "invalid_token")):  # fmt: skip
        with stage.knock(agent, token) as (_, said):
            assert said["error"] == error


def test_wrong_tokens_are_answered_alike_then_429_and_a_right_one_always_gets_in(stage: Stage) -> None:
    answers = [stage.ask("ac_wrong", "GET", path) for path in ("/api/tasks", "/admin/tokens", "/api/nothing")]
    assert [status for status, _ in answers] == [401] * 3
    assert len({json.dumps(said) for _, said in answers}) == 1
    assert stage.ask(None, "GET", "/nothing")[0] == 404
    with requests.Session() as client:
        for _ in range(3_000):
            answer = client.get(stage.hub.url + "/api/tasks", headers={"Authorization": "Bearer ac_wrong"}, timeout=30)
            if answer.status_code == 429:
                break
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert stage.ask("ada", "GET", "/api/tasks")[0] == 200
    assert stage.ask(None, "GET", "/api/tasks")[0] == 401, "who sends no token guesses nothing"

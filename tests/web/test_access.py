"""Every route and every frame, role by role: what is declared, what the door does, and what docs/api.md says."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from support.room import Company, token_of

from coordinator.core.agent import Role, Token
from coordinator.web import access, app
from coordinator.web.auth import digest
from coordinator.web.mail.letters import Declined
from coordinator.web.routes import all_routes
from coordinator.wire import frames

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
ROLES = {"eye": Role.READER, "ada": Role.AGENT, "gcu": Role.AGENT, "bob": Role.COORDINATOR}
INVITE = "ai_" + "i" * 43
#: Who may use what is declared, written down once more: anybody without a token, an invite, roles, the agent itself.
MAY = {
    "-": "nobody guest eye ada gcu bob admin",
    "reader": "eye ada gcu bob admin",
    "agent": "ada gcu bob admin",
    "coordinator": "bob admin",
    "admin": "admin",
    "agent, itself": "gcu admin",
    "admin, or an invite": "guest admin",
}
#: The routes, by hand: a new one is not open by oversight.
ROUTES = """
GET /openapi.json -
GET /api/schemas -
GET /api/problems reader
GET /api/status reader
POST /api/reconcile coordinator
GET /api/tasks reader
GET /api/tasks/<task_id> reader
GET /api/tasks/stats reader
GET /api/tasks/dead-letter reader
POST /api/tasks agent
PATCH /api/tasks/<task_id> agent
DELETE /api/tasks/<task_id> admin
POST /api/tasks/<task_id>/retry coordinator
POST /api/tasks/<task_id>/cancel coordinator
POST /api/tasks/<task_id>/answer coordinator
POST /api/tasks/<task_id>/approve coordinator
POST /api/tasks/<task_id>/reject coordinator
POST /api/confirm coordinator
GET /api/config/default-repo reader
GET /api/agents reader
GET /api/agents/states reader
GET /api/agents/<agent_id>/state reader
GET /api/agents/<agent_id>/subscriptions reader
DELETE /api/agents/<agent_id> admin
POST /api/agents/<agent_id>/resume coordinator
POST /api/agents/<agent_id>/drain coordinator
POST /api/agents/<agent_id>/undrain coordinator
POST /api/agents/<agent_id>/disable coordinator
POST /api/agents/<agent_id>/enable coordinator
GET /admin/tokens admin
POST /admin/tokens admin
DELETE /admin/tokens/<agent_id> admin
POST /admin/invites admin
POST /api/onboard/register admin, or an invite
POST /api/message agent
GET /api/mailbox/<agent_id> agent, itself
POST /api/mailbox/<agent_id>/ack agent, itself
GET /api/messages agent
GET /api/threads/<message_id> agent
GET /api/threads/<message_id>/replies agent
GET /api/threads/<message_id>/root agent
GET /api/config/mailbox-retention reader
PUT /api/config/mailbox-retention admin
GET /api/channels reader
POST /api/channels agent
GET /api/channels/<channel> reader
POST /api/channels/<channel>/subscribe agent
POST /api/channels/<channel>/unsubscribe agent
POST /api/channels/<channel>/publish agent
GET /api/channels/<channel>/history reader
GET /api/analytics/summary reader
GET /api/analytics/agents reader
GET /api/analytics/agents/<agent_id>/hourly reader
"""


class Nothing:
    """A hub that has nothing: whoever gets as far as to ask it is told so."""

    def __getattr__(self, name: str) -> Any:
        def ask(*_: object, **__: object) -> Any:
            raise Declined("agent_not_found", "there is nothing here")

        return ask


class House:
    """The application of the hub, with agents of every role, over a loop in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.company: Company = asyncio.run_coroutine_threadsafe(self._open(folder), self.loop).result(30)
        it, bridge, hub = self.company, app.Bridge(self.loop), Nothing()
        routes = all_routes(hub, hub, hub, it.postroom, it.agents, it.desk.now, bridge, "0")  # type: ignore[arg-type]
        self.app: Flask = app.make_app(it.door, it.desk.now, bridge, routes)
        self._client = self.app.test_client()

    async def _open(self, folder: Path) -> Company:
        company = Company(folder, **ROLES)
        gcu = company.agents["gcu"]
        record = type(gcu.record)("gcu", invites=(Token(digest(INVITE)),))
        company.agents["gcu"] = type(gcu)(gcu.spec, record)
        return company

    def ask(self, who: str, method: str, path: str) -> int:
        tokens = {"admin": "admin", "guest": INVITE, "stranger": "ac_stranger"}
        token = None if who == "nobody" else tokens.get(who) or token_of(who)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        for part in ("agent_id", "task_id", "message_id", "channel"):
            path = path.replace(f"<{part}>", "gcu")
        said = {"agent_id": "gcu", "payload": 1, "name": "gcu", "seq": 0, "mailbox_ttl_ms": 1}
        said |= {"status": "progress", "generation": 1}
        more = {} if method in ("GET", "DELETE") else {"json": said}
        return self._client.open(path, method=method, headers=headers, **more).status_code

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.company.close(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = House(tmp_path)
    yield opened
    opened.close()


def expected() -> dict[tuple[str, str], str]:
    rows = (line.split(" ", 2) for line in ROUTES.strip().splitlines())
    return {(method, path): word for method, path, word in rows}


def test_every_route_declares_what_stands_here(house: House) -> None:
    found = {(method, path): rule.word for method, path, rule, _ in access.declared(house.app) if rule is not None}
    assert found == expected()


def test_each_role_gets_as_far_as_its_role_reaches_and_no_further(house: House) -> None:
    wrong = []
    for (method, path), word in expected().items():
        for who in ("nobody", "stranger", "guest", "eye", "ada", "gcu", "bob", "admin"):
            status = house.ask(who, method, path)
            allowed = who in MAY[word].split() or (who == "stranger" and word == "-")
            refused = {"nobody": 401, "stranger": 401}.get(who, 403)
            if allowed != (status not in (401, 403)) or (not allowed and status != refused):
                no_mailbox = who == "admin" and path.endswith("subscribe")
                wrong += [] if no_mailbox and status == 403 else [(method, path, who, status)]
    assert wrong == []


def test_what_is_nowhere_below_the_api_is_no_ones_business(house: House) -> None:
    assert [house.ask(who, "GET", "/api/nothing") for who in ("nobody", "stranger", "eye")] == [401, 401, 404]
    assert [house.ask(who, "GET", "/admin/nothing") for who in ("nobody", "stranger", "eye")] == [401, 401, 404]
    assert [house.ask(who, "GET", "/nothing") for who in ("nobody", "eye")] == [404, 404]
    assert [house.ask(who, "PATCH", "/admin/tokens") for who in ("nobody", "eye")] == [401, 405]


def test_every_frame_to_the_hub_says_what_it_takes() -> None:
    kinds = frames.to_hub.json_schema()["discriminator"]["mapping"]
    assert {kind: access.frame_word(kind) for kind in kinds}.keys() == kinds.keys()
    assert access.FRAMES.keys() | access.OF_ITSELF <= kinds.keys()


@pytest.mark.parametrize("kind", sorted(access.FRAMES))
async def test_each_role_may_send_the_frames_of_its_role_and_no_other(kind: str, tmp_path: Path) -> None:
    company = Company(tmp_path, **ROLES)
    said = {"type": kind, "payload": 1, "status": "here", "channel": "nowhere", "to": "gcu"}
    for who in ("eye", "ada", "bob"):
        socket = await company.enter(who, client_type="sidecar")
        socket.said.clear()
        socket.say(said)
        async with asyncio.timeout(20):
            while not socket.said:
                socket._news.clear()
                await socket._news.wait()
        allowed = who in MAY[access.frame_word(kind)].split()
        assert (socket.said[0].get("error") != "forbidden") == allowed, (who, socket.said)
    await company.close()


def test_the_page_lists_every_route_and_frame_with_its_role(house: House) -> None:
    rows = [f"| `{method} {path}` | {word} |" for (method, path), word in expected().items()]
    kinds = sorted(frames.to_hub.json_schema()["discriminator"]["mapping"])
    rows += [f"| `{kind}` | {access.frame_word(kind)} |" for kind in kinds]
    native = [f"| `GET {path}` | - |" for path in ("/health", "/ready", "/metrics")]
    native.append("| `GET /api/dashboard/state` | reader |")  # of the dashboard, tests/dashboard
    section = PAGE.read_text(encoding="utf-8").partition("## Routes and roles\n")[2].partition("\n## ")[0]
    tables = [line for line in section.splitlines() if line.startswith("| `")]
    assert sorted(tables) == sorted(rows + native), "the tables of docs/api.md must be:\n" + "\n".join(native + rows)

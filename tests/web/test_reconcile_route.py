"""POST /api/reconcile: who may say "look now", and what comes back."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from coordinator.core.agent import Agent, AgentRecord, AgentSpec, Role, Token
from coordinator.core.timers import Now
from coordinator.web import api_hub, app
from coordinator.web.app import Bridge, make_app
from coordinator.web.auth import ADMIN, Doorkeeper, Principal, digest

ADMIN_TOKEN = "ac_admin"


class View:
    """Only what these requests need of a hub; ``looks`` counts, ``gate`` holds a look up."""

    def __init__(self) -> None:
        self.looks = 0
        self.gate: asyncio.Event | None = None

    def now(self) -> Now:
        return Now(0.0, 0)

    async def reconcile(self) -> dict[str, Any]:
        self.looks += 1
        if self.gate is not None:
            await self.gate.wait()
        return {"observed_commit": "c" * 40}


@pytest.fixture
def view() -> View:
    return View()


@pytest.fixture
def client(view: View) -> Iterator[FlaskClient]:
    agents = {
        str(role): Agent(AgentSpec(str(role), role=role, tokens=(Token(digest(f"ac_{role}")),)), AgentRecord(str(role)))
        for role in Role
    }
    loop = asyncio.new_event_loop()
    running = threading.Thread(target=loop.run_forever)
    running.start()
    bridge = Bridge(loop)
    routes = [api_hub.blueprint(view, bridge)]  # type: ignore[arg-type]
    yield make_app(Doorkeeper(agents, ADMIN_TOKEN), view.now, bridge, routes).test_client()
    asyncio.run_coroutine_threadsafe(_end_all(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    running.join()
    loop.close()


async def _end_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def post(client: FlaskClient, token: str | None) -> tuple[int, dict[str, Any]]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    answer = client.post("/api/reconcile", headers=headers)
    return answer.status_code, answer.get_json()


@pytest.mark.parametrize("token", [ADMIN_TOKEN, "ac_coordinator"])
def test_admin_and_coordinator_are_told_which_commit_is_observed(client: FlaskClient, view: View, token: str) -> None:
    assert post(client, token) == (200, {"schema_version": 1, "observed_commit": "c" * 40})
    assert view.looks == 1


@pytest.mark.parametrize(("token", "code"), [("ac_agent", 403), ("ac_reader", 403), ("ac_wrong", 401), (None, 401)])
def test_nobody_else_makes_the_hub_look(client: FlaskClient, view: View, token: str | None, code: int) -> None:
    said = post(client, token)
    assert said[0] == code
    assert said[1].keys() == {"error", "hint"}
    assert view.looks == 0


def test_it_takes_a_post(client: FlaskClient, view: View) -> None:
    assert client.get("/api/reconcile", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}).status_code == 405
    assert view.looks == 0


def test_a_look_that_takes_long_is_answered_with_try_again(
    client: FlaskClient, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "PATIENCE", 0.2)
    view.gate = asyncio.Event()
    code, said = post(client, ADMIN_TOKEN)
    assert (code, said["error"]) == (503, "unavailable")


def test_a_role_may_what_the_lower_ones_may() -> None:
    may = {role: [other for other in Role if Principal(role).may(other)] for role in Role}
    assert may == {
        Role.READER: [Role.READER],
        Role.AGENT: [Role.READER, Role.AGENT],
        Role.COORDINATOR: [Role.READER, Role.AGENT, Role.COORDINATOR],
    }
    assert all(ADMIN.may(role) for role in Role)

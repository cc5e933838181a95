"""Agents over HTTP: what they are at, and what people ask of one (PROTOCOL 2, 2.1)."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from flask import Blueprint, Response, g, jsonify

from coordinator.core.agent import Agent, Role
from coordinator.core.events import Actor
from coordinator.web import present
from coordinator.web.access import requires
from coordinator.web.app import SCHEMA_VERSION, Bridge
from coordinator.web.asked import answer_errors
from coordinator.web.described import described
from coordinator.wire import answers

Answer = Response | tuple[Response, int]
Wish = Literal["resume", "drain", "undrain", "disable", "enable"]
_DONE: Mapping[Wish, str] = {
    "resume": "resumed",
    "drain": "draining",
    "undrain": "undrained",
    "disable": "disabled",
    "enable": "enabled",
}


class Agents(Protocol):
    """What these routes need of the hub; every call is made on its loop."""

    def agents(self) -> list[dict[str, Any]]: ...


class Wishes(Protocol):
    """What people may ask of an agent; both raise Declined, and return when it is durable."""

    async def ask(self, agent_id: str, what: Wish, by: Actor) -> None: ...

    async def discharge(self, agent_id: str, by: Actor) -> None: ...


def blueprint(view: Agents, wishes: Wishes, everybody: Mapping[str, Agent], bridge: Bridge) -> Blueprint:
    """Return the routes; ``everybody`` is read on the hub's loop."""
    api = Blueprint("agents", __name__, url_prefix="/api/agents")
    answer_errors(api)

    @api.get("")
    @requires(Role.READER)
    @described("All agents", {200: answers.AgentList})
    def agents() -> Answer:
        async def read() -> dict[str, Any]:
            return {"schema_version": SCHEMA_VERSION, "agents": view.agents()}

        return jsonify(bridge.ask(read))

    @api.get("/states")
    @requires(Role.READER)
    @described("What all agents are at", {200: answers.AgentStates})
    def states() -> Answer:
        async def read() -> list[dict[str, Any]]:
            return [present.state_json(everybody[name]) for name in sorted(everybody) if everybody[name].known]

        return jsonify(schema_version=SCHEMA_VERSION, agents=bridge.ask(read))

    @api.get("/<agent_id>/state")
    @requires(Role.READER)
    @described("What an agent is at", {200: answers.AgentStateShown})
    def state(agent_id: str) -> Answer:
        async def read() -> dict[str, Any] | None:
            agent = everybody.get(agent_id)
            if agent is None or not agent.known:
                return None
            return present.state_json(agent) | {"last_state_change": agent.live.changed_at}

        found = bridge.ask(read)
        if found is None:
            return jsonify(error="agent_not_found", agent_id=agent_id), 404
        return jsonify(schema_version=SCHEMA_VERSION, **found)

    @api.delete("/<agent_id>")
    @requires(None)
    @described("Remove an agent that was made here", {200: answers.AgentAnswered, 409: answers.Problem})
    def remove(agent_id: str) -> Answer:
        by = g.principal.actor
        bridge.ask(lambda: wishes.discharge(agent_id, by))
        return jsonify(status="removed", agent_id=agent_id)

    def wish(what: Wish, summary: str) -> Callable[..., Any]:
        @requires(Role.COORDINATOR)
        @described(summary, {200: answers.AgentAnswered, 409: answers.Problem})
        def asked(agent_id: str) -> Answer:
            by = g.principal.actor
            bridge.ask(lambda: wishes.ask(agent_id, what, by))
            return jsonify(status=_DONE[what], agent_id=agent_id)

        return asked

    for what, summary in (
        ("resume", "End the parking of an agent"),
        ("drain", "Give an agent nothing new"),
        ("undrain", "Give an agent work again"),
        ("disable", "Let an agent that was made here work no more"),
        ("enable", "Let an agent that was made here work again"),
    ):
        api.post(f"/<agent_id>/{what}", endpoint=what)(wish(what, summary))  # type: ignore[arg-type]

    return api

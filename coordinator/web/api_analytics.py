"""Numbers about agents and their messages over HTTP (PROTOCOL 2.1)."""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, jsonify

from coordinator.core.agent import Agent, Role
from coordinator.core.timers import Now
from coordinator.web import volumes
from coordinator.web.access import requires
from coordinator.web.app import Bridge
from coordinator.web.asked import answer_errors
from coordinator.web.described import described
from coordinator.web.postroom import Postroom
from coordinator.wire import answers

Answer = Response | tuple[Response, int]


def blueprint(postroom: Postroom, agents: Mapping[str, Agent], now: Callable[[], Now], bridge: Bridge) -> Blueprint:
    """Return the routes; ``agents`` and ``now`` are read on the hub's loop."""
    api = Blueprint("analytics", __name__, url_prefix="/api/analytics")
    answer_errors(api)

    def everybody() -> list[volumes.Seen]:
        presence = postroom.presence
        return [
            volumes.Seen(agents[name], presence.traces(name), presence.get(name) is not None)
            for name in sorted(agents)
            if postroom.known(name)
        ]

    @api.get("/summary")
    @requires(Role.READER)
    @described("Agents and messages of the last day in numbers", {200: answers.AnalyticsSummary})
    def summary() -> Answer:
        async def read() -> dict[str, Any]:
            at = now().wall
            return volumes.summary(everybody(), await postroom.volume(at - volumes.DAY_MS), at)

        return jsonify(bridge.ask(read))

    @api.get("/agents")
    @requires(Role.READER)
    @described("The same for each agent", {200: (answers.AgentNumbers,)})
    def by_agent() -> Answer:
        async def read() -> list[dict[str, Any]]:
            at = now().wall
            return volumes.by_agent(everybody(), await postroom.volume(at - volumes.DAY_MS), at)

        return jsonify(bridge.ask(read))

    @api.get("/agents/<agent_id>/hourly")
    @requires(Role.READER)
    @described("What an agent sent and got, hour by hour", {200: answers.Hourly})
    def hourly(agent_id: str) -> Answer:
        async def read() -> list[dict[str, Any]] | None:
            if not postroom.known(agent_id):
                return None
            at = now().wall
            return volumes.hourly(agent_id, await postroom.volume(volumes.first_hour(at)), at)

        hours = bridge.ask(read)
        if hours is None:
            return jsonify(error="agent_not_found", agent_id=agent_id), 404
        return jsonify(agent_id=agent_id, hourly=hours)

    return api

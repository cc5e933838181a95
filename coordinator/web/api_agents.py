"""Agents over HTTP (PROTOCOL 2)."""

from typing import Any, Protocol

from flask import Blueprint, Response, jsonify

from coordinator.core.agent import Role
from coordinator.web.access import requires
from coordinator.web.app import SCHEMA_VERSION, Bridge
from coordinator.web.described import described
from coordinator.wire import answers


class Agents(Protocol):
    """What these routes need of the hub; every call is made on its loop."""

    def agents(self) -> list[dict[str, Any]]: ...


def blueprint(view: Agents, bridge: Bridge) -> Blueprint:
    """Return the routes."""
    api = Blueprint("agents", __name__, url_prefix="/api")

    @api.get("/agents")
    @requires(Role.READER)
    @described("All agents", {200: answers.AgentList})
    def agents() -> Response:
        async def read() -> dict[str, Any]:
            return {"schema_version": SCHEMA_VERSION, "agents": view.agents()}

        return jsonify(bridge.ask(read))

    return api

"""The hub as a whole over HTTP: how it stands, what is wrong, and the one word "look now" (PROTOCOL 2)."""

from typing import Any, Protocol

from flask import Blueprint, Response, jsonify

from coordinator.core.agent import Role
from coordinator.web.access import requires
from coordinator.web.app import SCHEMA_VERSION, Bridge
from coordinator.web.described import described
from coordinator.wire import answers


class Whole(Protocol):
    """What these routes need of the hub; every call is made on its loop."""

    async def look_at_work_tree(self) -> None: ...

    async def reconcile(self) -> dict[str, Any]: ...

    def summary(self) -> dict[str, Any]: ...

    def problem_list(self) -> list[dict[str, Any]]: ...

    def default_repo(self) -> str | None: ...


def blueprint(view: Whole, bridge: Bridge) -> Blueprint:
    """Return the routes."""
    api = Blueprint("hub", __name__, url_prefix="/api")

    @api.get("/problems")
    @requires(Role.READER)
    @described("What is wrong now", {200: answers.Problems})
    def problems() -> Response:
        async def read() -> dict[str, Any]:
            return {"schema_version": SCHEMA_VERSION, "problems": view.problem_list()}

        return jsonify(bridge.ask(read))

    @api.get("/status")
    @requires(Role.READER)
    @described("The state of the whole", {200: answers.HubStatus})
    def status() -> Response:
        async def read() -> dict[str, Any]:
            await view.look_at_work_tree()
            return {"schema_version": SCHEMA_VERSION, **view.summary()}

        return jsonify(bridge.ask(read))

    @api.post("/reconcile")
    @requires(Role.COORDINATOR)
    @described("Look at the source now", {200: answers.Reconciled})
    def reconcile() -> Response:
        async def look() -> dict[str, Any]:
            return {"schema_version": SCHEMA_VERSION, **await view.reconcile()}

        return jsonify(bridge.ask(look))

    @api.get("/config/default-repo")
    @requires(Role.READER)
    @described("Where tasks are worked on that name no repository", {200: answers.DefaultRepo})
    def default_repo() -> Response:
        async def read() -> str | None:
            return view.default_repo()

        name = bridge.ask(read)
        return jsonify(default_repo=name, configured=name is not None)

    return api

"""What dashboards and old clients ask of the whole: its state at one glance, the repository of tasks that name none."""

from typing import Any, Protocol

from flask import Blueprint, Response, jsonify

from coordinator.core.agent import Role
from coordinator.core.task import Task
from coordinator.core.timers import Now
from coordinator.web.access import requires
from coordinator.web.app import Bridge
from coordinator.web.described import described
from coordinator.web.overview import state_json
from coordinator.wire import answers


class Overview(Protocol):
    """What these routes need of the hub; every call is made on its loop."""

    @property
    def started_at(self) -> int: ...

    @property
    def read_only(self) -> str | None: ...

    def now(self) -> Now: ...

    def agents(self) -> list[dict[str, Any]]: ...

    def problem_list(self) -> list[dict[str, Any]]: ...

    def default_repo(self) -> str | None: ...

    async def tasks(self) -> list[Task]: ...


def blueprint(view: Overview, bridge: Bridge) -> Blueprint:
    """Return the routes."""
    api = Blueprint("overview", __name__, url_prefix="/api")

    @api.get("/dashboard/state")
    @requires(Role.READER)
    @described("The hub at one glance", {200: answers.DashboardState})
    def state() -> Response:
        async def read() -> dict[str, Any]:
            tasks = await view.tasks()
            now = view.now().wall
            return state_json(tasks, view.agents(), view.problem_list(), view.read_only, view.started_at, now)

        return jsonify(bridge.ask(read))

    @api.get("/config/default-repo")
    @requires(Role.READER)
    @described("Where tasks are worked on that name no repository", {200: answers.DefaultRepo})
    def default_repo() -> Response:
        async def read() -> str | None:
            return view.default_repo()

        name = bridge.ask(read)
        return jsonify(default_repo=name, configured=name is not None)

    return api

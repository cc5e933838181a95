"""Tasks over HTTP, for readers: lists, one task with its history, counts (PROTOCOL 2)."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from flask import Blueprint, Response, jsonify, request

from coordinator.core.agent import Role
from coordinator.core.scheduler import Why
from coordinator.core.task import Task
from coordinator.web import cursors, present
from coordinator.web.access import requires
from coordinator.web.app import SCHEMA_VERSION, Bridge
from coordinator.web.asked import answer_errors, number
from coordinator.web.described import INTEGER, TEXT, described
from coordinator.wire import answers

LIMIT = 100
LIMIT_MAX = 1000
_PAGE = {"limit": INTEGER, "cursor": TEXT}
_FILTERS = {**dict.fromkeys(("status", "assignee", "assigned_to", "priority", "label", "q"), TEXT), **_PAGE}

Answer = Response | tuple[Response, int]


class Tasks(Protocol):
    """What these routes need of the hub; every call is made on its loop."""

    def why(self, task: Task) -> Why | None: ...

    async def task(self, task_id: str) -> Task | None: ...

    async def tasks(self) -> list[Task]: ...

    async def history(self, task_id: str) -> list[dict[str, Any]]: ...


def blueprint(view: Tasks, bridge: Bridge) -> Blueprint:
    """Return the routes."""
    api = Blueprint("tasks", __name__, url_prefix="/api")
    answer_errors(api)

    def listed(wanted: Mapping[str, str]) -> Answer:
        limit = min(max(number("limit", LIMIT) or 1, 1), LIMIT_MAX)
        cursor = request.args.get("cursor", "")

        async def read() -> dict[str, Any]:
            found = present.in_order(task for task in await view.tasks() if present.matches(task, wanted))
            page, following = cursors.page(found, cursor, limit)
            shown = [present.task_json(task, view.why(task)) for task in page]
            return {"schema_version": SCHEMA_VERSION, "tasks": shown, "count": len(found), "cursor": following}

        return jsonify(bridge.ask(read))

    @api.get("/tasks")
    @requires(Role.READER)
    @described("Tasks in the order of the queue", {200: answers.TaskList}, query=_FILTERS)
    def tasks() -> Answer:
        return listed({name: value for name, value in request.args.items() if name not in _PAGE})

    @api.get("/tasks/dead-letter")
    @requires(Role.READER)
    @described("Tasks that ended without success", {200: answers.TaskList}, query=_PAGE)
    def dead_letter() -> Answer:
        return listed({"status": present.DEAD_LETTER})

    @api.get("/tasks/stats")
    @requires(Role.READER)
    @described("How many tasks there are", {200: answers.TaskCounts})
    def stats() -> Answer:
        async def read() -> Iterable[Task]:
            return await view.tasks()

        return jsonify(present.counts_json(bridge.ask(read)))

    @api.get("/tasks/<task_id>")
    @requires(Role.READER)
    @described("One task and its history; the ETag is its revision", {200: answers.TaskShown})
    def task(task_id: str) -> Answer:
        async def read() -> dict[str, Any] | None:
            found = await view.task(task_id)
            if found is None or found.status.deleted:
                return None
            return {
                "schema_version": SCHEMA_VERSION,
                **present.task_json(found, view.why(found)),
                "history": await view.history(task_id),
            }

        shown = bridge.ask(read)
        if shown is None:
            return jsonify(error="task_not_found", task_id=task_id, hint="there is no such task"), 404
        answer = jsonify(shown)
        answer.set_etag(shown["revision"])
        return answer

    return api

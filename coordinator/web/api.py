"""The HTTP API in Flask: views of tasks and agents, and the one word "look now" (PROTOCOL 2).

Handlers are short, run in worker threads and never touch the hub's memory: they ask its loop, with a time limit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import TimeoutError as Late
from typing import Any, Protocol, TypeVar

from flask import Blueprint, Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from coordinator.core.agent import Role
from coordinator.core.scheduler import Why
from coordinator.core.task import Task
from coordinator.core.timers import Now
from coordinator.web import present
from coordinator.web.access import requires
from coordinator.web.auth import Doorkeeper, Principal

T = TypeVar("T")

#: How long a handler waits for the hub's loop, in seconds.
PATIENCE = 5.0
#: Largest body that is read, in bytes (DESIGN 2, limits).
BODY_BYTES = 512 * 1024
LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
SCHEMA_VERSION = 1
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
}


class View(Protocol):
    """What the API needs of the hub; every call is made on the hub's loop."""

    def now(self) -> Now: ...

    def why(self, task: Task) -> Why | None: ...

    async def task(self, task_id: str) -> Task | None: ...

    async def tasks(self) -> list[Task]: ...

    async def history(self, task_id: str) -> list[dict[str, Any]]: ...

    def agents(self) -> list[dict[str, Any]]: ...

    async def look_at_work_tree(self) -> None: ...

    async def reconcile(self) -> dict[str, Any]: ...

    def summary(self) -> dict[str, Any]: ...

    def problem_list(self) -> list[dict[str, Any]]: ...


class Bridge:
    """Runs coroutines of the hub's loop from worker threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def ask(self, make: Callable[[], Awaitable[T]]) -> T:
        """Return what a coroutine gives. Raises Late when the loop is too busy."""

        async def run() -> T:
            return await make()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE)


def make_app(view: View, door: Doorkeeper, bridge: Bridge, more: Iterable[Blueprint] = ()) -> Flask:
    """Return the Flask application: its own routes and those of ``more``."""
    app = Flask("agentcom", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider has it
    for blueprint in (_blueprint(view, bridge), *more):
        app.register_blueprint(blueprint)

    @app.before_request
    def authorize() -> tuple[Response, int] | None:
        if not request.path.startswith("/api/"):
            return None
        header = request.headers.get("Authorization")

        async def check() -> Principal | None:
            return door.bearer(header, view.now().wall)

        g.principal = bridge.ask(check)
        if g.principal is None:
            hint = (
                "send `Authorization: Bearer TOKEN`; on the hub's machine the admin token stands in the git directory"
            )
            return jsonify(error="unauthorized", hint=hint), 401
        return None

    @app.after_request
    def harden(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> tuple[Response, int]:
        code = error.code or 500
        return jsonify(error={404: "not_found", 405: "method_not_allowed"}.get(code, error.name.lower())), code

    @app.errorhandler(Late)
    def late(_error: Exception) -> tuple[Response, int, dict[str, str]]:
        return jsonify(error="unavailable", hint="the hub is busy; try again"), 503, {"Retry-After": "1"}

    return app


def _blueprint(view: View, bridge: Bridge) -> Blueprint:
    api = Blueprint("api", __name__, url_prefix="/api")

    @api.get("/tasks")
    def tasks() -> tuple[Response, int] | Response:
        limit = _number("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)
        cursor = _number("cursor", 0, 0, 10**9)
        if limit is None or cursor is None:
            return jsonify(error="malformed", hint="limit and cursor are whole numbers"), 400
        wanted = {name: value for name, value in request.args.items() if name not in ("limit", "cursor")}

        async def read() -> dict[str, Any]:
            found = present.in_order(task for task in await view.tasks() if present.matches(task, wanted))
            page = found[cursor : cursor + limit]
            following = cursor + limit if len(found) > cursor + limit else None
            return {
                "schema_version": SCHEMA_VERSION,
                "tasks": [present.task_json(task, view.why(task)) for task in page],
                "count": len(found),
                "cursor": following,
            }

        return jsonify(bridge.ask(read))

    @api.get("/tasks/<task_id>")
    def task(task_id: str) -> tuple[Response, int] | Response:
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
        return (jsonify(error="task_not_found", task_id=task_id), 404) if shown is None else jsonify(shown)

    @api.get("/agents")
    def agents() -> Response:
        async def read() -> dict[str, Any]:
            return {"schema_version": SCHEMA_VERSION, "agents": view.agents()}

        return jsonify(bridge.ask(read))

    @api.get("/problems")
    def problems() -> Response:
        async def read() -> dict[str, Any]:
            return {"schema_version": SCHEMA_VERSION, "problems": view.problem_list()}

        return jsonify(bridge.ask(read))

    @api.get("/status")
    def status() -> Response:
        async def read() -> dict[str, Any]:
            await view.look_at_work_tree()
            return {"schema_version": SCHEMA_VERSION, **view.summary()}

        return jsonify(bridge.ask(read))

    @api.post("/reconcile")
    @requires(Role.COORDINATOR)
    def reconcile() -> Response:
        async def look() -> dict[str, Any]:
            return {"schema_version": SCHEMA_VERSION, **await view.reconcile()}

        return jsonify(bridge.ask(look))

    return api


def _number(name: str, default: int, least: int, most: int) -> int | None:
    text = request.args.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    return min(max(int(text), least), most)

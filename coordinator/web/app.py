"""The Flask application: who asks, what they may, how errors read, and the bridge to the hub's loop.

Bodies are whole and within bounds when they come here, and the port dresses every answer. Views are short, run in
worker threads and never touch the hub's memory: they ask its loop, with a time limit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import TimeoutError as Late
from typing import TypeVar

from flask import Blueprint, Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from coordinator.core.timers import Now
from coordinator.web.access import rule_of, undeclared
from coordinator.web.auth import Doorkeeper, Principal
from coordinator.web.intake import BODY_BYTES

T = TypeVar("T")

#: How long a view waits for the hub's loop, in seconds.
PATIENCE = 5.0
SCHEMA_VERSION = 1


class Bridge:
    """Runs coroutines of the hub's loop from worker threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def ask(self, make: Callable[[], Awaitable[T]]) -> T:
        """Return what a coroutine gives. Raises Late when the loop is too busy."""

        async def run() -> T:
            return await make()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE)


def make_app(door: Doorkeeper, now: Callable[[], Now], bridge: Bridge, routes: Iterable[Blueprint]) -> Flask:
    """Return the application with these routes. Raises Bug when one of them does not say who may use it."""
    app = Flask("agentcom", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider has it
    for blueprint in routes:
        app.register_blueprint(blueprint)
    undeclared(app)

    @app.before_request
    def authenticate() -> tuple[Response, int] | None:
        rule = rule_of(app.view_functions.get(request.endpoint or ""))
        if not request.path.startswith("/api/") or (rule is not None and rule.public):
            return None
        header = request.headers.get("Authorization")

        async def check() -> Principal | None:
            return door.bearer(header, now().wall)

        g.principal = bridge.ask(check)
        if g.principal is None:
            hint = (
                "send `Authorization: Bearer TOKEN`; on the hub's machine the admin token stands in the git directory"
            )
            return jsonify(error="unauthorized", hint=hint), 401
        return None

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> tuple[Response, int]:
        code = error.code or 500
        return jsonify(error={404: "not_found", 405: "method_not_allowed"}.get(code, error.name.lower())), code

    @app.errorhandler(Late)
    def late(_error: Exception) -> tuple[Response, int, dict[str, str]]:
        return jsonify(error="unavailable", hint="the hub is busy; try again"), 503, {"Retry-After": "1"}

    return app

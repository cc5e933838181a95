"""The Flask application: who asks, what they may, how errors read, and the bridge to the hub's loop.

Bodies are whole and within bounds when they come here, and the port dresses every answer. Views are short, run in
worker threads and never touch the hub's memory: they ask its loop, with a time limit.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import TimeoutError as Late
from typing import TypeVar

from flask import Blueprint, Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from coordinator.core.timers import Now
from coordinator.web.access import rule_of, undeclared
from coordinator.web.auth import Doorkeeper, Guest, Principal, bearer_token, digest
from coordinator.web.intake import BODY_BYTES
from coordinator.web.limits import Failures

T = TypeVar("T")

#: How long a view waits for the hub's loop, in seconds.
PATIENCE = 5.0
SCHEMA_VERSION = 1
#: Below these paths nobody without a token learns what there is.
_GUARDED = ("/api/", "/admin/")
_WHO = "send `Authorization: Bearer TOKEN`; on the hub's machine the admin token stands in the git directory"


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

    failures = Failures()

    @app.before_request
    def authenticate() -> tuple[Response, int] | tuple[Response, int, dict[str, str]] | None:
        rule = rule_of(app.view_functions.get(request.endpoint or ""))
        if rule is not None and rule.public:
            return None
        if rule is None and not request.path.startswith(_GUARDED):
            return None  # there is nothing there, for whoever asks
        header, address = request.headers.get("Authorization"), request.remote_addr or ""

        async def check() -> tuple[Principal | Guest | None, float]:
            at, token = now(), bearer_token(header)
            who = door.bearer(header, at.wall)
            wait = 0.0 if who is not None or token is None else failures.over(address, digest(token), at.mono)
            return who, wait

        g.principal, wait = bridge.ask(check)
        if wait:
            again = {"Retry-After": str(math.ceil(wait))}
            return jsonify(error="rate_limited", hint="too many wrong tokens; wait, and send a right one"), 429, again
        return None if g.principal is not None else (jsonify(error="unauthorized", hint=_WHO), 401)

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> tuple[Response, int]:
        code = error.code or 500
        return jsonify(error={404: "not_found", 405: "method_not_allowed"}.get(code, error.name.lower())), code

    @app.errorhandler(Late)
    def late(_error: Exception) -> tuple[Response, int, dict[str, str]]:
        return jsonify(error="unavailable", hint="the hub is busy; try again"), 503, {"Retry-After": "1"}

    return app

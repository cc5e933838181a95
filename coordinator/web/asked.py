"""What an HTTP request asks: its body by a model, numbers in its query, and how a wrong one is answered (PROTOCOL 2).

It knows shapes only; what the request means is the view's business.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import TimeoutError as Late
from typing import Any, TypeVar

from flask import Blueprint, Response, g, jsonify, request
from pydantic import BaseModel, ValidationError

from coordinator.core.agent import Role
from coordinator.web.app import Bridge
from coordinator.web.auth import Principal
from coordinator.web.mail.letters import Declined, Unavailable, new_id
from coordinator.wire import plain

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

#: Who the admin of this machine is in messages.
ADMIN = "admin"
#: Numbers that a database can hold; larger ones are taken for the largest.
LARGEST = 2**63 - 1
_STATUS = {
    "channel_not_found": 404,
    "channel_exists": 409,
    "agent_not_found": 404,
    "agent_exists": 409,
    "written_in_a_file": 409,
    "superseded": 409,
}
_TRY_AGAIN = {"Retry-After": "1"}


class Wrong(Exception):
    """The request cannot be understood; ``body`` and ``status`` are the answer."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status, self.body = status, body
        super().__init__(str(body))


class Mistaken(Wrong):
    """Fields of the body cannot be kept as they are: for each its name, what is wrong, and what to do."""

    def __init__(self, mistakes: Iterable[tuple[str, str, str]], names: Mapping[str, str] | None = None) -> None:
        """``names`` maps fields to what the body calls them."""
        self.mistakes = tuple(mistakes)
        called = {} if names is None else names
        errors = [
            {"field": called.get(field, field), "error": "not_allowed", "detail": ", ".join(filter(None, (what, hint)))}
            for field, what, hint in self.mistakes
        ]
        super().__init__(422, {"error": "validation_failed", "errors": errors})


def body(model: type[M], *, optional: bool = False) -> M:
    """Return the body of the request; one that is ``optional`` may be missing.

    Raises Wrong: 400 without JSON or a needed field, 422 for wrong values.
    """
    data = request.get_data()
    try:
        said = {} if optional and not data.strip() else plain.read_flat(data)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        hint = f"the body must be one JSON object, at most {plain.MAX_DEPTH} levels deep"
        raise Wrong(400, {"error": "malformed", "hint": hint})
    for name, field in model.model_fields.items():
        if field.is_required() and said.get(name) is None:
            raise Wrong(400, {"error": f"missing required field: {name}"})
    try:
        return model.model_validate(said)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)[:20]
        errors = [
            {"field": ".".join(map(str, one["loc"])), "error": str(one["type"]), "detail": str(one["msg"])}
            for one in mistakes
        ]
        no_number = any(one["type"].startswith("int_") for one in mistakes)
        code = "malformed" if no_number else "validation_failed"
        raise Wrong(400 if no_number else 422, {"error": code, "errors": errors}) from None


def number(name: str, default: int | None = None) -> int | None:
    """Return a whole number of the query. Raises Wrong when it is none."""
    text = request.args.get(name)
    if text is None or text == "":
        return default
    digits = text[1:] if text.startswith("-") else text
    if not digits.isascii() or not digits.isdigit() or len(digits) > 100:
        raise Wrong(400, {"error": "malformed", "hint": f"{name} must be a whole number"})
    return max(-LARGEST, min(LARGEST, int(text)))


def caller() -> str:
    """Return who asks, as a sender is named; not for routes that are open to guests."""
    principal: Principal = g.principal
    return principal.agent or ADMIN


def eyes() -> str | None:
    """Return whose mail alone the caller may see; None when it may see all."""
    principal: Principal = g.principal
    return principal.agent if principal.role in (Role.AGENT, Role.READER) else None


def written(bridge: Bridge, where: str, write: Callable[[str], Awaitable[T]]) -> T:
    """Return what a write under a new id says; one id for one Idempotency-Key.

    Raises Wrong when it does not become durable in time: with the id, under which it may still come to be.
    """
    made = new_id(caller(), request.headers.get("Idempotency-Key"), where)
    try:
        return bridge.ask(lambda: write(made))
    except Late:
        hint = "it may still be kept: ask with the same Idempotency-Key"
        raise Wrong(503, {"error": "unavailable", "id": made, "hint": hint}) from None


def answer_errors(blueprint: Blueprint) -> None:
    """Let a blueprint answer what its views raise: Wrong, Declined, Unavailable."""

    @blueprint.errorhandler(Wrong)
    def wrong(error: Wrong) -> tuple[Response, int, dict[str, str]]:
        return jsonify(error.body), error.status, _TRY_AGAIN if error.status == 503 else {}

    @blueprint.errorhandler(Declined)
    def declined(error: Declined) -> tuple[Response, int]:
        if error.code == "unknown_recipient":
            return jsonify(status="failed", error=error.code), 422
        said: dict[str, Any] = {"error": error.code, "hint": error.detail}
        if error.field:
            said["errors"] = [{"field": error.field, "error": error.code, "detail": error.detail}]
        return jsonify(said), _STATUS.get(error.code, 422)

    @blueprint.errorhandler(Unavailable)
    def unavailable(error: Unavailable) -> tuple[Response, int, dict[str, str]]:
        return jsonify(error="unavailable", hint=str(error)), 503, _TRY_AGAIN

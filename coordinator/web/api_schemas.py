"""What the hub speaks, for programs: every frame, every body and every route (PROTOCOL 2). Open to everybody."""

from typing import Any

from flask import Blueprint, Response, current_app, jsonify
from pydantic import BaseModel, TypeAdapter

from coordinator.web.access import public
from coordinator.web.app import SCHEMA_VERSION
from coordinator.web.described import described, document
from coordinator.wire import answers, bodies, frames


def blueprint(version: str) -> Blueprint:
    """Return the routes; ``version`` is the hub's."""
    api = Blueprint("schemas", __name__)

    @api.get("/openapi.json")
    @public
    @described("This document", {200: answers.Answer})
    def openapi() -> Response:
        return jsonify(document(current_app, version))

    @api.get("/api/schemas")
    @public
    @described("JSON Schemas of all frames, bodies and answers", {200: answers.Schemas})
    def schemas() -> Response:
        return jsonify(
            schema_version=SCHEMA_VERSION,
            protocol_version=frames.PROTOCOL_VERSION,
            frames={"to_hub": _schema(frames.to_hub), "to_sidecar": _schema(frames.to_sidecar)},
            bodies=_all(bodies.Body),
            answers=_all(answers.Answer),
        )

    return api


def _schema(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    return adapter.json_schema()


def _all(base: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of every model below ``base``, by name."""
    found: dict[str, Any] = {}
    waiting = list(base.__subclasses__())
    while waiting:
        model = waiting.pop()
        found[model.__name__] = model.model_json_schema()
        waiting += model.__subclasses__()
    return dict(sorted(found.items()))

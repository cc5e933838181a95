"""What each route takes and gives, declared beside it, and the OpenAPI 3.1 document of all routes (PROTOCOL 2).

Only what somebody can see from outside stands here: models of ``coordinator.wire``, roles, status numbers. What follows
from how every route works (401, 403, 413, 503 ...) is added to each; a view names what is its own.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from coordinator.core.agent import Role
from coordinator.web.access import Rule, declared
from coordinator.wire import answers

V = TypeVar("V", bound=Callable[..., Any])

#: The form of a query parameter that is a whole number, and of one that is a text.
INTEGER: Mapping[str, Any] = {"type": "integer"}
TEXT: Mapping[str, Any] = {"type": "string"}
_REF = "#/components/schemas/{model}"
_PART = re.compile(r"<(?:[a-z]+:)?([a-z_]+)>")
_PHRASES = {
    200: "Done",
    201: "Made",
    202: "Taken in",
    204: "Done, nothing to say",
    400: "The request cannot be understood",
    401: "No token, or one that opens nothing",
    403: "This token may not",
    404: "There is no such thing",
    409: "Not as things stand",
    412: "It was changed since",
    413: "Too large",
    415: "Not JSON",
    422: "Understood and refused",
    428: "Say what you saw: If-Match",
    429: "Too often; see Retry-After",
    503: "Not now; see Retry-After",
}


@dataclass(frozen=True, slots=True)
class Described:
    """One route: what it is for, in a few words, what it reads, and what it answers besides the common refusals.

    ``answers`` maps a status number to a model, a list of one model, or None for an answer without a body. ``headers``
    are request headers that mean something here.
    """

    summary: str
    answers: Mapping[int, type[BaseModel] | tuple[type[BaseModel]] | None]
    takes: type[BaseModel] | None = None
    needs_body: bool = True
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


def described(
    summary: str,
    answers: Mapping[int, type[BaseModel] | tuple[type[BaseModel]] | None],
    *,
    takes: type[BaseModel] | None = None,
    needs_body: bool = True,
    query: Mapping[str, Mapping[str, Any]] | None = None,
    headers: tuple[str, ...] = (),
) -> Callable[[V], V]:
    """Declare what a Flask view is for, takes and gives; see ``Described``."""
    about = Described(summary, answers, takes, needs_body, query or {}, headers)

    def declare(view: V) -> V:
        view.about = about  # type: ignore[attr-defined]
        return view

    return declare


def for_people(view: V) -> V:
    """Declare that a Flask view answers people with a page: it is no part of the API."""
    view.for_people = True  # type: ignore[attr-defined]
    return view


def document(app: Flask, version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of an application's routes. Raises ValueError for one that is not described."""
    routes = list(_routes(app))
    models = {model for _, _, _, about in routes for model in _models(about)}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for method, path, rule, about in routes:
        paths.setdefault(_PART.sub(r"{\1}", path), {})[method.lower()] = _operation(method, path, rule, about)
    return {
        "openapi": "3.1.0",
        "info": {"title": "AgentCom", "version": version, "description": "The HTTP API of an AgentCom hub."},
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _routes(app: Flask) -> Iterator[tuple[str, str, Rule, Described]]:
    for method, path, rule, view in declared(app):
        if getattr(view, "for_people", False):
            continue
        about = getattr(view, "about", None)
        if rule is None or about is None:
            raise ValueError(f"{method} {path} is not described")
        yield method, path, rule, about


def _models(about: Described) -> set[type[BaseModel]]:
    given = {one[0] if isinstance(one, tuple) else one for one in about.answers.values() if one is not None}
    return {*given, answers.Problem, answers.Unavailable, *([about.takes] if about.takes else [])}


def _operation(method: str, path: str, rule: Rule, about: Described) -> dict[str, Any]:
    parts = _PART.findall(path)
    said: dict[str, Any] = {
        "operationId": re.sub(r"[^a-z0-9]+", "_", f"{method} {path}".lower()).strip("_"),
        "summary": about.summary,
        "tags": [_tag(path)],
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parts),
            *({"name": name, "in": "query", "schema": dict(shape)} for name, shape in about.query.items()),
            *({"name": name, "in": "header", "schema": {"type": "string"}} for name in about.headers),
        ],
        "responses": {},
    }
    if not rule.public:
        said |= {"security": [{"token": []}], "x-role": rule.word}
    if about.takes is not None:
        said["requestBody"] = {"required": about.needs_body, "content": _json(about.takes)}
    given = {**_refusals(rule, about, parts=bool(parts)), **about.answers}
    for status in sorted(given):
        answer: dict[str, Any] = {"description": _PHRASES[status]}
        if (model := given[status]) is not None:
            answer["content"] = _json(model)
        said["responses"][str(status)] = answer
    return said


def _refusals(rule: Rule, about: Described, *, parts: bool) -> dict[int, type[BaseModel]]:
    """Return what a route may answer that no view says: it follows from its role, its query and its body."""
    also: set[int] = set()
    if not rule.public:
        also |= {401, 429}
    if rule.role is not Role.READER and not rule.public:
        also.add(403)
    if about.query or about.takes:
        also.add(400)
    if about.takes:
        also |= {413, 415, 422}
    if parts:
        also.add(404)
    return {**dict.fromkeys(also, answers.Problem), 503: answers.Unavailable}


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    return parts[1] if parts[0] == "api" and len(parts) > 1 else parts[0]


def _json(model: type[BaseModel] | tuple[type[BaseModel]]) -> dict[str, Any]:
    if isinstance(model, tuple):
        shape: dict[str, Any] = {"type": "array", "items": {"$ref": _REF.format(model=model[0].__name__)}}
    else:
        shape = {"$ref": _REF.format(model=model.__name__)}
    return {"application/json": {"schema": shape}}

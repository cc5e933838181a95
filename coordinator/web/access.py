"""Who may do what: the role that each route and each frame needs, declared beside it, and how a refusal reads.

One ladder: admin > coordinator > agent > reader (PROTOCOL 2). A view that declares nothing has no ``needs`` and is a
mistake that a test finds by walking ``declared``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import wraps
from typing import Any, ParamSpec

from flask import Flask, g, jsonify
from flask.typing import ResponseReturnValue

from coordinator.core.agent import Role
from coordinator.web.auth import Principal

P = ParamSpec("P")


class Need(IntEnum):
    """What a principal must at least be."""

    READER = 1
    AGENT = 2
    COORDINATOR = 3
    ADMIN = 4


_RANK: Mapping[Role, Need] = {
    Role.READER: Need.READER,
    Role.AGENT: Need.AGENT,
    Role.COORDINATOR: Need.COORDINATOR,
}

#: What each frame of PROTOCOL 1.5 needs; frames about tasks are bound to their owner by the core.
FRAMES: Mapping[str, Need] = {
    "message": Need.AGENT,
    "status": Need.AGENT,
    "list_agents": Need.READER,
    "list_channels": Need.READER,
    "channel_subscribe": Need.AGENT,
    "channel_unsubscribe": Need.AGENT,
    "channel_publish": Need.AGENT,
    "channel_history": Need.READER,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route needs. ``own`` names the part of its path that must be the caller itself; the admin may anyway."""

    need: Need
    own: str | None = None


def rank(role: Role | None) -> Need:
    """Return where a role stands on the ladder; None is the admin of this machine."""
    return Need.ADMIN if role is None else _RANK[role]


def permits(rule: Rule, principal: Principal, parts: Mapping[str, Any]) -> bool:
    """Tell whether a principal may use a route with these parts of its path."""
    if rank(principal.role) < rule.need:
        return False
    return rule.own is None or principal.admin or parts.get(rule.own) == principal.agent


def requires(
    need: Need, *, own: str | None = None
) -> Callable[[Callable[P, ResponseReturnValue]], Callable[P, ResponseReturnValue]]:
    """Declare what a Flask view needs: others get 403. ``g.principal`` is who asks."""
    rule = Rule(need, own)

    def declare(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if not permits(rule, g.principal, kwargs):
                return forbidden(rule)
            return view(*args, **kwargs)

        guarded.needs = rule  # type: ignore[attr-defined]
        return guarded

    return declare


def forbidden(rule: Rule) -> ResponseReturnValue:
    """Return the answer to somebody who may not."""
    hint = f"this needs the role {rule.need.name.lower()}"
    if rule.own is not None:
        hint += "; an agent may do it for itself alone"
    return jsonify(error="forbidden", hint=hint), 403


def declared(app: Flask) -> Iterator[tuple[str, str, Rule | None]]:
    """Yield method, path and rule of every route; the rule is None where nothing is declared."""
    for route in app.url_map.iter_rules():
        view = app.view_functions[route.endpoint]
        for method in sorted((route.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, route.rule, getattr(view, "needs", None)

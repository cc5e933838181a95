"""Who may do what: the role that each route and each frame needs, declared beside it, and how a refusal reads.

One ladder: admin > coordinator > agent > reader (PROTOCOL 2). A view that declares nothing has no ``needs``, and no
application is made of it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from flask import Flask, g, jsonify
from flask.typing import ResponseReturnValue

from coordinator.core.agent import Role
from coordinator.core.errors import Bug
from coordinator.web.auth import Guest, Principal

P = ParamSpec("P")
V = TypeVar("V", bound=Callable[..., Any])


#: What each frame of PROTOCOL 1.5 needs; frames about tasks are bound to their owner by the core.
FRAMES: Mapping[str, Role] = {
    "message": Role.AGENT,
    "status": Role.AGENT,
    "list_agents": Role.READER,
    "list_channels": Role.READER,
    "channel_subscribe": Role.AGENT,
    "channel_unsubscribe": Role.AGENT,
    "channel_publish": Role.AGENT,
    "channel_history": Role.READER,
}


#: Frames in which a session speaks of itself: they take no role.
OF_ITSELF = frozenset({"identify", "ping", "wake_result", "agent_restarting", "resource_report", "ollama_report"})


def frame_word(kind: str) -> str:
    """Return what a frame to the hub takes, as people call it. Raises KeyError for one that nobody thought of."""
    if kind in OF_ITSELF:
        return "-"
    if kind.startswith("task_") or kind == "state_report":
        return "owner of the task"
    return str(FRAMES[kind])


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route needs: at least this role, None for the admin alone.

    ``own`` names the part of its path that must be the caller itself; the admin may anyway. ``guests``: an invite is
    enough. ``public``: nobody is asked who they are.
    """

    role: Role | None
    own: str | None = None
    guests: bool = False
    public: bool = False

    @property
    def word(self) -> str:
        """What people call it: the role, and who else."""
        if self.public:
            return "-"
        word = "admin" if self.role is None else str(self.role)
        return word + (", itself" if self.own else "") + (", or an invite" if self.guests else "")


def permits(rule: Rule, principal: Principal | Guest, parts: Mapping[str, Any]) -> bool:
    """Tell whether a principal may use a route with these parts of its path."""
    if isinstance(principal, Guest):
        return rule.guests
    if principal.admin:
        return True
    if rule.role is None or not principal.may(rule.role):
        return False
    return rule.own is None or parts.get(rule.own) == principal.agent


def requires(
    role: Role | None, *, own: str | None = None, guests: bool = False
) -> Callable[[Callable[P, ResponseReturnValue]], Callable[P, ResponseReturnValue]]:
    """Declare what a Flask view needs, None for the admin alone: others get 403. ``g.principal`` is who asks."""
    rule = Rule(role, own, guests)

    def declare(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if not permits(rule, g.principal, kwargs):
                return forbidden(rule)
            return view(*args, **kwargs)

        guarded.needs = rule  # type: ignore[attr-defined]
        return guarded

    return declare


def public(view: V) -> V:
    """Declare that a Flask view is open to everybody: it is asked without a token."""
    view.needs = Rule(Role.READER, public=True)  # type: ignore[attr-defined]
    return view


def rule_of(view: Callable[..., Any] | None) -> Rule | None:
    """Return what a view declares, None when it declares nothing."""
    rule: Rule | None = getattr(view, "needs", None)
    return rule


def forbidden(rule: Rule) -> ResponseReturnValue:
    """Return the answer to somebody who may not."""
    hint = "this takes the admin's token"
    if rule.role is not None:
        hint = f"this takes a token of the role {rule.role}, or the admin's"
    if rule.own is not None:
        hint += "; an agent may do it for itself alone"
    return jsonify(error="forbidden", hint=hint), 403


def declared(app: Flask) -> Iterator[tuple[str, str, Rule | None, Callable[..., Any]]]:
    """Yield method, path, rule and view of every route; the rule is None where nothing is declared."""
    for route in app.url_map.iter_rules():
        view = app.view_functions[route.endpoint]
        for method in sorted((route.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, route.rule, rule_of(view), view


def undeclared(app: Flask) -> None:
    """Make sure that every route says who may use it. Raises Bug, naming one that does not."""
    for method, path, rule, _ in declared(app):
        if rule is None:
            raise Bug(f"{method} {path} does not say who may use it")

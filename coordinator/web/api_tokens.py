"""Tokens, invites and the onboarding of agents over HTTP (PROTOCOL 2). A token is shown once and never again."""

from typing import Any, Protocol

from flask import Blueprint, Response, g, jsonify, request

from coordinator.core.events import Actor
from coordinator.web.access import requires
from coordinator.web.app import Bridge
from coordinator.web.asked import Wrong, answer_errors, body
from coordinator.web.auth import Guest
from coordinator.web.described import described
from coordinator.wire import answers
from coordinator.wire.bodies import AgentBody, InviteBody, RegisterBody, TokenBody

Answer = Response | tuple[Response, int]


class Registry(Protocol):
    """Who hands out tokens; every call is made on the hub's loop, raises Declined, and returns what is durable.

    The same ``key`` of the same caller gives the same answer again, for a while.
    """

    async def issue(
        self, said: AgentBody, by: Actor, key: str | None, *, role: str | None, grace: str | int | None
    ) -> dict[str, Any]: ...

    async def register(self, said: AgentBody, by: Actor, key: str | None, *, invite: str | None) -> dict[str, Any]: ...

    async def invite(
        self, agent_id: str, by: Actor, key: str | None, *, expires: str | int | None
    ) -> dict[str, Any]: ...

    async def revoke(self, agent_id: str, by: Actor) -> None: ...

    def tokens(self) -> list[dict[str, Any]]: ...


def blueprint(registry: Registry, bridge: Bridge) -> Blueprint:
    """Return the routes."""
    api = Blueprint("tokens", __name__)
    answer_errors(api)

    @api.post("/admin/tokens")
    @requires(None)
    @described(
        "Issue a token; the agent is made if nobody wrote it",
        {201: answers.TokenIssued, 409: answers.Problem},
        takes=TokenBody,
        headers=("Idempotency-Key",),
    )
    def issue() -> Answer:
        said, by, key = body(TokenBody), g.principal.actor, _key()
        return jsonify(bridge.ask(lambda: registry.issue(said, by, key, role=said.role, grace=said.grace))), 201

    @api.get("/admin/tokens")
    @requires(None)
    @described("The tokens that open the door now, by their beginnings", {200: answers.Tokens})
    def tokens() -> Answer:
        async def read() -> list[dict[str, Any]]:
            return registry.tokens()

        return jsonify(tokens=bridge.ask(read))

    @api.delete("/admin/tokens/<agent_id>")
    @requires(None)
    @described("Revoke all tokens and invites of an agent", {200: answers.TokensRevoked})
    def revoke(agent_id: str) -> Answer:
        by = g.principal.actor
        bridge.ask(lambda: registry.revoke(agent_id, by))
        return jsonify(status="revoked", agent_id=agent_id)

    @api.post("/admin/invites")
    @requires(None)
    @described(
        "Invite somebody to register one agent, once",
        {201: answers.Invited},
        takes=InviteBody,
        headers=("Idempotency-Key",),
    )
    def invite() -> Answer:
        said, by, key = body(InviteBody), g.principal.actor, _key()
        return jsonify(bridge.ask(lambda: registry.invite(said.agent_id, by, key, expires=said.expires))), 201

    @api.post("/api/onboard/register")
    @requires(None, guests=True)
    @described(
        "Register an agent: its token, where to connect, a first task",
        {201: answers.Registered, 409: answers.Problem},
        takes=RegisterBody,
        headers=("Idempotency-Key",),
    )
    def register() -> Answer:
        said, who, key = body(RegisterBody), g.principal, _key()
        guest = who if isinstance(who, Guest) else None
        if guest is not None and guest.agent != said.agent_id:
            raise Wrong(403, {"error": "forbidden", "hint": f"this invite is for {guest.agent}"})
        invite = guest.invite if guest else None
        made = bridge.ask(lambda: registry.register(said, who.actor, key, invite=invite))
        here = request.host_url.rstrip("/")
        return jsonify(made | {"hub_ws_url": f"{here.replace('http', 'ws', 1)}/ws", "hub_api_url": here}), 201

    return api


def _key() -> str | None:
    return request.headers.get("Idempotency-Key")

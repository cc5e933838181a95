"""Channels over HTTP (PROTOCOL 2.1): what is posted there everybody may read."""

from flask import Blueprint, Response, g, jsonify

from coordinator.core.agent import Role
from coordinator.web.access import requires
from coordinator.web.app import Bridge
from coordinator.web.asked import Wrong, answer_errors, body, caller, number, written
from coordinator.web.described import INTEGER, described
from coordinator.web.mail.letters import channel_json, post_json
from coordinator.web.postroom import LIMIT, Postroom
from coordinator.wire import answers
from coordinator.wire.bodies import ChannelBody, PublishBody

Answer = Response | tuple[Response, int]


def blueprint(postroom: Postroom, bridge: Bridge) -> Blueprint:
    """Return the routes."""
    api = Blueprint("channels", __name__, url_prefix="/api")
    answer_errors(api)

    @api.get("/channels")
    @requires(Role.READER)
    @described("All channels", {200: answers.Channels})
    def channels() -> Answer:
        return jsonify(channels=[channel_json(channel) for channel in bridge.ask(postroom.channels)])

    @api.post("/channels")
    @requires(Role.AGENT)
    @described("Make a channel", {201: answers.ChannelCreated, 409: answers.Problem}, takes=ChannelBody)
    def create() -> Answer:
        said, maker = body(ChannelBody), caller()
        name = bridge.ask(lambda: postroom.create(said.name, said.description, maker))
        return jsonify(status="created", channel=name), 201

    @api.get("/channels/<channel>")
    @requires(Role.READER)
    @described("One channel", {200: answers.Channel})
    def show(channel: str) -> Answer:
        return jsonify(channel_json(bridge.ask(lambda: postroom.channel(channel)), whole=True))

    @api.post("/channels/<channel>/subscribe")
    @requires(Role.AGENT)
    @described("Get the posts of a channel as mail", {200: answers.Subscribed})
    def subscribe(channel: str) -> Answer:
        agent_id = _reader()
        name, new = bridge.ask(lambda: postroom.subscribe(agent_id, channel))
        return jsonify(status="subscribed" if new else "already_subscribed", channel=name)

    @api.post("/channels/<channel>/unsubscribe")
    @requires(Role.AGENT)
    @described("Get them no more", {200: answers.Unsubscribed})
    def unsubscribe(channel: str) -> Answer:
        agent_id = _reader()
        return jsonify(status="unsubscribed", channel=bridge.ask(lambda: postroom.unsubscribe(agent_id, channel)))

    @api.post("/channels/<channel>/publish")
    @requires(Role.AGENT)
    @described("Post to a channel", {200: answers.Published}, takes=PublishBody, headers=("Idempotency-Key",))
    def publish(channel: str) -> Answer:
        said, sender = body(PublishBody), caller()
        sent = written(
            bridge,
            f"channel {channel}",
            lambda made: postroom.publish(sender, channel, said.type, said.payload, said.reply_to, made),
        )
        return jsonify(status="published", seq=sent.channel_seq)

    @api.get("/channels/<channel>/history")
    @requires(Role.READER)
    @described(
        "Posts of a channel, oldest first", {200: answers.ChannelHistory}, query={"since": INTEGER, "limit": INTEGER}
    )
    def history(channel: str) -> Answer:
        since, limit = number("since", 0) or 0, number("limit", LIMIT) or 1
        name, posts = bridge.ask(lambda: postroom.history(channel, since, limit))
        return jsonify(channel=name, messages=[post_json(post) for post in posts], count=len(posts))

    @api.get("/agents/<agent_id>/subscriptions")
    @requires(Role.READER)
    @described("The channels of an agent", {200: answers.Subscriptions})
    def subscriptions(agent_id: str) -> Answer:
        async def read() -> list[str] | None:
            return await postroom.subscriptions(agent_id) if postroom.known(agent_id) else None

        names = bridge.ask(read)
        if names is None:
            return jsonify(error="agent_not_found", agent_id=agent_id), 404
        return jsonify(agent_id=agent_id, channels=names)

    return api


def _reader() -> str:
    """Return the agent that asks. Raises Wrong for the admin, who has no mailbox."""
    agent_id: str | None = g.principal.agent
    if agent_id is None:
        raise Wrong(403, {"error": "forbidden", "hint": "only an agent has a mailbox; use the token of one"})
    return agent_id

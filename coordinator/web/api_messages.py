"""Messages, mailboxes and threads over HTTP (PROTOCOL 2.1). An agent sees its own mail and what everybody may read."""

from typing import Any

from flask import Blueprint, Response, jsonify, request

from coordinator.core.agent import Role
from coordinator.web.access import requires
from coordinator.web.app import Bridge
from coordinator.web.asked import LARGEST, answer_errors, body, caller, eyes, number, written
from coordinator.web.described import INTEGER, TEXT, described
from coordinator.web.mail.letters import Letter, Wanted, channel_name, kept_json, message_json
from coordinator.web.postroom import LIMIT, LIMIT_MAX, Postroom
from coordinator.wire import answers
from coordinator.wire.bodies import AckBody, MessageBody, RetentionBody

Answer = Response | tuple[Response, int]
_FILTERS = {
    **dict.fromkeys(("from", "to", "channel"), TEXT),
    **dict.fromkeys(("start_time", "end_time", "cursor", "limit"), INTEGER),
}


def blueprint(postroom: Postroom, bridge: Bridge) -> Blueprint:
    """Return the routes."""
    api = Blueprint("messages", __name__, url_prefix="/api")
    answer_errors(api)

    @api.post("/message")
    @requires(Role.AGENT)
    @described(
        "Send a message to an agent, or to all",
        {200: answers.MessageSent, 422: answers.Problem},
        takes=MessageBody,
        headers=("Idempotency-Key",),
    )
    def send() -> Answer:
        said, sender = body(MessageBody), caller()
        sent = written(
            bridge,
            "message",
            lambda made: postroom.send(sender, said.to, said.type, said.payload, said.reply_to, made),
        )
        return jsonify(status="sent", id=sent)

    @api.get("/mailbox/<agent_id>")
    @requires(Role.AGENT, own="agent_id")
    @described("The mail of an agent", {200: answers.Mailbox}, query={"since": INTEGER})
    def mailbox(agent_id: str) -> Answer:
        since = number("since", 0) or 0

        async def read() -> list[Letter] | None:
            return await postroom.mailbox(agent_id, since) if postroom.known(agent_id) else None

        letters = bridge.ask(read)
        if letters is None:
            return _no_agent(agent_id)
        last = letters[-1].seq if letters else since
        return jsonify(
            agent_id=agent_id, messages=[kept_json(one) for one in letters], last_seq=last, count=len(letters)
        )

    @api.post("/mailbox/<agent_id>/ack")
    @requires(Role.AGENT, own="agent_id")
    @described("Take mail as read, up to a number", {200: answers.Acked}, takes=AckBody)
    def ack(agent_id: str) -> Answer:
        seq = body(AckBody).seq

        async def take() -> bool:
            if postroom.known(agent_id):
                await postroom.ack(agent_id, max(0, min(seq, LARGEST)))
            return postroom.known(agent_id)

        return jsonify(status="acked", up_to=seq) if bridge.ask(take) else _no_agent(agent_id)

    @api.get("/messages")
    @requires(Role.AGENT)
    @described("Messages, oldest first", {200: answers.Messages}, query=_FILTERS)
    def messages() -> Answer:
        channel = request.args.get("channel")
        wanted = Wanted(
            sender=request.args.get("from"),
            to=request.args.get("to"),
            channel=None if channel is None else channel_name(channel) or "",
            start=number("start_time"),
            end=number("end_time"),
            cursor=number("cursor", 0) or 0,
            limit=min(max(number("limit", LIMIT) or 1, 1), LIMIT_MAX),
            eyes=eyes(),
        )
        letters, cursor = bridge.ask(lambda: postroom.messages(wanted))
        return jsonify(messages=[kept_json(one) for one in letters], cursor=cursor, count=len(letters))

    @api.get("/threads/<message_id>")
    @requires(Role.AGENT)
    @described("A thread from its first message on", {200: answers.Thread})
    def thread(message_id: str) -> Answer:
        seen_by = eyes()
        root, letters = bridge.ask(lambda: postroom.thread(message_id, seen_by))
        return jsonify(root=root, messages=_shown(letters), count=len(letters))

    @api.get("/threads/<message_id>/replies")
    @requires(Role.AGENT)
    @described("The answers to a message", {200: answers.Replies})
    def replies(message_id: str) -> Answer:
        seen_by = eyes()
        letters = bridge.ask(lambda: postroom.replies(message_id, seen_by))
        return jsonify(parent=message_id, replies=_shown(letters), count=len(letters))

    @api.get("/threads/<message_id>/root")
    @requires(Role.AGENT)
    @described("The first message of a thread", {200: answers.Root})
    def root(message_id: str) -> Answer:
        seen_by = eyes()
        return jsonify(message_id=message_id, root=bridge.ask(lambda: postroom.root(message_id, seen_by)))

    @api.get("/config/mailbox-retention")
    @requires(Role.READER)
    @described("How long mail is kept", {200: answers.Retention})
    def retention() -> Answer:
        return jsonify(mailbox_ttl_ms=bridge.ask(postroom.ttl_ms))

    @api.put("/config/mailbox-retention")
    @requires(None)
    @described("Say how long mail is kept", {200: answers.Retention}, takes=RetentionBody)
    def configure() -> Answer:
        ttl_ms = body(RetentionBody).mailbox_ttl_ms
        return jsonify(status="updated", mailbox_ttl_ms=bridge.ask(lambda: postroom.set_ttl_ms(ttl_ms)))

    return api


def _no_agent(agent_id: str) -> Answer:
    return jsonify(error="agent_not_found", agent_id=agent_id), 404


def _shown(letters: list[Letter]) -> list[dict[str, Any]]:
    return [message_json(letter) for letter in letters]

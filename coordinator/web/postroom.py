"""How mail is handed in, whoever brings it: frames, HTTP and the hub itself come together here (PROTOCOL 1.5, 2.1).

It decides who gets a message and who is told of it. Keeping it is the office's business; nothing is pushed or answered
before it is kept.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from coordinator.core.agent import Agent, Role
from coordinator.core.events import Record
from coordinator.core.timers import Now
from coordinator.web.mail.letters import (
    EVERYBODY,
    PAYLOAD_BYTES,
    Channel,
    Declined,
    Draft,
    Letter,
    MailError,
    Sent,
    Volume,
    Wanted,
    channel_name,
    new_id,
    size_of,
)
from coordinator.web.mail.office import Office
from coordinator.web.notices import notice_of
from coordinator.web.presence import Presence
from coordinator.wire import frames, plain

_log = logging.getLogger("agentcom.mail")

#: Who sends what is neither an agent's nor a person's word.
HUB = "hub"
#: At most this many posts or messages are in one answer, and so many unless somebody says otherwise (PROTOCOL 2.1).
LIMIT_MAX = 200
LIMIT = 50


class Postroom:
    """The mail of one hub. All calls on its loop; all but ``notice`` raise Declined and Unavailable."""

    def __init__(self, office: Office, presence: Presence, agents: Mapping[str, Agent], now: Callable[[], Now]) -> None:
        self.presence = presence
        self._office = office
        self._agents = agents
        self._now = now
        self._notices: set[asyncio.Task[None]] = set()

    @property
    def trouble(self) -> str:
        """What is wrong with the mail now, for people; empty when nothing is."""
        return self._office.trouble

    def known(self, agent_id: str) -> bool:
        """Tell whether there is an agent of that id, also one that is disabled; not one whose file is gone."""
        agent = self._agents.get(agent_id)
        return agent is not None and agent.known

    async def close(self) -> None:
        """Keep what was handed in, then give file and thread back."""
        await asyncio.gather(*self._notices)
        await self._office.close()

    # --- messages

    async def send(
        self,
        sender: str,
        to: str | None,
        kind: str,
        payload: Any,
        reply_to: str | None = None,
        message_id: str | None = None,
    ) -> str:
        """Put a message into the mailbox of one agent, or of all but the sender; return its id once it is kept."""
        draft = self._draft(sender, None if to == EVERYBODY else to, kind, payload, reply_to, message_id)
        if draft.to is None:
            readers = [name for name, one in self._agents.items() if not one.spec.disabled and name != sender]
        elif self.known(draft.to):
            readers = [draft.to]
        else:
            raise Declined("unknown_recipient", f"there is no agent {draft.to}")
        sent = await self._office.ask(lambda store: store.send(draft, readers))
        self._pass_on(sent)
        return sent.letter.id

    async def publish(
        self,
        sender: str,
        channel: str,
        kind: str,
        payload: Any,
        reply_to: str | None = None,
        message_id: str | None = None,
    ) -> Letter:
        """Post to a channel; return the letter once it is kept."""
        name = _named(channel)
        draft = self._draft(sender, None, kind, payload, reply_to, message_id)
        sent = await self._office.ask(lambda store: store.publish(draft, name))
        self._pass_on(sent)
        return sent.letter

    def _draft(
        self, sender: str, to: str | None, kind: str, payload: Any, reply_to: str | None, message_id: str | None
    ) -> Draft:
        self.presence.active(sender)
        payload = plain.plain(payload)
        if size_of(payload) > PAYLOAD_BYTES:
            raise Declined("validation_failed", f"the payload is larger than {PAYLOAD_BYTES} bytes", "payload")
        words = [None if word is None else plain.plain_text(word) for word in (kind, reply_to)]
        return Draft(message_id or new_id(), sender, to, words[0] or "", payload, words[1], self._now().wall)

    def _pass_on(self, sent: Sent) -> None:
        """Push a letter to those of its readers who are there and want it."""
        if sent.again:
            return
        letter = sent.letter
        fields = {
            "id": letter.id,
            "from": letter.sender,
            "message_type": letter.kind,
            "payload": letter.payload,
            "reply_to": letter.reply_to,
            "timestamp": letter.at,
        }
        if letter.channel is None:
            self.presence.push(sent.readers, frames.MessagePushed.model_validate(fields))
        else:
            post = frames.ChannelMessage.model_validate({**fields, "channel": letter.channel})
            self.presence.push(sent.readers, post, post=True)

    def notice(self, record: Record) -> None:
        """Write to every coordinator when a task waits for people; a loss of it is logged and harms nothing else."""
        notice = notice_of(record)
        if notice is None:
            return
        kind, payload = notice
        for name, agent in self._agents.items():
            if agent.spec.role is Role.COORDINATOR and not agent.spec.disabled:
                task = asyncio.create_task(self._notify(name, kind, payload))
                self._notices.add(task)
                task.add_done_callback(self._notices.discard)

    async def _notify(self, coordinator: str, kind: str, payload: dict[str, Any]) -> None:
        try:
            await self.send(HUB, coordinator, kind, payload)
        except MailError as error:
            _log.error("%s is not told that %s is %s: %s", coordinator, payload["task_id"], payload["status"], error)

    # --- mailboxes, and looking back

    async def mailbox(self, agent_id: str, since: int) -> list[Letter]:
        """Return what lies in a mailbox after ``since``, oldest first."""
        now = self._now().wall
        return await self._office.ask(lambda store: store.mailbox(agent_id, since, now))

    async def ack(self, agent_id: str, seq: int) -> None:
        """Take everything up to ``seq`` out of a mailbox."""
        await self._office.ask(lambda store: store.ack(agent_id, seq))

    async def ttl_ms(self) -> int:
        """Return for how long a mailbox keeps a letter."""
        return await self._office.ask(lambda store: store.ttl_ms())

    async def set_ttl_ms(self, ttl_ms: int) -> int:
        """Let mailboxes keep letters for so long; return it."""
        now = self._now().wall
        return await self._office.ask(lambda store: store.set_ttl_ms(ttl_ms, now))

    async def messages(self, wanted: Wanted) -> tuple[list[Letter], int | None]:
        """Return what somebody looks for, and the cursor with which it goes on."""
        return await self._office.ask(lambda store: store.messages(wanted))

    async def thread(self, message_id: str, eyes: str | None) -> tuple[str, list[Letter]]:
        """Return root and messages of the thread of a message, as far as ``eyes`` may see them (None: all)."""
        return await self._office.ask(lambda store: store.thread(message_id, eyes))

    async def root(self, message_id: str, eyes: str | None) -> str:
        """Return the first message of a thread."""
        return await self._office.ask(lambda store: store.root(message_id, eyes))

    async def replies(self, message_id: str, eyes: str | None) -> list[Letter]:
        """Return the direct replies to a message."""
        return await self._office.ask(lambda store: store.replies(message_id, eyes))

    async def volume(self, since_ms: int) -> list[Volume]:
        """Return who sent and got how much in each minute since then; a day back at most."""
        return await self._office.ask(lambda store: store.volume(since_ms))

    # --- channels

    async def create(self, name: str, description: str, by: str) -> str:
        """Make a channel; return how its name is spelled."""
        spelled = channel_name(name)
        if spelled is None:
            raise Declined("validation_failed", "a name has 1 to 64 of a-z, 0-9, _ and -", "name")
        channel = Channel(spelled, plain.plain_text(description), self._now().wall, by, ())
        await self._office.ask(lambda store: store.create(channel))
        return spelled

    async def channels(self) -> list[Channel]:
        """Return all channels by name."""
        return await self._office.ask(lambda store: store.channels())

    async def channel(self, name: str) -> Channel:
        """Return one channel."""
        spelled = _named(name)
        return await self._office.ask(lambda store: store.channel(spelled))

    async def subscribe(self, agent_id: str, channel: str) -> tuple[str, bool]:
        """Let an agent read a channel, and tell its readers; return the channel's name and whether that is new."""
        name, now = _named(channel), self._now().wall
        new, readers = await self._office.ask(
            lambda store: (store.subscribe(name, agent_id, now), store.channel(name).subscribers)
        )
        if new:
            others = [reader for reader in readers if reader != agent_id]
            self.presence.push(others, frames.ChannelAgentJoined(channel=name, agent_id=agent_id), post=True)
        return name, new

    async def unsubscribe(self, agent_id: str, channel: str) -> str:
        """Let an agent read a channel no more; return the channel's name."""
        name = _named(channel)
        await self._office.ask(lambda store: store.unsubscribe(name, agent_id))
        return name

    async def subscriptions(self, agent_id: str) -> list[str]:
        """Return the channels that an agent reads."""
        return await self._office.ask(lambda store: store.subscriptions(agent_id))

    async def history(self, channel: str, since: int, limit: int) -> tuple[str, list[Letter]]:
        """Return a channel's name and its next posts after ``since``, oldest first."""
        name, most = _named(channel), min(max(limit, 1), LIMIT_MAX)
        return name, await self._office.ask(lambda store: store.history(name, since, most))


def _named(text: str) -> str:
    name = channel_name(text)
    if name is None:
        raise Declined("channel_not_found", f"there is no channel {text}")
    return name

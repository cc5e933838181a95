"""What agents say to one another over WebSocket: frames of PROTOCOL 1.5 to the postroom, its answers back to frames.

Answers come in the order of the frames. Who gets what is the postroom's business; what a socket is, that of sockets.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import assert_never

from coordinator.core.agent import Agent, Session
from coordinator.web import access
from coordinator.web.auth import Principal
from coordinator.web.mail.letters import Declined, Unavailable, channel_json, post_json
from coordinator.web.postroom import Postroom
from coordinator.web.presence import Here, Line
from coordinator.wire import frames

_log = logging.getLogger("agentcom.chat")

#: So many frames of one session may wait for their answer.
MOST_WAITING = 64
RETRY_AFTER_MS = 1_000


class Chat:
    """The company of all sessions: it hears who comes and goes and every frame that is no ping."""

    def __init__(self, postroom: Postroom, agents: Mapping[str, Agent]) -> None:
        self._postroom = postroom
        self._presence = postroom.presence
        self._agents = agents
        self._answering: set[asyncio.Task[None]] = set()

    def joined(self, agent_id: str, session: Session, frame: frames.Identify, line: Line) -> None:
        """Hear that an agent is there."""
        self._presence.joined(agent_id, session, frame, line)

    def left(self, agent_id: str, session_id: str) -> None:
        """Hear that an agent's session is over."""
        self._presence.left(agent_id, session_id)

    def hear(self, agent_id: str, frame: frames.ToHub) -> bool:
        """Take a frame of PROTOCOL 1.5, to be answered soon; tell whether it was one."""
        self._presence.active(agent_id)
        here = self._presence.get(agent_id)
        if here is None or not isinstance(frame, frames.Chat):
            return False
        role, agent = access.FRAMES[frame.type], self._agents.get(agent_id)
        if agent is None or not Principal(agent.spec.role, agent_id).may(role):
            detail = f"{frame.type} takes the role {role}"
            here.line.put(frames.Error(error="forbidden", detail=detail).encode())
        elif here.waiting >= MOST_WAITING:
            detail = f"{MOST_WAITING} frames wait for their answer"
            error = frames.Error(error="rate_limited", detail=detail, retry_after_ms=RETRY_AFTER_MS)
            here.line.put(error.encode())
        else:
            here.waiting += 1
            task = asyncio.create_task(self._answer(here, frame))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        return True

    async def _answer(self, here: Here, frame: frames.Chat) -> None:
        try:
            said = await self._said_to(here, frame)
        except Declined as declined:
            wrong = [{"field": declined.field, "error": declined.code, "detail": declined.detail}]
            said = frames.Error(error=declined.code, detail=declined.detail, errors=wrong if declined.field else None)
        except Unavailable as error:
            said = frames.Error(error="unavailable", detail=str(error), retry_after_ms=RETRY_AFTER_MS)
        except Exception:
            _log.exception("%s of %s failed", frame.type, here.agent)
            said = frames.Error(error="unavailable", detail="the hub could not do it; its log says why")
        finally:
            here.waiting -= 1
        here.line.put(said.encode())

    async def _said_to(self, here: Here, frame: frames.Chat) -> frames.Frame:
        """Do what a frame asks; return the answer."""
        postroom, agent = self._postroom, here.agent
        match frame:
            case frames.Message():
                sent = await postroom.send(agent, frame.to, frame.message_type, frame.payload, frame.reply_to)
                return frames.MessageSent(id=sent)
            case frames.Status():
                self._presence.speaks(here, frame.status)
                return frames.StatusUpdated()
            case frames.ListAgents():
                return frames.Agents(agents=self._presence.shown())
            case frames.ListChannels():
                return frames.Channels(channels=[channel_json(channel) for channel in await postroom.channels()])
            case frames.ChannelSubscribe():
                name, new = await postroom.subscribe(agent, frame.channel)
                here.listens = True
                return frames.ChannelSubscribed(channel=name, note=None if new else "already_subscribed")
            case frames.ChannelUnsubscribe():
                return frames.ChannelUnsubscribed(channel=await postroom.unsubscribe(agent, frame.channel))
            case frames.ChannelPublish():
                letter = await postroom.publish(agent, frame.channel, frame.message_type, frame.payload, frame.reply_to)
                return frames.ChannelPublished(channel=letter.channel or "", seq=letter.channel_seq or 0, id=letter.id)
            case frames.ChannelHistory():
                name, posts = await postroom.history(frame.channel, frame.since, frame.limit)
                return frames.ChannelPosts(channel=name, messages=[post_json(post) for post in posts])
            case _:
                assert_never(frame)

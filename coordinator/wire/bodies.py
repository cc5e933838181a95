"""Bodies of HTTP requests (PROTOCOL 2.1).

Unknown fields are ignored; a wrong type is a ``ValidationError``.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from coordinator.wire.frames import MAX_LIST, Payload, Word, names_of

#: The longest description of a channel, in characters.
DESCRIPTION_CHARS = 2_000
#: The longest time that a mailbox may be told to keep a letter: a hundred years, in ms.
LONGEST_TTL_MS = 100 * 365 * 24 * 3600 * 1000


class Body(BaseModel):
    """The base of every body: immutable, tolerant of unknown fields."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class MessageBody(Body):
    """``POST /api/message``."""

    to: Word | None = None
    type: Word = "chat"
    payload: Payload
    reply_to: Word | None = None


class PublishBody(Body):
    """``POST /api/channels/:ch/publish``."""

    payload: Payload
    type: Word = "chat"
    reply_to: Word | None = None


class ChannelBody(Body):
    """``POST /api/channels``."""

    name: Word
    description: str = Field(default="", max_length=DESCRIPTION_CHARS)


class AckBody(Body):
    """``POST /api/mailbox/:id/ack``."""

    seq: int = Field(strict=True)


class AgentBody(Body):
    """Who an agent is, as far as it is made of this; ``capabilities`` may be objects with ``name`` (PROTOCOL 1.1)."""

    agent_id: Word
    name: Word | None = None
    capabilities: Annotated[tuple[Word, ...], Field(max_length=MAX_LIST, fail_fast=True)] | None = None

    @field_validator("capabilities", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return names_of(value)


class TokenBody(AgentBody):
    """``POST /admin/tokens``. ``grace`` is how long the token before goes on: ``24h``, or ms."""

    role: Literal["reader", "agent", "coordinator"] | None = None
    grace: Word | int | None = None


class RegisterBody(AgentBody):
    """``POST /api/onboard/register``."""


class InviteBody(Body):
    """``POST /admin/invites``. ``expires``: ``1h``, an RFC 3339 time, ms since the epoch, or ms from now."""

    agent_id: Word
    expires: Word | int | None = None


class RetentionBody(Body):
    """``PUT /api/config/mailbox-retention``."""

    mailbox_ttl_ms: int = Field(strict=True, gt=0, le=LONGEST_TTL_MS)

"""Bodies of HTTP requests about messages and channels (PROTOCOL 2.1).

Unknown fields are ignored; a wrong type is a ``ValidationError``.
"""

from pydantic import BaseModel, ConfigDict, Field

from coordinator.wire.frames import Payload, Word

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


class RetentionBody(Body):
    """``PUT /api/config/mailbox-retention``."""

    mailbox_ttl_ms: int = Field(strict=True, gt=0, le=LONGEST_TTL_MS)

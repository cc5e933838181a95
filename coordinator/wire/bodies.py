"""Bodies of HTTP requests (PROTOCOL 2, 2.1).

Unknown fields are ignored; a wrong type is a ``ValidationError``.
"""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from coordinator.wire.frames import MAX_LIST, FailureClass, Payload, Word, names_of

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


# --- tasks ------------------------------------------------------------------------------------------------------------

#: The longest word of a person about a task, in characters (DESIGN 2, limits).
SAID_CHARS = 8 * 1024
#: The last instant that can be written, in ms: the end of the year 9999.
LAST_MS = 253_402_300_799_999

Said = Annotated[str, Field(max_length=SAID_CHARS)]
Instant = Annotated[int, Field(strict=True, ge=0, le=LAST_MS)]
Many = Annotated[list[str], Field(max_length=MAX_LIST)]
Count = Annotated[int, Field(strict=True, ge=0)]
Generation = Annotated[int, Field(strict=True, ge=1)]


class SpecBody(Body):
    """What is wanted of a task; the keys are those of a file in ``tasks/``, which is also where they are explained.

    ``complete_by`` is ``deadline`` in ms, ``assign_to`` is ``assignee``.
    """

    title: str | None = None
    description: str | None = None
    priority: Annotated[int, Field(strict=True)] | str | None = None
    needed_capabilities: Many | None = None
    depends_on: Many | None = None
    max_retries: Count | None = None
    complete_by: Instant | None = None
    deadline: Instant | str | None = None
    not_before: Instant | str | None = None
    timeout: str | None = None
    metadata: dict[str, Any] | None = None
    assign_to: str | None = None
    assignee: str | None = None
    repo: str | None = None
    base: str | None = None
    kind: str | None = None
    review: Annotated[bool, Field(strict=True)] | str | None = None
    hold: Annotated[bool, Field(strict=True)] | None = None
    labels: Many | None = None
    acceptance: Many | None = None


class TaskBody(SpecBody):
    """``POST /api/tasks``: title or description must be there."""


#: What an agent may say of its own task, and what a coordinator may say of any.
AgentWord = Literal["accept", "progress", "complete", "fail", "block"]
PersonWord = Literal["cancel", "rerun", "approve", "reject", "answer"]


class TaskPatchBody(SpecBody):
    """``PATCH /api/tasks/:id``: a word about a task (``status``), or keys of what is wanted of it; null takes one away.

    A word of an agent says of which ``generation`` it speaks.
    """

    status: AgentWord | PersonWord | None = None
    generation: Generation | None = None
    progress: float | None = None
    note: Said | None = None
    tokens_used: Count | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    reason: str | None = None
    failure_class: FailureClass = Field(default="error", validation_alias=AliasChoices("class", "failure_class"))
    retry_at: Instant | None = None
    output_tail: str | None = None
    question: str | None = None
    text: Said | None = None
    answer: Said | None = None


class AnswerBody(Body):
    """``POST /api/tasks/:id/answer``: ``text``, or ``answer``; with a generation it is meant for that attempt alone."""

    text: Said | None = None
    answer: Said | None = None
    generation: Generation | None = None


class NoteBody(Body):
    """``POST /api/tasks/:id/cancel``, ``/approve`` and ``/reject``: why, or what should change."""

    note: Said | None = None
    reason: Said | None = None
    generation: Generation | None = None


class ConfirmBody(Body):
    """``POST /api/confirm``: which batches, by the names that ``held`` of the status gives them; none means all."""

    commits: Many = []

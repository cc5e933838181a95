"""What is sent and kept: letters and channels as values, their names, and their shapes on the wire (PROTOCOL 2.1).

Pure. Who may send to whom, and where it is kept, is decided elsewhere.

    MailError                   the tree of errors, named by their remedy
      +-- Declined              the sender must ask for something else; ``code`` is that of PROTOCOL 1.1 or 2.1
      +-- Unavailable           nothing was kept, try again later (disk full, no access)
"""

import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from typing import Any

#: The largest payload of one message, in bytes of JSON; an HTTP body is not larger either (DESIGN 2, limits).
PAYLOAD_BYTES = 512 * 1024
#: How everybody is addressed (PROTOCOL 1.5).
EVERYBODY = "broadcast"
_CHANNEL = re.compile(r"[a-z0-9_-]{1,64}\Z")


class MailError(Exception):
    """Mail could not do what was asked."""


class Declined(MailError):
    """What was asked for cannot be: ``code`` names why, ``detail`` says what to do, ``field`` what is wrong."""

    def __init__(self, code: str, detail: str, field: str = "") -> None:
        self.code, self.detail, self.field = code, detail, field
        super().__init__(f"{code}: {detail}")


class Unavailable(MailError):
    """Nothing was kept and nothing is lost: the same may be tried again."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message before it is kept: ``to`` is None for everybody; ``at`` is ms since the epoch."""

    id: str
    sender: str
    to: str | None
    kind: str
    payload: Any
    reply_to: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that is kept. ``seq`` rises over all of them and is never given twice.

    ``channel`` and ``channel_seq`` (which rises from 1 in each channel) are those of a post.
    """

    seq: int
    id: str
    sender: str
    to: str | None
    kind: str
    payload: Any
    reply_to: str | None
    at: int
    channel: str | None = None
    channel_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a draft: the letter, and whose mailbox got it. ``again``: it had been sent before."""

    letter: Letter
    readers: tuple[str, ...]
    again: bool = False


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel and who reads it, by id in order."""

    name: str
    description: str
    created_at: int
    created_by: str
    subscribers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages somebody looks for; None passes everything.

    ``eyes`` sees only what it sent, what was sent to it, and what everybody may read. Times are inclusive, ms;
    ``cursor`` is exclusive. ``to`` may be ``broadcast``.
    """

    sender: str | None = None
    to: str | None = None
    channel: str | None = None
    start: int | None = None
    end: int | None = None
    cursor: int = 0
    limit: int = 50
    eyes: str | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    """How many messages one agent sent and got within one minute; ``minute`` is its begin in ms."""

    minute: int
    agent: str
    sent: int
    received: int


def new_id(sender: str = "", key: str | None = None, where: str = "") -> str:
    """Return the id of a new message: 16 lower hex digits. With an Idempotency-Key the same one each time."""
    if key is None:
        return secrets.token_hex(8)
    return hashlib.sha256("\0".join((sender, where, key)).encode()).hexdigest()[:16]


def channel_name(text: str) -> str | None:
    """Return the name of a channel as everybody spells it, None when it can be none (PROTOCOL 1.5)."""
    name = text.strip().lstrip("#").lower()
    return name if _CHANNEL.match(name) else None


def size_of(payload: Any) -> int:
    """Return how many bytes a payload takes."""
    return len(packed(payload).encode())


def packed(payload: Any) -> str:
    """Return a plain payload as JSON."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def message_json(letter: Letter) -> dict[str, Any]:
    """Return a message as PROTOCOL 2.1 shapes it."""
    return {
        "id": letter.id,
        "from": letter.sender,
        "to": letter.to,
        "type": letter.kind,
        "payload": letter.payload,
        "reply_to": letter.reply_to,
        "timestamp": letter.at,
    }


def kept_json(letter: Letter) -> dict[str, Any]:
    """Return a message as a mailbox and /api/messages show it: with its seq, a post with its channel in the payload."""
    shown = message_json(letter)
    if letter.channel is not None:
        payload = letter.payload if isinstance(letter.payload, dict) else {"payload": letter.payload}
        shown["payload"] = {**payload, "channel": letter.channel}
    return {**shown, "seq": letter.seq}


def post_json(letter: Letter) -> dict[str, Any]:
    """Return a post as the history of its channel shows it."""
    return {"seq": letter.channel_seq, "message": message_json(letter), "stored_at": letter.at}


def channel_json(channel: Channel, *, whole: bool = False) -> dict[str, Any]:
    """Return a channel as PROTOCOL 2.1 shapes it; ``whole`` names subscribers and maker too."""
    count = len(channel.subscribers)
    shown: dict[str, Any] = {"name": channel.name, "description": channel.description}
    if whole:
        shown["subscribers"] = list(channel.subscribers)
    shown |= {"subscriber_count": count, "created_at": channel.created_at}
    return {**shown, "created_by": channel.created_by} if whole else shown

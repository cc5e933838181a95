"""What is kept of mail, and for how long: messages once, mailboxes as references to them, channels, counts.

Every path of a message (to one, to all, to a channel) ends in one insert here, so that threads and sequence are the
same for all. Calls run in one thread inside a transaction of the office. It knows no agents: ids are words to it.

A message stays while it lies in a mailbox, is one of the last posts of its channel, or is younger than a week (or the
time that mailboxes keep theirs, when that is longer); what lies in no mailbox may be at most ``ARCHIVE_BYTES``.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from coordinator.web.mail.database import Database
from coordinator.web.mail.letters import (
    Channel,
    Declined,
    Draft,
    Letter,
    Sent,
    Volume,
    Wanted,
    packed,
)

#: A mailbox keeps so many letters, the newest ones, each for so long unless it is configured otherwise.
MAILBOX_LETTERS = 100
MAILBOX_TTL_MS = 7 * 24 * 3600 * 1000
#: The last posts of a channel that stay however old they are.
CHANNEL_POSTS = 1_000
#: Messages that lie in no mailbox stay for so long, and may take so many bytes.
ARCHIVE_MS = 7 * 24 * 3600 * 1000
ARCHIVE_BYTES = 256 * 1024 * 1024
#: An answer ends early when its payloads have more bytes; it always holds one message.
ANSWER_BYTES = 512 * 1024
#: Counts per minute are kept for a day and the hour that it begins in.
VOLUME_MS = 25 * 3600 * 1000
MINUTE_MS = 60 * 1000
#: How often old things are looked for, at most, in ms.
SWEEP_EVERY_MS = 60 * 1000
_TTL = "mailbox_ttl_ms"
_COLUMNS = "m.seq, m.id, m.sender, m.recipient, m.kind, m.payload, m.reply_to, m.at, m.channel, m.channel_seq"


class Store:
    """The tables of one database. Raises Declined, and whatever the database raises."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.sql
        self._swept_at = 0

    # --- sending

    def send(self, draft: Draft, readers: Sequence[str]) -> Sent:
        """Keep a message and put it into the mailboxes of ``readers``. A draft that was sent before changes nothing."""
        return self._earlier(draft.id) or self._keep(draft, readers)

    def publish(self, draft: Draft, channel: str) -> Sent:
        """Keep a post and put it into the mailbox of every subscriber but its sender."""
        earlier = self._earlier(draft.id)
        if earlier is not None:
            return earlier
        self._must_exist(channel)
        readers = [agent for agent in self._subscribers(channel) if agent != draft.sender]
        (number,) = self._sql.execute(
            "UPDATE channels SET last_seq = last_seq + 1 WHERE name = ? RETURNING last_seq", (channel,)
        ).fetchone()
        return self._keep(draft, readers, channel, number)

    def _earlier(self, message_id: str) -> Sent | None:
        found = self._select([("m.id = ?", message_id)]).fetchone()
        return None if found is None else Sent(_letter(found), (), again=True)

    def _keep(
        self, draft: Draft, readers: Sequence[str], channel: str | None = None, number: int | None = None
    ) -> Sent:
        payload = packed(draft.payload)
        root = draft.id if draft.reply_to is None else self.root(draft.reply_to)
        values = (draft.id, draft.sender, draft.to, channel, number, draft.kind, payload, len(payload.encode()))
        seq = self._sql.execute(
            "INSERT INTO messages (id, sender, recipient, channel, channel_seq, kind, payload, bytes,"
            " reply_to, root, at) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (*values, draft.reply_to, root, draft.at),
        ).lastrowid
        assert seq is not None  # noqa: S101 - an insert into a table with rowids has one
        self._database.note_given(seq)
        self._sql.executemany("INSERT INTO mailbox VALUES (?,?,?)", ((reader, seq, draft.at) for reader in readers))
        self._sql.executemany(
            "DELETE FROM mailbox WHERE agent = ?1 AND seq <= (SELECT seq FROM mailbox WHERE agent = ?1"
            " ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
            ((reader, MAILBOX_LETTERS) for reader in readers),
        )
        self._count(draft, readers)
        self.sweep(draft.at)
        letter = Letter(
            seq, draft.id, draft.sender, draft.to, draft.kind, draft.payload, draft.reply_to, draft.at, channel, number
        )
        return Sent(letter, tuple(readers))

    def _count(self, draft: Draft, readers: Sequence[str]) -> None:
        minute = draft.at // MINUTE_MS * MINUTE_MS
        counts = [(minute, draft.sender, 1, 0), *((minute, reader, 0, 1) for reader in readers)]
        self._sql.executemany(
            "INSERT INTO volume VALUES (?,?,?,?) ON CONFLICT DO UPDATE"
            " SET sent = sent + excluded.sent, received = received + excluded.received",
            counts,
        )

    # --- mailboxes

    def mailbox(self, agent: str, since: int, now_ms: int) -> list[Letter]:
        """Return what lies in a mailbox after ``since``, oldest first, as far as one answer goes."""
        rows = self._sql.execute(
            f"SELECT {_COLUMNS} FROM mailbox b JOIN messages m ON m.seq = b.seq"  # noqa: S608 - constant columns
            " WHERE b.agent = ? AND b.seq > ? AND b.at >= ? ORDER BY b.seq",
            (agent, since, now_ms - self.ttl_ms()),
        )
        return _fitting(rows)

    def ack(self, agent: str, seq: int) -> None:
        """Take everything up to ``seq`` out of a mailbox."""
        self._sql.execute("DELETE FROM mailbox WHERE agent = ? AND seq <= ?", (agent, seq))

    def ttl_ms(self) -> int:
        """Return for how long a mailbox keeps a letter."""
        found = self._sql.execute("SELECT value FROM settings WHERE key = ?", (_TTL,)).fetchone()
        return MAILBOX_TTL_MS if found is None else int(found[0])

    def set_ttl_ms(self, ttl_ms: int, now_ms: int) -> int:
        """Let mailboxes keep letters for ``ttl_ms``, from now on; return it. What was too old stays gone."""
        self._sweep(now_ms)
        self._sql.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (_TTL, ttl_ms))
        self._sweep(now_ms)
        return ttl_ms

    # --- looking back

    def messages(self, wanted: Wanted) -> tuple[list[Letter], int | None]:
        """Return what is looked for, oldest first, and the cursor with which it goes on, None at the end."""
        tests = [("m.seq > ?", wanted.cursor), *_seen_by(wanted.eyes)]
        for test, value in (
            ("m.sender = ?", wanted.sender),
            ("m.channel = ?", wanted.channel),
            ("m.at >= ?", wanted.start),
            ("m.at <= ?", wanted.end),
            ("coalesce(m.recipient, CASE WHEN m.channel IS NULL THEN 'broadcast' END) = ?", wanted.to),
        ):
            if value is not None:
                tests.append((test, value))
        rows = self._select(tests, f"ORDER BY m.seq LIMIT {wanted.limit + 1:d}").fetchall()
        found = _fitting(rows[: wanted.limit])
        return found, found[-1].seq if len(found) < len(rows) else None

    def root(self, message_id: str, eyes: str | None = None) -> str:
        """Return the first message of the thread that a message belongs to; of an unknown one, itself."""
        found = self._select([("m.id = ?", message_id), *_seen_by(eyes)], columns="m.root").fetchone()
        return message_id if found is None else str(found[0])

    def thread(self, message_id: str, eyes: str | None = None) -> tuple[str, list[Letter]]:
        """Return the root of a message's thread and all that belongs to it, oldest first."""
        root = self.root(message_id, eyes)
        return root, _fitting(self._select([("m.root = ?", root), *_seen_by(eyes)], "ORDER BY m.at, m.seq"))

    def replies(self, message_id: str, eyes: str | None = None) -> list[Letter]:
        """Return the direct replies to a message, oldest first."""
        return _fitting(self._select([("m.reply_to = ?", message_id), *_seen_by(eyes)], "ORDER BY m.at, m.seq"))

    def _select(self, tests: Sequence[tuple[str, Any]], rest: str = "", columns: str = _COLUMNS) -> sqlite3.Cursor:
        """Ask for messages that pass all tests: constant conditions with one value each."""
        where = " AND ".join(test for test, _ in tests)
        values = [value for test, value in tests for _ in range(test.count("?"))]
        return self._sql.execute(f"SELECT {columns} FROM messages m WHERE {where} {rest}", values)  # noqa: S608

    # --- channels

    def create(self, channel: Channel) -> None:
        """Make a channel without subscribers. Raises Declined when there is one of that name."""
        made = self._sql.execute(
            "INSERT OR IGNORE INTO channels (name, description, created_at, created_by) VALUES (?,?,?,?)",
            (channel.name, channel.description, channel.created_at, channel.created_by),
        ).rowcount
        if not made:
            raise Declined("channel_exists", f"there is a channel {channel.name} already")

    def channels(self) -> list[Channel]:
        """Return all channels by name."""
        names = self._sql.execute("SELECT name FROM channels ORDER BY name").fetchall()
        return [self.channel(name) for (name,) in names]

    def channel(self, name: str) -> Channel:
        """Return one channel. Raises Declined."""
        found = self._sql.execute(
            "SELECT description, created_at, created_by FROM channels WHERE name = ?", (name,)
        ).fetchone()
        if found is None:
            raise _no_such(name)
        description, created_at, created_by = found
        return Channel(name, description, created_at, created_by, tuple(self._subscribers(name)))

    def subscribe(self, channel: str, agent: str, now_ms: int) -> bool:
        """Let an agent read a channel; tell whether that is new. Raises Declined."""
        self._must_exist(channel)
        made = self._sql.execute("INSERT OR IGNORE INTO subscriptions VALUES (?,?,?)", (channel, agent, now_ms))
        return made.rowcount > 0

    def unsubscribe(self, channel: str, agent: str) -> None:
        """Let an agent read a channel no more. Raises Declined."""
        self._must_exist(channel)
        self._sql.execute("DELETE FROM subscriptions WHERE channel = ? AND agent = ?", (channel, agent))

    def subscriptions(self, agent: str) -> list[str]:
        """Return the names of the channels that an agent reads."""
        rows = self._sql.execute("SELECT channel FROM subscriptions WHERE agent = ? ORDER BY channel", (agent,))
        return [name for (name,) in rows]

    def history(self, channel: str, since: int, limit: int) -> list[Letter]:
        """Return the next posts of a channel after ``since``, oldest first, as far as one answer goes.

        Raises Declined.
        """
        self._must_exist(channel)
        tests = [("m.channel = ?", channel), ("m.channel_seq > ?", since)]
        return _fitting(self._select(tests, f"ORDER BY m.channel_seq LIMIT {limit:d}"))

    def _subscribers(self, channel: str) -> list[str]:
        rows = self._sql.execute("SELECT agent FROM subscriptions WHERE channel = ? ORDER BY agent", (channel,))
        return [agent for (agent,) in rows]

    def _must_exist(self, channel: str) -> None:
        if self._sql.execute("SELECT 1 FROM channels WHERE name = ?", (channel,)).fetchone() is None:
            raise _no_such(channel)

    # --- counting, and letting go

    def volume(self, since_ms: int) -> list[Volume]:
        """Return what agents sent and got in each minute that begins at ``since_ms`` or later."""
        rows = self._sql.execute("SELECT * FROM volume WHERE minute >= ? ORDER BY minute, agent", (since_ms,))
        return [Volume(*row) for row in rows]

    def sweep(self, now_ms: int) -> None:
        """Let go of what is kept no longer; at most once a minute."""
        if not 0 <= now_ms - self._swept_at < SWEEP_EVERY_MS:
            self._sweep(now_ms)

    def _sweep(self, now_ms: int) -> None:
        self._swept_at = now_ms
        ttl = self.ttl_ms()
        self._sql.execute("DELETE FROM mailbox WHERE at < ?", (now_ms - ttl,))
        self._sql.execute("DELETE FROM volume WHERE minute < ?", (now_ms - VOLUME_MS,))
        self._sql.execute(
            "DELETE FROM messages AS m WHERE at < ? AND NOT EXISTS (SELECT 1 FROM mailbox b WHERE b.seq = m.seq)"
            " AND (channel_seq > (SELECT last_seq FROM channels c WHERE c.name = m.channel) - ?) IS NOT TRUE",
            (now_ms - max(ttl, ARCHIVE_MS), CHANNEL_POSTS),
        )
        self._sql.execute(
            "DELETE FROM messages WHERE seq IN (SELECT seq FROM ("
            "SELECT seq, sum(bytes) OVER (ORDER BY seq DESC) AS together FROM messages m"
            " WHERE NOT EXISTS (SELECT 1 FROM mailbox b WHERE b.seq = m.seq)) WHERE together > ?)",
            (ARCHIVE_BYTES,),
        )


def _seen_by(eyes: str | None) -> list[tuple[str, Any]]:
    """Return the condition under which an agent may see a message; None sees all."""
    return [] if eyes is None else [("(m.recipient IS NULL OR m.recipient = ? OR m.sender = ?)", eyes)]


def _no_such(channel: str) -> Declined:
    return Declined("channel_not_found", f"there is no channel {channel}")


def _letter(row: Sequence[Any]) -> Letter:
    seq, message_id, sender, to, kind, payload, reply_to, at, channel, channel_seq = row
    return Letter(seq, message_id, sender, to, kind, json.loads(payload), reply_to, at, channel, channel_seq)


def _fitting(rows: Iterable[Sequence[Any]]) -> list[Letter]:
    """Return the messages of rows until an answer is full."""
    found: list[Letter] = []
    room = ANSWER_BYTES
    for row in rows:
        room -= len(row[5])
        if found and room < 0:
            break
        found.append(_letter(row))
    return found

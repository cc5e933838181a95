"""The file that mail is kept in: opened, brought up to date, and set aside when it is damaged.

It decides where the sequence goes on, so that no number is ever given twice: above the database's own last one, above
the mark beside it (``mail.high``, always ahead of what was given: it outlives a database that is put back), and above
the present time in ms (which outlives both being put back). What stands in the tables is the store's business.
"""

import logging
import os
import sqlite3
from pathlib import Path

from coordinator.place import write_whole
from coordinator.web.mail.letters import Unavailable

_log = logging.getLogger("agentcom.mail")

NAME = "mail.db"
MARK = "mail.high"
#: The mark is moved ahead by so many numbers at once.
RESERVED_AHEAD = 1_000
#: How long to wait for another process that has the file (a backup), in seconds.
PATIENCE = 5.0

#: One entry for each version of the tables; ``user_version`` counts those that were applied. Never edit one: append.
MIGRATIONS = (
    (
        """CREATE TABLE messages (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            sender TEXT NOT NULL,
            recipient TEXT,
            channel TEXT,
            channel_seq INTEGER,
            kind TEXT NOT NULL,
            payload TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            reply_to TEXT,
            root TEXT NOT NULL,
            at INTEGER NOT NULL
        )""",
        "CREATE UNIQUE INDEX messages_channel ON messages (channel, channel_seq) WHERE channel IS NOT NULL",
        "CREATE INDEX messages_root ON messages (root)",
        "CREATE INDEX messages_reply_to ON messages (reply_to) WHERE reply_to IS NOT NULL",
        "CREATE INDEX messages_at ON messages (at)",
        """CREATE TABLE mailbox (
            agent TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (agent, seq)
        ) WITHOUT ROWID""",
        "CREATE INDEX mailbox_seq ON mailbox (seq)",
        "CREATE INDEX mailbox_at ON mailbox (at)",
        """CREATE TABLE channels (
            name TEXT PRIMARY KEY,
            description TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            created_by TEXT NOT NULL,
            last_seq INTEGER NOT NULL DEFAULT 0
        )""",
        """CREATE TABLE subscriptions (
            channel TEXT NOT NULL, agent TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (channel, agent)
        ) WITHOUT ROWID""",
        "CREATE INDEX subscriptions_agent ON subscriptions (agent)",
        """CREATE TABLE volume (
            minute INTEGER NOT NULL, agent TEXT NOT NULL, sent INTEGER NOT NULL, received INTEGER NOT NULL,
            PRIMARY KEY (minute, agent)
        ) WITHOUT ROWID""",
        "CREATE TABLE settings (key TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    ),
)
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Damaged(Unavailable):
    """What stands in the file is no database that can be trusted; a new one may be."""


class Database:
    """An open database, for one thread: transactions, and the mark beside it."""

    def __init__(self, folder: Path, now_ms: int) -> None:
        """Open the database in ``folder`` or make it. Raises Damaged, Unavailable."""
        self._mark = folder / MARK
        self._file = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._high = self._read_mark()
            _make_private(self._file)
            self.sql = sqlite3.connect(self._file, timeout=PATIENCE, isolation_level=None)
            self._inode = self._file.stat().st_ino
        except (OSError, sqlite3.Error) as error:
            raise judged(error) from error
        try:
            self._prepare()
            self._go_on_from(max(self._high, now_ms))
        except BaseException as error:
            self.sql.close()
            if isinstance(error, OSError | sqlite3.Error):
                raise judged(error) from error
            raise

    def _prepare(self) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self.sql.execute(f"PRAGMA {pragma}").fetchall()
        if self.sql.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise Damaged("its own check fails")
        (version,) = self.sql.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise Unavailable(f"{self._file} was written by a newer AgentCom (version {version}): update this one")
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            self.begin()
            for statement in statements:
                self.sql.execute(statement)
            self.sql.execute(f"PRAGMA user_version = {number}")
            self.commit()

    def _go_on_from(self, least: int) -> None:
        found = self.sql.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
        last = least if found is None else max(found[0], least)
        self.note_given(last)
        self.begin()
        if found is None:
            self.sql.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('messages', ?)", (last,))
        else:
            self.sql.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'messages'", (last,))
        self.commit()

    def _read_mark(self) -> int:
        try:
            return int(self._mark.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except ValueError:
            _log.error("%s is damaged; the sequence goes on from the database and the time", self._mark)
            return 0

    def note_given(self, seq: int) -> None:
        """Keep the mark ahead of ``seq``; to be called before the transaction that gives it is committed."""
        if seq > self._high:
            high = seq + RESERVED_AHEAD
            write_whole(self._mark, f"{high}\n", 0o600)
            self._high = high

    @property
    def in_place(self) -> bool:
        """Whether the file that is open still bears the name: nobody deleted it or put another one there."""
        try:
            return self._file.stat().st_ino == self._inode
        except OSError:
            return False

    def begin(self) -> None:
        """Begin a transaction."""
        self.sql.execute("BEGIN")

    def commit(self) -> None:
        """Make a transaction durable."""
        self.sql.execute("COMMIT")

    def rollback(self) -> None:
        """Forget a transaction, as far as one is under way."""
        if self.sql.in_transaction:
            self.sql.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        self.sql.close()


def judged(error: OSError | sqlite3.Error) -> Exception:
    """Return what an error of the file means: Damaged, Unavailable, or that it is a bug (itself)."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _DAMAGE:
        return Damaged(str(error))
    if isinstance(error, OSError | sqlite3.OperationalError):
        return Unavailable(f"mail cannot be kept: {error}")
    return error


def is_full(error: Exception) -> bool:
    """Tell whether only room is missing: the open file is still good."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def set_aside(folder: Path, now_ms: int, why: object) -> Path:
    """Rename a damaged database so that a new one can begin, and say so. Raises Unavailable.

    The write-ahead log goes first: left beside a new database it would be read into it.
    """
    kept = folder / f"{NAME}.damaged-{now_ms}"
    try:
        for end in ("-wal", "-shm", ""):
            old = folder / (NAME + end)
            if old.exists():
                old.rename(f"{kept}{end}")
    except OSError as error:
        raise Unavailable(f"the damaged {folder / NAME} cannot be set aside: {error}") from error
    _log.error("%s is damaged (%s): set aside as %s, and a new one begun without its messages", NAME, why, kept)
    return kept


def _make_private(file: Path) -> None:
    """Make a new database readable by its owner alone; its log and index follow it."""
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    handle = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Where mail is handed in: one thread with the database, one transaction for all that gathers meanwhile.

Nobody hears of anything before it is durable, and answers come in the order of the questions. A database that is
damaged is set aside and a new one begun; one that cannot be opened or written is an error to whoever asks, and is
tried again at the next question. What is asked is the store's business.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from coordinator.web.mail.database import Damaged, Database, is_full, judged, set_aside
from coordinator.web.mail.letters import Declined, Unavailable
from coordinator.web.mail.store import Store

T = TypeVar("T")

_log = logging.getLogger("agentcom.mail")

#: At most this many questions share one transaction.
BATCH = 256
#: So many questions may wait; further ones are refused.
MOST_WAITING = 5_000


@dataclass(frozen=True, slots=True)
class _Question:
    """What somebody wants of the store, and whom to tell."""

    call: Callable[[Store], Any]
    answer: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Failed:
    """The outcome of a question that has no other."""

    error: Exception


class Office:
    """The database of one hub. ``ask`` on the loop; ``close`` at the end."""

    def __init__(self, folder: Path, clock: Callable[[], int]) -> None:
        """``folder`` is the data directory; ``clock`` gives ms since the epoch. Nothing is opened yet."""
        self._folder = folder
        self._clock = clock
        self._waiting: deque[_Question] = deque()
        self._working: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "mail")
        self._database: Database | None = None
        self._store: Store | None = None
        #: What is wrong, for people: mail cannot be kept now, or a damaged database was set aside since the start.
        self.trouble = ""
        self._set_aside = ""
        self._closed = False

    async def ask(self, call: Callable[[Store], T]) -> T:
        """Let the store do something; return what it says once that is durable. Raises Declined, Unavailable."""
        if self._closed:
            raise Unavailable("the hub stops")
        if len(self._waiting) >= MOST_WAITING:
            raise Unavailable("too much mail at once")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Question(call, answer))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work(), name="mail")
        return await answer

    async def close(self) -> None:
        """Finish what is in hand, close the file and give the thread back; further questions are refused."""
        self._closed = True
        if self._working is not None:
            await self._working
        await asyncio.get_running_loop().run_in_executor(self._thread, self._shut)
        self._thread.shutdown(wait=True)

    async def _work(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            calls = [question.call for question in batch]
            outcomes = await asyncio.get_running_loop().run_in_executor(self._thread, self._answer_all, calls)
            for question, outcome in zip(batch, outcomes, strict=True):
                if question.answer.done():
                    continue
                if isinstance(outcome, _Failed):
                    question.answer.set_exception(outcome.error)
                else:
                    question.answer.set_result(outcome)
                await asyncio.sleep(0)  # who asked may push it on: sockets must get their turn in between

    # --- in the thread

    def _answer_all(self, calls: list[Callable[[Store], Any]]) -> list[Any]:
        """Answer questions in one transaction; if that fails, each in one of its own, so that one spoils no other."""
        try:
            return self._together(calls)
        except Exception as error:
            if len(calls) > 1:
                return [outcome for call in calls for outcome in self._answer_all([call])]
            if not isinstance(error, Unavailable):
                _log.error("mail: a question failed", exc_info=error)
            return [_Failed(error)]

    def _together(self, calls: list[Callable[[Store], Any]]) -> list[Any]:
        try:
            return self._transact(calls)
        except Damaged as damage:
            self._shut()
            kept = set_aside(self._folder, self._clock(), damage)
            self._set_aside = f"the database was damaged and is set aside as {kept.name}; its messages are not shown"
            return self._transact(calls)

    def _transact(self, calls: list[Callable[[Store], Any]]) -> list[Any]:
        try:
            database, store = self._opened()
            database.begin()
            try:
                outcomes = [_outcome(call, store) for call in calls]
                database.commit()
            finally:
                database.rollback()
        except Damaged:
            raise
        except (OSError, sqlite3.Error, Unavailable) as error:
            meaning = error if isinstance(error, Unavailable) else judged(error)
            if isinstance(meaning, Unavailable) and not isinstance(meaning, Damaged):
                self._note(str(meaning))
                if not is_full(error):
                    self._shut()
            raise meaning from error
        self._note(self._set_aside)
        return outcomes

    def _opened(self) -> tuple[Database, Store]:
        if self._database is not None and not self._database.in_place:
            _log.error("mail: the database was taken away under the running hub; opening what stands there now")
            self._shut()
        if self._database is None or self._store is None:
            self._database = Database(self._folder, self._clock())
            self._store = Store(self._database)
        return self._database, self._store

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble:
            if trouble:
                _log.error("mail: %s", trouble)
            else:
                _log.warning("mail can be kept again")
            self.trouble = trouble

    def _shut(self) -> None:
        if self._database is not None:
            self._database.close()
        self._database = self._store = None


def _outcome(call: Callable[[Store], Any], store: Store) -> Any:
    """Return what the store says; that it declines is an answer too, for it has changed nothing then."""
    try:
        return call(store)
    except Declined as declined:
        return _Failed(declined)

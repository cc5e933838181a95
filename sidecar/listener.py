"""Listens to the agent at work: what it leaves in its attempt's folder becomes events, what it asks for is relayed.

It looks into the folder of the attempt in hand and of no other, a few times a second; without one it does nothing at
all. It decides nothing about tasks.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from sidecar.events import Questioned, Reported
from sidecar.outcome import QUESTION_CHARS
from sidecar.relay import Relay
from sidecar.spool import Progress, Request, Spool
from sidecar.values import Key

logger = logging.getLogger(__name__)

#: Pause between two looks, in seconds.
LOOK_EVERY_S = 0.25
#: Pause before a reply that the disk refused is written again, in seconds.
DISK_RETRY_S = 1.0


class Listener:
    """One pair of ears. ``hear`` takes what was said."""

    def __init__(
        self, spool_of: Callable[[Key], Spool], relay: Relay, hear: Callable[[Reported | Questioned], None]
    ) -> None:
        self._spool_of = spool_of
        self._relay = relay
        self._hear = hear
        self._key: Key | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def attend(self, key: Key | None) -> None:
        """Listen to this attempt from now on, and to none before it; None is silence."""
        if key == self._key:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._key, self._tasks = key, []
        if key is not None:
            spool = self._spool_of(key)
            self._tasks = [
                asyncio.create_task(self._listen(key, spool), name=f"listen to {key}"),
                asyncio.create_task(self._serve(key, spool), name=f"relay for {key}"),
            ]

    async def _listen(self, key: Key, spool: Spool) -> None:
        while True:
            try:
                heard = await asyncio.to_thread(spool.look)
            except OSError as error:
                logger.warning("%s: reports cannot be read: %s", key, error)
                heard = []
            for said in heard:
                if isinstance(said, Progress):
                    self._hear(Reported(key, said.percent, said.note, said.tokens))
                else:
                    self._hear(Questioned(key, said.text and said.text[:QUESTION_CHARS]))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _serve(self, key: Key, spool: Spool) -> None:
        """Relay one request after the other; a hub that is slow holds up nothing else."""
        while True:
            for request in await asyncio.to_thread(self._requests, key, spool):
                reply = await asyncio.to_thread(self._relay.perform, key, request)
                await self._answer(key, spool, request, reply)
            await asyncio.sleep(LOOK_EVERY_S)

    def _requests(self, key: Key, spool: Spool) -> list[Request]:
        try:
            return list(spool.requests())
        except OSError as error:
            logger.warning("%s: a request cannot be answered: %s", key, error)
            return []

    async def _answer(self, key: Key, spool: Spool, request: Request, reply: Mapping[str, Any]) -> None:
        """Leave a reply, however long the disk refuses: what is done at the hub must not be done again for that."""
        complained = False
        while True:
            try:
                return await asyncio.to_thread(spool.answer, request, reply)
            except OSError as error:
                if not complained:
                    logger.warning("%s: a request cannot be answered: %s", key, error)
                complained = True
                await asyncio.sleep(DISK_RETRY_S)

"""Where sockets wait: a refused one for its answer, one that may come in for its turn.

How long is decided in ``limits``. A socket that waits costs a coroutine and its descriptor: what it says meanwhile is
thrown away unread, and beyond a number of them the answer comes at once. Nothing is known here of tokens and agents.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from coordinator.web.limits import Refusals, admission

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

#: So many refused sockets may wait at the same time; one more is answered at once.
HELD = 1_000
#: So many frames of a refused socket are thrown away; the next ones stay where they are, in its own send buffer.
THROWN_AWAY = 100


class Threshold:
    """The refused and the admitted of one port."""

    def __init__(self) -> None:
        self._refusals = Refusals()
        self._admission = admission()
        self._held = 0

    async def hold(self, address: str, identity: str, receive: Receive) -> bool:
        """Wait until a refusal may be answered; tell whether the client is still there to hear it."""
        wait = self._refusals.delay(address, identity, asyncio.get_running_loop().time())
        if self._held >= HELD:
            return True
        self._held += 1
        try:
            async with asyncio.timeout(wait):
                for _ in range(THROWN_AWAY):
                    if (await receive())["type"] == "websocket.disconnect":
                        return False
                await asyncio.sleep(wait)
        except TimeoutError:
            pass
        finally:
            self._held -= 1
        return True

    async def admit(self, address: str, identity: str) -> None:
        """Wait for the turn of somebody who may come in."""
        self._refusals.forget(address, identity)
        wait = self._admission.turn(asyncio.get_running_loop().time())
        if wait:
            await asyncio.sleep(wait)

"""Tasks over HTTP: from what was asked for to events of the core, and back to what came of them.

Called on the hub's loop. Roles, bodies and status numbers are the business of ``web``; whether something is possible
now is the core's. A refusal that is found before the core is asked is an ``Outcome`` like any other.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from coordinator.core import making
from coordinator.core.backlog import ALPHABET, BIRTH_CHARS
from coordinator.core.events import (
    Accepted,
    Actor,
    Asked,
    Blocked,
    Complete,
    Confirmed,
    Edited,
    Failed,
    Made,
    Outcome,
    Progress,
    Spoken,
)
from coordinator.core.machine import Event
from coordinator.core.scheduler import Why
from coordinator.core.task import Origin, Spec, Task
from coordinator.files import made
from coordinator.files.emitter import algorithm_of
from coordinator.files.taskfile import NotMeant
from coordinator.hub import Hub
from coordinator.ports import StoreError
from coordinator.web.asked import Mistaken
from coordinator.web.mail.letters import Unavailable

#: Bits of an id after ``t-``.
_ID_BITS = 5 * BIRTH_CHARS


class Tasking:
    """The counter at which tasks of one hub are asked for."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def task_id(self, caller: str, key: str | None) -> str:
        """Return the id of a task to be made: of an Idempotency-Key always the same, else one that nobody bears."""
        if key is not None:
            digest = hashlib.sha256("\0".join((caller, "tasks", key)).encode()).digest()
            return _spelled(int.from_bytes(digest) >> (256 - _ID_BITS))
        return next(name for name in iter(_random_id, "") if not self._hub.bears(name))

    async def make(
        self, task_id: str, values: Mapping[str, Any], by: Actor, *, proposal: bool, request: str | None
    ) -> Outcome:
        """Make a task; asked for again by the same ``request`` (a digest of who, key and body) it is the same one.

        Raises Mistaken for values that a file could not hold.
        """
        known = await self._hub.task(task_id)
        if known is None:
            extra = {} if request is None else {made.REQUEST: request}
            title = values.get("title") or made.title_of(values.get("description") or "")
            spec = await self._written(replace(Spec(task_id, ""), extra=extra), {**values, "title": title})
            outcome = await self._ask(Made(spec, by, proposal))
            if outcome.refused != making.EXISTS or outcome.task is None:
                return outcome
            known = outcome.task
        return _the_same(known, by, request)

    async def edit(self, task_id: str, values: Mapping[str, Any], by: Actor, seen: frozenset[str]) -> Outcome:
        """Change what is wanted of a task that was made here, if its revision is among those ``seen``.

        ``*`` is any revision, and somebody must have seen one. Raises Mistaken for values that a file could not hold.
        """
        task = await self._hub.task(task_id)
        if task is None or task.status.deleted:
            return Outcome(making.NOT_FOUND, f"there is no task {task_id}")
        if task.spec.origin is not Origin.API:
            return Outcome(making.HAS_FILE, f"{task_id} stands in {self._hub.place_of(task)}", task)
        if not seen:
            hint = 'send If-Match with the ETag (or "revision") of the task as you saw it, or * for any'
            return Outcome(making.UNSEEN, hint, task)
        if not seen & {"*", task.spec.blob}:
            return Outcome(making.CHANGED, f"{task_id} was changed meanwhile, it is {task.spec.blob} now", task)
        spec = await self._written(task.spec, values)
        return await self._ask(Edited(spec, by, task.spec.blob, released=values.get("hold") is False))

    async def say(self, agent: str, word: Accepted | Progress | Complete | Failed | Blocked) -> Outcome:
        """Let an agent say something of its task."""
        return await self._ask(Spoken(agent, word))

    async def word(self, event: Event, task_id: str, by: Actor, text: str, generation: int | None) -> Outcome:
        """Let a person say something about a task."""
        return await self._ask(Asked(event, task_id, by, text, generation))

    async def confirm(self, by: Actor, names: tuple[str, ...]) -> Outcome:
        """Let go on what is held: batches by name, without a name all of them."""
        return await self._ask(Confirmed(by, names))

    def why(self, task: Task) -> Why | None:
        """Return why a queued task waits."""
        return self._hub.why(task)

    def place_of(self, task: Task) -> str:
        """Return where people wrote what they want of a task; empty when it was made here."""
        return self._hub.place_of(task)

    async def _ask(self, what: Asked | Made | Edited | Spoken | Confirmed) -> Outcome:
        try:
            return await self._hub.ask(what)
        except StoreError as error:
            raise Unavailable(str(error)) from None

    async def _written(self, before: Spec, values: Mapping[str, Any]) -> Spec:
        algorithm = algorithm_of(self._hub.tip or "")
        try:
            return await asyncio.to_thread(made.changed, before, values, algorithm)
        except NotMeant as error:
            raise Mistaken([(one.field, one.what, one.hint) for one in error.problems]) from None


def _the_same(known: Task, by: Actor, request: str | None) -> Outcome:
    """Answer a request whose id is borne already: by the task that it made before, or by something else."""
    if known.status.deleted:
        return Outcome(making.GONE, f"{known.id} was deleted: use another key")
    said = known.spec.extra.get(made.REQUEST)
    taken_over = said is None and known.spec.origin is not Origin.API and known.status.created_by == by.name
    if request is not None and (said == request or taken_over):
        return Outcome(task=known)
    if request is not None and said is not None:
        return Outcome(making.KEY_REUSED, f"this Idempotency-Key made {known.id} of another body", known)
    return Outcome(making.EXISTS, f"there is a task {known.id} already: use another key", known)


def _random_id() -> str:
    return _spelled(secrets.randbits(_ID_BITS))


def _spelled(bits: int) -> str:
    return "t-" + "".join(ALPHABET[bits >> 5 * place & 31] for place in reversed(range(BIRTH_CHARS)))

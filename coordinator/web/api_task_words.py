"""Tasks over HTTP, for who changes something: making, editing, judging them, an agent's words of its own (PROTOCOL 2).

A write is answered once it is durable. A word that would change nothing is 409 and says how the task stands.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import TimeoutError as Late
from contextlib import contextmanager
from typing import Any, Protocol

from flask import Blueprint, Response, g, jsonify, request
from flask.typing import ResponseReturnValue

from coordinator.core import events, making
from coordinator.core.agent import Role
from coordinator.core.events import Actor, Outcome, agent_actor
from coordinator.core.machine import Event
from coordinator.core.scheduler import Why
from coordinator.core.task import Origin, Task
from coordinator.web import present
from coordinator.web.access import Rule, forbidden, requires
from coordinator.web.app import SCHEMA_VERSION, Bridge
from coordinator.web.asked import ADMIN, Mistaken, Wrong, answer_errors, body, caller
from coordinator.web.auth import Principal
from coordinator.web.described import described
from coordinator.web.translate import word_of
from coordinator.wire import answers, bodies, frames

AgentsWord = events.Accepted | events.Progress | events.Complete | events.Failed | events.Blocked

#: Names of version 1 for keys of a specification.
_ALIASES = {"complete_by": "deadline", "assign_to": "assignee"}
#: What coordinators say -> the event, and what the answer calls it.
_WORDS = {
    "cancel": (Event.CANCEL, "cancelled"),
    "rerun": (Event.RERUN, "requeued"),
    "approve": (Event.APPROVED, "approved"),
    "reject": (Event.CHANGES_ASKED, "rejected"),
    "answer": (Event.ANSWER, "answered"),
}
_AGENTS_WORDS = ("accept", "progress", "complete", "fail", "block")
#: Refusals that are no 409.
_STATUS = {
    making.NOT_FOUND: 404,
    making.CHANGED: 412,
    making.UNSEEN: 428,
    making.NO_AGENT: 422,
    making.KEY_REUSED: 422,
    making.PROPOSALS_REFUSED: 403,
}
_REFUSALS = {403: answers.Problem, 409: answers.TaskProblem}


class Counter(Protocol):
    """What these routes need of the hub; every call is made on its loop."""

    def why(self, task: Task) -> Why | None: ...

    def place_of(self, task: Task) -> str: ...

    def task_id(self, caller: str, key: str | None) -> str: ...

    async def make(
        self, task_id: str, values: Mapping[str, Any], by: Actor, *, proposal: bool, request: str | None
    ) -> Outcome: ...

    async def edit(self, task_id: str, values: Mapping[str, Any], by: Actor, seen: frozenset[str]) -> Outcome: ...

    async def say(self, agent: str, word: AgentsWord) -> Outcome: ...

    async def confirm(self, by: Actor, names: tuple[str, ...]) -> Outcome: ...

    async def word(self, event: Event, task_id: str, by: Actor, text: str, generation: int | None) -> Outcome: ...


def blueprint(counter: Counter, bridge: Bridge) -> Blueprint:
    """Return the routes."""
    api = Blueprint("task_words", __name__, url_prefix="/api")
    answer_errors(api)

    def ask(task_id: str, make: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Return what came of a request. Raises Wrong: it was refused, or is not durable in time."""

        async def run() -> tuple[Outcome, str]:
            outcome = await make()
            return outcome, "" if outcome.task is None else counter.place_of(outcome.task)

        try:
            outcome, where = bridge.ask(run)
        except Late:
            hint = "it may still be done: look at the task, or ask with the same Idempotency-Key"
            raise Wrong(503, {"error": "unavailable", "id": task_id, "hint": hint}) from None
        if outcome.refused:
            raise Wrong(_STATUS.get(outcome.refused, 409), _refusal(task_id, outcome, where))
        return outcome

    def shown(outcome: Outcome) -> ResponseReturnValue:
        """Answer with a task as it stands now."""
        if outcome.task is None:
            raise AssertionError("a change without a task")
        task = outcome.task

        async def read() -> Why | None:
            return counter.why(task)

        said = {"schema_version": SCHEMA_VERSION, **present.task_json(task, bridge.ask(read)), "ack": outcome.ack}
        answer = jsonify(said)
        answer.set_etag(task.spec.blob)
        return answer

    def word(task_id: str, name: str, text: str, generation: int | None) -> Outcome:
        event, by = _WORDS[name][0], _actor()
        return ask(task_id, lambda: counter.word(event, task_id, by, text, generation))

    def said(task_id: str, name: str, text: str, generation: int | None) -> ResponseReturnValue:
        word(task_id, name, text, generation)
        return jsonify(status=_WORDS[name][1], task_id=task_id)

    @api.post("/tasks")
    @requires(Role.AGENT)
    @described(
        "Make a task; from an agent it is a proposal",
        {201: answers.TaskMade, **_REFUSALS},
        takes=bodies.TaskBody,
        headers=("Idempotency-Key",),
    )
    def make() -> ResponseReturnValue:
        wanted = body(bodies.TaskBody)
        if not (wanted.title or wanted.description):
            raise Wrong(400, {"error": "missing required field: title or description"})
        values, names = _values(wanted)
        by, who, key = _actor(), caller(), request.headers.get("Idempotency-Key")
        digest = None if key is None else _digest(who, key, wanted)
        proposal = not _principal().may(Role.COORDINATOR)

        async def name() -> str:
            return counter.task_id(who, key)

        task_id = bridge.ask(name)
        with _called(names):
            done = ask(task_id, lambda: counter.make(task_id, values, by, proposal=proposal, request=digest))
        return _made(done), 201, {"Location": f"/api/tasks/{task_id}"}

    @api.patch("/tasks/<task_id>")
    @requires(Role.AGENT)
    @described(
        "Say a word about a task (status), or change what is wanted of one that was made here",
        {200: answers.TaskChanged, **_REFUSALS, 412: answers.TaskProblem, 428: answers.TaskProblem},
        takes=bodies.TaskPatchBody,
        headers=("If-Match",),
    )
    def patch(task_id: str) -> ResponseReturnValue:
        wanted = body(bodies.TaskPatchBody)
        values, names = _values(wanted)
        if wanted.status is not None and values:
            raise Wrong(422, {"error": "validation_failed", "hint": "say a word or change keys, one at a time"})
        if wanted.status in _AGENTS_WORDS:
            agent, heard = _principal().agent or ADMIN, _word_of(task_id, wanted)
            return shown(ask(task_id, lambda: counter.say(agent, heard)))
        if not _principal().may(Role.COORDINATOR):
            return forbidden(Rule(Role.COORDINATOR))
        if wanted.status is not None:
            text = wanted.text or wanted.answer or wanted.note or wanted.reason or ""
            if wanted.status == "answer":
                _needs(text)
            return shown(word(task_id, wanted.status, text, wanted.generation))
        if not values:
            raise Wrong(422, {"error": "validation_failed", "hint": "nothing is said: send status, or keys to change"})
        by, seen = _actor(), _seen()
        with _called(names):
            done = ask(task_id, lambda: counter.edit(task_id, values, by, seen))
        return shown(done)

    @api.delete("/tasks/<task_id>")
    @requires(None)
    @described("Delete a task: it is cancelled and hidden, its id is never used again", {200: answers.TaskWord})
    def delete(task_id: str) -> ResponseReturnValue:
        by = _actor()
        ask(task_id, lambda: counter.word(Event.DELETED, task_id, by, "", None))
        return jsonify(status="deleted", task_id=task_id)

    @api.post("/tasks/<task_id>/retry")
    @requires(Role.COORDINATOR)
    @described("Run a finished task again", {200: answers.TaskWord, 409: answers.TaskProblem})
    def retry(task_id: str) -> ResponseReturnValue:
        task = word(task_id, "rerun", "", None).task
        return jsonify(status="requeued", task_id=task_id, priority=None if task is None else task.spec.priority.word)

    @api.post("/tasks/<task_id>/cancel")
    @requires(Role.COORDINATOR)
    @described(
        "Give a task up",
        {200: answers.TaskWord, 409: answers.TaskProblem},
        takes=bodies.NoteBody,
        needs_body=False,
    )
    def cancel(task_id: str) -> ResponseReturnValue:
        return said(task_id, "cancel", *_note())

    @api.post("/tasks/<task_id>/answer")
    @requires(Role.COORDINATOR)
    @described(
        "Answer the question of a blocked task",
        {200: answers.TaskWord, 409: answers.TaskProblem},
        takes=bodies.AnswerBody,
    )
    def answer(task_id: str) -> ResponseReturnValue:
        given = body(bodies.AnswerBody)
        text = given.text or given.answer or ""
        _needs(text)
        return said(task_id, "answer", text, given.generation)

    @api.post("/tasks/<task_id>/approve")
    @requires(Role.COORDINATOR)
    @described(
        "Approve a result in review",
        {200: answers.TaskWord, 409: answers.TaskProblem},
        takes=bodies.NoteBody,
        needs_body=False,
    )
    def approve(task_id: str) -> ResponseReturnValue:
        return said(task_id, "approve", *_note())

    @api.post("/tasks/<task_id>/reject")
    @requires(Role.COORDINATOR)
    @described(
        "Send a result in review back",
        {200: answers.TaskWord, 409: answers.TaskProblem},
        takes=bodies.NoteBody,
        needs_body=False,
    )
    def reject(task_id: str) -> ResponseReturnValue:
        return said(task_id, "reject", *_note())

    @api.post("/confirm")
    @requires(Role.COORDINATOR)
    @described("Let go on what is held", {200: answers.ConfirmedHeld}, takes=bodies.ConfirmBody, needs_body=False)
    def confirm() -> ResponseReturnValue:
        by, names = _actor(), tuple(body(bodies.ConfirmBody, optional=True).commits)
        batches = ask("", lambda: counter.confirm(by, names)).confirmed
        return jsonify(schema_version=SCHEMA_VERSION, confirmed=[present.batch_json(batch) for batch in batches])

    return api


# --- what was asked --------------------------------------------------------------------------------------------------


def _principal() -> Principal:
    principal: Principal = g.principal
    return principal


def _actor() -> Actor:
    """Return who a commit names as its author."""
    agent = _principal().agent
    return Actor("person", ADMIN, f"{ADMIN}@agentcom.invalid") if agent is None else agent_actor(agent)


def _values(said: bodies.SpecBody) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a body says of a specification, by the keys of a file, and what it calls those of another name."""
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name in sorted(said.model_fields_set & bodies.SpecBody.model_fields.keys()):
        key = _ALIASES.get(name, name)
        if key not in values or values[key] is None:
            values[key] = getattr(said, name)
            names[key] = name
    return values, names


@contextmanager
def _called(names: Mapping[str, str]) -> Iterator[None]:
    """Name wrong fields as the body names them."""
    try:
        yield
    except Mistaken as error:
        raise Mistaken(error.mistakes, names) from None


def _digest(who: str, key: str, said: bodies.TaskBody) -> str:
    """Return what tells one request from another under the same key."""
    told = json.dumps(said.model_dump(exclude_unset=True), sort_keys=True)
    return hashlib.sha256("\0".join((who, key, told)).encode()).hexdigest()[:32]


def _seen() -> frozenset[str]:
    """Return the revisions that ``If-Match`` names."""
    parts = (part.strip().strip('"') for part in request.headers.get("If-Match", "").split(","))
    return frozenset(filter(None, parts))


def _note() -> tuple[str, int | None]:
    given = body(bodies.NoteBody, optional=True)
    return given.note or given.reason or "", given.generation


def _needs(text: str) -> None:
    if not text.strip():
        raise Wrong(400, {"error": "missing required field: text"})


def _word_of(task_id: str, said: bodies.TaskPatchBody) -> AgentsWord:
    """Return an agent's word as its frame would have said it. Raises Wrong without a generation."""
    if said.generation is None:
        hint = "a word over HTTP says of which attempt it speaks: the generation of its task_assign"
        raise Wrong(400, {"error": "missing required field: generation", "hint": hint})
    at = said.generation
    frame: frames.ToHub
    match said.status:
        case "accept":
            frame = frames.TaskAccepted(task_id=task_id, generation=at)
        case "progress":
            frame = frames.TaskProgress(
                task_id=task_id, generation=at, progress=said.progress, note=said.note, tokens_used=said.tokens_used
            )
        case "complete":
            frame = frames.TaskComplete(
                task_id=task_id, generation=at, result=said.result or {}, tokens_used=said.tokens_used
            )
        case "block":
            frame = frames.TaskBlocked(
                task_id=task_id, generation=at, question=said.question or said.text or said.note or ""
            )
        case _:
            frame = frames.TaskFailed(
                task_id=task_id,
                generation=at,
                error=said.error,
                reason=said.reason,
                failure_class=said.failure_class,
                retry_at=said.retry_at,
                output_tail=said.output_tail,
            )
    word = word_of(frame)
    if not isinstance(word, AgentsWord):
        raise AssertionError(f"{said.status} is no word about a task")
    return word


# --- what came of it -------------------------------------------------------------------------------------------------


def _made(outcome: Outcome) -> Response:
    """Answer with a new task as PROTOCOL 2 shapes it."""
    if outcome.task is None:
        raise AssertionError("a task was made and is none")
    spec, status = outcome.task.spec, outcome.task.status
    return jsonify(
        id=spec.id,
        task_id=spec.id,
        status="queued",
        priority=spec.priority.word,
        created_at=status.created_at,
        held=status.held or spec.hold,
    )


def _refusal(task_id: str, outcome: Outcome, where: str) -> dict[str, Any]:
    """Return the body of an answer that says why not, how the task stands, and what to do instead."""
    if outcome.refused == making.NOT_FOUND:
        return {"error": "task_not_found", "task_id": task_id, "hint": outcome.text}
    said: dict[str, Any] = {"error": outcome.refused, "hint": outcome.text, "task_id": task_id}
    if outcome.refused == making.NO_AGENT:
        said["errors"] = [{"field": "assign_to", "error": outcome.refused, "detail": outcome.text}]
    if outcome.task is not None:
        task = outcome.task
        said |= {"status": str(task.state), "generation": task.status.generation, "revision": task.spec.blob}
        if outcome.refused == making.HAS_FILE:
            said |= {"where": where, "hint": _edit_there(task, where)}
    return said


def _edit_there(task: Task, where: str) -> str:
    if task.spec.origin is Origin.BACKLOG:
        return f"edit {where} and commit it, or give the task a file: agentcom task edit {task.id}"
    return f"edit {where} and commit it: agentcom task edit {task.id}"

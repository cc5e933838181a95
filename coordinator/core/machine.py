"""The life-cycle tables of tasks and agents: what may happen in which state, and where it may lead.

This module is the single source: the reconciler looks up every event here before it acts and checks the state that it
reached against the cell; docs/lifecycle.md is generated from it; a test walks every pair. It knows no task and no time.
A missing cell is a dash in the table: the event changes nothing in that state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a task stands. Everything else that keeps a task from running is a reason, not a state."""

    QUEUED = "queued"
    ASSIGNED = "assigned"
    WORKING = "working"
    BLOCKED = "blocked"
    IN_REVIEW = "in_review"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


#: An agent owns the task.
OWNED = frozenset({State.ASSIGNED, State.WORKING, State.BLOCKED})
FINISHED = frozenset({State.DONE, State.FAILED, State.REJECTED, State.CANCELLED})
OPEN = frozenset(State) - FINISHED


class Event(StrEnum):
    """What can happen to a task: one row of the table."""

    ASSIGN = "assign"
    ACCEPTED = "accepted"
    BUSY = "busy"
    REJECTED = "rejected"
    PROGRESS = "progress"
    COMPLETE = "complete"
    FAILED = "failed"
    PARKING = "parking"
    BUDGET = "budget"
    BLOCKED = "blocked"
    ANSWER = "answer"
    BLOCKED_TIMEOUT = "blocked_timeout"
    LEASE_ENDED = "lease_ended"
    NOT_ACCEPTED = "not_accepted"
    ATTEMPT_TIMEOUT = "attempt_timeout"
    STUCK = "stuck"
    STUCK_TIMEOUT = "stuck_timeout"
    DEADLINE = "deadline"
    CANCEL = "cancel"
    ORPHANED = "orphaned"
    PUT_BACK = "put_back"
    DONE_BY_HAND = "done_by_hand"
    HOLD = "hold"
    SPEC_EDITED = "spec_edited"
    RERUN = "rerun"
    APPROVED = "approved"
    CHANGES_ASKED = "changes_asked"
    AGENT_DISABLED = "agent_disabled"
    RECOVERING = "recovering"
    HUB_RESTART = "hub_restart"
    NEW_HUB = "new_hub"
    HANDED_BACK = "handed_back"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: the rule that acts, and every state that it may leave the task in."""

    rule: str
    to: frozenset[State]


def _cell(rule: str, *to: State) -> Cell:
    return Cell(rule, frozenset(to))


def _row(
    queued: Cell | None = None,
    assigned: Cell | None = None,
    working: Cell | None = None,
    blocked: Cell | None = None,
    in_review: Cell | None = None,
    finished: Cell | None = None,
) -> dict[State, Cell]:
    """Build one row; ``finished`` stands for done, failed, rejected and cancelled alike."""
    cells = {
        State.QUEUED: queued,
        State.ASSIGNED: assigned,
        State.WORKING: working,
        State.BLOCKED: blocked,
        State.IN_REVIEW: in_review,
        **dict.fromkeys(sorted(FINISHED), finished),
    }
    return {state: cell for state, cell in cells.items() if cell is not None}


_Q, _A, _W, _B, _R = State.QUEUED, State.ASSIGNED, State.WORKING, State.BLOCKED, State.IN_REVIEW
_DONE, _FAILED, _REJECTED, _CANCELLED = State.DONE, State.FAILED, State.REJECTED, State.CANCELLED
_STAYS_FINISHED = (_DONE, _FAILED, _REJECTED, _CANCELLED)

_BACK = _cell("requeue", _Q, _CANCELLED)
_RETRY = _cell("retry", _Q, _FAILED, _CANCELLED)
_EXCLUDE = _cell("exclude", _Q, _REJECTED, _CANCELLED)
_PARK = _cell("park_and_requeue", _Q, _CANCELLED)
_FINISH = _cell("finish", _DONE, _R)
_FAIL = _cell("fail", _FAILED, _CANCELLED)
_CANCEL = _cell("cancel", _CANCELLED)
_BY_HAND = _cell("done_by_hand", _DONE)
_FORGET = _cell("requeue_for_new_hub", _Q, _CANCELLED)


def _same(rule: str, *states: State) -> dict[State, Cell]:
    """Build cells that leave each of the states as it is."""
    return {state: _cell(rule, state) for state in states}


_DELETE = _cell("delete", _CANCELLED)

#: state -> cell for every event; DESIGN 4, row by row.
TASK: Mapping[Event, Mapping[State, Cell]] = {
    Event.ASSIGN: _row(queued=_cell("assign", _A)),
    Event.ACCEPTED: _row(
        _cell("start_late", _W),
        _cell("start", _W),
        _cell("ack_again", _W),
        _cell("ack_again", _B),
        None,
        None,
    )
    | _same("ack_again_if_done", *_STAYS_FINISHED),
    Event.BUSY: _row(
        None,
        _cell("busy", _Q, _W, _CANCELLED),
        _cell("stay", _W),
        _cell("stay", _B),
    ),
    Event.REJECTED: _row(_EXCLUDE, _EXCLUDE, _EXCLUDE, _EXCLUDE),
    Event.PROGRESS: _row(
        _cell("start_late", _W),
        _cell("start", _W),
        _cell("refresh", _W),
        _cell("refresh", _B),
    ),
    Event.COMPLETE: _row(_FINISH, _FINISH, _FINISH, _FINISH, _cell("complete_again", _R))
    | _same("complete_again", *_STAYS_FINISHED),
    Event.FAILED: _row(_RETRY, _RETRY, _RETRY, _RETRY) | _same("failed_again", *_STAYS_FINISHED),
    Event.PARKING: _row(_cell("park_late", _Q), _PARK, _PARK, _PARK) | _same("park", *_STAYS_FINISHED),
    Event.BUDGET: _row(_FAIL, _FAIL, _FAIL, _FAIL) | _same("failed_again", *_STAYS_FINISHED),
    Event.BLOCKED: _row(_cell("block_late", _B), _cell("block", _B), _cell("block", _B), _cell("ask_again", _B)),
    Event.ANSWER: _row(
        _cell("record_answer", _Q),
        _cell("record_answer", _A),
        _cell("answer_working", _W),
        _cell("answer_blocked", _W, _Q, _CANCELLED),
        _cell("record_answer", _R),
    )
    | _same("record_answer", *_STAYS_FINISHED),
    Event.BLOCKED_TIMEOUT: _row(blocked=_BACK),
    Event.LEASE_ENDED: _row(assigned=_BACK, working=_RETRY, blocked=_BACK),
    Event.NOT_ACCEPTED: _row(assigned=_cell("not_accepted", _Q, _CANCELLED)),
    Event.ATTEMPT_TIMEOUT: _row(working=_RETRY),
    Event.STUCK: _row(working=_cell("flag_stuck", _W)),
    Event.STUCK_TIMEOUT: _row(working=_RETRY),
    Event.DEADLINE: _row(_FAIL, _FAIL, _FAIL, _FAIL),
    Event.CANCEL: _row(_CANCEL, _CANCEL, _CANCEL, _CANCEL, _CANCEL),
    Event.ORPHANED: _row(_CANCEL, _CANCEL, _cell("orphan", _W), _cell("orphan", _B), _cell("orphan", _R)),
    Event.PUT_BACK: _row(None, None, _cell("want_again", _W), _cell("want_again", _B), _cell("want_again", _R)),
    Event.DONE_BY_HAND: _row(_BY_HAND, _BY_HAND, _BY_HAND, _BY_HAND, _BY_HAND),
    Event.HOLD: _row(_cell("hold", _Q), _cell("hold", _A), _cell("hold", _W), _cell("hold", _B)),
    Event.SPEC_EDITED: _row(
        _cell("edit", _Q),
        _cell("edit_owned", _A),
        _cell("edit_owned", _W),
        _cell("edit_owned", _B),
        _cell("edit", _R),
    ),
    Event.RERUN: _row(
        _cell("record_rerun", _Q),
        _cell("record_rerun", _A),
        _cell("record_rerun", _W),
        _cell("record_rerun", _B),
        _cell("rerun", _Q),
        _cell("rerun", _Q),
    ),
    Event.APPROVED: _row(in_review=_cell("approve", _DONE)),
    Event.CHANGES_ASKED: _row(in_review=_cell("ask_changes", _Q, _CANCELLED)),
    Event.AGENT_DISABLED: _row(assigned=_BACK, working=_BACK, blocked=_BACK),
    Event.RECOVERING: _row(
        _cell("recover_late", _W),
        _cell("recover", _W),
        _cell("stay", _W),
        _cell("stay", _B),
    ),
    Event.HUB_RESTART: _row(
        _cell("keep", _Q), _cell("grace", _A), _cell("grace", _W), _cell("grace", _B), _cell("keep", _R)
    )
    | _same("keep", *_STAYS_FINISHED),
    Event.NEW_HUB: _row(_FORGET, _FORGET, _FORGET, _FORGET, _cell("raise_generation", _R)),
    Event.HANDED_BACK: _row(assigned=_BACK, working=_BACK, blocked=_BACK),
    Event.DELETED: _row(_DELETE, _DELETE, _DELETE, _DELETE, _DELETE) | _same("hide", *_STAYS_FINISHED),
}


class AgentState(StrEnum):
    """Where an agent stands. Connected is not the same as busy."""

    OFFLINE = "offline"
    IDLE = "idle"
    ASSIGNED = "assigned"
    WORKING = "working"
    BLOCKED = "blocked"
    RELEASING = "releasing"


class AgentEvent(StrEnum):
    """What can happen to an agent: one row of its table."""

    CONNECT = "connect"
    CONNECT_OWNING = "connect_owning"
    DISCONNECT = "disconnect"
    ASSIGN = "assign"
    START = "start"
    BLOCK = "block"
    ANSWER = "answer"
    FREE = "free"
    RELEASE = "release"


_AO, _AI, _AA, _AW, _AB, _AR = (
    AgentState.OFFLINE,
    AgentState.IDLE,
    AgentState.ASSIGNED,
    AgentState.WORKING,
    AgentState.BLOCKED,
    AgentState.RELEASING,
)

#: state -> next state for every agent event. A missing key is illegal.
AGENT: Mapping[AgentEvent, Mapping[AgentState, AgentState]] = {
    AgentEvent.CONNECT: {_AO: _AI},
    AgentEvent.CONNECT_OWNING: {_AO: _AA},
    AgentEvent.DISCONNECT: {_AI: _AO, _AA: _AO, _AW: _AO, _AB: _AO, _AR: _AO},
    AgentEvent.ASSIGN: {_AI: _AA},
    AgentEvent.START: {_AI: _AW, _AA: _AW, _AW: _AW, _AB: _AW, _AR: _AW},
    AgentEvent.BLOCK: {_AI: _AB, _AA: _AB, _AW: _AB, _AB: _AB, _AR: _AB},
    AgentEvent.ANSWER: {_AB: _AW},
    AgentEvent.FREE: {_AI: _AI, _AA: _AI, _AW: _AI, _AB: _AI, _AR: _AI},
    AgentEvent.RELEASE: {_AI: _AR, _AA: _AR, _AW: _AR, _AB: _AR},
}

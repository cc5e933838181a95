"""The sidecar's decisions: ``handle(event, now) -> effects``, in the order in which they must happen.

Here lives what a sidecar promises: one attempt in hand at most, nothing said before it is durable, no attempt run
twice, no result forgotten before the hub has answered for it. It knows no file, socket, process or clock; ``now`` is
seconds on a monotonic clock. A crash may come between any two effects: what the last ``Persist`` held remains.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from math import inf
from typing import assert_never

from coordinator.wire.frames import (
    AgentRestarting,
    Drain,
    Error,
    Held,
    Identified,
    Pong,
    StateReportAck,
    TaskAccepted,
    TaskAck,
    TaskAssign,
    TaskBlocked,
    TaskCancelled,
    TaskComplete,
    TaskContinue,
    TaskFailed,
    TaskProgress,
    TaskReassign,
    TaskRecovering,
    TaskRejected,
    TaskReleased,
    TaskUpdated,
    WakeResult,
)
from sidecar.events import (
    Closed,
    Effect,
    Ended,
    Event,
    Exit,
    Hello,
    Kill,
    Opened,
    Persist,
    Questioned,
    Received,
    RemoveFiles,
    Reported,
    Restored,
    Resume,
    Say,
    Send,
    Start,
    Stop,
    Tick,
    ToHub,
    Update,
)
from sidecar.values import TASK_ID, Attempt, Blocked, Failure, Fate, Key, Outcome, Parcel, Queue, Stage, Success, key_of

#: What a run that died with its sidecar is reported as (DECISIONS 13).
STOPPED_DURING_RUN = "sidecar stopped during the run"
#: Answers after which no hub will ever take this result: the attempt is not current, not ours, or gone (PROTOCOL 1.1).
NEVER_ACCEPTED = frozenset({"stale_generation", "invalid_state", "not_found", "not_owner"})
#: Acks that answer for a result. ``rejected`` answers for a task handed back.
RESULT_ACKS = frozenset({"complete", "failed", "retried", "dead_letter"})
#: A hand-back is not answered when the hub has moved on by itself; then it is forgotten after this many tries.
HAND_BACK_TRIES = 3
#: How many finished attempts are remembered against late and repeated assignments.
ENDED_KEPT = 200


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds; ``once`` ends the sidecar after its first attempt is answered for.

    ``outlives``: the agent is no child of this sidecar. It goes on when the sidecar stops, so that
    its work is not handed back.
    """

    resend_every: float = 30.0
    progress_every: float = 60.0
    stop_grace: float = 10.0
    #: How long a stopping sidecar waits for the hub's last answers; what is not answered stays in the queue.
    linger: float = 3.0
    once: bool = False
    outlives: bool = False


class Release(Enum):
    """What to tell the hub when a killed attempt is dead."""

    #: Nothing: a newer generation takes its place.
    NOTHING = "nothing"
    #: The slot is free.
    FREE = "free"
    #: The slot is free, and whoever still thinks that the task is ours may give it to somebody else.
    DROPPED = "dropped"
    #: We give it back by our own wish, and that word must arrive.
    HANDED_BACK = "handed back"


@dataclass(frozen=True, slots=True)
class _Slot:
    """The attempt in hand. ``waiting``: restored, not started, and the hub has not yet said that it is still ours."""

    attempt: Attempt
    acked: bool = False
    waiting: bool = False
    dying: Release | None = None
    next: TaskAssign | None = None
    progress_due: float = 0.0
    #: What the agent has said last of how far it is; said again with every sign of life.
    told: Reported | None = None
    #: What the agent waits for an answer to, and when it is said again; ``inf`` once the hub has it.
    question: str | None = None
    question_due: float = 0.0

    @property
    def key(self) -> Key:
        return self.attempt.key


@dataclass(slots=True)
class _Sending:
    """What this process knows of one parcel's delivery."""

    due: float = 0.0
    tries: int = 0
    sent_here: bool = False


class Core:
    """The sidecar as a value that steps: feed events, perform the effects in order."""

    def __init__(self, queue: Queue, settings: Settings) -> None:
        self._settings = settings
        self._slot = _Slot(queue.attempt, waiting=True) if queue.attempt else None
        self._parcels = {parcel.key: parcel for parcel in queue.parcels}
        self._sending = {key: _Sending() for key in self._parcels}
        self._ended = {key.task_id: key.generation for key in queue.ended}
        self._identified = False
        self._greeted = False
        self._draining = False
        self._stopping = False
        self._hand_back_at: float | None = None
        self._exit_at: float | None = None
        self._exited = False
        self._took = queue.attempt is not None
        self._out: list[Effect] = []

    # --- what can be asked ------------------------------------------------------------------------------------------

    @property
    def queue(self) -> Queue:
        """What must be on disk for a crash now to lose nothing."""
        return Queue(
            attempt=self._slot.attempt if self._slot else None,
            parcels=tuple(self._parcels.values()),
            ended=tuple(Key(task_id, generation) for task_id, generation in self._ended.items()),
        )

    @property
    def working_on(self) -> Key | None:
        """The attempt that holds the slot."""
        return self._slot.key if self._slot else None

    def next_due(self) -> float | None:
        """Return when ``Tick`` is wanted at the latest, None when time changes nothing."""
        due = [at for at in (self._hand_back_at, self._exit_at) if at is not None]
        if self._identified:
            due += [self._sending[key].due for key in self._parcels]
            if self._slot and self._reports_progress(self._slot):
                due.append(self._slot.progress_due)
                if self._slot.question is not None and self._slot.question_due < inf:
                    due.append(self._slot.question_due)
        return min(due, default=None)

    # --- the one way in ---------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event and return the effects that it asks for, in order; ``now`` in monotonic seconds."""
        self._out = []
        match event:
            case Restored():
                self._restored(event, now)
            case Opened():
                self._out.append(Hello(self._holding()))
            case Closed():
                self._identified = False
                for sending in self._sending.values():
                    sending.sent_here = False
            case Received():
                self._received(event, now)
            case Ended():
                self._attempt_ended(event.key, event.outcome, now)
            case Reported():
                self._reported(event, now)
            case Questioned():
                self._questioned(event, now)
            case Tick():
                pass
            case Stop():
                self._stop(now)
            case _:
                assert_never(event)
        self._clock(now)
        return self._out

    def _received(self, event: Received, now: float) -> None:
        frame = event.frame
        match frame:
            case Identified():
                self._on_identified(now)
                self._greet(frame.parked)
            case TaskAssign():
                self._assigned(frame, event.refusal, now)
            case TaskAck():
                self._acked(frame, now)
            case Error():
                self._error(frame, now)
            case TaskContinue():
                self._continue(frame, now)
            case TaskCancelled():
                self._cancelled(Key(frame.task_id, frame.generation), frame.reason, now)
            case TaskReassign():
                self._drop(frame.task_id, frame.generation, now)
            case StateReportAck():
                if frame.action == "abort":
                    self._drop(frame.task_id, None, now)
            case TaskUpdated():
                self._updated(frame, now)
            case Drain():
                self._draining = True
                self._say(f"draining: no new work ({frame.reason or 'no reason given'})")
            case Pong():
                pass
            case _:
                assert_never(frame)

    # --- beginning and end of a session -----------------------------------------------------------------------------

    def _holding(self) -> tuple[Held, ...]:
        """Name the newest generation of each task in hand; an older one would be dropped together with it."""
        kept = [key for key in sorted(self._parcels) if not isinstance(self._parcels[key].frame, TaskReleased)]
        held = {key.task_id: key.generation for key in kept}
        if self._slot and self._slot.dying is not Release.HANDED_BACK:
            held[self._slot.key.task_id] = max(self._slot.key.generation, held.get(self._slot.key.task_id, 0))
        return tuple(Held(task_id=task_id, generation=generation) for task_id, generation in held.items())

    def _on_identified(self, now: float) -> None:
        self._identified = True
        self._draining = self._stopping or (self._settings.once and self._took)
        if self._draining:
            self._send(AgentRestarting())
        for key in sorted(self._parcels):
            self._send_parcel(self._parcels[key], now)
        slot = self._slot
        if slot is None or slot.dying:
            return
        if slot.waiting:
            # After a crash nobody here knows whether it is still ours; the answer is task_continue or task_reassign.
            self._send(
                TaskRecovering(task_id=slot.key.task_id, generation=slot.key.generation, last_status=Stage.ACCEPTED)
            )
            return
        if not slot.acked:
            self._accept(slot.key)
        self._slot = replace(
            slot,
            question_due=slot.question_due if slot.question_due == inf else now,
            progress_due=slot.progress_due if slot.told is None else now,
        )

    def _greet(self, parked: str | None) -> None:
        """Pass a wake check once for each start, after what is still to be said: its program is there."""
        if not self._greeted:
            self._greeted = True
            self._send(WakeResult(status="success"))
            if parked:
                self._say(f"the hub had parked this agent ({parked}); its program is there, so it asks for work again")
        elif parked:
            self._say(
                f"the hub gives this agent no work ({parked}): mend that, then start this sidecar again", warn=True
            )

    def _restored(self, event: Restored, now: float) -> None:
        outcome, slot = event.outcome, self._slot
        if slot is None:
            return
        if slot.attempt.stage is Stage.RUNNING and outcome is None and event.goes_on:
            self._slot = replace(slot, waiting=False, progress_due=now + self._settings.progress_every)
            self._out.append(Resume(slot.attempt.assignment))
            self._say(f"{slot.key.task_id}: was in hand before; going on with it", slot.key.task_id)
            return
        if slot.attempt.stage is Stage.RUNNING:
            found = outcome or Failure(STOPPED_DURING_RUN)
            self._say(f"{slot.key.task_id}: found after a crash: {_describe(found)}", slot.key.task_id, warn=True)
            self._attempt_ended(slot.key, found, now)
        else:
            self._say(f"{slot.key.task_id}: accepted before a crash, not started; asking the hub", slot.key.task_id)

    # --- assignments ------------------------------------------------------------------------------------------------

    def _assigned(self, frame: TaskAssign, refusal: str | None, now: float) -> None:
        key = key_of(frame)
        slot = self._slot
        if not TASK_ID.match(frame.task_id):
            self._reject(key, "this sidecar takes task ids of [a-z0-9-] only", warn=True)
        elif key in self._parcels:
            self._send_parcel(self._parcels[key], now)
        elif slot is not None and slot.key == key:
            self._assigned_again(slot, now)
        elif slot is not None and slot.key.task_id == key.task_id:
            self._assigned_other_generation(slot, frame, now)
        elif key.generation <= self._ended.get(key.task_id, -1):
            # It ran here and was answered for. Whoever sends it again thinks that it is in hand; it is not.
            self._released(key, unfinished=True)
        elif slot is not None or self._draining:
            self._reject(key, "busy")
        elif refusal is not None:
            self._reject(key, refusal)
        else:
            self._take(frame, now)

    def _assigned_again(self, slot: _Slot, now: float) -> None:
        if slot.dying:
            return
        if slot.waiting:
            self._begin(replace(slot, waiting=False), now)
        else:
            self._accept(slot.key)

    def _assigned_other_generation(self, slot: _Slot, frame: TaskAssign, now: float) -> None:
        key = key_of(frame)
        newest = key_of(slot.next).generation if slot.next else slot.key.generation
        if key.generation <= newest:
            return
        if self._draining:
            self._reject(key, "busy")
        elif slot.waiting:
            self._slot = None
            self._remember_ended(slot.key)
            self._take(frame, now)
        else:
            self._say(f"{key.task_id}: generation {key.generation} replaces {slot.key.generation}", key.task_id)
            self._slot = replace(slot, next=frame)
            self._kill(Release.NOTHING)

    def _take(self, frame: TaskAssign, now: float) -> None:
        self._took = True
        slot = _Slot(Attempt(Stage.ACCEPTED, frame))
        self._slot = slot
        self._persist()
        self._accept(slot.key)
        if self._settings.once and not self._draining:
            self._draining = True
            self._send(AgentRestarting())
        self._say(f"{slot.key.task_id}: accepted, generation {slot.key.generation}: {frame.title}", slot.key.task_id)
        self._begin(slot, now)

    def _begin(self, slot: _Slot, now: float) -> None:
        """Start the attempt; the durable stage before it is what makes a second start impossible."""
        self._slot = replace(
            slot,
            attempt=replace(slot.attempt, stage=Stage.RUNNING),
            progress_due=now + self._settings.progress_every,
        )
        self._persist()
        self._out.append(Start(slot.attempt.assignment))

    # --- while it runs ----------------------------------------------------------------------------------------------

    def _reported(self, event: Reported, now: float) -> None:
        slot = self._slot
        if slot is None or slot.key != event.key or slot.dying:
            return
        before = slot.told or Reported(event.key)
        told = Reported(
            event.key,
            before.progress if event.progress is None else event.progress,
            before.note if event.note is None else event.note,
            before.tokens_used if event.tokens_used is None else event.tokens_used,
        )
        self._slot = replace(slot, told=told, progress_due=now)

    def _questioned(self, event: Questioned, now: float) -> None:
        slot = self._slot
        if slot is None or slot.key != event.key or slot.dying:
            return
        self._slot = replace(slot, question=event.question, question_due=now)
        if event.question is not None:
            self._say(f"{slot.key.task_id}: asks: {event.question}", slot.key.task_id)

    def _updated(self, frame: TaskUpdated, now: float) -> None:
        key, slot = Key(frame.task_id, frame.generation), self._slot
        if slot is not None and slot.key == key:
            self._out.append(Update(key, frame))
            what = "answered" if frame.answer is not None else "changed while it is being worked on"
            self._say(f"{key.task_id}: {what}; that is beside its packet", key.task_id)
        elif frame.answer is not None and key in self._parcels and self._parcels[key].is_question:
            # Nobody is there to go on; the next attempt gets the answer in its packet.
            self._store(Parcel(key, TaskReleased(task_id=key.task_id, generation=key.generation, unfinished=True)), now)

    # --- the end of an attempt --------------------------------------------------------------------------------------

    def _attempt_ended(self, key: Key, outcome: Outcome | None, now: float) -> None:
        slot = self._slot
        if slot is None or slot.key != key:
            return
        self._slot = None
        self._remember_ended(key)
        if outcome is None and slot.dying is None:
            outcome = Failure("the run ended without a word")
        if isinstance(outcome, Blocked) and slot.dying not in (None, Release.HANDED_BACK):
            outcome = None  # nobody waits for the answer any more
        if outcome is not None:
            self._store(Parcel(key, _fate(key, outcome)), now)
            self._say(f"{key.task_id}: {_describe(outcome)}", key.task_id, warn=isinstance(outcome, Failure))
        elif slot.dying is Release.HANDED_BACK:
            self._store(Parcel(key, TaskReleased(task_id=key.task_id, generation=key.generation, unfinished=True)), now)
            self._say(f"{key.task_id}: handed back unfinished", key.task_id, warn=True)
        else:
            self._persist()
            self._out.append(RemoveFiles(key))
        if slot.dying in (Release.FREE, Release.DROPPED):
            self._released(key, unfinished=slot.dying is Release.DROPPED and outcome is None)
        if slot.next is not None:
            if self._draining:
                self._reject(key_of(slot.next), "busy")
            else:
                self._take(slot.next, now)

    def _store(self, parcel: Parcel, now: float) -> None:
        self._parcels[parcel.key] = parcel
        self._sending[parcel.key] = _Sending()
        self._persist()
        if self._identified:
            self._send_parcel(parcel, now)

    def _cancelled(self, key: Key, reason: str, now: float) -> None:
        slot = self._slot
        self._forget_question(key.task_id, key.generation, reason or "cancelled")
        if slot is not None and slot.next is not None and key_of(slot.next) == key:
            self._slot = replace(slot, next=None)
            self._released(key)
        elif slot is not None and slot.key.task_id == key.task_id and key.generation >= slot.key.generation:
            self._say(f"{key.task_id}: cancelled: {reason or 'no reason given'}", key.task_id, warn=True)
            self._end_early(Release.FREE, now)
        elif slot is None or slot.key != key:
            # The hub keeps this agent's slot until it hears that nothing of the attempt runs any more.
            self._released(key)

    def _drop(self, task_id: str, generation: int | None, now: float) -> None:
        slot = self._slot
        self._forget_question(task_id, generation, "the hub gave it to somebody else")
        if slot is None or slot.key.task_id != task_id:
            return
        if generation is None or generation == slot.key.generation:
            self._say(f"{task_id}: the hub gave it to somebody else", task_id, warn=True)
            self._end_early(Release.DROPPED, now)

    def _end_early(self, release: Release, now: float) -> None:
        """End the attempt in hand: by killing it, or at once when nothing was started."""
        slot = self._slot
        if slot is None:
            return
        if not slot.waiting:
            self._kill(release)
            return
        self._slot = None
        self._remember_ended(slot.key)
        if release is Release.HANDED_BACK:
            self._store(
                Parcel(
                    slot.key,
                    TaskReleased(task_id=slot.key.task_id, generation=slot.key.generation, unfinished=True),
                ),
                now,
            )
        else:
            self._persist()
            self._released(slot.key, unfinished=release is Release.DROPPED)

    def _kill(self, release: Release) -> None:
        """Kill the running attempt once; a later, stronger wish about what to say replaces an earlier one."""
        slot = self._slot
        if slot is None:
            return
        ours = release is Release.HANDED_BACK
        if slot.dying is None or (slot.dying is Release.HANDED_BACK and not ours):
            self._out.append(Kill(slot.key, ours))
        if slot.dying is None or slot.dying is Release.NOTHING or release is Release.FREE:
            self._slot = replace(slot, dying=release)

    # --- answers of the hub -----------------------------------------------------------------------------------------

    def _acked(self, frame: TaskAck, now: float) -> None:
        slot = self._slot
        if frame.status in RESULT_ACKS:
            self._forget(frame.task_id, frame.generation, lambda parcel: parcel.is_result, frame.status)
        elif frame.status == "rejected":
            self._forget(frame.task_id, frame.generation, _is_hand_back, "handed back")
        elif frame.status == "blocked":
            key = self._forget(
                frame.task_id, frame.generation, lambda parcel: parcel.is_question, "it waits for people"
            )
            if key is not None:
                self._released(key)
            elif slot is not None and slot.key == (frame.task_id, frame.generation or slot.key.generation):
                self._slot = replace(slot, question_due=inf)
        elif slot is not None and frame.status == "accepted" and slot.key.task_id == frame.task_id:
            if frame.generation not in (None, slot.key.generation):
                return
            self._slot = replace(slot, acked=True)
            if slot.waiting and frame.generation is not None and not slot.dying:
                self._begin(replace(slot, acked=True, waiting=False), now)

    def _error(self, frame: Error, now: float) -> None:
        code, _, reason = frame.error.partition(": ")
        if not reason:
            # Some hubs send the reason as the detail.
            reason = frame.detail
        reason = reason.split(" ", 1)[0]
        task_id = frame.task_id
        if task_id is not None and code in ("task_complete_failed", "task_fail_failed") and reason in NEVER_ACCEPTED:
            self._forget(task_id, frame.generation, lambda parcel: parcel.is_result, reason)
            return
        if task_id is not None and code == "task_update_failed" and reason in NEVER_ACCEPTED:
            self._forget(task_id, frame.generation, lambda parcel: not parcel.is_result, reason)
            slot = self._slot
            # Without a generation it may be about an older attempt; task_cancelled, which follows, names the right one.
            if slot and reason != "invalid_state" and slot.key == (task_id, frame.generation):
                self._say(f"{task_id}: the hub says {reason}; the work is dropped", task_id, warn=True)
                self._end_early(Release.FREE, now)
            return
        detail = f": {frame.detail}" if frame.detail else ""
        self._out.append(Say(f"the hub says {frame.error}{detail}", "error", task_id))

    def _continue(self, frame: TaskContinue, now: float) -> None:
        key = Key(frame.task_id, frame.generation)
        slot = self._slot
        if slot is not None and slot.key == key:
            if slot.waiting and not slot.dying:
                self._begin(replace(slot, acked=True, waiting=False), now)
        elif key in self._parcels:
            self._send_parcel(self._parcels[key], now)
        elif slot is None or slot.key.task_id != key.task_id:
            self._released(key, unfinished=True)

    def _forget(self, task_id: str, generation: int | None, kind: Callable[[Parcel], bool], why: str) -> Key | None:
        """Forget the parcel that an answer means: the generation it names, else the oldest one said in this session.

        Return what it was, None when there is no such parcel.
        """
        for key in sorted(self._parcels):
            parcel = self._parcels[key]
            matches = self._sending[key].sent_here if generation is None else key.generation == generation
            if key.task_id == task_id and kind(parcel) and matches:
                del self._parcels[key], self._sending[key]
                self._persist()
                self._out.append(RemoveFiles(key))
                self._say(f"{task_id}: the hub has it ({why})", task_id, warn=why in NEVER_ACCEPTED)
                return key
        return None

    def _forget_question(self, task_id: str, generation: int | None, why: str) -> None:
        """Forget a question that the hub does not wait with any more: that generation's, older ones', or any."""
        for key in [key for key in sorted(self._parcels) if self._parcels[key].is_question and key.task_id == task_id]:
            if generation is None or key.generation <= generation:
                del self._parcels[key], self._sending[key]
                self._persist()
                self._out.append(RemoveFiles(key))
                self._say(f"{task_id}: its question is dropped ({why})", task_id, warn=True)

    # --- stopping and time ------------------------------------------------------------------------------------------

    def _stop(self, now: float) -> None:
        again, self._stopping, self._draining = self._stopping, True, True
        if not again:
            self._send(AgentRestarting())  # before anything is given back, or it would come straight to us again
        slot = self._slot
        if slot is None:
            self._say("stopping")
        elif self._goes_on_alone(slot):
            self._say(f"stopping: the agent goes on with {slot.key.task_id}; its result is reported at the next start")
        elif slot.waiting or again or self._settings.stop_grace <= 0:
            self._hand_back_at = None
            self._end_early(Release.HANDED_BACK, now)
        else:
            self._hand_back_at = now + self._settings.stop_grace
            self._say(
                f"stopping: {slot.key.task_id} has {self._settings.stop_grace:g} s to finish, then it is handed back"
            )

    def _clock(self, now: float) -> None:
        """Do what is due at ``now``."""
        slot = self._slot
        if self._hand_back_at is not None and (slot is None or now >= self._hand_back_at):
            self._hand_back_at = None
            if slot is not None:
                self._end_early(Release.HANDED_BACK, now)
        if self._identified:
            for key in sorted(self._parcels):
                if now >= self._sending[key].due:
                    self._send_parcel(self._parcels[key], now)
            slot = self._slot
            if slot is not None and self._reports_progress(slot) and now >= slot.progress_due:
                self._slot = slot = replace(slot, progress_due=now + self._settings.progress_every)
                self._send(_sign_of_life(slot))
            if slot is not None and self._reports_progress(slot) and slot.question and now >= slot.question_due:
                self._slot = replace(slot, question_due=now + self._settings.resend_every)
                self._send(
                    TaskBlocked(task_id=slot.key.task_id, generation=slot.key.generation, question=slot.question)
                )
        self._maybe_exit(now)

    def _maybe_exit(self, now: float) -> None:
        leaving = self._stopping or (self._settings.once and self._took)
        alone = self._slot is not None and self._stopping and self._goes_on_alone(self._slot)
        if not leaving or (self._slot is not None and not alone) or self._exited:
            return
        if self._parcels and not self._stopping:
            return
        if self._parcels and self._identified:
            self._exit_at = now + self._settings.linger if self._exit_at is None else self._exit_at
            if now < self._exit_at:
                return
        if self._parcels:
            self._say(f"{len(self._parcels)} unanswered, kept for the next start", warn=True)
        self._exit_at = None
        self._exited = True
        self._out.append(Exit(0))

    # --- small words ------------------------------------------------------------------------------------------------

    def _goes_on_alone(self, slot: _Slot) -> bool:
        return self._settings.outlives and slot.attempt.stage is Stage.RUNNING and slot.dying is None

    def _reports_progress(self, slot: _Slot) -> bool:
        return slot.attempt.stage is Stage.RUNNING and slot.dying is None

    def _persist(self) -> None:
        self._out.append(Persist(self.queue))

    def _send(self, frame: ToHub) -> None:
        if self._identified:
            self._out.append(Send(frame))

    def _send_parcel(self, parcel: Parcel, now: float) -> None:
        sending = self._sending[parcel.key]
        if _is_hand_back(parcel) and sending.tries >= HAND_BACK_TRIES:
            del self._parcels[parcel.key], self._sending[parcel.key]
            self._persist()
            return
        sending.due = now + self._settings.resend_every
        if self._identified:
            sending.tries += 1
            sending.sent_here = True
        self._send(parcel.frame)

    def _accept(self, key: Key) -> None:
        self._send(TaskAccepted(task_id=key.task_id, generation=key.generation))

    def _reject(self, key: Key, reason: str, warn: bool = False) -> None:
        self._send(TaskRejected(task_id=key.task_id, generation=key.generation, reason=reason))
        self._say(f"{key.task_id}: not taken: {reason}", key.task_id, warn=warn)

    def _released(self, key: Key, unfinished: bool = False) -> None:
        self._send(TaskReleased(task_id=key.task_id, generation=key.generation, unfinished=unfinished))

    def _remember_ended(self, key: Key) -> None:
        newest = max(key.generation, self._ended.pop(key.task_id, key.generation))
        self._ended[key.task_id] = newest
        while len(self._ended) > ENDED_KEPT:
            del self._ended[next(iter(self._ended))]

    def _say(self, text: str, task_id: str | None = None, warn: bool = False) -> None:
        self._out.append(Say(text, "warning" if warn else "info", task_id))


def _is_hand_back(parcel: Parcel) -> bool:
    return isinstance(parcel.frame, TaskReleased)


def _sign_of_life(slot: _Slot) -> TaskProgress:
    told = slot.told or Reported(slot.key)
    return TaskProgress(
        task_id=slot.key.task_id,
        generation=slot.key.generation,
        progress=told.progress,
        note=told.note,
        tokens_used=told.tokens_used,
    )


def _fate(key: Key, outcome: Outcome) -> Fate:
    """Return the frame that tells the hub of an outcome (PROTOCOL 1.4)."""
    match outcome:
        case Success():
            return TaskComplete(
                task_id=key.task_id,
                generation=key.generation,
                result=dict(outcome.result),
                tokens_used=outcome.tokens_used,
            )
        case Failure():
            return TaskFailed(
                task_id=key.task_id,
                generation=key.generation,
                error=outcome.error,
                failure_class=outcome.failure_class,
                retry_at=outcome.retry_at,
                output_tail=outcome.output_tail or None,
            )
        case Blocked():
            return TaskBlocked(task_id=key.task_id, generation=key.generation, question=outcome.question)
        case _:
            assert_never(outcome)


def _describe(outcome: Outcome) -> str:
    if isinstance(outcome, Success):
        return "done"
    if isinstance(outcome, Blocked):
        return f"waits for an answer: {outcome.question}"
    text = f"failed ({outcome.failure_class}): {outcome.error}"
    if outcome.failure_class == "environment":
        return f"{text}; the hub gives this agent no more work until that is mended and this sidecar started again"
    return text

"""Whatever the hub says in whatever order, and wherever a crash comes: the sidecar's invariants as a state machine."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coordinator.wire.frames import (
    Drain,
    Error,
    Identified,
    TaskAccepted,
    TaskAck,
    TaskAssign,
    TaskBlocked,
    TaskCancelled,
    TaskComplete,
    TaskContinue,
    TaskFailed,
    TaskReassign,
    TaskReleased,
)
from sidecar.core import NEVER_ACCEPTED, Core
from sidecar.core import Settings as SidecarSettings
from sidecar.events import (
    Closed,
    Ended,
    Exit,
    Kill,
    Opened,
    Persist,
    Questioned,
    Received,
    Restored,
    Send,
    Start,
    Stop,
    Tick,
)
from sidecar.outbox import decode_queue, encode_queue
from sidecar.values import Blocked, Failure, Key, Queue, Success

TASKS = st.sampled_from(["t-1", "t-2"])
GENERATIONS = st.integers(1, 3)
ANSWERS = st.sampled_from(["complete", "retried", "dead_letter", "failed", "rejected", "blocked"])
#: After how many effects a crash comes; mostly none does.
CUTS = st.sampled_from([None, None, None, None, 0, 1, 2, 3, 4])
KEYS = st.tuples(TASKS, GENERATIONS)
ASSIGNMENTS = KEYS.map(lambda key: TaskAssign(task_id=key[0], title="t", generation=key[1], assigned_at=0))
FRAMES = st.one_of(
    KEYS.map(lambda key: TaskCancelled(task_id=key[0], generation=key[1], timestamp=0)),
    KEYS.map(lambda key: TaskContinue(task_id=key[0], generation=key[1])),
    st.builds(TaskReassign, task_id=TASKS, generation=st.none() | GENERATIONS),
    st.builds(TaskAck, task_id=TASKS, generation=GENERATIONS, status=ANSWERS),
    st.builds(
        Error,
        error=st.sampled_from(["busy", *sorted(NEVER_ACCEPTED)]).map(lambda reason: f"task_complete_failed: {reason}"),
        task_id=TASKS,
        generation=GENERATIONS,
    ),
    st.just(Drain()),
)


class SidecarMachine(RuleBasedStateMachine):
    """The world around one core: a disk, at most one child, and a hub that says anything."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.disk = encode_queue(Queue())
        self.started: list[Key] = []
        self.alive: set[Key] = set()
        self.result_files: dict[Key, Success] = {}
        self.owed: set[Key] = set()
        self.answered: set[Key] = set()
        self.exited = False
        self.online = False
        self.boot()
        self.connect(None)

    # --- the shell --------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        queue = decode_queue(self.disk)
        self.core = Core(queue, SidecarSettings())
        self.online = self.exited = False
        found = self.result_files.get(queue.attempt.key) if queue.attempt else None
        self.feed(Restored(found))

    def feed(self, event: Any, crash_after: int | None = None) -> None:
        effects = self.core.handle(event, self.now)
        for effect in effects[:crash_after]:
            self.perform(effect)
        if crash_after is not None:
            self.crash()

    def perform(self, effect: Any) -> None:
        match effect:
            case Persist(queue):
                self.disk = encode_queue(queue)
                self.owed |= {parcel.key for parcel in queue.parcels if parcel.is_result}
            case Start(assignment):
                key = Key(assignment.task_id, assignment.generation)
                assert key not in self.started, "one attempt was started twice"
                assert not self.alive, "a second child beside the first"
                durable = decode_queue(self.disk).attempt
                assert durable is not None and durable.key == key
                self.started.append(key)
                self.alive.add(key)
            case Send(TaskAccepted() as frame):
                durable = decode_queue(self.disk).attempt
                assert durable is not None and durable.key == (frame.task_id, frame.generation)
            case Send(TaskComplete() | TaskFailed() as frame):
                assert (frame.task_id, frame.generation) in {parcel.key for parcel in decode_queue(self.disk).parcels}
            case Send(TaskBlocked() as frame):
                key = Key(frame.task_id, frame.generation)
                assert key in self.alive or key in {parcel.key for parcel in decode_queue(self.disk).parcels}
            case Send(TaskReleased() as frame):
                assert (frame.task_id, frame.generation) not in self.alive, "released while it still runs"
            case Kill(key):
                assert key in self.alive
            case Exit():
                self.exited = True

    def busy(self) -> bool:
        """Only then is a lost connection or a crash of interest."""
        queue = decode_queue(self.disk)
        return queue.attempt is not None or bool(queue.parcels)

    def crash(self) -> None:
        self.alive.clear()
        self.boot()

    # --- what can happen --------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.online or self.exited)
    @rule(cut=CUTS)
    def connect(self, cut: int | None) -> None:
        if self.exited:
            self.boot()
        self.feed(Closed())
        self.feed(Opened())
        self.online = True
        self.feed(Received(Identified(agent_id="a", session_id="s", server_time=0)), cut)

    @precondition(lambda self: self.online and self.busy())
    @rule()
    def disconnect(self) -> None:
        self.online = False
        self.feed(Closed())

    @precondition(lambda self: self.online and not self.exited)
    @rule(frame=ASSIGNMENTS, cut=CUTS)
    def hear_of_work(self, frame: Any, cut: int | None) -> None:
        """So few tasks and generations that repeats, late ones and reordered ones come by themselves."""
        self.feed(Received(frame), cut)

    @precondition(lambda self: self.online and not self.exited and self.owed - self.answered)
    @rule(data=st.data(), status=ANSWERS, cut=CUTS)
    def hear_of_a_result(self, data: Any, status: Any, cut: int | None) -> None:
        key = data.draw(st.sampled_from(sorted(self.owed - self.answered)))
        self.hear(TaskAck(task_id=key.task_id, status=status, generation=key.generation), cut)

    @precondition(lambda self: self.online and not self.exited and self.started)
    @rule(frame=FRAMES, cut=CUTS)
    def hear(self, frame: Any, cut: int | None) -> None:
        is_answer = (isinstance(frame, TaskAck) and frame.status not in ("rejected", "blocked")) or (
            isinstance(frame, Error) and frame.error.endswith(tuple(NEVER_ACCEPTED))
        )
        if is_answer:
            self.answered |= self.owed & {Key(frame.task_id, frame.generation)}
        self.feed(Received(frame), cut)

    @precondition(lambda self: self.alive)
    @rule(
        outcome=st.sampled_from([Success({}), Failure("no"), Blocked("which?")]),
        file_first=st.booleans(),
        cut=st.none() | st.just(0),
    )
    def child_ends(self, outcome: Any, file_first: bool, cut: int | None) -> None:
        (key,) = self.alive
        if file_first and isinstance(outcome, Success):
            self.result_files[key] = outcome
        self.alive.clear()
        self.feed(Ended(key, outcome), cut)

    @precondition(lambda self: self.alive)
    @rule()
    def child_dies_of_a_kill(self) -> None:
        (key,) = self.alive
        self.alive.clear()
        self.feed(Ended(key, None))

    @precondition(lambda self: self.alive)
    @rule(question=st.sampled_from(["which?", None]))
    def child_asks(self, question: str | None) -> None:
        (key,) = self.alive
        self.feed(Questioned(key, question))

    @precondition(lambda self: self.core.next_due() is not None)
    @rule()
    def time_passes(self) -> None:
        self.now = max(self.now, self.core.next_due() or 0.0)
        self.feed(Tick())

    @precondition(lambda self: len(self.started) > 2)
    @rule()
    def stop(self) -> None:
        self.feed(Stop())

    @precondition(lambda self: self.busy())
    @rule()
    def kill_nine(self) -> None:
        self.crash()

    # --- what must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def every_result_stays_until_it_is_answered(self) -> None:
        kept = {parcel.key for parcel in decode_queue(self.disk).parcels}
        assert self.owed - self.answered <= kept

    @invariant()
    def every_started_attempt_is_in_hand_or_ended(self) -> None:
        queue = decode_queue(self.disk)
        ended = dict(queue.ended)
        for key in self.started:
            in_hand = queue.attempt is not None and queue.attempt.key == key
            assert in_hand or ended.get(key.task_id, -1) >= key.generation

    @invariant()
    def the_slot_holds_at_most_one(self) -> None:
        assert len(self.alive) <= 1


SidecarMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_a_sidecar_keeps_its_promises_under_any_hub_and_any_crash = SidecarMachine.TestCase

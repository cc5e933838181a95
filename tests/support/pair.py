"""Both ends of the protocol joined in memory: the hub's core and several sidecar cores in simulated time.

Every frame crosses as JSON text through the real wire models. What is made up here is the world between them: links
that are cut with frames in flight, doubled and late frames, partitions, flushes that take time or stall, processes that
are killed anywhere, disks that keep exactly what was made durable. One seed is one history; ``trace`` tells it.

    Crash points: a sidecar dies between any two effects; a hub before its flush, after it, or between two frames.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from coordinator.core.agent import AgentRecord, AgentSpec
from coordinator.core.events import (
    Ack,
    Actor,
    AgentAsked,
    Asked,
    Assign,
    Close,
    Complete,
    Connected,
    Disconnected,
    Effect,
    Failed,
    Happening,
    Message,
    Observed,
    Record,
    Refused,
    Resumed,
    Said,
    Send,
    Started,
    Tick,
)
from coordinator.core.machine import OWNED, Event, State
from coordinator.core.policy import Policy
from coordinator.core.reconciler import Core as HubCore
from coordinator.core.task import End, Origin, Spec, Task
from coordinator.core.timers import Now
from coordinator.files import layout
from coordinator.web.translate import frame_of, session_of, word_of
from coordinator.wire import frames
from sidecar import events as side
from sidecar.client import GiveUp, Lost, Reconnect, SessionEnd
from sidecar.core import Core as SidecarCore
from sidecar.core import Settings
from sidecar.outbox import decode_queue, encode_queue
from sidecar.values import Attempt, Blocked, Failure, Key, Outcome, Queue, Stage, Success, key_of

EPOCH_MS = 1_800_000_000_000
#: A history with more events than this has gone in circles.
MOST_EVENTS = 50_000
ALL_FEATURES = frames.FEATURES
_PERSON = Actor("person", "Pat", "pat@example.invalid")


@dataclass(frozen=True, slots=True)
class Knobs:
    """What may go wrong, and how the work behaves. Durations are seconds, the rest are probabilities or weights."""

    tasks: int = 6
    sidecars: int = 3
    trouble_for: float = 300.0
    faults: int = 12
    weights: dict[str, int] = field(default_factory=dict)
    latency: float = 0.5
    doubled: float = 0.0
    flush: float = 0.05
    crash_inside: float = 0.0
    fails: float = 0.0
    #: Share of runs that ask people something and wait for the answer, and of those that end with a question.
    asks: float = 0.0
    blocks: float = 0.0
    rate_limited: float = 0.0
    partition: float = 45.0
    notice_slowly: float = 0.3
    longest_work: float = 60.0
    #: Share of tasks whose attempts may take ``timeout`` only; work takes up to ``longest_work``.
    hurried: float = 0.0
    timeout: float = 30.0
    policy: Policy = field(default_factory=Policy)


class Link:
    """One connection. ``dead_at`` says, per direction, until when frames in flight still arrive."""

    def __init__(self, car: "Sidecar", number: int) -> None:
        self.car = car
        self.session = f"s{number}"
        self.up = True
        self.dead_at = {"hub": float("inf"), "car": float("inf")}
        self.last = {"hub": 0.0, "car": 0.0}
        self.identified = False

    def __repr__(self) -> str:
        return f"{self.car.name}/{self.session}"


class Pair:
    """The world. ``run`` plays one history to its end and raises AssertionError at the first broken promise."""

    def __init__(self, seed: int, knobs: Knobs) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - a repeatable history, not a secret
        self.knobs = knobs
        self.time = 0.0
        self.trace: list[str] = []
        self.troubled = True
        self._epilogue = False
        self._answers = 0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.alive: dict[Key, str] = {}
        self.finished_work: list[Key] = []
        self.hub = Hub(self)
        self.cars = [Sidecar(self, f"car-{n}") for n in range(knobs.sidecars)]
        for car in self.cars:
            self.hub.agents[car.name] = AgentSpec(car.name, where=f"agents/{car.name}.yaml", blob=_blob(car.name))

    # --- time and chance

    @property
    def now(self) -> Now:
        return Now(self.time, EPOCH_MS + round(self.time * 1000))

    def later(self, delay: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (self.time + delay, self._count, what))

    def chance(self, probability: float) -> bool:
        return self.troubled and self.rng.random() < probability

    def say(self, text: str) -> None:
        self.trace.append(f"{self.time:9.3f} {text}")

    # --- a history

    def run(self, until_quiet: float = 30_000.0) -> None:
        """Play trouble, then peace, until nothing is left to do. Raises AssertionError with the story of what broke."""
        try:
            self._play(until_quiet)
        except AssertionError as error:
            story = "\n".join(self.trace[-120:])
            raise AssertionError(f"{error}\n{story}") from error

    def _play(self, until_quiet: float) -> None:
        self.hub.boot()
        for number in range(self.knobs.tasks):
            self.later(self.rng.uniform(0, self.knobs.trouble_for / 2), lambda n=number: self.hub.want(f"t-{n}"))
        for car in self.cars:
            self.later(self.rng.uniform(0, 5), car.boot)
        for _ in range(self.knobs.faults):
            self.later(self.rng.uniform(1, self.knobs.trouble_for), self._strike)
        self.later(self.knobs.trouble_for, self._peace)
        self._answer_all()
        while self._agenda and self._agenda[0][0] < self.knobs.trouble_for + until_quiet:
            self.time, _, what = heapq.heappop(self._agenda)
            what()
            assert self._count < MOST_EVENTS, "they go on talking for ever"
            if not self.troubled and self._all_is_said():
                if self._epilogue:
                    break
                self._ask_for_more()
        self.hub.check_memory()
        self._check_ends()

    def _peace(self) -> None:
        self.say("-- peace --")
        self.troubled = False
        if self.hub.core is None:
            self.hub.boot()
        for car in self.cars:
            car.unreachable_until = 0.0
            if car.core is None:
                car.boot()
        self._resume_all()

    def _resume_all(self) -> None:
        """Lift what parks an agent for good, as a person would who looks now and then."""
        for car in self.cars:
            self.hub.submit(AgentAsked("resume", car.name, _PERSON))
        self.later(1000, self._resume_all)

    def _answer_all(self) -> None:
        """Answer every question that waits, as a person would who looks now and then; each answer is another one."""
        if self.hub.core is not None:
            for name, task in self.hub.branch.items():
                if task.state is State.BLOCKED:
                    self._answers += 1
                    self.hub.submit(Asked(Event.ANSWER, name, _PERSON, f"answer {self._answers}"))
        self.later(self.rng.uniform(20, 120), self._answer_all)

    def _ask_for_more(self) -> None:
        """Give every sidecar one more task of its own: after all this nobody may be left lame."""
        self._epilogue = True
        self.say("-- one more for everybody --")
        for car in self.cars:
            self.hub.want(f"more-{car.name}", car.name)

    def _all_is_said(self) -> bool:
        tasks = self.hub.branch
        return (
            len(tasks) == len(self.hub.specs) >= self.knobs.tasks
            and all(task.finished for task in tasks.values())
            and not self.alive
            and not self.hub.inbox
            and not self.hub.flushing
            and all(car.core is not None and car.core.queue.parcels == () for car in self.cars)
            and all(car.core is not None and car.core.queue.attempt is None for car in self.cars)
        )

    def _check_ends(self) -> None:
        unfinished = {name: str(task.state) for name, task in self.hub.branch.items() if not task.finished}
        assert len(self.hub.branch) == len(self.hub.specs) >= self.knobs.tasks, "not every task was even created"
        assert not unfinished, f"L1: never ended: {unfinished}; why: {self.hub.reasons()}"
        assert self._epilogue, "nothing more could be asked"
        for car in self.cars:
            assert car.core is not None
            assert car.core.queue.parcels == (), f"L2: {car.name} still holds {car.core.queue.parcels}"
            assert car.core.queue.attempt is None, f"{car.name} still holds {car.core.queue.attempt}"
        for name, task in self.hub.branch.items():
            assert self.hub.ends[name] == 1, f"{name} ended {self.hub.ends[name]} times"
            assert task.status.retry_count <= task.status.max_retries, "S10"

    # --- trouble

    def _strike(self) -> None:
        weights = self.knobs.weights
        if not self.troubled or not weights:
            return
        kind = self.rng.choices(list(weights), list(weights.values()))[0]
        getattr(self, f"_{kind}")()

    def _cut(self) -> None:
        links = [car.link for car in self.cars if car.link is not None and car.link.identified]
        if links:
            self.cut(self.rng.choice(links))

    def _partition(self) -> None:
        """Cut one sidecar off for a while; only from a connection, so that one gap never runs into the next."""
        cars = [car for car in self.cars if car.link is not None and car.link.identified]
        if cars:
            car = self.rng.choice(cars)
            span = self.rng.uniform(1, self.knobs.partition)
            car.unreachable_until = self.time + span
            self.say(f"{car.name}: partition for {span:.1f} s")
            assert car.link is not None
            self.cut(car.link)

    def _kill_sidecar(self) -> None:
        self.rng.choice(self.cars).crash()

    def _stop_sidecar(self) -> None:
        car = self.rng.choice(self.cars)
        if car.core is not None:
            self.say(f"{car.name}: asked to stop")
            car.feed(side.Stop())

    def _cancel(self) -> None:
        """A person changes their mind about one task."""
        names = [name for name, task in self.hub.branch.items() if not task.finished]
        if names and self.hub.core is not None:
            self.hub.submit(Asked(Event.CANCEL, self.rng.choice(names), _PERSON, "not wanted any more"))

    def _kill_hub(self) -> None:
        if self.hub.core is not None:
            self.hub.crash()
            self.later(self.rng.uniform(0.1, 20), self.hub.boot)

    def _stall(self) -> None:
        """The disk takes nothing for a while: the next flush is retried until it works."""
        self.hub.stalled_for = self.rng.uniform(1, 400)

    def cut(self, link: Link) -> None:
        """Break a link: some of what is in flight still arrives, both ends learn of it in their own time."""
        if not link.up:
            return
        link.up = False
        for end in link.dead_at:
            link.dead_at[end] = self.time + self.rng.uniform(0, self.knobs.latency)
        self.say(f"{link}: cut")
        slow = self.knobs.notice_slowly
        hub_learns = self.rng.uniform(0, 240) if self.chance(slow) else self.rng.uniform(0, 1)
        car_learns = self.rng.uniform(0, 40) if self.chance(slow) else self.rng.uniform(0, 1)
        self.later(self.knobs.latency + hub_learns, lambda: self.hub.lost(link))
        self.later(self.knobs.latency + car_learns, lambda: link.car.lost(link))

    def carry(self, link: Link, to: str, text: str) -> None:
        """Put one frame on its way: in order, sometimes twice, the second time whenever it likes."""
        if not link.up:
            return
        arrival = max(link.last[to], self.time + self.rng.uniform(0.001, self.knobs.latency))
        link.last[to] = arrival
        copies = [arrival]
        if self.chance(self.knobs.doubled):
            copies.append(arrival + self.rng.choice([0.0, self.rng.uniform(0, 5), self.rng.uniform(0, 90)]))
        for at in copies:
            self.later(at - self.time, lambda: self._arrive(link, to, text))

    def _arrive(self, link: Link, to: str, text: str) -> None:
        if self.time <= link.dead_at[to]:
            if to == "hub":
                self.hub.hear(link, text)
            else:
                link.car.hear(link, text)


class Hub:
    """The hub's shell around a real core: inbox, batches, flushes that take time, effects only after them.

    ``branch`` and ``records`` are what was made durable; ``boot`` knows nothing else.
    """

    def __init__(self, world: Pair) -> None:
        self.world = world
        self.core: HubCore | None = None
        self.agents: dict[str, AgentSpec] = {}
        self.specs: dict[str, Spec] = {}
        self.branch: dict[str, Task] = {}
        self.records: dict[str, AgentRecord] = {}
        self.ends: dict[str, int] = {}
        self.inbox: deque[Happening] = deque()
        self.lines: dict[str, Link] = {}
        self.flushing = False
        self.stalled_for = 0.0
        self.answered: set[tuple[str, Key]] = set()
        self._meant: dict[int, tuple[Effect, tuple[str, Key]]] = {}
        self._pending: list[Effect] = []
        self._life = 0
        self._alarm: float | None = None

    # --- life

    def boot(self) -> None:
        """Start from the fold of the branch, the way ``coordinator.memoir`` does, through the real files."""
        if self.core is not None:
            return
        self._life += 1
        self.core = core = HubCore()
        self.inbox.clear()
        self.flushing = False
        self._alarm = None
        self.world.say("hub: starts")
        for record in self.records.values():
            core.restore_record(record)
        core.restore_closed(frozenset(name for name, task in self.branch.items() if task.finished))
        core.memory.policy = self.world.knobs.policy
        for spec in self.agents.values():
            core.memory.put_spec(spec)
        files = {
            path: data
            for task in self.branch.values()
            if not task.finished
            for path, data in layout.files_of(task).items()
        }
        folded = layout.fold(files)
        assert folded.problems == (), "S9: the hub cannot read what it wrote"
        for name, status in folded.statuses.items():
            core.restore(Task(self.specs[name], status))
        core.restore_wanted(frozenset(self.specs) & frozenset(self.branch))
        effects = core.handle(Started(), self.world.now)
        effects += core.handle(self._observed(), self.world.now)
        self._make_durable(effects)
        self._perform(effects)
        self._set_alarm()

    def crash(self) -> None:
        """Die: what was flushed stays; what was decided but not flushed, or not said yet, is gone."""
        if self.flushing and self.world.rng.random() < 0.5:
            self._make_durable(self._pending)
            said = self.world.rng.randint(0, len(self._pending))
            self._perform(self._pending[:said])
            self.world.say(f"hub: killed after its flush, {said} of {len(self._pending)} effects performed")
        else:
            self.world.say("hub: killed" + (" before its flush" if self.flushing else ""))
        self._life += 1
        self.core = None
        self._pending = []
        self.flushing = False
        self.inbox.clear()
        self.stalled_for = 0.0
        self.lines.clear()
        for link in [car.link for car in self.world.cars if car.link is not None]:
            self.world.cut(link)
            link.dead_at["hub"] = self.world.time

    def check_memory(self) -> None:
        """S9: memory is the fold of the branch, file by file."""
        assert self.core is not None
        for name, task in self.core.memory.tasks.items():
            assert task.status == self.branch[name].status, f"S9: {name}"
            if not task.finished:
                assert layout.fold(layout.files_of(task)).statuses[name] == task.status, f"S9: {name} as files"

    def reasons(self) -> dict[str, str]:
        """Return why each queued task waits."""
        assert self.core is not None
        found = {task.id: self.core.why(task, self.world.now) for task in self.core.memory.tasks.values()}
        return {name: reason.text for name, reason in found.items() if reason is not None}

    def want(self, name: str, pin: str | None = None) -> None:
        hurried = self.world.chance(self.world.knobs.hurried)
        self.specs[name] = Spec(
            name,
            f"Task {name}",
            assignee=pin,
            timeout_s=self.world.knobs.timeout if hurried else None,
            origin=Origin.FILE,
            where=f"tasks/{name}.yaml",
            blob=_blob(name),
        )
        if self.core is not None:
            self.submit(self._observed())

    def _observed(self) -> Observed:
        return Observed("c0ffee", dict(self.specs), {}, dict(self.agents), self.world.knobs.policy, _PERSON)

    # --- inbox, flush, effects

    def submit(self, event: Happening) -> None:
        self.inbox.append(event)
        life = self._life
        self.world.later(0, lambda: self._pump() if life == self._life else None)

    def _pump(self) -> None:
        if self.core is None or self.flushing:
            return
        effects: list[Effect] = []
        while self.inbox:
            event = self.inbox.popleft()
            self._recall(event)
            decided = self.core.handle(event, self.world.now)
            self._note_answers(event, decided)
            effects += decided
        due = self.core.next_due(self.world.now)
        if due is not None and due <= self.world.time:
            effects += self.core.handle(Tick(), self.world.now)
        if any(isinstance(effect, Record) for effect in effects):
            self.flushing, self._pending = True, effects
            stall, self.stalled_for = self.stalled_for, 0.0
            if stall:
                self.world.say(f"hub: read-only for {stall:.1f} s")
            life = self._life
            took = self.world.rng.uniform(0, self.world.knobs.flush) + stall
            self.world.later(took, lambda: self._flushed(stall) if life == self._life else None)
        else:
            self._perform(effects)
            self._set_alarm()

    def _flushed(self, stall: float) -> None:
        effects, self._pending, self.flushing = self._pending, [], False
        self._make_durable(effects)
        self._perform(effects)
        if stall:
            self.inbox.append(Resumed(stall))
        self._pump()
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self.core is None or self.flushing:
            return
        due = self.core.next_due(self.world.now)
        if due is not None and (self._alarm is None or self._alarm <= self.world.time or due < self._alarm):
            self._alarm, life = due, self._life
            self.world.later(max(0.0, due - self.world.time), lambda: self._pump() if life == self._life else None)

    def _recall(self, event: Happening) -> None:
        """Bring a finished task back into memory before somebody's word about it is judged."""
        assert self.core is not None
        if isinstance(event, Said) and event.word.task in self.core.memory.closed:
            self.core.restore(self.branch[str(event.word.task)])

    def _note_answers(self, event: Happening, decided: list[Effect]) -> None:
        """Note which answers are meant for which result, so that nobody takes one for another."""
        if not isinstance(event, Said) or not isinstance(event.word, Complete | Failed):
            return
        key = Key(event.word.task, event.word.generation or 0)
        for effect in decided:
            if isinstance(effect, Send) and isinstance(effect.message, Ack | Refused):
                self._meant[id(effect)] = (effect, (event.agent, key))

    def _make_durable(self, effects: list[Effect]) -> None:
        for record in (effect for effect in effects if isinstance(effect, Record)):
            if record.record is not None:
                self.records[record.record.id] = record.record
            if record.after is not None:
                self._record(record, record.after)

    def _record(self, record: Record, after: Task) -> None:
        before = self.branch.get(after.id)
        self.world.say(
            f"  {after.id}: {record.what}: {before.state if before else '-'} -> {after.state} "
            f"g{after.status.generation} {after.status.assigned_to or ''} retries {after.status.retry_count}"
        )
        if before is not None:
            assert record.before is not None
            assert record.before.status == before.status, f"S3: {after.id} was recorded from another past"
            assert after.status.generation >= before.status.generation, "S1"
            if before.finished:
                assert replace(after.status, orphans=()) == replace(before.status, orphans=()), "S2"
        assert (after.status.assigned_to is not None) == (after.state in OWNED), "S4"
        assert after.status.retry_count <= after.status.max_retries, "S10"
        if after.finished and (before is None or not before.finished):
            self.ends[after.id] = self.ends.get(after.id, 0) + 1
        self.branch[after.id] = after

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    link = self.lines.get(effect.agent)
                    if link is not None and link.session == effect.session:
                        self._check_said(effect.agent, effect.message)
                        if id(effect) in self._meant:
                            self.answered.add(self._meant.pop(id(effect))[1])
                        text = frame_of(effect.message, self.world.now.wall).encode()
                        self.world.say(f"  hub -> {link}: {text[:160]}")
                        self.world.carry(link, "car", text)
                case Close():
                    raise AssertionError(f"the hub closes {effect}")

    def _check_said(self, agent: str, message: Message) -> None:
        """S5: what is said stands in the branch."""
        if isinstance(message, Assign):
            status, said = self.branch[message.task.id].status, message.task.status
            assert status.generation >= said.generation, "S5: an assignment that is not recorded"
        if isinstance(message, Ack) and message.status == "complete":
            attempts = self.branch[message.task].status.attempts
            assert any(a.agent == agent and a.end is End.DONE for a in attempts), "S6: acked, but not in the branch"

    # --- the port

    def hear(self, link: Link, text: str) -> None:
        if self.core is None:
            return
        frame = frames.to_hub.validate_json(text)
        if isinstance(frame, frames.Identify):
            if not link.identified:
                self._identify(link, frame)
            return
        if self.lines.get(link.car.name) is not link:
            return
        word = word_of(frame)
        if word is not None:
            self.world.say(f"{link} -> hub: {text[:160]}")
            self.submit(Said(link.car.name, link.session, word))

    def _identify(self, link: Link, frame: frames.Identify) -> None:
        """Let it in, as ``coordinator.web.sockets`` does: the same instance replaces its older session."""
        old = self.lines.get(link.car.name)
        if old is not None:
            self.world.cut(old)
            self._drop(old)
        link.identified = True
        self.lines[link.car.name] = link
        reply = frames.Identified(agent_id=link.car.name, session_id=link.session, server_time=self.world.now.wall)
        self.world.carry(link, "car", reply.encode())
        self.world.say(f"{link}: identified, holding {frame.holding}")
        self.submit(Connected(link.car.name, session_of(frame, link.session, self.world.now.wall)))

    def lost(self, link: Link) -> None:
        if self.lines.get(link.car.name) is link:
            self._drop(link)

    def _drop(self, link: Link) -> None:
        del self.lines[link.car.name]
        self.submit(Disconnected(link.car.name, link.session))


class Sidecar:
    """The sidecar's shell around a real core: one disk, at most one child, one link at a time."""

    def __init__(self, world: Pair, name: str) -> None:
        self.world = world
        self.name = name
        self.core: SidecarCore | None = None
        self.disk = encode_queue(Queue())
        self.results: dict[Key, Outcome] = {}
        #: Questions in the attempts' folders that have no answer yet, and how many answers came.
        self.asked: dict[Key, Outcome] = {}
        self.answers: dict[Key, int] = {}
        self.started: set[Key] = set()
        self.link: Link | None = None
        self.unreachable_until = 0.0
        self._child: Key | None = None
        self._life = 0
        self._sessions = 0
        self._policy = self._fresh_policy()
        self._alarm: float | None = None

    def _fresh_policy(self) -> Reconnect:
        return Reconnect(60.0, once=False, service=True, uniform=self.world.rng.uniform)

    # --- life

    def boot(self) -> None:
        if self.core is not None:
            return
        self._life += 1
        self._policy = self._fresh_policy()
        self._alarm = None
        queue = decode_queue(self.disk)
        self.core = SidecarCore(queue, Settings())
        self.world.say(f"{self.name}: starts with {_spell(queue)}")
        found = None
        if queue.attempt is not None and queue.attempt.stage is Stage.RUNNING:
            found = self.results.get(queue.attempt.key) or self.asked.get(queue.attempt.key)
        self.feed(side.Restored(found))
        if self.core is None:
            return
        self._soon(self.world.rng.uniform(0, 0.5), self._connect)

    def crash(self) -> None:
        """kill -9: the child dies with it, the disk stays."""
        if self.core is None:
            return
        self.world.say(f"{self.name}: killed")
        self._die()
        self.world.later(self.world.rng.choice([0.2, 3.0, 60.0, 300.0]), self.boot)

    def _die(self) -> None:
        self._life += 1
        self.core = None
        if self._child is not None:
            del self.world.alive[self._child]
            self._child = None
        if self.link is not None:
            self.world.cut(self.link)
            self.link = None

    def _soon(self, delay: float, what: Callable[[], None]) -> None:
        """Do something later unless this process has died by then."""
        life = self._life
        self.world.later(delay, lambda: what() if life == self._life else None)

    # --- the core

    def feed(self, event: side.Event) -> None:
        if self.core is None:
            return
        effects = self.core.handle(event, self.world.time)
        dies_after = None
        if len(effects) > 1 and self.world.chance(self.world.knobs.crash_inside):
            dies_after = self.world.rng.randrange(len(effects))
        for effect in effects[:dies_after]:
            if self._perform(effect):
                return
        if dies_after is not None:
            self.world.say(f"{self.name}: dies between two effects")
            self.crash()
            return
        due = self.core.next_due()
        if due is not None and (self._alarm is None or self._alarm <= self.world.time or due < self._alarm):
            self._alarm = due
            self._soon(max(0.0, due - self.world.time), lambda: self.feed(side.Tick()))

    def _perform(self, effect: side.Effect) -> bool:
        """Do what the core asks for; True when the process has ended."""
        match effect:
            case side.Hello(holding):
                self._send(
                    frames.Identify(
                        agent_id=self.name, token="t", instance_id=self.name, features=ALL_FEATURES, holding=holding
                    )
                )
            case side.Persist(queue):
                self._check_forgotten(queue)
                self.disk = encode_queue(queue)
            case side.Send(frame):
                self._send(frame)
            case side.Start(assignment):
                self._start(key_of(assignment))
            case side.Kill(key):
                assert self._child == key, f"{self.name} kills {key}, which it does not run"
                self._soon(self.world.rng.uniform(0, 5), lambda: self._killed(key))
            case side.Update(key, frame):
                self._updated(key, frame)
            case side.Say(text):
                self.world.say(f"    ({self.name}: {text})")
            case side.Exit():
                self.world.say(f"{self.name}: exits")
                self._die()
                self.world.later(self.world.rng.uniform(1, 30), self.boot)
                return True
        return False

    def _check_forgotten(self, queue: Queue) -> None:
        """L2: a result leaves the disk only when the hub has answered for this very one."""
        before = {parcel.key for parcel in decode_queue(self.disk).parcels if parcel.is_result}
        for key in before - {parcel.key for parcel in queue.parcels}:
            assert (self.name, key) in self.world.hub.answered, f"L2: {self.name} forgot {key}, never answered for"

    # --- its child

    def _start(self, key: Key) -> None:
        world = self.world
        assert key not in self.started, f"{self.name} starts {key} a second time"
        assert self._child is None, f"{self.name} starts {key} beside {self._child}"
        assert key not in world.alive, f"{self.name} starts {key}, which {world.alive[key]} works on"
        durable: Attempt | None = decode_queue(self.disk).attempt
        assert durable is not None
        assert durable.key == key, "started before it was durable"
        self.started.add(key)
        self._child = key
        world.alive[key] = self.name
        world.say(f"{self.name}: runs {key}")
        self._soon(world.rng.uniform(0.05, world.knobs.longest_work), lambda: self._works_out(key))

    def _works_out(self, key: Key) -> None:
        if self._child != key:
            return
        world, dice = self.world, self.world.rng.random()
        if not world.troubled:
            dice = 1.0
        if dice < world.knobs.fails:
            outcome: Outcome = Failure("the work failed")
        elif dice < world.knobs.fails + world.knobs.rate_limited:
            outcome = Failure("quota used up", "rate_limited")
        elif world.chance(world.knobs.asks):
            self._ask(key)
            return
        elif world.chance(world.knobs.blocks):
            outcome = self.results[key] = Blocked(f"{key}: which one?")
        else:
            outcome = Success({"status": "success", "summary": f"{key} by {self.name}"})
            self.results[key] = outcome
            world.finished_work.append(key)
        self._soon(world.rng.uniform(0, 0.3), lambda: self._ended(key, outcome))

    def _ask(self, key: Key) -> None:
        """Ask people, and wait with the work; now and then end instead, or give up waiting."""
        world = self.world
        self.asked[key] = Blocked(f"{key}: which one?")
        self.feed(side.Questioned(key, f"{key}: which one?"))
        patience = world.rng.choice([1.0, 100.0, 1_000.0])
        self._soon(patience, lambda: self._ended(key, self.asked[key]) if key in self.asked else None)

    def _updated(self, key: Key, frame: frames.TaskUpdated) -> None:
        """Keep an answer beside the packet, once; the child that waits for it goes on."""
        number = (frame.model_extra or {})["answer_number"]
        if frame.answer is None or number <= self.answers.get(key, 0):
            return
        self.answers[key] = number
        if self.asked.pop(key, None) is not None:
            self._soon(0.1, lambda: self.feed(side.Questioned(key, None)))
            self._soon(self.world.rng.uniform(0.1, 20), lambda: self._works_out(key))

    def _killed(self, key: Key) -> None:
        if self._child == key:
            self._ended(key, self.results.get(key) or self.asked.get(key))

    def _ended(self, key: Key, outcome: Outcome | None) -> None:
        if self._child == key:
            self._child = None
            del self.world.alive[key]
            self.feed(side.Ended(key, outcome))

    # --- its link

    def _connect(self) -> None:
        world = self.world
        if self.link is not None:
            return
        if world.hub.core is None or world.time < self.unreachable_until:
            self._again(Lost("not reachable"))
            return
        self._sessions += 1
        self.link = Link(self, self._sessions)
        self.feed(side.Opened())

    def _again(self, end: SessionEnd) -> None:
        pause = self._policy.after(end)
        assert not isinstance(pause, GiveUp)
        self._soon(pause, self._connect)

    def lost(self, link: Link) -> None:
        if self.link is link:
            self.link = None
            self.feed(side.Closed())
            if self.core is not None:
                self._again(Lost("connection lost"))

    def hear(self, link: Link, text: str) -> None:
        if self.core is None or self.link is not link:
            return
        frame = frames.to_sidecar.validate_json(text)
        if isinstance(frame, frames.Identified):
            self._policy.identified()
        self.feed(side.Received(frame))

    def _send(self, frame: frames.Frame) -> None:
        if self.link is not None:
            self.world.carry(self.link, "hub", frame.encode())


def all_done(pair: Pair) -> bool:
    """Tell whether every task ended with success."""
    return all(task.state is State.DONE for task in pair.hub.branch.values())


def _blob(text: str) -> str:
    return text.encode().hex().ljust(40, "0")


def _spell(queue: Queue) -> str:
    attempt = f"{queue.attempt.stage} {queue.attempt.key}" if queue.attempt else "nothing in hand"
    return f"{attempt}, {len(queue.parcels)} unanswered"

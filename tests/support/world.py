"""A small world around the core: a clock, agents that say what the test wants, and everything that was decided."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from coordinator.core.agent import AgentSpec, Session
from coordinator.core.events import (
    Accepted,
    Actor,
    Blocked,
    Complete,
    Connected,
    Disconnected,
    Effect,
    Failed,
    FailureClass,
    Happening,
    Message,
    Observed,
    Record,
    Rejected,
    Said,
    Send,
    Started,
    Tick,
    Word,
)
from coordinator.core.machine import State
from coordinator.core.policy import Lane, Policy
from coordinator.core.reconciler import Core
from coordinator.core.task import Spec, Task
from coordinator.core.timers import Now

PERSON = Actor("person", "Pat", "pat@example.invalid")
ALL = frozenset({"progress", "release", "updates"})
QUIET = frozenset({"release", "updates"})


class World:
    """One core with its clock. ``seen`` is the last batch of effects, ``history`` all of them."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.core = Core()
        self.policy = policy or Policy()
        self.now = Now(1000.0, 1_800_000_000_000)
        self.specs: dict[str, Spec] = {}
        self.places: dict[str, tuple[Lane, int]] = {}
        self.agents: dict[str, AgentSpec] = {}
        self.sessions: dict[str, str] = {}
        self.seen: list[Effect] = []
        self.history: list[Effect] = []
        self._count = 0
        self.check: Callable[[list[Effect]], None] = lambda effects: None
        self.handle(Started())

    # --- driving

    def handle(self, event: Happening) -> list[Effect]:
        self.seen = self.core.handle(event, self.now)
        self.history += self.seen
        self.check(self.seen)
        return self.seen

    def observe(self, commit: str = "c0ffee", **more: object) -> list[Effect]:
        return self.handle(
            Observed(commit, dict(self.specs), dict(self.places), dict(self.agents), self.policy, PERSON, **more)
        )

    def want(self, *specs: Spec) -> list[Effect]:
        for spec in specs:
            self._count += 1
            blob = f"{self._count:040x}"
            self.specs[spec.id] = replace(spec, blob=blob, where=spec.where or f"tasks/{spec.id}.yaml")
        return self.observe()

    def add_agents(self, *agents: AgentSpec | str) -> list[Effect]:
        for agent in agents:
            spec = AgentSpec(agent) if isinstance(agent, str) else agent
            self.agents[spec.id] = replace(spec, blob="a" * 40, where=f"agents/{spec.id}.yaml")
        return self.observe()

    def connect(
        self,
        agent: str,
        features: frozenset[str] = ALL,
        holding: Iterable[tuple[str, int]] | None = (),
        capabilities: tuple[str, ...] = (),
    ) -> list[Effect]:
        self._count += 1
        session = f"s{self._count}"
        self.sessions[agent] = session
        held = None if holding is None else frozenset(holding)
        return self.handle(Connected(agent, Session(session, capabilities, features, held)))

    def disconnect(self, agent: str) -> list[Effect]:
        return self.handle(Disconnected(agent, self.sessions.pop(agent)))

    def say(self, agent: str, word: Word) -> list[Effect]:
        return self.handle(Said(agent, self.sessions[agent], word))

    def advance(self, seconds: float) -> list[Effect]:
        """Let time pass, stopping at every timer, as the shell does."""
        end = Now(self.now.mono + seconds, self.now.wall + int(seconds * 1000))
        effects: list[Effect] = []
        while (due := self.core.next_due(self.now)) is not None and due <= end.mono:
            step = max(0.0, due - self.now.mono)
            self.now = Now(self.now.mono + step, self.now.wall + round(step * 1000))
            effects += self.handle(Tick())
        self.now = end
        effects += self.handle(Tick())
        self.seen = effects
        return effects

    # --- looking

    def task(self, task_id: str = "t-1") -> Task:
        return self.core.memory.tasks[task_id]

    def state(self, task_id: str = "t-1") -> State:
        return self.task(task_id).state

    def generation(self, task_id: str = "t-1") -> int:
        return self.task(task_id).status.generation

    def records(self, task_id: str = "t-1") -> list[Record]:
        return [e for e in self.seen if isinstance(e, Record) and e.after is not None and e.after.id == task_id]

    def said_to(self, agent: str) -> list[Message]:
        return [e.message for e in self.seen if isinstance(e, Send) and e.agent == agent]

    # --- reaching a state

    def reach(self, state: State, *, features: frozenset[str] = QUIET, **spec: object) -> "World":
        """Bring task t-1 into ``state`` with agent ``a`` connected (queued: taken from ``a`` by an ended lease)."""
        if not self.agents:
            self.add_agents("a")
            self.connect("a", features)
        wanted = Spec("t-1", "Write the number 1", review=state is State.IN_REVIEW)
        self.want(replace(wanted, **spec))
        gen = self.generation()
        match state:
            case State.QUEUED:
                self.say("a", Accepted("t-1", gen))
                self.disconnect("a")
                self.advance(121)
                self.connect("a", features)
            case State.WORKING:
                self.say("a", Accepted("t-1", gen))
            case State.BLOCKED:
                self.say("a", Accepted("t-1", gen))
                self.say("a", Blocked("t-1", gen, "which one?"))
            case State.IN_REVIEW | State.DONE:
                self.say("a", Complete("t-1", gen, {"summary": "ok"}))
            case State.FAILED:
                self.say("a", Failed("t-1", gen, FailureClass.BUDGET, "too dear"))
            case State.REJECTED:
                self.say("a", Rejected("t-1", gen, "cannot"))
            case State.CANCELLED:
                self.specs["t-1"] = replace(self.specs["t-1"], cancel=True, blob="c" * 40)
                self.observe()
            case State.ASSIGNED:
                pass
        assert self.state() is state, f"wanted {state}, got {self.state()}"
        return self

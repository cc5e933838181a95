"""The core under random events: the safety promises hold after every single one, whatever the order."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.world import ALL, PERSON, QUIET, World

from coordinator.core import enlisting, scheduler
from coordinator.core.agent import AgentRecord, AgentSpec, Token
from coordinator.core.events import (
    Accepted,
    Ack,
    AgentAsked,
    Asked,
    Assign,
    Blocked,
    Complete,
    Confirmed,
    Edited,
    Effect,
    Failed,
    FailureClass,
    Invited,
    Made,
    Outcome,
    Progress,
    Record,
    Recovering,
    Rejected,
    Released,
    Reply,
    Reported,
    Request,
    Resumed,
    Send,
    Spoken,
    Started,
    TokenIssued,
    TokensRevoked,
    Woken,
    agent_actor,
)
from coordinator.core.machine import FINISHED, OWNED, TASK, AgentState, Event, State
from coordinator.core.policy import Lane, Limits, Policy, Retries, Timeouts
from coordinator.core.queue import bucket_of, order_of
from coordinator.core.task import Answer, Decision, Origin, Priority, Spec, Task
from coordinator.files import layout

AGENTS = {
    "a": AgentSpec("a", capabilities=("python", "web")),
    "b": AgentSpec("b", capabilities=("python",)),
    "c": AgentSpec("c"),
}
#: Agents that only the hub makes, until somebody writes a file.
MADE = {name: AgentSpec(name, where=f"agents/api/{name}.yaml") for name in ("x", "y")}
DAY = 24 * 3600 * 1000
TASKS = [f"t-{number}" for number in range(6)]
FREE_WORDS = {"rerun", "deleted"}
NO_RETRY = {"rate_limited", "environment", "not_accepted", "rejected", "busy", "handed_back", "agent_disabled"}

tasks = st.sampled_from(TASKS)
agents = st.sampled_from(sorted(AGENTS))
anybody = st.sampled_from(sorted({**AGENTS, **MADE}))
generations = st.one_of(st.none(), st.integers(0, 4))


class CoreMachine(RuleBasedStateMachine):
    """Random people, agents, networks and clocks around one core; ``branch`` is the fold of what was recorded."""

    def __init__(self) -> None:
        super().__init__()
        policy = Policy(
            retries=Retries(max=2, backoff=10), timeouts=Timeouts(blocked=7200), limits=Limits(repo={"r": 1})
        )
        self.world = World(policy)
        self.branch: dict[str, Task] = {}
        self.files: dict[str, bytes] = {}
        self.agent_files: dict[str, bytes] = {}
        self.records: dict[str, AgentRecord] = {}
        self.enlisted: dict[str, AgentSpec] = {}
        self.revoked: set[str] = set()
        self.invites: dict[str, str] = {}
        self.used: set[str] = set()
        self._hashes = 0
        self.count = 0
        self.world.agents = dict(AGENTS)
        self.world.check = self.check
        self.world.observe()

    # --- what may happen

    @rule(
        name=tasks,
        priority=st.sampled_from(Priority),
        needs=st.sampled_from([(), ("python",), ("web",), ("rust",)]),
        depends=st.sampled_from([(), ("t-0",), ("t-1",), ("t-2", "t-3")]),
        pin=st.sampled_from([None, None, "b"]),
        repo=st.sampled_from([None, None, "r"]),
        review=st.none() | st.booleans(),
        origin=st.sampled_from([Origin.FILE, Origin.BACKLOG]),
    )
    def write(self, name, priority, needs, depends, pin, repo, review, origin) -> None:
        old = self.world.specs.get(name)
        spec = Spec(name, f"Task {name}", priority=priority, needed_capabilities=needs, depends_on=depends,
                    assignee=pin, repo=repo, review=review, origin=origin, rerun=old.rerun if old else 0)  # fmt: skip
        self.world.want(spec)

    @precondition(lambda self: self.world.specs)
    @rule(data=st.data(), lane=st.sampled_from(Lane), position=st.integers(0, 9))
    def move(self, data, lane, position) -> None:
        self.world.places[data.draw(st.sampled_from(sorted(self.world.specs)))] = (lane, position)
        self.world.observe()

    @precondition(lambda self: self.world.specs)
    @rule(
        data=st.data(),
        word=st.sampled_from(["cancel", "done", "hold", "unhold", "rerun", "delete", "decide", "answer"]),
    )
    def person(self, data, word) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.specs)))
        spec, generation = self.world.specs[name], self._generation(name)
        match word:
            case "cancel" | "done":
                self.world.want(replace(spec, **{word: True}))
            case "hold" | "unhold":
                self.world.want(replace(spec, hold=word == "hold"))
            case "rerun":
                self.world.want(replace(spec, rerun=spec.rerun + 1, cancel=False, done=False))
            case "delete":
                del self.world.specs[name]
                self.world.observe()
            case "decide":
                verdict = Decision(generation, data.draw(st.booleans()), "note")
                self.world.want(replace(spec, decision=verdict))
            case "answer":
                self.world.want(replace(spec, answer=Answer(generation, "left")))

    @rule(
        name=tasks,
        event=st.sampled_from([Event.CANCEL, Event.DELETED, Event.DONE_BY_HAND, Event.RERUN, Event.APPROVED]),
    )
    def ask(self, name, event) -> None:
        self.world.handle(Asked(event, name, PERSON))

    @rule(
        name=tasks,
        depends=st.sampled_from([(), ("t-0",), ("t-1",)]),
        pin=st.sampled_from([None, None, "b"]),
        review=st.booleans(),
        by=st.sampled_from([PERSON, agent_actor("a")]),
    )
    def make(self, name, depends, pin, review, by) -> None:
        known = name in self.branch
        spec = self._made(Spec(name, f"Made {name}", depends_on=depends, assignee=pin, review=review))
        outcome = self._request(Made(spec, by, proposal=by is not PERSON))
        assert (outcome.refused == "exists") == known, "an id is given once"

    @precondition(lambda self: self.branch)
    @rule(data=st.data(), seen=st.booleans(), released=st.booleans(), hold=st.booleans())
    def edit(self, data, seen, released, hold) -> None:
        task = self.branch[data.draw(st.sampled_from(sorted(self.branch)))]
        spec = self._made(replace(task.spec, title=data.draw(st.sampled_from(["One", "Two"])), hold=hold))
        outcome = self._request(Edited(spec, PERSON, task.spec.blob if seen else "0" * 40, released))
        if outcome.refused:
            assert self.branch[task.id] == task, "what is refused changes nothing"
        else:
            assert (task.spec.origin, task.finished, seen) == (Origin.API, False, True)

    @rule(agent=agents, own=st.booleans(), name=tasks, generation=st.integers(1, 4), data=st.data())
    def speak(self, agent, own, name, generation, data) -> None:
        owned = self.world.core.memory.owned_by(agent)
        if own and owned:
            name, generation = owned[0].id, owned[0].status.generation
        words = [
            Accepted(name, generation),
            Progress(name, generation, 10.0),
            Complete(name, generation, {"summary": "ok"}),
            Failed(name, generation, FailureClass.ERROR, "broken"),
            Blocked(name, generation, "which?"),
        ]
        word, before = data.draw(st.sampled_from(words)), self.branch.get(name)
        outcome = self._request(Spoken(agent, word))
        if outcome.refused and before is not None and not isinstance(word, Complete | Failed):
            moved = outcome.task is not None and outcome.task.status != before.status
            assert not moved, "what is refused changes nothing"

    @rule()
    def confirm(self) -> None:
        self._request(Confirmed(PERSON))
        assert self.world.core.memory.waiting() == ()

    def _made(self, spec: Spec) -> Spec:
        self.count += 1
        return replace(
            spec, origin=Origin.API, blob=f"{self.count:x}".rjust(40, "e"), where=f"tasks/api/{spec.id}.yaml"
        )

    def _request(self, what) -> Outcome:
        seen = self.world.handle(Request("1", what))
        (reply,) = (effect for effect in seen if isinstance(effect, Reply))
        return reply.outcome

    @rule(agent=agents, what=st.sampled_from(["resume", "drain", "undrain", "disable", "enable"]))
    def ask_agent(self, agent, what) -> None:
        self.world.handle(AgentAsked(what, agent, PERSON))

    @rule(agent=agents, disabled=st.booleans())
    def switch(self, agent, disabled) -> None:
        self.world.add_agents(replace(AGENTS[agent], disabled=disabled))
        if disabled:
            self.world.sessions.pop(agent, None)

    @rule(agent=anybody, written=st.booleans(), disabled=st.booleans())
    def write_agent(self, agent, written, disabled) -> None:
        if written:
            token = Token(self._hash(), "ac_abcde")
            self.world.add_agents(replace({**AGENTS, **MADE}[agent], disabled=disabled, tokens=(token,)))
        else:
            self.world.agents.pop(agent, None)
            self.world.observe()
        self._forget_closed(agent)

    @rule(
        agent=anybody, first=st.booleans(), grace=st.sampled_from([0, 60_000, DAY]), invited=st.booleans(), task=tasks
    )
    def issue(self, agent, first, grace, invited, task) -> None:
        token = Token(self._hash(), "ac_abcde")
        known = sorted(invite for invite, name in self.invites.items() if name == agent)
        invite = known[-1] if invited and known else "f" * 64 if invited else None
        where, now = f"tasks/api/{task}.yaml", self.world.now.wall
        spec = Spec(task, "Say hello", origin=Origin.API, blob="d" * 40, where=where)
        before = self.world.core.memory.agents.get(agent)
        good = before is not None and any(one.sha256 == invite and one.lives(now) for one in before.record.invites)
        shut = before is not None and (bool(before.open_tokens(now)) or (before.known and before.spec.disabled))
        made = MADE.get(agent, AgentSpec(agent, where=f"agents/api/{agent}.yaml"))
        self.world.handle(TokenIssued(made, token, PERSON, grace, invite, first, spec))
        after = self.world.core.memory.agents.get(agent)
        issued = after is not None and token in after.record.tokens
        assert issued == ((invite is None or good) and not (first and shut))
        if issued and invite is not None:
            assert invite not in self.used, "an invite opens once"
            self.used.add(invite)

    @rule(agent=anybody, ends=st.sampled_from([None, 60_000]))
    def invite(self, agent, ends) -> None:
        invite = Token(self._hash(), "ai_abcde", ends and self.world.now.wall + ends)
        self.invites[invite.sha256] = agent
        self.world.handle(Invited(agent, invite, PERSON))

    @rule(agent=anybody, discharge=st.booleans())
    def revoke(self, agent, discharge) -> None:
        known = self.world.core.memory.agents.get(agent)
        if known is not None and (not discharge or agent in self.enlisted):
            self.revoked |= {token.sha256 for token in (*known.spec.tokens, *known.record.tokens)}
        self.world.handle(TokensRevoked(agent, PERSON, discharge))
        self._forget_closed(agent)

    def _forget_closed(self, agent: str) -> None:
        known = self.world.core.memory.agents.get(agent)
        if known is None or known.spec.disabled:
            self.world.sessions.pop(agent, None)

    def _hash(self) -> str:
        self._hashes += 1
        return f"{self._hashes:064x}"

    @rule(agent=anybody, features=st.sampled_from([ALL, QUIET, frozenset()]), honest=st.booleans(), data=st.data())
    def connect(self, agent, features, honest, data) -> None:
        owned = [(t.id, t.status.generation) for t in self.world.core.memory.owned_by(agent)]
        if not features:
            holding = None
        else:
            holding = owned if honest else data.draw(st.lists(st.tuples(tasks, st.integers(1, 3)), max_size=2))
        self.world.connect(agent, features, holding)
        self._forget_closed(agent)

    @precondition(lambda self: self.world.sessions)
    @rule(data=st.data())
    def disconnect(self, data) -> None:
        self.world.disconnect(data.draw(st.sampled_from(sorted(self.world.sessions))))

    @precondition(lambda self: self.world.sessions)
    @rule(data=st.data(), own=st.booleans(), name=tasks, generation=generations, kind=st.sampled_from(FailureClass))
    def say(self, data, own, name, generation, kind) -> None:
        agent = data.draw(st.sampled_from(sorted(self.world.sessions)))
        owned = self.world.core.memory.owned_by(agent)
        if own and owned:
            name, generation = owned[0].id, owned[0].status.generation
        word = data.draw(
            st.sampled_from(
                [
                    Accepted(name, generation),
                    Accepted(name, generation),
                    Complete(name, generation, {"summary": "ok", "tokens_used": 3}),
                    Complete(name, generation, {"status": "failed", "reason": "no"}),
                    Rejected(name, generation, "cannot"),
                    Rejected(name, generation, "busy"),
                    Progress(name, generation, 10.0),
                    Failed(name, generation, kind, "broken"),
                    Blocked(name, generation, "which?"),
                    Released(name, generation or 0, unfinished=False),
                    Released(name, generation or 0, unfinished=True),
                    Recovering(name, generation, "working"),
                    Recovering(name, generation, "accepted"),
                    Reported(name, generation or 0),
                    Woken(None, "success"),
                ]
            )
        )
        before = dict(self.branch)
        self.world.say(agent, word)
        if isinstance(word, Complete | Failed):
            self._stale_changes_nothing(agent, name, generation, before)

    @rule(seconds=st.sampled_from([1, 3, 11, 61, 121, 301, 901, 7201, 90_000]))
    def wait(self, seconds) -> None:
        self.world.advance(seconds)

    @rule(event=st.sampled_from([Started(), Started(anew="a new hub took over"), Resumed()]))
    def upset(self, event) -> None:
        self.world.handle(event)

    @rule()
    def look_again(self) -> None:
        assert not [e for e in self.world.observe() if isinstance(e, Record)], "the same observation changes nothing"

    # --- what must hold

    def _generation(self, name: str) -> int:
        task = self.world.core.memory.tasks.get(name)
        return task.status.generation if task else 0

    def _stale_changes_nothing(self, agent: str, name: str, generation: int | None, before: dict[str, Task]) -> None:
        """S7: a result of an old generation leaves the task as it was, but for the list of kept orphans."""
        task = before.get(name)
        if task is None or not generation or generation == task.status.generation:
            return
        after = self.branch[name]
        if (task.status.assigned_to, after.status.generation) == (after.status.assigned_to, task.status.generation):
            assert replace(after.status, orphans=()) == replace(task.status, orphans=())

    def check(self, effects: list[Effect]) -> None:
        memory = self.world.core.memory
        for effect in effects:
            if isinstance(effect, Record) and effect.after is not None:
                self._record(effect)
            elif isinstance(effect, Record):
                self._agent_record(effect)
            elif isinstance(effect, Send):
                self._send(effect)
        for task in memory.tasks.values():
            assert task.status == self.branch[task.id].status, "S9: memory = fold(branch)"
        assert memory.enlisted == self.enlisted, "S9"
        assert not memory.enlisted.keys() & self.world.agents.keys(), "a person's file takes over what the hub made"
        for agent in memory.agents.values():
            assert agent.record == self.records.get(agent.id, AgentRecord(agent.id)), "S9"
            assert agent.id not in memory.enlisted or agent.spec == memory.enlisted[agent.id]
            assert not {token.sha256 for token in agent.open_tokens(self.world.now.wall)} & self.revoked
            assert len(agent.record.tokens) <= enlisting.TOKENS_KEPT

    def _agent_record(self, record: Record) -> None:
        self.records[record.record.id] = record.record
        if record.enlisted is not None:
            self.enlisted[record.record.id] = record.enlisted
        if record.discharged:
            del self.enlisted[record.record.id]
        puts, deletes = layout.record_change(record.record, record.enlisted, discharged=record.discharged)
        self.agent_files.update(puts)
        for path in deletes:
            del self.agent_files[path]

    def _record(self, record: Record) -> None:
        after = record.after
        before = self.branch.get(after.id)
        if before is not None:
            assert record.before.status == before.status, "S3: every change is recorded exactly once"
            assert after.status.generation >= before.status.generation, "S1"
            reachable = {s for row in TASK.values() if before.state in row for s in row[before.state].to}
            assert after.state in reachable | {before.state}, "S3"
            if before.state in FINISHED and record.what not in FREE_WORDS:
                heard = {"orphans": (), "answers": ()}  # kept for people; the outcome stays
                assert replace(after.status, **heard) == replace(before.status, **heard), "S2"
            spent = after.status.retry_count - before.status.retry_count
            assert spent <= (0 if record.what in NO_RETRY else 1), f"S16: {record.what} spent {spent}"
        assert 0 <= after.status.retry_count <= after.status.max_retries, "S10"
        if record.what == "assigned":
            assert after.status.generation == before.status.generation + 1
            assert all(self.branch[dep].state is State.DONE for dep in after.spec.depends_on), "S11"
            self._no_earlier_waits(record)
        assert (after.status.assigned_to is not None) == (after.state in OWNED), "S4"
        self.branch[after.id] = after
        puts, deletes = layout.changes(record.before, after)
        self.files.update(puts)
        for path in deletes:
            del self.files[path]

    def teardown(self) -> None:
        """S9 once more, through the files that the hub really writes."""
        folded = layout.fold(self.files)
        assert not folded.problems
        for task in self.branch.values():
            if task.finished:
                closed = layout.read_closed(layout.status_path(task), self.files.get)
                assert isinstance(closed, layout.Closed)
                assert closed.status == task.status
            else:
                assert folded.statuses[task.id] == task.status
            made = f"tasks/api/{task.id}.yaml" in self.files
            assert made == (task.open and task.spec.origin is Origin.API)
            if made:
                assert replace(folded.specs[task.id], blob=task.spec.blob) == task.spec
        assert set(self.files) == {path for task in self.branch.values() for path in layout.files_of(task)}
        assert len(folded.statuses) == sum(1 for task in self.branch.values() if task.open)
        agents = layout.fold(self.agent_files)
        assert (agents.problems, agents.records, agents.enlisted) == ((), self.records, self.enlisted)

    def _no_earlier_waits(self, record: Record) -> None:
        """S13: what still waits after this step and comes earlier in the order did not fit the chosen agent."""
        memory, agent = self.world.core.memory, self.world.core.memory.agents[record.agent]
        for task in memory.tasks.values():
            ready = task.id in memory.ready and scheduler._limit(memory, task.spec.repo) is None
            if ready and order_of(task) < order_of(record.after):
                assert not scheduler.fits(agent, bucket_of(task)), "S13"

    def _send(self, send: Send) -> None:
        """S5: whatever is said is implied by what was recorded before."""
        message = send.message
        if isinstance(message, Assign):
            status = self.branch[message.task.id].status
            assert (status.assigned_to, status.generation) == (send.agent, message.task.status.generation)
        if isinstance(message, Ack) and message.status == "complete":
            ends = [a.end for a in self.branch[message.task].status.attempts if a.agent == send.agent]
            assert {"done", "changes_asked"} & set(ends)

    @invariant()
    def nobody_idles_beside_fitting_work(self) -> None:
        assert scheduler.choose(self.world.core.memory) is None

    @invariant()
    def the_ready_queue_is_what_why_says(self) -> None:
        memory = self.world.core.memory
        for task in memory.tasks.values():
            free = task.state is State.QUEUED and scheduler.hindrance(memory, task, self.world.now) is None
            assert (task.id in memory.ready) == free, scheduler.hindrance(memory, task, self.world.now)

    @invariant()
    def one_slot_each(self) -> None:
        memory = self.world.core.memory
        for agent in memory.agents.values():
            holding = [t.id for t in memory.owned_by(agent.id) if t.state in (State.ASSIGNED, State.WORKING)]
            assert len(holding) <= 1, "S4"
            if holding and agent.live.state is not AgentState.OFFLINE:
                assert agent.live.slot == holding[0]
                assert agent.live.state in (AgentState.ASSIGNED, AgentState.WORKING)
            if agent.live.state is AgentState.IDLE:
                assert agent.live.slot is None

    @invariant()
    def why_always_has_words(self) -> None:
        for task in self.world.core.memory.tasks.values():
            reason = self.world.core.why(task, self.world.now)
            assert (reason is not None) == (task.state is State.QUEUED)
            assert reason is None or reason.text


CoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestCoreMachine = CoreMachine.TestCase

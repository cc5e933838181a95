"""What the first page answers, as one value: a pure function of what a hub, or a clone without one, gives.

It decides what is healthy and what not, what needs a person, and which figures are shown. It knows no HTTP, no git and
no clock: ``Seen`` says as of when it was seen. Wall times are integers, milliseconds since the epoch.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import nlargest, nsmallest
from itertools import islice
from operator import attrgetter
from threading import Lock
from typing import Any

from coordinator.core.agent import PARKED_FOR_GOOD, Agent
from coordinator.core.machine import FINISHED, AgentState, State
from coordinator.core.policy import Lane
from coordinator.core.scheduler import Why
from coordinator.core.task import Priority, Task
from coordinator.yourturn import WAITING, turn

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
#: Rows of a list on the first page; what is more is one link away.
ROWS = 10
#: What ended badly needs somebody for so long; after that it is history.
BAD_END_MS = 7 * DAY_MS
#: Ends of the last hour are counted in so many equal parts.
PARTS = 12
IN_HAND = (State.ASSIGNED, State.WORKING, State.BLOCKED)
BAD_ENDS = (State.FAILED, State.REJECTED)
#: Lanes whose tasks stand behind all others.
IDLE = (Lane.DRAFT, Lane.DEFERRED)
# keys of orders and counts over thousands of tasks
_CAME = attrgetter("status.created_at", "position", "spec.id")
_ENDED = attrgetter("status.completed_at", "spec.id")
_CODE = attrgetter("code")
_CONFIRM = ("agentcom confirm --show", "agentcom confirm")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where this comes from: a running hub (``live``), or a clone's branch as of ``at``; ``text`` says it to people.

    ``hub`` is the address of a hub that runs and was not asked.
    """

    live: bool
    text: str
    at: int
    notes: tuple[str, ...] = ()
    hub: str | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """One line about a file or about the hub: ``place`` is where (``path:line:col``), ``hint`` what to do."""

    place: str
    what: str
    hint: str = ""
    task: str = ""


@dataclass(frozen=True, slots=True)
class Saved:
    """One file that is saved and not committed."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The hub and its repository; what is not known is None. ``next_look`` says in words when it looks again."""

    source: str
    version: str
    observed: str | None = None
    tip: str | None = None
    hub_id: str | None = None
    epoch: int | None = None
    started_at: int | None = None
    read_only: str | None = None
    flush_ms: float | None = None
    commits: int | None = None
    remote: Mapping[str, Any] | None = None
    next_look: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What waits until a person has looked: how many of which kind, brought by which source commit."""

    kind: str
    commit: str
    count: int


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that the pages are made of, at one instant; nothing here is ever changed.

    ``tasks`` are the open ones and the newest finished ones, ``whys`` why the queued ones wait, ``last_seen`` when an
    agent last did something, ``messages`` how many were sent in each minute of the last hour (None: not known here),
    ``orphans`` where a result that counts no more is kept, by task.
    """

    now: int
    origin: Origin
    facts: Facts
    tasks: tuple[Task, ...] = ()
    whys: Mapping[str, Why] = field(default_factory=dict)
    agents: tuple[Agent, ...] = ()
    last_seen: Mapping[str, int] = field(default_factory=dict)
    troubles: tuple[Trouble, ...] = ()
    saved: tuple[Saved, ...] = ()
    saved_hint: str = ""
    held: tuple[Held, ...] = ()
    drafts: int = 0
    orphans: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    messages: tuple[int, ...] | None = None
    suspended: bool = False


class Level(StrEnum):
    """How bad it is; in this order."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that keeps the whole from being well: one sentence, what to do, and commands to copy."""

    code: str
    level: Level
    text: str
    hint: str = ""
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One task in a list. ``since`` is when it came to where it stands, ``attempt`` counts from 1 to ``of``."""

    task: Task
    since: int
    attempt: int
    of: int
    agent: str | None = None
    why: Why | None = None
    progress: float | None = None
    note: str = ""
    duration: int | None = None
    tokens: int | None = None
    pr_url: str | None = None


class Kind(StrEnum):
    """What a person is needed for; in the order in which it is shown."""

    QUESTION = "question"
    REVIEW = "review"
    FAILED = "failed"
    REJECTED = "rejected"
    HELD = "held"
    PROBLEM = "problem"
    SAVED = "saved"
    ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Need:
    """Something that only a person can do: what it is about, in words, output to look at, and commands to copy."""

    kind: Kind
    title: str
    text: str
    at: int
    task: str = ""
    tail: str = ""
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """One agent in a list. ``state`` is a word of AgentState; the counts of today are since midnight, UTC."""

    agent: Agent
    state: str
    flags: tuple[str, ...]
    task: str | None
    title: str
    since: int | None
    last_seen: int | None
    done_session: int
    done_today: int
    tokens_today: int
    parked: str = ""
    parked_until: int | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """The last hour, sliding: ends in equal parts (oldest first), how long tasks took, how long agents were waited for.

    ``latency_ms`` runs from when a task could run and its agent was free, whichever is later, to the assignment.
    """

    done: int
    parts: tuple[int, ...]
    mean_ms: int | None
    tokens: int
    latency_p50: int | None
    latency_p95: int | None


@dataclass(frozen=True, slots=True)
class Some:
    """The first rows of a list, and how many there are in all."""

    rows: tuple[Row, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the first page shows."""

    seen: Seen
    level: Level
    sentence: str
    conditions: tuple[Condition, ...]
    working: Some
    waiting: Some
    reasons: tuple[tuple[str, int], ...]
    finished: Some
    needs: tuple[Need, ...]
    cards: tuple[Card, ...]
    by_status: Mapping[str, int]
    by_priority: Mapping[str, int]
    pace: Pace

    @property
    def now(self) -> int:
        return self.seen.now

    @property
    def connected(self) -> int:
        return sum(card.state != AgentState.OFFLINE for card in self.cards)


def take(seen: Seen) -> Snapshot:
    """Return what the first page answers; of what was seen last it is made once, because pages and stream ask alike."""
    global _last
    with _taking:
        taken = _last
        if taken is None or taken.seen is not seen:
            taken = _last = _take(seen)
        return taken


_last: Snapshot | None = None
_taking = Lock()


def _take(seen: Seen) -> Snapshot:
    by_status = dict.fromkeys((str(state) for state in State), 0)
    by_state: dict[State, list[Task]] = {state: [] for state in State}
    for task in seen.tasks:
        by_state[task.status.status].append(task)
    for state, tasks in by_state.items():
        by_status[state] = len(tasks)
    agents = {agent.id: agent for agent in seen.agents}
    in_hand = [task for state in IN_HAND for task in by_state[state]]
    queued = by_state[State.QUEUED]
    ended = [task for state in FINISHED for task in by_state[state] if task.status.completed_at is not None]
    conditions = tuple(_conditions(seen, queued))
    level = max((one.level for one in conditions), key=list(Level).index, default=Level.OK)
    depth = Counter(task.spec.priority for task in queued)
    return Snapshot(
        seen,
        level,
        _sentence(seen, conditions, len(in_hand), len(queued), sum(len(by_state[State(one)]) for one in WAITING)),
        conditions,
        Some(tuple(row(seen, task, agents) for task in nsmallest(ROWS, in_hand, key=_longest)), len(in_hand)),
        Some(tuple(row(seen, task, agents) for task in islice(in_turn(queued), ROWS)), len(queued)),
        tuple(Counter(map(_CODE, seen.whys.values())).most_common()),
        Some(tuple(row(seen, task, agents) for task in nlargest(ROWS, ended, key=_ENDED)), len(ended)),
        needs(seen, by_state),
        cards(seen, by_state),
        by_status,
        {priority.word: depth[priority] for priority in Priority},
        _pace(seen, ended),
    )


# --- rows ------------------------------------------------------------------------------------------------------------


def place(task: Task) -> tuple[int, int, int, int, str]:
    """Return where a queued task stands among those that wait: as they would run, drafts and deferred ones last."""
    return (task.lane in IDLE, int(task.spec.priority), task.status.created_at, task.position, task.id)


def in_turn(queued: Iterable[Task]) -> Iterator[Task]:
    """Yield queued tasks as ``place`` has them, those of one priority put in order only once it is their turn."""
    groups: dict[tuple[bool, int], list[Task]] = {}
    for task in queued:
        groups.setdefault((task.lane in IDLE, task.spec.priority), []).append(task)
    for _, group in sorted(groups.items()):
        yield from sorted(group, key=_CAME)


def _longest(task: Task) -> tuple[int, str]:
    return (since(task), task.id)


def since(task: Task) -> int:
    """Return when a task came to where it stands, as far as its status says."""
    status = task.status
    if task.finished:
        return status.completed_at or status.created_at
    if task.state is State.QUEUED:
        return status.created_at
    return status.started_at or status.assigned_at or status.created_at


def row(seen: Seen, task: Task, agents: Mapping[str, Agent]) -> Row:
    """Return one task as a list shows it."""
    status, owner = task.status, worker(task)
    result = status.result or {}
    agent = agents.get(owner or "")
    at_it = agent is not None and agent.live.slot == task.id and not task.finished
    begun = status.started_at or status.assigned_at
    took = None if not task.finished or begun is None else max(0, (status.completed_at or begun) - begun)
    return Row(
        task,
        since(task),
        min(status.retry_count, status.max_retries) + 1,
        status.max_retries + 1,
        owner,
        seen.whys.get(task.id),
        agent.live.progress if agent is not None and at_it else None,
        agent.live.note if agent is not None and at_it else "",
        took,
        tokens(task),
        link(result.get("pr_url")),
    )


def worker(task: Task) -> str | None:
    """Return who works on a task, or did last."""
    attempts = task.status.attempts
    return task.status.assigned_to or (attempts[-1].agent if attempts else None)


def tokens(task: Task) -> int | None:
    """Return the tokens that a result says it took, None when it does not say."""
    used = (task.status.result or {}).get("tokens_used")
    return used if isinstance(used, int) and not isinstance(used, bool) and used >= 0 else None


def link(address: object) -> str | None:
    """Return an address that a page may lead to, None for anything else."""
    if not isinstance(address, str) or not address.startswith(("https://", "http://")) or len(address) > 2000:
        return None
    return address


def tail(task: Task) -> str:
    """Return the last output of what went wrong."""
    said = (task.status.result or {}).get("output_tail")
    attempts = task.status.attempts
    return (attempts[-1].output_tail if attempts else "") or (said if isinstance(said, str) else "")


# --- health ----------------------------------------------------------------------------------------------------------


def _conditions(seen: Seen, queued: list[Task]) -> Iterable[Condition]:
    facts = seen.facts
    if facts.read_only is not None:
        text = f"The hub cannot write: {facts.read_only}. Nothing is handed out or lost meanwhile."
        yield Condition("read_only", Level.CRITICAL, text, "Make room, or give access there; it goes on by itself.")
    if seen.origin.hub is not None:
        text = f"This is the branch, {seen.origin.text}. A hub runs, and its own pages are live."
        yield Condition("copy", Level.WARNING, text, f"{seen.origin.hub}/dashboard")
    elif not seen.origin.live:
        hint = "What you see is what git knows. Start the hub to let work go on."
        yield Condition("no_hub", Level.WARNING, _capital(seen.origin.text) + ".", hint, ("agentcom hub",))
    elif queued:
        yield from _nobody(seen, queued)
    if seen.suspended:
        text = "agentcom.yaml says suspend: true, so nothing new starts."
        yield Condition("suspended", Level.WARNING, text, "Take the line out and commit it.")
    yield from _of_agents(seen)
    remote = facts.remote or {}
    for key, doing in (("push_error", "pushed to"), ("fetch_error", "fetched from")):
        if remote.get(key):
            text = f"{remote['name']} cannot be {doing}: {remote[key]}"
            behind = f" {remote.get('unpushed')} commits wait." if remote.get("unpushed") else ""
            yield Condition(key, Level.WARNING, text, f"It is tried again by itself; work goes on.{behind}")
    if seen.troubles:
        count = len(seen.troubles)
        text = "1 problem needs a look." if count == 1 else f"{count} problems need a look."
        first = seen.troubles[0]
        yield Condition("problems", Level.WARNING, text, f"{first.place}: {first.what}")


def _nobody(seen: Seen, queued: list[Task]) -> Iterable[Condition]:
    wait = "1 task waits" if len(queued) == 1 else f"{len(queued):,} tasks wait"
    workers = [agent for agent in seen.agents if agent.enabled]
    if not workers:
        text = f"{wait}, and there is no agent."
        yield Condition("no_agent", Level.WARNING, text, "Add one.", ("agentcom agent add NAME",))
    elif all(agent.live.session is None for agent in workers):
        text = f"{wait}, and no agent is connected."
        hint = "Start a sidecar on an agent's machine."
        yield Condition("offline", Level.WARNING, text, hint, ("agentcom-sidecar run --config FILE",))


def _of_agents(seen: Seen) -> Iterable[Condition]:
    for agent in seen.agents:
        if not agent.enabled:
            continue
        if agent.record.parked:
            text = f"{agent.id} is parked: {agent.record.parked_reason or 'without a reason'}"
            for_good = agent.record.parked_until == PARKED_FOR_GOOD
            hint = "Mend that, then let it have work again." if for_good else "It ends by itself."
            commands = (f"agentcom agent resume {agent.id}",) if for_good else ()
            yield Condition(f"parked:{agent.id}", Level.WARNING, text, hint, commands)
        elif agent.live.unresponsive:
            text = f"{agent.id} is connected and does not answer to a task."
            yield Condition(f"unresponsive:{agent.id}", Level.WARNING, text, "Look at its sidecar; restart it.")
        elif agent.live.stuck:
            text = f"{agent.id} has not reported progress on {agent.live.slot} for a while."
            yield Condition(f"stuck:{agent.id}", Level.WARNING, text, "It is given up by itself if that goes on.")


def _sentence(seen: Seen, conditions: tuple[Condition, ...], in_hand: int, queued: int, yours: int) -> str:
    if conditions:
        worst = max(conditions, key=lambda one: list(Level).index(one.level))
        return worst.text
    if not seen.tasks and not queued:
        return "All is well. There is nothing to do yet."
    if in_hand == 0 and queued == 0:
        need = "1 task needs you" if yours == 1 else f"{yours:,} tasks need you"
        return f"All is well, and {need if yours else 'everything is done'}."
    work = "1 task is being worked on" if in_hand == 1 else f"{in_hand:,} tasks are being worked on"
    wait = "1 waits" if queued == 1 else f"{queued:,} wait"
    mine = f", {'1 needs' if yours == 1 else f'{yours:,} need'} you" if yours else ""
    return f"All is well: {work}, {wait}{mine}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- what needs a person ---------------------------------------------------------------------------------------------


def needs(seen: Seen, by_state: Mapping[State, list[Task]]) -> tuple[Need, ...]:
    """Return everything that only a person can do, the most urgent kind first, the newest of a kind first."""
    found = [
        *(_question(task) for task in by_state[State.BLOCKED]),
        *(_review(task) for task in by_state[State.IN_REVIEW]),
        *(_bad_end(task) for state in BAD_ENDS for task in by_state[state] if seen.now - since(task) <= BAD_END_MS),
        *(_proposal(task) for task in by_state[State.QUEUED] if task.status.held and not seen.held),
        *(_orphan(seen, task) for task in seen.tasks if seen.orphans and task.id in seen.orphans),
    ]
    found += [_held(seen, one) for one in seen.held]
    if seen.troubles:
        found.append(_problem(seen))
    if seen.saved:
        found.append(_saved(seen))
    order = list(Kind)
    return tuple(sorted(found, key=lambda need: (order.index(need.kind), -need.at, need.task)))


def _question(task: Task) -> Need:
    text = task.status.question or "It asks, without a question."
    return Need(Kind.QUESTION, task.spec.title, text, since(task), task.id, "", _copied(task))


def _review(task: Task) -> Need:
    summary = (task.status.result or {}).get("summary")
    text = summary if isinstance(summary, str) and summary else "The result waits for your judgement."
    return Need(Kind.REVIEW, task.spec.title, text, since(task), task.id, "", _copied(task))


def _copied(task: Task) -> tuple[str, ...]:
    """Return what a person may copy to go on with a task that waits for one."""
    return tuple(command for _, command in ways(task))


def ways(task: Task) -> tuple[tuple[str, str], ...]:
    """Return the ways to go on with a task that waits for a person: what each means, and what to copy."""
    status = task.status
    found = turn(task.id, str(task.state), status.question, status.result)
    return () if found is None else found.ways


def _bad_end(task: Task) -> Need:
    kind = Kind.FAILED if task.state is State.FAILED else Kind.REJECTED
    text = task.status.reason or "No reason was given."
    return Need(kind, task.spec.title, text, since(task), task.id, tail(task), (f"agentcom task rerun {task.id}",))


def _proposal(task: Task) -> Need:
    text = f"Held until a person has looked; asked for by {task.status.created_by or 'somebody'}."
    return Need(Kind.HELD, task.spec.title, text, since(task), task.id, "", _CONFIRM)


def _held(seen: Seen, held: Held) -> Need:
    words = {
        "added": "new ready items came at once and wait",
        "existing": "items stood here before `agentcom init` and wait",
        "removed": "open tasks would disappear; their removal waits",
    }
    what = words.get(held.kind, "things wait")
    title = f"{held.count:,} {what} until you have looked"
    return Need(Kind.HELD, title, f"Brought by source commit {held.commit[:10]}.", seen.now, "", "", _CONFIRM)


def _problem(seen: Seen) -> Need:
    first, count = seen.troubles[0], len(seen.troubles)
    title = "1 problem in files, or of the hub" if count == 1 else f"{count:,} problems in files, or of the hub"
    text = ", ".join(part for part in (f"{first.place}: {first.what}", first.hint) if part)
    return Need(Kind.PROBLEM, title, text, seen.now, "", "", ("agentcom validate",))


def _saved(seen: Seen) -> Need:
    count = len(seen.saved)
    title = "1 file is saved but not committed" if count == 1 else f"{count} files are saved but not committed"
    text = "; ".join(one.text for one in seen.saved[:3]) + ("; and more" if count > 3 else "")
    return Need(Kind.SAVED, title, text, seen.now, "", "", quoted(seen.saved_hint))


def quoted(hint: str) -> tuple[str, ...]:
    """Return the commands that a hint has in backticks."""
    return tuple(hint.split("`")[1::2])


def _orphan(seen: Seen, task: Task) -> Need:
    text = "A result came too late to count and was kept."
    commands = tuple(f"git show agentcom/state:{path}" for path in seen.orphans[task.id])
    return Need(Kind.ORPHAN, task.spec.title, text, since(task), task.id, "", commands)


# --- agents ----------------------------------------------------------------------------------------------------------


def cards(seen: Seen, by_state: Mapping[State, list[Task]]) -> tuple[Card, ...]:
    """Return all agents, those at work first, then the connected ones."""
    today = seen.now // DAY_MS * DAY_MS
    titles = {task.id: task for state in IN_HAND for task in by_state[state]}
    done: Counter[str] = Counter()
    used: Counter[str] = Counter()
    for task in by_state[State.DONE]:
        if (task.status.completed_at or 0) >= today:
            name = worker(task) or ""
            done[name] += 1
            used[name] += tokens(task) or 0
    found = [_card(seen, agent, titles, done[agent.id], used[agent.id]) for agent in seen.agents]
    return tuple(sorted(found, key=lambda card: (card.task is None, card.state == AgentState.OFFLINE, card.agent.id)))


def _card(seen: Seen, agent: Agent, titles: Mapping[str, Task], done: int, used: int) -> Card:
    live, record = agent.live, agent.record
    task = titles.get(live.slot or "")
    flags = {
        "parked": record.parked,
        "unresponsive": live.unresponsive,
        "stuck": live.stuck,
        "draining": record.draining,
        "disabled": agent.spec.disabled,
        "person": agent.spec.kind == "person",
    }
    return Card(
        agent,
        str(live.state),
        tuple(name for name, is_set in flags.items() if is_set),
        live.slot,
        "" if task is None else task.spec.title,
        None if live.session is None else live.session.connected_at,
        seen.last_seen.get(agent.id),
        live.done_session,
        done,
        used,
        record.parked_reason if record.parked else "",
        record.parked_until if record.parked_until != PARKED_FOR_GOOD else None,
    )


# --- figures ---------------------------------------------------------------------------------------------------------


def _pace(seen: Seen, ended: list[Task]) -> Pace:
    begin = seen.now - HOUR_MS
    parts = [0] * PARTS
    took: list[int] = []
    used = 0
    recent = [task for task in ended if begin < (task.status.completed_at or 0) <= seen.now]
    for task in recent:
        status = task.status
        if status.status is not State.DONE:
            continue
        at = status.completed_at or 0
        parts[min(PARTS - 1, (at - begin) * PARTS // HOUR_MS)] += 1
        used += tokens(task) or 0
        if status.started_at is not None:
            took.append(max(0, at - status.started_at))
    waits = sorted(_waits(seen, begin, recent))
    return Pace(
        sum(parts),
        tuple(parts),
        sum(took) // len(took) if took else None,
        used,
        waits[len(waits) // 2] if waits else None,
        waits[min(len(waits) - 1, len(waits) * 95 // 100)] if waits else None,
    )


def _waits(seen: Seen, begin: int, ended: list[Task]) -> Iterable[int]:
    """Yield how long each task assigned since then waited once it could run and its agent was free.

    ``ended`` are the tasks that ended since then: an end before that kept nobody waiting since.
    """
    ends: dict[str, list[int]] = {}
    for task in ended:
        if (name := worker(task)) is not None:
            ends.setdefault(name, []).append(task.status.completed_at or 0)
    for times in ends.values():
        times.sort()
    finished = {task.id: task.status.completed_at or 0 for task in ended}
    sessions = {agent.id: agent.live.session.connected_at for agent in seen.agents if agent.live.session is not None}
    for task in seen.tasks:
        status = task.status
        assigned = status.assigned_at
        if assigned is None or assigned <= begin or status.generation != 1:
            continue
        spec = task.spec
        name = worker(task) or ""
        before, session = ends.get(name, []), sessions.get(name, 0)
        at = bisect_right(before, assigned)
        free = max(before[at - 1] if at else 0, session if session <= assigned else 0)
        runnable = max(
            [status.created_at, spec.not_before or 0, *(finished.get(other, 0) for other in spec.depends_on)]
        )
        yield max(0, assigned - max(runnable, free))


# --- JSON ------------------------------------------------------------------------------------------------------------


def state_json(snapshot: Snapshot, agents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer of ``GET /api/dashboard/state`` (PROTOCOL 2.1); ``agents`` as that API shows them."""
    facts, pace = snapshot.seen.facts, snapshot.pace
    return {
        "uptime_ms": None if facts.started_at is None else max(0, snapshot.now - facts.started_at),
        "timestamp": snapshot.now,
        "version": facts.version,
        "live": snapshot.seen.origin.live,
        "health": {
            "status": str(snapshot.level),
            "sentence": snapshot.sentence,
            "conditions": [
                {"code": one.code, "level": str(one.level), "text": one.text, "hint": one.hint}
                for one in snapshot.conditions
            ],
        },
        "agents": agents,
        "queue": {
            "by_status": dict(snapshot.by_status),
            "by_priority": {str(int(one)): snapshot.by_priority[one.word] for one in Priority},
            "dead_letter": sum(snapshot.by_status[state] for state in (*BAD_ENDS, State.CANCELLED)),
        },
        "waiting": {"count": snapshot.waiting.count, "reasons": dict(snapshot.reasons)},
        "recent_completions": [
            {
                "task_id": one.task.id,
                "title": one.task.spec.title,
                "status": str(one.task.state),
                "agent_id": one.agent,
                "completed_at": one.task.status.completed_at,
                "duration_ms": one.duration,
                "tokens_used": one.tokens,
                "pr_url": one.pr_url,
            }
            for one in snapshot.finished.rows
        ],
        "needs": [{"kind": str(one.kind), "task_id": one.task or None, "title": one.title} for one in snapshot.needs],
        "throughput": {
            "completed_last_hour": pace.done,
            "avg_completion_ms": pace.mean_ms,
            "total_tokens_hour": pace.tokens,
            "assignment_ms_p50": pace.latency_p50,
            "assignment_ms_p95": pace.latency_p95,
        },
    }

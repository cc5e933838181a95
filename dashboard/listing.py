"""Lists by address: which rows an address asks for, in which order, and the addresses of everything around them. Pure.

What an address asks for and nobody knows is left out, never an error: a link that is old still leads to a list.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from coordinator.core.machine import FINISHED, State
from coordinator.core.scheduler import Why
from coordinator.core.task import Priority, Task
from dashboard.snapshot import BAD_ENDS, IN_HAND, in_turn, place, since, worker

#: Rows of one page.
PAGE = 50
#: Groups of states that have a tab of their own.
VIEWS: Mapping[str, frozenset[State]] = {
    "open": frozenset({State.QUEUED, *IN_HAND, State.IN_REVIEW}),
    "waiting": frozenset({State.QUEUED}),
    "working": frozenset(IN_HAND),
    "yours": frozenset({State.BLOCKED, State.IN_REVIEW, *BAD_ENDS}),
    "done": frozenset({State.DONE}),
    "ended": frozenset({State.DONE, State.FAILED, State.REJECTED, State.CANCELLED}),
    "all": frozenset(State),
}
SORTS = ("queue", "since", "title", "priority", "state", "agent")
#: Keys of an address that a list understands, in the order in which they are written.
KEYS = ("view", "state", "priority", "agent", "label", "why", "q", "sort", "order", "page")


@dataclass(frozen=True, slots=True)
class Wish:
    """What an address asks of the list of tasks; empty means everything, or as usual."""

    view: str = "open"
    state: str = ""
    priority: str = ""
    agent: str = ""
    label: str = ""
    why: str = ""
    q: str = ""
    sort: str = "queue"
    order: str = "up"
    page: int = 1

    def address(self, path: str, **changes: str | int) -> str:
        """Return the address of this list with some things changed; that also goes back to its first page."""
        wish = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type]
        usual = Wish()
        said = {key: getattr(wish, key) for key in KEYS if getattr(wish, key) != getattr(usual, key)}
        return f"{path}?{urlencode(said)}" if said else path

    @property
    def filtered(self) -> bool:
        """Tell whether anything beyond the tab is asked for."""
        return any((self.state, self.priority, self.agent, self.label, self.why, self.q))


def wish(args: Mapping[str, str]) -> Wish:
    """Return what the query of an address asks for."""
    said = {key: args.get(key, "")[:200] for key in KEYS}
    usual = Wish()
    return Wish(
        said["view"] if said["view"] in VIEWS else usual.view,
        said["state"] if said["state"] in frozenset(State) else "",
        said["priority"] if said["priority"] in {one.word for one in Priority} else "",
        said["agent"],
        said["label"],
        said["why"],
        said["q"].strip(),
        said["sort"] if said["sort"] in SORTS else usual.sort,
        "down" if said["order"] == "down" else "up",
        number(said["page"]),
    )


def number(text: str) -> int:
    """Return the number of a page that an address names, 1 where it names none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 and int(text) > 0 else 1


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: ``first`` and ``last`` count from 1, ``pages`` is at least 1."""

    tasks: tuple[Task, ...]
    count: int
    number: int
    pages: int
    first: int
    last: int


def tasks(found: Iterable[Task], whys: Mapping[str, Why], asked: Wish) -> Page:
    """Return the page of tasks that is asked for; a page beyond the last is the last."""
    states = VIEWS[asked.view] if not asked.state else frozenset({State(asked.state)})
    words = asked.q.casefold().split()

    def wanted(task: Task) -> bool:
        spec = task.spec
        if task.status.status not in states or (asked.priority and spec.priority.word != asked.priority):
            return False
        if asked.agent and asked.agent not in (worker(task), spec.assignee):
            return False
        if asked.label and asked.label not in spec.labels:
            return False
        if asked.why and (task.id not in whys or whys[task.id].code != asked.why):
            return False
        if not words:
            return True
        text = f"{task.id} {spec.title} {spec.description}".casefold()
        return all(word in text for word in words)

    rows = _in_order(filter(wanted, found), asked)
    pages = max(1, -(-len(rows) // PAGE))
    at = min(asked.page, pages)
    begin = (at - 1) * PAGE
    shown = tuple(rows[begin : begin + PAGE])
    return Page(shown, len(rows), at, pages, begin + 1 if shown else 0, begin + len(shown))


def _in_order(rows: Iterable[Task], asked: Wish) -> list[Task]:
    if asked.sort == "queue":
        ordered = _as_they_run(rows)
        return ordered[::-1] if asked.order == "down" else ordered
    return sorted(rows, key=_key(asked.sort), reverse=asked.order == "down")


def _as_they_run(rows: Iterable[Task]) -> list[Task]:
    """Return tasks in hand, then those that wait in their order, then the newest that ended."""
    in_hand: list[Task] = []
    queued: list[Task] = []
    ended: list[Task] = []
    for task in rows:
        state = task.status.status
        (queued if state is State.QUEUED else ended if state in FINISHED else in_hand).append(task)
    in_hand.sort(key=lambda task: (since(task), task.id))
    ended.sort(key=lambda task: (-since(task), task.id))
    return [*in_hand, *in_turn(queued), *ended]


def _key(sort: str) -> Callable[[Task], tuple[object, ...]]:
    keys: dict[str, Callable[[Task], tuple[object, ...]]] = {
        "since": lambda task: (since(task), task.id),
        "title": lambda task: (task.spec.title.casefold(), task.id),
        "priority": lambda task: (int(task.spec.priority), *place(task)),
        "state": lambda task: (list(State).index(task.state), *place(task)),
        "agent": lambda task: (worker(task) or "~", task.id),
    }
    return keys[sort]

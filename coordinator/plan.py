"""What would happen if everything that is saved here were committed now: the hub's own reading and deciding, dry.

The state branch is read into a core of its own, the saved files are observed by it, and what it decides is the plan.
Nothing is written; no hub is asked.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from coordinator.core.backlog import CANCELLED, DONE, MapEntry
from coordinator.core.events import Effect, Record, Started
from coordinator.core.guards import Kind
from coordinator.core.machine import State
from coordinator.core.order import longest_rise
from coordinator.core.policy import Lane
from coordinator.core.reconciler import Core
from coordinator.core.task import Task
from coordinator.core.timers import Now
from coordinator.files.observe import BACKLOG, Observation, Observer
from coordinator.files.problem import Problem
from coordinator.files.validate import WorkTree
from coordinator.git.journal import GitStore
from coordinator.git.repo import GitSource, read_ref
from coordinator.git.worktree import SavedFiles, head_of
from coordinator.ground import Ground
from coordinator.memoir import known_now, observed_of, read_back, rebuild, wanted_finished
from coordinator.ports import Entry, Version

#: The lists of a plan, in the order in which they are shown.
LISTS = ("created", "changed", "moved", "cancelled", "orphaned", "held", "ignored")
_NO_RUN = {
    Lane.DRAFT: "a draft: it runs once it stands under a ready heading",
    Lane.DEFERRED: "deferred: it runs once it stands under a ready heading",
    Lane.DONE: "done: no task",
}


@dataclass(frozen=True, slots=True)
class Planned:
    """One item or task of a plan: ``line`` is its line in BACKLOG.md (0: it stands in a file of its own, ``where``)."""

    id: str
    title: str
    lane: str
    priority: str
    line: int
    where: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would happen, by kind; ``agents`` are ids whose files would come into force."""

    created: tuple[Planned, ...] = ()
    changed: tuple[Planned, ...] = ()
    moved: tuple[Planned, ...] = ()
    cancelled: tuple[Planned, ...] = ()
    orphaned: tuple[Planned, ...] = ()
    held: tuple[Planned, ...] = ()
    ignored: tuple[Planned, ...] = ()
    agents: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def changes(self) -> bool:
        """Tell whether anything would be different afterwards."""
        lists = (self.created, self.changed, self.moved, self.cancelled, self.orphaned, self.held)
        return any(lists) or bool(self.agents)

    def as_json(self) -> dict[str, Any]:
        """Return the lists under their names."""
        return asdict(self)

    def beyond(self, other: "Plan") -> "Plan":
        """Return what of this plan is not in another one, at whatever line it stands."""
        lists = {name: _beyond(getattr(self, name), getattr(other, name)) for name in LISTS}
        known = {problem.anywhere() for problem in other.problems}
        problems = tuple(problem for problem in self.problems if problem.anywhere() not in known)
        return Plan(**lists, agents=tuple(sorted({*self.agents} - {*other.agents})), problems=problems)


def _beyond(these: tuple[Planned, ...], those: tuple[Planned, ...]) -> tuple[Planned, ...]:
    known = {replace(one, line=0, where="") for one in those}
    return tuple(one for one in these if replace(one, line=0, where="") not in known)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan, and what it was made from: the saved backlog as it would be observed, and how its tasks stand."""

    plan: Plan
    seen: Observation
    states: Mapping[str, State]


class SavedSource:
    """A source whose newest commit is what is saved now: edits of the work tree on top of the commit checked out.

    With ``only`` the edits of these paths count, and no others; ``committed`` reads the source branch alone.
    """

    def __init__(
        self, ground: Ground, top: Path, only: Collection[str] | None = None, *, committed: bool = False
    ) -> None:
        self._git = GitSource(ground.repo, ground.source_ref, ground.root, state_ref=ground.state_ref)
        self._tree = WorkTree(top, ground.root)
        edits = () if committed else SavedFiles(ground.repo, ground.root).look().edits
        self._edited = [edit for edit in edits if only is None or edit.path in only]
        self._ground = ground
        self.head = read_ref(ground.repo, ground.source_ref) if committed else head_of(ground.repo)[1]
        #: The id that stands for what is saved: no commit has it.
        self.tip_id = "0" * (64 if ground.repo.object_format == "sha256" else 40)
        self._saved = self._overlay()

    def _overlay(self) -> dict[str, Entry]:
        """Return the files as committed, with every edit in place of them."""
        found = dict(self._git.entries(self.head)) if self.head is not None else {}
        on_disk = self._tree.entries(self.tip_id)
        keys = {self._path(key): key for key in (*found, *on_disk)}
        for edit in self._edited:
            key = keys.get(edit.path)
            if key is not None:
                found.pop(key, None)
                if key in on_disk:
                    found[key] = on_disk[key]
        return found

    def _path(self, key: str) -> str:
        return key if key == "agentcom.yaml" else self._ground.path(key)

    def tip(self) -> str | None:
        return self.tip_id

    def needs_observation(self, commit: str, observed: str | None) -> bool:
        return True

    def entries(self, commit: str) -> Mapping[str, Entry]:
        return self._saved if commit == self.tip_id else self._git.entries(commit)

    def strays(self, commit: str) -> tuple[str, ...]:
        return self._git.strays(self.head or commit) if commit == self.tip_id and self.head is not None else ()

    def blobs(self, oids: tuple[str, ...], largest: int | None = None) -> Mapping[str, bytes]:
        here = self._tree.blobs(oids, largest)
        rest = tuple(oid for oid in oids if oid not in here)
        return {**here, **(self._git.blobs(rest, largest) if rest else {})}

    def backlog_versions(self, commit: str, observed: str | None) -> tuple[str, ...]:
        if commit != self.tip_id:
            return self._git.backlog_versions(commit, observed)
        versions = self._git.backlog_versions(self.head, observed) if self.head is not None else ()
        entry = self._saved.get(BACKLOG)
        return versions if entry is None or versions[-1:] == (entry.oid,) else (*versions, entry.oid)

    def authors(self, commit: str, observed: str | None) -> Mapping[str, Version]:
        if commit != self.tip_id:
            return self._git.authors(commit, observed)
        return {} if self.head is None else self._git.authors(self.head, observed)


def make_plan(ground: Ground, top: Path, only: Collection[str] | None = None, *, committed: bool = False) -> Compiled:
    """Return what committing everything saved below ``top`` would do, or the files at some paths ``only``.

    With ``committed`` it is what the commits that are there will do. Raises StoreError when git cannot be read.
    """
    store = GitStore(ground.repo, ground.root, ground.state_ref)
    source = SavedSource(ground, top, only, committed=committed)
    observer = Observer(source, ground.branch, ground.root)
    existing = ground.place.existing_backlog()
    core, now = Core(), Now(time.monotonic(), time.time_ns() // 1_000_000)
    fold = store.load()
    folded = rebuild(core, fold, observer, store, source, existing=existing).folded
    known = known_now(core.memory, folded.backlog, str(folded.hub.get("policy", "")), existing)
    seen = observer.look(source.tip_id, fold.source, known)
    for task in read_back(core.memory.closed & wanted_finished(seen.specs.values()), fold.closed, store, source):
        core.restore(task)
    core.handle(Started(), now)
    before = {name for batch in core.memory.held for name in batch.ids}
    effects = core.handle(observed_of(seen), now)
    drawn = _Drawing(seen, ground.path(BACKLOG), {entry.id: entry for entry in folded.backlog.entries}, core)
    drawn.records(effects)
    drawn.backlog(folded.backlog.entries)
    for batch in core.memory.held:
        if batch.kind is Kind.REMOVED:
            new = (core.memory.tasks[name] for name in batch.ids if name not in before)
            drawn.put("held", new, "too many would disappear at once")
    drawn.ignore()
    states = {task.id: task.state for task in core.memory.tasks.values()}
    states |= _finished(core, fold.closed, store, source, seen)
    return Compiled(drawn.plan(), seen, states)


def _finished(
    core: Core, closed: Mapping[str, str], store: GitStore, source: SavedSource, seen: Observation
) -> dict[str, State]:
    """Return how the finished tasks ended that still have a line."""
    names = core.memory.closed & {entry.id for entry in seen.backlog.entries}
    return {task.id: task.state for task in read_back(names, closed, store, source)}


@dataclass(slots=True)
class _Drawing:
    """A plan on its way: what the core decided, and what it does not decide because there is no task."""

    seen: Observation
    path: str
    old: Mapping[str, MapEntry]
    core: Core
    lists: dict[str, dict[str, Planned]] = field(default_factory=lambda: {name: {} for name in LISTS})
    agents: list[str] = field(default_factory=list)

    def put(self, name: str, tasks: Iterable[Task], why: str = "") -> None:
        for task in tasks:
            self.lists[name][task.id] = self._planned(task, why)

    def records(self, effects: Iterable[Effect]) -> None:
        """Sort what the core would record."""
        for record in (effect for effect in effects if isinstance(effect, Record)):
            if record.after is None:
                self.agents += [] if record.record is None else [record.record.id]
                continue
            task, why = record.after, record.note or record.what.replace("_", " ")
            if record.before is None:
                self.put("held" if task.status.held else "created", (task,), _runs(task))
            elif record.before.finished is False and task.state is State.CANCELLED:
                self.put("cancelled", (task,), why)
            elif record.what == "orphaned":
                self.put("orphaned", (task,), why)
            elif task.id not in self.lists["created"]:
                self.put("changed", (task,), why)

    def backlog(self, entries: Sequence[MapEntry]) -> None:
        """Add what is no task (yet), and what only stands elsewhere."""
        place = {entry.id: number for number, entry in enumerate(entries)}
        known = [entry for entry in self.seen.backlog.entries if _under_the_same(self.old.get(entry.id), entry)]
        stays = {known[at].id for at in longest_rise([place[entry.id] for entry in known])}
        for entry in self.seen.backlog.entries:
            was, name = self.old.get(entry.id), entry.id
            if any(name in found for found in self.lists.values()):
                continue
            if was is None:
                ended = entry.check in (DONE, CANCELLED) or entry.lane is Lane.DONE
                if name not in self.core.memory.tasks:
                    why = "ticked before it ever was a task" if ended else _NO_RUN.get(entry.lane, "it is wrong")
                    self.lists["ignored" if ended else "created"][name] = self._entry(entry, why)
            elif not _under_the_same(was, entry):
                self.lists["moved"][name] = self._entry(entry, f"from {was.heading or 'the top'}")
            elif name not in stays:
                self.lists["moved"][name] = self._entry(entry, "to another place")
            elif (was.digest, was.check) != (entry.digest, entry.check) and name not in self.core.memory.tasks:
                self.lists["changed"][name] = self._entry(entry, _NO_RUN.get(entry.lane, ""))
        standing = {entry.id for entry in self.seen.backlog.entries}
        for name, was in self.old.items():
            if name not in standing and name not in self.core.memory.tasks and name not in self.core.memory.closed:
                self.lists["cancelled"][name] = self._entry(was, "its line is gone; it never was a task")

    def ignore(self) -> None:
        """Add the list entries that are no items."""
        for one in self.seen.ignored:
            entry = Planned("", one.title, "", "", one.line, f"{self.path}:{one.line}", one.why)
            self.lists["ignored"][f":{one.line}"] = entry

    def plan(self) -> Plan:
        lists = {name: tuple(sorted(found.values(), key=_place)) for name, found in self.lists.items()}
        return Plan(**lists, agents=tuple(sorted(set(self.agents))), problems=self.seen.problems)

    def _planned(self, task: Task, why: str) -> Planned:
        _, _, line = task.spec.where.rpartition(":")
        number = int(line) if line.isdigit() else 0
        lane = str(task.lane)
        return Planned(task.id, task.spec.title, lane, task.spec.priority.word, number, task.spec.where, why)

    def _entry(self, entry: MapEntry, why: str) -> Planned:
        item = self.seen.items.get(entry.id)
        title, priority = (item.title, item.priority.word) if item is not None else (entry.title, "normal")
        where = f"{self.path}:{entry.line}"
        return Planned(entry.id, title, str(entry.lane), priority, entry.line, where, why)


def _under_the_same(was: MapEntry | None, entry: MapEntry) -> bool:
    return was is not None and was.lane is entry.lane and was.heading == entry.heading


def _runs(task: Task) -> str:
    return _NO_RUN.get(task.lane, "")


def _place(one: Planned) -> tuple[bool, int, str]:
    return (not one.line, one.line, one.where)

"""One source commit -> everything that people say in it: specifications, agents, policy, places, and what is wrong.

Level-triggered: ``look`` reads a commit and tells what it says, never what changed; the core compares. Parsed values
are kept by blob id, so that only changed blobs are parsed. A wrong file keeps its last good version: from memory while
this process lives, afterwards from the accepted blob that the hub recorded. This module writes nothing and decides
nothing about tasks; it blocks on git, so the hub runs it in an executor.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

from coordinator.core.agent import AgentSpec
from coordinator.core.backlog import (
    CANCELLED,
    DONE,
    NO_CHECK,
    OPEN,
    BacklogMap,
    Item,
    MapEntry,
    carry,
    spec_of,
    with_blob,
)
from coordinator.core.graph import circles, spell
from coordinator.core.policy import Lane, Policy
from coordinator.core.task import Origin, Spec
from coordinator.files import emitter, limits, loader, markdown
from coordinator.files.problem import Problem, shown
from coordinator.files.readings import Memo, Readings, nothing
from coordinator.ports import HUB_FOLDERS, Author, Entry, Source, SourceUnreadable, Version

BACKLOG = "BACKLOG.md"
POLICY = "agentcom.yaml"
_FILE_MODES = ("100644", "100755")
_FOLDER_MODE = "040000"
#: So many edits in the hub's folders get a line each.
STRAYS_SHOWN = 20
#: What a file in a work tree bears instead of a mode when this user may not read it.
UNREADABLE = "unreadable"
#: A commit as people name it in a trailer.
_COMMIT = re.compile(r"[0-9a-f]{7,64}\Z")
#: Folders of the hub inside people's folders: their content on the source is ignored.
_HUB_CHILDREN = frozenset(path for path in HUB_FOLDERS if "/" in path)

V = TypeVar("V", Spec, AgentSpec)


@dataclass(frozen=True, slots=True)
class Known:
    """What the hub must hand in: its memory as of the last flush, as values that do not change while ``look`` runs.

    finished            ids of finished tasks (a later namesake gets a new id)
    used                ids of every task that ever was, open, finished or deleted: none is born again, and a backlog
                        item that is ticked before it ever was a task stays without one
    backlog             the identity map of the state branch (``layout.Folded.backlog``, later ``Observation.backlog``)
    specs               the specifications in force by id; after a restart those that the fold gave (hub-made ones)
    accepted_tasks      id -> ``status.spec`` of open tasks whose specification is a person's file
    accepted_agents     id -> ``AgentRecord.accepted``
    accepted_policy     blob id of the last good agentcom.yaml (``status/hub.yaml``)
    existing            blob id of the BACKLOG.md that stood there before anybody equipped this repository, or empty
    complete            False when nobody asked a hub: tasks may exist that are not known here, so that a dependency on
                        an unknown id is no mistake
    """

    finished: AbstractSet[str] = frozenset()
    used: AbstractSet[str] = frozenset()
    backlog: BacklogMap = field(default_factory=BacklogMap)
    specs: Mapping[str, Spec] = field(default_factory=dict)
    accepted_tasks: Mapping[str, str] = field(default_factory=dict)
    accepted_agents: Mapping[str, str] = field(default_factory=dict)
    accepted_policy: str = ""
    existing: str = ""
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Observation:
    """What one source commit says.

    ``specs`` holds every specification in force: people's files (of a wrong file the last good version) and each
    backlog item that stands in a ready lane or already is a task; a person's ``tasks/<id>.yaml`` overrides the backlog
    item of the same id. ``places`` gives lane and position of every backlog item. ``undecided`` are ids whose file is
    wrong and has no last good version at hand: their absence from ``specs`` (or ``agents``) means nothing, the hub
    leaves them as they are. ``backlog_json`` is what ``status/backlog.json`` must hold. ``authors`` names who wrote
    the version of a task that this commit brings (ids whose file did not change are missing); ``author`` and
    ``time_ms`` are the tip's. ``items`` are the backlog items as written, by id, ``ignored`` the list entries that are
    none. ``existing`` are items of the first version ever compiled that stood there before anybody equipped this
    repository. ``confirms`` are the source commits that people confirmed, ``confirmed`` tells whether one of them says
    just what this one says.
    """

    commit: str
    specs: Mapping[str, Spec] = field(default_factory=dict)
    places: Mapping[str, tuple[Lane, int]] = field(default_factory=dict)
    agents: Mapping[str, AgentSpec] = field(default_factory=dict)
    undecided: frozenset[str] = frozenset()
    undecided_agents: frozenset[str] = frozenset()
    policy: Policy = field(default_factory=Policy)
    backlog: BacklogMap = field(default_factory=BacklogMap)
    backlog_json: bytes = b""
    problems: tuple[Problem, ...] = ()
    authors: Mapping[str, Author] = field(default_factory=dict)
    author: Author = Author("", "")  # noqa: RUF009 - a frozen value
    time_ms: int = 0
    items: Mapping[str, Item] = field(default_factory=dict)
    ignored: tuple[markdown.Ignored, ...] = ()
    existing: frozenset[str] = frozenset()
    confirms: tuple[str, ...] = ()
    confirmed: bool = False


class Observer:
    """Reads source commits. Not safe for two threads at once; the hub calls it from one executor.

    What ``readings`` knows is not parsed again.
    """

    def __init__(self, source: Source, source_branch: str, root: str = ".", readings: Readings | None = None) -> None:
        known = readings or nothing()
        self._source = source
        self._reserved = (source_branch,)
        self._root = root
        self._prefix = "" if root == "." else f"{root}/"
        self._tasks: _Shelf[Spec] = _Shelf(self._load_task, known.tasks)
        self._agents: _Shelf[AgentSpec] = _Shelf(self._load_agent, Memo())
        self._lists = known.lists
        self._policy: Policy | None = None
        self._backlog: tuple[str, Policy, markdown.Parsed | loader.Problems] | None = None

    def policy(self, commit: str, known: Known) -> tuple[Policy, tuple[Problem, ...]]:
        """Return the policy in force at ``commit``, and what is wrong with the text there."""
        problems: list[Problem] = []
        policy = self._look_policy(self._source.entries(commit), known, problems)
        return policy, tuple(sorted(problems))

    def look(self, commit: str, observed: str | None, known: Known) -> Observation:
        """Return what ``commit`` says; ``observed`` is the source commit that ``known`` stands for, None at first.

        Looking twice with the same arguments gives the same observation. Raises what the source raises.
        """
        entries = self._source.entries(commit)
        problems: list[Problem] = []
        policy = self._look_policy(entries, known, problems)
        task_files = self._files("tasks", entries, problems)
        agent_files = self._files("agents", entries, problems)
        self._fetch(self._tasks, task_files)
        self._fetch(self._agents, agent_files)
        wrong: list[Problem] = []
        earlier = self._tasks.good
        tasks, undecided = self._tasks.read(task_files, known.accepted_tasks, self._source, wrong)
        problems += [replace(problem, task_id=_id(problem.path)) for problem in wrong]
        agents, undecided_agents = self._agents.read(agent_files, known.accepted_agents, self._source, problems)
        for name in sorted(undecided):
            if (before := known.specs.get(name)) is not None and before.origin is Origin.FILE:
                tasks[name] = before
                undecided.discard(name)

        algorithm = emitter.algorithm_of(commit)
        names = {_id(path) for path in task_files}
        problems += [self._stray(path) for path in self._source.strays(commit)[:STRAYS_SHOWN]]
        authors = self._source.authors(commit, observed)
        tip = authors.get("", Version(commit, Author("", ""), 0))
        compiled = self._look_backlog(commit, observed, entries, known, names, policy, algorithm)
        existing = self._existing(known, tip.confirms, compiled.backlog, policy)
        problems.extend(compiled.problems)
        for name in sorted(compiled.undecided - tasks.keys() - undecided):
            path = f"{self._prefix}tasks/{name}.yaml"
            before = known.specs.get(name) or self._tasks.recall(path, known.accepted_tasks.get(name, ""), self._source)
            if before is None:
                undecided.add(name)
            else:
                tasks[name] = before
        specs = {**compiled.specs, **tasks}
        others = known.used | undecided | compiled.places.keys() if known.complete else None
        written = {(path, entry.oid) for path, entry in task_files.items()}
        current = compiled.items.keys() | {name for name, one in tasks.items() if (one.where, one.blob) in written}
        problems.extend(self._dependencies(specs, others, known.finished, current))

        if observed is not None:
            problems.extend(_without_effect(tasks, earlier, authors, known.finished))
        return Observation(
            commit=commit,
            specs=specs,
            places=compiled.places,
            agents=agents,
            undecided=frozenset(undecided - specs.keys()),
            undecided_agents=frozenset(undecided_agents),
            policy=policy,
            backlog=compiled.backlog,
            backlog_json=emitter.emit_backlog_map(compiled.backlog),
            problems=tuple(sorted(dict.fromkeys(problems))),
            authors=_authors(specs, known.backlog, authors),
            author=tip.author,
            time_ms=tip.time_ms,
            items=compiled.items,
            ignored=compiled.ignored,
            existing=existing,
            confirms=tip.confirms,
            confirmed=any(self._says_the_same(name, entries) for name in tip.confirms),
        )

    def _stray(self, path: str) -> Problem:
        """Return the line about a person's edit in a folder of the hub, which is ignored: where to edit instead."""
        name = path.rpartition("/")[2].partition(".")[0]
        if path.startswith("tasks/backlog/"):
            hint = f"edit the line in {self._prefix}{BACKLOG}, or write {self._prefix}tasks/{name}.yaml"
        elif path.startswith("agents/"):
            hint = f"write {self._prefix}agents/{name}.yaml"
        else:
            hint = f"say what you want in {self._prefix}tasks/{name}.yaml (agentcom task --help)"
        return Problem(self._prefix + path, what="belongs to the hub: this edit is ignored", hint=hint)

    def _says_the_same(self, name: str, entries: Mapping[str, Entry]) -> bool:
        """Tell whether a commit that a person named holds the very files of this one."""
        return self._entries_of(name) == entries

    def _entries_of(self, name: str) -> Mapping[str, Entry] | None:
        """Return the files of a commit that a person named, None when there is no such commit."""
        if not _COMMIT.match(name):
            return None
        try:
            return self._source.entries(name)
        except SourceUnreadable:
            return None

    # --- policy -----------------------------------------------------------------------------------------------------

    def _look_policy(self, entries: Mapping[str, Entry], known: Known, problems: list[Problem]) -> Policy:
        entry = entries.get(POLICY)
        if entry is None:
            if self._root != ".":
                what = f"is missing, but this hub keeps its files in {self._root}"
                problems.append(Problem(POLICY, field="root", what=what, hint=f"write root: {self._root}"))
            self._policy = Policy(root=self._root)
            return self._policy
        problem = _unfit(POLICY, entry, limits.YAML_BYTES)
        if problem is None and self._policy is not None and self._policy.blob == entry.oid:
            return self._policy
        if problem is None:
            data = self._source.blobs((entry.oid,)).get(entry.oid)
            read = _absent(POLICY) if data is None else loader.load_policy(POLICY, data, entry.oid)
            if isinstance(read, Policy) and read.root == self._root:
                self._policy = read
                return read
            if isinstance(read, Policy):
                what = f"is {read.root}, but this hub keeps its files in {self._root}"
                hint = f"write root: {self._root}, it is settled by the first start of a hub"
                problems.append(Problem(POLICY, field="root", what=what, hint=hint))
            else:
                problems.extend(read)
        else:
            problems.append(problem)
        if self._policy is None and known.accepted_policy:
            data = self._source.blobs((known.accepted_policy,)).get(known.accepted_policy)
            read = _absent(POLICY) if data is None else loader.load_policy(POLICY, data, known.accepted_policy)
            self._policy = read if isinstance(read, Policy) else None
        return self._policy or Policy(root=self._root)

    # --- tasks/ and agents/ -----------------------------------------------------------------------------------------

    def _files(self, folder: str, entries: Mapping[str, Entry], problems: list[Problem]) -> dict[str, Entry]:
        """Return the ``*.yaml`` files of a folder by shown path, and report what else looks meant."""
        files: dict[str, Entry] = {}
        if (itself := entries.get(folder)) is not None and itself.mode != _FOLDER_MODE:
            problems.append(Problem(self._prefix + folder, what="is no folder", hint="make it one, or rename it"))
        for path, entry in sorted(entries.items()):
            parent, _, name = path.rpartition("/")
            if parent != folder or name == "README.md":
                continue
            shown = self._prefix + path
            if entry.mode == _FOLDER_MODE:
                if path not in _HUB_CHILDREN:
                    hint = f"move its files up to {self._prefix}{folder}/"
                    problems.append(Problem(shown, what="a folder is not read", hint=hint))
            elif name.endswith(".yml"):
                hint = f"rename it to {name.removesuffix('.yml')}.yaml"
                problems.append(Problem(shown, what="is not read", hint=hint))
            elif name.endswith(".yaml"):
                files[shown] = entry
        return files

    def _fetch(self, shelf: "_Shelf[V]", files: Mapping[str, Entry]) -> None:
        """Read the blobs that were not parsed yet, in one go."""
        missing = tuple(
            entry.oid
            for path, entry in files.items()
            if _unfit(path, entry, limits.YAML_BYTES) is None and not shelf.has(path, entry)
        )
        shelf.parse(files, self._source.blobs(missing) if missing else {})

    def _load_task(self, path: str, data: bytes, blob: str) -> Spec | loader.Problems:
        return loader.load_task(path, data, blob, reserved=self._reserved)

    def _load_agent(self, path: str, data: bytes, blob: str) -> AgentSpec | loader.Problems:
        return loader.load_agent(path, data, blob, reserved=self._reserved)

    # --- BACKLOG.md -------------------------------------------------------------------------------------------------

    def _look_backlog(
        self,
        commit: str,
        observed: str | None,
        entries: Mapping[str, Entry],
        known: Known,
        names: AbstractSet[str],
        policy: Policy,
        algorithm: str,
    ) -> "_Compiled":
        """Carry identity forward to the version of this commit, and compile its items; ``names`` are ids of files."""
        path = self._prefix + BACKLOG
        entry = entries.get(BACKLOG)
        if entry is None:
            return _compile(known, names, (), "", path, algorithm)
        problem = _unfit(path, entry, limits.BACKLOG_BYTES)
        if problem is not None:
            return _kept(known, (problem,))
        oids = list(self._source.backlog_versions(commit, observed))
        if not oids or oids[-1] != entry.oid:
            oids.append(entry.oid)
        versions = self._parse_backlogs(oids, policy, path)
        last = versions[-1]
        if isinstance(last, tuple):
            return _kept(known, last)
        readable = tuple(version for version in versions if isinstance(version, markdown.Parsed))
        return _compile(known, names, readable, entry.oid, path, algorithm)

    def _existing(
        self, known: Known, confirms: tuple[str, ...], compiled: BacklogMap, policy: Policy
    ) -> frozenset[str]:
        """Return which items of the first version stood there before init, and were not confirmed since."""
        now = self._backlog[2] if self._backlog is not None else None
        if not known.existing or known.backlog.blob or not isinstance(now, markdown.Parsed):
            return frozenset()
        stood = self._stood(known.existing, now, compiled, policy)
        for name in confirms:
            entry = (self._entries_of(name) or {}).get(BACKLOG)
            if entry is not None:
                stood -= self._stood(entry.oid, now, compiled, policy)
        return stood

    def _stood(self, blob: str, now: markdown.Parsed, compiled: BacklogMap, policy: Policy) -> frozenset[str]:
        """Return which of the items stood in an earlier version already; all of them when that is not at hand."""
        data = self._source.blobs((blob,), limits.BACKLOG_BYTES).get(blob)
        before = None if data is None else markdown.read(data, policy)
        if not isinstance(before, markdown.Parsed):
            return frozenset(entry.id for entry in compiled.entries)
        old = {entry.id for entry in carry(BacklogMap(), [before.items]).map.entries}
        carried = carry(BacklogMap(), [before.items, now.items]).map.entries
        return frozenset(one.id for one, same in zip(compiled.entries, carried, strict=True) if same.id in old)

    def _parse_backlogs(self, oids: list[str], policy: Policy, path: str) -> list[markdown.Parsed | loader.Problems]:
        """Parse versions of BACKLOG.md; the last one is kept for the next look. The id ``""`` is a missing file."""
        parsed: dict[str, markdown.Parsed | loader.Problems] = {"": markdown.Parsed()}
        if self._backlog is not None and self._backlog[1] == policy:
            parsed[self._backlog[0]] = self._backlog[2]
        missing = tuple(oid for oid in dict.fromkeys(oids) if oid not in parsed)
        blobs = self._source.blobs(missing, limits.BACKLOG_BYTES) if missing else {}
        for oid in missing:
            parsed[oid] = self._read_list(blobs[oid], oid, policy, path) if oid in blobs else _absent(path)
        self._backlog = oids[-1], policy, parsed[oids[-1]]
        return [parsed[oid] for oid in oids]

    def _read_list(self, data: bytes, oid: str, policy: Policy, path: str) -> markdown.Parsed | loader.Problems:
        key = f"{path} {oid} {policy.blob} {policy.root}"
        return self._lists.read(key, partial(markdown.read, data, policy, path))

    # --- dependencies -----------------------------------------------------------------------------------------------

    def _dependencies(
        self,
        specs: Mapping[str, Spec],
        others: AbstractSet[str] | None,
        finished: AbstractSet[str],
        current: AbstractSet[str],
    ) -> Iterable[Problem]:
        """Report dependencies that no task bears the id of, and circles; such tasks wait.

        What is in force of a file that is wrong now stands nowhere in it: only ``current`` ones have a place.
        """
        wrong: list[tuple[Spec, str, str]] = []
        for name, spec in sorted(specs.items()):
            if name in finished:
                continue
            for needed in spec.depends_on:
                if others is not None and needed not in specs and needed not in others:
                    what = f"there is no task {needed}"
                    wrong.append((spec, what, "correct the id; until then this task waits"))
        rings = circles({name: spec.depends_on for name, spec in specs.items() if name not in finished})
        for ring in dict.fromkeys(rings.values()):
            what = f"tasks wait for one another: {spell(ring)}"
            wrong.append((specs[ring[0]], what, "delete one of these dependencies"))
        files = tuple({spec.blob: None for spec, _, _ in wrong if spec.origin is not Origin.BACKLOG})
        blobs = self._source.blobs(files) if files else {}
        places = {blob: loader.marks(data).get("depends_on", (0, 0)) for blob, data in blobs.items()}
        for spec, what, hint in wrong:
            path, _, line = spec.where.rpartition(":")
            if spec.origin is Origin.BACKLOG and line.isdigit():
                yield Problem(path, int(line) if spec.id in current else 0, 0, "depends", what, hint)
            else:
                place = places.get(spec.blob, (0, 0)) if spec.id in current else (0, 0)
                yield Problem(spec.where, *place, "depends_on", what, hint)


# --- files that may be wrong ----------------------------------------------------------------------------------------


class _Shelf(Generic[V]):
    """Parsed files of one folder: by blob what was read, and by path the last good version."""

    _load: Callable[[str, bytes, str], V | loader.Problems]
    _memo: Memo[V]

    def __init__(self, load: Callable[[str, bytes, str], V | loader.Problems], memo: Memo[V]) -> None:
        self._load = load
        self._memo = memo
        self._read: dict[tuple[str, str], V | loader.Problems] = {}
        self._good: dict[str, V] = {}

    @property
    def good(self) -> Mapping[str, V]:
        """The last good version of each file, by path."""
        return dict(self._good)

    def has(self, path: str, entry: Entry) -> bool:
        """Tell whether a file need not be fetched; one whose content is missing from the repository is looked for."""
        return (path, entry.oid) in self._read or (entry.size >= 0 and f"{path} {entry.oid}" in self._memo)

    def parse(self, files: Mapping[str, Entry], blobs: Mapping[str, bytes]) -> None:
        """Parse what is new and forget what is no more."""
        read: dict[tuple[str, str], V | loader.Problems] = {}
        for path, entry in files.items():
            key = path, entry.oid
            if key in self._read:
                read[key] = self._read[key]
            elif entry.oid in blobs or self.has(path, entry):
                load = partial(self._load, path, blobs.get(entry.oid, b""), entry.oid)
                read[key] = self._memo.read(f"{path} {entry.oid}", load)
        self._read = read
        self._good = {path: good for path, good in self._good.items() if path in files}

    def read(
        self, files: Mapping[str, Entry], accepted: Mapping[str, str], source: Source, problems: list[Problem]
    ) -> tuple[dict[str, V], set[str]]:
        """Return the values in force by id, and the ids whose file is wrong without a last good version."""
        values: dict[str, V] = {}
        undecided: set[str] = set()
        for path, entry in files.items():
            name = _id(path)
            problem = _unfit(path, entry, limits.YAML_BYTES)
            read = (problem,) if problem is not None else self._read.get((path, entry.oid), _absent(path))
            if not isinstance(read, tuple):
                self._good[path] = read
                values[name] = read
                continue
            problems.extend(read)
            good = self._good.get(path) or self.recall(path, accepted.get(name, ""), source)
            if good is None:
                undecided.add(name)
            else:
                self._good[path] = good
                values[name] = good
        return values, undecided

    def recall(self, path: str, blob: str, source: Source) -> V | None:
        """Read the version that the hub accepted last, after a restart; None when it is not known."""
        data = source.blobs((blob,)).get(blob) if blob else None
        read = None if data is None else self._load(path, data, blob)
        return None if isinstance(read, tuple) else read


def _id(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".yaml")


def _unfit(path: str, entry: Entry, most: int) -> Problem | None:
    """Return why an entry is not even opened: no plain file, or too large."""
    if entry.mode == _FOLDER_MODE:
        return Problem(path, what="is a folder", hint="put a file there")
    if entry.mode not in _FILE_MODES:
        if entry.mode == UNREADABLE:
            return Problem(path, what="may not be read by this user", hint=f"chmod u+r {path}")
        kind = {"120000": "a symbolic link", "160000": "a submodule"}.get(entry.mode, f"of mode {entry.mode}")
        return Problem(path, what=f"is {kind}, only plain files are read", hint="put the file itself there")
    if entry.size > most:
        return Problem(path, what=f"has {entry.size:,} bytes, at most {most:,} are read", hint="make it smaller")
    return None


def _absent(path: str) -> loader.Problems:
    return (
        Problem(path, what="its content is not in the repository", hint="fetch it: git fsck shows what is missing"),
    )


def _without_effect(
    tasks: Mapping[str, Spec], earlier: Mapping[str, Spec], changed: Mapping[str, Version], finished: AbstractSet[str]
) -> Iterable[Problem]:
    """Say of files that were written since the last look for a finished task that they start nothing."""
    for name, spec in tasks.items():
        before = earlier.get(spec.where)
        if name in finished and f"tasks/{name}.yaml" in changed and spec.rerun <= (before.rerun if before else 0):
            what = f"the task {name} is finished, this edit starts nothing"
            yield Problem(spec.where, what=what, hint="raise rerun in it, or give new work another file name")


def _authors(specs: Mapping[str, Spec], known: BacklogMap, authors: Mapping[str, Version]) -> dict[str, Author]:
    """Return who changed each task last, also those whose file or line is gone."""
    found: dict[str, Author] = {}
    backlog = authors.get(BACKLOG)
    if backlog is not None:
        items = [*(entry.id for entry in known.entries), *(s.id for s in specs.values() if s.origin is Origin.BACKLOG)]
        found.update(dict.fromkeys(items, backlog.author))
    for path, version in authors.items():
        folder, _, name = path.rpartition("/")
        if folder == "tasks" and name.endswith(".yaml"):
            found[name.removesuffix(".yaml")] = version.author
    return found


# --- compiling the backlog ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Compiled:
    backlog: BacklogMap
    specs: Mapping[str, Spec]
    places: Mapping[str, tuple[Lane, int]]
    problems: tuple[Problem, ...] = ()
    #: Ids that stand in the backlog and of which it says nothing readable now, nor did the hub know it before.
    undecided: frozenset[str] = frozenset()
    items: Mapping[str, Item] = field(default_factory=dict)
    ignored: tuple[markdown.Ignored, ...] = ()


def _kept(known: Known, problems: loader.Problems) -> _Compiled:
    """Leave map and specifications of the backlog as they were."""
    standing = {entry.id for entry in known.backlog.entries}
    specs = {name: spec for name, spec in known.specs.items() if spec.origin is Origin.BACKLOG and name in standing}
    undecided = frozenset(name for name in standing - specs.keys() if name in known.used)
    return _Compiled(known.backlog, specs, _places(known.backlog), problems, undecided)


def _compile(
    known: Known,
    names: AbstractSet[str],
    versions: tuple[markdown.Parsed, ...],
    blob: str,
    path: str,
    algorithm: str,
) -> _Compiled:
    """Carry the map through the versions; a version that is gone altogether counts as one without items."""
    parsed = versions or (markdown.Parsed(),)
    carried = carry(known.backlog, [version.items for version in parsed], known.finished, known.used | names)
    problems = list(parsed[-1].problems)
    for item in carried.duplicates:
        what = f"the id {item.anchor} stands twice"
        problems.append(Problem(path, item.line, 0, "", what, "delete the comment here to make a new task"))
    for old, entry in carried.renamed:
        if entry.id in known.used:
            what = f"is taken for {shown(old)} in other words, still the task {entry.id}"
            hint = "if it is other work, put the old line back and write this one below it"
            problems.append(Problem(path, entry.line, what=what, hint=hint))
    marks = {entry.id: entry for entry in known.backlog.entries}
    specs: dict[str, Spec] = {}
    undecided: set[str] = set()
    for entry, item in zip(carried.map.entries, carried.items, strict=True):
        spec = _compiled(entry, item, known, path, algorithm)
        if spec is not None:
            specs[entry.id] = spec
        elif not item.valid and entry.id in known.used:
            undecided.add(entry.id)
        before = marks.get(entry.id)
        if entry.id in known.finished and (before is None or _ended(before)) and not _ended(entry):
            how = "putting its line back" if before is None else "taking its mark away"
            what = f"the task {entry.id} is finished, {how} starts nothing"
            hint = f"raise rerun: write tasks/{entry.id}.yaml with a title and rerun: 1; or write a new line"
            problems.append(Problem(path, entry.line, what=what, hint=hint))
    backlog = with_blob(carried.map, blob)
    owned = _owned(problems, carried.map.entries, carried.items)
    items = {entry.id: item for entry, item in zip(carried.map.entries, carried.items, strict=True)}
    ignored = parsed[-1].ignored
    return _Compiled(backlog, specs, _places(backlog), tuple(owned), frozenset(undecided), items, ignored)


def _ended(entry: MapEntry) -> bool:
    return entry.check in (DONE, CANCELLED) or entry.lane is Lane.DONE


def _owned(problems: Iterable[Problem], entries: Sequence[MapEntry], items: Sequence[Item]) -> Iterable[Problem]:
    """Name in each problem the item that is not taken because of it: the last one that begins above its line."""
    lines = [item.line for item in items]
    for problem in problems:
        number = bisect_right(lines, problem.line) - 1
        yield problem if number < 0 or items[number].valid else replace(problem, task_id=entries[number].id)


def _compiled(entry: MapEntry, item: Item, known: Known, path: str, algorithm: str) -> Spec | None:
    """Return the specification of one item, None while it is no task."""
    is_task = entry.id in known.specs or entry.id in known.used
    if not is_task and (entry.lane is not Lane.READY or item.check not in (NO_CHECK, OPEN)):
        return None
    if not item.valid:
        before = known.specs.get(entry.id)
        if before is None or before.origin is not Origin.BACKLOG:
            return None
        return replace(before, where=f"{path}:{item.line}")
    spec = spec_of(item, entry, path)
    return replace(spec, blob=emitter.blob_id(emitter.emit_spec(spec), algorithm))


def _places(backlog: BacklogMap) -> dict[str, tuple[Lane, int]]:
    return {entry.id: (entry.lane, position) for position, entry in enumerate(backlog.entries)}

"""A person's desk: how one task stands between the clone in which they write and what the hub knows, and the commit.

Reads the work tree and the state branch of the clone, writes one file by a commit of the person. What may be asked of
a task is decided in ``asking``.

    NoTask                      that id is no task that can be changed here; the text says what it is, or what is near
    IdInUse                     a new task cannot have that id
"""

import difflib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.asking import Standing
from coordinator.core.backlog import ALPHABET, BIRTH_CHARS, MapEntry
from coordinator.core.machine import State
from coordinator.core.policy import Lane
from coordinator.core.task import Origin, Spec, is_id
from coordinator.files import layout, loader, markdown, taskfile
from coordinator.files.observe import BACKLOG
from coordinator.files.taskfile import WrongFile
from coordinator.files.validate import read_policy
from coordinator.git.journal import GitStore
from coordinator.git.person import check_committed, check_ready, commit_paths, upstream
from coordinator.ground import Ground
from coordinator.ports import Fold


class NoTask(Exception):
    """No task of that id can be changed here."""


class IdInUse(Exception):
    """A new task cannot have that id."""


@dataclass(frozen=True, slots=True)
class Desk:
    """One clone in which a person may commit now: its work tree, and the state branch as it is in this clone."""

    ground: Ground
    top: Path
    store: GitStore
    fold: Fold

    @classmethod
    def open(cls, ground: Ground, *, push: bool = False) -> "Desk":
        """Sit down. Raises the CannotCommit that is in the way, with ``push`` also NoUpstream; StoreError."""
        top = check_ready(ground.repo, ground.source_ref)
        if push:
            upstream(ground.repo, ground.source_ref)
        store = GitStore(ground.repo, ground.root)
        return cls(ground, top, store, store.load())

    @property
    def reserved(self) -> tuple[str, ...]:
        """Words that are no ids in this repository."""
        return (self.ground.branch,)

    def path(self, task_id: str) -> str:
        """Return where the file of a task stands, relative to the top of the repository."""
        return self.ground.path(f"tasks/{task_id}.yaml")

    def read(self, path: str) -> bytes | None:
        """Return a file as saved, None when there is none. Raises NotCommitted when it has edits."""
        check_committed(self.ground.repo, path)
        return (self.top / path).read_bytes() if (self.top / path).exists() else None

    def commit(self, path: str, data: bytes | None, subject: str) -> str:
        """Commit one file with new content (None deletes it) and nothing else. Raises a CannotCommit."""
        return commit_paths(self.ground.repo, self.ground.source_ref, {path: data}, subject)

    # --- one task ----------------------------------------------------------------------------------------------------

    def standing(self, task_id: str, known: Mapping[str, Any] | None, *, wrong_too: bool = False) -> Standing:
        """Return how a task stands; ``known`` is its JSON as the hub or the branch has it, None when they do not.

        Raises NotCommitted when its file has edits, WrongFile when it is wrong (``wrong_too``: then its specification
        is empty), NoTask.
        """
        if not is_id(task_id, *self.reserved):
            raise NoTask(self._unknown(task_id))
        path = self.path(task_id)
        line = next((entry for entry in self._lines() if entry.id == task_id), None)
        data = self.read(path)
        own = data is not None
        if data is not None:
            spec = self._as_saved(path, data, task_id if wrong_too else None)
        else:
            spec = self._made_by_hub(task_id, known, line)
            data = taskfile.taken_over(spec, self.begin())
        where = "" if line is None else self._place(line)
        if known is None:
            return Standing(spec, path, data, own, line=where)
        state = State(known["status"])
        return Standing(spec, path, data, own, state, known["generation"], known.get("rerun", 0), where)

    def _as_saved(self, path: str, data: bytes, instead: str | None) -> Spec:
        try:
            return taskfile.check(path, data, reserved=self.reserved)
        except WrongFile:
            if instead is None:
                raise
            return Spec(instead, instead)

    def _made_by_hub(self, task_id: str, known: Mapping[str, Any] | None, line: MapEntry | None) -> Spec:
        """Return the specification that the hub wrote; say what the id is when there is none."""
        path = self.path(task_id)
        if known is None:
            raise NoTask(self._no_task_yet(line) if line is not None else self._unknown(task_id))
        if known["origin"] == Origin.FILE and line is not None:
            raise NoTask(f"no hub has read yet that {path} is gone and {self._place(line)} counts again: wait for that")
        if known["origin"] == Origin.FILE:
            raise NoTask(f"{path} is gone: bring it back from git (`git log -- {path}`), or make a new task")
        spec: Spec | None = None
        if task_id in self.fold.closed:
            closed = layout.read_closed(self.fold.closed[task_id], self.store.read)
            spec = closed.spec if isinstance(closed, layout.Closed) else None
        else:
            made = f"{layout.SPEC_FOLDERS[Origin(known['origin'])]}/{task_id}.yaml"
            if made in self.fold.files:
                read = loader.load_hub_task(made, self.fold.files[made], "")
                if isinstance(read, tuple):
                    raise WrongFile(read)
                spec = read
        if spec is None:
            raise NoTask(f"agentcom/state of this clone does not say what {task_id} is: fetch it, then try again")
        return spec

    def _no_task_yet(self, line: MapEntry) -> str:
        where = self._place(line)
        if line.lane is Lane.READY:
            return f"{line.id} is no task: {where} was ticked before it became one; write it as a new line"
        return (
            f"{line.id} is no task: {where} is {line.lane}; move that line under a heading that is ready, or delete it"
        )

    def _unknown(self, task_id: str) -> str:
        near = difflib.get_close_matches(task_id, sorted(self.used()), 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`agentcom task list --all` shows the ids"
        return f"there is no task {task_id}: {hint}"

    def _place(self, line: MapEntry) -> str:
        return f"{self.ground.path(BACKLOG)}:{line.line}"

    def _lines(self) -> tuple[MapEntry, ...]:
        """Return the lines of BACKLOG.md as last observed."""
        data = self.fold.files.get(layout.BACKLOG_MAP)
        read = () if data is None else loader.load_backlog_map(layout.BACKLOG_MAP, data)
        return () if isinstance(read, tuple) else read.entries

    # --- new tasks ---------------------------------------------------------------------------------------------------

    def begin(self) -> bytes:
        """Return what a new file begins with: what the others here begin with."""
        return taskfile.head(path.read_bytes() for path in self._files() if path.is_file())

    def used(self) -> frozenset[str]:
        """Return every id that a task or a line of BACKLOG.md bears or bore: saved here, or on the state branch."""
        status = f"{layout.OPEN}/"
        opened = {path[len(status) :].removesuffix(".yaml") for path in self.fold.files if path.startswith(status)}
        lines = {entry.id for entry in self._lines()}
        return frozenset({*opened, *self.fold.closed, *lines, *(path.stem for path in self._files()), *self._anchors()})

    def free_id(self, wanted: str | None = None) -> str:
        """Return an id that nothing bears: ``wanted``, or a random one. Raises IdInUse."""
        used = self.used()
        if wanted in used:
            raise IdInUse(f"the id {wanted} is in use: choose another, or leave --id away")
        return wanted or next(made for made in iter(random_id, "") if made not in used)

    def agent_exists(self, agent_id: str) -> bool:
        """Tell whether an agent of that id is saved here."""
        return (self.top / self.ground.path(f"agents/{agent_id}.yaml")).is_file()

    def _files(self) -> list[Path]:
        return sorted((self.top / self.ground.path("tasks")).glob("*.yaml"))

    def _anchors(self) -> set[str]:
        """Return the ids that stand as anchors in BACKLOG.md as it is saved."""
        backlog = self.top / self.ground.path(BACKLOG)
        if not backlog.is_file():
            return set()
        read = markdown.read(backlog.read_bytes(), read_policy(self.top))
        return set() if isinstance(read, tuple) else {item.anchor for item in read.items if item.anchor}


def random_id() -> str:
    """Return an id for a task that nobody gave one."""
    return "t-" + "".join(secrets.choice(ALPHABET) for _ in range(BIRTH_CHARS))

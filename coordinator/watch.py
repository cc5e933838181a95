"""The watch over one work tree: it looks, plans, commits, pushes and pulls when ``watching`` says so.

Everything that is decided about time stands there; what counts as saved, wrong, held or in the way is asked of those
who know it. The hub is not asked: a plan is made from the state branch of this clone. One thread does it all;
watchdog's only ring a bell.

    AlreadyWatched              another process watches this work tree
"""

import queue
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, assert_never, cast

from filelock import FileLock, Timeout

from coordinator import watching
from coordinator.files.observe import BACKLOG, POLICY
from coordinator.files.uncommitted import command, describe, subject
from coordinator.files.validate import validate
from coordinator.git import history
from coordinator.git.hints import Hints, Place
from coordinator.git.person import (
    CannotCommit,
    NotCommitted,
    NotPushed,
    Refused,
    StagedOtherwise,
    commit_saved,
    push,
)
from coordinator.git.pull import Pulled, open_message, pull_quietly
from coordinator.git.repo import STATE_REF, Repo, is_ancestor, read_ref
from coordinator.git.run import GitError
from coordinator.git.worktree import INDEX_LOCK, SavedFiles
from coordinator.ground import Ground
from coordinator.plan import Plan, make_plan
from coordinator.ports import Edit, Saved, StoreError
from coordinator.watching import Edits, Watching

#: So many tasks are named after a pull, the ones that moved last.
TASKS_NAMED = 3
#: No more than so many commits of a pull are read for that.
_COMMITS_READ = 100


class AlreadyWatched(Exception):
    """Another process watches this work tree."""


@dataclass(frozen=True, slots=True)
class Block:
    """What a person sees of one save: what is not committed, what it would do, and what happens with it."""

    saved: tuple[str, ...]
    plan: Plan
    notes: tuple[str, ...] = ()


class Screen(Protocol):
    """Where the watch says what it sees and does."""

    def say(self, text: str) -> None:
        """Say one line."""

    def show(self, block: Block) -> None:
        """Show what was saved."""

    def count(self, left: int, paths: tuple[str, ...], *, first: bool) -> None:
        """Say that these files are committed in ``left`` seconds; ``first`` when that is new."""

    def stop_count(self) -> None:
        """Forget the countdown."""


class WatchLock:
    """One watch in each work tree, from entering to leaving. Raises AlreadyWatched."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._lock = FileLock(repo.git_dir / "agentcom" / "watch.lock", thread_local=False)

    def __enter__(self) -> None:
        Path(self._lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            where = self._repo.work_tree
            raise AlreadyWatched(f"another `agentcom watch` runs in {where}: use it, or stop it first") from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


class Watch:
    """One watch over the work tree ``top`` of ``ground``; ``settle`` in seconds, None never commits.

    ``run`` returns after ``stop``, which may be called from a signal handler.
    """

    def __init__(
        self,
        ground: Ground,
        top: Path,
        screen: Screen,
        *,
        settle: float | None = None,
        push: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ground = ground
        self._top = top
        self._screen = screen
        self._commits = settle is not None
        self._pushes = push
        self._clock = clock
        self._core = Watching(settle)
        self._files = SavedFiles(ground.repo, ground.root)
        self._saved = Saved(None)
        self._seen = watching.Looked()
        self._behind: tuple[tuple[str | None, str | None], bool] = ((None, None), False)
        self._before: tuple[object, Plan] | None = None
        #: The message of a commit of ours that was refused: it lies there like one in an editor.
        self._own_message: int | None = None
        self._trouble = ""
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopped = False

    def run(self) -> None:
        """Watch until ``stop``; say at the end what is left uncommitted."""
        hints = Hints(self._places(), _is_meant, lambda: self._bell.put(None))
        try:
            while not self._stopped:
                hints.keep_up()
                self._rest(self.step())
        finally:
            hints.close()
            self._screen.stop_count()
        if self._core.pending:
            self._screen.say(f"stopped before it was committed: {', '.join(_paths(self._core.pending))}")

    def stop(self) -> None:
        """Let ``run`` return after what it has in hand."""
        self._stopped = True
        self._bell.put(None)

    def step(self) -> float:
        """Look once and do what follows from it; return after how many seconds to look again without a hint."""
        try:
            seen = self._look()
        except (GitError, OSError) as error:
            if str(error) != self._trouble:
                self._screen.say(f"the work tree cannot be read, trying again: {error}")
            self._trouble = str(error)
            return watching.LOOK_EVERY_S
        self._trouble = ""
        events: deque[watching.Event] = deque([seen])
        while events:
            for effect in self._core.handle(events.popleft(), self._clock()):
                event = self._perform(effect)
                if event is not None:
                    events.append(event)
        return self._core.wait(self._clock())

    def _rest(self, seconds: float) -> None:
        """Wait for a hint, or that long."""
        with suppress(queue.Empty):
            self._bell.get(timeout=seconds)
            while True:
                self._bell.get_nowait()

    def _places(self) -> list[Place]:
        base = self._top / self._ground.path("")
        return [Place(folder) for folder in dict.fromkeys((self._top, base, base / "tasks", base / "agents"))]

    # --- looking

    def _look(self) -> watching.Looked:
        repo = self._ground.repo
        self._saved = self._files.look()
        tips = read_ref(repo, self._ground.source_ref), read_ref(repo, STATE_REF)
        busy, brief = self._busy()
        behind = self._is_behind(tips)
        self._seen = watching.Looked(self._saved.edits, tips, self._away(), busy, brief, behind)
        return self._seen

    def _away(self) -> str:
        """Say why what is saved here is not going to the source, "" when it is."""
        head, branch = self._saved.head, self._ground.branch
        if self._saved.under_way:
            return f"{self._saved.under_way} is under way: nothing is planned or committed until it is over"
        if head == self._ground.source_ref:
            return ""
        now = "no branch is checked out" if head is None else f"{head.removeprefix('refs/heads/')} is checked out"
        return f"{now}, but AgentCom reads {branch}: nothing is planned or committed until `git switch {branch}`"

    def _busy(self) -> tuple[str, bool]:
        """Say what else of git is at work here, and whether that usually lasts a moment only."""
        repo = self._ground.repo
        lock = repo.git_dir / INDEX_LOCK
        if lock.exists():
            return f"another git command is under way: waiting for it; if there is none, delete {lock}", True
        if open_message(repo) not in (None, self._own_message):
            return "a commit message is being written: waiting for that commit, for 10 minutes at most", False
        return "", False

    def _is_behind(self, tips: tuple[str | None, str | None]) -> bool:
        if tips != self._behind[0]:
            source, state = tips
            ahead = source is not None and state is not None and source != state
            self._behind = tips, ahead and is_ancestor(self._ground.repo, cast(str, source), cast(str, state))
        return self._behind[1]

    # --- acting

    def _perform(self, effect: watching.Effect) -> watching.Event | None:
        match effect:
            case watching.Say(text):
                self._screen.say(text)
            case watching.Show(block):
                self._screen.show(cast(Block, block))
            case watching.Count(left, edits, first):
                self._screen.count(left, _paths(edits), first=first)
            case watching.StopCount():
                self._screen.stop_count()
            case watching.Assess(edits):
                return self._assess(edits)
            case watching.Commit(edits):
                return self._commit(edits)
            case watching.Pull():
                return self._pull()
            case _:
                assert_never(effect)
        return None

    def _assess(self, edits: Edits) -> watching.Assessed:
        """Find out what is wrong with these edits, and what the others would do."""
        said = describe(self._saved, self._ground.source_ref)
        lines = tuple(line.text for line in said.lines)
        mine = set(_paths(edits))
        problems = [
            problem
            for problem in validate(self._top, source_branch=self._ground.branch, root=self._ground.root)
            if problem.path in mine
        ]
        wrong = {problem.path for problem in problems}
        ready = tuple(edit for edit in edits if edit.path not in wrong)
        try:
            before = self._plan_before()
            plan = make_plan(self._ground, self._top).plan.beyond(before)
            coming = plan if not wrong else make_plan(self._ground, self._top, _paths(ready)).plan.beyond(before)
        except (StoreError, GitError, OSError) as error:
            return watching.Assessed(edits, Block(lines, Plan(), (f"there is no plan: {error}",)), held=True)
        plan = replace(plan, problems=tuple(sorted({*plan.problems, *problems})))
        if not self._commits:
            return watching.Assessed(edits, Block(lines, plan, (said.hint,)))
        notes = [f"{path} is not committed until it is mended" for path in sorted(wrong)]
        if coming.held and ready:
            held = f"{len(coming.held)} of these would be held until somebody has looked"
            notes.append(f"{held}, so nothing is committed for you: `{command(ready)}`")
        return watching.Assessed(edits, Block(lines, plan, tuple(notes)), ready, held=bool(coming.held))

    def _plan_before(self) -> Plan:
        """Return what would happen anyway, without any edit: it is no news about a save."""
        if self._before is None or self._before[0] != self._seen.tips:
            self._before = self._seen.tips, make_plan(self._ground, self._top, ()).plan
        return self._before[1]

    def _commit(self, edits: Edits) -> watching.Event:
        """Commit these edits if all is as it was when that was decided; look again otherwise."""
        decided = self._seen
        try:
            now = self._look()
        except (GitError, OSError) as error:
            return watching.Refused(f"not committed, trying again: {error}", again=True)
        if now.edits != decided.edits or now.away or now.busy:
            return now
        text = subject(edits, self._saved.policy)
        try:
            made = commit_saved(self._ground.repo, self._ground.source_ref, _paths(edits), text)
        except (Refused, NotCommitted, StagedOtherwise) as error:
            self._own_message = open_message(self._ground.repo)
            return watching.Refused(f"{error}; it is tried again at the next save")
        except (CannotCommit, GitError, OSError) as error:
            return watching.Refused(f"not committed: {error}", again=True)
        self._own_message = open_message(self._ground.repo)
        self._screen.say(f"committed {made.commit[:7]}: {text}")
        if made.unlike:
            self._screen.say(f"{', '.join(made.unlike)} was changed in that moment, by a hook or another save")
        if self._pushes:
            self._push()
        return watching.Committed(edits)

    def _push(self) -> None:
        try:
            push(self._ground.repo, self._ground.source_ref)
        except (CannotCommit, NotPushed) as error:
            self._screen.say(f"{error}; it is tried again at the next commit")
        else:
            self._screen.say(f"pushed {self._ground.branch}")

    def _pull(self) -> watching.Event:
        pulled = pull_quietly(self._ground.repo, self._ground.source_ref, but_message=self._own_message)
        if isinstance(pulled, str):
            return watching.NotPulled(pulled)
        if pulled.commits:
            self._screen.say(self._story(pulled))
        return watching.Pulled()

    def _story(self, pulled: Pulled) -> str:
        """Say in one line what a pull brought."""
        many = "1 commit" if pulled.commits == 1 else f"{pulled.commits} commits"
        limit = min(pulled.commits, _COMMITS_READ)
        try:
            records = history.log(self._ground.repo, self._ground.source_ref, limit=limit, root=self._ground.root)
        except GitError:
            records = ()
        tasks: dict[str, str] = {}
        for record in records:
            if record.task is not None:
                tasks.setdefault(record.task, record.subject)
        named = "; ".join(list(tasks.values())[:TASKS_NAMED])
        more = f"; {len(tasks) - TASKS_NAMED} more" if len(tasks) > TASKS_NAMED else ""
        more = "; and more" if pulled.commits > _COMMITS_READ else more
        return f"pulled {many}" + (f": {named}{more}" if named else "")


def _paths(edits: tuple[Edit, ...]) -> tuple[str, ...]:
    return tuple(edit.path for edit in edits)


def _is_meant(path: Path) -> bool:
    return path.name in (BACKLOG, POLICY, "tasks", "agents") or path.suffix == ".yaml"

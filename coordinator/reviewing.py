"""Work in review: whether it has been merged, seen in git and not believed of anybody.

``work_of`` says what to look for, ``Inspector`` looks (in a thread of its own), ``Reviewer`` decides when, and tells
the hub. A merge is approval (DESIGN 4, approved / merged). What it cannot see the forge says of the work's pull request
(``verdicts``), where the hub has a token for it, or a person: approve, reject.
"""

import asyncio
import contextlib
import logging
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from coordinator.core.events import Actor, Asked, Happening, Record
from coordinator.core.machine import Event, State
from coordinator.core.policy import Policy
from coordinator.core.task import Task
from coordinator.files.problem import Problem
from coordinator.git import address, merges
from coordinator.git.merges import Merge
from coordinator.git.mirror import Away, Mirror
from coordinator.git.remotes import url_fetched
from coordinator.git.run import GitError, git
from coordinator.ground import Ground
from coordinator.verdicts import Heard, Listener, Offer, Verdict, from_environment

_log = logging.getLogger("agentcom.hub")

#: How often the repositories of work in review are asked, in seconds, give or take this part of it.
LOOK_EVERY_S = 30.0
JITTER = 0.1
#: The shortest pause between two looks, in seconds: a busy source must not keep asking remotes.
PAUSE_S = 3.0
#: What ``repo`` says of the repository that the hub itself reads.
THIS = "."
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_BRANCH = re.compile(r"(?!-)(?!.*(?:\.\.|//|@\{|\.lock(?:/|\Z)))[\w@.+-][\w@.+/-]{0,250}\Z")
_BY_HAND = "`agentcom task approve ID` or `agentcom task reject ID --note WHY` decides"


@dataclass(frozen=True, slots=True)
class Work:
    """What one task in review left behind: where, on which branch, up to which commit, for which base.

    ``url`` is None for the hub's own repository. ``since_ms`` is when the attempt began. ``pr_url`` is the pull request
    as the result has it, ``noted`` are the notes of earlier verdicts.
    """

    task: str
    generation: int
    repo: str
    branch: str
    commit: str
    url: str | None = None
    base: str | None = None
    since_ms: int = 0
    pr_url: str | None = None
    noted: tuple[str, ...] = ()

    @property
    def offer(self) -> Offer | None:
        """What to ask a forge about, None where there is none."""
        if self.url is None or self.pr_url is None:
            return None
        return Offer(self.task, self.url, self.pr_url, self.branch, self.commit, self.base, self.since_ms, self.noted)


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one look: which work is merged, and what keeps the rest from being seen."""

    merged: Mapping[str, Merge] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def work_of(task: Task, policy: Policy, remote_url: str | None) -> Work | Problem | None:
    """Return what to look for; None for a task that left nothing in git, a problem when nobody can look for it.

    ``remote_url`` is where the hub's own repository is fetched from, None when it has no remote.
    """
    result, spec = task.status.result or {}, task.spec
    repo = policy.repo_of(spec.repo, spec.kind)
    branch, commit, base, pull = (result.get(name) for name in ("branch", "commit", "base", "pr_url"))
    if task.state is not State.IN_REVIEW or repo is None or not isinstance(branch, str) or not isinstance(commit, str):
        return None
    if not _BRANCH.match(branch) or not _COMMIT.match(commit):
        return Problem(task.id, what="its result names no branch and commit of git", hint=_hint(task.id))
    target = policy.repos.get(repo)
    if target is None and repo != THIS:
        what = f"a merge cannot be seen: {repo} stands not under repos in agentcom.yaml"
        return Problem(task.id, what=what, hint=_hint(task.id))
    url = target.url if target is not None else remote_url
    if not isinstance(base, str) or not _BRANCH.match(base):
        base = spec.base or (target.base if target is not None else None)
    since = task.status.assigned_at or task.status.started_at or task.status.created_at
    noted = tuple(decision.note for decision in task.status.reviews if decision.note)
    pr_url = pull if isinstance(pull, str) and pull else None
    return Work(task.id, task.status.generation, repo, branch, commit, url, base, since, pr_url, noted)


def _hint(task_id: str) -> str:
    return _BY_HAND.replace("ID", task_id)


class Inspector:
    """Looks at repositories; for one thread, but ``give_up`` may be called from any.

    ``own`` is the git directory of the hub's repository and ``source`` its branch, ``folder`` where mirrors are kept.
    """

    def __init__(self, own: Path, source: str, folder: Path) -> None:
        self._own, self._source, self._folder = own, source, folder
        self._mirrors: dict[str, Mirror] = {}
        self._over = False

    def give_up(self) -> None:
        """End the look under way and every later one soon."""
        self._over = True
        for mirror in list(self._mirrors.values()):
            mirror.give_up()

    def look(self, works: Sequence[Work]) -> Seen:
        """Return what became of these works. Never raises for what a network or a repository does."""
        merged: dict[str, Merge] = {}
        problems: list[Problem] = []
        for (repo, url), here in _by_place(works).items():
            if self._over:
                break
            try:
                if url is None:
                    self._judge(self._own, here, self._tips(here), self._source, merged, problems)
                else:
                    self._in_mirror(url, here, merged, problems)
            except (Away, GitError, OSError) as error:
                what = f"whether work was merged there cannot be seen: {error}"
                problems.append(Problem(f"repo {repo}", what=what, hint="it is tried again"))
        return Seen(merged, tuple(problems))

    def _in_mirror(self, url: str, works: Sequence[Work], merged: dict[str, Merge], problems: list[Problem]) -> None:
        mirror = self._mirrors.get(url)
        if mirror is None:
            mirror = self._mirrors[url] = Mirror(self._folder / f"{address.folder_name(url)}.git", url)
        default = "" if all(work.base for work in works) else mirror.default_branch() or ""
        wanted = dict.fromkeys(name for work in works for name in (work.base or default, work.branch) if name)
        self._judge(mirror.git_dir, works, mirror.look(list(wanted)), default, merged, problems)

    def _tips(self, works: Sequence[Work]) -> dict[str, str]:
        wanted = dict.fromkeys(name for work in works for name in (work.base or self._source, work.branch))
        refs = [f"refs/heads/{name}" for name in wanted]
        rows = git("for-each-ref", "--format=%(objectname) %(refname)", "--", *refs, git_dir=self._own)
        found = (row.partition(" ") for row in rows.decode("utf-8", "surrogateescape").splitlines())
        return {ref.removeprefix("refs/heads/"): commit for commit, _, ref in found}

    def _judge(
        self,
        git_dir: Path,
        works: Sequence[Work],
        tips: Mapping[str, str],
        default: str,
        merged: dict[str, Merge],
        problems: list[Problem],
    ) -> None:
        for work in works:
            base = tips.get(work.base or default)
            if base is None:
                what = f"{work.repo} has no branch {work.base or default} that its work could be merged into"
                problems.append(Problem(work.task, what=what, hint=_hint(work.task)))
                continue
            merge = self._merge(git_dir, work, base, tips.get(work.branch))
            if merge is not None:
                merged[work.task] = merge
            elif work.branch not in tips:
                what = f"{work.branch} is not in {work.repo} and not merged as it was"
                problems.append(Problem(work.task, what=what, hint=_hint(work.task)))

    @staticmethod
    def _merge(git_dir: Path, work: Work, base: str, tip: str | None) -> Merge | None:
        """Look for what was submitted, then for what somebody added to it on its branch since."""
        there = merges.has(git_dir, work.commit)
        merge = merges.find(git_dir, work.commit, base, work.since_ms) if there else None
        if merge is None and tip not in (None, work.commit) and there and tip is not None:
            added = merges.contains(git_dir, tip, work.commit)
            merge = merges.find(git_dir, tip, base, work.since_ms) if added else None
        return merge


def _by_place(works: Iterable[Work]) -> dict[tuple[str, str | None], list[Work]]:
    found: dict[tuple[str, str | None], list[Work]] = {}
    for work in works:
        found.setdefault((work.repo, work.url), []).append(work)
    return found


class _Hub(Protocol):
    """What is needed of a hub; every call is made on its loop."""

    def durable_tasks(self) -> list[Task]: ...

    @property
    def observed(self) -> str | None: ...

    @property
    def policy(self) -> Policy: ...

    def submit(self, event: Happening) -> None: ...


class Reviewer:
    """Looks for merges while there is work in review. All calls on the hub's loop."""

    def __init__(
        self, hub: _Hub, inspector: Inspector, remote_url: str | None, listener: Listener | None = None
    ) -> None:
        self.problems: tuple[Problem, ...] = ()
        self._hub = hub
        self._inspector = inspector
        self._listener = listener
        self._remote_url = remote_url
        self._observed: str | None = None
        self._news = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "reviews")

    def look(self) -> None:
        """Look soon: something may have been merged."""
        self._news.set()

    def hears(self, record: Record) -> None:
        """Note what became of a task: one that comes into review is looked at soon."""
        if record.after is not None and record.after.state is State.IN_REVIEW:
            self._news.set()

    def beat(self) -> None:
        """Look when the hub has observed another commit of the source: work may have come in with it."""
        if self._hub.observed != self._observed:
            self._observed = self._hub.observed
            self._news.set()

    async def run(self) -> None:
        """Look for ever: what goes wrong in one look is logged, said, and tried again; it must not end the hub."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S * random.uniform(1 - JITTER, 1 + JITTER)):  # noqa: S311
                    await self._news.wait()
            self._news.clear()
            try:
                await self.once()
            except Exception:
                _log.exception("a look for merges failed, it is tried again")
                self.problems = (Problem("reviews", what="a look for merges failed", hint="the hub's log says why"),)
            await asyncio.sleep(PAUSE_S)

    async def once(self) -> None:
        """Look at everything that is in review now: approve what was merged, give back what the forge gives back."""
        found = [work_of(task, self._hub.policy, self._remote_url) for task in self._in_review()]
        works = [work for work in found if isinstance(work, Work)]
        unseen = [problem for problem in found if isinstance(problem, Problem)]
        seen, heard = Seen(), Heard()
        if works:
            seen, heard = await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, works)
        open_still = [problem for problem in seen.problems if problem.path not in heard.verdicts]
        self._tell((*unseen, *open_still, *heard.problems))
        still = {task.id: task.status.generation for task in self._in_review()}
        for work in works:
            verdict = _by_git(seen.merged.get(work.task)) or heard.verdicts.get(work.task)
            if verdict is not None and still.get(work.task) == work.generation:
                event = Event.CHANGES_ASKED if verdict.merged is None else Event.APPROVED
                asked = Asked(event, work.task, verdict.by, verdict.text, work.generation, verdict.merged)
                self._hub.submit(asked)

    def _ask(self, works: Sequence[Work]) -> tuple[Seen, Heard]:
        seen = self._inspector.look(works)
        offers = [work.offer for work in works if work.task not in seen.merged]
        if self._listener is None:
            return seen, Heard()
        return seen, self._listener.hear([offer for offer in offers if offer is not None])

    def _in_review(self) -> list[Task]:
        return [task for task in self._hub.durable_tasks() if task.state is State.IN_REVIEW]

    def _tell(self, problems: tuple[Problem, ...]) -> None:
        for problem in problems:
            if problem not in self.problems:
                _log.warning("%s", problem)
        self.problems = problems

    def close(self) -> None:
        """Give the thread back, soon."""
        self._inspector.give_up()
        if self._listener is not None:
            self._listener.give_up()
        self._thread.shutdown(wait=True)


def _by_git(merge: Merge | None) -> Verdict | None:
    if merge is None:
        return None
    return Verdict(Actor("person", merge.by.name, merge.by.email), f"merged as {merge.commit[:10]}", merge.commit)


def make_reviewer(hub: _Hub, ground: Ground) -> Reviewer:
    """Return what looks for merges beside a hub: mirrors stand in its data directory, a token in the environment."""
    inspector = Inspector(ground.repo.common_dir, ground.branch, ground.place.folder / "mirrors")
    url = None if ground.remote is None else url_fetched(ground.repo, ground.remote)
    return Reviewer(hub, inspector, url, from_environment())

"""Git around an attempt: a work tree of its own before the agent begins, the submission after it says that it is done.

Only for tasks with a repository, in clones that the config file names, or that are made from the address that the hub
gave. What git asks for stands in ``gitflow``; here its errors become ends of attempts. Everything blocks: call it in a
thread.
"""

import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coordinator.git import address
from coordinator.git.run import GitError, git
from coordinator.wire.frames import TaskAssign
from sidecar.gitflow.values import FlowError, Misconfigured, NotAllowed, NoWorkplace, Refused, Unreachable, Workplace
from sidecar.values import Failure, Outcome, Success

logger = logging.getLogger(__name__)

#: What a remote that does not answer is given, in seconds, before the attempt ends; the work is there and waits.
TRIES_AFTER_S = (5.0, 15.0, 45.0)
#: When the agent may have work again after a remote did not answer at all, in ms.
PAUSE_MS = 300_000
#: How long a first clone may take, in seconds.
CLONE_WITHIN_S = 3600.0
_PLACE = "workplace.json"
#: Work that changed nothing is for a person to judge; anything else that git says against it fails the attempt.
_NOTHING_NEW = frozenset({"no_commits", "no_changes"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where one attempt works: a work tree on a branch of its own, for a base."""

    path: Path
    branch: str
    base: str


@dataclass(frozen=True, slots=True)
class Repos:
    """The clones of one sidecar: ``paths`` by the names that tasks use, ``folder`` for those that it makes itself.

    ``one`` is the clone of an old config file, for every name. ``by_itself``: the agent is woken, or has a working
    folder of its own, and cares for git itself where no clone is listed by name. ``warn``: an attempt whose work tree
    cannot be made goes on without.
    """

    folder: Path
    paths: Mapping[str, Path]
    one: Path | None = None
    by_itself: bool = False
    warn: bool = False


class Gitwork:
    """Git for the attempts of one agent; ``environment`` is what its commands and the forge get."""

    def __init__(self, agent: str, repos: Repos, environment: Mapping[str, str]) -> None:
        self._agent = agent
        self._repos = repos
        self._environment = dict(environment)
        self._closing = threading.Event()

    def close(self) -> None:
        """Wait for no remote any more."""
        self._closing.set()

    def cares_for(self, assignment: TaskAssign) -> bool:
        """Tell whether this attempt gets a work tree."""
        named = assignment.repo is not None and self._path(assignment.repo) is not None
        return assignment.repo is not None and (named or (bool(assignment.repo_url) and not self._repos.by_itself))

    def refusal(self, assignment: TaskAssign) -> str | None:
        """Return why an assignment cannot be taken here, None when it can: another agent may have what is missing."""
        repo = assignment.repo
        if repo is None or self.cares_for(assignment) or self._repos.by_itself:
            return None
        name = "." if repo == "." else f"repos in agentcom.yaml has no url for {repo}, and"
        where = "this sidecar has no clone of the hub's repository" if repo == "." else f"{name} this sidecar has none"
        return f"{where}: add `repos: {{{json.dumps(repo)}: /path/to/a/clone}}` to its config file"

    def begin(self, assignment: TaskAssign, folder: Path) -> Place | None:
        """Let the work tree of an attempt be there, and remember it in ``folder``; None where it must go on without.

        Raises FlowError, OSError.
        """
        from sidecar.gitflow import tasks
        from sidecar.gitflow.starting import start

        try:
            clone = self._clone(assignment)
            task = tasks.from_json(assignment.encode(), "the assignment")
            made: Workplace = start(task, clone, agent=self._agent, environment=self._environment)
        except FlowError as error:
            if not self._repos.warn:
                raise
            logger.warning("no work tree for %s: %s", assignment.task_id, error)
            return None
        for remark in made.remarks:
            logger.info("%s: %s", assignment.task_id, remark)
        place = Place(made.path, made.branch, made.base)
        said = {"path": str(place.path), "branch": place.branch, "base": place.base}
        (folder / _PLACE).write_text(json.dumps(said) + "\n", encoding="utf-8")
        return place

    def finish(self, place: Place, assignment: TaskAssign, outcome: Success) -> Outcome:
        """Commit what the agent left, submit its work, and say in the result where it is. Never raises FlowError.

        A remote that does not answer is asked again for a minute.
        """
        from sidecar.gitflow import tasks
        from sidecar.gitflow.submitting import submit
        from sidecar.gitflow.values import Report

        task = tasks.from_json(assignment.encode(), "the assignment")
        summary, tested = (_text(outcome.result.get(name)) for name in ("summary", "tested"))
        report = Report(summary, tested, outcome.tokens_used)
        try:
            self._commit_leftovers(place, assignment)
            for pause in (*TRIES_AFTER_S, None):
                try:
                    done = submit(place.path, task=task, report=report, rebase=True, environment=self._environment)
                    break
                except Unreachable:
                    if pause is None or self._closing.wait(pause):
                        raise
        except Refused as error:
            if {one.code for one in error.refusals} <= _NOTHING_NEW:
                return replace(outcome, result={**outcome.result, "no_changes": True})
            return Failure(f"the work was not submitted: {error}", "error", output_tail=summary)
        except (FlowError, GitError) as error:
            return failure_of(error, f"the work on {place.branch} was not submitted")
        added: dict[str, Any] = {"branch": done.branch, "commit": done.commit, "base": done.base}
        if done.pull_request is not None:
            added["pr_url"] = done.pull_request.url
        else:
            added["merge"] = done.merge
        if done.remarks:
            added["git_remarks"] = list(done.remarks)
        return replace(outcome, result={**outcome.result, **added})

    def _commit_leftovers(self, place: Place, assignment: TaskAssign) -> None:
        """Commit what is saved and not committed: the sandbox of some agents keeps git's own files read-only."""
        here = place.path
        if not git("status", "--porcelain", "--untracked-files=normal", cwd=here).strip():
            return
        git("add", "--all", cwd=here)
        message = f"{' '.join(assignment.title.split())}\n\nAgentcom-Task: {assignment.task_id}\n"
        git("commit", "--quiet", "--no-verify", "--no-gpg-sign", "-F", "-", cwd=here, input=message.encode())

    # --- clones

    def _path(self, repo: str) -> Path | None:
        return self._repos.paths.get(repo) or (None if self._repos.by_itself else self._repos.one)

    def _clone(self, assignment: TaskAssign) -> Path:
        """Return the clone of a repository; one that nobody named is made here, once. Raises FlowError."""
        repo, url = assignment.repo or "", assignment.repo_url or ""
        path = self._path(repo)
        if path is not None:
            if not path.is_dir():
                raise NoWorkplace(f"{path}, the clone of {repo}, is not there: correct repos in the config file")
            return path
        against = address.objection(url)
        if against is not None:
            raise Misconfigured(f"{address.shown(url)}, the url of {repo}, cannot be cloned: {against}")
        path = self._repos.folder / address.folder_name(url)
        if not (path / ".git").exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            allowed = {"GIT_ALLOW_PROTOCOL": address.ALLOWED, "SSH_ASKPASS_REQUIRE": "never"}
            try:
                git(
                    "clone", "--quiet", "--end-of-options", url, str(path),
                    cwd=path.parent, env=allowed, timeout=CLONE_WITHIN_S,
                )  # fmt: skip
            except GitError as error:
                raise Unreachable(address.shown(f"{repo} cannot be cloned: {error}")) from None
        return path


def place_of(folder: Path) -> Place | None:
    """Return the work tree of an attempt, None when it has none."""
    try:
        said = json.loads((folder / _PLACE).read_text(encoding="utf-8"))
        return Place(Path(said["path"]), said["branch"], said["base"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unsubmitted(place: Place) -> dict[str, Any]:
    """Return what the result of an attempt says of its work when the hub has taken the task back."""
    remark = f"not submitted, because the hub took the task back: the work is in {place.path}"
    return {"branch": place.branch, "base": place.base, "git_remarks": [remark]}


def failure_of(error: FlowError | GitError, what: str) -> Failure:
    """Return how an attempt ends because of git: a remote that is away pauses the agent and spends no retry."""
    text = f"{what}: {error}"
    if isinstance(error, Unreachable):
        return Failure(text, "rate_limited", retry_at=time.time_ns() // 1_000_000 + PAUSE_MS)
    wrong_here = isinstance(error, Misconfigured | NotAllowed | NoWorkplace)
    return Failure(text, "environment" if wrong_here else "error")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

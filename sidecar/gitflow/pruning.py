"""Take away the work trees and branches of tasks that are finished, and say why one is kept.

Finished means: the work is in the base, or the hub has closed the task and the remote has every commit of it. Whatever
exists here alone stays: commits, edits, files that git does not know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator.git.run import GitError
from sidecar.gitflow import facts, finding, judging, records, remote, worktrees
from sidecar.gitflow.records import Record
from sidecar.gitflow.repository import Repository, find, under_way, words
from sidecar.gitflow.standing import base_ref
from sidecar.gitflow.values import Busy, FlowError, Misconfigured, Misused, NotAllowed, Unreachable


@dataclass(frozen=True, slots=True)
class Judged:
    """One task of this clone: ``keep`` is why it stays, "" when it is taken away because of ``why``.

    ``tip`` is the commit of its branch that was judged, "" for none.
    """

    agent: str
    task_id: str
    branch: str
    path: str
    keep: str = ""
    why: str = ""
    tip: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    """What there is to compare with: a remote's branches (None: it did not answer), and which tasks are over."""

    branches: Mapping[str, str] | None
    closed: frozenset[str]


def prune(
    directory: Path,
    task_ids: Sequence[str] = (),
    *,
    dry_run: bool = False,
    on_remote: bool = False,
    environment: Mapping[str, str] | None = None,
) -> tuple[tuple[Judged, ...], tuple[str, ...]]:
    """Judge the tasks of this clone (those named, else all) and take the finished ones away; return remarks as well.

    ``dry_run`` takes nothing away; ``on_remote`` deletes a branch on its remote too, once it is in the base. Raises
    FlowError.
    """
    repo = find(directory, environment)
    known = [record for record in records.every(repo) if not task_ids or record.task_id in task_ids]
    if missing := sorted(set(task_ids) - {record.task_id for record in known}):
        raise Misused(f"no work on {', '.join(missing)} in this clone: `agentcom-git status --all` lists what there is")
    remarks: list[str] = []
    closed = finding.closed(repo, [record.task_id for record in known])
    seen: dict[tuple[str, str], _Known] = {}
    for pair in dict.fromkeys((record.remote, record.base) for record in known):
        branches, remark = _look(repo, *pair, [record for record in known if (record.remote, record.base) == pair])
        seen[pair] = _Known(branches, closed)
        remarks += [remark] if remark else []
    judged = []
    for record in known:
        try:
            with records.locked(repo, record.agent, record.task_id):
                one = _judge(repo, record, seen[record.remote, record.base], directory)
                if not one.keep and not dry_run:
                    one = _take_away(repo, record, one, remarks, on_remote=on_remote)
        except Busy as busy:
            one = _kept(record, str(busy))
        judged.append(one)
    if known and not dry_run:
        repo.git("worktree", "prune", at=repo.common_dir)
    return tuple(judged), tuple(remarks)


def _look(repo: Repository, name: str, base: str, those: Sequence[Record]) -> tuple[Mapping[str, str] | None, str]:
    if not name:
        return {}, ""
    try:
        seen = remote.look(repo, name, base, [record.branch for record in those])
        remote.fetch(repo, name, seen, base)
    except (Unreachable, NotAllowed, Misconfigured) as error:
        return None, f"{error}; judged by what was fetched last"
    return seen.commits, ""


def _judge(repo: Repository, record: Record, known: _Known, directory: Path) -> Judged:
    path = Path(record.worktree)
    there = not facts.gone(repo, path)
    if there and (in_it := _in_the_way(repo, record, path, directory)):
        return _kept(record, in_it)
    tip = repo.resolve(f"refs/heads/{record.branch}", repo.common_dir)
    if not tip:
        if there:
            return _kept(record, f"its branch is gone: `agentcom-git start-task {record.task_id}` makes it again")
        return Judged(record.agent, record.task_id, record.branch, record.worktree, why="nothing of it is left here")
    why = _finished(repo, record, tip, known)
    if why:
        return Judged(record.agent, record.task_id, record.branch, record.worktree, why=why, tip=tip)
    keep = _still(repo, record, tip, known)
    if not there:
        keep += f"; its folder is gone, `agentcom-git start-task {record.task_id}` brings it back"
    return _kept(record, keep)


def _in_the_way(repo: Repository, record: Record, path: Path, directory: Path) -> str:
    """Return what in a work tree keeps it from being taken away, whatever became of the task."""
    if directory.resolve().is_relative_to(path.resolve()):
        return f"you are in it: `cd {worktrees.quoted(repo.main)}`, then prune again"
    try:
        here = repo.at(path)
        dirty, untracked = facts.saved(here)
        branch = here.git("branch", "--show-current")
    except (FlowError, GitError) as error:
        return f"it cannot be read: {error}"
    if waiting := under_way(here.git_dir):
        return f"a {waiting} is under way there: finish it or give it up (`git {waiting} --abort`)"
    if dirty or untracked:
        paths = judging.named((*dirty, *untracked))
        return f"it holds what is not committed: {paths}: commit it, or delete it if nobody needs it"
    if branch != record.branch:
        return f"{branch or 'a detached HEAD'} is checked out there: `git switch {record.branch}`"
    if (here.git_dir / "modules").is_dir():
        return (
            "submodules are checked out there, and what they hold is not looked into: when nothing of theirs is "
            f"missing elsewhere, `git worktree remove --force {worktrees.quoted(path)}`, then prune again"
        )
    return ""


def _finished(repo: Repository, record: Record, tip: str, known: _Known) -> str:
    """Return why a task is finished and none of its commits exists here alone, "" when that is not so."""
    base = repo.resolve(base_ref(record), repo.common_dir)
    worked = bool(record.pushed) or _has_own(repo, record, tip)
    if base and worked and _contains(repo, base, tip):
        return f"it is in {record.base}"
    safe = not record.remote or record.pushed == tip
    if base and worked and safe and _adds_nothing(repo, base, tip):
        return f"it is in {record.base}, as other commits"
    asked = known.branches is not None and bool(record.pr_url)
    if asked and record.pushed == tip and _merged_by_forge(repo, record, tip):
        return "its pull request is merged"
    if record.task_id in known.closed and not _only_here(repo, record, tip, base, known):
        return "the task is over, and nothing of it exists here alone"
    return ""


def _has_own(repo: Repository, record: Record, tip: str) -> bool:
    """Tell whether the agent committed since the start: a branch may have moved because it followed its base."""
    if not record.start or not repo.resolve(record.start, repo.common_dir):
        return False
    emails = repo.git("log", "--format=%ae%n%ce", tip, f"^{record.start}", at=repo.common_dir).split("\n")
    return worktrees.email(record.agent) in emails


def _still(repo: Repository, record: Record, tip: str, known: _Known) -> str:
    """Return why a task that is not finished is kept."""
    base = repo.resolve(base_ref(record), repo.common_dir)
    if only := _only_here(repo, record, tip, base, known):
        text = f"{judging.count(only, 'commit')} of it {'is' if only == 1 else 'are'} here alone"
        if record.task_id not in known.closed:
            return text
        return f"{text}, though the task is over: `agentcom-git submit` there, or `git branch -D {record.branch}`"
    if record.pushed:
        return f"it is not in {record.base} yet" + (f": {record.pr_url}" if record.pr_url else "")
    return "the task is not over, and nothing was submitted yet"


def _only_here(repo: Repository, record: Record, tip: str, base: str, known: _Known) -> int:
    """Count the commits that neither base nor remote is known to have; an own branch counts as it is there now."""
    branches = known.branches or {}
    there = branches.get(record.branch, "") if record.remote else ""
    have = [f"^{commit}" for commit in (base, there) if commit and repo.resolve(commit, repo.common_dir)]
    return int(repo.git("rev-list", "--count", tip, *have, at=repo.common_dir))


def _adds_nothing(repo: Repository, base: str, tip: str) -> bool:
    """Tell whether merging a branch that changes something would change nothing: a squash, a rebase, a copy."""
    try:
        fork = repo.git("merge-base", base, tip, at=repo.common_dir).partition("\n")[0]
        if _tree(repo, fork) == _tree(repo, tip):
            return False
        merged = repo.git("merge-tree", "--write-tree", "--no-messages", base, tip, at=repo.common_dir)
    except GitError:
        return False  # a conflict, no common history, or a git before 2.38
    return merged.partition("\n")[0] == _tree(repo, base)


def _tree(repo: Repository, commit: str) -> str:
    return repo.git("rev-parse", f"{commit}^{{tree}}", at=repo.common_dir)


def _merged_by_forge(repo: Repository, record: Record, tip: str) -> bool:
    from sidecar.gitflow.forge.choosing import choose

    try:
        forge, _ = choose(repo, record.remote)
        found = forge.find(record.branch, tip) if forge is not None else None
    except FlowError:
        return False
    return found is not None and found.state == "merged" and found.commit == tip


def _take_away(repo: Repository, record: Record, one: Judged, remarks: list[str], *, on_remote: bool) -> Judged:
    path, tip = Path(record.worktree), one.tip
    if repo.resolve(f"refs/heads/{record.branch}", repo.common_dir) != tip:
        return _kept(record, "somebody commits there right now")
    if not facts.gone(repo, path):
        try:
            worktrees.remove(repo, path)
        except GitError as error:
            return _kept(record, f"git does not take it away: {words(error)}")
    if tip:
        repo.git("worktree", "prune", at=repo.common_dir)
        repo.git("update-ref", "-d", f"refs/heads/{record.branch}", tip, at=repo.common_dir)
        _quietly(repo, "config", "--remove-section", f"branch.{record.branch}")
    if on_remote and record.remote and tip and one.why.startswith(("it is in", "its pull")):
        try:
            remote.delete(repo, record.remote, record.branch, tip)
        except FlowError as error:
            remarks.append(str(error))
    records.forget(repo, record)
    return one


def _quietly(repo: Repository, *argv: str) -> None:
    try:
        repo.git(*argv, at=repo.common_dir)
    except GitError:
        return  # there was none


def _contains(repo: Repository, commit: str, part: str) -> bool:
    return repo.says("merge-base", "--is-ancestor", part, commit, at=repo.common_dir)


def _kept(record: Record, why: str) -> Judged:
    return Judged(record.agent, record.task_id, record.branch, record.worktree, keep=why)

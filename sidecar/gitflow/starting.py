"""Start a task: its own work tree, on its own branch, from the base as it is this second.

Started again, a task goes on with what is there. Nothing is ever reset and no commit is ever dropped: a branch is at
most moved forward, to commits that contain all of its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from coordinator.git.run import GitError
from sidecar.gitflow import facts, finding, naming, records, remote, worktrees
from sidecar.gitflow.records import Record
from sidecar.gitflow.repository import Repository, base_name, find, under_way, words
from sidecar.gitflow.values import FlowError, Misconfigured, Misused, Task, Unreachable, Workplace


class _Origin(NamedTuple):
    """What a branch can begin from; ``own`` is this branch on the remote, ``other`` one of another agent's."""

    remote: str
    base: str
    base_commit: str
    own: str = ""
    other: str = ""
    other_commit: str = ""
    remark: str = ""


def start(
    task: Task,
    directory: Path,
    *,
    agent: str = "",
    fresh: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Workplace:
    """Make the workplace of a task in the repository that ``directory`` lies in, or go on with the one there is.

    ``agent`` is an id, "" for the one that is set; ``fresh`` does not go on from other agents' branches. May take as
    long as a fetch and a checkout, so an event loop calls it in a thread. Raises FlowError, OSError.
    """
    repo = find(directory, environment)
    who = finding.agent(repo, agent)
    with records.locked(repo, who, task.id):
        return _start(repo, task, who, fresh)


def _start(repo: Repository, task: Task, agent: str, fresh: bool) -> Workplace:
    record = records.read(repo, agent, task.id)
    branch = record.branch if record else _free_name(repo, task, agent)
    origin = _look(repo, task, agent, branch, record, fresh)
    path = Path(record.worktree) if record else worktrees.default_folder(repo) / branch
    record = Record(
        agent=agent,
        task_id=task.id,
        branch=branch,
        worktree=str(path),
        base=origin.base,
        remote=origin.remote,
        start=record.start if record else "",
        pushed=record.pushed if record else "",
        pr_title=record.pr_title if record else "",
        pr_url=record.pr_url if record else "",
        ready=record.ready if record else False,
        spec=finding.as_spec(task),
    )
    worktrees.allow_own_settings(repo)
    record, resumed, remarks = _stand(repo, record, origin)
    path = Path(record.worktree)
    worktrees.set_up(repo, path, task.id, agent, branch, origin.base, origin.remote)
    here = repo.at(path)
    remarks += _go_forward(here, record, origin)
    if not record.start or repo.resolve("HEAD", path) == origin.base_commit:
        record = replace(record, start=_meeting(repo, path, origin.base_commit))
    records.write(repo, replace(record, ready=True))
    continued = origin.other if not resumed else ""
    return Workplace(
        task_id=task.id,
        agent=agent,
        path=path,
        branch=branch,
        base=origin.base,
        base_commit=origin.base_commit,
        commit=repo.resolve("HEAD", path),
        remote=origin.remote,
        resumed=resumed,
        continued_from=continued,
        remarks=tuple(line for line in (origin.remark, *remarks, _submodules(path)) if line),
    )


def _free_name(repo: Repository, task: Task, agent: str) -> str:
    name = naming.branch(agent, task.id, task.title)
    taken = {record.branch for record in records.every(repo) if record.task_id != task.id}
    return naming.apart(name, task.id) if name in taken else name


# --- what there is to begin from --------------------------------------------------------------------------------------


def _look(repo: Repository, task: Task, agent: str, branch: str, record: Record | None, fresh: bool) -> _Origin:
    name = repo.remote()
    base = base_name(repo, task.base)
    if base == branch:
        raise Misused(f"the base is {base}, which is this task's own branch: name another one as base: in the task")
    if not name:
        return _look_here(repo, task, agent, base, fresh)
    others = () if fresh else (f"*/{task.id}-{naming.slug(task.title)}",)
    try:
        seen = remote.look(repo, name, base, tuple(filter(None, (branch, "" if fresh else task.branch, *others))))
        wanted = [] if fresh else _of_others(seen.commits, task, agent, branch, seen.base)
        own = seen.commits.get(branch, "")
        fetched = remote.fetch(repo, name, seen, seen.base, *wanted, *([branch] if own else []))
    except Unreachable as error:
        known = repo.resolve(f"refs/remotes/{name}/{base}")
        if record is None or not record.ready or not known or facts.gone(repo, Path(record.worktree)):
            raise Unreachable(
                f"{error}; nothing was started, because the newest {base or 'base'} is not known"
            ) from None
        return _Origin(name, base, known, remark=f"{error}; {base} is as it was fetched last")
    other = _newest(repo, {one: fetched[one] for one in wanted}, fetched[seen.base], task.branch)
    return _Origin(name, seen.base, fetched[seen.base], fetched.get(branch, ""), other, fetched.get(other, ""))


def _look_here(repo: Repository, task: Task, agent: str, base: str, fresh: bool) -> _Origin:
    commit = repo.resolve(f"refs/heads/{base}")
    if not commit:
        raise Misconfigured(
            f"there is no branch {base} with a commit here: make the first one (`git commit`), or name the base: "
            f"`git config agentcom-git.base NAME`"
        )
    if fresh:
        return _Origin("", base, commit)
    out = repo.git("for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads", at=repo.common_dir)
    commits = {name: oid for oid, _, name in (line.partition(" ") for line in out.splitlines())}
    wanted = _of_others(commits, task, agent, "", base)
    other = _newest(repo, {one: commits[one] for one in wanted}, commit, task.branch)
    return _Origin("", base, commit, other=other, other_commit=commits.get(other, ""))


def _of_others(commits: Mapping[str, str], task: Task, agent: str, branch: str, base: str) -> list[str]:
    """Return the branches on which other agents worked on this task."""
    tail = f"/{task.id}-{naming.slug(task.title)}"
    return [
        name
        for name in commits
        if name not in (branch, base)
        and (name == task.branch or (name.endswith(tail) and name != f"{agent}{tail}" and name.count("/") == 1))
    ]


def _newest(repo: Repository, commits: Mapping[str, str], base_commit: str, first: str) -> str:
    """Return the branch to go on from: the one that the task names, else the newest that the base does not contain."""
    open_ones = {
        name: oid for name, oid in commits.items() if not repo.says("merge-base", "--is-ancestor", oid, base_commit)
    }
    if first in open_ones or len(open_ones) < 2:
        return first if first in open_ones else next(iter(open_ones), "")
    newest = repo.git("log", "-1", "--no-walk=sorted", "--format=%H", *open_ones.values())
    return next(name for name, oid in open_ones.items() if oid == newest)


# --- the work tree ----------------------------------------------------------------------------------------------------


def _stand(repo: Repository, record: Record, origin: _Origin) -> tuple[Record, bool, list[str]]:
    """Let the work tree be there; return what is remembered now, and whether there was one, or a branch, before."""
    path, branch = Path(record.worktree), record.branch
    trees = {tree.path: tree for tree in worktrees.listed(repo)}
    tree = trees.get(path) or trees.get(path.resolve())
    if tree is not None and not tree.prunable and record.ready:
        return record, True, _elsewhere(tree, branch)
    if tree is not None and not tree.prunable:
        try:
            worktrees.remove(repo, path, by_force=True)  # its making was cut off, nobody has worked in it
        except GitError as error:
            raise FlowError(f"the unfinished work tree {path} cannot be removed: {words(error)}") from None
        tree = None
    records.write(repo, replace(record, ready=False))
    if repo.resolve(f"refs/heads/{branch}"):
        other = next(
            (one for one in trees.values() if one.branch == branch and one.path != path and not one.prunable), None
        )
        if other is not None:
            return _moved(repo, record, other), True, []
        worktrees.add(repo, path, branch, again=tree is not None)
        return record, True, []
    commit = origin.own or origin.other_commit or origin.base_commit
    worktrees.add(repo, path, branch, commit, again=tree is not None)
    return record, bool(origin.own), []


def _moved(repo: Repository, record: Record, tree: worktrees.Tree) -> Record:
    """Take over the work tree that this branch is checked out in, if it is one of ours."""
    if repo.at(tree.path).settings.task != record.task_id or tree.path == repo.main:
        raise FlowError(
            f"{record.branch} is checked out in {tree.path}: `git -C '{tree.path}' switch {record.base}`, then start "
            f"the task again"
        )
    return replace(record, worktree=str(tree.path))


def _elsewhere(tree: worktrees.Tree, branch: str) -> list[str]:
    if tree.branch == branch:
        return []
    now = tree.branch or "no branch"
    return [f"{now} is checked out there, this task's branch is {branch}: `git switch {branch}`"]


def _go_forward(here: Repository, record: Record, origin: _Origin) -> list[str]:
    """Move a branch to newer commits that contain all of its own, when nothing is in the way; say what is left."""
    if here.git("branch", "--show-current") != record.branch:
        return []
    clean = not facts.saved(here)[0] and not under_way(here.git_dir)
    for commit in (origin.own, origin.base_commit):
        head = here.resolve("HEAD")
        if commit and commit != head and clean and here.says("merge-base", "--is-ancestor", head, commit):
            try:
                here.git("merge", "--quiet", "--ff-only", "--no-autostash", "--no-verify-signatures", commit)
            except GitError as error:
                return [f"the branch was not brought forward: {words(error)}"]
    head = here.resolve("HEAD")
    remarks = []
    if origin.own and not here.says("merge-base", "--is-ancestor", origin.own, head) and origin.own != record.pushed:
        remarks.append(f"{record.branch} has commits on {origin.remote} that are not here: `agentcom-git sync`")
    behind = int(here.git("rev-list", "--count", origin.base_commit, f"^{head}"))
    if behind:
        remarks.append(f"{origin.base} has {behind} newer commit{'' if behind == 1 else 's'}: `agentcom-git sync`")
    return remarks


def _meeting(repo: Repository, path: Path, base_commit: str) -> str:
    try:
        return repo.git("merge-base", "HEAD", base_commit, at=path).partition("\n")[0]
    except GitError:
        return base_commit


def _submodules(path: Path) -> str:
    if not (path / ".gitmodules").is_file():
        return ""
    return "there are submodules, which are not checked out by themselves: `git submodule update --init --recursive`"

"""Where the work on a task stands: beside its base, beside its remote, and whether it could be submitted now.

This module looks and changes nothing but what git remembers of the remote.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from coordinator.git.run import GitError
from sidecar.gitflow import facts, finding, judging, records, remote
from sidecar.gitflow.records import Record
from sidecar.gitflow.repository import Repository, find
from sidecar.gitflow.values import Facts, FlowError, Misconfigured, NotAllowed, PullRequest, Refusal, Unreachable


@dataclass(frozen=True, slots=True)
class Standing:
    """The work tree of a task. ``asked``: the remote answered, so that ``facts`` are beside its base of this second.

    ``unpushed`` counts commits that the remote is not known to have; ``refusals`` are what `submit` would say now;
    ``checks`` are those of the pull request ("" for none, or nobody was asked).
    """

    record: Record
    path: Path
    facts: Facts
    asked: bool
    unpushed: int
    refusals: tuple[Refusal, ...] = ()
    pull_request: PullRequest | None = None
    checks: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One task of this clone.

    ``state`` is working, unpushed, pushed, in the base, folder gone, branch gone, or begun (its start was cut off).
    """

    agent: str
    task_id: str
    branch: str
    path: str
    state: str
    pr_url: str = ""


def status(directory: Path, *, offline: bool = False, environment: Mapping[str, str] | None = None) -> Standing:
    """Return where the task stands whose work tree this is; with ``offline`` as far as this machine knows.

    A remote or a forge that does not answer makes a remark, no error. Raises FlowError.
    """
    repo, record = finding.workplace(directory, environment)
    remarks: list[str] = []
    known = repo.tips(base_ref(record), *((_tracked(record),) if record.remote else ()))
    base_commit, tip, asked = known[base_ref(record)], known.get(_tracked(record), ""), False
    if not record.remote:
        asked = True
    elif not offline:
        try:
            base_commit, tip = _asked(repo, record)
            asked = True
            if record.pushed and not tip:
                remarks.append(
                    f"{record.branch} was pushed, and {record.remote} has it no more: merged, or deleted there"
                )
        except (Unreachable, NotAllowed, Misconfigured) as error:
            remarks.append(f"{error}; what follows is as it was fetched last")
    seen = facts.gather(
        repo, record.branch, record.base, base_commit, start=record.start, remote_tip=tip, ours=record.pushed
    )
    standing = Standing(
        record=record,
        path=repo.top,
        facts=seen,
        asked=asked,
        unpushed=_unpushed(repo, record, seen, tip),
        refusals=judging.judge(seen),
        remarks=tuple(remarks),
    )
    return _with_forge(repo, standing) if asked and record.remote else standing


def every(directory: Path, environment: Mapping[str, str] | None = None) -> tuple[Line, ...]:
    """Return every task of this clone, as far as this machine knows. Raises FlowError."""
    repo = find(directory, environment)
    known = records.every(repo)
    if not known:
        return ()
    out = repo.git(
        "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/remotes", at=repo.common_dir
    )
    tips = {name: oid for oid, _, name in (line.partition(" ") for line in out.splitlines())}
    merged = {base: _merged(repo, base) for base in {base_ref(record) for record in known} if base in tips}
    return tuple(
        Line(
            agent=record.agent,
            task_id=record.task_id,
            branch=record.branch,
            path=record.worktree,
            state=_state(repo, record, tips, merged.get(base_ref(record), frozenset())),
            pr_url=record.pr_url,
        )
        for record in known
    )


def _state(repo: Repository, record: Record, tips: Mapping[str, str], merged: frozenset[str]) -> str:
    tip = tips.get(f"refs/heads/{record.branch}")
    if not record.ready:
        return "begun"
    if tip is None:
        return "branch gone"
    if facts.gone(repo, Path(record.worktree)):
        return "folder gone"
    if tip == record.start:
        return "working"
    if f"refs/heads/{record.branch}" in merged:
        return "in the base"
    return "pushed" if record.pushed == tip or tips.get(_tracked(record)) == tip else "unpushed"


def _merged(repo: Repository, base: str) -> frozenset[str]:
    out = repo.git("for-each-ref", f"--merged={base}", "--format=%(refname)", "refs/heads", at=repo.common_dir)
    return frozenset(out.split("\n"))


def base_ref(record: Record) -> str:
    """Return the ref that says what a task's base was when it was looked at last."""
    return remote.tracking(record.remote, record.base) if record.remote else f"refs/heads/{record.base}"


def _tracked(record: Record) -> str:
    return remote.tracking(record.remote, record.branch)


def _asked(repo: Repository, record: Record) -> tuple[str, str]:
    """Return what base and branch are on the remote, "" for a branch that it has not."""
    seen = remote.look(repo, record.remote, record.base, (record.branch,))
    names = [record.base, *([record.branch] if record.branch in seen.commits else [])]
    fetched = remote.fetch(repo, record.remote, seen, *names)
    return fetched[record.base], fetched.get(record.branch, "")


def _unpushed(repo: Repository, record: Record, seen: Facts, tip: str) -> int:
    if not record.remote or not seen.commit or tip == seen.commit:
        return 0
    if seen.base_commit and not tip:
        return seen.ahead
    known = [commit for commit in (seen.base_commit, tip) if commit]
    return int(repo.git("rev-list", "--count", "HEAD", *(f"^{commit}" for commit in known)))


def _with_forge(repo: Repository, standing: Standing) -> Standing:
    from sidecar.gitflow.forge.choosing import choose

    record = standing.record
    try:
        forge, why = choose(repo, record.remote)
        if forge is None:
            said: Sequence[str] = (why.replace("no pull request was opened", "the forge was not asked"),) if why else ()
            return replace(standing, remarks=(*standing.remarks, *said))
        found = forge.find(record.branch, standing.facts.commit)
        if found is None and record.pr_url:
            closed = f"{record.pr_url} is not open any more and has not merged this: read why before you submit again"
            return replace(standing, remarks=(*standing.remarks, closed))
        checks = forge.checks(found.commit) if found is not None and found.commit else ""
        return replace(standing, pull_request=found, checks=checks)
    except (FlowError, GitError) as error:
        return replace(standing, remarks=(*standing.remarks, str(error)))

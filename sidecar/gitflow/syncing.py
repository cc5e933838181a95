"""Bring a task's branch up to date: on top of what others pushed to it, then on the newest base.

Either step goes through whole or leaves everything as it was. No commit of the branch is left out but those that the
other side has as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from coordinator.git.run import GitError
from sidecar.gitflow import finding, judging, records
from sidecar.gitflow.records import Record
from sidecar.gitflow.repository import Repository
from sidecar.gitflow.submitting import look, put_on
from sidecar.gitflow.values import Facts, Refused

#: What stands in the way of any rebase.
_IN_THE_WAY = ("under_way", "on_base", "detached", "other_branch")


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of a branch: ``commit`` is its newest; ``behind`` counts the base's commits that it now stands on.

    ``joined`` counts the commits of others on this branch that it now contains; ``ahead`` its own beside the base.
    """

    task_id: str
    branch: str
    before: str
    commit: str
    base: str
    base_commit: str
    behind: int
    joined: int
    ahead: int


def sync(directory: Path, environment: Mapping[str, str] | None = None) -> Synced:
    """Bring the branch of the work tree at ``directory`` up to date; nothing is pushed.

    Takes as long as a fetch and a rebase. Raises Refused, with what conflicts, or another FlowError.
    """
    repo, record = finding.workplace(directory, environment)
    with records.locked(repo, record.agent, record.task_id):
        seen, tip = look(repo, record)
        blocked = [refusal for refusal in judging.judge(seen) if refusal.code in _IN_THE_WAY]
        if blocked:
            raise Refused(blocked)
        behind, joined = seen.behind, seen.foreign
        if joined:
            put_on(
                repo, tip, record.branch, seen.dirty, upstream=_last_of_both(repo, tip, seen.base_commit), what="sync"
            )
            record = replace(record, pushed=tip)
            records.write(repo, record)
        if joined or behind:
            _put_on_base(repo, record, seen, joined)
        commit = repo.resolve("HEAD")
        ahead = int(repo.git("rev-list", "--count", "HEAD", f"^{seen.base_commit}")) if seen.base_commit else 0
        return Synced(
            record.task_id, record.branch, seen.commit, commit, record.base, seen.base_commit, behind, joined, ahead
        )


def _put_on_base(repo: Repository, record: Record, seen: Facts, joined: int) -> None:
    if repo.says("merge-base", "--is-ancestor", seen.base_commit, "HEAD"):
        return
    try:
        put_on(repo, seen.base_commit, record.base, seen.dirty, what="sync")
    except Refused as refused:
        if not joined:
            raise
        first = f"your commits are on top of {joined} that others pushed to {record.branch}, and stay there; then: "
        raise Refused([replace(one, text=first + one.text) for one in refused.refusals]) from None


def _last_of_both(repo: Repository, tip: str, base_commit: str) -> str:
    """Return the commit after which the branch's own begin: what comes before is in ``tip`` too, as it is or rewritten.

    Only the first commits of the branch are passed over that way: none of its own is ever left out.
    """
    try:
        meeting = repo.git("merge-base", "HEAD", base_commit).partition("\n")[0]
    except GitError:
        meeting = base_commit
    commits = repo.git("rev-list", "--reverse", "--topo-order", "HEAD", f"^{base_commit}").split()
    how = ("--cherry-pick", "--right-only", "--no-merges")
    own = frozenset(repo.git("rev-list", *how, f"{tip}...HEAD", f"^{base_commit}").split())
    return ([meeting, *takewhile(lambda commit: commit not in own, commits)])[-1]

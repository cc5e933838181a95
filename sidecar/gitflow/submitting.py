"""Submit a task's work: judged, put on the newest base if asked, pushed, and offered for merging.

Each step looks first at what is there, so a submission that was cut off anywhere is made whole by the next one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from coordinator.git.address import shown
from coordinator.git.run import GitError
from sidecar.gitflow import facts, finding, judging, prose, records, remote, risk, worktrees
from sidecar.gitflow.forge.choosing import choose
from sidecar.gitflow.forge.port import Forge
from sidecar.gitflow.records import Record
from sidecar.gitflow.repository import Repository, words
from sidecar.gitflow.values import Facts, FlowError, Refusal, Refused, Report, Submitted, Task, Unreachable, Wanted

#: No habit of a person's configuration changes what a rebase or a merge of ours does.
_PLAIN_REBASE = (
    *("-c", "rebase.autoStash=false", "-c", "rebase.autoSquash=false", "-c", "rebase.updateRefs=false"),
    *("-c", "rebase.rebaseMerges=false", "rebase", "--quiet", "--no-gpg-sign", "--empty=drop"),
)
_PLAIN_MERGE = ("merge", "--quiet", "--no-edit", "--no-gpg-sign", "--no-autostash", "--no-verify-signatures")
#: What git answers to --abort when it had not even begun.
_NOTHING_BEGUN = ("no rebase in progress", "merge_head missing")


def submit(
    directory: Path,
    *,
    task: Task | None = None,
    report: Report | None = None,
    rebase: bool = False,
    allow_dirty: bool = False,
    allow_revert: Sequence[str] = (),
    draft: bool | None = None,
    environment: Mapping[str, str] | None = None,
) -> Submitted:
    """Submit the work in the work tree at ``directory``; doing it again brings the pull request up to date.

    Takes as long as fetch, push and a few questions to the forge, so an event loop calls it in a thread. Raises
    Refused with every reason, or another FlowError.
    """
    repo, record = finding.workplace(directory, environment)
    task = task or finding.remembered(record)
    with records.locked(repo, record.agent, record.task_id):
        shown_facts, tip = look(repo, record)
        refusals = judging.judge(shown_facts, allow_dirty=allow_dirty, allow_revert=allow_revert)
        if rebase and judging.may_rebase(refusals):
            put_on(repo, shown_facts.base_commit, shown_facts.base, shown_facts.dirty)
            shown_facts = _facts(repo, record, shown_facts.base_commit, tip)
            refusals = judging.judge(shown_facts, allow_dirty=allow_dirty, allow_revert=allow_revert)
        if refusals:
            raise Refused(refusals)
        done = _describe(repo, record, task, shown_facts)
        if record.remote:
            done = _push(repo, record, done, tip)
            deleted = bool(record.pushed) and not tip
            record = replace(record, pushed=done.commit)
            records.write(repo, record)
            done = _offer(repo, record, task, done, shown_facts, report or Report(), draft)
            if deleted:
                remark = f"{record.branch} was not on {record.remote} any more, and is there again"
                done = replace(done, remarks=(remark, *done.remarks))
        return done


def look(repo: Repository, record: Record) -> tuple[Facts, str]:
    """Return the facts beside the base as it is this second, and what the remote's branch names ("" for nothing)."""
    if not record.remote:
        return _facts(repo, record, repo.resolve(f"refs/heads/{record.base}"), ""), ""
    try:
        seen = remote.look(repo, record.remote, record.base, (record.branch,))
        names = [record.base, *([record.branch] if record.branch in seen.commits else [])]
        fetched = remote.fetch(repo, record.remote, seen, *names)
    except Unreachable:
        local = _facts(repo, record, repo.resolve(remote.tracking(record.remote, record.base)), "")
        known = [one for one in judging.judge(local) if one.code not in ("base_moved", "silent_revert", "no_changes")]
        if known:
            raise Refused(known) from None
        raise
    tip = fetched.get(record.branch, "")
    return _facts(repo, record, fetched[record.base], tip), tip


def put_on(
    repo: Repository, commit: str, base: str, dirty: Sequence[str], *, upstream: str = "", what: str = "submit"
) -> None:
    """Put the branch's commits on another one, or leave everything as it was.

    ``base`` names the branch that ``commit`` is of; only commits after ``upstream`` are taken, "" for all that it has
    not; ``what`` is the command to give again after a conflict. Raises Refused, FlowError.
    """
    if dirty:
        text = (
            f"changed but not committed: {judging.named(dirty)}: commit it, or `git stash`, before your commits are "
            f"put on {base}"
        )
        raise Refused((Refusal("dirty_rebase", text),))
    before = repo.resolve("HEAD")
    # a rebase would drop what somebody did by hand inside the merges of this branch
    merges = bool(repo.git("rev-list", "--merges", "--max-count=1", f"{upstream or commit}..HEAD"))
    onto = ("--onto", commit, upstream) if upstream else (commit,)
    how, argv = ("merge", (*_PLAIN_MERGE, commit)) if merges else ("rebase", (*_PLAIN_REBASE, *onto))
    try:
        repo.git(*argv)
    except GitError as error:
        names = repo.git("diff", "--name-only", "-z", "--diff-filter=U").split("\0")
        paths = [facts.shown(path) for path in names if path]
        try:
            repo.git(how, "--abort")
        except GitError as again:
            if not any(nothing in again.stderr.lower() for nothing in _NOTHING_BEGUN):
                raise FlowError(f"the {how} cannot be given up: {words(again)}; your work was {before}") from None
        if paths:
            name = f"{repo.remote()}/{base}" if repo.remote() else base
            raise Refused((judging.conflicts(name, paths, what),)) from None
        raise FlowError(f"your commits were not put on {base}, all is as before; git says: {words(error)}") from None


def _facts(repo: Repository, record: Record, base_commit: str, tip: str) -> Facts:
    return facts.gather(
        repo, record.branch, record.base, base_commit, start=record.start, remote_tip=tip, ours=record.pushed
    )


def _describe(repo: Repository, record: Record, task: Task, seen: Facts) -> Submitted:
    return Submitted(
        task_id=record.task_id,
        branch=record.branch,
        commit=seen.commit,
        base=record.base,
        base_commit=seen.base_commit,
        title=prose.title(task),
        risk=risk.tier(seen.changes, repo.settings.risk),
        merge=prose.merge_line(repo.main, record.branch),
        left_out=seen.dirty + seen.untracked,
    )


def _push(repo: Repository, record: Record, done: Submitted, tip: str) -> Submitted:
    if tip == done.commit:
        return done
    forced = bool(tip) and not repo.says("merge-base", "--is-ancestor", tip, done.commit)
    remote.push(
        repo,
        repo.top,
        record.remote,
        record.branch,
        done.commit,
        base_seen=done.base_commit,
        hooks=worktrees.hooks_folder(repo),
        lease=tip if forced else "",
    )
    return replace(done, pushed=True, forced=forced)


def _offer(
    repo: Repository, record: Record, task: Task, done: Submitted, seen: Facts, report: Report, draft: bool | None
) -> Submitted:
    try:
        forge, why = choose(repo, record.remote)
        if forge is None:
            return replace(done, request=_request(repo, record, done), remarks=(why,) if why else ())
        return _ask(forge, repo, record, task, done, seen, report, draft)
    except FlowError as error:
        text = f"{record.branch} is pushed, but its pull request is not up to date: {error}"
        raise type(error)(f"{text}; then `agentcom-git submit` again") from None


def _ask(
    forge: Forge,
    repo: Repository,
    record: Record,
    task: Task,
    done: Submitted,
    seen: Facts,
    report: Report,
    draft: bool | None,
) -> Submitted:
    """Open the pull request, or bring it up to date."""
    subjects = facts.subjects(repo, done.base_commit, done.commit)
    body = prose.body(
        *(task, record.agent, record.base, done.base_commit, seen.changes, done.risk, report, subjects, done.left_out)
    )
    wanted = Wanted(
        title=done.title,
        body=body,
        branch=record.branch,
        base=record.base,
        labels=prose.labels(record.agent, task.priority, done.risk),
        outdated=prose.outdated_labels(task.priority, done.risk),
        reviewers=repo.settings.reviewers,
        draft=repo.settings.draft if draft is None else draft,
    )
    found = forge.find(record.branch, done.commit)
    created = found is None
    if found is None:
        found = forge.open(wanted)
    elif found.state == "open":
        title = wanted.title if found.title == record.pr_title else found.title
        found = forge.update(found, replace(wanted, title=title, body=prose.merged(found.body, body)))
    records.write(repo, replace(record, pr_title=done.title, pr_url=found.url))
    remarks = forge.mark(found, wanted) if found.state == "open" else ("it is merged already",)
    return replace(done, pull_request=found, created=created, remarks=remarks)


def _request(repo: Repository, record: Record, done: Submitted) -> str:
    """Return the text with which somebody is asked to pull, as git writes it."""
    try:
        text = repo.git("request-pull", done.base_commit, record.remote, f"refs/heads/{record.branch}")
    except GitError:  # git was installed without it
        text = f"Please pull {record.branch} from {repo.urls.get(record.remote, record.remote)} ({done.commit})\n"
    return shown(text)

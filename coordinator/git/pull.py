"""Bring the trail into the branch that people write: one fast-forward of their work tree, as the person, or nothing.

This module decides when that would get in the way of what the person is doing, or of what they share with others, and
then refuses before anything is touched. Only git itself changes anything here, and it does so only when no edit is
lost. It never merges: a state branch that does not hold the source's last commit yet is waited for, not joined.

    CannotPull                  nothing was changed; the text says what to do
      +-- NotObserved           the hub has not observed the last commit: try again when it has
"""

import time
from dataclasses import dataclass

from coordinator.git.remotes import hub_remote
from coordinator.git.repo import STATE_REF, Repo, is_ancestor, read_ref
from coordinator.git.run import GitError, git, git_as_person
from coordinator.git.worktree import head_of, under_way

#: A message in an editor holds a pull off for so long, in seconds: afterwards it was left lying there.
MESSAGE_WITHIN_S = 600.0
_SHORT = 7


class CannotPull(Exception):
    """The branch was not moved and nothing was changed."""


class NotObserved(CannotPull):
    """The state branch does not hold the source's last commit yet."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """From which commit to which one the branch went; the same twice, and no commits, when there was nothing to do."""

    before: str
    after: str
    commits: int = 0


def pull(repo: Repo, source_ref: str) -> Pulled:
    """Fast-forward the source, which must be checked out, to the state branch.

    ``source_ref`` is a full ref. Raises CannotPull, with everything as it was; GitError when git itself is broken.
    """
    before, state = _check(repo, source_ref)
    if before == state:
        return Pulled(before, before)
    branch = source_ref.removeprefix("refs/heads/")
    how = ("--ff-only", "--no-squash", "--no-autostash", "--no-verify-signatures", "--no-overwrite-ignore")
    assert repo.work_tree is not None  # noqa: S101 - checked above, for mypy
    try:
        git_as_person("-c", f"branch.{branch}.mergeOptions=", "merge", "-q", *how, "agentcom/state", cwd=repo.work_tree)
    except GitError as error:
        raise CannotPull(f"nothing was pulled; git says: {error.stderr or error}") from error
    _, after = head_of(repo)
    after = after or before
    count = git("rev-list", "--count", f"{before}..{after}", git_dir=repo.git_dir)
    return Pulled(before, after, int(count))


def pull_quietly(repo: Repo, source_ref: str, *, but_message: int | None = None) -> Pulled | str:
    """Pull without having been asked to: return why not instead of failing, and keep off while a commit is written.

    ``but_message`` is a message that is known not to be in an editor, as ``open_message`` named it.
    """
    if open_message(repo) not in (None, but_message):
        return "a commit message is being written"
    try:
        return pull(repo, source_ref)
    except (CannotPull, GitError, OSError) as error:
        return str(error)


def _check(repo: Repo, source_ref: str) -> tuple[str, str]:
    """Return the tips of source and state, or raise the CannotPull that says what is in the way."""
    if repo.work_tree is None:
        raise CannotPull(f"{repo.common_dir} has no work tree: run this in a clone of it")
    if not source_ref.startswith("refs/heads/"):
        name = source_ref.removeprefix("refs/remotes/").partition("/")[0]
        raise CannotPull(f"the hub works with a remote: the trail is {_trail(repo, name)}")
    branch = source_ref.removeprefix("refs/heads/")
    busy = under_way(repo)
    if busy is not None:
        what, name = busy
        raise CannotPull(f"{what} is under way in {repo.work_tree} ({name} exists): finish or abort it, then try again")
    head, before = head_of(repo)
    if head != source_ref:
        now = "no branch is checked out" if head is None else f"{head.removeprefix('refs/heads/')} is checked out"
        raise CannotPull(f"{now}, but AgentCom reads {branch}: run `git switch {branch}` and try again")
    hubs = hub_remote(repo)
    if hubs is not None:
        raise CannotPull(f"the hub works with a remote: the trail is {_trail(repo, hubs)}")
    remote = _upstream_remote(repo, branch)
    if remote is not None:
        raise CannotPull(
            f"{branch} follows a branch of {remote}, and what the hub writes would be pushed with it: "
            f"the trail is {_trail(repo, remote)}"
        )
    if read_ref(repo, "refs/tags/agentcom/state") is not None:
        raise CannotPull(
            "a tag is named agentcom/state, and git would take it for the branch: `git tag -d agentcom/state`"
        )
    state = read_ref(repo, STATE_REF)
    if state is None:
        raise CannotPull("there is no agentcom/state yet: start a hub with `agentcom hub`")
    if before is None or not is_ancestor(repo, before, state):
        raise NotObserved(f"the hub has not observed {before[:_SHORT] if before else 'any commit'} yet")
    return before, state


def _upstream_remote(repo: Repo, branch: str) -> str | None:
    """Return the remote whose branch this one follows; a branch that follows a local one is nobody else's business."""
    remote, merge = (
        git("config", "--get", f"branch.{branch}.{key}", git_dir=repo.git_dir, check=False).decode("utf-8", "replace")
        for key in ("remote", "merge")
    )
    return remote.strip() if merge.strip() and remote.strip() not in ("", ".") else None


def _trail(repo: Repo, remote: str) -> str:
    """Return the command that shows the trail: the remote's branch, or the local one as long as it is not there."""
    there = read_ref(repo, f"refs/remotes/{remote}/agentcom/state") is not None
    return f"`git log {f'{remote}/' if there or read_ref(repo, STATE_REF) is None else ''}agentcom/state`"


def open_message(repo: Repo) -> int | None:
    """Return when (ns) the message was written that an editor probably holds for a commit not made yet, else None."""
    try:
        written = (repo.git_dir / "COMMIT_EDITMSG").stat()
    except OSError:
        return None
    try:
        committed = (repo.git_dir / "logs" / "HEAD").stat().st_mtime
    except OSError:
        committed = 0.0
    is_open = written.st_mtime > committed and abs(time.time() - written.st_mtime) < MESSAGE_WITHIN_S
    return written.st_mtime_ns if is_open else None

"""What is said to a remote: which commits its branches name, the one ref that is fetched, the one that is pushed.

Nothing but the named refs is ever asked for or moved. Another command of this clone may fetch in the same moment; that
is no error.
"""

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator.git.address import shown
from coordinator.git.run import GitError, git
from sidecar.gitflow import worktrees
from sidecar.gitflow.hooktext import BASE_SEEN, LEASE
from sidecar.gitflow.repository import ANSWER_S, NETWORK, TRANSFER_S, Repository, remote_error, words
from sidecar.gitflow.values import FlowError, Misconfigured, NotAllowed, Refusal, Refused

#: How often a ref that another command holds is tried again, and the longest pause between, in seconds.
TRIES = 6
PAUSE_S = 0.2

#: What another command of this clone does to a fetch: it moves the same ref, or is just making a work tree, whose HEAD
#: is no commit yet (git-fetch(1) checks what it got against every HEAD).
_HELD = re.compile(r"cannot lock ref|unable to update local ref|File exists|incorrect old value")
_IN_THE_MAKING = re.compile(r"bad object worktrees/")
#: git's words at --recurse-submodules=check, and the paths under them.
_SUBMODULES = re.compile(r"not be\s+found on any remote:\n((?:[ \t]+\S.*\n?)+)")
_ROW = re.compile(r"^!\t[^\t]*\t\[(remote rejected|rejected)\] \((.*)\)$", re.MULTILINE)
_REMOTE_WORDS = re.compile(r"^remote: ?(.*?)\s*$", re.MULTILINE)
#: A hook's words must mean to it what they mean to everybody, so patterns are patterns.
_FOR_HOOKS = {"GIT_LITERAL_PATHSPECS": "0"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a remote has now: ``commits`` by branch."""

    base: str
    commits: Mapping[str, str]

    @property
    def base_commit(self) -> str:
        return self.commits[self.base]


def look(repo: Repository, remote: str, base: str, patterns: Sequence[str] = ()) -> Seen:
    """Ask a remote for its base ("" is what its HEAD names) and for branches; ``patterns`` are git's.

    Raises Unreachable, NotAllowed, Misconfigured.
    """
    wanted = [f"refs/heads/{base}"] if base else ["HEAD", "refs/heads/*"]
    argv = ("ls-remote", "--symref", "--end-of-options", remote, *wanted, *(f"refs/heads/{name}" for name in patterns))
    try:
        out = repo.git(*argv, timeout=ANSWER_S)
    except GitError as error:
        raise remote_error(error, f"{remote} was not asked for its branches") from None
    commits: dict[str, str] = {}
    for line in out.splitlines():
        left, _, ref = line.partition("\t")
        if left.startswith("ref: ") and ref == "HEAD":
            base = base or left.removeprefix("ref: refs/heads/")
        elif ref.startswith("refs/heads/"):
            commits[ref.removeprefix("refs/heads/")] = left
    if not base:
        raise Misconfigured(
            f"{remote} names no default branch: say which is the base: `git config agentcom-git.base main`"
        )
    if base not in commits:
        raise Misconfigured(
            f"{remote} has no branch {base}, which is the base: push it, or name another one: "
            f"`git config agentcom-git.base NAME`, or base: in the task"
        )
    return Seen(base, commits)


def tracking(remote: str, branch: str) -> str:
    """Return the ref that says what a remote's branch was when it was fetched last."""
    return f"refs/remotes/{remote}/{branch}"


def fetch(repo: Repository, remote: str, seen: Seen, *branches: str) -> dict[str, str]:
    """Fetch exactly these branches; return their commits. Raises Unreachable, NotAllowed, FlowError."""
    names = list(dict.fromkeys(branches))
    argv = (
        *("fetch", "--quiet", "--no-tags", "--no-prune", "--no-write-fetch-head", "--no-recurse-submodules"),
        *("--no-auto-maintenance", "--refmap=", "--end-of-options", remote),
        *(f"+refs/heads/{name}:{tracking(remote, name)}" for name in names),
    )
    have = _fetched(repo, remote, names)
    if all(have[name] == seen.commits[name] for name in names):
        return have
    for left in reversed(range(TRIES)):
        try:
            repo.git(*argv, timeout=TRANSFER_S)
            break
        except GitError as error:
            in_the_making = _IN_THE_MAKING.search(error.stderr)
            if in_the_making:
                worktrees.forget_unborn(repo)
            elif not _HELD.search(error.stderr):
                raise remote_error(error, f"{', '.join(names)} was not fetched from {remote}") from None
            have = _fetched(repo, remote, names)
            if all(_contains(repo, have[name], seen.commits[name]) for name in names):
                break  # another command has fetched the same
            if not left:
                why = "a work tree is being made" if in_the_making else "refs are locked"
                raise FlowError(f"{', '.join(names)} cannot be fetched, {why}: {words(error)}; try again") from None
            import random

            time.sleep(PAUSE_S * random.random())  # noqa: S311 - two commands shall not meet again
    return _fetched(repo, remote, names)


def _fetched(repo: Repository, remote: str, names: Sequence[str]) -> dict[str, str]:
    tips = repo.tips(*(tracking(remote, name) for name in names))
    return {name: tips[tracking(remote, name)] for name in names}


def push(
    repo: Repository, top: Path, remote: str, branch: str, commit: str, *, base_seen: str, hooks: Path, lease: str = ""
) -> None:
    """Push one commit to one branch; ``lease`` is what the remote must still have there, to be replaced.

    ``top`` is the work tree, whose hooks run. Raises Refused, NotAllowed, Unreachable.
    """
    argv = ["push", "--porcelain", "--no-follow-tags"]
    if (top / ".gitmodules").exists():
        argv.append("--recurse-submodules=check")
    if lease:
        argv.append(f"--force-with-lease=refs/heads/{branch}:{lease}")
    argv += ["--end-of-options", remote, f"{commit}:refs/heads/{branch}"]
    try:
        git(
            *argv,
            cwd=top,
            timeout=TRANSFER_S,
            config=(f"core.hooksPath={hooks}",),
            env={**NETWORK, **_FOR_HOOKS, BASE_SEEN: base_seen, LEASE: lease},
        )
    except GitError as error:
        raise _not_pushed(error, remote, branch) from None


def delete(repo: Repository, remote: str, branch: str, commit: str) -> None:
    """Delete a branch on a remote, if it is still at ``commit`` there. Raises FlowError."""
    argv = ("push", "--porcelain", f"--force-with-lease=refs/heads/{branch}:{commit}", "--end-of-options", remote)
    try:
        repo.git(*argv, f":refs/heads/{branch}", at=repo.common_dir, timeout=TRANSFER_S)
    except GitError as error:
        if "remote ref does not exist" in error.stderr or "stale info" in error.stdout.decode("utf-8", "replace"):
            return  # it was deleted there, or holds more than what was merged
        raise remote_error(error, f"{branch} was not deleted on {remote}") from None


def _not_pushed(error: GitError, remote: str, branch: str) -> FlowError:
    row = _ROW.search(error.stdout.decode("utf-8", "replace"))
    if row is None:
        if (unpushed := _SUBMODULES.search(error.stderr)) is not None:
            paths = unpushed[1].split("\n")
            push_them = ", ".join(f"`git -C {shlex.quote(path.strip())} push`" for path in paths if path.strip())
            text = (
                f"{branch} was not pushed: it needs commits of a submodule that no remote of it has: push those first "
                f"({push_them}), then submit again"
            )
            return Refused((Refusal("submodule_unpushed", text),))
        if "failed to push some refs" in error.stderr:
            text = f"{branch} was not pushed: the pre-push hook refused: {words(error)}; mend that, then submit again"
            return Refused((Refusal("hook", text),))
        return remote_error(error, f"{branch} was not pushed")
    if row[1] == "remote rejected":
        said = [line for line in _REMOTE_WORDS.findall(error.stderr) if line.strip()]
        reason = shown("; ".join([*said, row[2]]))
        return NotAllowed(
            f"{branch} was not pushed: {remote} refuses it: {reason}; your commits are safe here, ask somebody with "
            f"rights there, then submit again"
        )
    text = f"{branch} was not pushed: it moved on {remote} in this moment ({row[2]}): `agentcom-git submit` again"
    return Refused((Refusal("moved_meanwhile", text),))


def _contains(repo: Repository, tip: str, commit: str) -> bool:
    """Tell whether a commit is here and part of ``tip``; what is not here is not."""
    if not tip or tip == commit:
        return bool(tip)
    try:
        return repo.says("merge-base", "--is-ancestor", commit, tip)
    except GitError:
        return False

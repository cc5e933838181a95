"""What it means that the state branch is not where its hub left it: a slip of a person, or another hub.

A pure judgement over facts that ``examine`` gathers. Slips never stop a hub: what they made stays in history, and the
hub's own line goes on. Another hub with the same or a higher epoch does (DESIGN 1, "Slips and second hubs").
"""

import re
from dataclasses import dataclass

from coordinator.git.message import EPOCH, HUB_EMAIL, clean_email, clean_name, parse_trailers, trailer
from coordinator.git.objects import CommitObject, read_commits
from coordinator.git.repo import Repo, is_ancestor
from coordinator.git.run import GitError, git
from coordinator.ports import Conflict, Slip

#: What tells ``git log`` to look at commits of a hub only.
BY_HUB = (
    "--first-parent",
    "-E",
    f"--committer=<{re.escape(HUB_EMAIL)}>",
    f"--grep=^{EPOCH}: [0-9]+/",
    "--all-match",
)

_EPOCH = re.compile(r"(\d{1,9})/(h-[0-9a-z]{1,32})")


@dataclass(frozen=True, slots=True)
class Epoch:
    """Which hub wrote a commit, and in which of its starts: ``3/h-7c2qk9wd``."""

    number: int
    hub_id: str

    @classmethod
    def of(cls, commit: CommitObject) -> "Epoch | None":
        """Return the epoch that a commit of a hub names, None when it is not a hub's."""
        match = _EPOCH.fullmatch(trailer(commit.message, EPOCH) or "")
        return cls(int(match[1]), match[2]) if match and is_hub_commit(commit) else None

    def __str__(self) -> str:
        return f"{self.number}/{self.hub_id}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What stands on the ref instead of the hub's own last commit.

    ``tip`` is None when the ref is gone. ``commit`` is None when it, or anything that it needs, cannot be read.
    ``behind``: it is an ancestor of the own line. ``hub`` is the last commit by a hub on its first parents that the own
    line does not have, None when there is none; ``epoch`` is that one's; ``follows``: it goes on from the own line.
    """

    tip: str | None
    commit: CommitObject | None = None
    behind: bool = False
    hub: str | None = None
    epoch: Epoch | None = None
    follows: bool = False


def judge(name: str, own: Epoch | None, seen: Seen) -> Slip | Conflict:
    """Return what a branch ``name`` that stands at ``seen`` means to a hub whose last commit has the epoch ``own``."""
    if seen.tip is None:
        return Slip(None, text="was deleted")
    if seen.commit is None:
        return Slip(seen.tip, text=f"was moved to {seen.tip[:12]}, which is not whole")
    if seen.behind:
        return Slip(seen.tip, text=f"was set back to {seen.tip[:12]}")
    if seen.hub is not None and (own is None or seen.epoch is None or seen.epoch.number >= own.number):
        return Conflict(
            f"{name} was moved to {seen.tip[:12]} by another hub (epoch {seen.epoch}): stop one of the two; "
            f"to go on with this one, stop that one and run `agentcom hub --take-over`"
        )
    who = clean_name(seen.commit.author.name, "unknown")
    text = f"got commit {seen.tip[:12]} of {who} <{clean_email(seen.commit.author.email)}>, who is no hub"
    if seen.hub is not None:
        text = f"got commit {seen.tip[:12]} of an earlier hub (epoch {seen.epoch})"
    return Slip(seen.tip, seen.tip, text, who)


def examine(repo: Repo, own: str, now: str | None) -> Seen:
    """Gather what ``judge`` must know about the commit ``now``, for a hub whose last commit is ``own``.

    Raises GitError when ``own`` cannot be read.
    """
    if now is None:
        return Seen(None)
    try:
        (commit,) = read_commits(repo.common_dir, [now])
        git("rev-list", "--objects", "--no-object-names", now, "--not", own, git_dir=repo.common_dir)
        if is_ancestor(repo, now, own):
            return Seen(now, commit, behind=True)
    except GitError:
        read_commits(repo.common_dir, [own])
        return Seen(now)
    hub = last_of_a_hub(repo, now)
    if hub is None or is_ancestor(repo, hub, own):
        return Seen(now, commit)
    (theirs,) = read_commits(repo.common_dir, [hub])
    return Seen(now, commit, hub=hub, epoch=Epoch.of(theirs), follows=is_ancestor(repo, own, hub))


def last_of_a_hub(repo: Repo, tip: str) -> str | None:
    """Return the last commit by a hub on the first parents of ``tip``, None when there is none. Raises GitError."""
    return git("log", "-1", *BY_HUB, "--format=%H", tip, git_dir=repo.common_dir).decode().strip() or None


def epoch_at(repo: Repo, commit: str) -> Epoch | None:
    """Return the epoch that a commit names, None when it is not a hub's. Raises GitError."""
    return Epoch.of(*read_commits(repo.common_dir, [commit]))


def is_hub_commit(commit: CommitObject) -> bool:
    """Tell whether a hub wrote this commit: committed by the hub, with an epoch (DECISIONS, slips)."""
    return commit.committer.email == HUB_EMAIL and EPOCH in parse_trailers(commit.message)

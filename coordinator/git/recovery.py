"""Where the hub's own line ends, whatever became of the branch while no hub ran; for a start under the hub's lock.

This module decides which commit a hub goes on from. What it wrote last wins over what stands on the ref; another hub
that has claimed the branch since wins over both, and is only followed when asked. A commit that is not whole gives way
to the newest whole one of: what the reflog names, what a remote had, ``refs/agentcom/backup``. It moves no ref but
``agentcom/lost/...``; the next flush puts the branch where it belongs.
"""

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from coordinator.git.branch import StateBranch
from coordinator.git.message import SOURCE, clean_name, trailer
from coordinator.git.objects import CommitObject, read_commits, read_headers, read_objects
from coordinator.git.repo import STATE_REF, Repo, read_ref
from coordinator.git.run import GitError, git
from coordinator.git.slips import epoch_at, examine, is_hub_commit, judge, last_of_a_hub
from coordinator.place import STATE_TIP
from coordinator.ports import Conflict, Fatal, Slip

_log = logging.getLogger("agentcom.hub")

#: The last tip that passed fsck, kept by housekeeping.
BACKUP_REF = "refs/agentcom/backup"
#: Where the line of a hub goes that another one took over from, below ``refs/heads/``.
LOST = "agentcom/lost"

#: So many of the last commits are read whole before a hub goes on from them.
CHECKED = 50
#: Of their objects those up to this size, in bytes, and so many, are read whole; of the others only that they exist.
SMALL, READ_WHOLE = 1 << 16, 5_000
#: So many entries of the reflog are tried when the last commit is not whole.
TRIED = 50

_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class Found:
    """The commit to go on from; ``slip`` and ``rescued`` as in ``coordinator.ports.Fold``."""

    tip: str | None
    slip: Slip | None = None
    rescued: str = ""


class Record:
    """What this clone's hub wrote last, beside the branch: ``<common git dir>/agentcom/state-tip``.

    It is a hint for the next start, not fsynced: where it is lost, the ref alone counts.
    """

    def __init__(self, repo: Repo) -> None:
        self.path = repo.agentcom_dir / STATE_TIP

    def write(self, tip: str) -> None:
        """Note the last commit; a disk that refuses is no matter."""
        with contextlib.suppress(OSError):
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.pwrite(handle, f"{tip}\n".encode(), 0)
            finally:
                os.close(handle)

    def read(self) -> str | None:
        """Return what was noted, None when there is nothing that looks like it."""
        try:
            said = self.path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        return said if _OID.fullmatch(said) else None


def last_known(repo: Repo, ref: str = STATE_REF) -> CommitObject | None:
    """Return the last commit by a hub that can be found without looking far, None when there is none.

    Good enough to learn what a hub settled once; ``find`` is for going on from it. Where what the branch names is
    missing, that is read from what it may be restored from. Raises GitError when the repository cannot be read.
    """
    names: list[str | None] = []
    with contextlib.suppress(GitError):  # a broken ref is for the next hub to set aside
        names.append(read_ref(repo, ref))
    if ref == STATE_REF:
        names.append(Record(repo).read())
    for name in filter(None, names):
        with contextlib.suppress(GitError):
            (commit,) = read_commits(repo.common_dir, [name])
            if is_hub_commit(commit):
                return commit
    for name in filter(None, names):
        with contextlib.suppress(GitError):
            hub = last_of_a_hub(repo, name)
            if hub is not None:
                return read_commits(repo.common_dir, [hub])[0]
    spare = read_commits(repo.common_dir, _candidates(repo, ref)) if ref == STATE_REF and names else ()
    return next(filter(is_hub_commit, spare), None)


def find(branch: StateBranch, check: Callable[[str], object], hub_id: str, *, take_over: bool = False) -> Found:
    """Return where to go on. ``check`` reads the branch at a commit, or raises GitError or Fatal.

    Raises Conflict when another hub has claimed the branch since ``hub_id`` wrote it, unless ``take_over``; and when no
    hub ever wrote to it. Raises Fatal when nothing whole is left.
    """
    now, broken = _ref(branch)
    found = _line(branch, now, hub_id, take_over=take_over)
    if broken and found.slip is not None:
        found = replace(found, slip=replace(found.slip, text=broken))
    if found.tip is None and now is None and not _names(branch.repo, branch.ref):
        return found
    wrong = "it is gone" if found.tip is None else _wrong(branch, found.tip, check)
    if not wrong:
        return found
    for candidate in _candidates(branch.repo, branch.ref):
        if candidate != found.tip and not _wrong(branch, candidate, check):
            named = now[:12] if now is not None else "its last commit"
            text = f"was restored to {candidate[:12]}, because {named} is not whole: {wrong}"
            return Found(candidate, None if now == candidate else Slip(now, text=text), text)
    raise Fatal(
        f"{branch.name} cannot be read: {wrong}; its reflog, the remotes and {BACKUP_REF} name no whole commit of a "
        f"hub: restore this repository from a copy; to begin a new trail, where all tasks start anew, delete the "
        f"branch, {BACKUP_REF} and {Record(branch.repo).path}"
    )


def _ref(branch: StateBranch) -> tuple[str | None, str]:
    """Return what the ref names, and in words what was wrong with it.

    A ref that holds garbage, or names nothing, is set aside: nobody can read it, and git complains for ever after.
    """
    wrong = ""
    try:
        now = read_ref(branch.repo, branch.ref)
        if now is None or read_objects(branch.repo.common_dir, [now])[0] is not None:
            return now, wrong
        wrong = f"named {now[:12]}, which is not there"
    except GitError as error:
        wrong = f"was broken: {error.stderr}"
    loose = branch.repo.common_dir / branch.ref
    if loose.is_file():
        aside = branch.repo.agentcom_dir / "broken-state-ref"
        loose.replace(aside)
        _log.error("%s %s; the ref was moved to %s", branch.name, wrong, aside)
    else:
        branch.git("update-ref", "--no-deref", "-d", branch.ref)
    return read_ref(branch.repo, branch.ref), wrong


def _line(branch: StateBranch, now: str | None, hub_id: str, *, take_over: bool) -> Found:
    """Return where the hub's line ends, not yet knowing whether that is whole."""
    own = Record(branch.repo).read()
    if own is None or own == now:
        return _followed(branch, now)
    try:
        epoch = epoch_at(branch.repo, own)
        seen = examine(branch.repo, own, now)
    except GitError:
        return _followed(branch, now)
    mine = epoch is not None and epoch.hub_id == hub_id
    verdict = judge(branch.name, epoch, seen)
    if isinstance(verdict, Slip):
        return Found(own, replace(verdict, text=f"{verdict.text} (while no hub was running)"))
    if seen.follows and (take_over or not mine or (seen.epoch is not None and seen.epoch.hub_id == hub_id)):
        return _followed(branch, now)
    if mine and not take_over:
        raise verdict
    if not seen.follows:
        keep_lost(branch, own, epoch.hub_id if epoch is not None else hub_id)
    return _followed(branch, now)


def _followed(branch: StateBranch, now: str | None) -> Found:
    """Return the last commit by a hub on the ref; what stands on top of it is a slip. Raises Conflict without one."""
    if now is None:
        return Found(None)
    try:
        (commit,) = read_commits(branch.repo.common_dir, [now])
        if is_hub_commit(commit):
            return Found(now)
        hub = last_of_a_hub(branch.repo, now)
    except GitError:
        return Found(now)  # found wanting when it is read
    if hub is None:
        raise no_hubs(branch, commit)
    verdict = judge(branch.name, epoch_at(branch.repo, hub), examine(branch.repo, hub, now))
    return Found(hub, verdict if isinstance(verdict, Slip) else None)


def no_hubs(branch: StateBranch, commit: CommitObject) -> Conflict:
    """Return what is said about a branch that bears the hub's name and no commit of a hub."""
    who = clean_name(commit.author.name, "unknown")
    return Conflict(
        f"{branch.name}: commit {commit.oid[:12]} by {who} is not a hub's, and no hub ever wrote to this branch: "
        f"give it another name, then start the hub again"
    )


def keep_lost(branch: StateBranch, tip: str, hub_id: str) -> str:
    """Let a branch below ``agentcom/lost/`` name a line that is given up; return its name. Raises GitError."""
    taken = (f"{LOST}/{hub_id}{f'-{number}' if number else ''}" for number in range(1_000))
    for name in taken:
        there = read_ref(branch.repo, f"refs/heads/{name}")
        if there == tip:
            return name
        if there is None:
            branch.git("update-ref", "-m", "agentcom: lost", f"refs/heads/{name}", tip, "0" * len(tip))
            _log.error("the commits of hub %s that are not part of %s are kept on %s", hub_id, branch.name, name)
            return name
    raise GitError(("update-ref",), None, f"there are too many branches {LOST}/{hub_id}")


def _wrong(branch: StateBranch, tip: str, check: Callable[[str], object]) -> str:
    """Return what keeps a hub from going on from ``tip``, empty when it is whole."""
    try:
        (commit,) = read_commits(branch.repo.common_dir, [tip])
        if not is_hub_commit(commit):
            return f"{tip[:12]} is not a hub's"
        check(tip)
        recent = branch.git("rev-list", "--first-parent", f"-n{CHECKED + 1}", tip).decode().split()
        known = [*recent[CHECKED:], *_sources(branch, recent[:CHECKED])]
        new = branch.git("rev-list", "--objects", "--no-object-names", tip, *(("--not", *known) if known else ()))
        oids = new.decode().split()
        heads = dict(zip(oids, read_headers(branch.repo.common_dir, oids), strict=True))
        small = [oid for oid, head in heads.items() if head is not None and head[2] <= SMALL][:READ_WHOLE]
        whole = dict(zip(small, read_objects(branch.repo.common_dir, small), strict=True))
        missing = [oid for oid in oids if heads[oid] is None or (oid in whole and whole[oid] is None)]
        return f"object {missing[0]} is missing" if missing else ""
    except (GitError, Fatal) as error:
        return " ".join((getattr(error, "stderr", "") or str(error)).split())


def _sources(branch: StateBranch, commits: Sequence[str]) -> list[str]:
    """Return the people's commits that these observed: theirs to keep whole, and read by whoever needs them."""
    named = (trailer(c.message, SOURCE) for c in read_commits(branch.repo.common_dir, commits))
    return list(dict.fromkeys(oid for oid in named if oid is not None))


def _candidates(repo: Repo, ref: str) -> list[str]:
    """Return what may be gone on from, the newest first, by the time of the commits."""
    names = _names(repo, ref)
    found = read_objects(repo.common_dir, names) if names else []
    there = [name for name, item in zip(names, found, strict=True) if item is not None and item.type == "commit"]
    times = {c.oid: c.committer.time_ms for c in read_commits(repo.common_dir, there)}
    return sorted(there, key=lambda oid: times[oid], reverse=True)  # stable: of one second, the reflog's order


def _names(repo: Repo, ref: str) -> list[str]:
    own = Record(repo).read()
    how = ("--format=%(objectname)", "--sort=-refname")  # of one second, a remote's before the backup
    refs = git("for-each-ref", *how, "refs/remotes/*/agentcom/state", BACKUP_REF, git_dir=repo.common_dir)
    return list(dict.fromkeys((*([own] if own else []), *_reflog(repo, ref), *refs.decode().split())))


def _reflog(repo: Repo, ref: str) -> Iterable[str]:
    """Return what the ref named last, the newest first, from a log that may be damaged."""
    try:
        lines = (repo.common_dir / "logs" / ref).read_bytes()[-TRIED * 400 :].splitlines()
    except OSError:
        return []
    news = (line.split(b" ", 2)[1].decode("ascii", "replace") for line in reversed(lines) if line.count(b" ") >= 2)
    return [oid for oid in news if _OID.fullmatch(oid)][:TRIED]

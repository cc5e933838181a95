"""How a hub begins where it has a remote: which one that is, what stands there, and whose trail is gone on with.

A hub that is new to the remote pushes its claim before anybody is served; the one that claimed last serves at once,
whether the remote answers or not. Where another hub has claimed since, only ``--take-over`` goes on.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from coordinator.core.timers import Now
from coordinator.git.branch import StateBranch
from coordinator.git.durable import fsync
from coordinator.git.journal import last_observed
from coordinator.git.lock import HubLock, RepositoryLocked
from coordinator.git.parts import Layout
from coordinator.git.recovery import Record, keep_lost
from coordinator.git.remote import NETWORK_TIMEOUT_S, GitRemote, count_unpushed
from coordinator.git.remotes import NONE, CannotUseRemote, choose, clone, hub_remote, url_of
from coordinator.git.repo import STATE_REF, NoRepository, Repo, find_repo, is_ancestor, read_ref, tracking_ref
from coordinator.git.run import GitError, git
from coordinator.git.slips import epoch_at, examine, judge, last_of_a_hub
from coordinator.ground import Ground, survey
from coordinator.place import Place
from coordinator.ports import Answer, Conflict, End, Slip
from coordinator.syncing import Sync, source_answered
from coordinator.trail import CannotStart

_log = logging.getLogger("agentcom.hub")

#: How long a hub that may serve at once waits for its remote before it does, in seconds.
FIRST_WORDS_S = 3.0
#: So often a claim that came too late is made anew, on what was there instead.
CLAIMS = 5


@dataclass(frozen=True, slots=True)
class Arrival:
    """The first words with a remote: what became of asking for its two branches, and what was known of it before."""

    remote: GitRemote
    url: str
    state: Answer
    source: Answer
    before: str | None

    @property
    def name(self) -> str:
        return self.remote.name

    @property
    def away(self) -> bool:
        return self.state.end is End.AWAY


def settle(directory: Path, wanted: str) -> None:
    """Give the hub the remote that was asked for, by name or address; clone it where ``directory`` is not there yet.

    Raises CannotStart, also while a hub runs there, and then nothing was changed.
    """
    try:
        try:
            repo = find_repo(_existing(directory))
        except NoRepository as error:
            if wanted == NONE or (directory.exists() and (not directory.is_dir() or any(directory.iterdir()))):
                raise CannotStart(f"{error}; a folder that is not there yet is cloned into", 66) from None
            clone(wanted, directory)
            repo = find_repo(directory)
        else:
            if not directory.exists():
                top = repo.work_tree or repo.common_dir
                text = f"{directory} does not exist and would lie inside the repository {top}: clone it elsewhere"
                raise CannotStart(text, 66)
        with HubLock(repo):  # a hub that runs keeps the remote that it has
            choose(repo, wanted)
    except RepositoryLocked as error:
        raise CannotStart(str(error), 75) from None
    except CannotUseRemote as error:
        raise CannotStart(str(error), 78 if error.wrong else 1) from None


def _existing(directory: Path) -> Path:
    return next(folder for folder in (directory, *directory.parents) if folder.exists())


def arrive(directory: Path, source: str | None) -> tuple[Ground, Arrival | None]:
    """Find out what this clone is, and what its remote holds if the hub has one. Raises CannotStart."""
    try:
        repo = find_repo(directory)
    except NoRepository as error:
        raise CannotStart(str(error), 66) from None
    name = hub_remote(repo)
    if name is None:
        return survey(directory, source), None
    try:
        url = url_of(repo, name)
    except CannotUseRemote as error:
        raise CannotStart(str(error), 78) from None
    ours = _claimed_last(repo, name, Place(repo.agentcom_dir).hub_id())
    limit = FIRST_WORDS_S if ours else NETWORK_TIMEOUT_S
    first = GitRemote(repo, name, timeout=limit)
    before = first.known_state()
    state = first.fetch_state()
    if state.end is End.AWAY:
        ground = survey(directory, source)
        return ground, Arrival(GitRemote(repo, name, ground.source_ref), url, state, state, before)
    default = None
    if source is not None:
        GitRemote(repo, name, source if source.startswith("refs/") else f"refs/heads/{source}").fetch_source()
    elif first.known_state() is None and read_ref(repo, STATE_REF) is None:
        default = first.default_branch()
    ref = survey(directory, source, default).source_ref
    fetched = GitRemote(repo, name, ref, timeout=limit).fetch_source()
    return survey(directory, source, default), Arrival(GitRemote(repo, name, ref), url, state, fetched, before)


def _claimed_last(repo: Repo, name: str, hub_id: str) -> bool:
    """Tell whether this hub wrote last on the remote's branch, as far as is known here."""
    try:
        theirs = read_ref(repo, tracking_ref(name, STATE_REF))
        last = None if theirs is None else last_of_a_hub(repo, theirs)
        epoch = None if last is None else epoch_at(repo, last)
    except GitError:
        return False
    return epoch is not None and epoch.hub_id == hub_id


def adopt(ground: Ground, arrival: Arrival, hub_id: str, *, take_over: bool = False) -> bool:
    """Let this clone's state branch be where the hub must go on; return whether its claim must be pushed first.

    What the remote holds beyond the own line is judged as if it had been put on the branch here. Raises Conflict when
    another hub has claimed the remote's branch since this one did, unless ``take_over``; CannotStart when nobody can
    tell. Must be called under the hub's lock.
    """
    repo, theirs = ground.repo, arrival.remote.known_state()
    new = not _claimed_last(repo, arrival.name, hub_id)
    try:
        written, own = Record(repo).read(), read_ref(repo, STATE_REF)
        line = written or own
        behind = theirs is None or (line is not None and is_ancestor(repo, theirs, line))
    except GitError as error:
        _log.warning("agentcom/state cannot be read, what is whole of it is looked for: %s", error)
        return new
    if arrival.away:
        if line is None or new:
            why = "know whether there is a trail to go on with" if line is None else "push its claim there first"
            raise CannotStart(
                f"{arrival.name} cannot be reached, and a hub that is new to it must {why}: {arrival.state.words}", 1
            )
        return False
    if theirs is None:
        _refuse_sourceless(ground, arrival)
    if theirs is None and line is not None:
        _refuse_unread(ground, arrival)
    if theirs is None or behind:
        return new
    known = written is not None
    if line is not None and _goes_on(repo, arrival.name, line, theirs, hub_id, take_over=take_over, known=known):
        _pin(repo, line)
    if line == own:
        _put(repo, theirs, own, f"agentcom: as on {arrival.name}")
    return new


def _refuse_sourceless(ground: Ground, arrival: Arrival) -> None:
    """Refuse a first trail beside no source: it would record a guess for good, and be a forge's first branch."""
    if arrival.source.end is End.GONE and _read_last(ground) is None:
        raise CannotStart(
            f"{arrival.name} has no branch {ground.branch}, and nothing was read before: push there what people work "
            f"on first (`git push {arrival.name} {ground.branch}`), or name another branch by --source",
            78,
        )


def _read_last(ground: Ground) -> str | None:
    """Return what was observed last, "" when that cannot be read."""
    try:
        return last_observed(ground.repo)
    except GitError:
        return ""  # what cannot be read is rescued by the hub, or found wanting by it


def _refuse_unread(ground: Ground, arrival: Arrival) -> None:
    """Refuse a first start with a remote that lacks what was read here: tasks would go with the lines that are gone."""
    try:
        read, there = last_observed(ground.repo), read_ref(ground.repo, ground.watched_ref)
        lacks = read is not None and (there is None or not is_ancestor(ground.repo, read, there))
    except GitError:
        return  # what cannot be read is rescued by the hub, or found wanting by it
    if lacks and read is not None:
        raise CannotStart(
            f"{arrival.name} does not have {ground.branch} as it was read here last ({read[:10]}): "
            f"`git push {arrival.name} {ground.branch}` first",
            78,
        )


def _goes_on(repo: Repo, name: str, line: str, theirs: str, hub_id: str, *, take_over: bool, known: bool) -> bool:
    """Tell whether the own line goes on and ``theirs`` is a slip; if not, ``theirs`` is what is gone on with.

    ``known``: a hub of this clone noted the line as its own. Raises Conflict when ``theirs`` is another hub's, that
    this one was not told to take over from.
    """
    if not known and is_ancestor(repo, line, theirs):
        return False  # a person put the branch here
    last = last_of_a_hub(repo, line) or line
    verdict, seen, epoch = judge_there(repo, name, last, theirs), examine(repo, last, theirs), epoch_at(repo, last)
    if isinstance(verdict, Slip):
        return True
    if seen.follows and seen.epoch is not None and seen.epoch.hub_id == hub_id:
        return False
    if not take_over and (not seen.follows or epoch is None or epoch.hub_id == hub_id):
        raise verdict
    if not known:
        keep_lost(_branch(repo), line, hub_id)
    return False


def judge_there(repo: Repo, name: str, own: str, theirs: str) -> Slip | Conflict:
    """Return what the state branch of the remote ``name`` at ``theirs`` means to a hub whose last commit is ``own``.

    Raises GitError when ``own`` cannot be read.
    """
    return judge(f"{name}/agentcom/state", epoch_at(repo, own), examine(repo, own, theirs))


def standing(ground: Ground) -> str | None:
    """Return where the state branch stands here, None when there is none, "" when that cannot be read."""
    try:
        return read_ref(ground.repo, STATE_REF)
    except GitError:
        return ""


def give_way(ground: Ground, arrival: Arrival, base: str | None, claim: str) -> None:
    """Take back a claim that came too late and that nobody was served under: what is there now decides anew.

    ``base`` is what the claim was made on, as ``standing`` gave it. Raises Conflict when another hub has claimed too.
    """
    repo, theirs = ground.repo, arrival.remote.known_state()
    if theirs is None:
        return
    verdict = judge_there(repo, arrival.name, claim, theirs)
    if isinstance(verdict, Conflict):
        raise verdict
    if base is None or (base and is_ancestor(repo, base, theirs)):
        Record(repo).path.unlink(missing_ok=True)
        _put(repo, theirs, claim, f"agentcom: gave way to {arrival.name}")


def beginning(ground: Ground, arrival: Arrival, now: Now) -> tuple[Sync, int]:
    """Return what is known of the remote before a hub starts, and how many commits of a hub it lacks."""
    repo, theirs = ground.repo, arrival.remote.known_state()
    sync = source_answered(Sync(theirs=theirs), arrival.source, now, 0.5)
    if arrival.before is not None and not arrival.away:
        if theirs is None:
            sync = replace(sync, notice="agentcom/state was deleted there while no hub ran", notice_at=now)
        elif theirs != arrival.before and is_ancestor(repo, theirs, arrival.before):
            text = f"agentcom/state was set back to {theirs[:10]} there while no hub ran"
            sync = replace(sync, notice=text, notice_at=now)
    try:
        return sync, count_unpushed(repo, read_ref(repo, STATE_REF), theirs)
    except GitError:
        return sync, 0  # a branch that cannot be read is rescued by the hub, which says so


def _pin(repo: Repo, line: str) -> None:
    """Note the own line for good before the ref leaves it: by this the hub's start tells a slip."""
    record = Record(repo)
    record.write(line)
    fsync([record.path, record.path.parent])


def _put(repo: Repo, new: str, old: str | None, why: str) -> None:
    """Move this clone's state branch, unless somebody else has moved it meanwhile. Raises GitError."""
    git(
        *("update-ref", "--no-deref", "-m", why, STATE_REF, new, old or "0" * len(new)),
        git_dir=repo.common_dir,
        config=("core.fsync=all",),
    )


def _branch(repo: Repo) -> StateBranch:
    return StateBranch(repo, STATE_REF, Layout.of("."))

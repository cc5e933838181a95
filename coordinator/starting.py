"""From a clone to a hub that may serve, and back: what is refused, what is claimed, how hub and remote part.

This module decides in which order a hub and its remote begin and end. It knows nothing of doors, agents or signals.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial

from coordinator import __version__
from coordinator.core.timers import Now
from coordinator.files.observe import Observer
from coordinator.files.readings import nothing
from coordinator.git.journal import GitStore, last_observed
from coordinator.git.lock import HubLock, RepositoryLocked
from coordinator.git.repo import STATE_REF, GitSource, read_ref, tracking_ref
from coordinator.ground import Ground, unclear_root
from coordinator.hub import Hub, Identity
from coordinator.joining import CLAIMS, Arrival, adopt, beginning, give_way, judge_there, standing
from coordinator.ports import Conflict, End, SourceUnreadable
from coordinator.snapshot import Snapshot
from coordinator.snapshot import read as read_snapshot
from coordinator.sync import Syncer
from coordinator.syncing import Sync
from coordinator.trail import CannotStart


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> Now:
        return Now(time.monotonic(), time.time_ns() // 1_000_000)


def refuse_second_trail(ground: Ground) -> None:
    """Refuse to begin a new trail where a remote has one: all of its tasks would be created and run again.

    Raises CannotStart.
    """
    ours = None if ground.remote is None else tracking_ref(ground.remote, STATE_REF)
    if ground.state_ref not in (STATE_REF, ours) and read_ref(ground.repo, STATE_REF) is None:
        name = ground.state_ref.removeprefix("refs/remotes/")
        raise CannotStart(
            f"{name} holds the trail of another hub: `agentcom hub --remote {name.removesuffix('/agentcom/state')}` "
            f"goes on with it and keeps it there; to go on here alone when that hub has stopped, "
            f"`git branch agentcom/state {name}` and start the hub again",
            78,
        )


def refuse_occupied(ground: Ground) -> None:
    """Refuse a source that uses the hub's paths for something else, before the first observation (Git rules).

    Neither may agentcom.yaml be wrong where it names a root: the first hub settles for good which folder that is.
    Raises CannotStart.
    """
    if last_observed(ground.repo, ground.state_ref) is not None:
        return
    source = GitSource(ground.repo, ground.watched_ref, ground.root)
    try:
        tip = source.tip()
        problems = () if tip is None else source.problems(tip, first=True)
        unclear = () if problems or tip is None else unclear_root(ground.repo, tip)
    except SourceUnreadable as error:
        if ground.place.has_written:
            return  # nothing of the branch can be read: the hub restores it, or says that it cannot
        raise CannotStart(f"{ground.branch} cannot be read: {error}", 78) from None
    if problems:
        raise CannotStart("; ".join(problems), 78)
    if unclear:
        wrong = "; ".join(map(str, unclear))
        raise CannotStart(f"{wrong}; correct and commit it: the first hub settles which folder is root", 65)


def make_hub(
    ground: Ground,
    *,
    may_write: Callable[[], bool] = lambda: True,
    take_over: bool = False,
    snapshot: Snapshot | None = None,
) -> Hub:
    """Return a hub over a real repository, not started and without a net; ``may_write`` is asked before each flush.

    What ``snapshot`` knows need not be read again by ``Hub.start``; afterwards it may forget.
    """
    known = snapshot or Snapshot(nothing())
    source = GitSource(ground.repo, ground.watched_ref, ground.root, remote=ground.remote is not None)
    hub = Hub(
        GitStore(ground.repo, ground.root, days=known.days),
        source,
        Observer(source, ground.branch, ground.root, known.readings),
        SystemClock(),
        Identity(
            ground.place.hub_id(),
            ground.source_ref,
            __version__,
            ground.root,
            ground.place.existing_backlog(),
            take_over,
            "" if ground.remote is None else ground.watched_ref,
        ),
        may_write=may_write,
        objections=lambda commit: source.problems(commit, first=hub.observed is None),
        readings=known.readings,
    )
    return hub


async def start(
    ground: Ground,
    arrival: Arrival | None,
    lock: HubLock,
    stack: contextlib.ExitStack,
    *,
    take_over: bool = False,
) -> tuple[Hub, Syncer | None, int]:
    """Return a hub that may serve: started, and where it is new to a remote, its claim pushed.

    With it what keeps its remote in step, and how many files a snapshot could have spared it. A claim that comes too
    late is taken back, and made anew on what is there now. ``stack`` closes both. Raises CannotStart, Conflict.
    """
    refused = ""
    for _ in range(CLAIMS):
        first = arrival is not None and await asyncio.to_thread(
            adopt, ground, arrival, ground.place.hub_id(), take_over=take_over
        )
        base = await asyncio.to_thread(standing, ground)
        snapshot = await asyncio.to_thread(read_snapshot, ground)
        hub = make_hub(ground, may_write=lambda: _keep(lock), take_over=take_over, snapshot=snapshot)
        stack.callback(hub.close)
        begun = None if arrival is None else await asyncio.to_thread(beginning, ground, arrival, hub.now())
        await hub.start()
        behind = snapshot.forget()
        if arrival is None or begun is None or hub.tip is None:
            return hub, None, behind
        syncer = _syncer(hub, ground, arrival, *begun)
        stack.callback(syncer.close, arrival.remote.give_up)
        if not first:
            return hub, syncer, behind
        answer = await syncer.push(hub.tip)
        if answer.end is End.DONE:
            return hub, syncer, behind
        if answer.end is not End.BEHIND:
            raise CannotStart(f"a hub that is new to {arrival.name} serves when its claim is there: {answer.words}", 1)
        await asyncio.to_thread(arrival.remote.fetch_state)
        await asyncio.to_thread(give_way, ground, arrival, base, hub.tip)
        refused = answer.words
    raise CannotStart(f"{ground.remote} takes no claim of this hub, {CLAIMS} times it came too late: {refused}", 1)


async def part(running: "set[asyncio.Task[None]]", syncer: Syncer | None, *, well: bool) -> list[BaseException | None]:
    """End what keeps the remote in step, after a last push if all is ``well``; return what it raised."""
    raised = [task.exception() for task in running if task.done()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    if syncer is not None and well and not raised:
        await syncer.farewell()
    return raised


def _syncer(hub: Hub, ground: Ground, arrival: Arrival, sync: Sync, unpushed: int) -> Syncer:
    """Return what keeps a hub and its remote together."""
    return Syncer(
        hub,
        arrival.remote,
        partial(judge_there, ground.repo, arrival.name),
        name=arrival.name,
        url=arrival.url,
        branch=ground.branch,
        sync=sync,
        unpushed=unpushed,
    )


def _keep(lock: HubLock) -> bool:
    """Tell whether the hub may write. Raises Conflict when another one has taken the repository over."""
    try:
        return lock.keep()
    except RepositoryLocked as error:
        raise Conflict(f"the lock file of this hub was deleted, and {error}") from None

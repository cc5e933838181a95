"""A state branch as a hub would have left it, written through the real store."""

import asyncio
from collections.abc import Iterable

from coordinator.core.backlog import BacklogMap, MapEntry
from coordinator.core.task import Task
from coordinator.files import layout
from coordinator.git.journal import GitStore
from coordinator.git.message import compose
from coordinator.ground import survey
from coordinator.hub import Hub
from coordinator.ports import Author, Commit
from coordinator.projection import Claim, claim_commit
from coordinator.starting import make_hub
from support.repo import Clone

_CLAIM = Claim(1, "h-00000000")


def keep_state(clone: Clone, tasks: Iterable[Task] = (), lines: Iterable[MapEntry] = ()) -> None:
    """Write the first state branch over HEAD: a claim that observed it, then these tasks and lines of BACKLOG.md."""
    store = GitStore(clone.repo)
    store.load()
    hub = {"hub_id": _CLAIM.hub_id, "epoch": _CLAIM.epoch, "source": "refs/heads/main"}
    puts = layout.backlog_change(BacklogMap(tuple(lines)))
    for task in tasks:
        puts |= layout.files_of(task)
    message = compose("note what is", trailers=[("Agentcom-Epoch", str(_CLAIM))])
    author = Author("AgentCom hub", "hub@agentcom.invalid")
    store.flush((claim_commit(_CLAIM, hub, clone.head(), 0, first=True), Commit(message, author, 0, puts)))


def let_a_hub_look(clone: Clone) -> Hub:
    """Let a hub start over a repository, observe it and stop; what it knows can still be asked."""
    hub = make_hub(survey(clone.path))
    asyncio.run(hub.start())
    hub.close()
    return hub

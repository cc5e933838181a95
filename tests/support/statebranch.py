"""A state branch as a hub would write it, without a hub: for tests of what people do beside it."""

from coordinator.git.journal import GitStore
from coordinator.ports import Author, Commit
from support.repo import Clone

HUB = Author("AgentCom hub", "hub@agentcom.invalid")


def hub_writes(clone: Clone, *paths: str, observes: bool = True) -> str:
    """Let a hub write: observe the source (the first time claim the branch), then one commit for each path."""
    store = GitStore(clone.repo)
    first = store.load().tip is None
    source = clone.head("main") if observes else None
    trailers = "\n\nAgentcom-Epoch: 1/h-00000000" + (f"\nAgentcom-Source: {source}" if source else "")
    commits = [Commit(f"observe{trailers}", HUB, 1000, {"status/hub.yaml": b"epoch: 1\n"} if first else {}, (), source)]
    commits += [
        Commit(f"write {path}\n\nAgentcom-Epoch: 1/h-00000000", HUB, 1000, {path: b"status: done\n"}) for path in paths
    ]
    return store.flush(tuple(commits[0 if observes else 1 :]))

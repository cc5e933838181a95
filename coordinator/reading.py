"""What reading commands show: asked of the running hub, else read from the state branch of this clone, and said which.

Both give the same JSON objects (``web.present``), so that a command need not care. Nothing here writes.

    HubUnreachable           a hub was named explicitly and does not answer
    TokenRefused             the hub does not accept the token
"""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coordinator.core.machine import State
from coordinator.core.reconciler import Core
from coordinator.core.scheduler import find_cycles
from coordinator.core.task import Task
from coordinator.core.timers import Now
from coordinator.files.observe import Observer
from coordinator.git import history
from coordinator.git.journal import GitStore
from coordinator.git.objects import read_commits
from coordinator.git.repo import STATE_REF, GitSource
from coordinator.memoir import read_back, rebuild
from coordinator.service import CLOSED_SHOWN, HISTORY_SHOWN, Ground, record_json
from coordinator.web import present

#: How long a command waits for the hub, in seconds.
PATIENCE = 5.0


class HubUnreachable(Exception):
    """A hub was named explicitly and does not answer."""


class TokenRefused(Exception):
    """The hub does not accept the token."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known, and where from: ``as_of`` is a sentence for people, ``live`` whether a hub said it.

    ``summary`` is the object of ``GET /api/status``.
    """

    as_of: str
    live: bool
    summary: Mapping[str, Any]
    tasks: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[Mapping[str, Any], ...] = ()
    hub_url: str | None = None
    commit: str | None = None
    time_ms: int = 0
    agents: tuple[Mapping[str, Any], ...] = field(default_factory=tuple)

    @property
    def origin(self) -> dict[str, Any]:
        """Say in JSON where this comes from."""
        return {"live": self.live, "hub": self.hub_url, "commit": self.commit, "as_of": present.rfc3339(self.time_ms)}


class HubClient:
    """The HTTP side of one hub."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url.rstrip("/")
        self._token = token

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return the JSON of one GET. Raises HubUnreachable, TokenRefused; a 404 gives an empty object."""
        where = f"{self.url}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        if not where.startswith(("http://", "https://")):
            raise HubUnreachable(f"{self.url} is no http:// address")
        request = urllib.request.Request(where)  # noqa: S310 - the scheme was checked
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (401, 403):
                raise TokenRefused(f"{self.url} refuses this token; set AGENTCOM_TOKEN") from None
            if error.code == 404:
                return {}
            raise HubUnreachable(f"{self.url} answers {error.code}") from None
        except (OSError, ValueError) as error:
            raise HubUnreachable(f"no hub answers at {self.url} ({getattr(error, 'reason', error)})") from None
        return said if isinstance(said, dict) else {}


def picture(ground: Ground | None, hub: str | None, *, with_tasks: bool = True) -> Picture:
    """Ask the hub that ``hub``, AGENTCOM_HUB or this clone's hub.json names; else read the branch of ``ground``.

    Raises HubUnreachable when a hub was named explicitly, or there is neither hub nor repository; TokenRefused.
    """
    named = hub or os.environ.get("AGENTCOM_HUB")
    local = ground.place.read_hub() if ground is not None else None
    token = os.environ.get("AGENTCOM_TOKEN") or (_local_token(ground) if ground is not None else None)
    if named:
        return _from_hub(HubClient(named, token), with_tasks)
    if local is not None:
        try:
            return _from_hub(HubClient(str(local.get("url")), token), with_tasks)
        except HubUnreachable:
            pass  # its process is gone; the branch tells what it knew
    if ground is None:
        raise HubUnreachable("no hub is named and this is no repository: give --hub URL or --repo DIR")
    return _from_branch(ground)


def _local_token(ground: Ground) -> str | None:
    try:
        return (ground.place.folder / "admin.token").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _from_hub(client: HubClient, with_tasks: bool) -> Picture:
    summary = client.get("/api/status")
    tasks: list[Mapping[str, Any]] = []
    cursor: str | None = "0"
    while with_tasks and cursor is not None:
        page = client.get("/api/tasks", limit="1000", cursor=cursor)
        tasks += page.get("tasks", [])
        cursor = None if page.get("cursor") is None else str(page["cursor"])
    return Picture(
        as_of=f"hub at {client.url}",
        live=True,
        summary=summary,
        tasks=tuple(tasks),
        problems=tuple(summary.get("problems", ())),
        hub_url=client.url,
        commit=summary.get("state_commit"),
        time_ms=time.time_ns() // 1_000_000,
        agents=tuple(summary.get("agents", ())),
    )


def _from_branch(ground: Ground) -> Picture:
    store = GitStore(ground.repo, ground.root)
    source = GitSource(ground.repo, ground.source_ref, ground.root)
    core = Core()
    fold = store.load()
    now = Now(time.monotonic(), time.time_ns() // 1_000_000)
    if fold.tip is None:
        said = "no hub has run in this repository yet: start one with `agentcom hub`"
        return Picture(said, live=False, summary={"by_status": {}}, time_ms=now.wall)
    observer = Observer(source, ground.source_ref.removeprefix("refs/heads/"), ground.root)
    rebuilt = rebuild(core, fold, observer, store.read)
    newest = sorted(core.memory.closed, key=lambda name: fold.closed.get(name, ""), reverse=True)[:CLOSED_SHOWN]
    for task in read_back(newest, fold.closed, store.read):
        core.restore(task)
    core.memory.cycles = find_cycles(core.memory)
    (commit,) = read_commits(ground.repo.common_dir, (fold.tip,))
    tasks = present.in_order(task for task in core.memory.tasks.values() if not task.status.deleted)
    problems = [*rebuilt.folded.problems, *(rebuilt.baseline.problems if rebuilt.baseline else ())]
    made = commit.committer.time_ms
    return Picture(
        as_of=f"hub not running; as of {ago(now.wall - made)} ({fold.tip[:7]})",
        live=False,
        summary={"by_status": _count(core.memory.tasks), "source": ground.source_ref, "observed_commit": fold.source},
        tasks=tuple(present.task_json(task, core.why(task, now)) for task in tasks),
        problems=tuple(
            {"path": p.path, "line": p.line, "column": p.column, "field": p.field, "what": p.what, "hint": p.hint}
            for p in problems
        ),
        commit=fold.tip,
        time_ms=made,
        agents=tuple(present.agent_json(core.memory.agents[name]) for name in sorted(core.memory.agents)),
    )


def _count(tasks: Mapping[str, Task]) -> dict[str, int]:
    counted = dict.fromkeys((str(state) for state in State), 0)
    for task in tasks.values():
        counted[str(task.state)] += 1
    return counted


def trail(ground: Ground, task_id: str | None, limit: int = HISTORY_SHOWN) -> tuple[dict[str, Any], ...]:
    """Return the audit trail from the branch of this clone, newest first."""
    records = history.log(ground.repo, STATE_REF, task_id, limit, root=ground.root)
    return tuple(record_json(record) for record in records)


def ago(ms: int) -> str:
    """Say how long ago something was, in words of one unit."""
    seconds = max(0, ms // 1000)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def ground_or_none(directory: Path) -> Ground | None:
    """Return the repository around a directory, None when there is none."""
    from coordinator.service import CannotStart, survey

    try:
        return survey(directory)
    except CannotStart:
        return None

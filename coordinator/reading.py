"""What reading commands show: asked of the running hub, else read from the state branch of this clone, and said which.

Both give the same JSON objects (``web.present``), so that a command need not care. Nothing here writes.

    HubUnreachable           a hub was named explicitly and does not answer
      +-- NobodyThere        nothing listens at the address
      +-- HubBusy            it answers that it could not do it in time: try again
    NoAddress                what was named as a hub is no address
    TokenRefused             the hub does not accept the token
"""

import contextlib
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from coordinator.core.machine import State
from coordinator.core.policy import Lane
from coordinator.core.reconciler import Core
from coordinator.core.scheduler import find_cycles
from coordinator.core.task import Task
from coordinator.core.timers import Now, rfc3339
from coordinator.files.observe import Known, Observation, Observer
from coordinator.files.problem import Problem
from coordinator.git.journal import GitStore
from coordinator.git.objects import read_commits
from coordinator.git.remote import count_unpushed
from coordinator.git.remotes import url_shown
from coordinator.git.repo import STATE_REF, GitSource, read_ref, tracking_ref
from coordinator.git.run import git
from coordinator.ground import Ground, survey
from coordinator.memoir import (
    CLOSED_SHOWN,
    HISTORY_SHOWN,
    drafts_json,
    held_problems,
    read_back,
    rebuild,
)
from coordinator.place import process_lives
from coordinator.saved import SavedWork, uncommitted_json
from coordinator.sourced import Sourced, first, variable
from coordinator.syncing import Sync, lag_json
from coordinator.trail import GONE, NEVER, CannotStart, Trail, record_json
from coordinator.web import present

#: How long a command waits for the hub, in seconds.
PATIENCE = 5.0
#: What may name the hub, and hold the token for it.
HUB, TOKEN = "AGENTCOM_HUB", "AGENTCOM_TOKEN"
#: Hosts that are this machine: only there does the admin token of this clone go, and never through a proxy.
_HERE = frozenset({"127.0.0.1", "::1", "localhost"})


class HubUnreachable(Exception):
    """A hub was named explicitly and does not answer."""


class NobodyThere(HubUnreachable):
    """Nothing listens at the address: no hub runs there."""


class HubBusy(HubUnreachable):
    """The hub could not do it in time: asking again may help."""


class NoAddress(Exception):
    """What was named as a hub is no address."""


class TokenRefused(Exception):
    """The hub does not accept the token."""


class NotAllowed(TokenRefused):
    """The hub knows the token, and does not let it do that."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known, and where from: ``as_of`` is a sentence for people, ``live`` whether a hub said it.

    ``summary`` is the object of ``GET /api/status``; ``notes`` are lines about what the branch cannot know yet;
    ``history`` is the trail of the one task that was asked for, newest first.
    """

    as_of: str
    live: bool
    summary: Mapping[str, Any]
    tasks: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[Mapping[str, Any], ...] = ()
    hub_url: str | None = None
    commit: str | None = None
    time_ms: int = 0
    agents: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()

    @property
    def known(self) -> bool:
        """Tell whether a hub ever looked here, so that no task means none."""
        return self.live or self.commit is not None

    @property
    def origin(self) -> dict[str, Any]:
        """Say in JSON where this comes from."""
        return {
            "live": self.live,
            "hub": self.hub_url,
            "commit": self.commit,
            "as_of": rfc3339(self.time_ms),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Tasks:
    """Which tasks a picture should hold: ``one`` by its id, all of them, or (``every`` false) none."""

    every: bool = True
    one: str | None = None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other: the token goes nowhere else."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


class HubClient:
    """The HTTP side of one hub; ``cert`` is the file of the one certificate that it must have, whatever its name.

    ``here``: it is on this machine, whatever its address, and no proxy is asked.
    """

    def __init__(self, url: str, token: str | None, cert: str | None = None, *, here: bool = False) -> None:
        self.url = url.rstrip("/")
        self._token = token
        direct = here or is_here(url)
        more: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})] if direct else []
        if cert is not None:
            more.append(urllib.request.HTTPSHandler(context=_knowing(cert)))
        self._opener = urllib.request.build_opener(_NoRedirect, *more)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return the JSON of one GET. Raises HubUnreachable, TokenRefused; a 404 gives an empty object."""
        return self._ask(f"{path}?{urllib.parse.urlencode(query)}" if query else path)

    def post(self, path: str) -> dict[str, Any]:
        """Return the JSON of one POST without a body, as ``get`` does. Raises HubBusy when the hub took too long."""
        return self._ask(path, b"")

    def call(
        self, method: str, path: str, said: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Return status number and JSON of any request, also of one that is refused as things stand.

        Raises HubUnreachable, TokenRefused, HubBusy as above.
        """
        body = None if said is None and method in ("GET", "DELETE") else json.dumps(said or {}).encode()
        try:
            return 200, self._ask(path, body, method, {"Content-Type": "application/json", **(headers or {})})
        except _Answered as answered:
            return answered.status, answered.said

    def _ask(
        self, path: str, body: bytes | None = None, method: str | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        if not self.url.startswith(("http://", "https://")):
            raise NoAddress(f"{self.url} is no http:// address")
        named = dict(headers or {})
        request = urllib.request.Request(f"{self.url}{path}", body, named, method=method)  # noqa: S310 - checked above
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        reads = body is None and method is None
        patience = PATIENCE if reads else 2 * PATIENCE  # the hub itself answers after 5 s that it is busy
        try:
            with self._opener.open(request, timeout=patience) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if method is not None and error.code not in (401, 403, 503):
                    raise _Answered(error.code, _said_by(error)) from None
                raise_for = _refusal(self.url, error, token=bool(self._token))
            if raise_for is None:
                return {}
            raise raise_for from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            kind = NobodyThere if isinstance(reason, ConnectionRefusedError) else HubUnreachable
            said = getattr(reason, "strerror", None) or reason
            raise kind(f"no hub answers at {self.url} ({said})") from None
        return said if isinstance(said, dict) else {}


class _Answered(Exception):
    """The hub refused as things stand; ``said`` is what it answered."""

    def __init__(self, status: int, said: dict[str, Any]) -> None:
        self.status, self.said = status, said
        super().__init__(f"{status}: {said}")


def _said_by(error: urllib.error.HTTPError) -> dict[str, Any]:
    with contextlib.suppress(ValueError, OSError):
        said = json.load(error)
        return said if isinstance(said, dict) else {}
    return {}


def _knowing(cert: str) -> ssl.SSLContext:
    """Return how to know a hub by its certificate alone: it need not name this machine, nor who signed it."""
    try:
        first, end, _ = Path(cert).read_text(encoding="ascii").partition("-----END CERTIFICATE-----")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=first[first.find("-----BEGIN CERTIFICATE-----") :] + end)
    except (OSError, ValueError):  # not ours to read: then what everybody trusts counts
        return ssl.create_default_context()
    return context


def _refusal(url: str, error: urllib.error.HTTPError, *, token: bool) -> Exception | None:
    """Return what an answer that is no success means, None for something that is not there."""
    if error.code == 403:
        with contextlib.suppress(ValueError, OSError, AttributeError):
            return NotAllowed(f"{url} does not allow that: {json.load(error).get('hint')}")
    if error.code in (401, 403):
        what = "refuses this token" if token else "asks for a token"
        return TokenRefused(f"{url} {what}: set AGENTCOM_TOKEN to one that it knows")
    if error.code == 404:
        return None
    return (HubBusy if error.code == 503 else HubUnreachable)(f"{url} answers {error.code}")


def address(text: str) -> str:
    """Return the http:// address that a person means, also by the ws:// one of the sidecars. Raises NoAddress."""
    parts = urllib.parse.urlsplit(text)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.hostname:
        raise NoAddress(f"{text} is no address of a hub: write http://HOST:4000")
    path = parts.path.removesuffix("/").removesuffix("/ws")
    return urllib.parse.urlunsplit((scheme, parts.netloc, path, "", ""))


def is_here(url: str) -> bool:
    """Tell whether an address is on this machine's loopback."""
    try:
        return urllib.parse.urlsplit(url).hostname in _HERE
    except ValueError:
        return False


def picture(ground: Ground | None, hub: str | None, tasks: Tasks = Tasks()) -> Picture:
    """Ask the hub that ``hub``, AGENTCOM_HUB or this clone's hub.json names; else read the branch of ``ground``.

    Raises HubUnreachable when a hub was named explicitly, or there is neither hub nor repository; TokenRefused;
    StoreError when the branch cannot be read.
    """
    if named := hub_named(hub):
        url = address(named.value)
        return _from_hub(HubClient(url, token_for(url, ground).value), tasks)
    if ground is None:
        raise HubUnreachable("no hub is named and this is no repository: give --hub URL or --repo DIR")
    local = ground.place.read_hub()
    silent = ""
    if local is not None:
        try:
            told = _from_hub(_local_client(ground, local), tasks, hub_id=str(local.get("hub_id")))
            return _seen_from_here(told, ground)
        except NobodyThere:
            pass  # its process is gone; the branch tells what it knew
        except HubUnreachable as error:
            silent = str(error)
        except TokenRefused:
            if os.environ.get(TOKEN) or process_lives(local):
                raise
    return _from_branch(ground, silent, tasks)


def from_branch(ground: Ground, tasks: Tasks = Tasks(every=False)) -> Picture:
    """Read the branch of this clone without asking any hub. Raises StoreError."""
    return _from_branch(ground, "", tasks)


def _seen_from_here(told: Picture, ground: Ground) -> Picture:
    """Speak of the edits in the work tree of the command; if it has none, of those where the hub was started."""
    own = SavedWork(ground).uncommitted()
    told = replace(told, notes=(*told.notes, *_not_pushed(ground)))
    return replace(told, summary={**told.summary, **uncommitted_json(own)}) if own.lines else told


def running_hub(ground: Ground | None, hub: str | None, *, clone_first: bool = False) -> HubClient:
    """Return how to speak with the hub that ``hub`` or AGENTCOM_HUB names, else with that of this clone.

    With ``clone_first`` a hub of this clone that answers wins over AGENTCOM_HUB. Raises HubUnreachable when none is
    known, NoAddress.
    """
    of_clone = clone_first and hub is None and ground is not None and hub_runs(ground) is not None
    if not of_clone and (named := hub_named(hub)):
        url = address(named.value)
        return HubClient(url, token_for(url, ground).value)
    local = None if ground is None else ground.place.read_hub()
    if ground is None or local is None:
        raise NobodyThere("no hub runs here")
    return _local_client(ground, local)


def hub_named(option: str | None) -> Sourced[str] | None:
    """Return the hub that ``--hub`` or the environment names, None when neither does."""
    named = first("", (option or None, "--hub"), (os.environ.get(HUB) or None, variable(HUB)))
    return named if named.value else None


def hub_runs(ground: Ground) -> str | None:
    """Return the address at which the hub of this clone answers now, None when it does not."""
    local = ground.place.read_hub()
    if local is None:
        return None
    try:
        said = _local_client(ground, local).get("/api/status")
    except (HubUnreachable, TokenRefused):
        return None
    return str(local.get("url")) if said.get("hub_id") == local.get("hub_id") else None


def _local_client(ground: Ground, local: Mapping[str, Any]) -> HubClient:
    url = str(local.get("url"))
    cert = local.get("tls_cert")
    # an address of this machine may be somebody else's once the hub is gone
    here = is_here(url) or process_lives(local)
    token = token_for(url, ground, here=here).value
    return HubClient(url, token, cert if isinstance(cert, str) else None, here=here)


def token_for(url: str, ground: Ground | None, *, here: bool = False) -> Sourced[str | None]:
    """Return what to show to the hub at ``url``: AGENTCOM_TOKEN, else on this machine the clone's admin token.

    ``here`` is said of a hub that runs on this machine whatever its address is.
    """
    named = os.environ.get(TOKEN, "").strip()
    if named:
        return Sourced(named, variable(TOKEN))
    if ground is None or not (here or is_here(url)):
        return Sourced(None)
    return ground.place.known_admin_token()


def _from_hub(client: HubClient, wanted: Tasks, hub_id: str | None = None) -> Picture:
    tasks: list[Mapping[str, Any]] = []
    history: list[Mapping[str, Any]] = []
    cursor: str | None = "0" if wanted.every and wanted.one is None else None
    while cursor is not None:
        page = client.get("/api/tasks", limit="1000", cursor=cursor)
        tasks += page.get("tasks", [])
        cursor = None if page.get("cursor") is None else str(page["cursor"])
    if wanted.one is not None:
        task = client.get(f"/api/tasks/{urllib.parse.quote(wanted.one, safe='')}")
        history += task.pop("history", [])
        tasks += [task] if task else []
    summary = client.get("/api/status")  # last: a list brings finished tasks back to the hub's mind, which it counts
    if "hub_id" not in summary:
        raise HubUnreachable(f"what answers at {client.url} is no AgentCom hub")
    if hub_id is not None and summary["hub_id"] != hub_id:
        raise NobodyThere(f"{client.url} is another hub")
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
        history=tuple(history),
    )


@dataclass(frozen=True, slots=True)
class Branch:
    """The state branch of a clone, read back: what a hub would have in mind as of commit ``tip``, made at ``made``.

    ``seen`` is the last observation looked at again, ``moved`` whether the source has moved on since then.
    """

    core: Core
    tip: str
    source: str | None
    made: int
    seen: Observation | None
    problems: tuple[Problem, ...]
    moved: bool


def read_branch(ground: Ground, one: str | None = None) -> Branch | None:
    """Read the branch of this clone, with the newest finished tasks, or with the one that is asked for.

    None when no hub ever wrote here. Blocks on git; raises StoreError.
    """
    store = GitStore(ground.repo, ground.root, ground.state_ref)
    source = _source_of(ground)
    core = Core()
    fold = store.load()
    if fold.tip is None:
        return None
    rebuilt = rebuild(core, fold, Observer(source, ground.branch, ground.root), store, source)
    newest = sorted(core.memory.closed, key=lambda name: fold.closed.get(name, ""), reverse=True)[:CLOSED_SHOWN]
    for task in read_back(newest if one is None else [one], fold.closed, store, source):
        core.restore(task)
    core.memory.cycles = find_cycles(core.memory)
    (commit,) = read_commits(ground.repo.common_dir, (fold.tip,))
    seen = rebuilt.baseline
    problems = (*held_problems(core.memory.waiting()), *rebuilt.folded.problems, *(seen.problems if seen else ()))
    tip = None if ground.elsewhere else source.tip()
    moved = tip is not None and source.needs_observation(tip, fold.source)
    return Branch(core, fold.tip, fold.source, commit.committer.time_ms, seen, problems, moved)


def _source_of(ground: Ground) -> GitSource:
    remote = ground.remote is not None
    return GitSource(ground.repo, ground.watched_ref, ground.root, remote=remote, state_ref=ground.state_ref)


def _from_branch(ground: Ground, silent: str, wanted: Tasks) -> Picture:
    """Read the branch of this clone; ``silent`` says of a hub that should answer why it does not."""
    now = Now(time.monotonic(), time.time_ns() // 1_000_000)
    branch = read_branch(ground, wanted.one)
    if branch is None:
        source = _source_of(ground)
        return _before_any_hub(ground, source, Observer(source, ground.branch, ground.root), now.wall)
    core = branch.core
    tasks = present.in_order(task for task in core.memory.tasks.values() if not task.status.deleted)
    return Picture(
        as_of=f"{silent or no_hub(ground)}; as of {ago(now.wall - branch.made)} ({branch.tip[:7]})",
        live=False,
        summary={
            "by_status": _count(core.memory.tasks),
            "closed_before_start": len(core.memory.closed),
            "source": ground.source_ref,
            "observed_commit": branch.source,
            "remote": remote_json(ground, branch.tip),
            "held": [present.batch_json(batch) for batch in core.memory.waiting()],
            "drafts": drafts_json(branch.seen, core.memory),
            **uncommitted_json(SavedWork(ground).uncommitted()),
        },
        tasks=tuple(present.task_json(task, core.why(task, now)) for task in tasks if wanted.one in (None, task.id)),
        problems=_problems_json(branch.problems),
        commit=branch.tip,
        time_ms=branch.made,
        agents=tuple(present.agents_json(core.memory.agents)),
        notes=branch_notes(ground, branch),
        history=() if wanted.one is None else _history(ground, wanted.one),
    )


def branch_notes(ground: Ground, branch: Branch) -> tuple[str, ...]:
    """Return lines about what the branch cannot know yet."""
    news = (f"{ground.branch} has moved on since then: the hub reads it when it starts",) if branch.moved else ()
    return (*news, *_not_pushed(ground))


def remote_json(ground: Ground, tip: str) -> dict[str, Any] | None:
    """Return what this clone knows of the hub's remote without asking it: ``remote`` of ``GET /api/status``."""
    if ground.remote is None:
        return None
    theirs = read_ref(ground.repo, tracking_ref(ground.remote, STATE_REF))
    lag = lag_json(Sync(tip, theirs), count_unpushed(ground.repo, tip, theirs))
    said = {key.removesuffix("_ms"): value for key, value in lag.items()}
    return {"name": ground.remote, "url": url_shown(ground.repo, ground.remote), "branch": ground.branch, **said}


def _not_pushed(ground: Ground) -> tuple[str, ...]:
    """Say how many commits of people stand in this clone, where the hub does not look."""
    remote = ground.remote or ground.elsewhere
    there = None if remote is None else read_ref(ground.repo, tracking_ref(remote, ground.source_ref))
    here = read_ref(ground.repo, ground.source_ref)
    if here is None or there is None or here == there:
        return ()
    number = int(git("rev-list", "--count", here, f"^{there}", git_dir=ground.repo.common_dir))
    commits = "1 commit that is" if number == 1 else f"{number} commits that are"
    return (f"{ground.branch} has {commits} not pushed; {ground.to_push}",) if number else ()


def _history(ground: Ground, task_id: str) -> tuple[dict[str, Any], ...]:
    records = Trail(ground.repo, ground.state_ref, ground.root).records(task_id, HISTORY_SHOWN)
    return tuple(record_json(record) for record in records)


def no_hub(ground: Ground) -> str:
    """Say where it is read from, because no hub runs here."""
    if ground.state_ref == STATE_REF:
        return "hub not running"
    return f"read from {ground.state_ref.removeprefix('refs/remotes/')}, as fetched last"


def _before_any_hub(ground: Ground, source: GitSource, observer: Observer, now: int) -> Picture:
    """Say what the first hub will find: agents, problems, and how much would run."""
    counted = {
        "by_status": dict.fromkeys((str(state) for state in State), 0),
        "source": ground.source_ref,
        **uncommitted_json(SavedWork(ground).uncommitted()),
    }
    if ground.place.has_written:
        return Picture(GONE, live=False, summary=counted, time_ms=now)
    tip = source.tip()
    if tip is None:
        note = f"{ground.branch} has no commit yet"
        return Picture(NEVER, live=False, summary=counted, time_ms=now, notes=(note,))
    seen = observer.look(tip, None, Known(existing=ground.place.existing_backlog()))
    core = Core()
    core.memory.policy = seen.policy
    for agent in seen.agents.values():
        core.memory.put_spec(agent)
    ready = [name for name in seen.specs if name not in seen.places or seen.places[name][0] is Lane.READY]
    held = sum(name in seen.existing for name in ready)
    runs = len(ready) - held
    notes = [f"{ground.branch} ({tip[:7]}) holds {runs} {'task' if runs == 1 else 'tasks'} that would run"]
    if held:
        notes.append(f"{held} that stood here before `agentcom init` wait for `agentcom confirm`")
    return Picture(
        NEVER,
        live=False,
        summary=counted,
        problems=_problems_json(seen.problems),
        time_ms=now,
        agents=tuple(present.agents_json(core.memory.agents)),
        notes=tuple(notes),
    )


def _problems_json(problems: Iterable[Problem]) -> tuple[dict[str, Any], ...]:
    return tuple(asdict(problem) for problem in problems)


def _count(tasks: Mapping[str, Task]) -> dict[str, int]:
    counted = dict.fromkeys((str(state) for state in State), 0)
    for task in tasks.values():
        counted[str(task.state)] += 1
    return counted


def ago(ms: int) -> str:
    """Say how long ago something was, in words of one unit."""
    seconds = max(0, ms // 1000)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def ground_or_none(directory: Path) -> Ground | None:
    """Return the repository around a directory, None when there is none."""
    try:
        return survey(directory)
    except CannotStart:
        return None

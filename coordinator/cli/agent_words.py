"""``agentcom agent show|enable|disable|drain|undrain|resume|remove``: a word about an agent, and what follows from it.

Where the word goes is decided here: into ``agents/ID.yaml``, by a commit of the person, where this clone has that file
and no hub is named; else to the hub. What becomes of work in hand is the core's decision, and only told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import click

from coordinator.cli.common import (
    EXIT_NO_HUB,
    EXIT_REFUSED,
    EXIT_USAGE,
    fail,
    local_time,
    one_line,
    print_json,
    print_table,
)
from coordinator.cli.reading_options import open_ground
from coordinator.cli.status_cmd import agent_flags

if TYPE_CHECKING:
    from coordinator.cli.sidecar_here import SidecarHere
    from coordinator.ground import Ground
    from coordinator.reading import HubClient

#: States of tasks that somebody has in hand.
_IN_HAND = frozenset({"assigned", "working", "blocked"})
_SEE = "see `agentcom agent list`"
#: Word that only a hub keeps -> the flag that it sets or takes away, what follows, and what is said when it is so.
_KEPT: Mapping[str, tuple[str, bool, str, str]] = {
    "resume": ("parked", False, "is not parked any more", "is not parked"),
    "drain": ("draining", True, "gets nothing new until `agentcom agent undrain`", "is draining already"),
    "undrain": ("draining", False, "takes work again", "is not draining"),
}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an agent: its JSON (``web.present``), the ids of tasks in its hands, and who said so."""

    shown: Mapping[str, Any] | None
    in_hand: tuple[str, ...]
    as_of: str
    live: bool

    @property
    def where(self) -> str:
        return str((self.shown or {}).get("where") or "")

    @property
    def made_by_hub(self) -> bool:
        return "agents/api/" in self.where

    @property
    def flags(self) -> Sequence[str]:
        return tuple((self.shown or {}).get("flags", ()))


class Desk:
    """Where words about one agent are put: its file in this clone, the hub; it ends with one line if neither is."""

    def __init__(self, agent_id: str, directory: Path, hub: str | None) -> None:
        from coordinator.core.task import is_id
        from coordinator.reading import ground_or_none, hub_named

        self.agent_id = agent_id
        self.hub = hub
        named = hub_named(hub)
        self.ground: Ground | None = (
            ground_or_none(directory.absolute()) if named else open_ground(directory.absolute())
        )
        if not is_id(agent_id, *(() if self.ground is None else (self.ground.branch,))):
            fail(f"the hub knows no agent {agent_id}: {_SEE}")
        self._client: HubClient | None = None

    @property
    def file(self) -> str | None:
        """The path of the agent's file, when it is in this clone and no hub was named."""
        if self.hub is not None or self.ground is None or self.ground.repo.work_tree is None:
            return None
        path = self.ground.path(f"agents/{self.agent_id}.yaml")
        return path if (self.ground.repo.work_tree / path).is_file() else None

    def data(self, path: str) -> bytes:
        """Return the agent's file as it is committed, once a person may commit here."""
        from coordinator.cli.writing import said_plainly
        from coordinator.git.person import check_committed, check_ready

        ground = self._clone()
        with said_plainly():
            top = check_ready(ground.repo, ground.source_ref)
            check_committed(ground.repo, path)
            return (top / path).read_bytes()

    def commit(self, path: str, data: bytes | None, subject: str) -> str:
        """Commit the agent's file and nothing else; return the commit."""
        from coordinator.cli.writing import said_plainly
        from coordinator.git.person import commit_paths

        ground = self._clone()
        with said_plainly():
            return commit_paths(ground.repo, ground.source_ref, {path: data}, subject)

    def _clone(self) -> "Ground":
        return self.ground or open_ground(Path())

    @property
    def client(self) -> "HubClient":
        from coordinator.reading import HubUnreachable, NoAddress, running_hub

        if self._client is None:
            try:
                self._client = running_hub(self.ground, self.hub)
            except NoAddress as error:
                fail(str(error), EXIT_USAGE)
            except HubUnreachable as error:
                fail(f"{error}: start it with `agentcom hub`", EXIT_NO_HUB)
        return self._client

    @property
    def hub_path(self) -> str:
        """The route of the agent at the hub."""
        return f"/api/agents/{quote(self.agent_id, safe='')}"

    def ask(
        self, method: str, path: str, said: Mapping[str, Any] | None = None, key: str | None = None
    ) -> dict[str, Any]:
        """Ask the hub for something that must succeed."""
        from coordinator.reading import HubBusy, HubUnreachable, NoAddress, TokenRefused

        headers = {} if key is None else {"Idempotency-Key": key}
        try:
            status, answer = self.client.call(method, path, said, headers)
        except NoAddress as error:
            fail(str(error), EXIT_USAGE)
        except HubBusy as error:
            fail(f"{error}: it has not answered in time; ask again")
        except HubUnreachable as error:
            fail(f"{error}: start it with `agentcom hub`", EXIT_NO_HUB)
        except TokenRefused as error:
            fail(str(error), EXIT_REFUSED)
        if status == 404:
            self.unknown()
        if status not in (200, 201):
            fail(one_line(str(answer.get("hint") or answer.get("detail") or answer.get("error") or status)))
        return answer

    def unknown(self) -> NoReturn:
        fail(f"the hub knows no agent {self.agent_id}: {_SEE}")

    def known(self) -> Known:
        """Return what the hub says of the agent; where no hub answers, and none was named, what the branch says."""
        from coordinator.reading import HubUnreachable, NoAddress, TokenRefused, running_hub

        try:
            client = running_hub(self.ground, self.hub)
            agents = client.get("/api/agents").get("agents", [])
            held = client.get("/api/tasks", assigned_to=self.agent_id, limit="1000").get("tasks", [])
        except NoAddress as error:
            fail(str(error), EXIT_USAGE)
        except (HubUnreachable, TokenRefused) as error:
            if self.ground is None or self.hub is not None:
                fail(str(error), EXIT_REFUSED if isinstance(error, TokenRefused) else EXIT_NO_HUB)
            return self._remembered(self.ground)
        shown = next((one for one in agents if one["agent_id"] == self.agent_id), None)
        in_hand = tuple(str(task["id"]) for task in held if task["status"] in _IN_HAND)
        return Known(shown, in_hand, f"hub at {client.url}", live=True)

    def _remembered(self, ground: "Ground") -> Known:
        from coordinator.ports import StoreError
        from coordinator.reading import read_branch
        from coordinator.web.present import agent_json

        try:
            branch = read_branch(ground)
        except StoreError as error:
            fail(str(error))
        if branch is None:
            return Known(None, (), "no hub ever ran here", live=False)
        memory = branch.core.memory
        agent = memory.agents.get(self.agent_id)
        shown = agent_json(agent) if agent is not None and agent.known else None
        as_of = f"no hub answers; agentcom/state as of {local_time(branch.made)}"
        return Known(shown, tuple(task.id for task in memory.owned_by(self.agent_id)), as_of, live=False)

    def must_be_of_hub(self, known: Known) -> None:
        """End with one line unless the hub made the agent, so that it can be changed there."""
        if known.shown is None:
            self.unknown()
        if not known.made_by_hub:
            fail(f"{known.where} says what {self.agent_id} is: run this in a clone that has that file, without --hub")


@dataclass(frozen=True, slots=True)
class Told:
    """What a word came to; ``how`` is git or hub, ``fate`` what becomes of the tasks in hand."""

    what: str
    how: str
    follows: str
    changed: bool
    known: Known
    fate: str | None = None
    path: str | None = None
    commit: str | None = None

    def tell(self, desk: Desk, *, dry_run: bool, as_json: bool, **more: Any) -> None:
        """Print it."""
        said: dict[str, Any] = {"agent_id": desk.agent_id, "what": self.what, "how": self.how, **more}
        if as_json:
            held = {"in_hand": list(self.known.in_hand), "then": self.fate if self.known.in_hand else None}
            made = {"path": self.path, "commit": self.commit, "changed": self.changed, "dry_run": dry_run}
            print_json({**said, **made, **held})
            return
        if not self.changed:
            click.echo(f"{desk.agent_id} {self.follows}: nothing to do")
            return
        where = f"commit {self.path}; " if self.how == "git" else ""
        if dry_run:
            click.echo(f"would {where or f'ask {desk.client.url}; '}{desk.agent_id} {self.follows}")
        else:
            done = f"committed {self.commit[:8]}: {self.path}; " if self.commit else ""
            click.echo(f"{done}{desk.agent_id} {self.follows}")
        self.tell_work(desk)
        if self.commit and desk.ground is not None and desk.ground.to_push:
            click.echo(desk.ground.to_push)

    def tell_work(self, desk: Desk) -> None:
        """Say what becomes of the work in hand."""
        if self.fate is None:
            return
        if not self.known.in_hand:
            click.echo(f"it has nothing in hand ({self.known.as_of})")
        for task in self.known.in_hand:
            fate = (
                "it is finished first" if self.fate == "finished" else "it goes back into the queue, no attempt counted"
            )
            click.echo(f"{task} is in its hands: {fate}")


# --- words ----------------------------------------------------------------------------------------------------------


def show(agent_id: str, directory: Path, hub: str | None, folder: Path | None, *, as_json: bool) -> None:
    """Show one agent."""
    from coordinator.cli.sidecar_here import find_sidecar

    desk = Desk(agent_id, directory, hub)
    known, here = desk.known(), find_sidecar(agent_id, folder)
    if known.shown is None and desk.file is None and here is None:
        desk.unknown()
    tokens = _tokens(desk) if known.live else None
    if as_json:
        seen = {"live": known.live, "as_of": known.as_of, "file": desk.file, "agent": known.shown}
        more = {"in_hand": list(known.in_hand), "tokens": tokens, "sidecar": None if here is None else here.json()}
        print_json({"agent_id": agent_id, **seen, **more})
        return
    click.echo(known.as_of)
    print_table(_rows(agent_id, desk, known, tokens, here))


def _rows(
    agent_id: str, desk: Desk, known: Known, tokens: Sequence[Mapping[str, Any]] | None, here: "SidecarHere | None"
) -> list[tuple[str, str]]:
    seen = known.shown
    rows = [("agent", agent_id if seen is None or seen["name"] == agent_id else f"{agent_id} ({seen['name']})")]
    if seen is None:
        rows.append(("state", f"{desk.file} is not read by a hub yet" if desk.file else "no hub knows it"))
    else:
        since = f", connected since {local_time(seen['connected_at'])}" if seen["connected_at"] else ""
        rows.append(("state", f"{seen['fsm_state']}{since}"))
        if flags := agent_flags(seen):
            rows.append(("but", flags))
        rows.append(("in hand", ", ".join(known.in_hand) or "nothing"))
        rows.append(("can", ", ".join(seen["capabilities"]) or "what it says of itself"))
        rows.append(("role", str(seen["role"])))
        rows.append(("written in", known.where or "-"))
    for token in tokens or ():
        end = "" if token["not_after"] is None else f", until {local_time(token['not_after'])}"
        rows.append(("token", f"{token['token_prefix'] or '(short)'}..., {token['where']}{end}"))
    if here is not None:
        rows.append(("sidecar here", str(here.file)))
        running = here.running
        for plan in here.services:
            rows.append(
                ("service", f"{plan.service.name}, {'runs' if plan in running else 'does not run'}, {plan.file}")
            )
        if here.waiting:
            rows.append(("undelivered", f"{', '.join(here.waiting)}, in {here.queue}"))
    return rows


def _tokens(desk: Desk) -> list[Mapping[str, Any]] | None:
    """Return the agent's tokens by their beginnings, None for who may not see them."""
    from coordinator.reading import HubUnreachable, TokenRefused

    try:
        found = desk.client.get("/admin/tokens").get("tokens", [])
    except (HubUnreachable, TokenRefused):
        return None
    return [one for one in found if one["agent_id"] == desk.agent_id]


def keep(what: str, agent_id: str, directory: Path, hub: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Put a word to the hub that it alone keeps: resume, drain or undrain."""
    desk = Desk(agent_id, directory, hub)
    flag, wanted, follows, already = _KEPT[what]
    client = desk.client
    known = desk.known()
    if not known.live:
        fail(f"no hub answers at {client.url}: start it with `agentcom hub`", EXIT_NO_HUB)
    if known.shown is None:
        desk.unknown()
    changed = (flag in known.flags) is not wanted
    answer: Mapping[str, Any] = {}
    if not dry_run:
        answer = desk.ask("POST", f"{desk.hub_path}/{what}")
    told = Told(
        what,
        "hub",
        follows if changed else already,
        changed,
        known,
        "finished" if what == "drain" and changed else None,
    )
    told.tell(desk, dry_run=dry_run, as_json=as_json, **{key: answer[key] for key in ("status",) if key in answer})


def switch(agent_id: str, directory: Path, hub: str | None, *, disabled: bool, dry_run: bool, as_json: bool) -> None:
    """Disable or enable an agent."""
    from coordinator.cli.writing import said_plainly
    from coordinator.files.agentfile import switched

    desk = Desk(agent_id, directory, hub)
    what = "disable" if disabled else "enable"
    follows = "may not connect and gets no work" if disabled else "may connect and gets work"
    already = f"is {what}d already"
    fate = "requeued" if disabled else None
    if (path := desk.file) is not None:
        before = desk.data(path)
        with said_plainly():
            after = switched(path, before, disabled=disabled)
        known, changed = desk.known(), after != before
        commit = desk.commit(path, after, f"{what.title()} agent {agent_id}") if changed and not dry_run else None
        told = Told(what, "git", follows if changed else already, changed, known, fate, path, commit)
    else:
        known = desk.known()
        desk.must_be_of_hub(known)
        changed = ("disabled" in known.flags) is not disabled
        if not dry_run:
            desk.ask("POST", f"{desk.hub_path}/{what}")
        told = Told(what, "hub", follows if changed else already, changed, known, fate)
    told.tell(desk, dry_run=dry_run, as_json=as_json)


@dataclass(frozen=True, slots=True)
class Removal:
    """How an agent is to be removed: ``now`` also with work in hand, ``sure`` without being asked."""

    folder: Path | None
    now: bool
    sure: bool
    dry_run: bool
    as_json: bool


def remove(agent_id: str, directory: Path, hub: str | None, how: Removal) -> None:
    """Remove an agent: its service here first, so that it delivers what it has, then its file or what the hub made."""
    from coordinator.cli.sidecar_here import find_services, find_sidecar

    desk = Desk(agent_id, directory, hub)
    path = desk.file
    if path is not None:
        desk.data(path)
    known, here = desk.known(), find_sidecar(agent_id, how.folder)
    services = find_services(agent_id, of=here)
    gone = path is None and known.shown is None
    if gone and not services:
        desk.unknown()
    if path is None and not gone:
        desk.must_be_of_hub(known)
    _refuse_with_work(agent_id, known, here, how)
    if not how.dry_run:
        _ask_first(agent_id, how)
        _take_services_away(services)
    commit: str | None = None
    if not how.dry_run:
        if path is not None:
            commit = desk.commit(path, None, f"Remove agent {agent_id}")
        elif not gone:
            desk.ask("DELETE", desk.hub_path)
    after = find_sidecar(agent_id, how.folder) if not how.dry_run and here is not None else here
    follows = "is no agent any more; its service here goes" if gone else "is no agent any more"
    told = Told("remove", "git" if path else "hub", follows, True, known, None if gone else "requeued", path, commit)
    more = {"services": [str(plan.file) for plan in services], "sidecar": None if after is None else after.json()}
    told.tell(desk, dry_run=how.dry_run, as_json=how.as_json, **more)
    if not how.as_json:
        _tell_left(services, after, dry_run=how.dry_run)


def _refuse_with_work(agent_id: str, known: Known, here: "SidecarHere | None", how: Removal) -> None:
    if how.now or how.dry_run:
        return
    if known.in_hand:
        fail(
            f"{', '.join(known.in_hand)} in {agent_id}'s hands: `agentcom agent drain {agent_id}` and wait until that "
            "is finished, or --now: it goes back into the queue, no attempt counted"
        )
    if here is not None and here.waiting:
        fail(
            f"results of {', '.join(here.waiting)} are not delivered ({here.queue}): let its sidecar run until they "
            "are, or --now: they stay there"
        )


def _ask_first(agent_id: str, how: Removal) -> None:
    import sys

    if how.sure:
        return
    if not sys.stdin.isatty():
        fail(f"--yes is needed where nobody can be asked: {agent_id} would be removed", EXIT_USAGE)
    if not click.confirm(f"Remove {agent_id}?", default=False, err=True):
        fail("nothing was changed")


def _take_services_away(services: Sequence[Any]) -> None:
    from coordinator.services import machine

    for plan in services:
        try:
            machine.uninstall(plan, machine.run_program)
        except machine.Failed as error:
            fail(f"{error}; the agent itself is as it was: run this again")


def _tell_left(services: Sequence[Any], here: "SidecarHere | None", *, dry_run: bool) -> None:
    import shlex

    for plan in services:
        click.echo(f"{plan.service.name}: {'would be stopped and' if dry_run else 'stopped and'} removed, {plan.file}")
    if here is None:
        return
    if here.waiting:
        click.echo(f"results of {', '.join(here.waiting)} were not delivered; they stay in {here.config.state_dir}")
    click.echo(f"left: {here.file} and what its sidecar wrote; `rm -r {shlex.quote(str(here.file.parent))}` deletes it")

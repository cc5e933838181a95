"""``agentcom agent add|list|resume|drain|undrain``: who may work."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.cli.common import (
    EXIT_NO_HUB,
    EXIT_REFUSED,
    EXIT_USAGE,
    directory_option,
    fail,
    json_option,
    print_json,
    print_table,
    refuse,
)
from coordinator.cli.reading_options import hub_option, look, open_ground, say_origin
from coordinator.cli.status_cmd import agent_flags

if TYPE_CHECKING:
    from coordinator.ground import Ground

#: Where a hub listens unless told otherwise.
_USUAL_HUB = "http://127.0.0.1:4000"


@click.group("agent")
def command() -> None:
    """Add an agent, list agents, say a word about one."""


@command.command("add", short_help="Add an agent; with --hub or --repo set up its sidecar too.")
@click.argument("agent_id", metavar="NAME")
@click.option("--hub", metavar="URL", help="Register at this hub and set up the sidecar on this machine.")
@click.option(
    "--repo",
    "clone",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="CLONE",
    help="Commit agents/NAME.yaml in this clone and set up the sidecar on this machine.",
)
@click.option("--name", metavar="TEXT", help="How people call it (default: NAME).")
@click.option("--capabilities", default="", metavar="A,B", help="What it can do; nothing beyond these counts.")
@click.option("--install", is_flag=True, help="Let the machine run the sidecar as a service.")
@click.option("--runtime", metavar="NAME", help="Its program (default: claude, codex or gemini, whichever is here).")
@click.option("--profile", default="dev", metavar="P", help="What it may do: read, edit, dev or full.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where the sidecar's config and state are (default: ~/.local/share/agentcom/agents/NAME).",
)
@click.option("--show-token", is_flag=True, help="Print the token itself at the end.")
@click.option("--token-stdin", is_flag=True, help="Take over the token that stands on standard input.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, do nothing.")
@json_option
def add(
    agent_id: str,
    hub: str | None,
    clone: Path | None,
    name: str | None,
    capabilities: str,
    install: bool,
    runtime: str | None,
    profile: str,
    folder: Path | None,
    show_token: bool,
    token_stdin: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Add an agent. NAME is its id: lower-case letters, digits and '-'.

    Alone: write agents/NAME.yaml with the hash of a new token, commit it, and show the token once. With --hub or
    --repo: all the way to a sidecar that has done a task. Run it again after any failure, and it goes on.
    """
    words = tuple(word.strip() for word in capabilities.split(",") if word.strip())
    if hub is None and clone is None:
        if install or runtime or folder or show_token or token_stdin or dry_run:
            fail("name --hub URL or --repo CLONE: the other options are for setting up the sidecar", EXIT_USAGE)
        _only_file(agent_id, name, words, as_json=as_json)
        return
    from coordinator.cli.joining import Wanted, join, usual_folder

    _check_id(agent_id, "main")
    token = sys.stdin.readline().strip() if token_stdin else None
    if token_stdin and not token:
        fail("--token-stdin: standard input is empty", EXIT_USAGE)
    place = (folder or usual_folder(agent_id)).absolute()
    join(
        Wanted(
            agent_id,
            name,
            words,
            hub,
            clone,
            install,
            runtime,
            profile,
            place,
            show_token,
            token,
            dry_run,
            as_json,
        )
    )


def _only_file(agent_id: str, name: str | None, words: tuple[str, ...], *, as_json: bool) -> None:
    ground = open_ground(Path())
    from coordinator.place import new_token

    token = new_token()
    path, commit = write_agent(ground, agent_id, name, words, token)
    if as_json:
        print_json({"agent_id": agent_id, "token": token, "path": path, "commit": commit})
        return
    click.echo(f"committed {commit[:8]}: {path}")
    if ground.to_push:
        click.echo(ground.to_push)
    click.echo(f"token (shown once, the file holds only its hash): {token}")
    _next_steps(ground, agent_id, token)


def write_agent(
    ground: "Ground", agent_id: str, name: str | None, capabilities: tuple[str, ...], token: str
) -> tuple[str, str]:
    """Commit agents/ID.yaml with the hash of a token; return its path and the commit, or end with one line."""
    from coordinator.core.agent import Token
    from coordinator.files.agentfile import new_agent, prefix_of
    from coordinator.files.loader import load_agent
    from coordinator.git.person import CannotCommit, NoWorkTree, commit_paths
    from coordinator.web.auth import digest

    _check_id(agent_id, ground.branch)
    if ground.repo.work_tree is None:
        refuse(NoWorkTree(f"{ground.repo.common_dir} has no work tree: run this in a clone of it"))
    path = ground.path(f"agents/{agent_id}.yaml")
    if (ground.repo.work_tree / path).exists():
        fail(f"{path} is there already: choose another id, or remove that file and commit")
    beside = (ground.repo.work_tree / ground.path("agents/agent.schema.json")).is_file()
    data = new_agent(name or agent_id, capabilities, Token(digest(token), prefix_of(token)), schema_beside=beside)
    read = load_agent(path, data, "", reserved=(ground.branch,))
    if isinstance(read, tuple):
        fail("; ".join(str(problem) for problem in read), EXIT_USAGE)
    try:
        return path, commit_paths(ground.repo, ground.source_ref, {path: data}, f"Add agent {agent_id}")
    except CannotCommit as error:
        refuse(error)


def _check_id(agent_id: str, branch: str) -> None:
    from coordinator.core.task import ID_PATTERN, is_id

    if not ID_PATTERN.match(agent_id):
        fail(f"{agent_id!r} is no id: use lower-case letters, digits and '-', at most 64, no '-' in front", EXIT_USAGE)
    if not is_id(agent_id, branch):
        fail(f"{agent_id} is a reserved word: choose another id", EXIT_USAGE)


def _next_steps(ground: "Ground", agent_id: str, token: str) -> None:
    """Say how its sidecar is started: a config file to copy, and the command."""
    from coordinator.reading import hub_runs

    here = hub_runs(ground)
    public = None if here is None else (ground.place.read_hub() or {}).get("public_url")
    url = str(public or here or _USUAL_HUB).replace("http", "ws", 1)
    place = f"../{agent_id}/config.yaml"
    click.echo(f"\nnext: save this as {place}, outside of the repository, readable by its user alone (chmod 600)")
    click.echo(f'  agent_id: "{agent_id}"')
    click.echo(f"  token: {token}")
    click.echo(f"  hub_url: {url}/ws")
    click.echo("  runtime: {name: fake}     # only pretends to work; real ones: claude, codex, gemini, shell, ...")
    click.echo(f"then: agentcom-sidecar run --config {place}")


@command.command("list", short_help="List agents.")
@directory_option
@hub_option
@json_option
def list_agents(directory: Path, hub: str | None, as_json: bool) -> None:
    """List agents: who is there, at what, and what they can do."""
    picture = look(directory, hub, every_task=False)
    if as_json:
        print_json({**picture.origin, "agents": list(picture.agents)})
        return
    say_origin(picture)
    if not picture.agents:
        click.echo("no agents; add one with `agentcom agent add NAME`")
    rows = (
        (a["agent_id"], a["fsm_state"], a["current_task_id"] or "-", ",".join(a["capabilities"]) or "-", agent_flags(a))
        for a in picture.agents
    )
    print_table(rows, heads=("agent", "state", "task", "capabilities", "flags"))


@command.command("resume", short_help="Let a parked agent have work again.")
@click.argument("agent_id", metavar="ID")
@directory_option
@hub_option
@json_option
def resume(agent_id: str, directory: Path, hub: str | None, as_json: bool) -> None:
    """End the parking of an agent: it gets work again, its failures are forgotten."""
    _say("resume", agent_id, directory, hub, f"{agent_id} is not parked any more", as_json=as_json)


@command.command("drain", short_help="Give an agent nothing new.")
@click.argument("agent_id", metavar="ID")
@directory_option
@hub_option
@json_option
def drain(agent_id: str, directory: Path, hub: str | None, as_json: bool) -> None:
    """Let an agent finish what it has and give it nothing new, until `agentcom agent undrain`."""
    follows = f"{agent_id} gets nothing new; what it has in hand goes on"
    _say("drain", agent_id, directory, hub, follows, as_json=as_json)


@command.command("undrain", short_help="Give an agent work again.")
@click.argument("agent_id", metavar="ID")
@directory_option
@hub_option
@json_option
def undrain(agent_id: str, directory: Path, hub: str | None, as_json: bool) -> None:
    """Take back `agentcom agent drain`."""
    _say("undrain", agent_id, directory, hub, f"{agent_id} takes work again", as_json=as_json)


def _say(what: str, agent_id: str, directory: Path, hub: str | None, follows: str, *, as_json: bool) -> None:
    """Put a word about an agent to the running hub, and tell what follows once it is durable."""
    from urllib.parse import quote

    from coordinator.reading import (
        HubBusy,
        HubUnreachable,
        NoAddress,
        TokenRefused,
        ground_or_none,
        hub_named,
        running_hub,
    )

    named = hub_named(hub)
    ground = ground_or_none(directory.absolute()) if named else open_ground(directory)
    try:
        said = running_hub(ground, hub).post(f"/api/agents/{quote(agent_id, safe='')}/{what}")
    except HubBusy as error:
        fail(f"{error}: it has not answered in time; ask again")
    except HubUnreachable as error:
        fail(f"{error}: start it with `agentcom hub`", EXIT_NO_HUB)
    except NoAddress as error:
        fail(str(error), EXIT_USAGE)
    except TokenRefused as error:
        fail(str(error), EXIT_REFUSED)
    if not said:
        fail(f"the hub knows no agent {agent_id}: see `agentcom agent list`")
    if as_json:
        print_json(said)
    else:
        click.echo(follows)

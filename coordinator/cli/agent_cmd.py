"""``agentcom agent``: who may work. Adding, listing, and words about one agent."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.common import (
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


def _word_options(function: Any) -> Any:
    """Add what every word about an agent takes: ``--repo``, ``--hub``, ``--dry-run``, ``--json``."""
    hub = click.option("--hub", metavar="URL", help="Put it to this hub, not into a file of this clone.")
    dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, do nothing.")
    return directory_option(hub(dry_run(json_option(function))))


def _folder_option(function: Any) -> Any:
    """Add ``--dir``, the folder of the agent's sidecar on this machine."""
    return click.option(
        "--dir",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        help="Where its sidecar's config is on this machine (default: as `agent add` sets it up).",
    )(function)


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
@click.option(
    "--command", "program", metavar="WORDS", help="What --runtime shell or wake runs, e.g. 'python3 work.py'."
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="What the runtime needs, e.g. model=...; repeatable.",
)
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
    program: str | None,
    options: tuple[str, ...],
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
        if install or runtime or program or options or folder or show_token or token_stdin or dry_run:
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
            _command_words(program),
            _key_values(options),
            profile,
            place,
            show_token,
            token,
            dry_run,
            as_json,
        )
    )


def _command_words(text: str | None) -> tuple[str, ...]:
    """Return the words of a command, its program as an absolute path where it is one, or end with one line."""
    import shlex

    try:
        words = shlex.split(text or "")
    except ValueError as error:
        fail(f"--command {text}: {error}", EXIT_USAGE)
    if text is not None and not words:
        fail("--command: names no program", EXIT_USAGE)
    if words and "/" in words[0]:
        words[0] = str(Path(words[0]).absolute())
    return tuple(words)


def _key_values(options: tuple[str, ...]) -> dict[str, str]:
    said = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not key or not equals or not value:
            fail(f"--option {option}: write KEY=VALUE", EXIT_USAGE)
        said[key] = value
    return said


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


@command.command("show", short_help="Show one agent.")
@click.argument("agent_id", metavar="ID")
@_folder_option
@directory_option
@hub_option
@json_option
def show(agent_id: str, folder: Path | None, directory: Path, hub: str | None, as_json: bool) -> None:
    """Show one agent: what it is at, why it gets no work, how its tokens begin, its sidecar here."""
    from coordinator.cli.agent_words import show as show_agent

    show_agent(agent_id, directory, hub, folder, as_json=as_json)


@command.command("resume", short_help="Let a parked agent have work again.")
@click.argument("agent_id", metavar="ID")
@_word_options
def resume(agent_id: str, directory: Path, hub: str | None, dry_run: bool, as_json: bool) -> None:
    """End the parking of an agent: it gets work again, its failures are forgotten."""
    from coordinator.cli.agent_words import keep

    keep("resume", agent_id, directory, hub, dry_run=dry_run, as_json=as_json)


@command.command("drain", short_help="Give an agent nothing new.")
@click.argument("agent_id", metavar="ID")
@_word_options
def drain(agent_id: str, directory: Path, hub: str | None, dry_run: bool, as_json: bool) -> None:
    """Let an agent finish what it has and give it nothing new, until `agentcom agent undrain`."""
    from coordinator.cli.agent_words import keep

    keep("drain", agent_id, directory, hub, dry_run=dry_run, as_json=as_json)


@command.command("undrain", short_help="Give an agent work again.")
@click.argument("agent_id", metavar="ID")
@_word_options
def undrain(agent_id: str, directory: Path, hub: str | None, dry_run: bool, as_json: bool) -> None:
    """Take back `agentcom agent drain`."""
    from coordinator.cli.agent_words import keep

    keep("undrain", agent_id, directory, hub, dry_run=dry_run, as_json=as_json)


@command.command("disable", short_help="Let an agent neither connect nor work.")
@click.argument("agent_id", metavar="ID")
@_word_options
def disable(agent_id: str, directory: Path, hub: str | None, dry_run: bool, as_json: bool) -> None:
    """End an agent's session, put its work back into the queue, and let it in no more until `agentcom agent enable`.

    Commits `disabled: true` in agents/ID.yaml where this clone has that file; an agent that was registered at the hub
    is disabled there. To let it finish first: `agentcom agent drain`.
    """
    from coordinator.cli.agent_words import switch

    switch(agent_id, directory, hub, disabled=True, dry_run=dry_run, as_json=as_json)


@command.command("enable", short_help="Take back `agent disable`.")
@click.argument("agent_id", metavar="ID")
@_word_options
def enable(agent_id: str, directory: Path, hub: str | None, dry_run: bool, as_json: bool) -> None:
    """Let a disabled agent connect and work again."""
    from coordinator.cli.agent_words import switch

    switch(agent_id, directory, hub, disabled=False, dry_run=dry_run, as_json=as_json)


@command.command("remove", short_help="Remove an agent, and its service on this machine.")
@click.argument("agent_id", metavar="ID")
@click.option("--now", is_flag=True, help="Also with work in hand, which goes back into the queue.")
@click.option("--yes", "sure", is_flag=True, help="Do not ask.")
@_folder_option
@_word_options
def remove(
    agent_id: str,
    now: bool,
    sure: bool,
    folder: Path | None,
    directory: Path,
    hub: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove an agent: delete agents/ID.yaml by a commit of yours, or what the hub made.

    Its service on this machine is stopped first, so that it delivers what it has, and taken away. Config file, results
    and whatever else its sidecar wrote stay, and are named. Refused while it has work in hand, unless --now.
    """
    from coordinator.cli.agent_words import Removal
    from coordinator.cli.agent_words import remove as remove_agent

    remove_agent(agent_id, directory, hub, Removal(folder, now, sure, dry_run, as_json))


@command.command("rotate-token", short_help="Give an agent another token.")
@click.argument("agent_id", metavar="ID")
@click.option("--grace", default="24h", metavar="SPAN", help="How long the token before goes on (24h; 0: not at all).")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the token to this new file (0600), instead of printing it.",
)
@click.option("--token-stdin", is_flag=True, help="Use the token on standard input; where agents/ID.yaml has tokens.")
@click.option("--now", is_flag=True, help="Do not spare work in hand, nor an older token.")
@_folder_option
@_word_options
def rotate_token(
    agent_id: str,
    grace: str,
    token_file: Path | None,
    token_stdin: bool,
    now: bool,
    folder: Path | None,
    directory: Path,
    hub: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Give an agent another token; the one before goes on for --grace, so that nothing stands still meanwhile.

    The hash is committed to agents/ID.yaml where this clone has that file with tokens in it; else the hub makes the
    token. It goes into the config file of the agent's sidecar if that is on this machine, whose service is started
    again unless it has work in hand; else it is printed once, or written to --token-file. Run it again after a failure.
    """
    from coordinator.cli.rotating import Rotation, rotate, token_from_stdin

    given = token_from_stdin() if token_stdin else None
    rotate(agent_id, directory, hub, Rotation(folder, token_file, given, grace, now, dry_run, as_json))

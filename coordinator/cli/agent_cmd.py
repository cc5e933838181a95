"""``agentcom agent add|list``: who may work."""

from pathlib import Path

import click

from coordinator.cli.common import EXIT_USAGE, directory_option, fail, json_option, print_json, refuse, table
from coordinator.cli.reading_options import hub_option, look, open_ground


@click.group("agent")
def command() -> None:
    """Add an agent, list agents."""


@command.command("add")
@click.argument("agent_id")
@directory_option
@click.option("--name", help="A name for people (default: the id).")
@click.option("--capabilities", default="", help="Comma-separated; nothing beyond these counts.")
@json_option
def add(agent_id: str, directory: Path, name: str | None, capabilities: str, as_json: bool) -> None:
    """Write agents/AGENT_ID.yaml with a new token's hash and commit it; the token is shown once."""
    ground = open_ground(directory)
    from coordinator.core.task import is_id
    from coordinator.files.emitter import quoted
    from coordinator.git.person import CannotCommit, NoWorkTree, commit_paths
    from coordinator.place import new_token
    from coordinator.web.auth import digest

    branch = ground.source_ref.removeprefix("refs/heads/")
    if not is_id(agent_id, branch):
        fail(f"{agent_id!r} is no id: lower-case letters, digits and '-', at most 64, and no reserved word", EXIT_USAGE)
    if ground.repo.work_tree is None:
        refuse(NoWorkTree(f"{ground.repo.common_dir} has no work tree: run this in a clone of it"))
    words = [word.strip() for word in capabilities.split(",") if word.strip()]
    path = f"agents/{agent_id}.yaml" if ground.root == "." else f"{ground.root}/agents/{agent_id}.yaml"
    if (ground.repo.work_tree / path).exists():
        fail(f"{path} is there already: choose another id, or remove that file and commit")
    token = new_token()
    lines = [f"name: {quoted(name or agent_id)}"]
    if words:
        lines.append(f"capabilities: [{', '.join(quoted(word) for word in words)}]")
    lines += ["role: agent", "tokens:", f"  - sha256: {digest(token)}", f"    prefix: {token[:8]}"]
    data = ("\n".join(lines) + "\n").encode()
    from coordinator.files.loader import load_agent

    read = load_agent(path, data, "", reserved=(branch,))
    if isinstance(read, tuple):
        fail("; ".join(str(problem) for problem in read), EXIT_USAGE)
    try:
        commit = commit_paths(ground.repo, ground.source_ref, {path: data}, f"Add agent {agent_id}")
    except CannotCommit as error:
        refuse(error)
    if as_json:
        print_json({"agent_id": agent_id, "token": token, "path": path, "commit": commit})
        return
    click.echo(f"committed {commit[:8]}: {path}")
    click.echo(f"token (shown once): {token}")
    click.echo("put it into the sidecar's config file, readable by its user alone:")
    click.echo(
        f"  agent_id: {agent_id}\n  token: {token}\n  hub_url: ws://127.0.0.1:4000/ws\n  runtime: {{name: fake}}"
    )
    click.echo("then: agentcom-sidecar run --config FILE")


@command.command("list")
@directory_option
@hub_option
@json_option
def list_agents(directory: Path, hub: str | None, as_json: bool) -> None:
    """List agents: who is there, and at what."""
    picture = look(directory, hub, with_tasks=False)
    if as_json:
        print_json({**picture.origin, "agents": list(picture.agents)})
        return
    click.echo(picture.as_of)
    if not picture.agents:
        click.echo("no agents; add one with `agentcom agent add ID`")
    rows = [
        (
            a["agent_id"],
            a["fsm_state"],
            a["current_task_id"] or "-",
            ",".join(a["capabilities"]) or "-",
            ", ".join(a["flags"]),
        )
        for a in picture.agents
    ]
    click.echo(table(rows))

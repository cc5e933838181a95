"""``agentcom import v1``: take over agents and open tasks of a hub of version 1."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.common import (
    EXIT_FILES_WRONG,
    EXIT_NO_HUB,
    EXIT_REFUSED,
    EXIT_USAGE,
    directory_option,
    fail,
    json_option,
    print_json,
    print_table,
)
from coordinator.cli.reading_options import open_ground
from coordinator.cli.status_cmd import problem_line
from coordinator.cli.writing import said_plainly

if TYPE_CHECKING:
    from coordinator.desk import Desk
    from coordinator.oldhub import OldAgent, OldTask, Tokens
    from coordinator.takeover import Taking

#: So many tasks are asked for at once.
_PAGE = 1000


@click.group("import")
def command() -> None:
    """Take over from another coordinator."""


@command.command("v1", short_help="Take over agents and open tasks of version 1.")
@click.option(
    "--tokens",
    "tokens_file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Version 1's tokens.json: {agent_id: token}, or a list of {agent_id, token}.",
)
@click.option("--hub", "url", metavar="URL", help="The old hub, whose open tasks are taken over; left away: none.")
@click.option(
    "--admin-token",
    envvar="AGENTCOM_V1_TOKEN",
    metavar="TOKEN",
    help="What opens the old hub; better in AGENTCOM_V1_TOKEN, where no other user sees it.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be taken over, write nothing.")
@directory_option
@json_option
def v1(
    tokens_file: Path, url: str | None, admin_token: str | None, dry_run: bool, directory: Path, as_json: bool
) -> None:
    """Write agents/ID.yaml for each old token, tasks/ID.yaml on hold for each open task, in one commit of yours.

    Agents keep their tokens: only the hashes are written. The old hub is only read. Doing it again takes over what has
    come since then.
    """
    from dataclasses import asdict

    from coordinator.desk import Desk
    from coordinator.oldhub import LEFT_BEHIND, Collision, agents, open_tasks
    from coordinator.takeover import take
    from coordinator.web.auth import digest

    ground = open_ground(directory)
    tokens = _tokens(tokens_file)
    said = _ask(url, admin_token) if url else {"agents": [], "tasks": []}
    names = {str(one.get("agent_id")): str(one.get("name") or "") for one in said["agents"]}
    with said_plainly():
        desk = Desk.open(ground)
        try:
            old_agents = agents(tokens.pairs, names, digest, desk.reserved)
            ours = {agent.old_id: agent.id for agent in old_agents}
            taking = take(desk, old_agents, open_tasks(said["tasks"], ours, _now(), desk.reserved))
        except Collision as error:
            fail(f"nothing was imported: {error}", EXIT_USAGE)
        commit = None if dry_run or not taking.files else _commit(desk, taking)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "commit": commit,
                "files": sorted(taking.files),
                "agents": [_agent_json(agent, taking) for agent in old_agents],
                "tasks": [
                    *(_task_json(task, "new") for task in taking.new_tasks),
                    *(_task_json(task, "there") for task in taking.known_tasks),
                    *(
                        {**_task_json(task, "wrong"), "problems": [asdict(one) for one in problems]}
                        for task, problems in taking.wrong
                    ),
                ],
                "remarks": list(tokens.remarks),
                "left_behind": list(LEFT_BEHIND),
            }
        )
    else:
        _say(tokens, old_agents, taking, commit, dry_run=dry_run, asked=url is not None)
        if commit and ground.to_push:
            click.echo(ground.to_push)
    for task, problems in taking.wrong:
        for problem in problems:
            click.echo(f"task {task.old_id} is not taken over: {problem_line(asdict(problem))}", err=True)
    if taking.wrong:
        raise click.exceptions.Exit(EXIT_FILES_WRONG)


def _tokens(file: Path) -> "Tokens":
    from coordinator.oldhub import WrongTokens, read_tokens

    try:
        return read_tokens(file.read_bytes())
    except OSError as error:
        fail(f"--tokens {file}: {error.strerror}: name version 1's tokens.json", EXIT_USAGE)
    except WrongTokens as error:
        fail(f"{file}: {error}", EXIT_FILES_WRONG)


def _ask(url: str, token: str | None) -> dict[str, list[Mapping[str, Any]]]:
    """Return agents and tasks of the old hub, or end with one line."""
    from coordinator.reading import HubClient, HubUnreachable, NoAddress, TokenRefused, address

    try:
        client = HubClient(address(url), token)
        tasks, complete = _all_tasks(client)
        return {"tasks": tasks if complete else _incomplete(url, tasks), "agents": _listed(client.get("/api/agents"))}
    except NoAddress as error:
        fail(f"--hub: {error}", EXIT_USAGE)
    except HubUnreachable as error:
        fail(f"{error}: check --hub; without it agents are imported, and no tasks", EXIT_NO_HUB)
    except TokenRefused:
        fail(f"{url} refuses that token: give the old hub's in AGENTCOM_V1_TOKEN or --admin-token", EXIT_REFUSED)


def _all_tasks(client: Any) -> tuple[list[Mapping[str, Any]], bool]:
    """Return the tasks of a hub, and whether it gave all that it counts."""
    tasks: dict[str, Mapping[str, Any]] = {}
    query = {"limit": str(_PAGE)}
    while True:
        page = client.get("/api/tasks", **query)
        if not isinstance(page.get("tasks"), list):
            fail(f"what answers at {client.url} has no list of tasks: is that a hub of version 1?", EXIT_NO_HUB)
        before = len(tasks)
        tasks |= {str(task.get("id") or task.get("task_id")): task for task in page["tasks"]}
        cursor = page.get("cursor")
        if cursor is None or len(tasks) == before:
            count = page.get("total", page.get("count"))
            return list(tasks.values()), not isinstance(count, int) or count <= len(tasks)
        query["cursor"] = str(cursor)


def _incomplete(url: str, tasks: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    click.echo(f"note: {url} gave {len(tasks)} tasks and counts more: end some there, then import again", err=True)
    return tasks


def _listed(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = answer.get("agents")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _now() -> int:
    import time

    return time.time_ns() // 1_000_000


def _commit(desk: "Desk", taking: "Taking") -> str:
    from coordinator.git.person import commit_paths

    agents, tasks = len(taking.new_agents), len(taking.new_tasks)
    what = " and ".join(
        f"{number} {word}{'' if number == 1 else 's'}"
        for number, word in ((agents, "agent"), (tasks, "task"))
        if number
    )
    return commit_paths(desk.ground.repo, desk.ground.source_ref, taking.files, f"Import {what} from version 1")


def _agent_json(agent: "OldAgent", taking: "Taking") -> dict[str, Any]:
    state = "new" if agent in taking.new_agents else "there"
    return {"old_id": agent.old_id, "agent_id": agent.id, "state": state, "weak_token": agent.weak}


def _task_json(task: "OldTask", state: str) -> dict[str, Any]:
    return {"old_id": task.old_id, "id": task.spec.id, "title": task.spec.title, "state": state, "notes": task.notes}


def _say(
    tokens: "Tokens",
    agents: "tuple[OldAgent, ...]",
    taking: "Taking",
    commit: str | None,
    *,
    dry_run: bool,
    asked: bool,
) -> None:
    from coordinator.core.guards import too_many_new
    from coordinator.oldhub import LEFT_BEHIND

    click.echo("agents:")
    print_table([(one.old_id, "->", one.id, _about(one, taking)) for one in agents], "  ")
    if taking.new_tasks or taking.known_tasks:
        click.echo("tasks, on hold:")
        new = [(one.old_id, "->", one.spec.id, one.spec.title[:60]) for one in taking.new_tasks]
        print_table([*new, *((one.old_id, "->", one.spec.id, "is here already") for one in taking.known_tasks)], "  ")
    elif asked:
        click.echo("tasks: the old hub has no open one")
    for task in taking.new_tasks:
        for note in task.notes:
            click.echo(f"  {task.spec.id}: {note}")
    for remark in tokens.remarks:
        click.echo(f"note: {remark}")
    click.echo("not taken over:")
    for what in (*LEFT_BEHIND, *(() if asked else ("tasks: without --hub nobody is asked for them",))):
        click.echo(f"  - {what}")
    if dry_run:
        click.echo(f"nothing was written; it would be {len(taking.files)} files in one commit")
    elif commit is None:
        click.echo("there was nothing to commit: all of it is here already")
    else:
        click.echo(f"committed {commit[:8]}: {len(taking.files)} files")
    if taking.new_tasks:
        click.echo("`agentcom task release ID` lets a task go on, once no agent works for the old hub any more")
    if too_many_new(len(taking.new_tasks)):
        click.echo("so many new tasks at once wait for `agentcom confirm` first")


def _about(agent: "OldAgent", taking: "Taking") -> str:
    parts = ["its token counts from now on" if agent in taking.new_agents else "is here already"]
    if agent.id != agent.old_id:
        parts.append(f"write agent_id: {agent.id} into its sidecar's config")
    if agent.weak:
        parts.append("its token is short and can be guessed from its hash: give it a new one soon")
    return "; ".join(parts)

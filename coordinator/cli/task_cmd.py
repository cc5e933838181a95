"""``agentcom task list|show|why``: tasks as the hub, or the branch, knows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from coordinator.cli.common import EXIT_FAILED, directory_option, fail, json_option, print_json, table
from coordinator.cli.reading_options import hub_option, look
from coordinator.reading import Picture, ground_or_none, trail

_STATES = "queued assigned working blocked in_review done failed rejected cancelled".split()


@click.group("task")
def command() -> None:
    """List tasks, show one, say why one waits."""


@command.command("list")
@directory_option
@hub_option
@click.option("--status", type=click.Choice(_STATES), help="Only tasks in this state.")
@click.option("--all", "with_finished", is_flag=True, help="Finished ones too.")
@json_option
def list_tasks(directory: Path, hub: str | None, status: str | None, with_finished: bool, as_json: bool) -> None:
    """List tasks in the order in which they would run; without --all or --status only open ones."""
    picture = look(directory, hub)
    finished = ("done", "failed", "rejected", "cancelled")
    tasks = [
        task
        for task in picture.tasks
        if (task["status"] == status if status else with_finished or task["status"] not in finished)
    ]
    if as_json:
        print_json({**picture.origin, "tasks": tasks, "count": len(tasks)})
        return
    click.echo(picture.as_of)
    if not tasks:
        click.echo("no tasks" if with_finished or status else "no open tasks; --all shows the finished ones")
    rows = [
        (
            t["id"],
            t["status"],
            t["priority"],
            t["assigned_to"] or "-",
            t["title"][:70],
            (t["why"] or {}).get("code", ""),
        )
        for t in tasks
    ]
    click.echo(table(rows))


@command.command("show")
@click.argument("task_id")
@directory_option
@hub_option
@json_option
def show(task_id: str, directory: Path, hub: str | None, as_json: bool) -> None:
    """Show one task: what is wanted, where it stands, how it got there."""
    picture = look(directory, hub)
    task = _find(picture, task_id)
    ground = ground_or_none(directory.absolute())
    commits = list(trail(ground, task_id)) if ground is not None else []
    if as_json:
        print_json({**picture.origin, **task, "history": commits})
        return
    click.echo(picture.as_of)
    fields = ("title", "status", "priority", "where", "assigned_to", "generation", "created_at", "created_by", "reason")
    rows = [(f"{name}:", str(task[name])) for name in fields if task[name] not in (None, "")]
    rows.append(("retries:", f"{task['retry_count']} of {task['max_retries']}"))
    if task["why"]:
        rows.append(("why it waits:", task["why"]["text"]))
    if task["question"]:
        rows.append(("question:", task["question"]))
    click.echo(table(rows))
    for name in ("description", "result"):
        if task[name]:
            click.echo(f"\n{name}:\n{_indented(task[name])}")
    if commits:
        click.echo("\nhistory, newest first:")
        click.echo(table([(c["time"][:19].replace("T", " "), c["commit"][:8], c["subject"]) for c in commits], "  "))


@command.command("why")
@click.argument("task_id")
@directory_option
@hub_option
@json_option
def why(task_id: str, directory: Path, hub: str | None, as_json: bool) -> None:
    """Say why a task is not being worked on."""
    picture = look(directory, hub)
    task = _find(picture, task_id)
    reason = task["why"]
    if as_json:
        print_json({**picture.origin, "id": task_id, "status": task["status"], "why": reason})
    elif reason is None:
        owner = f" by {task['assigned_to']}" if task["assigned_to"] else ""
        click.echo(f"{task_id} does not wait: it is {task['status']}{owner}")
    elif not picture.live and reason["code"] in ("agents_offline", "pinned", "no_agent"):
        click.echo(f"{reason['code']}: {reason['text']} ({picture.as_of})")
    else:
        click.echo(f"{reason['code']}: {reason['text']}")


def _find(picture: Picture, task_id: str) -> Mapping[str, Any]:
    for task in picture.tasks:
        if task["id"] == task_id:
            return task
    fail(f"there is no task {task_id} ({picture.as_of}); `agentcom task list --all` shows the ids", EXIT_FAILED)


def _indented(value: Any) -> str:
    import json

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    clean = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
    return "\n".join(f"  {line}" for line in clean.splitlines())

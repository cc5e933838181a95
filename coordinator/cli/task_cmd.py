"""``agentcom task``: ``list|show|why`` show tasks as the hub, or the branch, knows them; the rest write files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.common import (
    EXIT_FILES_WRONG,
    LOG,
    directory_option,
    fail,
    json_option,
    local_time,
    one_line,
    print_json,
    print_table,
)
from coordinator.cli.lazy import LazyGroup
from coordinator.cli.reading_options import hub_option, look, say_origin
from coordinator.cli.status_cmd import print_ways, problem_line

if TYPE_CHECKING:
    from coordinator.reading import Picture

_FINISHED = "done failed rejected cancelled".split()
_STATES = ["queued", "assigned", "working", "blocked", "in_review", *_FINISHED]
#: What `show` prints of a task, in this order, where there is something to say.
_SHOWN = "title status priority where assigned_to needed_capabilities depends_on labels created_by reason".split()


#: Commands that write, each in a module that is imported when it is called.
WRITING = {
    "new": ("task_spec_cmd:new", "Write a new task as a file, and commit it."),
    "edit": ("task_spec_cmd:edit", "Change what is wanted of a task, by options or in your editor."),
    "hold": ("task_word_cmd:hold", "Let a task wait until it is released."),
    "release": ("task_word_cmd:release", "Let a held task go on."),
    "cancel": ("task_word_cmd:cancel", "Give a task up."),
    "rerun": ("task_word_cmd:rerun", "Run a finished task again."),
    "answer": ("task_word_cmd:answer", "Answer the question of a blocked task."),
    "approve": ("task_word_cmd:approve", "Approve the result of a task in review."),
    "reject": ("task_word_cmd:reject", "Send a result in review back, and say what should change."),
    "rm": ("task_word_cmd:rm", "Delete the file of a task."),
}


@click.group("task", cls=LazyGroup, lazy=WRITING)
def command() -> None:
    """List tasks, show one, say why one waits; write one, say a word about one.

    The writing commands change the file tasks/ID.yaml and commit it, and nothing else, as you.
    """


@command.command("list", short_help="List open tasks, or all.")
@directory_option
@hub_option
@click.option(
    "--status", metavar="STATE", type=click.Choice(_STATES), help=f"Only tasks in STATE: {' '.join(_STATES)}."
)
@click.option("--all", "with_finished", is_flag=True, help="Finished ones too.")
@json_option
def list_tasks(directory: Path, hub: str | None, status: str | None, with_finished: bool, as_json: bool) -> None:
    """List tasks in the order in which they would run; without --all or --status only open ones."""
    picture = look(directory, hub)
    tasks = [
        task
        for task in picture.tasks
        if (task["status"] == status if status else with_finished or task["status"] not in _FINISHED)
    ]
    if as_json:
        print_json({**picture.origin, "tasks": tasks, "count": len(tasks)})
        return
    say_origin(picture)
    if not tasks and picture.known:
        click.echo("no tasks" if with_finished or status else "no open tasks; --all shows the finished ones")
    rows = (
        (
            t["id"],
            t["status"],
            t["priority"],
            t["assigned_to"] or "-",
            t["title"][:70],
            (t["why"] or {}).get("code", ""),
        )
        for t in tasks
    )
    print_table(rows, heads=("task", "status", "priority", "agent", "title", "why"))


@command.command("show", short_help="Show one task and its history.")
@click.argument("task_id")
@directory_option
@hub_option
@json_option
def show(task_id: str, directory: Path, hub: str | None, as_json: bool) -> None:
    """Show one task: what is wanted, where it stands, how it got there."""
    from coordinator.cli.log_cmd import said
    from coordinator.memoir import HISTORY_SHOWN
    from coordinator.yourturn import turn_of

    picture = look(directory, hub, task_id=task_id)
    task = _only(picture, task_id)
    if as_json:
        print_json({**picture.origin, **task, "history": picture.history})
        return
    say_origin(picture)
    rows = [(f"{name}:", _word(task[name])) for name in _SHOWN if task[name]]
    rows.append(("created_at:", local_time(task["created_at_ms"])))
    rows.append(("retries:", f"{task['retry_count']} of {task['max_retries']}"))
    if task["why"]:
        rows.append(("why it waits:", task["why"]["text"]))
    if task["question"]:
        rows.append(("question:", task["question"]))
    print_table(rows, whole=True)
    if (turn := turn_of(task)) is not None:
        click.echo("\nit waits for you:")
        print_ways(turn)
    for name in ("description", "result"):
        if task[name]:
            click.echo(f"\n{name}:\n{_indented(task[name])}")
    if words := _words(task):
        click.echo("\nwhat people said:")
        print_table(words, "  ")
    if picture.history:
        click.echo("\nhistory, newest first:")
        print_table([(local_time(c["time_ms"]), c["commit"][:8], said(c)) for c in picture.history], "  ", LOG)
        if len(picture.history) >= HISTORY_SHOWN:
            click.echo(f"  and what came before: agentcom log {task_id}")


@command.command("why", short_help="Say why a task waits.")
@click.argument("task_id")
@directory_option
@hub_option
@json_option
def why(task_id: str, directory: Path, hub: str | None, as_json: bool) -> None:
    """Say why a task is not being worked on, and what is wrong with its file or its line of BACKLOG.md."""
    picture = look(directory, hub, task_id=task_id)
    task = _only(picture, task_id)
    reason = task["why"]
    problems = _problems(picture, task_id)
    if as_json:
        print_json({**picture.origin, "id": task_id, "status": task["status"], "why": reason, "problems": problems})
        return
    from coordinator.yourturn import turn_of

    as_of = "" if picture.live else f" ({picture.as_of})"
    turn = turn_of(task)
    if turn is not None:
        click.echo(one_line(f"{task_id} waits for you: {turn.what}{as_of}"))
        print_ways(turn)
    elif reason is None:
        owner = f" by {task['assigned_to']}" if task["assigned_to"] else ""
        click.echo(f"{task_id} does not wait: it is {task['status']}{owner}{as_of}")
    else:
        click.echo(one_line(f"{reason['code']}: {reason['text']}{as_of}"))
    for problem in problems:
        click.echo(problem_line(problem))
    if problems:
        click.echo("until that is mended, its last good version is in force")


def _problems(picture: "Picture", task_id: str) -> list[Mapping[str, Any]]:
    """Return what keeps the newest version of a task's file or line from being in force."""
    return [problem for problem in picture.problems if problem.get("task_id") == task_id]


def _only(picture: "Picture", task_id: str) -> Mapping[str, Any]:
    for task in picture.tasks:
        return task
    if problems := "; ".join(problem_line(problem) for problem in _problems(picture, task_id)):
        fail(f"there is no task {task_id} yet, because something is wrong: {problems}", EXIT_FILES_WRONG)
    fail(f"there is no task {task_id} ({picture.as_of}); `agentcom task list --all` shows the ids")


def _words(task: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the answers and verdicts that a task got so far, oldest first."""
    said = [(one["generation"], "answered", one["text"]) for one in task["answers"]]
    said += [(one["generation"], "approved" if one["approve"] else "sent back", one["note"]) for one in task["reviews"]]
    return [(what, text) for _, what, text in sorted(said, key=lambda one: one[0])]


def _word(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _indented(value: Any) -> str:
    import json

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    clean = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
    return "\n".join(f"  {line}" for line in clean.splitlines())

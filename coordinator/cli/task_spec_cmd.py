"""``agentcom task new|edit``: what is wanted of a task, from options or from an editor."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.common import EXIT_USAGE, fail
from coordinator.cli.writing import (
    How,
    find,
    finish,
    report,
    rewritten,
    said_plainly,
    say_problems,
    sit_down,
    writing_options,
)

if TYPE_CHECKING:
    from coordinator.asking import Standing
    from coordinator.desk import Desk
    from coordinator.files.rewrite import Value

_PRIORITIES = "urgent high normal low".split()
#: Key of the file -> the option that sets it; the order is that of the file.
_OPTIONS = {
    "title": "title",
    "description": "description",
    "priority": "priority",
    "needed_capabilities": "needs",
    "depends_on": "depends",
    "assignee": "assignee",
    "timeout": "timeout",
    "deadline": "deadline",
    "review": "review",
    "hold": "hold",
    "repo": "target-repo",
    "base": "base",
    "labels": "label",
    "acceptance": "acceptance",
}


def _spec_options(function: Any) -> Any:
    """Add one option for each key that people set, in the order of the file."""
    options = [
        click.option("--description", metavar="TEXT", help="What the agent should know."),
        click.option("--description-file", metavar="FILE", help="The same from a file, or from standard input (-)."),
        click.option(
            "--priority", metavar="P", type=click.Choice(_PRIORITIES), help=f"One of {' '.join(_PRIORITIES)}."
        ),
        click.option("--needs", metavar="A,B", help="Capabilities that its agent must have."),
        click.option("--depends", metavar="ID,ID", help="Tasks that must be done before."),
        click.option("--assignee", metavar="AGENT", help="Only this agent."),
        click.option("--timeout", metavar="D", help="Of one attempt: 90s, 30m, 2h, 1d."),
        click.option("--deadline", metavar="T", help="2026-12-01 (the end of that day, UTC) or 2026-12-01T12:00:00Z."),
        click.option("--review/--no-review", default=None, help="A person approves the result."),
        click.option("--hold/--no-hold", default=None, help="It waits until it is released."),
        click.option("--target-repo", metavar="NAME", help="Where the work is done: a name for the agent."),
        click.option("--base", metavar="BRANCH", help="The branch from which the work starts."),
        click.option("--label", metavar="L", multiple=True, help="A label; may be given several times."),
        click.option(
            "--acceptance", metavar="TEXT", multiple=True, help="What must be true at the end; several times."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command("new")
@click.argument("title")
@click.option("--id", "task_id", metavar="ID", help="Its id (default: t- and eight random characters).")
@_spec_options
@writing_options
def new(
    title: str, task_id: str | None, directory: Path, push: bool, as_json: bool, hub: str | None, **options: Any
) -> None:
    """Write a new task TITLE into tasks/ID.yaml and commit it.

    For most tasks a line in BACKLOG.md is enough: agentcom add.
    """
    from coordinator import asking
    from coordinator.core.task import is_id
    from coordinator.files.taskfile import changed, check

    how = How(directory, push, as_json, hub)
    values = {key: value for key, value in _values({"title": title, **options}).items() if value is not None}
    if (there := how.elsewhere()) is not None:
        if task_id is not None:
            fail("--id and --hub exclude one another: the hub gives the id", EXIT_USAGE)
        there.new(values)
        return
    with said_plainly(), _options_named("TITLE"):
        desk = sit_down(how)
        if task_id is not None and not is_id(task_id, *desk.reserved):
            fail(f"--id {task_id}: use lower-case letters, digits and -, at most 64, and no reserved word", EXIT_USAGE)
        name = desk.free_id(task_id)
        path = desk.path(name)
        data = changed(path, desk.begin(), values, reserved=desk.reserved)
        spec = check(path, data, reserved=desk.reserved)
        task = asking.Standing(spec, path, data)
        _remark(desk, task, values)
        finish(desk, how, task, asking.create(name, spec.title, held=spec.hold), data)


@click.command("edit")
@click.argument("task_id", metavar="ID")
@click.option("--title", metavar="TEXT", help="What is to be done, in one line.")
@_spec_options
@writing_options
def edit(task_id: str, directory: Path, push: bool, as_json: bool, hub: str | None, **options: Any) -> None:
    """Change keys of task ID in its file, and commit that; an empty text takes a key away.

    Without an option the file is opened in $VISUAL or $EDITOR.
    """
    from coordinator import asking

    how = How(directory, push, as_json, hub)
    values = _values(options)
    if (there := how.elsewhere()) is not None:
        there.edit(task_id, values)
        return
    with said_plainly(), _options_named("--title"):
        desk = sit_down(how)
        task = find(desk, how, task_id, wrong_too=not values)
        if not values:
            _in_editor(desk, how, task)
            return
        ask = asking.edit(task, values)
        data = rewritten(desk, task, ask)
        if data == task.data:
            raise asking.Pointless(f"{task.id} says that already: nothing is changed")
        _remark(desk, task, values)
        finish(desk, how, task, ask, data)


def _values(options: Mapping[str, Any]) -> "dict[str, Value]":
    """Return what options say as keys of the file, in its order; None takes a key away."""
    given = dict(options)
    from_file = given.pop("description_file", None)
    if from_file is not None:
        if given["description"] is not None:
            fail("--description and --description-file exclude one another", EXIT_USAGE)
        given["description"] = _read(from_file)
    values: dict[str, Value] = {}
    for key, option in _OPTIONS.items():
        value = given.get(option.replace("-", "_"))
        if value is None or value == ():
            continue
        if key in ("needed_capabilities", "depends_on"):
            value = tuple(word.strip() for word in value.split(",") if word.strip())
        elif isinstance(value, tuple):
            value = [text for text in value if text.strip()]
            value = tuple(value) if key == "labels" else value
        elif key == "review":
            value = "required" if value else "none"
        values[key] = value if value or value is False or key == "title" else None
    return values


def _read(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except OSError as error:
        fail(f"--description-file {name}: {error.strerror}", EXIT_USAGE)
    except UnicodeDecodeError:
        fail(f"--description-file {name}: is not UTF-8, save it as UTF-8 first", EXIT_USAGE)


@contextmanager
def _options_named(title: str) -> Iterator[None]:
    """Report a wrong value by the option that gave it; ``title`` is how the title was given."""
    from coordinator.files.taskfile import NotMeant

    try:
        yield
    except NotMeant as error:
        first = error.problems[0]
        key = first.field.partition("[")[0]
        option = title if key == "title" else f"--{_OPTIONS[key]}"
        fail(f"{option}: {', '.join(part for part in (first.what, first.hint) if part)}", EXIT_USAGE)


def _remark(desk: "Desk", task: "Standing", values: "Mapping[str, Value]") -> None:
    """Say on stderr what the hub would complain about; refuse a task that waits for itself."""
    depends = values.get("depends_on")
    if isinstance(depends, tuple):
        if task.id in depends:
            fail(f"--depends: {task.id} cannot wait for itself", EXIT_USAGE)
        used = desk.used()
        for needed in depends:
            if needed not in used:
                click.echo(f"note: there is no task {needed} yet; until then {task.id} waits", err=True)
    assignee = values.get("assignee")
    if assignee and not desk.agent_exists(str(assignee)):
        click.echo(f"note: there is no agent {assignee} yet; until then {task.id} waits", err=True)


def _in_editor(desk: "Desk", how: How, task: "Standing") -> None:
    from coordinator import asking
    from coordinator.cli.editor import edited
    from coordinator.files.taskfile import WrongFile, check
    from coordinator.git.person import CannotCommit

    def complain(data: bytes) -> bool:
        try:
            check(task.path, data, reserved=desk.reserved)
        except WrongFile as error:
            say_problems(error.problems)
            return True
        return False

    data, copy = edited(f"{task.id}.yaml", task.data, complain)
    try:
        if desk.read(task.path) != (task.data if task.own else None):
            copy.keep(f"{task.path} was changed by somebody else meanwhile")
        ask = asking.edit(task, {})
        commit = desk.commit(task.path, data, ask.subject)
    except CannotCommit as error:
        copy.keep(str(error))
    copy.forget()
    report(desk, how, task, ask, commit, taken_over=not task.own)

"""What the commands share that write the file of one task: sitting down at the desk, the commit, and what they say."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.common import EXIT_FILES_WRONG, directory_option, fail, json_option, print_json, refuse
from coordinator.cli.reading_options import look, open_ground
from coordinator.cli.status_cmd import problem_line

if TYPE_CHECKING:
    from coordinator.asking import Ask, Standing
    from coordinator.cli.elsewhere import Elsewhere
    from coordinator.desk import Desk
    from coordinator.files.problem import Problem


def writing_options(function: Any) -> Any:
    """Add ``--hub``, ``--push``, ``--repo`` and ``--json``: the fields of ``How``."""
    hub = click.option("--hub", metavar="URL", help="Let this hub write it, through its HTTP API: no clone is needed.")
    push = click.option("--push", "push", is_flag=True, help="Push the branch to its upstream afterwards.")
    return hub(push(directory_option(json_option(function))))


@dataclass(frozen=True, slots=True)
class How:
    """The options that all writing commands take."""

    directory: Path
    push: bool
    as_json: bool
    hub: str | None = None

    def elsewhere(self) -> "Elsewhere | None":
        """Return the hub that shall write, None when a file here is to be written."""
        from coordinator.cli.elsewhere import Elsewhere

        return Elsewhere(self.hub, self.directory, push=self.push, as_json=self.as_json) if self.hub else None


@contextmanager
def said_plainly() -> Iterator[None]:
    """Turn whatever is in the way of a person's word into one line (wrong files: one for each problem)."""
    from coordinator.asking import Pointless
    from coordinator.desk import IdInUse, NoTask
    from coordinator.files.rewrite import CannotChange
    from coordinator.files.taskfile import WrongFile
    from coordinator.git.person import CannotCommit
    from coordinator.ports import StoreError

    try:
        yield
    except CannotCommit as error:
        refuse(error)
    except WrongFile as error:
        say_problems(error.problems)
        raise click.exceptions.Exit(EXIT_FILES_WRONG) from None
    except CannotChange as error:
        fail(str(error), EXIT_FILES_WRONG)
    except (Pointless, NoTask, IdInUse, StoreError) as error:
        fail(str(error))


def say_problems(problems: "tuple[Problem, ...]") -> None:
    """Print problem lines on stderr."""
    for problem in problems:
        click.echo(problem_line(asdict(problem)), err=True)


def sit_down(how: How) -> "Desk":
    """Return the desk in the clone around the directory."""
    from coordinator.desk import Desk

    return Desk.open(open_ground(how.directory), push=how.push)


def word(how: How, task_id: str, decide: "Callable[[Standing], Ask]") -> None:
    """Do what one word about one task asks for: look, decide, write, commit, say."""
    with said_plainly():
        desk = sit_down(how)
        task = find(desk, how, task_id)
        ask = decide(task)
        finish(desk, how, task, ask, rewritten(desk, task, ask))


def find(desk: "Desk", how: How, task_id: str, *, wrong_too: bool = False) -> "Standing":
    """Return how a task stands, as the hub, or the branch, knows it; with ``wrong_too`` also when its file is wrong."""
    picture = look(how.directory, None, task_id=task_id)
    return desk.standing(task_id, next(iter(picture.tasks), None), wrong_too=wrong_too)


def rewritten(desk: "Desk", task: "Standing", ask: "Ask") -> bytes:
    """Return the text of a task's file with what is asked for. Raises WrongFile, CannotChange."""
    from coordinator.files.taskfile import changed

    return changed(task.path, task.data, ask.values, reserved=desk.reserved)


def finish(desk: "Desk", how: How, task: "Standing", ask: "Ask", data: bytes | None) -> None:
    """Commit the file of a task (None deletes it), push it when that was asked for, and say what follows."""
    report(
        desk, how, task, ask, desk.commit(task.path, data, ask.subject), taken_over=data is not None and not task.own
    )


def report(desk: "Desk", how: How, task: "Standing", ask: "Ask", commit: str, *, taken_over: bool) -> None:
    """Push a commit that was made when that was asked for, and say what follows from it."""
    from coordinator.git.person import NotPushed, push
    from coordinator.reading import hub_runs

    refused: NotPushed | None = None
    if how.push:
        try:
            push(desk.ground.repo, desk.ground.source_ref)
        except NotPushed as error:
            refused = error
    running = hub_runs(desk.ground) is not None
    if how.as_json:
        said = {"id": task.id, "path": task.path, "commit": commit, "what": ask.what}
        pushed = how.push and refused is None
        print_json({**said, "pushed": pushed, "taken_over": taken_over, "hub_running": running})
    else:
        known = running or desk.ground.elsewhere is not None
        click.echo(f"committed {commit[:8]}: {task.path}; {_what_follows(task, ask, taken_over, known)}")
        if not how.push and (hint := desk.ground.to_push):
            click.echo(hint)
        if how.push and refused is None:
            click.echo(f"pushed {desk.ground.branch}")
    if refused is not None:
        fail(str(refused))


def _what_follows(task: "Standing", ask: "Ask", taken_over: bool, running: bool) -> str:
    over = f"it takes {task.id} over" + (f" from {task.line}" if task.line else "") + "; " if taken_over else ""
    if not ask.by_hub:
        return over + ask.follows
    return over + (ask.follows if running else f"no hub is running: after `agentcom hub`, {ask.follows}")

"""``agentcom task hold|release|cancel|rerun|answer|approve|reject|rm``: one word about one task."""

from typing import Any

import click

from coordinator.cli.common import EXIT_USAGE, fail
from coordinator.cli.writing import How, find, finish, said_plainly, sit_down, word, writing_options


def _task(function: Any) -> Any:
    return click.argument("task_id", metavar="ID")(writing_options(function))


@click.command("hold")
@_task
def hold(task_id: str, **how: Any) -> None:
    """Write `hold: true` into the file of task ID: it waits until it is released."""
    from coordinator import asking

    if (there := How(**how).elsewhere()) is not None:
        there.hold(task_id, hold=True)
        return
    word(How(**how), task_id, asking.hold)


@click.command("release")
@_task
def release(task_id: str, **how: Any) -> None:
    """Take `hold: true` out of the file of task ID."""
    from coordinator import asking

    if (there := How(**how).elsewhere()) is not None:
        there.hold(task_id, hold=False)
        return
    word(How(**how), task_id, asking.release)


@click.command("cancel")
@_task
def cancel(task_id: str, **how: Any) -> None:
    """Write `cancel: true` into the file of task ID: nobody works on it any more."""
    from coordinator import asking

    if (there := How(**how).elsewhere()) is not None:
        there.word("cancel", task_id, {})
        return
    word(How(**how), task_id, asking.cancel)


@click.command("rerun")
@_task
def rerun(task_id: str, **how: Any) -> None:
    """Raise `rerun` in the file of task ID: it is queued again, with retries and exclusions forgotten."""
    from coordinator import asking

    if (there := How(**how).elsewhere()) is not None:
        there.word("rerun", task_id, {})
        return
    word(How(**how), task_id, asking.rerun)


@click.command("answer")
@click.argument("task_id", metavar="ID")
@click.argument("text")
@writing_options
def answer(task_id: str, text: str, **how: Any) -> None:
    """Answer the question of task ID with TEXT."""
    from coordinator import asking

    if not text.strip():
        fail("the answer is empty: write it as one argument, in quotes", EXIT_USAGE)
    if (there := How(**how).elsewhere()) is not None:
        there.word("answer", task_id, {"text": text})
        return
    word(How(**how), task_id, lambda task: asking.answer(task, text))


@click.command("approve")
@click.option("--note", metavar="TEXT", default="", help="A word to go with it.")
@_task
def approve(task_id: str, note: str, **how: Any) -> None:
    """Approve the result of task ID, which is in review."""
    from coordinator import asking

    if (there := How(**how).elsewhere()) is not None:
        there.word("approve", task_id, {"note": note})
        return
    word(How(**how), task_id, lambda task: asking.decide(task, approve=True, note=note))


@click.command("reject")
@click.option("--note", metavar="TEXT", default="", help="What should change; the next attempt gets to read it.")
@_task
def reject(task_id: str, note: str, **how: Any) -> None:
    """Send the result of task ID, which is in review, back to be done again."""
    from coordinator import asking

    if not note.strip():
        fail("say what should change: --note TEXT", EXIT_USAGE)
    if (there := How(**how).elsewhere()) is not None:
        there.word("reject", task_id, {"note": note})
        return
    word(How(**how), task_id, lambda task: asking.decide(task, approve=False, note=note))


@click.command("rm")
@_task
def rm(task_id: str, **how: Any) -> None:
    """Delete the file of task ID: the task is cancelled, or its line in BACKLOG.md is in force again."""
    from coordinator import asking

    here = How(**how)
    if (there := here.elsewhere()) is not None:
        there.remove(task_id)
        return
    with said_plainly():
        desk = sit_down(here)
        task = find(desk, here, task_id, wrong_too=True)
        finish(desk, here, task, asking.remove(task), None)

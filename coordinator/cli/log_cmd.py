"""``agentcom log``: the audit trail."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from coordinator.cli.common import LOG, directory_option, fail, json_option, local_time, print_json, print_table
from coordinator.cli.reading_options import open_trail

#: So many commits are shown of everything; of one task the whole history, because its beginning says what was wanted.
LIMIT = 50
#: So many characters of a reason are shown.
REASON_SHOWN = 100


@click.command("log")
@click.argument("task_id", required=False)
@directory_option
@click.option(
    "-n", "--limit", type=click.IntRange(1), help=f"At most so many commits (default: {LIMIT}, all of one task)."
)
@json_option
def command(task_id: str | None, directory: Path, limit: int | None, as_json: bool) -> None:
    """Show what happened, newest first: everything, or one task by its id.

    The trail is the branch agentcom/state of this clone; `git log agentcom/state` shows the same commits, and those of
    people between them.
    """
    trail = open_trail(directory)
    from coordinator.git.run import GitError
    from coordinator.trail import record_json

    limit = LIMIT if limit is None and task_id is None else limit
    try:
        records = [record_json(record) for record in trail.records(task_id, limit)]
    except GitError as error:
        name = trail.ref.removeprefix("refs/heads/").removeprefix("refs/remotes/")
        fail(f"{name} cannot be read: {error.stderr or error}; a hub restores it when it starts, if it can")
    ran = trail.exists
    if task_id is not None and ran and not records:
        fail(f"no commit speaks of {task_id}; `agentcom task list --all` shows the ids")
    if as_json:
        print_json({"task": task_id, "commits": records})
    elif not ran:
        click.echo(trail.nothing)
    else:
        print_table([(local_time(r["time_ms"]), r["commit"][:8], said(r)) for r in records], heads=LOG)


def said(record: Mapping[str, Any]) -> str:
    """Return what a commit says, with its reason, question or answer where the subject does not say it already."""
    reason = textwrap.shorten(record["reason"], REASON_SHOWN, placeholder="…")
    return f"{record['subject']}: {reason}" if reason and reason not in record["subject"] else str(record["subject"])

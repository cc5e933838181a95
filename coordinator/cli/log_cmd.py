"""``agentcom log``: the audit trail."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from coordinator.cli.common import directory_option, fail, json_option, local_time, print_json, print_table
from coordinator.cli.reading_options import open_ground

#: So many characters of a reason are shown.
REASON_SHOWN = 100


@click.command("log")
@click.argument("task_id", required=False)
@directory_option
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many commits.")
@json_option
def command(task_id: str | None, directory: Path, limit: int, as_json: bool) -> None:
    """Show what happened, newest first: everything, or one task by its id.

    The trail is the branch agentcom/state of this clone; `git log agentcom/state` shows the same commits, and those of
    people between them.
    """
    ground = open_ground(directory)
    from coordinator.git.repo import read_ref
    from coordinator.reading import trail

    records = trail(ground, task_id, limit)
    ran = read_ref(ground.repo, ground.state_ref) is not None
    if task_id is not None and ran and not records:
        fail(f"no commit speaks of {task_id}; `agentcom task list --all` shows the ids")
    if as_json:
        print_json({"task": task_id, "commits": list(records)})
    elif not ran:
        click.echo("no hub has run in this repository yet: start one with `agentcom hub`")
    else:
        print_table([(local_time(r["time_ms"]), r["commit"][:8], _said(r)) for r in records])


def _said(record: Mapping[str, Any]) -> str:
    """Return what a commit says, with its reason where the subject does not say it already."""
    reason = textwrap.shorten(record["reason"], REASON_SHOWN, placeholder="…")
    return f"{record['subject']}: {reason}" if reason and reason not in record["subject"] else str(record["subject"])

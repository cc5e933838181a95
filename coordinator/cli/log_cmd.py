"""``agentcom log``: the audit trail."""

from datetime import datetime
from pathlib import Path

import click

from coordinator.cli.common import EXIT_FAILED, directory_option, fail, json_option, print_json, table
from coordinator.cli.reading_options import open_ground


@click.command("log")
@click.argument("task_id", required=False)
@directory_option
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many commits.")
@json_option
def command(task_id: str | None, directory: Path, limit: int, as_json: bool) -> None:
    """Show what happened, newest first: everything, or one task by its id.

    The trail is the branch agentcom/state of this clone; `git log agentcom/state` shows the same commits.
    """
    ground = open_ground(directory)
    from coordinator.reading import trail

    records = trail(ground, task_id, limit)
    if as_json:
        print_json({"task": task_id, "commits": list(records)})
        return
    if not records:
        if task_id is not None:
            fail(f"no commit speaks of {task_id}; `agentcom task list` shows the ids", EXIT_FAILED)
        click.echo("no hub has run in this repository yet: start one with `agentcom hub`")
        return
    rows = [
        (
            datetime.fromtimestamp(r["time_ms"] / 1000).astimezone().strftime("%m-%d %H:%M:%S"),
            r["commit"][:8],
            r["subject"],
        )
        for r in records
    ]
    click.echo(table(rows))

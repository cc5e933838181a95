"""Options and errors that the reading commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.common import EXIT_NO_HUB, EXIT_REFUSED, EXIT_USAGE, fail, one_line

if TYPE_CHECKING:
    from coordinator.ground import Ground
    from coordinator.reading import Picture
    from coordinator.trail import Trail


def hub_option(function: Any) -> Any:
    """Add ``--hub URL``."""
    return click.option(
        "--hub", metavar="URL", help="Ask this hub (default: AGENTCOM_HUB, else the one of this clone)."
    )(function)


def open_ground(directory: Path) -> "Ground":
    """Return the repository around ``directory``, or end with one line."""
    from coordinator.ground import survey
    from coordinator.trail import CannotStart

    try:
        return survey(directory.absolute())
    except CannotStart as error:
        fail(str(error), error.exit_code)


def open_trail(directory: Path) -> "Trail":
    """Return the audit trail of the repository around ``directory``, or end with one line."""
    from coordinator.trail import CannotStart, find_trail

    try:
        return find_trail(directory.absolute())
    except CannotStart as error:
        fail(str(error), error.exit_code)


def look(directory: Path, hub: str | None, *, every_task: bool = True, task_id: str | None = None) -> "Picture":
    """Return what is known, from the hub or the branch, or end with one line.

    With ``task_id`` the picture holds that task alone (none when there is no such task), with its history.
    """
    from coordinator.ports import StoreError
    from coordinator.reading import HubUnreachable, NoAddress, Tasks, TokenRefused, ground_or_none, hub_named, picture

    named = hub_named(hub)
    ground = ground_or_none(directory.absolute()) if named else open_ground(directory)
    try:
        return picture(ground, hub, Tasks(every_task, task_id))
    except HubUnreachable as error:
        fail(f"{error}: start it with `agentcom hub`, or leave --hub and AGENTCOM_HUB away", EXIT_NO_HUB)
    except NoAddress as error:
        fail(str(error), EXIT_USAGE)
    except TokenRefused as error:
        fail(str(error), EXIT_REFUSED)
    except StoreError as error:
        fail(str(error))


def say_origin(picture: "Picture") -> None:
    """Print where the answer comes from, as of when, and what it cannot know yet."""
    for line in (picture.as_of, *picture.notes):
        click.echo(one_line(line))

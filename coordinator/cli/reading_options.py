"""Options and errors that the reading commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.common import EXIT_NO_HUB, EXIT_REFUSED, fail

if TYPE_CHECKING:
    from coordinator.reading import Picture
    from coordinator.service import Ground


def hub_option(function: Any) -> Any:
    """Add ``--hub URL``."""
    return click.option("--hub", help="Ask this hub (default: AGENTCOM_HUB, else the one of this clone).")(function)


def open_ground(directory: Path) -> "Ground":
    """Return the repository around ``directory``, or end with one line."""
    from coordinator.service import CannotStart, survey

    try:
        return survey(directory.absolute())
    except CannotStart as error:
        fail(str(error), error.exit_code)


def look(directory: Path, hub: str | None, *, with_tasks: bool = True) -> "Picture":
    """Return what is known, from the hub or the branch, or end with one line."""
    import os

    from coordinator.ports import StoreError
    from coordinator.reading import HubUnreachable, TokenRefused, ground_or_none, picture

    named = hub or os.environ.get("AGENTCOM_HUB")
    ground = ground_or_none(directory.absolute()) if named else open_ground(directory)
    try:
        return picture(ground, hub, with_tasks=with_tasks)
    except HubUnreachable as error:
        fail(f"{error}; start it with `agentcom hub`, or leave --hub and AGENTCOM_HUB away", EXIT_NO_HUB)
    except TokenRefused as error:
        fail(str(error), EXIT_REFUSED)
    except StoreError as error:
        fail(str(error))

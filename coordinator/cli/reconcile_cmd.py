"""``agentcom reconcile``: let the hub look now, and say which commit it has observed."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.common import (
    EXIT_FAILED,
    EXIT_NO_HUB,
    EXIT_REFUSED,
    EXIT_USAGE,
    busy,
    directory_option,
    fail,
    json_option,
    print_json,
)
from coordinator.cli.reading_options import hub_option, open_ground
from coordinator.cli.status_cmd import problem_line

if TYPE_CHECKING:
    from coordinator.reading import HubClient

#: Pause between two tries while waiting, in seconds.
_PAUSE = 1.0


@click.command("reconcile")
@directory_option
@hub_option
@click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=0,
    metavar="SECONDS",
    help="Try again for so long while the hub is busy or its remote away (default: not at all).",
)
@json_option
def command(directory: Path, hub: str | None, wait: float, as_json: bool) -> None:
    """Let the hub look at its repository, and at its remote, now; return when what it saw is on disk.

    Prints the commit observed. Ends with 1 when the source could not be looked at, or must not be observed.
    """
    from coordinator.reading import HubUnreachable, NoAddress, TokenRefused, ground_or_none, hub_named, running_hub

    named = hub_named(hub)
    ground = ground_or_none(directory.absolute()) if named else open_ground(directory)
    try:
        client = running_hub(ground, hub)
        with busy(f"the hub at {client.url} looks ...", quietly=as_json):
            said = _look(client, time.monotonic() + wait)
    except HubUnreachable as error:
        if not named and ground is not None and ground.elsewhere is not None:
            there = f"after a push to {ground.elsewhere}, `git fetch` shows what it made of it"
            fail(
                f"{error}, and the hub that keeps {ground.elsewhere}/agentcom/state cannot be asked without --hub URL: "
                f"{there}",
                EXIT_NO_HUB,
            )
        fail(f"{error}: start it with `agentcom hub`", EXIT_NO_HUB)
    except NoAddress as error:
        fail(str(error), EXIT_USAGE)
    except TokenRefused as error:
        fail(str(error), EXIT_REFUSED)
    wrong = _wrong(said)
    if as_json:
        print_json(said)
    elif not wrong:
        click.echo(f"observed {said['observed_commit'][:10]} of {said['source'].removeprefix('refs/heads/')}")
    if wrong:
        fail(wrong, EXIT_FAILED)


def _look(client: "HubClient", until: float) -> Mapping[str, Any]:
    """Ask the hub to look; again until it could, or the time is up."""
    from coordinator.reading import HubBusy, HubUnreachable

    while True:
        late = time.monotonic() >= until
        try:
            said = client.post("/api/reconcile")
            if "observed_commit" not in said:
                raise HubUnreachable(f"what answers at {client.url} is no AgentCom hub")
            if late or not (said["remote"] or {}).get("fetch_error"):
                return said
        except HubBusy:
            if late:
                fail(f"the hub at {client.url} has not finished looking: try again, or wait longer with --wait")
        time.sleep(_PAUSE)


def _wrong(said: Mapping[str, Any]) -> str:
    """Return why the source as it is now was not observed, empty when it was."""
    at = (said["observed_commit"] or "nothing")[:10]
    if error := (said["remote"] or {}).get("fetch_error"):
        return f"{said['remote']['name']} could not be asked: {error}; observed so far: {at}"
    if said["not_observed"]:
        return f"{problem_line(said['not_observed'][0])}; observed so far: {at}"
    return "" if said["observed_commit"] else "there is nothing to observe yet"

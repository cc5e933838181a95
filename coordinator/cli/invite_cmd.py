"""``agentcom invite``: let somebody without a token of theirs register one agent, once."""

from pathlib import Path

import click

from coordinator.cli.common import (
    EXIT_NO_HUB,
    EXIT_REFUSED,
    EXIT_USAGE,
    directory_option,
    fail,
    json_option,
    print_json,
)
from coordinator.cli.reading_options import hub_option


@click.command("invite")
@click.option("--for", "agent_id", required=True, metavar="ID", help="The id of the agent.")
@click.option("--expires", default="1h", metavar="SPAN", help="How long it is good, e.g. 1h (default), at most 30d.")
@directory_option
@hub_option
@json_option
def command(agent_id: str, expires: str, directory: Path, hub: str | None, as_json: bool) -> None:
    """Print a one-time invite: whoever has it may register the agent ID, and nothing else."""
    from coordinator.reading import HubUnreachable, NoAddress, TokenRefused, ground_or_none, running_hub

    try:
        client = running_hub(ground_or_none(directory.absolute()), hub)
        status, made = client.call("POST", "/admin/invites", {"agent_id": agent_id, "expires": expires})
    except NoAddress as error:
        fail(str(error), EXIT_USAGE)
    except TokenRefused as error:
        fail(f"{error}; it takes the admin's token", EXIT_REFUSED)
    except HubUnreachable as error:
        fail(f"{error}: start it with `agentcom hub`", EXIT_NO_HUB)
    if status not in (200, 201):
        fail(str(made.get("detail") or made.get("hint") or made.get("error") or status), EXIT_USAGE)
    if as_json:
        print_json(made)
        return
    click.echo(f"invite for {agent_id}, good once and for {expires}: {made['invite']}")
    click.echo(f"on the agent's machine: AGENTCOM_TOKEN=INVITE agentcom agent add {agent_id} --hub {client.url}")

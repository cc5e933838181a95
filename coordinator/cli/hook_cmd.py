"""``agentcom hook secret``: what a forge must know so that its push hooks count."""

from pathlib import Path

import click

from coordinator.cli.common import directory_option, fail, json_option, print_json, print_table
from coordinator.cli.reading_options import open_ground

_FORGES = (
    ("GitHub", "Settings > Webhooks > Add webhook: Payload URL, Content type application/json, Secret, the push event"),
    ("GitLab", "Settings > Webhooks > Add new webhook: URL, Secret token, Push events"),
    ("Gitea", "Settings > Webhooks > Add Webhook > Gitea: Target URL, POST, application/json, Secret, Push Events"),
)


@click.group("hook")
def command() -> None:
    """Let a forge tell the hub of pushes."""


@command.command("secret", short_help="Show the secret for push hooks; make one.")
@click.option("--new", is_flag=True, help="Make another one; what the forges know counts no more.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The hub's machine config (default: as `agentcom hub` finds it).",
)
@directory_option
@json_option
@click.pass_context
def secret(context: click.Context, new: bool, config: Path | None, directory: Path, as_json: bool) -> None:
    """Show the secret that forges sign push hooks with, and what to enter there; make it at the first call.

    A running hub takes a new one at once. Whoever knows the secret can make the hub look, and nothing more.
    """
    from coordinator.config import Asked, find, settled
    from coordinator.reading import is_here
    from coordinator.trail import CannotStart

    try:
        machine = find(config)
    except CannotStart as error:
        fail(str(error), error.exit_code)
    named = context.get_parameter_source("directory") is not click.core.ParameterSource.DEFAULT
    said = settled(Asked(repo=directory if named else None), machine)
    ground = open_ground(said.repo.value)
    if said.hook_secret.value and new:
        fail(f"{said.hook_secret.origin} says the secret, and wins over one that is made here: change it there")
    if not said.hook_secret.value:
        ground.place.hook_secret(new=new)
    known = ground.place.known_hook_secret(said.hook_secret)
    running = ground.place.read_hub() or {}
    base = said.public_url.value or str(running.get("public_url") or running.get("url") or "http://127.0.0.1:4000")
    url = f"{base.rstrip('/')}/hooks/git"
    if as_json:
        print_json({"secret": known.value, "url": url, "from": known.origin})
        return
    print_table([("secret", known.value or ""), ("url", url)], whole=True)
    print_table(_FORGES)
    if is_here(url):
        click.echo("note: a forge must be able to reach it: see --public-url of `agentcom hub`")

"""``agentcom hub``: run the hub in the foreground, or let the machine run it as a service."""

from pathlib import Path

import click
from click.core import ParameterSource

from coordinator.cli.common import EXIT_FAILED, EXIT_LOCKED, EXIT_USAGE, directory_option, fail
from coordinator.cli.lazy import LazyGroup

_BELOW = {
    "install": ("hub_service_cmd:install", "Let the machine run the hub as a service."),
    "uninstall": ("hub_service_cmd:uninstall", "Stop that service and take it away."),
}


def address(text: str) -> tuple[str, int]:
    """Return host and port of a ``--listen``, or end with one line."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        fail(f"--listen {text}: expected HOST:PORT, for example 127.0.0.1:4000", EXIT_USAGE)
    host = host.removeprefix("[").removesuffix("]")
    if host not in ("127.0.0.1", "::1", "localhost"):
        fail(f"--listen {text}: this version listens on loopback only; use 127.0.0.1:{port}", EXIT_USAGE)
    return ("127.0.0.1" if host == "localhost" else host), int(port)


@click.group("hub", cls=LazyGroup, lazy=_BELOW, invoke_without_command=True)
@directory_option
@click.option(
    "--listen",
    default="127.0.0.1:4000",
    show_default=True,
    metavar="HOST:PORT",
    help="Where agents connect; port 0 takes a free one.",
)
@click.option(
    "--source",
    metavar="BRANCH",
    help="The branch that people write on (default: HEAD's at init, else the remote's, else HEAD's at first start).",
)
@click.option(
    "--remote",
    metavar="URL|NAME|none",
    help="Fetch the source from this remote and push the trail to it, from now on; clones it when DIR is not there.",
)
@click.option("--take-over", is_flag=True, help="Go on with the branch although another hub has claimed it since.")
@click.pass_context
def command(
    ctx: click.Context, directory: Path, listen: str, source: str | None, remote: str | None, take_over: bool
) -> None:
    """Run the hub: watch the repository, hand out work, keep the trail on agentcom/state.

    Stops on Ctrl-C or SIGTERM; agents keep working meanwhile and report to the next hub.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx, ctx.invoked_subcommand)
        return
    host, port = address(listen)
    from coordinator import eventloop, log
    from coordinator.service import CannotStart, Conflict, Fatal, Options, serve
    from coordinator.wire.notify import Herald

    log.set_up()
    options = Options(directory.absolute(), host, port, source, take_over, remote)
    try:
        where = options.repo.resolve()
        eventloop.run(serve(options, lambda url: click.echo(f"hub ready at {url} for {where}"), Herald.of()))
        click.echo("hub stopped; agents go on with what they have in hand and report to the next one")
    except CannotStart as error:
        fail(str(error), error.exit_code)
    except Conflict as error:
        fail(f"stopped: {error}", EXIT_LOCKED)
    except Fatal as error:
        fail(f"stopped, the disk cannot be trusted: {error}", EXIT_FAILED)


def _refuse_options(ctx: click.Context, below: str) -> None:
    """End with one line when options of the hub stand before a command that has its own."""
    given = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        option = {"directory": "repo"}.get(given[0], given[0]).replace("_", "-")
        fail(f"--{option} before {below}: write options behind it, as `agentcom hub {below} --help` lists", EXIT_USAGE)

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


_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group("hub", cls=LazyGroup, lazy=_BELOW, invoke_without_command=True)
@directory_option
@click.option(
    "--listen",
    default="127.0.0.1:4000",
    show_default=True,
    metavar="HOST:PORT",
    help="Where agents connect; port 0 takes a free one. Beyond this machine only with one of the next three.",
)
@click.option("--tls-cert", type=_FILE, metavar="FILE", help="Listen with TLS: the certificate and its chain (PEM).")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="The key of the certificate (PEM, no pass phrase).")
@click.option("--behind-proxy", is_flag=True, help="A proxy ends TLS; its X-Forwarded-For says who asks.")
@click.option("--plain", is_flag=True, help="Listen without TLS where others may read what is said, tokens too.")
@click.option("--public-url", metavar="URL", help="The address by which others reach the hub; its name is answered to.")
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
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where mail is kept.")
@click.option("--take-over", is_flag=True, help="Go on with the branch although another hub has claimed it since.")
@click.option(
    "--config",
    type=_FILE,
    metavar="FILE",
    help="Read these settings from here (default: ~/.config/agentcom/hub.yaml, else /etc/agentcom/hub.yaml).",
)
@click.pass_context
def command(
    context: click.Context,
    directory: Path,
    listen: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
    plain: bool,
    public_url: str | None,
    source: str | None,
    remote: str | None,
    data_dir: Path | None,
    take_over: bool,
    config: Path | None,
) -> None:
    """Run the hub: watch the repository, hand out work, keep the trail on agentcom/state.

    Stops on Ctrl-C or SIGTERM; agents keep working meanwhile and report to the next hub.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context, context.invoked_subcommand)
        return
    from coordinator import eventloop, log
    from coordinator.config import Asked, find, settled
    from coordinator.listening import Tls
    from coordinator.service import CannotStart, Conflict, Fatal, Options, serve
    from coordinator.wire.notify import Herald

    def given(name: str) -> bool:
        return context.get_parameter_source(name) is not ParameterSource.DEFAULT

    if (tls_cert is None) != (tls_key is None):
        fail("--tls-cert and --tls-key belong together: give both", EXIT_USAGE)
    asked = Asked(
        repo=directory if given("directory") else None,
        remote=remote or None,
        source=source or None,
        listen=listen if given("listen") else None,
        tls=None if tls_cert is None or tls_key is None else Tls(tls_cert.absolute(), tls_key.absolute()),
        behind_proxy=behind_proxy,
        plain=plain,
        public_url=public_url or None,
        data_dir=None if data_dir is None else data_dir.absolute(),
    )
    try:
        said = settled(asked, find(config))
        listening = said.listening()
    except CannotStart as error:
        fail(str(error), error.exit_code)
    log.set_up()
    options = Options(
        repo=said.repo.value.absolute(),
        listening=listening,
        source=said.source.value,
        take_over=take_over,
        remote=said.remote.value,
        data_dir=said.data_dir.value,
        hook_secret=said.hook_secret.value,
    )
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

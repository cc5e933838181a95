"""``agentcom dashboard``: the pages of a clone without a hub, and links to those of a hub."""

import errno
from pathlib import Path

import click

from coordinator.cli.common import (
    EXIT_CONFIG,
    EXIT_NO_REPOSITORY,
    EXIT_PORT_IN_USE,
    EXIT_USAGE,
    directory_option,
    fail,
    json_option,
    print_json,
)

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group("dashboard", invoke_without_command=True, short_help="Show the pages of this clone; make links.")
@directory_option
@click.option(
    "--listen",
    default="127.0.0.1:4080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to serve them; port 0 takes a free one. Beyond this machine only with one of the next three.",
)
@click.option("--tls-cert", type=_FILE, metavar="FILE", help="Listen with TLS: the certificate and its chain (PEM).")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="The key of the certificate (PEM, no pass phrase).")
@click.option("--behind-proxy", is_flag=True, help="A proxy ends TLS; its X-Forwarded-For says who asks.")
@click.option("--plain", is_flag=True, help="Listen without TLS where others may read what is said, links too.")
@click.option("--public-url", metavar="URL", help="The address by which others reach it; its name is answered to.")
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
) -> None:
    """Serve the dashboard of this clone, from git alone: no hub is needed, and nothing is written.

    A running hub serves the same pages itself, at /dashboard. On other addresses than loopback they ask for a link.
    """
    if context.invoked_subcommand is not None:
        return
    if (tls_cert is None) != (tls_key is None):
        fail("--tls-cert and --tls-key belong together: give both", EXIT_USAGE)
    from coordinator import eventloop, log
    from coordinator.cli.reading_options import open_ground
    from coordinator.clonepages import serve
    from coordinator.listening import Listening, Tls, address
    from coordinator.place import Exposed
    from coordinator.trail import CannotStart
    from coordinator.web.callers import is_loopback

    try:
        host, port = address(listen)
    except CannotStart as error:
        fail(str(error), error.exit_code)
    ground = open_ground(directory)
    log.set_up()
    elsewhere = behind_proxy or not is_loopback(host)
    try:
        token = ground.place.admin_token() if elsewhere else ground.place.read_admin_token()
    except Exposed as error:
        fail(str(error), EXIT_CONFIG)
    except OSError as error:
        fail(f"{ground.place.folder} cannot be used ({error}): make room or give access there")
    tls = None if tls_cert is None or tls_key is None else Tls(tls_cert.absolute(), tls_key.absolute())

    def announce(url: str) -> None:
        click.echo(f"dashboard of {directory.resolve()} at {url}/dashboard")
        if elsewhere:
            click.echo(f"others need a link: `agentcom dashboard link --url {public_url or 'URL'}` makes one")

    try:
        eventloop.run(serve(ground, Listening(host, port, tls, behind_proxy, plain, public_url), token, announce))
    except CannotStart as error:
        fail(str(error), error.exit_code)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            fail(f"{listen} is in use: choose another port with --listen {host}:PORT", EXIT_PORT_IN_USE)
        fail(f"cannot listen on {listen}: {error.strerror or error}; choose another address with --listen HOST:PORT")


@command.command("link", short_help="Make a link that is good for looking.")
@directory_option
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="How long it is good.")
@click.option("--url", metavar="URL", help="Where the dashboard is (default: where the hub of this clone listens).")
@json_option
def link(directory: Path, days: int, url: str | None, as_json: bool) -> None:
    """Make a link to the dashboard for somebody on another machine. It is good for looking and for nothing else.

    Everybody who has it may look until it ends; a new admin token (delete .git/agentcom/admin.token) ends all links.
    """
    import time

    from coordinator.cli.reading_options import open_ground
    from coordinator.core.timers import rfc3339
    from coordinator.reading import NoAddress, address
    from dashboard.door import DAY_MS, PATH, make_key

    ground = open_ground(directory)
    token = ground.place.read_admin_token()
    if token is None:
        fail("this clone has no admin token yet: start its hub once with `agentcom hub`", EXIT_NO_REPOSITORY)
    hub = ground.place.read_hub() or {}
    found = url or str(hub.get("public_url") or hub.get("url") or "http://127.0.0.1:4000")
    try:
        base = address(found)
    except NoAddress as error:
        fail(f"--url: {error}", EXIT_USAGE)
    until = time.time_ns() // 1_000_000 + days * DAY_MS
    made = f"{base}{PATH}/enter?key={make_key(token, until)}"
    if as_json:
        print_json({"url": made, "until": rfc3339(until)})
    else:
        click.echo(made)

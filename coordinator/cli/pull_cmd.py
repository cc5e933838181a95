"""``agentcom pull``: the trail and the hub's folders, in the branch that people write."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.cli.common import busy, directory_option, fail, json_option, print_json
from coordinator.cli.reading_options import open_ground

if TYPE_CHECKING:
    from coordinator.git.pull import Pulled
    from coordinator.ground import Ground

#: Pause between two looks while waiting for the hub, in seconds.
_PAUSE = 0.2


@click.command("pull")
@directory_option
@click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=0,
    metavar="SECONDS",
    help="Wait so long for a running hub to observe your last commit (default: not at all).",
)
@json_option
def command(directory: Path, wait: float, as_json: bool) -> None:
    """Fast-forward your branch to agentcom/state, so that `git log`, tasks/ and status/ show what happened.

    For a repository of your own, without a remote. Your edits stay as they are; when they are in the way, nothing is
    done.
    """
    ground = open_ground(directory)
    from coordinator.git.pull import CannotPull

    try:
        with busy("waiting for the hub to observe your last commit ...", quietly=as_json or not wait):
            pulled = _pull(ground, wait)
    except CannotPull as error:
        fail(str(error))
    if as_json:
        said = {"branch": ground.branch, "before": pulled.before, "after": pulled.after, "commits": pulled.commits}
        print_json(said)
    elif pulled.commits:
        many = "1 commit" if pulled.commits == 1 else f"{pulled.commits} commits"
        click.echo(f"{ground.branch} is at {pulled.after[:7]} now, {many} further; `git log` shows them")
    else:
        click.echo(f"nothing to pull: {ground.branch} and agentcom/state are the same commit, {pulled.after[:7]}")


def _pull(ground: "Ground", wait: float) -> "Pulled":
    """Pull; while a hub runs and has only not seen the last commit yet, try again for ``wait`` seconds."""
    from coordinator.git.pull import NotObserved, pull
    from coordinator.reading import hub_runs

    until = time.monotonic() + wait
    while True:
        try:
            return pull(ground.repo, ground.source_ref)
        except NotObserved as error:
            if hub_runs(ground) is None:
                fail(f"{error}: start it with `agentcom hub`, then pull again")
            if time.monotonic() >= until:
                hint = "wait a moment (--wait 30 does), `agentcom status` says if something is wrong"
                fail(f"{error}: {hint}")
        time.sleep(_PAUSE)
